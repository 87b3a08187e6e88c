"""What a look at the schema finds: what the database lacks, or has otherwise than our tables."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, DateTime, Table, inspect, text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

from ..engine.backends import is_autocommit, level_of_transactions
from ..schema.tables import schema_in_use
from ..schema.uniques import is_unique, unique_on_sqlite
from ..schema.user_model import stored_length
from .findings import Finding

ADD = "a migration adds it (`alembic revision --autogenerate` writes one)"


Columns = tuple[str | None, ...]

_MYSQL = ("mysql", "mariadb")


class SchemaCheck:
    """Compares tables of the MetaData with those of the database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inspector = inspect(connection)

    def missing(self, table: Table, columns: Sequence[Column[Any]]) -> list[Finding]:
        """The table, or which of its `columns` are missing; without them its rows can't be read."""
        schema = schema_in_use(table, self._connection)
        if not self._inspector.has_table(table.name, schema):
            how = "the table is missing: `create-tables` or a migration makes it"
            return [Finding("table-missing", how, table.name)]
        there = {column["name"] for column in self._inspector.get_columns(table.name, schema)}
        return [
            Finding("column-missing", f"the column is missing: {ADD}", table.name, column.name)
            for column in columns
            if column.name not in there
        ]

    def differing(self, table: Table, columns: Sequence[Column[Any]]) -> Iterator[Finding]:
        """Which of `columns`, all there, differ from what the table says, and missing indexes."""
        schema = schema_in_use(table, self._connection)
        found = {
            column["name"]: column["type"]
            for column in self._inspector.get_columns(table.name, schema)
        }
        folding = _folding_columns(self._connection, table.name, schema)
        unique, indexed = self._indexes(table.name, schema)
        for column in columns:
            name = table.name, column.name
            length = stored_length(column.type, self._connection.dialect)
            if problem := _difference(column, length, found[column.name]):
                yield Finding("column-differs", problem, *name)
            if is_unique(column):
                if (column.name,) not in unique:
                    yield Finding(
                        "not-unique", f"no unique index holds it to one of each: {ADD}", *name
                    )
                if column.name in folding and not column.foreign_keys:
                    yield Finding(
                        "folding-collation",
                        "its collation equates texts that differ in case or accent:"
                        " a migration gives it a binary one",
                        *name,
                    )
        ours = {column.name for column in columns}
        for index in table.indexes:
            wanted = tuple(column.name for column in index.columns)
            if index.unique or not wanted or not ours.issuperset(wanted):
                continue
            if wanted[0] not in indexed:
                yield Finding(
                    "index-missing", f"the index {index.name} is missing: {ADD}", table.name
                )
        for key in sorted(self._missing_foreign_keys(table, schema) & ours):
            yield Finding(
                "foreign-key-missing",
                f"no foreign key with ON DELETE CASCADE: {ADD}",
                table.name,
                key,
            )

    def unsaid(self, column: Column[Any]) -> Iterator[Finding]:
        """The collation of `column` that a table which refers to it does not get by itself."""
        dialect = self._connection.dialect
        said = [getattr(column.type.dialect_impl(dialect), "collation", None)]
        said += [name for name in column.table.kwargs if "coll" in name or "char" in name]
        if dialect.name not in _MYSQL or any(said):
            return
        schema = schema_in_use(column.table, self._connection)
        found, default = self._connection.execute(
            text(
                """
                SELECT collation_name, default_collation_name FROM information_schema.columns
                JOIN information_schema.schemata ON schema_name = table_schema
                WHERE table_schema = coalesce(:schema, database()) AND table_name = :table
                AND column_name = :column
                """
            ),
            {"schema": schema, "table": column.table.name, "column": column.name},
        ).one()
        if found != default:
            yield Finding(
                "collation-unsaid",
                f"its collation is {found}, and the model does not say so: the tables that are"
                f" missing would get {default}, and no foreign key to it (3780, 1005)",
                column.table.name,
                column.name,
            )

    def _indexes(self, table: str, schema: str | None) -> tuple[set[Columns], set[str | None]]:
        """What is unique, and the columns that an index begins with."""
        primary = self._inspector.get_pk_constraint(table, schema)["constrained_columns"]
        constraints = self._inspector.get_unique_constraints(table, schema)
        whole = [
            index
            for index in self._inspector.get_indexes(table, schema)
            if None not in index["column_names"]
            and not any(option.endswith("_where") for option in index.get("dialect_options", {}))
        ]
        unique: set[Columns] = {
            tuple(primary),
            *(tuple(each["column_names"]) for each in constraints),
        }
        unique |= {tuple(index["column_names"]) for index in whole if index["unique"]}
        unique |= {(column,) for column in unique_on_sqlite(self._connection, table, schema)}
        every = unique | {tuple(index["column_names"]) for index in whole}
        return unique, {columns[0] for columns in every if columns}

    def _missing_foreign_keys(self, table: Table, schema: str | None) -> set[str]:
        there = {
            tuple(key["constrained_columns"])
            for key in self._inspector.get_foreign_keys(table.name, schema)
            if key.get("options", {}).get("ondelete") == "CASCADE"
        }
        return {
            key.column_keys[0]
            for key in table.foreign_key_constraints
            if key.ondelete == "CASCADE" and tuple(key.column_keys) not in there
        }


def engine_findings(connection: Connection) -> Iterator[Finding]:
    """Foreign keys that are not enforced; what makes `transaction()` cost more than it must."""
    if connection.dialect.name == "sqlite" and not connection.scalar(text("PRAGMA foreign_keys")):
        yield Finding(
            "foreign-keys-off",
            "SQLite enforces no foreign key on this connection, and keeps the rows of a user whom"
            " the application removes: have a `connect` listener send PRAGMA foreign_keys = ON",
        )
    if connection.dialect.name not in _MYSQL:
        return
    cure = None
    if is_autocommit(connection):
        # SQLAlchemy has it from 2.0.43 on.
        if not getattr(connection.dialect, "skip_autocommit_rollback", False):
            cure = "skip_autocommit_rollback=True saves a message a call"
    elif level_of_transactions(connection) != "READ COMMITTED":
        cure = 'isolation_level="READ COMMITTED" saves a message each'
    if cure is not None:
        yield Finding("costly-transactions", f"transactions cost more than they must: {cure}")


def _difference(column: Column[Any], length: int | None, found: TypeEngine[Any]) -> str | None:
    holds = getattr(found, "length", None)
    if length and holds and holds < length:
        return f"holds {holds} characters, not {length}: a migration widens it"
    if isinstance(column.type, DateTime) and _digits(found) < 6:
        return "loses microseconds: a migration gives it six digits of them"
    if isinstance(found, postgresql.TIMESTAMP) and not found.timezone:
        return "takes times as the session's time zone says: a migration gives it a time zone"
    return None


# What tells the columns of a table whose collation, or type, takes "a" for "A" or "á".
_FOLDING = {
    "postgresql": """
        SELECT column_name FROM information_schema.columns
        LEFT JOIN pg_collation ON collname = collation_name
        WHERE table_schema = coalesce(:schema, current_schema()) AND table_name = :table
        AND (udt_name = 'citext' OR NOT collisdeterministic)
    """,
    "sqlite": """
        SELECT part.name FROM pragma_index_list(:table, coalesce(:schema, 'main')) AS list
        JOIN pragma_index_xinfo(list.name, coalesce(:schema, 'main')) AS part
        WHERE part.name IS NOT NULL AND part.coll <> 'BINARY' AND list."unique"
    """,
}
_COLLATIONS = """
    SELECT column_name, character_set_name, collation_name FROM information_schema.columns
    WHERE table_schema = coalesce(:schema, database()) AND table_name = :table
    AND collation_name IS NOT NULL
"""


def _folding_columns(connection: Connection, table: str, schema: str | None) -> set[str]:
    """The columns of `table` that take texts for one that differ in case or accent."""
    where = {"table": table, "schema": schema}
    if connection.dialect.name in _MYSQL:
        columns = connection.execute(text(_COLLATIONS), where).all()
        return {name for name, *collation in columns if _folds(connection, *collation)}
    query = _FOLDING.get(connection.dialect.name)
    if query is None:
        return set()
    return set(connection.scalars(text(query), where))


def _folds(connection: Connection, charset: str, collation: str) -> bool:
    """What the names of MySQL's and MariaDB's collations do not tell everywhere."""
    small, capital, accented = (
        f"CONVERT(_utf8mb4 X'{letter.encode().hex()}' USING {charset})" for letter in "aAá"
    )
    query = f"SELECT {small} COLLATE {collation} IN ({capital}, {accented})"
    return bool(connection.scalar(text(query)))


def _digits(found: TypeEngine[Any]) -> int:
    """How many digits of a second's fraction a column of times keeps."""
    if isinstance(found, (mysql.DATETIME, mysql.TIMESTAMP)):
        return found.fsp or 0
    precision = getattr(found, "precision", None)
    return 6 if precision is None else int(precision)
