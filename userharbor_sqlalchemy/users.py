"""The user table: how a user is found in it, and what its row becomes.

An application's own user model is to be registered here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, select

from .connections import Connections
from .dialects import identical
from .tables import USERNAME_LENGTH
from .values import is_storable, username_key


@dataclass
class User:
    """What lookups return by default. An application may subclass it, as a dataclass too.

    `username` and `email` are spelled as they were stored.
    """

    username: str
    email: str
    verified: bool


def to_user(row: Row[Any]) -> User:
    """The default mapping of a lookup's row."""
    return User(row.username, row.email, row.verified)


class Users:
    """The user table as the statements of a store see it.

    A statement that contains `is_named` or `owner` is given `named(username)` as parameters,
    and finds a user by any casing of the name.
    """

    def __init__(self, connections: Connections, table: Table) -> None:
        self._connections = connections
        self.table = table
        self.username = table.c.username
        self.is_named = identical(table.c.username_key, bindparam("given_username_key"))
        self._select = select(self.username).where(self.is_named)
        # Keeps other writers of the user's row out, and lets logins go on.
        self._lock = self._select.with_for_update(key_share=True)
        self.owner = self._lock.scalar_subquery()
        """The spelling of the name as it was stored, for a write to the user's rows elsewhere."""

    def named(self, username: str) -> dict[str, Any]:
        """The parameters that find the user. A name that no column can hold finds none."""
        key = username_key(username)
        return {"given_username_key": key if is_storable(key, USERNAME_LENGTH) else None}

    def found(self, row: Row[Any] | None, parameters: Mapping[str, Any]) -> bool:
        """Whether `row` is that of the user asked for, whatever the table's collation folds."""
        if row is None:
            return False
        return bool(username_key(row.username) == parameters["given_username_key"])

    def exists(self, username: str) -> bool:
        """Whether there is a user of this name."""
        parameters = self.named(username)
        return self.found(self._connections.first(self._select, parameters), parameters)

    def lock(self, connection: Connection, parameters: Mapping[str, Any]) -> str | None:
        """Lock the user's row to the end of the transaction; return the name as it was stored."""
        row = connection.execute(self._lock, parameters).first()
        return row.username if row is not None and self.found(row, parameters) else None
