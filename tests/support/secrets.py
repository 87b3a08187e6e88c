"""What no error may give away, and where it might."""

import pickle
import traceback
from collections.abc import Iterator

from userharbor.interfaces import CreateUserRequest

from support.samples import EXPIRES_AT

HASH = "argon2id-5up3r-53cr3t"
TOKEN = "7f83b1657ff1fc53b92dc18148a1d65d"
EMAIL = "very.private+tag@example.org"
SECRETS = (HASH, TOKEN, EMAIL)


def secret_user(username: str = "secretive") -> CreateUserRequest:
    """A request to register `username` which has nothing but secrets."""
    return CreateUserRequest(username, EMAIL, HASH, TOKEN, EXPIRES_AT)


def assert_gives_nothing_away(error: BaseException, *secrets: str) -> None:
    """None of `secrets`, by default `SECRETS`, is in `error` or in what can be reached from it."""
    said = "".join(traceback.format_exception_only(error))
    for link in chain(error):
        said += f"{link} {link!r} {link.args!r} {pickle.dumps(link)!r}"
        for holder in (link, getattr(link, "diag", None), getattr(link, "pgresult", None)):
            for name in dir(holder):
                if not name.startswith("__"):
                    said += f" {getattr(holder, name, None)!r}"
    assert [secret for secret in secrets or SECRETS if secret in said] == []


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, its causes and contexts, and the driver's exceptions below them."""
    if error is not None:
        yield error
        yield from chain(error.__cause__)
        yield from chain(error.__context__)
        yield from chain(getattr(error, "orig", None))
