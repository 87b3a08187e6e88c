"""Renaming a user: what is the user's is removed, and stored again under the new name.

Our foreign keys have no ON UPDATE CASCADE: a database of 0.7.0 would have to make each one again.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Generic

from sqlalchemy import (
    Connection,
    Inspector,
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
from sqlalchemy.engine.interfaces import ReflectedForeignKeyConstraint
from userharbor.interfaces import UserT

from ..engine.backends import backend_of
from ..errors import UnknownUserError, UsernameReferredToError
from ..schema.tables import Tables, schema_in_use
from .accounts import Accounts
from .expressions import identical
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
        inspector = inspect(connection)
        if referring := [*self._referring(connection, inspector, row.username)]:
            raise UsernameReferredToError(referring)
        moved = []
        for owned in self._owned:
            move = _Move(connection, inspector, self._users, owned)
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
        self, connection: Connection, inspector: Inspector, username: str
    ) -> Iterator[str]:
        """The columns of other tables that refer to the user, and would not come along."""
        tables = self._users.table.metadata.tables.values()
        owned = {(schema_in_use(each, connection), each.name): each for each in self._owned}
        for schema in sorted({schema_in_use(each, connection) for each in tables}, key=str):
            for name, keys in inspector.get_multi_foreign_keys(schema=schema).items():
                if name not in owned:
                    for key in keys:
                        if self._is_left(connection, owned, name, key, username):
                            columns = ", ".join(key["constrained_columns"])
                            yield f"{'.'.join(filter(None, name))}.{columns}"

    def _is_left(
        self,
        connection: Connection,
        owned: Mapping[tuple[str | None, str], Table],
        name: tuple[str | None, str],
        key: ReflectedForeignKeyConstraint,
        username: str,
    ) -> bool:
        referred = (key["referred_schema"], key["referred_table"])
        pairs = dict(zip(key["referred_columns"], key["constrained_columns"], strict=False))
        other = table(name[1], *map(column, pairs.values()), schema=name[0])
        users = self._users.table
        if referred == (schema_in_use(users, connection), users.name):
            cascades = key.get("options", {}).get("onupdate", "").upper() == "CASCADE"
            if self._users.key.name not in pairs or (cascades and _enforces(connection)):
                return False
            refers = other.c[pairs[self._users.key.name]] == username
        elif (theirs := owned.get(referred)) is not None:
            refers = literal(username) == theirs.c.username
            for referred_to, referring in pairs.items():
                refers &= theirs.c[referred_to] == other.c[referring]
        else:
            return False
        one = select(literal(1)).select_from(other).where(refers).limit(1)
        return connection.execute(one).first() is not None


class _Move:
    """The statements by which a table's rows of a user are taken out and put back.

    With the columns that the application has added to the database only.
    """

    def __init__(
        self, connection: Connection, inspector: Inspector, users: Users, owned: Table
    ) -> None:
        schema = schema_in_use(owned, connection)
        known = [column(each.name, each.type) for each in owned.columns]
        is_typed = backend_of(connection.dialect).has_typed_columns
        added = [
            column(each["name"], each["type"] if is_typed else None)
            for each in inspector.get_columns(owned.name, schema)
            if each["name"] not in owned.columns and not {"computed", "identity"} & each.keys()
        ]
        rows = table(owned.name, *known, *added, schema=schema)
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


def _enforces(connection: Connection) -> bool:
    """Whether this connection keeps foreign keys, and what they cascade to."""
    if backend_of(connection.dialect).enforces_foreign_keys:
        return True
    return bool(connection.exec_driver_sql("PRAGMA foreign_keys").scalar())
