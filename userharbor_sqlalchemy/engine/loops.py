"""Async engines, which do their work in a greenlet on an event loop.

Within SQLAlchemy's `run_sync()`, a call is in a greenlet already. The work of a call in a thread is
done on the loop that waits for the thread, or on which the store was called before.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from traceback import clear_frames
from typing import Any, TypeVar

from sqlalchemy import Dialect
from sqlalchemy.exc import MissingGreenlet

T = TypeVar("T")

_MISSING = (
    "a store on an async engine can't be called like this, which would stop the event loop. Write"
    " `await store.run(harbor.login, username, password)`, for a method of the store's too; or,"
    " for what neither hashes a password nor sends mail,"
    " `await session.run_sync(lambda _: harbor.get_current_user(token))`"
)


class Loops:
    """The event loops on which a store's async engine works."""

    def __init__(self) -> None:
        self._latest: asyncio.AbstractEventLoop | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """Call `function` in a thread, and return what it returns.

        Cancelled, this ends when the thread has: its block is rolled back by then.
        """
        self._latest = asyncio.get_running_loop()
        caller = _Caller(self._latest)
        context = copy_context()
        context.run(_waiting.set, caller)
        call = partial(_returned_by, function)
        running = self._latest.run_in_executor(None, context.run, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            caller.cancel()
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            # Or asyncio would say that nobody has looked at it.
            if not running.cancelled():
                running.exception()
            raise

    def do(self, work: Callable[[], T]) -> T:
        """Do `work` of an async engine: here, in a greenlet, or from a thread on its loop.

        `MissingGreenlet`, which says what to write, where there is neither.
        """
        if self._is_in_greenlet():
            return _letting_go(work)
        caller = self._caller()
        caller.check()
        return caller.do(partial(_letting_go, work))

    @contextmanager
    def entered(self, manager: AbstractContextManager[T]) -> Iterator[T]:
        """Enter and leave `manager` as `do` does its work, and what is within the block here."""
        if self._is_in_greenlet():
            with manager as value:
                yield value
            return
        caller = self._caller()
        caller.check()
        value = caller.do(manager.__enter__)
        try:
            yield value
            caller.check()
        except BaseException as error:
            if not caller.do(partial(manager.__exit__, type(error), error, error.__traceback__)):
                raise
        else:
            caller.do(partial(manager.__exit__, None, None, None))

    def _is_in_greenlet(self) -> bool:
        if not _is_in_greenlet():
            return False
        self._latest = asyncio.get_running_loop()
        return True

    def _caller(self) -> "_Caller":
        # On a loop's own thread, to wait for it is to wait for ever.
        if not _is_a_loops_thread():
            if caller := _waiting.get():
                return caller
            if self._latest is not None and self._latest.is_running():
                return _Caller(self._latest)
        raise MissingGreenlet(_MISSING)


class _Caller:
    """A thread whose calls have their work done on an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False

    def do(self, work: Callable[[], T]) -> T:
        """Have `work` done in a greenlet on the loop, and wait for it."""

        async def there() -> T:
            self._task = asyncio.current_task()
            return await in_greenlet(work)

        try:
            return asyncio.run_coroutine_threadsafe(there(), self._loop).result()
        except CancelledError:
            pass
        raise asyncio.CancelledError

    def cancel(self) -> None:
        """Have the thread's calls raise `CancelledError`, but for what a block does at its end."""
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()

    def check(self) -> None:
        """`CancelledError` if nobody waits for the thread any more."""
        if self._is_cancelled:
            raise asyncio.CancelledError


_waiting: ContextVar[_Caller | None] = ContextVar("userharbor_sqlalchemy_caller", default=None)


async def in_greenlet(work: Callable[[], T]) -> T:
    """Do `work` where SQLAlchemy can await what it sends: by its public way, a session's."""
    from sqlalchemy.ext.asyncio import AsyncSession

    return await AsyncSession().run_sync(lambda _: work())


def pause(seconds: float, dialect: Dialect) -> None:
    """Sleep, and let other tasks of the loop go on."""
    if dialect.is_async and _is_in_greenlet():
        from sqlalchemy.util import await_only

        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def current_task() -> "asyncio.Task[Any] | None":
    """The task that calls, if a loop runs in this thread."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _is_a_loops_thread() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _returned_by(function: Callable[[], T]) -> T:
    """What `function` returns. A `StopIteration` can't be the exception of a future."""
    try:
        return function()
    except StopIteration as error:
        raise RuntimeError("the function raised StopIteration") from error


def _is_in_greenlet() -> bool:
    # There where an async engine is.
    from greenlet import getcurrent

    return getcurrent().parent is not None


def _letting_go(work: Callable[[], T]) -> T:
    """Do `work`; if its task is cancelled, drop what it had in hand.

    SQLAlchemy closes the connection then. SQLite keeps its transaction nevertheless, for as long as
    there is a cursor, and the traceback has one.
    """
    try:
        return work()
    except asyncio.CancelledError as error:
        clear_frames(error.__traceback__)
        raise
