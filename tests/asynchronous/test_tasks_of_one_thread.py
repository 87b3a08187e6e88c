"""Tasks that share a thread: one that waits for another's lock must not stop it for ever."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker
from userharbor import UserHarbor
from userharbor.exceptions import InvalidPasswordResetTokenError, InvalidVerificationTokenError

from asynchronous.conftest import Loop
from support.databases import Database
from support.racing import Outbox, typed
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

# Nothing on PostgreSQL, which waits for ever.
IMPATIENT: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 0.1},
    "postgresql": {},
    "mysql": {"init_command": "SET innodb_lock_wait_timeout = 1"},
}


def a_block(store: Store) -> None:
    with store.transaction():
        store.set_password_hash("jane", "another")


CALLS: dict[str, Callable[[Store], object]] = {
    "a single statement": lambda store: store.set_password_hash("jane", "another"),
    "a block": a_block,
}


@pytest.fixture
def sync_store(db: Database) -> Store:
    """A store on a sync engine, with Jane in it."""
    engine = db.engine(connect_args=IMPATIENT[db.backend])
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    store.set_password_reset(new_token("reset"))
    return store


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_a_task_does_not_wait_for_ever_for_one_that_awaits_within_a_block(
    db: Database, sync_store: Store, call: Callable[[Store], object]
) -> None:
    """On a sync engine, the thread stands still meanwhile: in the end, an error says so."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def awaits_within() -> None:
        with sync_store.transaction():
            sync_store.get_password_reset("reset")
            inside.set()
            await go_on.wait()
            sync_store.remove_password_reset("reset")

    async def meanwhile() -> None:
        await inside.wait()
        with pytest.raises(OperationalError, match="another task of this thread awaits"):
            call(sync_store)
        assert sync_store.get_session("a read") is None
        go_on.set()

    async def both() -> None:
        await asyncio.gather(awaits_within(), meanwhile())
        call(sync_store)

    asyncio.run(both())
    assert db.count("userharbor_password_resets") == 0
    assert sync_store.get_password_hash("jane") == "another"


@pytest.mark.backends("postgresql", "mysql")
def test_a_task_that_is_about_another_user_goes_on(db: Database, sync_store: Store) -> None:
    """Nothing is refused that need not wait: its limit is one of waiting only."""
    inside, go_on = asyncio.Event(), asyncio.Event()
    sync_store.create_user(new_user("john"))

    async def awaits_within() -> None:
        with sync_store.transaction():
            sync_store.get_password_reset("reset")
            inside.set()
            await go_on.wait()

    async def meanwhile() -> None:
        await inside.wait()
        sync_store.set_password_hash("john", "another")
        with sync_store.transaction():
            sync_store.add_session(new_token("phone", "john"))
        sync_store.create_user(new_user("judy"))
        go_on.set()

    async def both() -> None:
        await asyncio.gather(awaits_within(), meanwhile())

    asyncio.run(both())
    assert sync_store.get_password_hash("john") == "another"
    assert db.count("userharbor_users") == 3


def test_another_thread_waits_for_such_a_block(db: Database, sync_store: Store) -> None:
    """It does not stop the one that the block is in."""
    inside = asyncio.Event()

    async def awaits_within() -> None:
        with sync_store.transaction():
            sync_store.get_password_reset("reset")
            inside.set()
            await asyncio.sleep(0.05)
            sync_store.remove_password_reset("reset")

    async def meanwhile() -> None:
        await inside.wait()
        await sync_store.run(sync_store.set_password_hash, "jane", "another")

    async def both() -> None:
        await asyncio.gather(awaits_within(), meanwhile())

    asyncio.run(both())
    assert db.count("userharbor_password_resets") == 0
    assert sync_store.get_password_hash("jane") == "another"


def test_tasks_on_an_async_engine_wait_for_each_other(loop: Loop, store: Store) -> None:
    """Each goes on when the one before it has ended; what it awaits meanwhile stops nobody."""

    async def change(name: str) -> None:
        async with loop.engine.begin() as connection:

            def within() -> None:
                with store.transaction(connection):
                    store.set_password_hash("jane", name)

            await store.run(within)
            await asyncio.sleep(0.01)

    async def all_of_them() -> None:
        await store.run(store.create_user, new_user())
        await asyncio.wait_for(asyncio.gather(*(change(f"{each}") for each in range(4))), 60)

    loop.run(all_of_them())


@pytest.mark.races
@pytest.mark.parametrize("kind", ["verification", "reset"])
def test_of_tasks_with_one_token_one_wins(loop: Loop, store: Store, kind: str) -> None:
    """Whoever waited finds it spent, as threads do."""
    outbox = Outbox()
    harbor = UserHarbor("secret", store, outbox)

    async def spend(token: str) -> object:
        spend_it = (
            partial(harbor.verify_email, token)
            if kind == "verification"
            else partial(harbor.reset_password, "Another-1", token)
        )
        try:
            return await store.run(spend_it)
        except Exception as error:
            return error

    async def race() -> None:
        await store.run(harbor.register, "jane", "jane@example.org", "Password-1")
        for _ in range(5):
            if kind == "verification":
                await store.run(harbor.resend_verification, "jane@example.org")
            else:
                await store.run(harbor.send_password_reset, "jane@example.org")
            token = outbox.tokens["jane"]
            outcomes = await asyncio.gather(*(spend(token) for _ in range(5)))
            errors = (InvalidVerificationTokenError, InvalidPasswordResetTokenError)
            assert typed(outcomes, *errors) == 1
            if kind == "verification":
                async with loop.engine.begin() as connection:
                    await connection.exec_driver_sql("UPDATE userharbor_users SET verified = false")

    loop.run(race())
