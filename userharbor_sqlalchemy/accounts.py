"""Accounts: creating, finding and deleting users: `userharbor.interfaces.UserAccountStore`.

`transaction()`, which that protocol has too, stands in store.py.
"""

from collections.abc import Mapping
from typing import Any, Generic

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from userharbor.exceptions import (
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidUsernameError,
)
from userharbor.interfaces import CreateUserRequest, UserT

from .connections import Connections
from .errors import EmailTakenError, UnknownUserError, UsernameTakenError
from .lookups import Lookup
from .models import UserModel
from .names import delete_with_referring
from .tables import Tables
from .token_table import TokenTable
from .users import Users
from .values import (
    EMAIL_LENGTH,
    PASSWORD_HASH_LENGTH,
    USERNAME_LENGTH,
    is_storable,
    is_storable_key,
)


class AccountMethods(Generic[UserT]):
    """The protocol's methods on accounts. A username is taken, and found, in any casing."""

    def __init__(
        self,
        connections: Connections,
        users: Users,
        lookup: Lookup,
        verifications: TokenTable,
        model: UserModel,
        tables: Tables,
    ) -> None:
        self._connections = connections
        self._users = users
        self._lookup = lookup
        self._verifications = verifications
        self._username_length = model.length("username", USERNAME_LENGTH)
        self._email_length = model.length("email", EMAIL_LENGTH)
        self._password_hash_length = model.length("password_hash", PASSWORD_HASH_LENGTH)

        username, email = model.columns["username"], model.columns["email"]
        password_hash, verified = model.columns["password_hash"], model.columns["verified"]
        given_emails: list[BindParameter[str]] = [
            bindparam("given_email", type_=email.type),
            bindparam("given_email_in_lower_case", type_=email.type),
        ]
        given_password_hash: BindParameter[str] = bindparam("given_password_hash")
        self._select_by_username = lookup.select.where(users.is_named)
        self._select_by_email = lookup.select.where(email.in_(given_emails), *users.is_one)
        self._select_taken_email = (
            select(email).where(email == bindparam("given_email")).with_for_update(read=True)
        )
        self._select_password_hash = select(
            users.spelled, password_hash.label("password_hash")
        ).where(users.is_named)
        self._insert_user = insert(model.table).values(
            {
                username: bindparam("given_username"),
                email: bindparam("given_email"),
                password_hash: given_password_hash,
                verified: False,
                **users.given,
            }
        )
        self._set_verified = update(model.table).where(users.is_named).values({verified: True})
        self._set_password_hash = (
            update(model.table).where(users.is_named).values({password_hash: given_password_hash})
        )
        self._delete_user = delete(model.table).where(users.is_named)
        referring = (
            tables.email_verifications,
            tables.sessions,
            tables.password_resets,
            tables.user_roles,
        )
        self._delete_all = [
            *(delete(table).where(table.c.username == users.owner) for table in referring),
            self._delete_user,
            *users.delete_stale_key,
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
            self._users.store_key(connection, row)
            self._verifications.insert(connection, user.username, verification)

        self._connections.explained(
            lambda: self._connections.unit(insert_both), lambda: self._reason(user)
        )

    def set_user_verified(self, username: str) -> None:
        """Mark the user's e-mail as verified, if there is such a user."""
        self._connections.execute(self._set_verified, self._users.named(username))

    def delete_user(self, username: str) -> None:
        """Remove the user, if there is one, with all tokens and granted roles."""
        delete_with_referring(
            self._connections,
            self._delete_user,
            self._delete_all,
            self._users.named(username),
        )

    def get_user_by_username(self, username: str) -> UserT | None:
        """Return the user of this name in any casing, or None."""
        parameters = self._users.named(username, of_primary=False)
        row = self._connections.first(self._select_by_username, parameters)
        if row is None or not self._users.found(self._lookup.username(row), parameters):
            return None
        return self._user(row)

    def get_user_by_email(self, email: str) -> UserT | None:
        """Return the user of this e-mail, as it is given or in lower case, or None."""
        lowered = email.lower()
        if not is_storable(email, self._email_length):
            return None
        parameters = {"given_email": email, "given_email_in_lower_case": lowered}
        rows = self._connections.all(self._select_by_email, parameters)
        found = {self._lookup.email(row): row for row in rows}
        for spelled in (email, *found):
            if spelled in found and spelled.lower() == lowered:
                return self._user(found[spelled])
        return None

    def get_password_hash(self, username: str) -> str:
        """Return the user's password hash.

        `UnknownUserError` (a `KeyError`) if there is no such user.
        """
        parameters = self._users.named(username, of_primary=False)
        row = self._connections.first(self._select_password_hash, parameters)
        if row is None or not self._users.found(row.username, parameters):
            raise UnknownUserError
        return str(row.password_hash)

    def set_password_hash(self, username: str, password_hash: str) -> None:
        """Replace the user's password hash.

        `UnknownUserError` (a `KeyError`) if there is no such user,
        `InvalidCredentialsError` if no column can hold the hash.
        """
        self._check_password_hash(password_hash)
        parameters = {**self._users.named(username), "given_password_hash": password_hash}
        # Without its FOUND_ROWS flag, MySQL does not count a row that stays what it was.
        if not (
            self._connections.execute(self._set_password_hash, parameters)
            or self._users.exists(username)
        ):
            raise UnknownUserError

    def _user(self, row: Row[Any]) -> UserT:
        user: UserT = self._lookup.user(row)
        return user

    def _row(self, user: CreateUserRequest) -> Mapping[str, Any]:
        name = self._users.given_name(user.username)
        if name["given_username"] is None or not is_storable_key(
            user.username, self._username_length
        ):
            raise InvalidUsernameError("Username can't be stored")
        if not is_storable_key(user.email, self._email_length):
            raise InvalidEmailError("Email can't be stored")
        self._check_password_hash(user.password_hash)
        return {
            **name,
            "given_email": user.email,
            "given_password_hash": user.password_hash,
        }

    def _reason(self, user: CreateUserRequest) -> Exception | None:
        if self._users.is_taken(user.username):
            return UsernameTakenError()
        email = {"given_email": user.email}
        if self._connections.first(self._select_taken_email, email, of_primary=True) is not None:
            return EmailTakenError()
        return self._verifications.is_taken(user.verification_token_hash)

    def _check_password_hash(self, password_hash: str) -> None:
        if not is_storable(password_hash, self._password_hash_length):
            raise InvalidCredentialsError("Password hash can't be stored")
