"""What statements stand in: a transaction of the store's own, a savepoint, or neither.

`no_op` is a write that matches no row: within a transaction, SQLite's write lock is taken with
it. Whose connection it is, and which of these a call needs, stands in connections.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from sqlalchemy import Connection, Delete, Engine
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from . import dialects
from .isolation import in_autocommit, is_autocommit

T = TypeVar("T")


def one_statement(engine: Engine, work: Callable[[Connection], T], *, reads: bool) -> T:
    """Have `work` issue one statement on a connection of `engine`; commit it unless it `reads`."""
    with engine.connect() as connection:
        _keep_settings(connection)
        if dialects.has_free_autocommit(connection):
            return in_autocommit(connection, work)
        result = work(connection)
        if not (reads or is_autocommit(connection)):
            connection.commit()
        return result


def unit(engine: Engine, work: Callable[[Connection], T], no_op: Delete) -> T:
    """Have `work` issue several statements in a transaction on a connection of `engine`."""
    with own_transaction(engine, no_op) as connection:
        return work(connection)


@contextmanager
def own_transaction(
    engine: Engine, no_op: Delete, *, read_committed: bool = False
) -> Iterator[Connection]:
    """A connection of `engine` in a transaction that ends with the block."""
    with engine.connect() as connection:
        _keep_settings(connection)
        dialects.prepare_transaction(connection)
        with connection.begin():
            if read_committed:
                dialects.read_committed(connection)
            dialects.begin_by_statement(connection)
            dialects.lock_database(connection, no_op)
            try:
                yield connection
            except BaseException:
                dialects.roll_back_in_autocommit(connection)
                raise


@contextmanager
def within(connection: Connection, no_op: Delete | None) -> Iterator[None]:
    """A savepoint where the connection's owner has begun a transaction, else one of ours.

    Without `no_op`, nothing is written within.
    """
    if with_transactions(connection).in_transaction():
        with savepoint(connection, no_op):
            yield
    else:
        with connection.begin():
            if no_op is not None:
                dialects.lock_database(connection, no_op)
            yield


@contextmanager
def savepoint(connection: Connection, no_op: Delete | None) -> Iterator[None]:
    """A savepoint of the transaction that `connection` is in."""
    if no_op is not None:
        dialects.lock_database(connection, no_op)
    nested = connection.begin_nested()
    try:
        yield
    except BaseException:
        # A deadlock takes the savepoint along; that it is gone is not what went wrong.
        with suppress(DBAPIError):
            nested.rollback()
        raise
    nested.commit()


def with_transactions(connection: Connection) -> Connection:
    """`connection`, unless it is in AUTOCOMMIT: `InvalidRequestError`."""
    if is_autocommit(connection):
        raise InvalidRequestError(
            "a connection in AUTOCOMMIT can't hold a transaction to join: give the session's"
            " bind, or the connection, another isolation level"
        )
    return connection


def _keep_settings(connection: Connection) -> None:
    """Commit what a listener of the application's has set by a statement, which shall stay."""
    if connection.in_transaction():
        connection.commit()
