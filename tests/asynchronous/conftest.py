"""Async engines: each test that asks for one runs on each async driver of its database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from sqlalchemy import AsyncAdaptedQueuePool, make_url
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from support.databases import Database, backend_of
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

DRIVERS = {
    "sqlite": ["aiosqlite"],
    "postgresql": ["asyncpg", "psycopg"],
    "mysql": ["aiomysql", "asyncmy"],
}
T = TypeVar("T")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On each driver, or on those that the marker `async_drivers` names."""
    if "driver" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("async_drivers")
        every = [each for drivers in DRIVERS.values() for each in drivers]
        metafunc.parametrize("driver", marker.args if marker else every)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and do not skip, a driver on a database that is not its own."""
    others = [item for item in items if _is_for_another_database(item)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in set(others)]


def _is_for_another_database(item: pytest.Item) -> bool:
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    if not {"driver", "database"} <= parameters.keys():
        return False
    url, _ = parameters["database"]
    return parameters["driver"] not in DRIVERS[backend_of(make_url(url))]


class Loop:
    """An async engine, and a way to run a coroutine that uses it to its end."""

    def __init__(self, db: Database, driver: str) -> None:
        url = db.url.set(drivername=f"{db.backend}+{driver}")
        # As from SQLAlchemy 2.0.38 on; aiosqlite had another one by default.
        self.engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool)

    def run(self, coroutine: Awaitable[T]) -> T:
        """What the coroutine returns. No connection is checked out when it has."""

        async def to_its_end() -> T:
            try:
                returned = await coroutine
                assert self.checked_out() == 0
                return returned
            finally:
                await self.engine.dispose()

        return asyncio.run(to_its_end())

    def checked_out(self) -> int:
        """How many connections of the engine are in use."""
        pool: Any = self.engine.pool
        return int(pool.checkedout())


@pytest.fixture
def loop(db: Database, driver: str) -> Loop:
    """The tables are empty."""
    pytest.importorskip(driver)
    return Loop(db, driver)


@pytest.fixture
def store(loop: Loop) -> SQLAlchemyUserStore[User]:
    """A store as an asynchronous application makes it."""
    return SQLAlchemyUserStore(async_sessionmaker(loop.engine))


Way = Callable[[SQLAlchemyUserStore[User], Callable[[], T]], Awaitable[T]]


def in_a_thread(store: SQLAlchemyUserStore[User], call: Callable[[], T]) -> Awaitable[T]:
    return store.run(call)


async def in_a_greenlet(store: SQLAlchemyUserStore[User], call: Callable[[], T]) -> T:
    async with AsyncSession() as session:
        return await session.run_sync(lambda _: call())


WAYS: dict[str, Way[Any]] = {"run": in_a_thread, "run_sync": in_a_greenlet}
