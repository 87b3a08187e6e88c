"""What an operator asks of a store: purging expired tokens, and a look for what is wrong.

The core removes an expired token only when its owner comes back.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, case, func, select
from sqlalchemy.exc import InvalidRequestError

from .check import findings
from .connections import Connections
from .expressions import delete_by_key
from .models import UserModel
from .paging import check_size, count_of, pages
from .tables import Tables
from .users import Users
from .values import as_utc


@dataclass(frozen=True)
class Purged:
    """How many expired tokens were removed."""

    sessions: int = 0
    email_verifications: int = 0
    password_resets: int = 0

    def __str__(self) -> str:
        return (
            f"sessions {self.sessions}, e-mail verifications {self.email_verifications},"
            f" password resets {self.password_resets}"
        )


class MaintenanceMethods:
    """What an operator asks of a store, beside the protocol."""

    def __init__(
        self, connections: Connections, model: UserModel, users: Users, tables: Tables
    ) -> None:
        self._connections = connections
        self._model = model
        self._users = users
        self._tables = tables
        self._token_tables = {
            "sessions": ExpiringTable(connections, tables.sessions),
            "email_verifications": ExpiringTable(connections, tables.email_verifications),
            "password_resets": ExpiringTable(connections, tables.password_resets),
        }

    def purge_expired(
        self,
        *,
        before: datetime | None = None,
        batch_size: int = 1000,
        progress: Callable[[int, int, Purged], object] | None = None,
    ) -> Purged:
        """Remove the tokens that expired `before` (naive: UTC), now by default; return how many.

        Walks the token tables by primary key, `batch_size` rows at a time. What is expired
        among them is removed in a transaction of its own, so that no lock is held for long and
        none on a live token; a session that was refreshed meanwhile stays. It may be
        interrupted and run again, and run twice at once. After each batch, `progress` is called
        with how many rows were looked at by then, how many there were at the start, and what
        was removed by then.

        `ValueError` for a `before` in the future or before the year 1000, or a `batch_size` that
        is not from 1 to 10,000, `InvalidRequestError` of SQLAlchemy's within `transaction()`.
        """
        now = datetime.now(timezone.utc)
        limit = now if before is None else as_utc(before)
        if limit > now:
            raise ValueError(f"before={before} is in the future; tokens of then are live now")
        check_size("batch_size", batch_size)
        if self._connections.in_transaction:
            raise InvalidRequestError(
                "purge_expired() commits each batch; it can't be called within transaction()"
            )
        purged, looked_at = Purged(), 0
        total = sum(table.count() for table in self._token_tables.values()) if progress else 0
        for name, table in self._token_tables.items():
            for rows, removed in table.purge(limit, batch_size):
                looked_at += rows
                purged = replace(purged, **{name: getattr(purged, name) + removed})
                if progress is not None:
                    progress(looked_at, total, purged)
        return purged

    def check(self) -> Iterator[str]:
        """Look for what is wrong with the database; each finding is a line that says what to do.

        Tables, columns and indexes that are missing or differ; users without a key, with
        names that collide, or with an e-mail that lookups can't find; tokens that expired over
        a day ago, or of which a user has more than one; an engine whose `transaction()` costs
        extra. Nothing is changed or locked; each user and token is read.
        """
        return findings(self._connections, self._model, self._users, self._tables)


class ExpiringTable:
    """A table of tokens, as a purge sees it."""

    def __init__(self, connections: Connections, table: Table) -> None:
        self._connections = connections
        token_hash, expires_at = table.c.token_hash, table.c.expires_at
        self._count = select(func.count()).select_from(table)
        self._key = token_hash
        limit = bindparam("limit", type_=expires_at.type)
        is_expired = case((expires_at < limit, 1), else_=0).label("is_expired")
        columns: list[ColumnElement[Any]] = [token_hash, is_expired]
        self._select = select(*columns)
        # By their keys: a range would lock the live rows within it on MySQL. And by their
        # expiry again, which may have been put off since it was read.
        self._delete = delete_by_key(table).where(
            token_hash.in_(bindparam("expired", expanding=True)),
            expires_at < limit,
        )

    def count(self) -> int:
        """How many tokens there are."""
        return count_of(self._connections, self._count)

    def purge(self, limit: datetime, batch_size: int) -> Iterator[tuple[int, int]]:
        """Remove what expired before `limit`; for each batch, how many rows it had and lost."""
        rows = self._select.params(limit=limit)
        for page in pages(
            self._connections, rows, self._key, lambda row: row.token_hash, batch_size
        ):
            expired = [row.token_hash for row in page if row.is_expired]
            removed = 0
            if expired:
                parameters = {"expired": expired, "limit": limit}
                removed = self._connections.execute(self._delete, parameters)
            yield len(page), removed
