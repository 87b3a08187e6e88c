"""A task is cancelled at each of its awaits in turn: nothing is left behind, or done by halves."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import sessionmaker

from asynchronous.conftest import WAYS, Loop, Way
from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

VERSION = tuple(map(int, sqlalchemy.__version__.split(".")[:3]))
LOSES_CONNECTIONS = VERSION < (2, 0, 55) or (2, 1, 0) <= VERSION < (2, 1, 4)

each_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


def register(store: Store) -> None:
    store.create_user(new_user())


def verify(store: Store) -> None:
    with store.transaction():
        verification = store.get_email_verification("john-verification")
        assert verification is not None
        store.remove_email_verification("john-verification")
        store.set_user_verified("john")


def read(store: Store) -> None:
    store.get_session("phone")


def renew(store: Store) -> None:
    store.set_password_reset(new_token("another", "john"))


STATES: dict[Callable[[Store], None], list[tuple[int, ...]]] = {
    register: [(1, 1, 1, 0), (2, 2, 1, 0)],
    verify: [(1, 1, 1, 0), (1, 0, 1, 1)],
    read: [(1, 1, 1, 0)],
    renew: [(1, 1, 1, 0)],
}
"""What each leaves of users, verifications, resets and verified users: before it, or after it."""


class Suspended:
    """Counts how often a loop's tasks are suspended; cancels `victim` at one of these times."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.times = 0
        self.victim: asyncio.Task[Any] | None = None

    def make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **arguments: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(self._watched(coroutine), loop=loop, **arguments)

    async def _watched(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await _Watched(self, coroutine)

    def once_more(self) -> None:
        self.times += 1
        if self.times == self.at and self.victim is not None:
            self.victim.cancel()


class _Watched:
    def __init__(self, suspended: Suspended, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._suspended = suspended
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._coroutine.__await__()
        thrown: BaseException | None = None
        while True:
            try:
                waits_for = inner.send(None) if thrown is None else inner.throw(thrown)
            except StopIteration as end:
                return end.value
            self._suspended.once_more()
            thrown = None
            try:
                yield waits_for
            except BaseException as error:
                thrown = error


@each_way
@pytest.mark.parametrize("call", STATES, ids=lambda call: call.__name__)
def test_a_cancelled_task_leaves_nothing_behind(
    db: Database, loop: Loop, store: Store, call: Callable[[Store], None], way: Way[Any]
) -> None:
    """No connection in use, no transaction, no autocommit; what it did took effect, or did not."""
    if LOSES_CONNECTIONS and db.backend != "postgresql" and call is verify:
        pytest.skip("to this SQLAlchemy, a connection whose ROLLBACK was cancelled stays in use")
    beside = SQLAlchemyUserStore(sessionmaker(db.main))

    async def cancelled_at(time: int) -> bool:
        suspended = Suspended(time)
        await warm(loop.engine)
        asyncio.get_running_loop().set_task_factory(suspended.make_task)
        suspended.victim = asyncio.create_task(_awaited(way, store, call))
        # Not kept: a traceback holds the cursor, and on SQLite the cursor the transaction.
        with suppress(asyncio.CancelledError):
            await suspended.victim
        suspended.victim = None
        asyncio.get_running_loop().set_task_factory(None)
        assert loop.checked_out() == 0
        await rolls_back(loop.engine)
        return suspended.times >= time

    time, is_cancelled = 0, True
    while is_cancelled:
        time += 1
        begin_anew(beside)
        is_cancelled = loop.run(cancelled_at(time))
        assert state(db) in STATES[call]
        # Nothing holds a lock.
        beside.set_password_hash("john", f"{time}")
    assert time > 2


async def _awaited(way: Way[Any], store: Store, call: Callable[[Store], None]) -> None:
    await way(store, lambda: call(store))


def begin_anew(store: Store) -> None:
    store.delete_user("jane")
    store.delete_user("john")
    store.create_user(new_user("john"))
    store.set_password_reset(new_token("reset", "john"))


def state(db: Database) -> tuple[int, ...]:
    tables = ("users", "email_verifications", "password_resets")
    (verified,) = db.read("SELECT count(*) FROM userharbor_users WHERE verified")
    return (*(db.count(f"userharbor_{table}") for table in tables), *verified)


async def warm(engine: AsyncEngine) -> None:
    """Let the pool have a connection."""
    async with engine.connect():
        pass


async def rolls_back(engine: AsyncEngine) -> None:
    """The pool's connection takes back what it is told to: it is not in autocommit."""
    async with engine.connect() as connection:
        await connection.execute(text("INSERT INTO userharbor_roles VALUES ('nobody')"))
        await connection.rollback()
        roles = await connection.execute(text("SELECT role FROM userharbor_roles"))
        assert roles.all() == []
