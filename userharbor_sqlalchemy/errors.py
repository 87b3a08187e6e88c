"""The database's refusals as the core's exceptions, each of which says what is wrong."""

from typing import Any

from sqlalchemy.exc import IntegrityError
from userharbor.exceptions import (
    InvalidCredentialsError,
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

    message = "Unknown username"

    def __init__(self) -> None:
        super().__init__(self.message)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class NoPasswordError(InvalidCredentialsError, UnknownUserError):
    """The user has no password hash, so that no password is right.

    It comes out of the core's `login()`, and is, and says, what that raises for an unknown name.
    """

    message = "Invalid username or password"


class UsernameReferredToError(InvalidUsernameError):
    """Rows of other tables refer to the user by name, and would not move to a new one.

    `columns` names them, as `table.column`. Nothing was stored.
    """

    def __init__(self, columns: list[str]) -> None:
        super().__init__(columns)
        self.columns = columns

    def __str__(self) -> str:
        return (
            f"Username is referred to by {', '.join(self.columns)}: give these foreign keys ON"
            " UPDATE CASCADE, or remove the rows"
        )


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
