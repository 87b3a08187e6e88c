"""Purging what nobody comes back for: expired tokens, and users who never verified."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from sqlalchemy.exc import InvalidRequestError

from ..engine.database import Database, check_size
from ..schema.values import as_utc
from ..sql.tokens import TokenTable
from ..sql.unverified import Unverified


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
UserProgress = Callable[[int, int, int], object]


def past(name: str, given: datetime | None) -> datetime:
    """The argument `name`, now by default, in UTC; `ValueError` for one in the future."""
    now = datetime.now(timezone.utc)
    limit = as_utc(now if given is None else given)
    if limit > now:
        raise ValueError(f"{name}={given} is in the future, and tokens are live until then")
    return limit


def purge_expired(
    database: Database,
    token_tables: Mapping[str, TokenTable],
    limits: Mapping[str, datetime],
    batch_size: int,
    progress: Progress | None,
) -> Purged:
    """Remove from `token_tables`, named as in `Purged`, what expired before their `limits`."""
    _check(database, "purge_expired", batch_size)
    purged, looked_at = Purged(), 0
    total = sum(table.count() for table in token_tables.values()) if progress else 0
    for name, table in token_tables.items():
        for rows, removed in table.purge(limits[name], batch_size):
            looked_at += rows
            purged = replace(purged, **{name: getattr(purged, name) + removed})
            if progress is not None:
                progress(looked_at, total, purged)
    return purged


def purge_unverified(
    database: Database,
    unverified: Unverified,
    older_than: timedelta,
    batch_size: int,
    progress: UserProgress | None,
) -> int:
    """Remove the users who let their verification expire so long ago; return how many."""
    if older_than < timedelta(0):
        raise ValueError(f"older_than={older_than} is negative")
    try:
        limit = as_utc(datetime.now(timezone.utc) - older_than)
    except (OverflowError, ValueError):
        raise ValueError(f"older_than={older_than} is too long ago") from None
    _check(database, "purge_unverified", batch_size)
    looked_at = purged = 0
    total = unverified.count() if progress else 0
    for rows, removed in unverified.purge(limit, batch_size):
        looked_at += rows
        purged += removed
        if progress is not None:
            progress(looked_at, total, purged)
    return purged


def _check(database: Database, method: str, batch_size: int) -> None:
    check_size("batch_size", batch_size)
    if database.in_transaction:
        raise InvalidRequestError(
            f"{method}() commits each batch; it can't be called within transaction()"
        )
