"""How a connection is told to commit each statement by itself, or at which level to isolate.

For which databases that is done stands in dialects.py.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")


def is_autocommit(connection: Connection) -> bool:
    """Whether `connection` was told to commit each statement by itself.

    The driver's own flag does not tell: recipes that emit BEGIN themselves set it too.
    """
    return isolation_level(connection) == "AUTOCOMMIT"


def isolation_level(connection: Connection) -> str | None:
    """The level that `connection` or its engine was given, if any."""
    options = connection.get_execution_options()
    # What create_engine(isolation_level=...) was given has no public name.
    return options.get("isolation_level") or getattr(
        connection.dialect, "_on_connect_isolation_level", None
    )


def set_isolation_level(connection: Connection, level: IsolationLevel) -> None:
    """Set the level until `connection` is given back."""
    _change(connection, lambda: connection.execution_options(isolation_level=level))


def in_autocommit(connection: Connection, work: Callable[[Connection], T]) -> T:
    """Do `work` while the driver commits each statement by itself.

    A connection that can't be given back as it was is given up, as where an interrupt falls in
    between, at whichever line: what the application rolls back on it later would stay.

    SQLAlchemy's way to tell the driver takes a tenth of the time of a read.
    """
    driver = driver_connection(connection)
    before: bool = driver.autocommit
    is_as_before = False

    def begin() -> None:
        driver.autocommit = True

    try:
        try:
            _change(connection, begin)
            return work(connection)
        finally:
            with suppress(connection.dialect.loaded_dbapi.Error):
                driver.autocommit = before
                is_as_before = True
    finally:
        if not is_as_before:
            connection.invalidate()


def driver_connection(connection: Connection) -> Any:
    """The connection of the driver, which has attributes that SQLAlchemy does not know."""
    return connection.connection.dbapi_connection


def _change(connection: Connection, change: Callable[[], object]) -> None:
    """Change a setting of `connection`, and notice a dead connection as it is.

    SQLAlchemy lets the driver's own error through here, and the dead connection stay.
    """
    errors = connection.dialect.loaded_dbapi.Error
    try:
        change()
    except errors as error:
        connection.invalidate()
        died = error
    else:
        return
    raise DBAPIError.instance(
        None, None, died, errors, connection_invalidated=True, dialect=connection.dialect
    )
