"""Which connection a statement goes to: that of the open block, or one of the session's bind.

How a session is asked stands in binds.py, how a transaction begins and ends in scopes.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Row
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, StatementError
from sqlalchemy.orm import Session, scoped_session

from .binds import Bind, Binds
from .blocks import Block, innermost_block
from .isolation import is_autocommit
from .retry import ATTEMPTS, retried, was_rolled_back
from .scopes import one_statement, own_transaction, savepoint, unit, with_transactions, within
from .withheld import without_values

Parameters = Mapping[str, Any]
T = TypeVar("T")


class Connections:
    """Issues the statements of one store: each alone, or all on the connection of an open block."""

    def __init__(self, binds: Binds) -> None:
        self._binds = binds

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
        return self._run(lambda c: _rowcount(c.execute(statement, parameters)), in_savepoint=True)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Have `work` issue queries; it is called again where its connection was dead."""
        return self._run(work, reads=True)

    def unit(self, work: Callable[[Connection], T]) -> T:
        """Have `work` issue several statements, all or none of which take effect.

        It is called again where the database gave the transaction up for another.
        """
        return self._run(work, single=False, in_savepoint=True)

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

    def lock(self, lock: object, take: Callable[[], bool]) -> None:
        """Within a block: `take` a lock that lasts to its end, unless it is held already.

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
    def bind(self) -> Bind:
        """The connection of the open block, or the bind that writes go to."""
        block = self._block()
        return block.connection if block else self._binds.of_session()

    def _block(self) -> Block | None:
        block = innermost_block(self)
        if block is not None and not block.is_of_this_thread():
            raise InvalidRequestError(
                "a transaction() block that another thread opened is open in this context;"
                " its connection can't serve two threads: open a block of this thread's own,"
                " or start the thread with an empty context"
            )
        return block

    def _run(
        self,
        work: Callable[[Connection], T],
        *,
        single: bool = True,
        reads: bool = False,
        in_savepoint: bool = False,
    ) -> T:
        block = self._block()
        try:
            if block is None:
                return self._alone(work, single=single, reads=reads)
            return self._in_block(block, work, in_savepoint=in_savepoint)
        except (StatementError, UnicodeError) as error:
            refusal = without_values(error)
        # Outside the handler: the driver's text, which quotes values, stays out of the chain.
        raise refusal

    def _in_block(self, block: Block, work: Callable[[Connection], T], *, in_savepoint: bool) -> T:
        try:
            if not in_savepoint:
                return work(block.connection)
            with savepoint(block.connection, self._binds.no_op):
                return work(block.connection)
        except DBAPIError as error:
            if error.connection_invalidated or was_rolled_back(error):
                block.break_all()
            elif not in_savepoint:
                block.broken = True
            raise

    def _alone(self, work: Callable[[Connection], T], *, single: bool, reads: bool) -> T:
        """Do `work` outside any block of ours, again where the database gave it up."""
        bind = self._binds.of_session(reads=reads)
        if isinstance(bind, Connection):
            return self._on_connection(bind, work, single=single, reads=reads)
        if single:
            return retried(lambda: one_statement(bind, work, reads=reads), reads=reads)
        return retried(lambda: unit(bind, work, self._binds.no_op))

    def _on_connection(
        self, connection: Connection, work: Callable[[Connection], T], *, single: bool, reads: bool
    ) -> T:
        """Do `work` on the connection that the session is bound to; end nothing of its owner's."""
        if single and is_autocommit(connection):
            return work(connection)
        with within(connection, None if reads else self._binds.no_op):
            return work(connection)

    @contextmanager
    def _scope(
        self, bind: Session | scoped_session[Any] | Connection | None, outer: Block | None
    ) -> Iterator[Connection]:
        """The connection of a block, in a transaction or a savepoint of the block's own."""
        if bind is not None:
            if not isinstance(bind, Connection):
                bind = self._binds.connection_of(bind)
            connection = with_transactions(bind)
            with savepoint(connection, self._binds.no_op):
                yield connection
        elif outer is not None:
            with savepoint(outer.connection, self._binds.no_op):
                yield outer.connection
        else:
            own = self._binds.of_session()
            if isinstance(own, Connection):
                with within(own, self._binds.no_op):
                    yield own
            else:
                with own_transaction(own, self._binds.no_op, read_committed=True) as connection:
                    yield connection


def _rowcount(result: CursorResult[Any]) -> int:
    return result.rowcount
