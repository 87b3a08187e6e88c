"""Tables with very many rows, which the database makes up itself in a statement for each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Engine,
    Integer,
    String,
    Subquery,
    Table,
    cast,
    insert,
    literal,
    select,
    text,
    true,
)

from support.samples import EXPIRES_AT

# What can't be wrong need not be checked, row by row.
_UNCHECKED = {
    "postgresql": "SET session_replication_role = replica",
    "mysql": "SET foreign_key_checks = 0, unique_checks = 0",
}
_ANALYZE = {"postgresql": "ANALYZE {}", "mysql": "ANALYZE TABLE {}"}


@contextmanager
def filled(engine: Engine, tables: Sequence[Table], rows: int) -> Iterator[None]:
    """Make `tables`, referred-to ones first, with `rows` rows in each; drop them at the end.

    `rows` is a power of ten, and users are named by the numbers from it on: user1000 to
    user1999 (of one length, so that indexes grow at their end). Each user has one token of each
    kind and one role, which has one permission, all of the same name.
    """
    metadata = tables[0].metadata
    metadata.drop_all(engine, tables)
    metadata.create_all(engine, tables)
    try:
        _fill(engine, tables, rows)
        yield
    finally:
        metadata.drop_all(engine, tables)


def _fill(engine: Engine, tables: Sequence[Table], rows: int) -> None:
    with engine.connect() as connection:
        connection.detach()  # and its settings go with it
        if engine.name in _UNCHECKED:
            connection.exec_driver_sql(_UNCHECKED[engine.name])
        for table in tables:
            numbers = _numbers(rows)
            values = {
                column: _value(column, numbers.c.number)
                for column in table.columns
                if column is not table.autoincrement_column
            }
            made_up = select(*values.values()).select_from(numbers)
            connection.execute(insert(table).from_select(list(values), made_up))
        connection.commit()
        for table in tables:
            if engine.name in _ANALYZE:
                connection.exec_driver_sql(_ANALYZE[engine.name].format(table.name))
        connection.commit()


def _value(column: Column[Any], number: ColumnElement[int]) -> ColumnElement[Any]:
    if isinstance(column.type, DateTime):
        return literal(EXPIRES_AT, column.type)
    if isinstance(column.type, Boolean):
        return true()
    name = literal("user") + cast(number, String(20))
    return name + "@example.org" if column.name == "email" else name


def _numbers(rows: int) -> Subquery:
    """As many numbers, from the number itself on, as all combinations of its digits make."""
    places = range(len(str(rows)) - 1)
    digits = " UNION ALL ".join(f"SELECT {digit} AS digit" for digit in range(10))
    number = " + ".join([str(rows), *(f"{10**place} * place{place}.digit" for place in places)])
    combined = " CROSS JOIN ".join(f"({digits}) AS place{place}" for place in reversed(places))
    return text(f"SELECT {number} AS number FROM {combined}").columns(number=Integer).subquery()
