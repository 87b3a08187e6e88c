"""What each method costs on an async engine, in messages on the wire. More is a regression."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from asynchronous.conftest import WAYS, Way
from support.costs import MESSAGES, costs, expected, kind
from support.databases import Database
from support.proxy import proxy_of
from userharbor_sqlalchemy import SQLAlchemyUserStore, User


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_each_method_sends_no_more_messages_than_on_a_sync_engine(
    db: Database, driver: str, way: Way[Any]
) -> None:
    """With asyncpg as with psycopg one, where it is one statement."""
    pytest.importorskip(driver)

    async def found() -> dict[str, set[int]]:
        engine = create_async_engine(proxy.url.set(drivername=f"{db.backend}+{driver}"))
        store: SQLAlchemyUserStore[User] = SQLAlchemyUserStore(async_sessionmaker(engine))
        try:
            sent: dict[str, set[int]] = await way(
                store, lambda: costs(store, lambda: proxy.messages)
            )
            return sent
        finally:
            await engine.dispose()

    column = "psycopg" if db.backend == "postgresql" else kind(db)
    with proxy_of(db.url) as proxy:
        assert asyncio.run(found()) == expected(MESSAGES, column)
