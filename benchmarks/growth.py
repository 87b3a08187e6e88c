"""The reads of every request, from a thousand users and sessions to a million."""

import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.orm import sessionmaker

from support.bulk import filled
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

from .backends import Backend
from .timing import Section, in_turns

SIZES = (1_000, 10_000, 100_000, 1_000_000)

READS: dict[str, Callable[[SQLAlchemyUserStore[User], str], object]] = {
    "get_session": lambda store, name: store.get_session(name),
    "get_user_by_username": lambda store, name: store.get_user_by_username(name),
    "get_user_by_email": lambda store, name: store.get_user_by_email(f"{name}@example.org"),
    "get_password_hash": lambda store, name: store.get_password_hash(name),
}


def growth(backend: Backend, rounds: int, sizes: tuple[int, ...] = SIZES) -> dict[str, Section]:
    """All sizes in turns, side by side in one database; which row it is, is random."""
    engine = backend.engine()
    chosen = random.Random(0)
    stores: dict[int, SQLAlchemyUserStore[User]] = {}
    with ExitStack() as stack:
        for size in sizes:
            store = SQLAlchemyUserStore(
                sessionmaker(engine), metadata=MetaData(), table_prefix=f"of_{size}_"
            )
            users, sessions = (
                store.metadata.tables[f"of_{size}_{t}"] for t in ("users", "sessions")
            )
            stack.enter_context(filled(engine, [users, sessions], size))
            stores[size] = store

        def reading(read: Any, size: int) -> Callable[[str], object]:
            def call(_: str) -> object:
                found = read(stores[size], f"user{chosen.randrange(size, 2 * size)}")
                assert found is not None
                return found

            return call

        steps = [
            (method, {f"{size:,}": reading(read, size) for size in sizes})
            for method, read in READS.items()
        ]
        section = in_turns(steps, f"{sizes[0]:,}", rounds, calls=100)
    engine.dispose()
    return {"growth": section}
