"""Rows that refer to what the application removed, where no foreign key took them along."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Table,
    delete,
    literal_column,
    select,
    union_all,
)

from ..engine.backends import backend_of


class Leftovers:
    """What is left in some tables, by a condition for each: to be removed from a new name."""

    def __init__(self, conditions: Iterable[tuple[Table, ColumnElement[bool]]]) -> None:
        conditions = list(conditions)
        self.deletes: list[Delete] = [delete(table).where(left) for table, left in conditions]
        one: ColumnElement[int] = literal_column("1")
        self._find = union_all(
            *(select(one).select_from(table).where(left) for table, left in conditions)
        ).limit(1)

    def remove(self, connection: Connection, parameters: Mapping[str, Any]) -> None:
        """Remove them, if there are any, where the database may not enforce foreign keys.

        Elsewhere there are none, and looking for them would lock gaps on MySQL.
        """
        if backend_of(connection.dialect).enforces_foreign_keys:
            return
        if connection.execute(self._find, parameters).first() is not None:
            for statement in self.deletes:
                connection.execute(statement, parameters)
