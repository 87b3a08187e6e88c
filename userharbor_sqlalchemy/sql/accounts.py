"""Accounts: creating, finding, listing and deleting users."""

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Generic

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from userharbor.exceptions import (
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidUsernameError,
)
from userharbor.interfaces import CreateUserRequest, UserT

from ..engine.database import Database, check_size
from ..errors import EmailTakenError, NoPasswordError, UnknownUserError, UsernameTakenError
from ..schema.tables import Tables
from ..schema.uniques import names_of_uniques
from ..schema.user_model import UserModel
from ..schema.values import is_storable, is_storable_key, plain
from .tokens import TokenTable
from .users import Lookup, Users

# Of PostgreSQL's texts.
_CONSTRAINT = re.compile('unique constraint "(.+)"')


class Accounts(Generic[UserT]):
    """The user table, and what is stored and removed with a user."""

    def __init__(
        self,
        database: Database,
        users: Users,
        verifications: TokenTable,
        model: UserModel,
        tables: Tables,
        user_mapper: Callable[[Any], UserT] | None,
    ) -> None:
        self._database = database
        self._users = users
        self._model = model
        self._user_mapper = user_mapper
        self._verifications = verifications
        self._email_length = model.length("email")

        email = model.columns["email"]
        password_hash, verified = model.columns["password_hash"], model.columns["verified"]
        no, yes = model.flags
        self._key_of = {name: column.key for name, column in model.columns.items()}
        self._unverified, self._verified = {verified.key: no}, {verified.key: yes}
        found = model.email_as_found(email)
        given_email = model.email_as_found(bindparam("given_email", type_=email.type))
        in_lower_case: BindParameter[str] = bindparam("given_email_in_lower_case", type_=email.type)
        self._has_email = found.in_([given_email, in_lower_case])
        self._select_taken_email = (
            select(email).where(found == given_email).with_for_update(read=True)
        )
        self._select_password_hash = select(
            users.spelled, password_hash.label("password_hash")
        ).where(users.matches)
        # What they write is given by the columns' keys, under which defaults look for it.
        self._insert = insert(model.table)
        self._update = update(model.table).where(users.matches)
        self._delete = delete(model.table).where(users.matches)
        self._delete_all = [
            *(delete(table).where(users.owns(table.c.username)) for table in tables.of_users()),
            self._delete,
        ]
        self._count = select(func.count()).select_from(users.table).where(*users.of_model)

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self._model, self._user_mapper)

    @cached_property
    def _select_by_username(self) -> Select[Any]:
        return self._lookup.select.where(self._users.matches)

    @cached_property
    def _select_by_email(self) -> Select[Any]:
        return self._lookup.select.where(self._has_email, *self._users.of_model)

    @cached_property
    def _select_all(self) -> Select[Any]:
        return self._lookup.select.where(*self._users.of_model)

    def create(self, user: CreateUserRequest) -> None:
        """Store an unverified user, its key and the e-mail verification, or none of them."""
        parameters, row = self._row(user)
        verification = self._verifications.row(user.verification_token_hash, user.expires_at)

        def insert_all(connection: Connection) -> None:
            connection.execute(self._insert, row)
            self._users.complete(connection, parameters)
            self._verifications.insert(connection, parameters["given_username"], verification)

        try:
            self._database.unit(insert_all, lambda: self._check_not_taken(user))
        except IntegrityError as error:
            refusal = error
        else:
            return
        raise self._taken_by_whom_nobody_sees(refusal)

    def set_verified(self, username: str) -> None:
        """Mark the user's e-mail as verified, if there is such a user."""
        self._database.execute(self._update, self._users.resolve(username) | self._verified)

    def delete(self, username: str) -> None:
        """Remove the user, if there is one, with all that refers to it."""
        self._database.delete(self._delete, self._delete_all, self._users.resolve(username))

    def by_username(self, username: str) -> UserT | None:
        """The user of this name in any casing, or None."""
        parameters = self._users.resolve(username, of_primary=False)
        row = self._database.first(self._select_by_username, parameters)
        if row is None or not self._users.found(self._lookup.username(row), parameters):
            return None
        return self._user(row)

    def by_email(self, email: str) -> UserT | None:
        """The user of this e-mail, as given, in lower case or as an index folds it, or None."""
        email = plain(email)
        lowered = email.lower()
        if not is_storable(email, self._email_length):
            return None
        parameters = {"given_email": email, "given_email_in_lower_case": lowered}
        rows = self._database.all(self._select_by_email, parameters)
        found = {self._lookup.email(row): row for row in rows}
        for spelled in (email, *found):
            if spelled in found and spelled.lower() == lowered:
                return self._user(found[spelled])
        return None

    def password_hash(self, username: str) -> str:
        """The user's password hash; `UnknownUserError` without such a user, or without a hash."""
        parameters = self._users.resolve(username, of_primary=False)
        row = self._database.first(self._select_password_hash, parameters)
        if row is None or not self._users.found(row.username, parameters):
            raise UnknownUserError
        if row.password_hash is None:
            raise NoPasswordError
        return str(row.password_hash)

    def set_password_hash(self, username: str, password_hash: str) -> None:
        """Replace the user's password hash; `UnknownUserError` without such a user."""
        self._check_password_hash(password_hash)
        parameters = self._users.resolve(username)
        parameters[self._key_of["password_hash"]] = plain(password_hash)
        # Without its FOUND_ROWS flag, MySQL does not count a row that stays what it was.
        if not self._database.execute(self._update, parameters):
            self._users.check_exists(username)

    def count(self) -> int:
        """How many users there are."""
        return self._database.count(self._count)

    def all(self, after: str | None, page_size: int) -> Iterator[UserT]:
        """All users by pages, those behind the name `after`."""
        check_size("page_size", page_size)
        if after is not None and not is_storable(after):
            raise InvalidUsernameError("Username can't be stored")
        after = after and plain(after)
        pages = self._database.pages(
            self._select_all, self._users.key, self._lookup.username, page_size, after=after
        )
        return (self._user(row) for page in pages for row in page)

    def _user(self, row: Row[Any]) -> UserT:
        user: UserT = self._lookup.user(row)
        return user

    def _row(self, user: CreateUserRequest) -> tuple[dict[str, Any], dict[str, Any]]:
        parameters = self._users.parameters(user.username)
        key = parameters["given_username_key"]
        if (
            key is None
            or not self._holds_key("username", user.username)
            or not self._holds("username_key", key)
        ):
            raise InvalidUsernameError("Username can't be stored")
        if not self._holds_key("email", user.email):
            raise InvalidEmailError("Email can't be stored")
        self._check_password_hash(user.password_hash)
        row = {
            self._key_of["username"]: plain(user.username),
            self._key_of["email"]: plain(user.email),
            self._key_of["password_hash"]: plain(user.password_hash),
            **self._unverified,
            **self._users.new_row(parameters),
        }
        return parameters, row

    def _check_not_taken(self, user: CreateUserRequest) -> None:
        if self._users.correct_key(user.username):
            return
        if self._users.is_taken(user.username):
            raise UsernameTakenError
        email = {"given_email": plain(user.email)}
        if self._database.first(self._select_taken_email, email, of_primary=True) is not None:
            raise EmailTakenError
        self._verifications.check_not_taken(user.verification_token_hash)

    def _taken_by_whom_nobody_sees(self, refusal: IntegrityError) -> IntegrityError:
        """What the name of the constraint says, where row-level security hides the other user."""
        found = _CONSTRAINT.search(str(refusal.orig))
        name = found[1] if found else None
        if name in names_of_uniques(self._model.columns["email"]):
            return EmailTakenError()
        if name in names_of_uniques(self._users.key) | names_of_uniques(self._users.folded):
            return UsernameTakenError()
        return refusal

    def _check_password_hash(self, password_hash: str) -> None:
        if not self._holds("password_hash", password_hash):
            raise InvalidCredentialsError("Password hash can't be stored")

    def _holds_key(self, attribute: str, text: str) -> bool:
        return is_storable_key(text) and self._holds(attribute, text)

    def _holds(self, attribute: str, text: str) -> bool:
        dialect = self._database.bind.dialect
        return is_storable(text) and self._model.holds(attribute, text, dialect)
