"""Renaming a user: what is the user's is removed, and stored again under the new name.

Our foreign keys have no ON UPDATE CASCADE: a database of 0.7.0 would have to make each one again.
"""

from collections.abc import Iterator
from typing import Any, Generic

from sqlalchemy import (
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
from sqlalchemy.engine.interfaces import ReflectedForeignKeyConstraint
from userharbor.interfaces import UserT

from ..engine.backends import backend_of
from ..errors import UnknownUserError, UsernameReferredToError
from ..schema.tables import Tables
from .accounts import Accounts
from .expressions import identical
from .users import Users


class Renames(Generic[UserT]):
    """Gives a user another name, and all that refers to the name with it."""

    def __init__(self, users: Users, accounts: Accounts[UserT], tables: Tables) -> None:
        self._users = users
        self._accounts = accounts
        self._owned = {(each.schema, each.name): each for each in tables.of_users()}
        self._moves = [_Move(users, each) for each in tables.of_users()]
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
        if referring := [*self._referring(connection, row.username)]:
            raise UsernameReferredToError(referring)
        moved = [(move, move.take(connection, stored)) for move in self._moves]
        new_row = {self._users.key.key: to["given_username"]}
        if not self._users.has_keys_beside:
            new_row[self._users.folded.key] = to["given_username_key"]
        connection.execute(self._update, stored | new_row)
        self._users.complete(connection, to)
        for move, rows in moved:
            move.put(connection, rows, to["given_username"])
        return True

    def _referring(self, connection: Connection, username: str) -> Iterator[str]:
        """The columns of other tables that refer to the user, and would not come along."""
        inspector = inspect(connection)
        tables = self._users.table.metadata.tables.values()
        for schema in sorted({each.schema for each in tables}, key=str):
            for name, keys in inspector.get_multi_foreign_keys(schema=schema).items():
                if name not in self._owned:
                    for key in keys:
                        if self._is_left(connection, name, key, username):
                            columns = ", ".join(key["constrained_columns"])
                            yield f"{'.'.join(filter(None, name))}.{columns}"

    def _is_left(
        self,
        connection: Connection,
        name: tuple[str | None, str],
        key: ReflectedForeignKeyConstraint,
        username: str,
    ) -> bool:
        referred = (key["referred_schema"], key["referred_table"])
        pairs = dict(zip(key["referred_columns"], key["constrained_columns"], strict=False))
        other = table(name[1], *map(column, pairs.values()), schema=name[0])
        if referred == (self._users.table.schema, self._users.table.name):
            cascades = key.get("options", {}).get("onupdate", "").upper() == "CASCADE"
            if self._users.key.name not in pairs or (cascades and _enforces(connection)):
                return False
            refers = other.c[pairs[self._users.key.name]] == username
        elif (owned := self._owned.get(referred)) is not None:
            refers = literal(username) == owned.c.username
            for theirs, ours in pairs.items():
                refers &= owned.c[theirs] == other.c[ours]
        else:
            return False
        one = select(literal(1)).select_from(other).where(refers).limit(1)
        return connection.execute(one).first() is not None


class _Move:
    """The statements by which a table's rows of a user are taken out and put back."""

    def __init__(self, users: Users, owned: Table) -> None:
        key = [*owned.primary_key]
        # Of the keys, one is stored with the new name.
        self._is_put_back = owned is not users.folded.table
        self._columns = [each.name for each in owned.columns]
        # The newest rows, in a transaction whose snapshot is older, too.
        self._select = (
            select(*owned.columns).where(identical(owned.c.username, users.given)).with_for_update()
        )
        # One by one: a DELETE by username would lock gaps on MySQL.
        self._delete = delete(owned).where(
            *(each == bindparam(f"given_{each.name}", type_=each.type) for each in key)
        )
        self._key = [each.name for each in key]
        self._insert = insert(owned)

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
