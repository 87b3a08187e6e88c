"""A connection's own settings: what listeners begin and set for it, and how it is given back."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import UserHarborError

from support.calls import CALLS
from support.databases import Database
from support.samples import new_token, new_user
from support.transactions import refuse, usernames
from userharbor_sqlalchemy import SQLAlchemyUserStore, metadata


def test_settings_of_a_connection_are_given_back(db: Database) -> None:
    """The application finds its pool's connections as it left them."""
    engine = db.engine(pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        before = connection.get_isolation_level()
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    with store.transaction():
        store.set_password_reset(new_token("r"))
        if db.backend == "mysql":
            store.get_session("s")
    with engine.connect() as connection:
        assert connection.get_isolation_level() == before
        connection.execute(text("DELETE FROM userharbor_users"))
        connection.rollback()
    assert usernames(db) == ["jane"]


def test_a_listener_may_begin_by_a_statement_of_its_own(db: Database) -> None:
    """What it sets for the connection stays set."""
    engine = db.engine()
    event.listen(engine, "engine_connect", lambda connection: connection.execute(text("SELECT 1")))
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    with store.transaction():
        store.add_session(new_token("s"))
    assert store.get_session("s") is not None


@pytest.mark.backends("postgresql")
def test_what_a_listener_sets_for_the_transaction_holds_for_reads_too(db: Database) -> None:
    """Row-level security and tenants by `SET LOCAL` need a transaction around each statement."""
    engine = db.engine()
    event.listen(
        engine, "begin", lambda connection: connection.execute(text("SET LOCAL search_path TO x"))
    )
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with pytest.raises(DBAPIError, match="does not exist"):
        store.get_user_by_username("jane")


@pytest.mark.backends("postgresql")
@pytest.mark.parametrize("level", [None, "REPEATABLE READ"])
def test_what_the_pool_s_listener_begins_is_gone_on_with(db: Database, level: str | None) -> None:
    """SQLAlchemy does not know of that transaction; a tenant may be set for it, and only for it."""
    engine = db.engine(**({"isolation_level": level} if level else {}))

    def choose(connection: Any, *_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL search_path TO tenant")

    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA tenant"))
        connection.execute(text("SET LOCAL search_path TO tenant"))
        metadata.create_all(connection)
    event.listen(engine, "checkout", choose)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    try:
        for _, call in CALLS:
            call(store, "jane")
        store.create_user(new_user())
        with store.transaction():
            store.add_session(new_token("s"))
        assert db.read("SELECT token_hash FROM tenant.userharbor_sessions") == [("s",)]
        assert usernames(db) == []
    finally:
        event.remove(engine, "checkout", choose)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA tenant CASCADE"))


@pytest.mark.backends("postgresql")
def test_a_connection_is_given_back_as_it_was(db: Database) -> None:
    """Outside of the store, its transactions are transactions, whatever a call met with."""
    engine = db.engine(pool_size=1, max_overflow=0)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_role("admin")
    with pytest.raises(UserHarborError):
        store.create_role("admin")
    event.listen(engine, "before_cursor_execute", refuse)
    with pytest.raises(AssertionError):
        store.list_roles()
    event.remove(engine, "before_cursor_execute", refuse)
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM userharbor_roles"))
    assert store.list_roles() == {"admin"}


@pytest.mark.backends("postgresql")
def test_a_connection_is_given_back_as_it_was_after_an_interrupt(db: Database) -> None:
    """At each line in turn, as Ctrl-C or a task queue's time limit falls: no AUTOCOMMIT stays."""
    engine = db.engine(pool_size=1, max_overflow=0)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    lines = 0
    for number in range(1, 100):
        try:
            with _interrupted_at(number):
                store.list_roles()
        except KeyboardInterrupt:
            lines = number
        else:
            break
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO userharbor_roles VALUES ('rolled back')"))
        assert store.list_roles() == set(), f"at line {number}"
    assert 10 < lines < 99


@contextmanager
def _interrupted_at(number: int) -> Iterator[None]:
    """Raise at the `number`-th line that is reached of the code that sets the driver's flag."""
    left = number

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        is_ours = frame.f_globals["__name__"].startswith("userharbor_sqlalchemy.")
        if not (is_ours and "autocommit" in frame.f_code.co_names):
            return None
        left -= event == "line"
        if event == "line" and left == 0:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.backends("postgresql")
def test_a_query_of_the_pool_s_listener_above_read_committed_is_refused(db: Database) -> None:
    """The level can't be changed after it; the error says what to do, and to do so helps."""

    def ping(connection: Any, *_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    engine = db.engine(isolation_level="REPEATABLE READ")
    event.listen(engine, "checkout", ping)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with pytest.raises(InvalidRequestError, match='isolation_level="READ COMMITTED"'):
        store.create_user(new_user())
    with pytest.raises(InvalidRequestError, match="SET LOCAL"), store.transaction():
        raise AssertionError("the block began")
    assert store.list_roles() == set()

    engine = db.engine(isolation_level="READ COMMITTED")
    event.listen(engine, "checkout", ping)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    with store.transaction():
        store.add_session(new_token("s"))
    assert usernames(db) == ["jane"]
