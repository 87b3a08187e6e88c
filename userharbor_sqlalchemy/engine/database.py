"""The one way to the database: five verbs, one loop, and `transaction()` blocks."""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Delete,
    Engine,
    Executable,
    Pool,
    Row,
    Select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, StatementError
from sqlalchemy.orm import Session, scoped_session

from .backends import backend_of
from .blocks import Block, innermost_block, may_wait_for_a_task
from .loops import Loops, pause
from .outcomes import told
from .redaction import redacted
from .sessions import Bind, Joined, Sessions, flush, joinable_session_or_connection
from .transactions import joinable, keep_settings, own_transaction, savepoint, within

Parameters = Mapping[str, Any]
T = TypeVar("T")

ATTEMPTS = 5
"""How often a call is tried.

Outside a transaction, while the database gives it up in favour of another; anywhere, while a
constraint refuses it and nothing is in its way when that is looked for.
"""

PATIENCE = 10.0
"""Seconds after which it is not tried again: each try may have waited for a lock that long."""

LARGEST_PAGE = 10_000
"""Rows of a page at most; databases limit the parameters of a statement that names them."""

logger: logging.Logger = logging.getLogger("userharbor_sqlalchemy")


class _Work(Enum):
    """What a call does: it says whether a transaction, a savepoint or neither is needed."""

    READ = "queries, which a replica may answer"
    WRITE = "one statement, or one query of what a write would see"
    INSERT = "one statement that a constraint may refuse: a block goes on without it"
    UNIT = "several statements, all or none of which take effect"


# Looked up in the class, they would be a hundredth of the time of a read, on Python 3.11.
_READ, _WRITE, _INSERT, _UNIT = _Work


class Database:
    """Issues the statements of one store, each by itself or on the connection of an open block."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._loops = Loops()

    async def run(self, function: Callable[[], T]) -> T:
        """Call `function` in a thread, whose calls of the store may be on an async engine."""
        return await self._loops.run(function)

    def first(
        self, statement: Executable, parameters: Parameters, *, of_primary: bool = False
    ) -> Row[Any] | None:
        """The first row of a query, or None; `of_primary`: as writes, and not replicas, see it."""
        return self._run(
            _WRITE if of_primary else _READ,
            lambda connection: connection.execute(statement, parameters).first(),
        )

    def all(
        self, statement: Executable, parameters: Parameters, *, of_primary: bool = False
    ) -> Sequence[Row[Any]]:
        """All rows of a query; `of_primary`: as writes, and not replicas, see them."""
        return self._run(
            _WRITE if of_primary else _READ,
            lambda connection: connection.execute(statement, parameters).all(),
        )

    def execute(self, statement: Executable, parameters: Parameters) -> int:
        """Issue an UPDATE or DELETE and return how many rows it matched."""
        return self._run(
            _WRITE, lambda connection: _rowcount(connection.execute(statement, parameters))
        )

    def insert(
        self,
        statement: Executable,
        parameters: Parameters,
        refused: Callable[[], int | None],
    ) -> int:
        """Issue an INSERT and return how many rows it stored.

        Where a constraint refuses it, `refused` looks why: it raises the core's error, or returns
        what the call is to return; None if nothing is in the way any more, to try again. An open
        block stays usable.
        """
        return self._run(
            _INSERT,
            lambda connection: _rowcount(connection.execute(statement, parameters)),
            refused,
        )

    def unit(
        self, work: Callable[[Connection], T], refused: Callable[[], T | None] | None = None
    ) -> T:
        """Have `work` issue several statements, all or none of which take effect.

        It is called again where the database gave the transaction up for another; `refused` as
        for `insert`.
        """
        return self._run(_UNIT, work, refused)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Have `work` issue queries; it is called again where its connection was dead."""
        return self._run(_READ, work)

    def delete(
        self, statement: Delete, one_by_one: Sequence[Delete], parameters: Parameters
    ) -> None:
        """Issue a DELETE, or `one_by_one` where the database would leave the referring rows."""
        if self.enforces_foreign_keys:
            self.execute(statement, parameters)
        else:
            self.unit(lambda c: [c.execute(each, parameters) for each in one_by_one])

    def count(self, statement: Select[Any]) -> int:
        """What a query of one number finds."""
        return int(self.all(statement, {})[0][0])

    def pages(
        self,
        rows: Select[Any],
        key: ColumnElement[str],
        key_of: Callable[[Row[Any]], str],
        size: int,
        *,
        after: str | None = None,
    ) -> Iterator[Sequence[Row[Any]]]:
        """The rows of a query by pages of `size`, in the order of a unique `key`, `key_of(row)`.

        Each page is a statement by itself, and as the table is by then.
        """
        ordered = rows.order_by(key).limit(size)
        while page := self.all(ordered if after is None else ordered.where(key > after), {}):
            yield page
            after = key_of(page[-1])

    @contextmanager
    def transaction(self, to_join: Joined | None) -> Iterator[None]:
        """Have all calls within the block take effect together, or none if it raises."""
        joined = joinable_session_or_connection(to_join)
        outer = innermost_block(self)
        if outer is not None and not outer.is_of_this_thread():
            outer = None
        if outer is not None:
            outer.used = True
            outer.untouched = False
        bind = self._bind_of_block(joined, outer)
        opened = self._connection_of_block(joined, outer)
        raised_within = is_begun = False
        try:
            with self._loops.entered(opened) if bind.dialect.is_async else opened as connection:
                is_begun = True
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
                if block.unseen:
                    raise InvalidRequestError(
                        "no call has seen this transaction() block, which was entered in another"
                        " thread or context than it is left in, as frameworks do with a sync"
                        " dependency: calls made meanwhile took effect one by one; open the block"
                        " in the same function as its calls, or in an async dependency"
                    )
        except StatementError as error:
            if raised_within:
                raise
            refusal = _refusal(error, bind.engine, bind.engine.pool)
        else:
            return
        raise told(refusal, bind.dialect, in_transaction=True, may_be_stored=is_begun)

    def lock_once(self, lock: object, take: Callable[[], bool]) -> None:
        """Within a block: `take` a lock that lasts to its end, unless the block has it already.

        `take` returns whether there was something to lock.
        """
        block = self._block()
        if block is not None and not block.holds(lock) and take():
            block.locks.add(lock)

    @property
    def in_transaction(self) -> bool:
        """Whether a `transaction()` block is open here."""
        return self._block() is not None

    @property
    def locks_at_once(self) -> bool:
        """Whether, in the open block, one query may lock rows of two tables, one after another."""
        block = self._block()
        if block is None:
            return False
        backend = backend_of(block.connection.dialect)
        return backend.locks_in_order or _may_begin_again(block)

    @property
    def enforces_foreign_keys(self) -> bool:
        """Whether each connection lets a removed row take along the rows that refer to it."""
        return backend_of(self.bind.dialect).enforces_foreign_keys

    @property
    def bind(self) -> Bind:
        """The connection of the open block, or the bind that writes go to."""
        block = self._block()
        if block is None:
            return self._sessions.bind()
        # Whoever has its connection may do something on it.
        block.untouched = False
        return block.connection

    def _block(self) -> Block | None:
        block = innermost_block(self)
        if block is not None and not block.is_of_this_thread():
            raise InvalidRequestError(
                "a transaction() block that another thread or task opened is open in this context;"
                " its connection can't serve both: open a block of this one's own, or start it with"
                " an empty context"
            )
        if block is not None:
            block.used = True
        return block

    def _run(
        self,
        kind: _Work,
        work: Callable[[Connection], T],
        refused: Callable[[], T | None] | None = None,
    ) -> T:
        """Do `work` on a connection. If it is refused, have that explained, or try again."""
        attempt, started = 1, time.monotonic()
        block = self._block()
        while True:
            bind = block.connection if block else self._sessions.bind(reads=kind is _READ)
            pool = bind.engine.pool
            try:
                if bind.dialect.is_async:
                    return self._loops.do(partial(self._attempt, bind, block, kind, work))
                return self._attempt(bind, block, kind, work)
            except (StatementError, UnicodeError) as error:
                refusal = _refusal(error, bind.engine, pool)
                why, is_alone = None, isinstance(bind, Engine)
                backend = backend_of(bind.dialect)
                if not isinstance(error, DBAPIError):
                    pass
                elif backend.gave_up(error):
                    # A block that is not broken by that has begun again.
                    if is_alone or (block is not None and not block.broken):
                        why = "the transaction was given up"
                elif is_alone:
                    if backend.takes_no_writes(error):
                        why = "the server takes no writes"
                    elif attempt == 1 and backend.knows_old_tables(error):
                        why = "the connection knew the tables of before a migration"
                    elif kind is _READ and error.connection_invalidated and attempt == 1:
                        why = "the connection was dead"
            # Outside the handler: the driver's text, which quotes values, stays out of the chain.
            if refused is not None and isinstance(refusal, IntegrityError):
                outcome = refused()
                if outcome is not None:
                    return outcome
                why = "a constraint refused it, and nothing is in the way"
            if why is None or attempt == ATTEMPTS or time.monotonic() - started > PATIENCE:
                raise told(
                    refusal,
                    bind.dialect,
                    attempts=attempt,
                    in_transaction=not is_alone,
                    may_be_stored=is_alone and kind is not _READ,
                )
            attempt += 1
            logger.info("%s: trying again, attempt %d of %d", why, attempt, ATTEMPTS)
            # A refusal is not waited after: locks may be held.
            if not isinstance(refusal, IntegrityError):
                pause(random.uniform(0, 0.0025 * 2**attempt), bind.dialect)

    def _attempt(
        self, bind: Bind, block: Block | None, kind: _Work, work: Callable[[Connection], T]
    ) -> T:
        if block is not None:
            return self._in_block(block, kind, work)
        if isinstance(bind, Connection):
            return self._on_connection(bind, kind, work)
        # A limit of a wait lasts for a transaction.
        if kind is _UNIT or (kind is not _READ and may_wait_for_a_task(bind)):
            with own_transaction(bind, self._sessions.no_op) as connection:
                return work(connection)
        with bind.connect() as connection:
            keep_settings(connection)
            return backend_of(bind.dialect).one_statement(connection, work, reads=kind is _READ)

    def _in_block(self, block: Block, kind: _Work, work: Callable[[Connection], T]) -> T:
        in_savepoint = kind in (_INSERT, _UNIT)
        connection = block.connection
        try:
            if in_savepoint:
                with savepoint(connection, self._sessions.no_op):
                    result = work(connection)
            else:
                result = work(connection)
        except DBAPIError as error:
            backend = backend_of(connection.dialect)
            if backend.gave_up(error) and not in_savepoint and _may_begin_again(block):
                backend.begin_again(connection)
                raise
            if error.connection_invalidated or backend.gave_up(error):
                block.break_all()
            elif not in_savepoint:
                block.broken = True
            if backend.is_doomed(error):
                connection.invalidate()
            raise
        block.untouched = False
        return result

    def _on_connection(
        self, connection: Connection, kind: _Work, work: Callable[[Connection], T]
    ) -> T:
        """Do `work` on the connection that the session is bound to; end nothing of its owner's."""
        if kind is _UNIT:
            with within(connection, self._sessions.no_op):
                return work(connection)
        if not connection.in_transaction():
            with connection.begin():
                return work(connection)
        if backend_of(connection.dialect).commits_each(connection):
            return work(connection)
        with savepoint(connection, None if kind is _READ else self._sessions.no_op):
            return work(connection)

    def _bind_of_block(
        self, joined: Session | scoped_session[Any] | Connection | None, outer: Block | None
    ) -> Bind:
        if isinstance(joined, Connection):
            return joined
        if joined is None and outer is not None:
            return outer.connection
        return self._sessions.bind(of=joined)

    @contextmanager
    def _connection_of_block(
        self, joined: Session | scoped_session[Any] | Connection | None, outer: Block | None
    ) -> Iterator[Connection]:
        """The connection of a block, in a transaction or a savepoint of the block's own."""
        no_op = self._sessions.no_op
        if isinstance(joined, Connection):
            with savepoint(joinable(joined), no_op):
                yield joined
        elif joined is not None:
            session = joined() if isinstance(joined, scoped_session) else joined
            connection = joinable(self._sessions.connection_of(session))
            backend_of(connection.dialect).take_write_lock(connection, no_op)
            flush(session)
            # The outer savepoint tells whether the transaction is there still, the inner one
            # tells the session.
            with savepoint(connection, None), self._sessions.savepoint(session):
                yield connection
        elif outer is not None:
            with savepoint(outer.connection, no_op):
                yield outer.connection
        else:
            own = self._sessions.bind()
            if isinstance(own, Connection):
                with within(own, no_op):
                    yield own
            else:
                with own_transaction(own, no_op, read_committed=True) as connection:
                    yield connection


def check_size(name: str, size: int) -> None:
    """`ValueError` for a `size` of pages, the argument `name`, that is not from 1 to 10,000."""
    if not (isinstance(size, int) and 1 <= size <= LARGEST_PAGE):
        raise ValueError(f"{name}={size} is not from 1 to {LARGEST_PAGE}")


def _may_begin_again(block: Block) -> bool:
    """Whether nothing is lost if the transaction of `block` is begun again."""
    connection = block.connection
    return block.untouched and backend_of(connection.dialect).begins_again(connection)


def _refusal(error: StatementError | UnicodeError, engine: Engine, pool: Pool) -> StatementError:
    """`error` without values of rows. A `pool` whose connections are of no use is given up.

    They would stay there: to the server, they are in order.
    """
    backend = backend_of(engine.dialect)
    if isinstance(error, DBAPIError) and (
        backend.takes_no_writes(error) or backend.knows_old_tables(error)
    ):
        # Unless another thread has done so; the refused connection has gone back to the old one.
        if engine.pool is pool:
            engine.dispose(close=False)
        pool.dispose()
    return redacted(error, engine.dialect)


def _rowcount(result: CursorResult[Any]) -> int:
    return result.rowcount
