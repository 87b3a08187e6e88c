"""What a store takes for its first argument: something that makes sessions."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, make_url
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from support.models import documented
from userharbor_sqlalchemy import SQLAlchemyUserStore

URL = "sqlite://"
THE_CALL = r"SQLAlchemyUserStore\(sessionmaker\(engine\)\)"


class AsyncSession:
    """Like SQLAlchemy's own, which takes greenlet to be imported: no factory."""


class AsyncEngine:
    """Like SQLAlchemy's own: no factory."""


def yields() -> Iterator[Session]:
    """A dependency of FastAPI's."""
    yield Session()


async def is_awaited() -> Session:
    """What has to be awaited."""
    return Session()


async def yields_to_async() -> AsyncIterator[Session]:
    """An async dependency of FastAPI's."""
    yield Session()


def connection() -> Any:
    with create_engine(URL).connect() as connection:
        return connection


NO_FACTORIES: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "a URL": lambda: make_url(URL),
    "a text": lambda: URL,
    "an Engine": lambda: create_engine(URL),
    "a Connection": connection,
    "a Session": lambda: Session(create_engine(URL)),
    "a session of a factory": lambda: sessionmaker(create_engine(URL))(),
    "an AsyncEngine": AsyncEngine,
    "an AsyncSession": AsyncSession,
    "the class sessionmaker": lambda: sessionmaker,
    "a user model": documented,
    "a MetaData": MetaData,
    "a generator function": lambda: yields,
    "a coroutine function": lambda: is_awaited,
    "an async generator function": lambda: yields_to_async,
    "a dict": dict,
}


@pytest.mark.parametrize("made", NO_FACTORIES.values(), ids=list(NO_FACTORIES))
def test_what_makes_no_sessions_is_refused(made: Callable[[], Any]) -> None:
    """By an error that shows the right call; no table is defined."""
    metadata = MetaData()
    with pytest.raises(TypeError, match=THE_CALL):
        SQLAlchemyUserStore(made(), metadata=metadata)
    assert not metadata.tables


def test_a_refusal_says_what_was_given_and_quotes_no_url() -> None:
    """A URL has a password in it."""
    for url in ("postgresql://joe:swordfish@host/db", make_url("mysql://joe:swordfish@host/db")):
        with pytest.raises(TypeError) as raised:
            SQLAlchemyUserStore(_any(url))
        assert "swordfish" not in str(raised.value)
        assert type(url).__name__ in str(raised.value)


def test_a_refusal_of_an_async_engine_shows_what_makes_its_sessions() -> None:
    """As that of a sync one does."""
    with pytest.raises(TypeError, match=r"async_sessionmaker\(async_engine\)"):
        SQLAlchemyUserStore(_any(AsyncEngine()))


class OwnSession(Session):
    """A session of the application's own."""


class Factory:
    """A factory of the application's own, which says how often it is called."""

    calls = 0

    def __call__(self) -> Session:
        self.calls += 1
        return Session()

    def method(self) -> Session:
        return self()


class LazyFactory:
    """A factory of the application's own that has not made what it needs yet."""

    session_factory = None

    @property
    def class_(self) -> type[Session]:
        raise AssertionError("asked for")

    def __call__(self) -> Session:
        raise AssertionError("called")


class Proxy:
    """A proxy that has nothing behind it yet, as Flask's `current_app` has outside of a request."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{name}: working outside of application context")

    def __call__(self) -> Session:
        raise AssertionError("called")


def test_what_makes_sessions_is_taken_and_not_called() -> None:
    """Of whatever kind it is."""
    own = Factory()

    def refuses() -> Session:
        raise AssertionError("called")

    factories: list[Callable[[], Session]] = [
        sessionmaker(),
        sessionmaker(create_engine(URL)),
        sessionmaker(class_=OwnSession),
        scoped_session(sessionmaker()),
        scoped_session(_any(refuses)),
        refuses,
        lambda: refuses(),
        partial(Session, create_engine(URL)),
        Session,
        OwnSession,
        own,
        own.method,
        LazyFactory(),
        Proxy(),
    ]
    for factory in factories:
        store = SQLAlchemyUserStore(factory, metadata=MetaData())
        assert "userharbor_users" in store.metadata.tables
    assert own.calls == 0


def _any(value: Any) -> Any:
    return value
