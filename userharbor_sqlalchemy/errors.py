"""The database's refusals as the core's exceptions, and without the values that were refused.

Which of them is raised is decided where the statement is issued, not here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
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


def without_values(error: StatementError | UnicodeError) -> StatementError:
    """`error` anew, of the same class, with no value of a row in its text, parameters or `orig`.

    `hide_parameters` does not do it: the driver's own text quotes values.
    """
    if isinstance(error, UnicodeError):
        return StatementError("a value is not in the connection's character set", None, None, None)
    if not isinstance(error, DBAPIError):
        return StatementError(WITHHELD, error.statement, None, None, hide_parameters=True)
    return type(error)(
        error.statement,
        None,
        _without_values(error.orig, error.params),
        hide_parameters=True,
        connection_invalidated=error.connection_invalidated,
        code=error.code,
    )


WITHHELD = "the text is withheld, it may quote values"

# What databases and drivers say that quotes no value. Any other text may, and so may that which
# a trigger raises.
_QUOTES_NO_VALUE = re.compile(
    r"""
    no\ such\ (table|column):\ [\w.]+ | table\ [\w.]+\ has\ no\ column\ named\ \w+
    | (UNIQUE|NOT\ NULL|CHECK|FOREIGN\ KEY)\ constraint\ failed(:\ [\w.,\ ]+)?
    | database(\ table|\ schema)?\ is\ locked | unable\ to\ open\ database\ file
    | attempt\ to\ write\ a\ readonly\ database | disk\ I/O\ error | database\ or\ disk\ is\ full
    | (relation|column|schema)\ [\w."]+(\ of\ relation\ [\w."]+)?\ does\ not\ exist
    | duplicate\ key\ value\ violates\ unique\ constraint\ "[^"]+"
    | null\ value\ in\ column\ "[^"]+"(\ of\ relation\ "[^"]+")?\ violates\ not-null\ constraint
    | insert\ or\ update\ on\ table\ "[^"]+"\ violates\ foreign\ key\ constraint\ "[^"]+"
    | permission\ denied\ for\ (table|relation|schema)\ \w+ | deadlock\ detected
    | could\ not\ serialize\ access\ due\ to\ [\w\ /]+ | current\ transaction\ is\ aborted,.*
    | canceling\ statement\ due\ to\ [\w\ ]+ | terminating\ connection\ due\ to\ [\w\ ]+
    | (consuming\ input\ failed:\ )?server\ closed\ the\ connection\ unexpectedly
    | the\ connection\ is\ (closed|lost) | connection\ already\ closed
    | Table\ '[\w.]+'\ doesn't\ exist | Unknown\ column\ '[\w.]+'\ in\ '[\w\ ]+'
    | Duplicate\ entry\ for\ key\ '[^']+' | Column\ '\w+'\ cannot\ be\ null
    | Field\ '\w+'\ doesn't\ have\ a\ default\ value
    | Deadlock\ found\ when\ trying\ to\ get\ lock;\ try\ restarting\ transaction
    | Lock\ wait\ timeout\ exceeded;\ try\ restarting\ transaction
    | Record\ has\ changed\ since\ last\ read\ in\ table\ '\w+'
    | connection\ failed:\ .* | connection\ to\ server\ .* | failed\ to\ resolve\ host\ .*
    | Access\ denied\ for\ user\ .* | Unknown\ database\ .*
    | (Lost\ connection\ to|Can't\ connect\ to).*server.* | (MySQL\ )?[Ss]erver\ has\ gone\ away.*
    | WSREP\ has\ not\ yet\ prepared\ node\ for\ application\ use
    | Error\ while\ appending\ streaming\ replication\ fragment\(provider\ status:\ [\w\ ]+\)
    """,
    re.VERBOSE,
)
_QUOTED_DUPLICATE = re.compile(r"Duplicate entry '.*' for key", re.DOTALL)


def _without_values(orig: BaseException | None, parameters: Any) -> BaseException:
    if orig is None:
        return Exception(WITHHELD)
    arguments = [
        argument if isinstance(argument, int) else _without_value(argument, parameters)
        for argument in orig.args
        if isinstance(argument, (int, str))
    ]
    try:
        return type(orig)(*arguments)
    except TypeError:
        return Exception(*arguments)


def _without_value(text: str, parameters: Any) -> str:
    # PostgreSQL's later lines are DETAIL and CONTEXT, which quote the row.
    first_line = next(iter(_QUOTED_DUPLICATE.sub("Duplicate entry for key", text).splitlines()), "")
    if not _QUOTES_NO_VALUE.fullmatch(first_line):
        return WITHHELD
    if any(len(value) > 3 and value in first_line for value in _strings(parameters)):
        return WITHHELD
    return first_line


def _strings(parameters: Any) -> Iterator[str]:
    if isinstance(parameters, str):
        yield parameters
    elif isinstance(parameters, Mapping):
        for value in parameters.values():
            yield from _strings(value)
    elif isinstance(parameters, (list, tuple)):
        for value in parameters:
            yield from _strings(value)
