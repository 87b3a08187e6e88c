"""A transaction of the store's own, a savepoint in one of the caller's, or neither.

`no_op` is a write that matches no row.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Delete, Engine
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from .backends import backend_of, is_autocommit
from .blocks import may_wait_for_a_task


@contextmanager
def own_transaction(
    engine: Engine, no_op: Delete, *, read_committed: bool = False
) -> Iterator[Connection]:
    """A connection of `engine` in a transaction that ends with the `with`."""
    backend = backend_of(engine.dialect)
    with engine.connect() as connection:
        keep_settings(connection)
        backend.prepare_transaction(connection)
        with connection.begin():
            backend.begin(connection, read_committed=read_committed)
            if may_wait_for_a_task(engine):
                backend.limit_waits(connection)
            backend.take_write_lock(connection, no_op)
            try:
                yield connection
            except BaseException as error:
                backend.roll_back(connection)
                if isinstance(error, DBAPIError) and backend.takes_no_writes(error):
                    connection.invalidate()
                raise


@contextmanager
def within(connection: Connection, no_op: Delete) -> Iterator[None]:
    """A savepoint where the connection's owner has begun a transaction, else one of ours."""
    if connection.in_transaction():
        with savepoint(joinable(connection), no_op):
            yield
    else:
        with connection.begin():
            backend_of(joinable(connection).dialect).take_write_lock(connection, no_op)
            yield


@contextmanager
def savepoint(connection: Connection, no_op: Delete | None) -> Iterator[None]:
    """A savepoint of the transaction that `connection` is in.

    Without `no_op`, nothing is written within. Where the database has ended the transaction, the
    savepoint is gone with it. SQLAlchemy does not know, and what comes next would be in another
    one: so the connection is taken from it, and does nothing more until its owner rolls back.
    """
    backend = backend_of(connection.dialect)
    if no_op is not None:
        backend.take_write_lock(connection, no_op)
    nested = connection.begin_nested()
    try:
        yield
    except BaseException as error:
        is_gone = isinstance(error, DBAPIError) and backend.is_doomed(error)
        try:
            if nested.is_active:
                nested.rollback()
        except DBAPIError:
            is_gone = True
        if is_gone:
            connection.invalidate()
        raise
    try:
        nested.commit()
    except DBAPIError:
        connection.invalidate()
        nested.rollback()
        raise


def joinable(connection: Connection) -> Connection:
    """`connection`, unless it can't be in a transaction: `InvalidRequestError`."""
    if is_autocommit(connection):
        raise InvalidRequestError(
            "a connection in AUTOCOMMIT can't hold a transaction to join: give the session's"
            " bind, or the connection, another isolation level"
        )
    if not connection.in_transaction():
        # What a listener begins, is begun by now.
        connection.begin()
    if backend_of(connection.dialect).commits_each(connection):
        raise InvalidRequestError(
            "a connection whose driver was told to commit each statement, by autocommit=True in"
            " its URL, connect_args, init_command or a listener of the pool's, holds no"
            " transaction to join: leave that out, or emit BEGIN in a listener for begin"
        )
    return connection


# Which read by a cursor of the server's: it needs a transaction, and takes no INSERT.
_STREAMING = {"stream_results", "yield_per", "max_row_buffer"}


def keep_settings(connection: Connection) -> None:
    """Commit what a listener of the application's has set by a statement, which shall stay.

    Options for results of many rows are left out.
    """
    if connection.in_transaction():
        connection.commit()
    options, dialect = connection.get_execution_options(), connection.dialect
    if (options and not _STREAMING.isdisjoint(options)) or getattr(
        dialect, "server_side_cursors", False
    ):
        connection.execution_options(**dict.fromkeys(_STREAMING))
