"""The user table as statements see it: how a user is found, and what a lookup makes of a row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Insert,
    Label,
    ScalarSelect,
    Select,
    String,
    Table,
    Update,
    and_,
    bindparam,
    exists,
    insert,
    select,
    type_coerce,
    update,
)

from ..engine.database import Database
from ..errors import UnknownUserError
from ..schema.tables import Tables
from ..schema.user_model import UserModel
from ..schema.values import USERNAME_LENGTH, is_storable, plain, username_key
from .expressions import begins_with, identical, unless_enforced
from .instances import Instances
from .leftovers import Leftovers


@dataclass
class User:
    """What lookups return by default. An application may subclass it, as a dataclass too.

    `username` and `email` are spelled as they were stored.
    """

    username: str
    email: str
    verified: bool


class Users:
    """The user table as the statements of a store see it.

    A statement that contains `matches` or `owner` is given `resolve(username)` as parameters,
    and finds a user by any casing of the name.
    """

    def __init__(
        self,
        database: Database,
        model: UserModel,
        tables: Tables,
        active: ColumnElement[bool] | None,
    ) -> None:
        self._database = database
        self.table: Table = model.table
        self.key: Column[str] = model.columns["username"]
        self.folded: Column[str] = _key_column(model, tables)
        """The column of the keys: the model's own, or that of the table of keys."""
        self.given: BindParameter[str] = bindparam("given_username", type_=self.key.type)
        self.given_key: BindParameter[str] = bindparam("given_username_key", type_=self.folded.type)
        self.found_by: Column[str] = self.key if self.has_keys_beside else self.folded
        """The column of the user table whose index finds a user, and is locked first by InnoDB."""
        self.spelled: Label[str] = self.key.label("username")
        """The column as a row names it."""
        self.of_model: list[ColumnElement[bool]] = _of_model(model)
        """The conditions that a row of the table is a user, and one of the model's."""
        self.active: list[ColumnElement[bool]] = [] if active is None else [active]
        """The conditions that a user may come in, and is found by lookups."""
        self.matches: ColumnElement[bool] = and_(_has_name(self), *self.of_model)
        self._select = select(self.spelled).where(self.matches)
        self._select_taken = _select_taken(self)
        self._select_key = _select_key(self)
        self._correct_key = _correct_key(self)
        self._select_spellings = _select_spellings(self)
        # Keeps other writers of the user's row out, and lets logins go on.
        self.lock: Select[Any] = self._select.with_for_update(key_share=True)
        self.owner: ScalarSelect[Any] = self.lock.scalar_subquery()
        """The spelling of the name as it was stored, for a write to the user's rows elsewhere."""
        self._discriminator = _discriminator(model)
        self._leftovers = Leftovers(_left_of(self, tables))
        self._insert_key = _insert_key(self)
        self._key_length = min(USERNAME_LENGTH, model.length("username_key"))

    def new_row(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What a new row has beside what is in the request, by the keys of its columns."""
        if self.has_keys_beside:
            return self._discriminator
        return {self.folded.key: parameters["given_username_key"], **self._discriminator}

    @property
    def has_keys_beside(self) -> bool:
        """Whether the keys have a table of their own."""
        return self.folded.table is not self.table

    def parameters(self, username: str) -> dict[str, Any]:
        """A name and its key as parameters; None in their place for a name that no column holds."""
        username = plain(username)
        key = username_key(username)
        if not is_storable(key, self._key_length):
            return {"given_username_key": None, "given_username": None}
        return {"given_username_key": key, "given_username": username}

    def resolve(self, username: str, *, of_primary: bool = True) -> dict[str, Any]:
        """The parameters that find the user, for a write, or for a read that is not `of_primary`.

        Where keys have a table of their own, this sends a SELECT for the name as it was stored:
        that of a user of exactly this name, with or without a key, or else that of the key.
        """
        parameters = self.parameters(username)
        if self._select_spellings is not None:
            rows = self._database.all(self._select_spellings, parameters, of_primary=of_primary)
            spellings = [row.username for row in rows if self.found(row.username, parameters)]
            if spellings and username not in spellings:
                parameters["given_username"] = spellings[0]
        return parameters

    def found(self, stored: str | None, parameters: Mapping[str, Any]) -> bool:
        """Whether the username in a row is the one asked for, whatever the collation folds."""
        return stored is not None and username_key(stored) == parameters["given_username_key"]

    def owns(self, reference: Column[str]) -> ColumnElement[bool]:
        """The condition of a write that a row of another table is the user's."""
        return reference == self.owner

    def has(self, reference: Column[str]) -> ColumnElement[bool]:
        """The condition that the user is there to whom a row of another table refers."""
        return exists().where(identical(self.key, reference))

    def is_active(self, reference: Column[str]) -> list[ColumnElement[bool]]:
        """The conditions that the user is active to whom a row of another table refers."""
        return [exists().where(identical(self.key, reference), each) for each in self.active]

    def select_of(self, reference: Column[str], *columns: Column[Any]) -> Select[Any]:
        """A query of an active user's rows elsewhere; the name as it was stored comes first."""
        return self.select_of_any(reference, *columns).where(*self.active)

    def select_of_any(self, reference: Column[str], *columns: Column[Any]) -> Select[Any]:
        """The same of a user who may not be active."""
        return (
            select(self.spelled, *columns)
            .join_from(reference.table, self.table, reference == self.key)
            .where(self.matches)
        )

    def begins_with(self, prefix: str) -> ColumnElement[bool]:
        """The condition that a name begins with `prefix`, in any casing; more may be folded."""
        begins = begins_with(self.folded, username_key(plain(prefix)))
        if not self.has_keys_beside:
            return begins
        return self.is_in(select(self.folded.table.c.username).where(begins))

    def is_in(self, names: Select[Any] | BindParameter[Sequence[str]]) -> ColumnElement[bool]:
        """The condition that a user's name is one of `names`, by plain comparison."""
        # A domain of PostgreSQL's has no IN to SQLAlchemy.
        return type_coerce(self.key, String).in_(names)

    def check_exists(self, username: str) -> None:
        """`UnknownUserError` unless there is a user of this name, as writes see it."""
        parameters = self.resolve(username)
        row = self._database.first(self._select, parameters, of_primary=True)
        if row is None or not self.found(row.username, parameters):
            raise UnknownUserError

    def is_taken(self, username: str) -> bool:
        """Whether the database refuses this name to a new user."""
        parameters = self.parameters(username)
        return any(
            self._database.first(statement, parameters, of_primary=True) is not None
            for statement in self._select_taken
        )

    def correct_key(self, username: str) -> bool:
        """Give the user who has this name's key, but another name, its own; return whether.

        So an application leaves a user whom it renames without setting the key.
        """
        if self._select_key is None or self._correct_key is None:
            return False
        parameters = self.parameters(username)
        row = self._database.first(self._select_key, parameters, of_primary=True)
        if row is None or row.username is None or self.found(row.username, parameters):
            return False
        correct, own = self._correct_key, self.parameters(row.username)
        own[self.folded.key] = own["given_username_key"]
        return bool(self._database.unit(lambda c: c.execute(correct, own).rowcount, lambda: 0))

    def complete(self, connection: Connection, row: Mapping[str, Any]) -> None:
        """Remove what a former user of this name left, and store the key of the one just stored."""
        self._leftovers.remove(connection, row)
        if self._insert_key is not None:
            connection.execute(self._insert_key, row)

    def lock_by_name(self, username: str) -> bool:
        """Lock the user's row to the end of the open block; return whether it is there."""
        return self._database.first(self.lock, self.resolve(username)) is not None


class Lookup:
    """What a lookup selects of the user table, and what it makes of a row.

    Made of a class at the first lookup, when the classes that it refers to are there.
    """

    def __init__(self, model: UserModel, user_mapper: Callable[[Any], Any] | None) -> None:
        self.select: Select[Any]
        username, email = model.columns["username"], model.columns["email"]
        self.user: Callable[[Any], Any] = user_mapper or _to_user
        if user_mapper is None:
            names = ("username", "email", "verified")
            self.select = select(*(model.columns[name].label(name) for name in names))
            self._username_at, self._email_at = 0, 1
        elif model.mapper is None:
            columns = list(model.table.columns)
            self.select = select(model.table)
            self._username_at, self._email_at = columns.index(username), columns.index(email)
        else:
            instances = Instances(model.mapper)
            self._username_at, self._email_at = instances.place(username), instances.place(email)
            self.select = select(*instances.columns)
            self.user = lambda row: user_mapper(instances.make(row))

    def username(self, row: Sequence[Any]) -> str:
        """The username in a row of `select`."""
        return str(row[self._username_at])

    def email(self, row: Sequence[Any]) -> str:
        """The e-mail address in a row of `select`."""
        return str(row[self._email_at])


def _key_column(model: UserModel, tables: Tables) -> Column[str]:
    if tables.username_keys is not None:
        return tables.username_keys.c.username_key
    return model.columns["username_key"]


def _has_name(users: Users) -> ColumnElement[bool]:
    if users.has_keys_beside:
        return identical(users.key, users.given)
    return identical(users.folded, users.given_key)


def _select_spellings(users: Users) -> Select[Any] | None:
    if not users.has_keys_beside:
        return None
    keys = users.folded.table
    by_key = select(keys.c.username).where(users.folded == users.given_key).scalar_subquery()
    return select(users.spelled).where(users.key.in_([users.given, by_key]))


def _select_taken(users: Users) -> list[Select[Any]]:
    """What finds a row in a name's way, as a unique index compares, whatever it folds."""
    by_key = select(users.folded).where(users.folded == users.given_key)
    if users.has_keys_beside:
        by_key = by_key.where(unless_enforced(users.has(users.folded.table.c.username)))
    # By what is committed by now, also in a transaction whose snapshot is older.
    return [
        statement.with_for_update(read=True)
        for statement in (select(users.key).where(users.key == users.given), by_key)
    ]


def _select_key(users: Users) -> Select[Any] | None:
    if users.has_keys_beside:
        return None
    by_key = identical(users.folded, users.given_key)
    return select(users.spelled).where(by_key).with_for_update(read=True)


def _correct_key(users: Users) -> Update | None:
    if users.has_keys_beside:
        return None
    of_name = identical(users.key, users.given)
    return update(users.table).where(of_name)


def _of_model(model: UserModel) -> list[ColumnElement[bool]]:
    is_user: ColumnElement[bool] = model.columns["username"].is_not(None)
    identities = model.identities()
    if identities is None or model.mapper is None or model.mapper.polymorphic_on is None:
        return [is_user]
    return [is_user, model.mapper.polymorphic_on.in_(identities)]


def _discriminator(model: UserModel) -> dict[str, Any]:
    mapper = model.mapper
    if mapper is None or mapper.polymorphic_identity is None:
        return {}
    if not isinstance(mapper.polymorphic_on, Column):
        return {}
    return {mapper.polymorphic_on.key: mapper.polymorphic_identity}


def _insert_key(users: Users) -> Insert | None:
    if not users.has_keys_beside:
        return None
    row = {"username_key": users.given_key, "username": users.given}
    return insert(users.folded.table).values(row)


def _left_of(users: Users, tables: Tables) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """What is left of a name that nobody had when it was stored, by table."""
    keys = tables.username_keys
    for table in tables.of_users():
        left = table.c.username == users.given
        # The key of the name in another casing, too.
        if keys is not None and table is keys:
            left |= and_(users.folded == users.given_key, ~users.has(keys.c.username))
        yield table, left


def _to_user(row: Sequence[Any]) -> User:
    username, email, verified = row
    return User(username, email, bool(verified))
