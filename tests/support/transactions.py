"""What tests of transactions share: an error of the caller's, a look at the users, a refusal."""

from support.databases import Database


class Abort(Exception):
    pass


def usernames(db: Database) -> list[str]:
    return sorted(name for (name,) in db.read("SELECT username FROM userharbor_users"))


def refuse(*_: object) -> None:
    """A listener for an engine that may be asked nothing."""
    raise AssertionError("a statement was issued")
