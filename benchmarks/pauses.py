"""How long an event loop stands still, at the longest, while ten users log in at once."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import sessionmaker
from userharbor import UserHarbor
from userharbor.security import hash_password

from support.racing import Outbox
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

from .backends import PRAGMAS, Backend, execute_pragmas
from .others import ASYNC_DRIVERS, IN_GREENLET, IN_THREAD
from .timing import Section

USERS = 10
PASSWORD = "Correct-horse-1"
TO_THREAD = "sync engine, to_thread"

Store = SQLAlchemyUserStore[User]


def pauses(backend: Backend, rounds: int) -> dict[str, Section]:
    """In a greenlet, which hashes on the loop; in a thread, on this engine or on a sync one."""
    engine = backend.engine()
    metadata.create_all(engine)
    store: Store = SQLAlchemyUserStore(sessionmaker(engine))
    hashed = hash_password(PASSWORD)
    for number in range(USERS):
        store.create_user(new_user(f"user{number}", password_hash=hashed))
        store.set_user_verified(f"user{number}")
    section = Section(IN_THREAD)
    for _ in range(max(rounds // 3, 2)):
        for way, seconds in asyncio.run(_longest(backend, store)).items():
            section.add("ten logins at once", way, seconds)
    for number in range(USERS):
        store.delete_user(f"user{number}")
    engine.dispose()
    return {"pauses": section}


async def _longest(backend: Backend, on_sync_engine: Store) -> dict[str, float]:
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

    engine = create_async_engine(backend.url.set(drivername=ASYNC_DRIVERS[backend.name]))
    if backend.name == "sqlite":
        event.listen(engine.sync_engine, "connect", execute_pragmas(*PRAGMAS))
    store: Store = SQLAlchemyUserStore(async_sessionmaker(engine))
    harbor = UserHarbor("secret", store, Outbox())

    async def in_greenlet(name: str) -> object:
        async with AsyncSession() as session:
            return await session.run_sync(lambda _: harbor.login(name, PASSWORD))

    ways: dict[str, Callable[[str], Any]] = {
        IN_THREAD: lambda name: store.run(harbor.login, name, PASSWORD),
        IN_GREENLET: in_greenlet,
        TO_THREAD: lambda name: asyncio.to_thread(
            UserHarbor("secret", on_sync_engine, Outbox()).login, name, PASSWORD
        ),
    }
    longest = {way: await _pause_during(log_in) for way, log_in in ways.items()}
    await engine.dispose()
    return longest


async def _pause_during(log_in: Callable[[str], Any]) -> float:
    logins = [asyncio.ensure_future(log_in(f"user{number}")) for number in range(USERS)]
    longest, last = 0.0, perf_counter()
    while not all(login.done() for login in logins):
        await asyncio.sleep(0.001)
        now = perf_counter()
        longest, last = max(longest, now - last), now
    await asyncio.gather(*logins)
    return longest
