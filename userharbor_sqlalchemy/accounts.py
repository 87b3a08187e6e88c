"""Accounts: creating, finding and deleting users: `userharbor.interfaces.UserAccountStore`.

`transaction()`, which that protocol has too, stands in store.py.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    bindparam,
    delete,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError
from userharbor.exceptions import (
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidUsernameError,
)
from userharbor.interfaces import CreateUserRequest, UserT

from .connections import Connections
from .errors import EmailTakenError, UnknownUserError, UsernameTakenError
from .names import delete_with_referring
from .tables import EMAIL_LENGTH, PASSWORD_HASH_LENGTH, USERNAME_LENGTH, Tables
from .tokens import TokenTable
from .users import Users
from .values import is_storable, is_storable_key, username_key


class AccountMethods(Generic[UserT]):
    """The protocol's methods on accounts. A username is taken, and found, in any casing."""

    def __init__(
        self,
        connections: Connections,
        users: Users,
        verifications: TokenTable,
        tables: Tables,
        user_mapper: Callable[[Row[Any]], UserT],
    ) -> None:
        self._connections = connections
        self._users = users
        self._verifications = verifications
        self._to_user = user_mapper
        table = users.table.c
        public = select(table.username, table.email, table.verified)
        emails: list[BindParameter[str]] = [
            bindparam("given_email"),
            bindparam("given_email_in_lower_case"),
        ]
        self._select_by_username = public.where(users.is_named)
        self._select_by_email = public.where(table.email.in_(emails))
        self._select_password_hash = select(table.username, table.password_hash).where(
            users.is_named
        )
        self._insert_user = insert(users.table).values(
            username=bindparam("given_username"),
            username_key=bindparam("given_username_key"),
            email=bindparam("given_email"),
            password_hash=bindparam("given_password_hash"),
            verified=False,
        )
        self._set_verified = update(users.table).where(users.is_named).values(verified=true())
        self._set_password_hash = (
            update(users.table)
            .where(users.is_named)
            .values(password_hash=bindparam("given_password_hash"))
        )
        self._delete_user = delete(users.table).where(users.is_named)
        self._delete_referring = [
            delete(referring).where(referring.c.username == users.owner)
            for referring in (
                tables.email_verifications,
                tables.sessions,
                tables.password_resets,
                tables.user_roles,
            )
        ]

    def create_user(self, user: CreateUserRequest) -> None:
        """Store an unverified user and the e-mail verification, both or neither.

        Texts are stored as they are given; a naive `expires_at` is UTC.
        `InvalidUsernameError` if the username is taken in any casing, `InvalidEmailError`
        if the e-mail is taken, `InvalidVerificationTokenError` if the token hash is; each is
        also an `IntegrityError` of SQLAlchemy's. The same errors, or
        `InvalidCredentialsError` for the password hash, where no column can hold a value.
        """
        row = self._row(user)
        verification = self._verifications.row(user.verification_token_hash, user.expires_at)

        def insert_both(connection: Connection) -> None:
            connection.execute(self._insert_user, row)
            self._verifications.insert(connection, user.username, verification)

        try:
            self._connections.unit(insert_both)
        except IntegrityError as refusal:
            raise self._explained(refusal, user) from None

    def set_user_verified(self, username: str) -> None:
        """Mark the user's e-mail as verified, if there is such a user."""
        self._connections.execute(self._set_verified, self._users.named(username))

    def delete_user(self, username: str) -> None:
        """Remove the user, if there is one, with all tokens and granted roles."""
        delete_with_referring(
            self._connections,
            self._delete_user,
            self._delete_referring,
            self._users.named(username),
        )

    def get_user_by_username(self, username: str) -> UserT | None:
        """Return the user of this name in any casing, or None."""
        row = self._by_username(self._select_by_username, username)
        return None if row is None else self._to_user(row)

    def get_user_by_email(self, email: str) -> UserT | None:
        """Return the user of this e-mail, as it is given or in lower case, or None."""
        lowered = email.lower()
        if not is_storable(email, EMAIL_LENGTH):
            return None
        parameters = {"given_email": email, "given_email_in_lower_case": lowered}
        rows = self._connections.all(self._select_by_email, parameters)
        found = [row for row in rows if row.email.lower() == lowered]
        row = max(found, key=lambda row: bool(row.email == email), default=None)
        return None if row is None else self._to_user(row)

    def get_password_hash(self, username: str) -> str:
        """Return the user's password hash.

        `UnknownUserError` (a `KeyError`) if there is no such user.
        """
        row = self._by_username(self._select_password_hash, username)
        if row is None:
            raise UnknownUserError
        return str(row.password_hash)

    def set_password_hash(self, username: str, password_hash: str) -> None:
        """Replace the user's password hash.

        `UnknownUserError` (a `KeyError`) if there is no such user,
        `InvalidCredentialsError` if no column can hold the hash.
        """
        _check_password_hash(password_hash)
        parameters = {**self._users.named(username), "given_password_hash": password_hash}
        if not self._connections.execute(self._set_password_hash, parameters):
            # Without its FOUND_ROWS flag, MySQL does not count a row that stays what it was.
            self.get_password_hash(username)

    def _by_username(self, statement: Any, username: str) -> Row[Any] | None:
        parameters = self._users.named(username)
        row = self._connections.first(statement, parameters)
        return row if self._users.found(row, parameters) else None

    def _row(self, user: CreateUserRequest) -> Mapping[str, Any]:
        key = username_key(user.username)
        if not (
            is_storable_key(user.username, USERNAME_LENGTH)
            and is_storable_key(key, USERNAME_LENGTH)
        ):
            raise InvalidUsernameError("Username can't be stored")
        if not is_storable_key(user.email, EMAIL_LENGTH):
            raise InvalidEmailError("Email can't be stored")
        _check_password_hash(user.password_hash)
        return {
            "given_username": user.username,
            "given_username_key": key,
            "given_email": user.email,
            "given_password_hash": user.password_hash,
        }

    def _explained(self, refusal: IntegrityError, user: CreateUserRequest) -> IntegrityError:
        """Why the user's rows were refused, in the eyes of the database, whatever it folds."""
        named = self._users.named(user.username)
        if self._connections.first(self._select_by_username, named) is not None:
            return UsernameTakenError()
        email = {"given_email": user.email, "given_email_in_lower_case": user.email}
        if self._connections.first(self._select_by_email, email) is not None:
            return EmailTakenError()
        return self._verifications.explained(refusal, user.verification_token_hash)


def _check_password_hash(password_hash: str) -> None:
    if not is_storable(password_hash, PASSWORD_HASH_LENGTH):
        raise InvalidCredentialsError("Password hash can't be stored")
