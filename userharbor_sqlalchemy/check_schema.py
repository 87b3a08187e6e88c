"""What a look at the database's schema finds: what it lacks, or has otherwise than the tables say.

Each finding is a line that says what to do. What is looked for in rows stands in check_rows.py.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, String, Table, inspect
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from .dialects import folding_columns
from .models import is_unique

ADD = "`create-tables` or a migration makes it"


class SchemaCheck:
    """Compares tables of the MetaData with those of the database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inspector = inspect(connection)
        self._schemas = connection.get_execution_options().get("schema_translate_map") or {}

    def missing(self, table: Table, columns: Sequence[Column[Any]]) -> list[str]:
        """The table, or which of its `columns` are missing; without them its rows can't be read."""
        schema = self._schemas.get(table.schema, table.schema)
        if not self._inspector.has_table(table.name, schema):
            return [f"{table.name}: the table is missing: {ADD}"]
        there = {column["name"] for column in self._inspector.get_columns(table.name, schema)}
        return [
            f"{table.name}.{column.name}: the column is missing: a migration adds it"
            for column in columns
            if column.name not in there
        ]

    def differing(self, table: Table, columns: Sequence[Column[Any]]) -> Iterator[str]:
        """Which of `columns`, all there, differ from what the table says, and missing indexes."""
        schema = self._schemas.get(table.schema, table.schema)
        found = {
            column["name"]: column["type"]
            for column in self._inspector.get_columns(table.name, schema)
        }
        folding = folding_columns(self._connection, table.name, schema)
        unique, indexed = self._indexes(table.name, schema)
        for column in columns:
            name = f"{table.name}.{column.name}"
            if problem := _difference(column, found[column.name]):
                yield f"{name}: {problem}"
            if is_unique(column):
                if (column.name,) not in unique:
                    yield f"{name}: no unique index holds it to one of each: {ADD}"
                if column.name in folding and not column.foreign_keys:
                    yield (
                        f"{name}: its collation takes texts for one that differ in case or accent:"
                        " a migration gives it a binary one"
                    )
        for index in table.indexes:
            wanted = tuple(column.name for column in index.columns)
            ours = {column.name for column in columns}
            if not index.unique and ours.issuperset(wanted) and wanted[0] not in indexed:
                yield f"{table.name}: the index {index.name} is missing: {ADD}"
        for key in self._missing_foreign_keys(table, schema):
            yield f"{table.name}.{key}: no foreign key with ON DELETE CASCADE: a migration adds it"

    def _indexes(self, table: str, schema: str | None) -> tuple[set[tuple[str, ...]], set[str]]:
        """What is unique, and the columns that an index begins with."""
        primary = self._inspector.get_pk_constraint(table, schema)["constrained_columns"]
        constraints = self._inspector.get_unique_constraints(table, schema)
        indexes = [
            (tuple(name for name in index["column_names"] if name is not None), index["unique"])
            for index in self._inspector.get_indexes(table, schema)
        ]
        unique = {tuple(primary), *(tuple(each["column_names"]) for each in constraints)}
        unique |= {columns for columns, is_unique in indexes if is_unique}
        return unique, {each[0] for each in unique.union(dict(indexes)) if each}

    def _missing_foreign_keys(self, table: Table, schema: str | None) -> list[str]:
        there = {
            tuple(key["constrained_columns"])
            for key in self._inspector.get_foreign_keys(table.name, schema)
            if key.get("options", {}).get("ondelete") == "CASCADE"
        }
        return sorted(
            key.column_keys[0]
            for key in table.foreign_key_constraints
            if key.ondelete == "CASCADE" and tuple(key.column_keys) not in there
        )


def _difference(column: Column[Any], found: TypeEngine[Any]) -> str | None:
    wanted, holds = getattr(column.type, "length", None), getattr(found, "length", None)
    if isinstance(column.type, String) and wanted and holds and holds < wanted:
        return f"holds {holds} characters, not {wanted}: a migration widens it"
    if column.name == "expires_at" and _digits(found) < 6:
        return "loses microseconds: a migration gives it six digits of them"
    return None


def _digits(found: TypeEngine[Any]) -> int:
    """How many digits of a second's fraction a column of times keeps."""
    if isinstance(found, (mysql.DATETIME, mysql.TIMESTAMP)):
        return found.fsp or 0
    precision = getattr(found, "precision", None)
    return 6 if precision is None else int(precision)
