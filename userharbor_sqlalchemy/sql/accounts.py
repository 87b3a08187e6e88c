"""Accounts: creating, finding, listing and deleting users."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

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
from ..schema.values import is_storable, is_storable_key, plain, username_key
from .expressions import identical
from .tokens import TokenTable
from .users import Lookup, Users

T = TypeVar("T")

# Of PostgreSQL's texts.
_CONSTRAINT = re.compile('unique constraint "(.+)"')


class Accounts(Generic[UserT]):
    """The user table, and what is stored and removed with a user."""

    def __init__(
        self,
        database: Database,
        users: Users,
        verifications: TokenTable,
        resets: TokenTable,
        model: UserModel,
        tables: Tables,
        user_mapper: Callable[[Any], UserT] | None,
    ) -> None:
        self._database = database
        self._users = users
        self._model = model
        self._user_mapper = user_mapper
        self._verifications = verifications
        self._resets = resets
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
        ).where(users.matches, *users.active)
        # What they write is given by the columns' keys, under which defaults look for it.
        self._insert = insert(model.table)
        self._update = update(model.table).where(users.matches)
        self._delete = delete(model.table).where(users.matches)
        self._delete_all = [
            *(delete(table).where(users.owns(table.c.username)) for table in tables.of_users()),
            self._delete,
        ]
        self._are_shown = [*users.of_model, *users.active]
        self._count = select(func.count()).select_from(users.table).where(*self._are_shown)

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self._model, self._user_mapper)

    @cached_property
    def _select_by_username(self) -> Select[Any]:
        return self._lookup.select.where(self._users.matches, *self._users.active)

    @cached_property
    def _select_by_email(self) -> Select[Any]:
        return self._lookup.select.where(self._has_email, *self._are_shown)

    @cached_property
    def _select_all(self) -> Select[Any]:
        return self._lookup.select.where(*self._are_shown)

    def create(self, user: CreateUserRequest) -> None:
        """Store an unverified user, its key and the e-mail verification, or none of them."""
        parameters, row = self._row(user)
        verification = self._verifications.row(user.verification_token_hash, user.expires_at)

        def insert_all(connection: Connection) -> None:
            connection.execute(self._insert, row)
            self._users.complete(connection, parameters)
            self._verifications.insert(connection, parameters["given_username"], verification)

        self.store_or_tell(insert_all, lambda: self._check_not_taken(user))

    def set_email(self, username: str, email: str, *, verified: bool) -> None:
        """Replace the user's e-mail; the tokens that were sent to the old one are gone."""
        email = plain(email).lower()
        self._check_email(email)
        parameters = self._users.resolve(username)
        row = {
            **parameters,
            self._key_of["email"]: email,
            **(self._verified if verified else self._unverified),
        }

        def change(connection: Connection) -> int:
            changed: int = connection.execute(self._update, row).rowcount
            for tokens in (self._verifications, self._resets):
                tokens.remove_with(connection, parameters)
            return changed

        if not self.store_or_tell(change, lambda: self._check_email_not_taken(email)):
            self._users.check_exists(username)

    def store_or_tell(self, work: Callable[[Connection], T], refused: Callable[[], None]) -> T:
        """Have `work` done as a unit; the core's error where another user is in the way."""
        try:
            return self._database.unit(work, refused)
        except IntegrityError as error:
            refusal = error
        raise self._taken_by_whom_nobody_sees(refusal)

    def set_verified(self, username: str) -> None:
        """Mark the user's e-mail as verified, if there is such a user."""
        self._database.execute(self._update, self._users.resolve(username) | self._verified)

    def delete(self, username: str) -> None:
        """Remove the user, if there is one, with all that refers to it."""
        self._database.delete(self._delete, self._delete_all, self._users.resolve(username))

    def delete_within(self, connection: Connection, parameters: Mapping[str, Any]) -> None:
        """Remove the user whom `parameters` find, as a part of a unit, foreign keys or none."""
        for statement in self._delete_all:
            connection.execute(statement, parameters)

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

    def all(self, after: str | None, page_size: int, prefix: str = "") -> Iterator[UserT]:
        """All users by pages, those behind the name `after` that begin with `prefix`."""
        if not prefix:
            return self._paged(self._select_all, after, page_size)
        if not is_storable(prefix):
            return iter(())
        folded = username_key(prefix)
        rows = self._select_all.where(self._users.begins_with(prefix))
        return self._paged(rows, after, page_size, lambda name: _begins(name, folded))

    def having(
        self, by_name: Select[Any], parameters: Mapping[str, Any], after: str | None, page_size: int
    ) -> Iterator[UserT]:
        """The users to whom a query of references leads, by pages."""
        (reference,) = by_name.selected_columns
        exactly = by_name.where(identical(reference, self._users.key)).correlate(self._users.table)
        rows = self._select_all.where(self._users.is_in(by_name), exactly.exists())
        return self._paged(rows.params(parameters), after, page_size)

    def _paged(
        self,
        rows: Select[Any],
        after: str | None,
        page_size: int,
        is_meant: Callable[[str], bool] = lambda name: True,
    ) -> Iterator[UserT]:
        check_size("page_size", page_size)
        if after is not None and not is_storable(after):
            raise InvalidUsernameError("Username can't be stored")
        after = after and plain(after)
        username = self._lookup.username
        pages = self._database.pages(rows, self._users.key, username, page_size, after=after)
        return (self._user(row) for page in pages for row in page if is_meant(username(row)))

    def _user(self, row: Row[Any]) -> UserT:
        user: UserT = self._lookup.user(row)
        return user

    def _row(self, user: CreateUserRequest) -> tuple[dict[str, Any], dict[str, Any]]:
        parameters = self.new_name(user.username)
        self._check_email(user.email)
        self._check_password_hash(user.password_hash)
        row = {
            self._key_of["username"]: plain(user.username),
            self._key_of["email"]: plain(user.email),
            self._key_of["password_hash"]: plain(user.password_hash),
            **self._unverified,
            **self._users.new_row(parameters),
        }
        return parameters, row

    def new_name(self, username: str) -> dict[str, Any]:
        """A name and its key as parameters; the core's error if no column can hold them."""
        parameters = self._users.parameters(username)
        key = parameters["given_username_key"]
        if (
            key is None
            or not self._holds_key("username", username)
            or not self._holds("username_key", key)
        ):
            raise InvalidUsernameError("Username can't be stored")
        return parameters

    def check_name_not_taken(self, username: str) -> bool:
        """The core's error if a name is taken; whether it was, until a wrong key was corrected."""
        if self._users.correct_key(username):
            return True
        if self._users.is_taken(username):
            raise UsernameTakenError
        return False

    def _check_not_taken(self, user: CreateUserRequest) -> None:
        if self.check_name_not_taken(user.username):
            return
        self._check_email_not_taken(user.email)
        self._verifications.check_not_taken(user.verification_token_hash)

    def _check_email_not_taken(self, email: str) -> None:
        given = {"given_email": plain(email)}
        if self._database.first(self._select_taken_email, given, of_primary=True) is not None:
            raise EmailTakenError

    def _taken_by_whom_nobody_sees(self, refusal: IntegrityError) -> IntegrityError:
        """What the name of the constraint says, where row-level security hides the other user."""
        found = _CONSTRAINT.search(str(refusal.orig))
        name = found[1] if found else None
        if name in names_of_uniques(self._model.columns["email"]):
            return EmailTakenError()
        if name in names_of_uniques(self._users.key) | names_of_uniques(self._users.folded):
            return UsernameTakenError()
        return refusal

    def _check_email(self, email: str) -> None:
        if not self._holds_key("email", email):
            raise InvalidEmailError("Email can't be stored")

    def _check_password_hash(self, password_hash: str) -> None:
        if not self._holds("password_hash", password_hash):
            raise InvalidCredentialsError("Password hash can't be stored")

    def _holds_key(self, attribute: str, text: str) -> bool:
        return is_storable_key(text) and self._holds(attribute, text)

    def _holds(self, attribute: str, text: str) -> bool:
        dialect = self._database.bind.dialect
        return is_storable(text) and self._model.holds(attribute, text, dialect)


def _begins(name: str, folded: str) -> bool:
    return username_key(name).startswith(folded)
