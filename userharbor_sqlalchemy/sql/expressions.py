"""What SQLAlchemy has no construct for, or what one database must be told in other words."""

import re
from typing import Any, TypeVar

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Delete,
    Insert,
    Select,
    Table,
    delete,
    insert,
    literal,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import HasSuffixes
from sqlalchemy.types import NullType, TypeEngine

SelectT = TypeVar("SelectT", bound=HasSuffixes)


class identical(FunctionElement[Any]):
    """`identical(column, value)`: they are equal, byte for byte; an index on `column` serves.

    A condition of a write needs it, since no row comes back to be compared in Python. The
    column's collation, or its type, may fold accents, case and trailing spaces.
    """

    # As a Boolean, it would be compared with 1 where the database has none, and no index serve.
    type: TypeEngine[Any] = NullType()
    inherit_cache: bool | None = True

    def __init__(self, column: ColumnElement[str], value: ColumnElement[str]) -> None:
        super().__init__(column, value)


_BYTEWISE = {
    "sqlite": "{column} COLLATE BINARY = {value}",
    "postgresql": 'CAST({column} AS TEXT) COLLATE "C" = {value}',
    "mysql": (
        "CAST(CONVERT({column} USING utf8mb4) AS BINARY)"
        " = CAST(CONVERT({value} USING utf8mb4) AS BINARY)"
    ),
}
_BYTEWISE["mariadb"] = _BYTEWISE["mysql"]


@compiles(identical)
def _compile_identical(element: identical, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = (compiler.process(clause, **kw) for clause in element.clauses)
    bytewise = _BYTEWISE.get(compiler.dialect.name)
    if bytewise is None:
        return f"{column} = {value}"
    return f"({column} = {value} AND {bytewise.format(column=column, value=value)})"


class begins_with(FunctionElement[Any]):
    """`begins_with(column, prefix)`: an index on `column` serves, where its collation lets it.

    A collation may fold more into the answer.
    """

    # As for `identical`.
    type: TypeEngine[Any] = NullType()
    inherit_cache: bool | None = True

    def __init__(self, column: ColumnElement[str], prefix: str) -> None:
        escaped = re.sub(r"([|%_])", r"|\1", prefix)
        # Of all characters, the one that sorts last.
        super().__init__(column, literal(escaped + "%"), literal(prefix), literal(prefix + _LAST))


_LAST = "\U0010ffff"


@compiles(begins_with)
def _compile_begins(element: begins_with, compiler: SQLCompiler, **kw: Any) -> str:
    column, pattern, *_ = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{column} LIKE {pattern} ESCAPE '|'"


@compiles(begins_with, "sqlite")
def _compile_between(element: begins_with, compiler: SQLCompiler, **kw: Any) -> str:
    """Its LIKE folds the case, and no index serves that."""
    column, _, low, high = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({column} >= {low} AND {column} <= {high})"


class unless_enforced(FunctionElement[Any]):
    """A condition where the database may not enforce foreign keys, and true elsewhere."""

    type: TypeEngine[Any] = Boolean()
    inherit_cache: bool | None = True


class where_read_order_locks(FunctionElement[Any]):
    """A condition where rows are locked in the order in which they are read; true elsewhere."""

    # As for `identical`: the order depends on what an index serves.
    type: TypeEngine[Any] = NullType()
    inherit_cache: bool | None = True


@compiles(unless_enforced)
@compiles(where_read_order_locks)
def _compile_true(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return "1 = 1"


@compiles(unless_enforced, "sqlite")
@compiles(where_read_order_locks, "mysql", "mariadb")
def _compile_condition(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    (condition,) = element.clauses
    return compiler.process(condition, **kw)


class _table_of(FunctionElement[Any]):
    """`_table_of(column)`: the name of its table where a statement takes an expression."""

    inherit_cache = True


@compiles(_table_of)
def _compile_table(element: _table_of, compiler: SQLCompiler, **kw: Any) -> str:
    (column,) = element.clauses
    return compiler.process(column.table, asfrom=True, **kw)


def share_locked(statement: SelectT) -> SelectT:
    """The SELECT of an INSERT … SELECT, which locks what it reads on MySQL and MariaDB.

    MariaDB from 11.6 on would open a snapshot by a plain read, older than the lock that the INSERT
    may wait for: error 1020. PostgreSQL asks for the privilege to UPDATE before it lets one lock.
    """
    for dialect in ("mysql", "mariadb"):
        statement = statement.suffix_with("LOCK IN SHARE MODE", dialect=dialect)
    return statement


def delete_by_key(table: Table) -> Delete:
    """A DELETE that reads the rows whose primary keys its condition names, and no others.

    MySQL and MariaDB would read a small table whole, and wait for each row that is locked.
    """
    statement, name = delete(table), _table_of(*table.primary_key)
    for dialect in ("mysql", "mariadb"):
        statement = statement.prefix_with(name, dialect=dialect).with_hint(
            "FORCE INDEX (PRIMARY)", dialect_name=dialect
        )
    return statement


UPSERTING = frozenset({"postgresql", "sqlite"})
"""The dialects with an `upsert`.

Not MySQL and MariaDB, which would also take the place of a row with the same primary key.
"""


def upsert(rows: Select[Any], unique: Column[Any]) -> Insert:
    """An INSERT of `rows`, each in the place of the one that has its `unique` value.

    SQLAlchemy 2.0 does not keep what it has compiled of its own ON CONFLICT.
    """
    names = rows.selected_columns.keys()
    columns = [unique.table.c[name] for name in names if name != unique.name]
    in_place = _in_place(unique, *columns)
    for dialect in UPSERTING:
        rows = rows.suffix_with(in_place, dialect=dialect)
    return insert(unique.table).from_select(names, rows)


class _in_place(FunctionElement[Any]):
    """`_in_place(unique, *columns)`: the ON CONFLICT that overwrites `columns`."""

    inherit_cache = True


@compiles(_in_place)
def _compile_in_place(element: _in_place, compiler: SQLCompiler, **kw: Any) -> str:
    unique, *columns = element.clauses
    name, quote = compiler.preparer.quote(unique.name), compiler.preparer.quote
    old, new = f"{quote(unique.table.name)}.{name}", f"excluded.{name}"
    values = ", ".join(f"{quote(each.name)} = excluded.{quote(each.name)}" for each in columns)
    same = _BYTEWISE[compiler.dialect.name].format(column=old, value=new)
    return f"ON CONFLICT ({name}) DO UPDATE SET {values} WHERE {same}"
