"""Trying again what the database gave up in favour of another transaction.

Never within a block: only its owner knows what else it did. How a transaction begins and ends
stands in scopes.py.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from .dialects import error_codes

T = TypeVar("T")

ATTEMPTS = 5
"""How often a call outside a transaction is tried while the database gives it up for another.

So often is a refused insert tried, too, if what stood in its way is gone when it is looked for.
"""

PATIENCE = 10.0
"""Seconds after which it is not tried again: each try may have waited for a lock that long."""

logger: logging.Logger = logging.getLogger("userharbor_sqlalchemy")


def retried(work: Callable[[], T], *, reads: bool = False) -> T:
    """Do `work`, which begins and ends a transaction, again where that was rolled back whole.

    What only `reads` is done once more also where its pooled connection was dead; the outcome
    of a write is unknown then.
    """
    attempt, started = 1, time.monotonic()
    while True:
        try:
            return work()
        except DBAPIError as error:
            died = reads and error.connection_invalidated and attempt == 1
            again = died or was_rolled_back(error)
            if not again or attempt == ATTEMPTS or time.monotonic() - started > PATIENCE:
                raise
            logger.info(
                "%s: trying again, attempt %d of %d",
                "the connection was dead" if died else "the transaction was given up",
                attempt + 1,
                ATTEMPTS,
            )
        time.sleep(random.uniform(0, 0.005 * 2**attempt))
        attempt += 1


# PostgreSQL's SQLSTATEs; MySQL's and MariaDB's numbers for a deadlock, a lock wait that took too
# long and a stale snapshot; SQLite's text (Python 3.10 has no code for it).
_ROLLED_BACK = {"40001", "40P01", 1213, 1205, 1020, "database is locked"}


def was_rolled_back(error: DBAPIError) -> bool:
    """Whether the database gave the transaction up in favour of another: trying again may do."""
    return not _ROLLED_BACK.isdisjoint(error_codes(error))
