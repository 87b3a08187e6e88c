"""Trying again what the database gave up in favour of another transaction."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from .dialects import was_rolled_back

T = TypeVar("T")

ATTEMPTS = 5
"""How often a call outside a transaction is tried while the database gives it up for another."""

PATIENCE = 10.0
"""Seconds after which it is not tried again: each try may have waited for a lock that long."""

logger = logging.getLogger("userharbor_sqlalchemy")


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
