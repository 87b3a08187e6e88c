"""Purging expired tokens. The core removes one only when its owner comes back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from sqlalchemy.exc import InvalidRequestError

from ..engine.database import Database, check_size
from ..schema.values import as_utc
from ..sql.tokens import TokenTable


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


Progress = Callable[[int, int, Purged], object]


def purge_expired(
    database: Database,
    token_tables: Mapping[str, TokenTable],
    before: datetime | None,
    batch_size: int,
    progress: Progress | None,
) -> Purged:
    """Remove what expired `before`, now by default, from `token_tables`, named as in `Purged`."""
    now = datetime.now(timezone.utc)
    limit = as_utc(now if before is None else before)
    if limit > now:
        raise ValueError(f"before={before} is in the future; tokens of then are live now")
    check_size("batch_size", batch_size)
    if database.in_transaction:
        raise InvalidRequestError(
            "purge_expired() commits each batch; it can't be called within transaction()"
        )
    purged, looked_at = Purged(), 0
    total = sum(table.count() for table in token_tables.values()) if progress else 0
    for name, table in token_tables.items():
        for rows, removed in table.purge(limit, batch_size):
            looked_at += rows
            purged = replace(purged, **{name: getattr(purged, name) + removed})
            if progress is not None:
                progress(looked_at, total, purged)
    return purged
