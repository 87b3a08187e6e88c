"""Walking a whole table: a page at a time, in the order of a unique column.

What is done to a page stands with who asks for it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select

from .connections import Connections


def count_of(connections: Connections, statement: Select[Any]) -> int:
    """What a query of one number finds."""
    row = connections.first(statement, {})
    return 0 if row is None else int(row[0])


LARGEST_PAGE = 10_000
"""Rows of a page at most; databases limit the parameters of a statement that names them."""


def check_size(name: str, size: int) -> None:
    """`ValueError` for a `size` of pages, the argument `name`, that is not from 1 to 10,000."""
    if not (isinstance(size, int) and 1 <= size <= LARGEST_PAGE):
        raise ValueError(f"{name}={size} is not from 1 to {LARGEST_PAGE}")


def pages(
    connections: Connections,
    rows: Select[Any],
    key: ColumnElement[str],
    key_of: Callable[[Row[Any]], str],
    size: int,
    *,
    after: str | None = None,
) -> Iterator[Sequence[Row[Any]]]:
    """The rows of a query by pages of `size`, in the order of `key`, a row's being `key_of(row)`.

    Each page is a statement by itself, and as the table is by then.
    """
    ordered = rows.order_by(key).limit(size)
    while page := connections.all(ordered if after is None else ordered.where(key > after), {}):
        yield page
        after = key_of(page[-1])
