"""Each method of the store, and the two of every request beside what they can't do without."""

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, Engine, Select, bindparam, select
from userharbor.interfaces import UserStore

from support.calls import CALLS
from support.samples import new_token, new_user
from userharbor_sqlalchemy import metadata

from .backends import Backend
from .stores import OURS, stores
from .timing import Section, Step, in_turns

CORE, DRIVER = "Core", "driver"

_KEY: BindParameter[str] = bindparam("key")


def _query(table: str, key: str, *columns: str) -> Select[Any]:
    found = metadata.tables[table].c
    return select(*(found[column] for column in columns)).where(found[key] == _KEY)


QUERIES = {
    "get_session": _query(
        "userharbor_sessions", "token_hash", "username", "token_hash", "expires_at"
    ),
    "get_user_by_username": _query(
        "userharbor_users", "username_key", "username", "email", "verified"
    ),
}


def methods(backend: Backend, rounds: int) -> dict[str, Section]:
    """Both stores' methods, and the floor of two."""
    engines = [backend.engine(), backend.engine(), backend.engine()]
    metadata.create_all(engines[0])
    both = stores(*engines[:2])
    by_method = in_turns(steps(both), OURS, rounds, calls=20)

    jane = both[OURS]
    jane.create_user(new_user("jane"))
    jane.add_session(new_token("jane"))
    alone = backend.engine(isolation_level="AUTOCOMMIT")
    connection = alone.raw_connection()
    floor = in_turns(
        [
            (
                method,
                {
                    CORE: by_core(engines[2], query),
                    DRIVER: _by_driver(alone, connection, query),
                    **{name: _of_jane(getattr(store, method)) for name, store in both.items()},
                },
            )
            for method, query in QUERIES.items()
        ],
        CORE,
        rounds,
        calls=100,
    )
    jane.delete_user("jane")
    connection.close()
    for engine in (*engines, alone):
        engine.dispose()
    return {"methods": by_method, "floor": floor}


def steps(both: dict[str, UserStore[Any]]) -> list[Step]:
    """The tests' calls, of each store."""
    return [
        (method, {name: partial(call, store) for name, store in both.items()})
        for method, call in CALLS
    ]


def _of_jane(method: Callable[[str], object]) -> Callable[[str], object]:
    return lambda _: method("jane")


def by_core(engine: Engine, query: Select[Any]) -> Callable[[str], object]:
    """A statement that was made beforehand, on a connection of the pool."""

    def call(_: str) -> object:
        with engine.connect() as connection:
            return connection.execute(query, {"key": "jane"}).first()

    return call


def _by_driver(engine: Engine, connection: Any, query: Select[Any]) -> Callable[[str], object]:
    """The same text on one connection that nothing else uses, in the driver's autocommit."""
    compiled = query.compile(engine)
    parameters = ("jane",) if compiled.positional else {"key": "jane"}

    def call(_: str) -> object:
        cursor = connection.cursor()
        cursor.execute(compiled.string, parameters)
        row = cursor.fetchone()
        cursor.close()
        return row

    return call
