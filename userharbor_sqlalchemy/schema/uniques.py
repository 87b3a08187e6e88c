"""Which columns a table holds to be unique."""

from typing import Any

from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint


def is_unique(column: Column[Any]) -> bool:
    """Whether a key or index of the column's table holds it alone to be unique."""
    table = column.table
    if not isinstance(table, Table):
        return False
    keys = (PrimaryKeyConstraint, UniqueConstraint)
    uniques: list[list[Any]] = [
        list(key.columns) for key in table.constraints if isinstance(key, keys)
    ]
    uniques += [
        list(index.expressions) for index in table.indexes if index.unique and _is_whole(index)
    ]
    return any(len(unique) == 1 and unique[0] is column for unique in uniques)


def _is_whole(index: Index) -> bool:
    return not any(option.endswith("_where") for option in index.kwargs)
