"""A login session in this store, and in what people would take instead.

It is begun, looked up and ended, by the documented use of each library. They are imported when they
are measured: the tox environment `bench` has them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase
from userharbor.interfaces import UserStore

from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, metadata

from .backends import PRAGMAS, Backend, execute_pragmas
from .stores import OURS, stores
from .timing import Section, in_turns

DJANGO, FLASK_SESSION, FASTAPI_USERS = "Django", "Flask-Session", "fastapi-users"
IN_GREENLET, IN_THREAD = "ours, run_sync", "ours, run"

ASYNC_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "mariadb": "mysql+aiomysql",
}

Call = Callable[[str], object]
Calls = dict[str, Call]
"""What is done with a session of the user Jane's, by what it is; each is given the token."""


def others(backend: Backend, rounds: int) -> dict[str, Section]:
    """Sync libraries, each in one thread; then async ones, each call awaited by one event loop."""
    sections: dict[str, Section] = {}
    for name, contenders in {"others": _sync, "asynchronous": _async}.items():
        with contenders(backend) as found:
            operations = next(iter(found.values()))
            steps = [(row, {one: calls[row] for one, calls in found.items()}) for row in operations]
            sections[name] = in_turns(steps, next(iter(found)), rounds, calls=20)
    return sections


@contextmanager
def _sync(backend: Backend) -> Iterator[dict[str, Calls]]:
    engines = [backend.engine(), backend.engine()]
    metadata.create_all(engines[0])
    both = stores(*engines)
    both[OURS].create_user(new_user("jane"))
    with ExitStack() as stack:
        yield {
            **{name: _of_store(store) for name, store in both.items()},
            DJANGO: _of_django(backend),
            FLASK_SESSION: stack.enter_context(_of_flask_session(backend)),
        }
    both[OURS].delete_user("jane")
    for engine in engines:
        engine.dispose()


def _of_store(store: UserStore[Any]) -> Calls:
    return {
        "begin": lambda name: store.add_session(new_token(name, "jane")),
        "look up": store.get_session,
        "end": store.remove_session,
    }


def _of_django(backend: Backend) -> Calls:
    """`request.session`, which its middleware loads and saves; a connection is kept open."""
    django, conf, management, database = (
        import_module(name)
        for name in ("django", "django.conf", "django.core.management", "django.db")
    )
    if not conf.settings.configured:
        apps = ["django.contrib.sessions"]
        conf.settings.configure(INSTALLED_APPS=apps, USE_TZ=True, SECRET_KEY="secret")
        django.setup()
    connections = database.connections
    connections.settings = connections.configure_settings({"default": _of_django_to(backend)})
    if hasattr(connections._connections, "default"):
        connections.close_all()
        del connections["default"]
    management.call_command("migrate", verbosity=0)
    session_store = import_module("django.contrib.sessions.backends.db").SessionStore
    keys: dict[str, str] = {}

    def begin(name: str) -> None:
        session = session_store()
        session["username"] = "jane"
        session.save()
        keys[name] = session.session_key

    return {
        "begin": begin,
        "look up": lambda name: session_store(keys[name])["username"],
        "end": lambda name: session_store(keys[name]).flush(),
    }


def _of_django_to(backend: Backend) -> dict[str, Any]:
    url = backend.url
    engine = {"sqlite": "sqlite3", "postgresql": "postgresql", "mariadb": "mysql"}[backend.name]
    settings = {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": url.database,
        "CONN_MAX_AGE": None,
    }
    if backend.name == "sqlite":
        pragmas = "".join(f"PRAGMA {pragma};" for pragma in PRAGMAS)
        return settings | {"OPTIONS": {"init_command": pragmas, "transaction_mode": "IMMEDIATE"}}
    return settings | {
        "USER": url.username,
        "PASSWORD": url.password or "",
        "HOST": url.query.get("host", url.host),
        "PORT": url.port or "",
    }


@contextmanager
def _of_flask_session(backend: Backend) -> Iterator[Calls]:
    """What Flask asks of its session interface at the begin and the end of a request."""
    flask, flask_sqlalchemy, flask_session = (
        import_module(name) for name in ("flask", "flask_sqlalchemy", "flask_session")
    )
    app = flask.Flask(__name__)
    client = flask_sqlalchemy.SQLAlchemy()
    app.config |= {
        "SQLALCHEMY_DATABASE_URI": backend.url,
        "SESSION_TYPE": "sqlalchemy",
        "SESSION_SQLALCHEMY": client,
    }
    client.init_app(app)
    with app.app_context():
        if backend.name == "sqlite":
            event.listen(client.engine, "connect", execute_pragmas(*PRAGMAS))
    flask_session.Session(app)
    interface, requests = app.session_interface, {}

    def begin(name: str) -> None:
        with app.app_context():
            session = interface.open_session(app, app.request_class({}))
            session["username"] = "jane"
            interface.save_session(app, session, app.response_class())
        cookie = {"HTTP_COOKIE": f"{app.config['SESSION_COOKIE_NAME']}={session.sid}"}
        requests[name] = app.request_class(cookie)

    def look_up(name: str) -> object:
        with app.app_context():
            return interface.open_session(app, requests[name])["username"]

    def end(name: str) -> None:
        with app.app_context():
            session = interface.open_session(app, requests.pop(name))
            dict.clear(session)
            session.modified = True
            interface.save_session(app, session, app.response_class())

    yield {"begin": begin, "look up": look_up, "end": end}
    with app.app_context():
        client.engine.dispose()


@contextmanager
def _async(backend: Backend) -> Iterator[dict[str, Calls]]:
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

    url = backend.url.set(drivername=ASYNC_DRIVERS[backend.name])
    engines = [create_async_engine(url) for _ in range(3)]
    for engine in engines:
        if backend.name == "sqlite":
            event.listen(engine.sync_engine, "connect", execute_pragmas(*PRAGMAS))
    loop = asyncio.new_event_loop()

    def awaited(call: Callable[[str], Coroutine[Any, Any, object]]) -> Call:
        return lambda name: loop.run_until_complete(call(name))

    async def in_greenlet(call: Call, name: str) -> object:
        async with AsyncSession() as session:
            return await session.run_sync(lambda _: call(name))

    def of_store(store: SQLAlchemyUserStore[Any], way: Any) -> Calls:
        calls = _of_store(store) | {
            "current user": lambda name: store.get_user_by_username(_owner(store, name))
        }
        order = ("begin", "look up", "current user", "end")
        return {row: awaited(partial(way, calls[row])) for row in order}

    def ours(engine: Any) -> SQLAlchemyUserStore[Any]:
        return SQLAlchemyUserStore(async_sessionmaker(engine))

    async def prepare() -> None:
        async with engines[0].begin() as connection:
            await connection.run_sync(metadata.create_all)
        await ours(engines[0]).run(ours(engines[0]).create_user, new_user("jane"))

    loop.run_until_complete(prepare())
    threaded = ours(engines[1])
    yield {
        IN_GREENLET: of_store(ours(engines[0]), in_greenlet),
        IN_THREAD: of_store(threaded, threaded.run),
        FASTAPI_USERS: _of_fastapi_users(async_sessionmaker(engines[2]), awaited),
    }
    in_place = ours(engines[0])

    async def clear() -> None:
        await in_place.run(in_place.delete_user, "jane")
        for engine in engines:
            await engine.dispose()

    loop.run_until_complete(clear())
    loop.close()


def _owner(store: SQLAlchemyUserStore[Any], token_hash: str) -> str:
    session = store.get_session(token_hash)
    assert session is not None
    return session.username


def _of_fastapi_users(new_session: Any, awaited: Callable[[Any], Call]) -> Calls:
    """Its database strategy; each request has a session, as its documentation has it."""
    of_database = import_module("fastapi_users_db_sqlalchemy")
    of_tokens = import_module("fastapi_users_db_sqlalchemy.access_token")
    strategy_of = import_module("fastapi_users.authentication.strategy.db").DatabaseStrategy
    users = import_module("fastapi_users")

    class Base(DeclarativeBase):
        pass

    user_class: Any = type("User", (of_database.SQLAlchemyBaseUserTableUUID, Base), {})
    token_class: Any = type("Token", (of_tokens.SQLAlchemyBaseAccessTokenTableUUID, Base), {})
    manager_class: Any = type("Manager", (users.UUIDIDMixin, users.BaseUserManager), {})
    found: dict[str, Any] = {}
    tokens: dict[str, str] = {}

    async def prepare(_: str) -> None:
        async with new_session() as session:
            connection = await session.connection()
            await connection.run_sync(Base.metadata.create_all)
            await session.commit()
            database = of_database.SQLAlchemyUserDatabase(session, user_class)
            row = {"email": "jane@example.org", "hashed_password": "hash"}
            found["jane"] = await database.create(row)

    awaited(prepare)("")

    def strategy(session: Any) -> Any:
        tokens_of = of_tokens.SQLAlchemyAccessTokenDatabase(session, token_class)
        return strategy_of(tokens_of, lifetime_seconds=3600)

    async def begin(name: str) -> None:
        async with new_session() as session:
            tokens[name] = await strategy(session).write_token(found["jane"])

    async def look_up(name: str) -> object:
        async with new_session() as session:
            return await strategy(session).database.get_by_token(tokens[name])

    async def current_user(name: str) -> object:
        async with new_session() as session:
            manager = manager_class(of_database.SQLAlchemyUserDatabase(session, user_class))
            return await strategy(session).read_token(tokens[name], manager)

    async def end(name: str) -> None:
        async with new_session() as session:
            await strategy(session).destroy_token(tokens.pop(name), found["jane"])

    calls = {"begin": begin, "look up": look_up, "current user": current_user, "end": end}
    return {row: awaited(call) for row, call in calls.items()}
