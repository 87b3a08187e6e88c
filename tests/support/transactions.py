"""What tests of transactions share: an error of the caller's, a look at the users, a refusal."""

from typing import Any

from support.databases import Database


class Abort(Exception):
    pass


def usernames(db: Database) -> list[str]:
    return sorted(name for (name,) in db.read("SELECT username FROM userharbor_users"))


def refuse(*_: object) -> None:
    """A listener for an engine that may be asked nothing."""
    raise AssertionError("a statement was issued")


def without_snapshot_isolation(db: Database) -> dict[str, Any]:
    """`connect_args` by which a transaction may lock what its snapshot lacks.

    MariaDB, from 11.6 on as it comes, gives such a transaction up (1020).
    """
    if db.backend == "mysql" and db.read("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'"):
        return {"init_command": "SET innodb_snapshot_isolation = OFF"}
    return {}
