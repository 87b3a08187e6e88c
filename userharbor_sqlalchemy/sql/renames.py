"""Renaming a user: what is the user's is removed, and stored again under the new name.

Our foreign keys have no ON UPDATE CASCADE: a database of 0.7.0 would have to make each one again.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Generic

from sqlalchemy import (
    JSON,
    Column,
    ColumnClause,
    Connection,
    Table,
    bindparam,
    column,
    delete,
    insert,
    inspect,
    literal,
    select,
    table,
    update,
)
from sqlalchemy.types import TypeEngine
from userharbor.interfaces import UserT

from ..engine.backends import backend_of
from ..errors import UnknownUserError, UsernameReferredToError
from ..schema.tables import Tables
from .accounts import Accounts
from .expressions import identical
from .references import Place, Reference, place_of, references_to
from .users import Users


class Renames(Generic[UserT]):
    """Gives a user another name, and all that refers to the name with it."""

    def __init__(self, users: Users, accounts: Accounts[UserT], tables: Tables) -> None:
        self._users = users
        self._accounts = accounts
        self._owned = tables.of_users()
        # Not FOR NO KEY UPDATE: a session that is just stored waits, and finds the name gone.
        self._lock = select(users.spelled).where(users.matches).with_for_update()
        self._update = update(users.table).where(identical(users.key, users.given))

    def rename(self, old: str, new: str) -> None:
        """Give the user of the name `old` the name `new`, with all that is the user's."""
        given, to = self._users.resolve(old), self._accounts.new_name(new)
        if not self._accounts.store_or_tell(
            lambda connection: self._rename(connection, given, to),
            lambda: self._check_not_taken(new),
        ):
            raise UnknownUserError

    def _check_not_taken(self, new: str) -> None:
        self._accounts.check_name_not_taken(new)

    def _rename(self, connection: Connection, given: dict[str, Any], to: dict[str, Any]) -> bool:
        row = connection.execute(self._lock, given).first()
        if row is None or not self._users.found(row.username, given):
            return False
        if row.username == to["given_username"]:
            return True
        stored = {"given_username": row.username}
        owned = {place_of(connection, each): each for each in self._owned}
        if referring := [*self._referring(connection, owned, row.username)]:
            raise UsernameReferredToError(referring)
        moved = []
        for place, each in owned.items():
            move = _Move(connection, self._users, each, place)
            moved.append((move, move.take(connection, stored)))
        new_row = {self._users.key.key: to["given_username"]}
        if not self._users.has_keys_beside:
            new_row[self._users.folded.key] = to["given_username_key"]
        connection.execute(self._update, stored | new_row)
        self._users.complete(connection, to)
        for move, rows in moved:
            move.put(connection, rows, to["given_username"])
        return True

    def _referring(
        self, connection: Connection, owned: Mapping[Place, Table], username: str
    ) -> Iterator[str]:
        """The columns of the application's that refer to the user, and would not come along."""
        users = self._users
        here = place_of(connection, users.table)
        changed = {users.key.name} if users.has_keys_beside else {users.key.name, users.folded.name}
        names = {here: users.key} | {place: each.c.username for place, each in owned.items()}
        for place, name in names.items():
            for key in references_to(connection, place):
                if place == here and (
                    (key.place in owned and key.referring == ["username"])
                    or changed.isdisjoint(key.referred)
                    or (key.cascades and _enforces(connection))
                ):
                    continue
                if _is_referred_to(connection, key, place, name, username):
                    schema, table_name = key.place
                    where = [schema, table_name] if schema != here[0] else [table_name]
                    yield f"{'.'.join(filter(None, where))}.{', '.join(key.referring)}"


def _is_referred_to(
    connection: Connection, key: Reference, place: Place, name: Column[str], username: str
) -> bool:
    """Whether `key` refers to a row at `place` that has `username` in the column `name`."""
    others: list[ColumnClause[Any]] = [column(each) for each in key.referred if each != name.name]
    rows = table(place[1], column(name.name, name.type), *others, schema=place[0]).alias("referred")
    referring = table(key.place[1], *map(column, key.referring), schema=key.place[0]).alias(
        "referring"
    )
    of_user = identical(rows.c[name.name], literal(username, name.type))
    pairs = zip(key.referred, key.referring, strict=True)
    refers = [rows.c[theirs] == referring.c[ours] for theirs, ours in pairs]
    one = select(literal(1)).where(of_user, *refers).limit(1)
    return connection.execute(one).first() is not None


class _Move:
    """The statements by which a table's rows of a user are taken out and put back.

    With the columns that the application has added, to the database only as well.
    """

    def __init__(self, connection: Connection, users: Users, owned: Table, place: Place) -> None:
        schema, name = place
        types = {each.name: each.type for each in owned.columns}
        is_typed = backend_of(connection.dialect).has_typed_columns
        columns = [
            column(each["name"], types.get(each["name"], _storing(each["type"], is_typed)))
            for each in inspect(connection).get_columns(name, schema)
            if "computed" not in each and not each.get("identity", {}).get("always")
        ]
        rows = table(name, *columns, schema=schema)
        # Of the keys, one is stored with the new name.
        self._is_put_back = owned is not users.folded.table
        self._columns = [*rows.columns.keys()]
        # The newest rows, in a transaction whose snapshot is older, too.
        self._select = select(rows).where(identical(rows.c.username, users.given)).with_for_update()
        self._key = [each.name for each in owned.primary_key]
        # One by one: a DELETE by username would lock gaps on MySQL.
        self._delete = delete(rows).where(
            *(
                rows.c[name] == bindparam(f"given_{name}", type_=rows.c[name].type)
                for name in self._key
            )
        )
        self._insert = insert(rows)

    def take(self, connection: Connection, stored: dict[str, Any]) -> list[dict[str, Any]]:
        rows = [
            dict(zip(self._columns, row, strict=True))
            for row in connection.execute(self._select, stored)
        ]
        for row in rows:
            connection.execute(self._delete, {f"given_{name}": row[name] for name in self._key})
        return rows

    def put(self, connection: Connection, rows: list[dict[str, Any]], username: str) -> None:
        if rows and self._is_put_back:
            connection.execute(self._insert, [{**row, "username": username} for row in rows])


def _storing(found: TypeEngine[Any], is_typed: bool) -> TypeEngine[Any] | None:
    """The type that gives a value back as it was read."""
    if isinstance(found, JSON):
        found.none_as_null = True
    return found if is_typed else None


def _enforces(connection: Connection) -> bool:
    """Whether this connection keeps foreign keys, and what they cascade to."""
    if backend_of(connection.dialect).enforces_foreign_keys:
        return True
    return bool(connection.exec_driver_sql("PRAGMA foreign_keys").scalar())
