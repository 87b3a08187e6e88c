"""Drivers that name an error in ways of their own: number and text are kept, and known."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.faults import deadlock
from support.refusals import MYSQL, POSTGRESQL, SQLITE, provoked
from support.samples import new_token, new_user
from support.secrets import assert_gives_nothing_away
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

pytestmark = pytest.mark.drivers

SAYS: dict[str, dict[str, tuple[str, str]]] = {
    "a table is missing": {
        "sqlite": ("SQLITE_ERROR", "no such table: userharbor_sessions"),
        "postgresql": ("42P01", 'relation "userharbor_sessions" does not exist'),
        "mysql": ("1146", "userharbor_sessions' doesn't exist"),
    },
    "a unique index of yours": {
        "sqlite": ("SQLITE_CONSTRAINT_UNIQUE", "userharbor_users.password_hash"),
        "postgresql": ("23505", 'unique constraint "one_password"'),
        "mysql": ("1062", "Duplicate entry … for key '"),
    },
    "a column of another type": {
        "sqlite": ("", "cannot store TEXT value in INTEGER column"),
        "postgresql": ("22P02", "invalid input syntax for type integer: …"),
        "mysql": ("1366", "Incorrect integer value: … for column "),
    },
    "a trigger of yours": {
        "sqlite": ("SQLITE_CONSTRAINT_TRIGGER", "withheld"),
        "postgresql": ("23505", "withheld"),
        "mysql": ("1644", "withheld"),
    },
}


def on_engine(database: Database, driver: str, work: Callable[[Engine], None]) -> None:
    """Do `work` on an engine of another driver."""
    url = database.url.set(drivername=f"{database.backend}+{driver}")
    arguments: dict[str, Any] = {}
    if driver == "pg8000" and "host" in url.query:
        arguments["unix_sock"] = f"{url.query['host']}/.s.PGSQL.5432"
        url = url.set(query={})
    if not url.get_dialect()().is_async:
        engine = create_engine(url, connect_args=arguments)
        try:
            work(engine)
        finally:
            engine.dispose()
        return

    async def work_there() -> None:
        engine = create_async_engine(url)
        try:
            async with AsyncSession(engine) as session:
                await session.run_sync(lambda _: work(engine.sync_engine))
        finally:
            await engine.dispose()

    asyncio.run(work_there())


def check(fresh: Database, driver: str, what: str) -> None:
    """`what` is refused by its code, and in the words of the database."""
    refusals = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "mysql": MYSQL}[fresh.backend]
    code, words = SAYS[what][fresh.backend]

    def refuse(engine: Engine) -> None:
        with pytest.raises(DBAPIError) as raised:
            refusals[what].call(SQLAlchemyUserStore(sessionmaker(engine)))
        assert words in str(raised.value)
        orig: Any = raised.value.orig
        assert code in f"{orig!r} {vars(type(orig))}"
        assert words in getattr(orig, "msg", words)
        assert_gives_nothing_away(raised.value)

    with provoked(fresh, refusals[what]):
        on_engine(fresh, driver, refuse)


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("what", list(SAYS))
def test_aiosqlite_says_what_is_refused(fresh: Database, what: str) -> None:
    """Its errors are those of sqlite3."""
    check(fresh, "aiosqlite", what)


@pytest.mark.backends("postgresql")
@pytest.mark.parametrize("what", list(SAYS))
@pytest.mark.parametrize("driver", ["asyncpg", "pg8000"])
def test_drivers_of_postgresql_say_what_is_refused(fresh: Database, driver: str, what: str) -> None:
    """pg8000 has PostgreSQL's report in a dict, asyncpg an exception behind SQLAlchemy's."""
    check(fresh, driver, what)


@pytest.mark.backends("mysql")
@pytest.mark.parametrize("what", list(SAYS))
def test_mysql_connector_says_what_is_refused(fresh: Database, what: str) -> None:
    """It has number, text and SQLSTATE."""
    check(fresh, "mysqlconnector", what)


def lose_a_deadlock(db: Database, driver: str) -> None:
    """A call that the database gives up once is done again."""
    store = SQLAlchemyUserStore(sessionmaker(db.main))
    store.create_user(new_user())
    store.set_password_reset(new_token("old"))

    def lose(engine: Engine) -> None:
        with deadlock(db, engine) as begun:
            SQLAlchemyUserStore(sessionmaker(engine)).set_password_reset(new_token("new"))
        assert begun

    on_engine(db, driver, lose)
    assert db.read("SELECT token_hash FROM userharbor_password_resets") == [("new",)]


@pytest.mark.backends("postgresql")
@pytest.mark.parametrize("driver", ["asyncpg", "pg8000"])
def test_a_deadlock_is_known_by_drivers_of_postgresql(db: Database, driver: str) -> None:
    """By its SQLSTATE."""
    lose_a_deadlock(db, driver)


@pytest.mark.backends("mysql")
def test_a_deadlock_is_known_by_mysql_connector(db: Database) -> None:
    """By its number."""
    lose_a_deadlock(db, "mysqlconnector")
