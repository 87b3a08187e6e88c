"""Walking a whole table: a page at a time, in the order of a unique column.

What is done to a page stands with who asks for it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select

from .connections import Connections


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
    page = connections.all(ordered if after is None else ordered.where(key > after), {})
    while page:
        yield page
        page = connections.all(ordered.where(key > key_of(page[-1])), {})
