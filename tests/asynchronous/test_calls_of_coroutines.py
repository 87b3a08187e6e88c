"""How a coroutine calls a store on an async engine, and what it is told where it can't."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InvalidRequestError, MissingGreenlet
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import sessionmaker

from asynchronous.conftest import WAYS, Loop, Way
from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

each_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))

FACTORIES: dict[str, Callable[[AsyncEngine], Any]] = {
    "async_sessionmaker": lambda engine: async_sessionmaker(engine, expire_on_commit=False),
    "async_scoped_session": lambda engine: async_scoped_session(
        async_sessionmaker(engine), scopefunc=asyncio.current_task
    ),
    "sessionmaker(class_=AsyncSession)": lambda engine: sessionmaker(
        engine,  # type: ignore[call-overload]
        class_=AsyncSession,
    ),
    "a function": lambda engine: lambda: AsyncSession(engine),
    "sessionmaker(engine.sync_engine)": lambda engine: sessionmaker(engine.sync_engine),
}


@each_way
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=list(FACTORIES))
def test_a_store_takes_what_an_asynchronous_application_has(
    db: Database, loop: Loop, factory: Callable[[AsyncEngine], Any], way: Way[Any]
) -> None:
    """Whatever makes its sessions: calls and blocks take effect."""
    store: Store = SQLAlchemyUserStore(factory(loop.engine))

    def work() -> None:
        store.create_user(new_user())
        with store.transaction():
            store.add_session(new_token("phone"))
            store.set_user_verified("JANE")

    loop.run(way(store, work))
    assert db.count("userharbor_sessions") == 1
    assert db.read("SELECT username FROM userharbor_users WHERE verified") == [("jane",)]


def test_a_call_on_the_event_loop_is_refused_and_shown_the_way(loop: Loop, store: Store) -> None:
    """A read, a write and a block; no connection is made for it, and none is lost."""

    calls: list[Callable[[], object]] = [
        lambda: store.get_session("phone"),
        lambda: store.add_session(new_token("phone")),
        lambda: store.set_password_reset(new_token("reset")),
        lambda: store.transaction().__enter__(),
    ]

    async def call_it() -> None:
        await store.run(store.create_user, new_user())
        for call in calls:
            with pytest.raises(MissingGreenlet, match=r"await store\.run\(harbor\.login, "):
                call()
        async with AsyncSession(loop.engine) as session:
            with pytest.raises(MissingGreenlet), store.transaction(session):
                pass
        assert loop.checked_out() == 0
        assert await store.run(store.get_session, "phone") is None

    loop.run(call_it())


def test_a_call_in_a_callback_of_the_event_loop_is_refused(loop: Loop, store: Store) -> None:
    """No task calls there, and to wait for the loop is to stop it."""
    refusals: list[BaseException] = []

    def call() -> None:
        try:
            store.count_users()
        except MissingGreenlet as error:
            refusals.append(error)

    async def call_it() -> None:
        await store.run(store.count_users)
        asyncio.get_running_loop().call_soon(call)
        await asyncio.sleep(0.01)
        assert len(refusals) == 1

    loop.run(call_it())


def test_an_iterator_may_be_run_to_its_end(loop: Loop, store: Store) -> None:
    """A `StopIteration` is no exception for a future: as in a coroutine, another is raised."""

    async def call_it() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await store.run(next, store.iter_users())

    loop.run(call_it())


def test_a_call_in_a_thread_of_a_framework_goes_to_the_loop_of_calls_before(
    loop: Loop, store: Store
) -> None:
    """As in a sync function of FastAPI's; before any call, no loop is known, and it is refused."""

    def with_a_block() -> None:
        with store.transaction():
            store.create_user(new_user())

    async def call_it() -> None:
        with pytest.raises(MissingGreenlet, match=r"await store\.run"):
            await asyncio.to_thread(store.get_session, "phone")
        assert await store.run(store.count_users) == 0
        await asyncio.to_thread(with_a_block)
        assert await asyncio.to_thread(store.count_users) == 1

    loop.run(call_it())
    with pytest.raises(MissingGreenlet, match=r"await store\.run"):
        store.count_users()


def test_what_is_run_gets_its_arguments_and_gives_back_what_it_returns(
    loop: Loop, store: Store
) -> None:
    """Or raises it."""

    async def call_it() -> None:
        await store.run(store.create_user, user=new_user())
        user = await store.run(store.get_user_by_username, "JANE")
        assert user == User("jane", "jane@example.org", verified=False)
        assert await store.run(lambda: list(store.iter_users(page_size=1))) == [user]
        with pytest.raises(KeyError):
            await store.run(store.add_session, new_token("phone", "nobody"))

    loop.run(call_it())


def test_the_loop_goes_on_while_a_thread_works_and_waits(loop: Loop, store: Store) -> None:
    """As it does while a password is hashed: within a block, too."""
    inside, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with store.transaction():
            store.create_user(new_user())
            inside.set()
            assert go_on.wait(30)
            store.set_user_verified("jane")

    async def meanwhile() -> None:
        working = asyncio.create_task(store.run(work))
        while not inside.is_set():
            await asyncio.sleep(0)
        assert await store.run(store.list_roles) == set()
        go_on.set()
        await working
        user = await store.run(store.get_user_by_username, "jane")
        assert user is not None
        assert user.verified

    loop.run(meanwhile())


def test_a_store_on_a_sync_engine_is_run_in_a_thread(db: Database) -> None:
    """Whose calls do their work there."""
    store = SQLAlchemyUserStore(sessionmaker(db.main))

    async def call_it() -> int:
        await store.run(store.create_user, new_user())
        return await store.run(store.count_users)

    assert asyncio.run(call_it()) == 1


@each_way
def test_a_block_joins_an_async_session(db: Database, loop: Loop, way: Way[Any]) -> None:
    """Its transaction has both, and ends as its owner says."""
    make_session = async_sessionmaker(loop.engine)
    store: Store = SQLAlchemyUserStore(make_session)

    async def register(session: Any, name: str) -> None:
        def work() -> None:
            with store.transaction(session):
                store.create_user(new_user(name))

        await session.execute(text("INSERT INTO userharbor_roles VALUES (:role)"), {"role": name})
        await way(store, work)

    async def both() -> None:
        async with make_session.begin() as session:
            await register(session, "jane")
        async with make_session() as session:
            await register(session, "john")
            await session.rollback()
        scoped = async_scoped_session(make_session, scopefunc=asyncio.current_task)
        # In a thread, there is no task that says whose session it is.
        await register(scoped if way is WAYS["run_sync"] else scoped(), "judy")
        await scoped.commit()
        await scoped.remove()
        async with loop.engine.begin() as connection:
            await register(connection, "jack")
        async with loop.engine.connect() as connection:
            await register(connection, "joan")
            await connection.rollback()

    loop.run(both())
    stored = [("jack",), ("jane",), ("judy",)]
    assert db.read("SELECT username FROM userharbor_users ORDER BY username") == stored
    assert db.read("SELECT role FROM userharbor_roles ORDER BY role") == stored


def test_a_connection_that_is_not_started_can_not_be_joined(loop: Loop, store: Store) -> None:
    """The error says what is missing."""

    async def join() -> None:
        def work() -> None:
            with store.transaction(loop.engine.connect()):
                raise AssertionError("joined")

        with pytest.raises(InvalidRequestError, match="not started"):
            await store.run(work)

    loop.run(join())


def test_a_task_made_within_a_block_is_not_in_it(loop: Loop, store: Store) -> None:
    """Its calls would be on a connection that is at work for the block."""

    async def count() -> int:
        async with AsyncSession() as session:
            return await session.run_sync(lambda _: store.count_users())

    async def call_it() -> None:
        def work() -> asyncio.Task[int]:
            with store.transaction():
                store.create_user(new_user())
                made = asyncio.create_task(count())
                store.set_user_verified("jane")
                store.add_session(new_token("phone"))
            return made

        async with AsyncSession() as session:
            made = await session.run_sync(lambda _: work())
        with pytest.raises(InvalidRequestError, match="another thread or task"):
            await made

    loop.run(call_it())


def test_an_operator_s_methods_work_in_a_thread(loop: Loop, store: Store) -> None:
    """Purging, checking and listing; and tables are made by what SQLAlchemy has for it."""

    async def operate() -> None:
        async with loop.engine.begin() as connection:
            await connection.run_sync(store.metadata.create_all)
        await store.run(store.create_user, new_user())
        purged = await store.run(store.purge_expired)
        assert purged.sessions == 0
        codes = {finding.code for finding in await store.run(lambda: list(store.check()))}
        assert codes <= {"costly-transactions", "foreign-keys-off"}
        assert await store.run(store.sync_username_keys) == 0

    loop.run(operate())
