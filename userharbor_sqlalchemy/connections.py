"""Where a connection comes from: the session's bind, transactions, savepoints, retry.

The session is asked for its bind and is otherwise left alone: it is never begun, flushed,
committed or closed. What a statement says, and what a refusal means, stands elsewhere.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Delete, Dialect, Engine, Executable, Row, Select
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, StatementError
from sqlalchemy.orm import Mapper, Session, scoped_session

from . import dialects
from .blocks import Block, innermost_block
from .errors import without_values

SessionFactory = Callable[[], Session]
Parameters = Mapping[str, Any]
T = TypeVar("T")

ATTEMPTS = 5
"""How often a call outside a transaction is tried while the database gives it up for another."""

PATIENCE = 10.0
"""Seconds after which it is not tried again: each try may have waited for a lock that long."""

logger = logging.getLogger("userharbor_sqlalchemy")


class Connections:
    """Issues the statements of one store: each alone, or all on the connection of an open block.

    `mapper`, `reading` and `writing` name the tables and say the intent when a session is asked for
    its bind, so that one that routes statements takes every write, and every lock, to the
    primary. `writing` matches no row: SQLite's write lock is taken with it.
    """

    def __init__(
        self,
        session_factory: SessionFactory,
        *,
        mapper: Mapper[Any] | None,
        reading: Select[Any],
        writing: Delete,
    ) -> None:
        self._session_factory = session_factory
        self._mapper = mapper
        self._reading = reading
        self._writing = writing

    def first(
        self, statement: Executable, parameters: Parameters, *, of_primary: bool = False
    ) -> Row[Any] | None:
        """The first row of a query, or None; `of_primary`: as writes, and not replicas, see it."""
        return self._run(lambda c: c.execute(statement, parameters).first(), reads=not of_primary)

    def all(
        self, statement: Executable, parameters: Parameters, *, of_primary: bool = False
    ) -> Sequence[Row[Any]]:
        """All rows of a query; `of_primary`: as writes, and not replicas, see them."""
        return self._run(lambda c: c.execute(statement, parameters).all(), reads=not of_primary)

    def execute(self, statement: Executable, parameters: Parameters) -> int:
        """Issue an UPDATE or DELETE and return how many rows it matched."""
        return self._run(lambda c: _rowcount(c.execute(statement, parameters)))

    def insert(self, statement: Executable, parameters: Parameters) -> int:
        """Issue an INSERT and return how many rows it stored.

        IntegrityError where a constraint refuses it; an open block stays usable.
        """
        return self._run(lambda c: _rowcount(c.execute(statement, parameters)), savepoint=True)

    def unit(self, work: Callable[[Connection], T]) -> T:
        """Have `work` issue several statements, all or none of which take effect.

        It is called again where the database gave the transaction up for another.
        """
        return self._run(work, single=False, savepoint=True)

    def explained(self, store: Callable[[], T], explain: Callable[[], Exception | None]) -> T:
        """Do `store`; where a constraint refuses it, raise what `explain` finds.

        Where it finds nothing, what stood in the way may be gone, and `store` is tried again.
        """
        attempt = 1
        while True:
            try:
                return store()
            except IntegrityError as error:
                refusal = error
            reason = explain()
            if reason is not None or attempt == ATTEMPTS:
                raise reason or refusal
            attempt += 1

    @contextmanager
    def transaction(
        self, bind: Session | scoped_session[Any] | Connection | None = None
    ) -> Iterator[None]:
        """Have all calls within the block take effect together, or none if it raises."""
        outer = innermost_block(self)
        if outer is not None and not outer.is_of_this_thread():
            outer = None
        raised_within = False
        try:
            with self._scope(bind, outer) as connection:
                block = Block.opened(self, connection)
                try:
                    yield
                except BaseException:
                    raised_within = True
                    raise
                finally:
                    block.close()
                if block.broken:
                    raise InvalidRequestError(
                        "a statement failed inside this transaction() block, and the block"
                        " went on; all of it is rolled back"
                    )
        except StatementError as error:
            if raised_within:
                raise
            refusal = without_values(error)
        else:
            return
        raise refusal

    @property
    def in_transaction(self) -> bool:
        """Whether a `transaction()` block is open here."""
        return self._block() is not None

    @property
    def dialect(self) -> Dialect:
        """The dialect of the database that writes go to."""
        block = self._block()
        return (block.connection if block else self._bind(self._writing)).dialect

    def _block(self) -> Block | None:
        block = innermost_block(self)
        if block is not None and not block.is_of_this_thread():
            raise InvalidRequestError(
                "a transaction() block that another thread opened is open in this context;"
                " its connection can't serve two threads: open a block of this thread's own,"
                " or start the thread with an empty context"
            )
        return block

    def _bind(self, clause: Select[Any] | Delete) -> Engine | Connection:
        return self._session_factory().get_bind(self._mapper, clause=clause)

    def _run(
        self,
        work: Callable[[Connection], T],
        *,
        single: bool = True,
        reads: bool = False,
        savepoint: bool = False,
    ) -> T:
        block = self._block()
        try:
            if block is None:
                return self._alone(work, single=single, reads=reads)
            return self._in_block(block, work, savepoint=savepoint)
        except (StatementError, UnicodeError) as error:
            refusal = without_values(error)
        # Outside the handler: the driver's text, which quotes values, stays out of the chain.
        raise refusal

    def _in_block(self, block: Block, work: Callable[[Connection], T], *, savepoint: bool) -> T:
        try:
            if not savepoint:
                return work(block.connection)
            with self._savepoint(block.connection):
                return work(block.connection)
        except DBAPIError as error:
            if error.connection_invalidated or dialects.was_rolled_back(error):
                block.break_all()
            elif not savepoint:
                block.broken = True
            raise

    def _alone(self, work: Callable[[Connection], T], *, single: bool, reads: bool) -> T:
        """Do `work` outside any block of ours, again where the database gave it up."""
        bind = self._bind(self._reading if reads else self._writing)
        if isinstance(bind, Connection):
            return self._on_connection(bind, work, single=single)
        attempt, started = 1, time.monotonic()
        while True:
            try:
                if single:
                    return _one_statement(bind, work, reads=reads)
                with self._own_transaction(bind) as connection:
                    return work(connection)
            except DBAPIError as error:
                died = reads and error.connection_invalidated and attempt == 1
                again = died or dialects.was_rolled_back(error)
                tired = attempt == ATTEMPTS or time.monotonic() - started > PATIENCE
                if tired or not again:
                    raise
                logger.info(
                    "%s: trying again, attempt %d of %d",
                    "the connection was dead" if died else "the transaction was given up",
                    attempt + 1,
                    ATTEMPTS,
                )
            time.sleep(random.uniform(0, 0.005 * 2**attempt))
            attempt += 1

    def _on_connection(
        self, connection: Connection, work: Callable[[Connection], T], *, single: bool
    ) -> T:
        """Do `work` on the connection that the session is bound to; end nothing of its owner's."""
        if single and dialects.is_autocommit(connection):
            return work(connection)
        with self._within(connection):
            return work(connection)

    @contextmanager
    def _scope(
        self, bind: Session | scoped_session[Any] | Connection | None, outer: Block | None
    ) -> Iterator[Connection]:
        """The connection of a block, in a transaction or a savepoint of the block's own."""
        if bind is not None:
            connection = self._joined(bind)
            with self._savepoint(connection):
                yield connection
        elif outer is not None:
            with self._savepoint(outer.connection):
                yield outer.connection
        else:
            own = self._bind(self._writing)
            if isinstance(own, Connection):
                with self._within(own):
                    yield own
            else:
                with self._own_transaction(own, read_committed=True) as connection:
                    yield connection

    def _joined(self, bind: Session | scoped_session[Any] | Connection) -> Connection:
        if not isinstance(bind, Connection):
            arguments = {"mapper": self._mapper, "clause": self._writing}
            bind = bind.connection(bind_arguments=arguments)
        return _with_transactions(bind)

    @contextmanager
    def _own_transaction(
        self, engine: Engine, *, read_committed: bool = False
    ) -> Iterator[Connection]:
        with _connect(engine) as connection:
            dialects.prepare_transaction(connection)
            with connection.begin():
                if read_committed:
                    dialects.read_committed(connection)
                dialects.begin_in_autocommit(connection)
                dialects.lock_database(connection, self._writing)
                try:
                    yield connection
                except BaseException:
                    dialects.roll_back_in_autocommit(connection)
                    raise

    @contextmanager
    def _within(self, connection: Connection) -> Iterator[None]:
        """A savepoint where the connection's owner has begun a transaction, else one of ours."""
        if _with_transactions(connection).in_transaction():
            with self._savepoint(connection):
                yield
        else:
            with connection.begin():
                dialects.lock_database(connection, self._writing)
                yield

    @contextmanager
    def _savepoint(self, connection: Connection) -> Iterator[None]:
        dialects.lock_database(connection, self._writing)
        savepoint = connection.begin_nested()
        try:
            yield
        except BaseException:
            # A deadlock takes the savepoint along; that it is gone is not what went wrong.
            with suppress(DBAPIError):
                savepoint.rollback()
            raise
        savepoint.commit()


def _with_transactions(connection: Connection) -> Connection:
    if dialects.is_autocommit(connection):
        raise InvalidRequestError(
            "a connection in AUTOCOMMIT can't hold a transaction to join: give the session's"
            " bind, or the connection, another isolation level"
        )
    return connection


@contextmanager
def _connect(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        if connection.in_transaction():
            # A listener of the application's has issued a statement; what it set shall stay.
            connection.commit()
        yield connection


def _one_statement(engine: Engine, work: Callable[[Connection], T], *, reads: bool) -> T:
    with _connect(engine) as connection:
        commits_itself = dialects.autocommit_if_free(connection)
        result = work(connection)
        if not (reads or commits_itself):
            connection.commit()
        return result


def _rowcount(result: CursorResult[Any]) -> int:
    return result.rowcount
