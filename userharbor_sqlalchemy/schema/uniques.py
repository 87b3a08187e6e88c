"""Which columns a table holds to be unique, and which indexes are of a text in lower case."""

import re
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)

Unique = PrimaryKeyConstraint | UniqueConstraint | Index


def is_unique(column: Column[Any]) -> bool:
    """Whether a key or index of the column's table holds it alone to be unique, at once."""
    return any(not getattr(unique, "deferrable", None) for unique in uniques_of(column))


def uniques_of(column: Column[Any]) -> list[Unique]:
    """The keys and indexes of the column's table that hold it alone to be unique."""
    table = column.table
    if not isinstance(table, Table):
        return []
    keys = (PrimaryKeyConstraint, UniqueConstraint)
    parts_of: dict[Unique, list[Any]] = {
        key: list(key.columns) for key in table.constraints if isinstance(key, keys)
    }
    parts_of |= {
        index: list(index.expressions)
        for index in table.indexes
        if index.unique and _is_whole(index)
    }
    return [one for one, parts in parts_of.items() if len(parts) == 1 and parts[0] is column]


def add_unseen(table: Table, engine: object) -> None:
    """Let `table` have each `UNIQUE` that SQLAlchemy does not see when it reflects SQLite's."""
    if not isinstance(engine, Engine) or engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        for name in unique_on_sqlite(connection, table.name, table.schema):
            if name in table.c and not uniques_of(table.c[name]):
                table.append_constraint(UniqueConstraint(table.c[name]))


def unique_on_sqlite(connection: Connection, table: str, schema: str | None) -> set[str]:
    """The columns that SQLite itself holds to be unique, each alone; none of another database."""
    if connection.dialect.name != "sqlite":
        return set()
    return set(connection.scalars(text(_UNIQUE), {"table": table, "schema": schema}))


_UNIQUE = """
    SELECT part.name FROM pragma_index_list(:table, coalesce(:schema, 'main')) AS list
    JOIN pragma_index_info(list.name, coalesce(:schema, 'main')) AS part
    WHERE list."unique" AND NOT list.partial
    GROUP BY list.name HAVING count(*) = 1 AND part.name IS NOT NULL
"""


def lowered_indexes(column: Column[Any]) -> list[Index]:
    """The indexes on `lower(column)`, as the application or PostgreSQL wrote it."""
    name = rf"(\w+\.)*[\"`]?{re.escape(column.name)}[\"`]?"
    lowered = re.compile(rf"\(*lower\(+{name}\)?(::[\w ]+)?\)+", re.IGNORECASE)
    indexes = column.table.indexes if isinstance(column.table, Table) else ()
    return [
        index
        for index in indexes
        if _is_whole(index)
        and len(index.expressions) == 1
        and lowered.fullmatch(str(*index.expressions))
    ]


def names_of_uniques(column: Column[Any]) -> set[str]:
    """What they are named, also where PostgreSQL has named them."""
    table, names = column.table, set[str]()
    for unique in [*uniques_of(column), *lowered_indexes(column)]:
        is_primary = isinstance(unique, PrimaryKeyConstraint)
        by_database = f"{table.name}_pkey" if is_primary else f"{table.name}_{column.name}_key"
        names.add(str(unique.name or by_database))
    return names


def _is_whole(index: Index) -> bool:
    return not any(option.endswith("_where") for option in index.kwargs)
