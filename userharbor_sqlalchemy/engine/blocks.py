"""Open `transaction()` blocks: which is the current one travels in the context."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

from sqlalchemy import Connection, Engine

from .loops import current_task


@dataclass(eq=False)
class Block:
    """An open `transaction()` block of `owner`, within `outer`, of whichever owner that is."""

    owner: object
    connection: Connection
    outer: "Block | None"
    thread: int
    task: "asyncio.Task[Any] | None"
    closed: bool = False
    # A statement failed, and what the database holds of the block may be rolled back by now.
    broken: bool = False
    # A call, or a block within, has been on its connection.
    used: bool = False
    # Nothing was done on its connection.
    untouched: bool = True
    # It was closed in another thread or context than it was opened in, and not used between.
    unseen: bool = False
    locks: set[object] = field(default_factory=set)
    """What the block has locked to its end."""

    @classmethod
    def opened(cls, owner: object, connection: Connection) -> "Block":
        """A new block, which is the innermost one of this context from now on."""
        block = cls(owner, connection, _open(_innermost.get()), get_ident(), current_task())
        _innermost.set(block)
        if block._stops_its_thread():
            _of_tasks.add(block)
        return block

    def close(self) -> None:
        """Make the block outside the innermost one again."""
        self.unseen = not (self.used or (self.is_of_this_thread() and self._is_of_this_context()))
        self.closed = True
        _of_tasks.discard(self)
        # In another context than the one that entered, there is nothing to take back.
        if _innermost.get() is self:
            _innermost.set(self.outer)

    def is_of_this_thread(self) -> bool:
        """Whether the thread that calls has opened the block; on an async engine, the task."""
        if self.thread != get_ident():
            return False
        return not self.connection.dialect.is_async or self.task is current_task()

    def _stops_its_thread(self) -> bool:
        """Whether other tasks of this one's thread can't go on while one of them waits."""
        return self.task is not None and not self.connection.dialect.is_async

    def _is_of_this_context(self) -> bool:
        block = _innermost.get()
        while block is not None and block is not self:
            block = block.outer
        return block is self

    def holds(self, lock: object) -> bool:
        """Whether this block, or one around it on this connection, has taken the lock."""
        block: Block | None = self
        while block is not None and block.connection is self.connection:
            if lock in block.locks:
                return True
            block = block.outer
        return False

    def break_all(self) -> None:
        """Mark each block on this connection: the database has ended their transaction."""
        block: Block | None = self
        while block is not None:
            if block.connection is self.connection:
                block.broken = True
            block = block.outer


def innermost_block(owner: object) -> Block | None:
    """The innermost open block of `owner` in this context."""
    block = _innermost.get()
    while block is not None and (block.closed or block.owner is not owner):
        block = block.outer
    return block


def may_wait_for_a_task(engine: Engine) -> bool:
    """Whether another task of this thread awaits something within a block on `engine`.

    What waits for its locks waits for ever: the task can't go on before the thread does.
    """
    return bool(_of_tasks) and any(
        block.thread == get_ident()
        and block.task is not current_task()
        and block.connection.engine.pool is engine.pool
        for block in list(_of_tasks)
    )


_of_tasks: set[Block] = set()
_innermost: ContextVar[Block | None] = ContextVar("userharbor_sqlalchemy", default=None)


def _open(block: Block | None) -> Block | None:
    while block is not None and block.closed:
        block = block.outer
    return block
