"""The database's refusals as the core's exceptions, and without the values that were refused.

Which of them is raised is decided where the statement is issued, not here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from userharbor.exceptions import (
    InvalidEmailError,
    InvalidPasswordResetTokenError,
    InvalidSessionTokenError,
    InvalidUsernameError,
    InvalidVerificationTokenError,
    PermissionAlreadyExistsError,
    RoleAlreadyExistsError,
)


class UnknownUserError(InvalidUsernameError, KeyError):
    """The user is not there. Nothing was stored."""

    def __init__(self) -> None:
        super().__init__("Unknown username")

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class UsernamesCollideError(ValueError):
    """Users that the application added have names that differ in casing only.

    `usernames` holds them in pairs. Nothing was stored.
    """

    def __init__(self, usernames: list[tuple[str, str]]) -> None:
        super().__init__(usernames)
        self.usernames = usernames

    def __str__(self) -> str:
        pairs = ", ".join(f"{one!r} and {other!r}" for one, other in self.usernames)
        return f"usernames that differ in casing only: {pairs}"


class AlreadyExistsError(IntegrityError):
    """A unique value is taken. Nothing was stored.

    Raised as one of its subclasses, each of which is one of the core's exceptions too.
    """

    message = "Already exists"

    def __init__(self) -> None:
        super().__init__(None, None, Exception(self.message))

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class UsernameTakenError(AlreadyExistsError, InvalidUsernameError):
    """Another user has this username, in this casing or another."""

    message = "Username already exists"


class EmailTakenError(AlreadyExistsError, InvalidEmailError):
    """Another user has this e-mail address."""

    message = "Email already exists"


class RoleTakenError(AlreadyExistsError, RoleAlreadyExistsError):
    """There is a role of this name."""

    message = "Role already exists"


class PermissionTakenError(AlreadyExistsError, PermissionAlreadyExistsError):
    """There is a permission of this name."""

    message = "Permission already exists"


class SessionTokenTakenError(AlreadyExistsError, InvalidSessionTokenError):
    """There is a session with this token hash."""

    message = "Session token already exists"


class VerificationTokenTakenError(AlreadyExistsError, InvalidVerificationTokenError):
    """There is an e-mail verification with this token hash."""

    message = "Verification token already exists"


class ResetTokenTakenError(AlreadyExistsError, InvalidPasswordResetTokenError):
    """There is a password reset with this token hash."""

    message = "Password reset token already exists"


def without_values(error: StatementError) -> StatementError:
    """`error` anew, of the same class, with no value of a row in its text, parameters or `orig`.

    `hide_parameters` does not do it: the driver's own text quotes values.
    """
    orig = None if error.orig is None else _without_values(error.orig, error)
    if isinstance(error, DBAPIError):
        return type(error)(
            error.statement,
            None,
            orig or Exception("no text"),
            hide_parameters=True,
            connection_invalidated=error.connection_invalidated,
            code=error.code,
        )
    text = str(error.args[0]) if orig is None else f"({type(orig).__name__}) {orig}"
    return StatementError(_masked(text, error), error.statement, None, orig, hide_parameters=True)


def _without_values(orig: BaseException, error: StatementError) -> BaseException:
    arguments = [
        _masked(argument, error) if isinstance(argument, str) else argument
        for argument in orig.args
    ]
    try:
        return type(orig)(*arguments)
    except TypeError:
        return Exception(*arguments)


# MySQL and MariaDB quote the duplicate in the first line; PostgreSQL does so in its DETAIL.
_QUOTED_DUPLICATE = re.compile(r"Duplicate entry '.*' for key", re.DOTALL)


def _masked(text: str, error: StatementError) -> str:
    if isinstance(error, DataError):
        # It quotes a part of the value, escaped in a way of its own.
        return "the database's text is withheld, it quotes values"
    text = _QUOTED_DUPLICATE.sub("Duplicate entry for key", text)
    text = next(iter(text.splitlines()), "")
    for value in sorted(_strings(error.params), key=len, reverse=True):
        if len(value) > 2:
            text = text.replace(value, "***")
    return text


def _strings(parameters: Any) -> Iterator[str]:
    if isinstance(parameters, str):
        yield parameters
    elif isinstance(parameters, Mapping):
        for value in parameters.values():
            yield from _strings(value)
    elif isinstance(parameters, (list, tuple)):
        for value in parameters:
            yield from _strings(value)
