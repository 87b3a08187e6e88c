"""What settings of the engine do to a session's reading, writing and removal."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import sessionmaker

from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

from .backends import AUTOCOMMIT, Backend, execute_pragmas
from .timing import Section, in_turns

DEFAULT = "as it is"
ENGINES: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "AUTOCOMMIT": AUTOCOMMIT,
    "pool_pre_ping": {"pool_pre_ping": True},
}
PRAGMAS: dict[str, tuple[str, ...]] = {
    DEFAULT: (),
    "WAL": ("journal_mode=WAL",),
    "WAL, synchronous=NORMAL": ("journal_mode=WAL", "synchronous=NORMAL"),
    "WAL, synchronous=OFF": ("journal_mode=WAL", "synchronous=OFF"),
}

Store = SQLAlchemyUserStore[User]

CALLS: list[tuple[str, Callable[[Store, str], object]]] = [
    ("add_session", lambda store, name: store.add_session(new_token(name, "jane"))),
    ("get_session", lambda store, name: store.get_session(name)),
    ("get_user_by_username", lambda store, name: store.get_user_by_username("jane")),
    ("remove_session", lambda store, name: store.remove_session(name)),
]


def settings(backend: Backend, rounds: int) -> dict[str, Section]:
    """Engines of the database as it comes; a file of its own for each of SQLite's pragmas."""
    sections = {"settings": _compared(_engines(backend), rounds)}
    if backend.name == "sqlite":
        sections["pragmas"] = _compared(_files(backend), rounds)
    return sections


def _engines(backend: Backend) -> dict[str, Engine]:
    return {name: backend.engine(**options) for name, options in ENGINES.items()}


def _files(backend: Backend) -> dict[str, Engine]:
    engines: dict[str, Engine] = {}
    for number, (name, pragmas) in enumerate(PRAGMAS.items()):
        engines[name] = create_engine(backend.url.set(database=f"{backend.url.database}.{number}"))
        event.listen(engines[name], "connect", execute_pragmas(*pragmas))
    return engines


def _compared(engines: dict[str, Engine], rounds: int) -> Section:
    found: dict[str, Store] = {}
    for name, engine in engines.items():
        metadata.create_all(engine)
        found[name] = SQLAlchemyUserStore(sessionmaker(engine))
        if found[name].get_user_by_username("jane") is None:
            found[name].create_user(new_user("jane"))
    steps = [
        (method, {name: partial(call, store) for name, store in found.items()})
        for method, call in CALLS
    ]
    section = in_turns(steps, DEFAULT, rounds, calls=20)
    for name, engine in engines.items():
        found[name].delete_user("jane")
        engine.dispose()
    return section
