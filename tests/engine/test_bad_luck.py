"""Connections that die, servers that crash, statements that fail: what is lost, and what is not."""

import logging
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.faults import kill, kill_pool
from support.models import user_table
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


class PowerCut(Exception):
    pass


ACTIONS: dict[str, Callable[[Store], None]] = {
    "create_user": lambda store: store.create_user(new_user("joe")),
    "delete_user": lambda store: store.delete_user("JANE"),
    "set_user_verified": lambda store: store.set_user_verified("JANE"),
    "set_password_reset": lambda store: store.set_password_reset(new_token("new", "JANE")),
    "delete_role": lambda store: store.delete_role("admin"),
}


@pytest.mark.parametrize("action", list(ACTIONS))
@pytest.mark.parametrize("own_model", [False, True], ids=["built-in", "own model"])
@pytest.mark.parametrize("where", ["alone", "in a block that goes on"])
def test_a_failure_at_any_statement_leaves_nothing_half_written(
    db: Database, action: str, own_model: bool, where: str
) -> None:
    """Each statement of the call in turn, and the commit, fail once.

    With a commit after each statement, a user was left without a verification.
    """
    model = user_table("app_users", MetaData()) if own_model else None
    metadata = MetaData() if model is None else model.metadata
    engine = db.engine(pool_size=1, max_overflow=0)
    store = SQLAlchemyUserStore(
        sessionmaker(engine),
        model,
        metadata=metadata,
        table_prefix="luck_",
    )
    metadata.drop_all(db.main)
    metadata.create_all(db.main)
    try:
        store.create_user(new_user())
        store.create_role("admin")
        store.grant_role_to_user("jane", "admin")
        store.add_session(new_token("session"))
        store.set_password_reset(new_token("reset"))
        names = [table.name for table in metadata.sorted_tables]

        def contents() -> dict[str, list[tuple[Any, ...]]]:
            return {name: sorted(db.read(f"SELECT * FROM {name}"), key=repr) for name in names}

        before = contents()
        number, fuse = 0, _FailingAt(engine, 0)
        for number in range(1, 20):
            fuse = _FailingAt(engine, number)
            with fuse:
                try:
                    if where == "alone":
                        ACTIONS[action](store)
                    else:
                        with store.transaction():
                            with pytest.raises(PowerCut):
                                ACTIONS[action](store)
                            raise PowerCut
                except PowerCut:
                    assert contents() == before
                except pytest.fail.Exception:
                    break
                else:
                    break
        assert fuse.left > 0
        assert number > 1
    finally:
        metadata.drop_all(db.main)


class _FailingAt:
    """Raise at the `number`-th statement or commit of `engine`."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine, self.left = engine, number

    def _burn(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise PowerCut

    def __enter__(self) -> None:
        event.listen(self.engine, "before_cursor_execute", self._burn)
        event.listen(self.engine, "commit", self._burn)

    def __exit__(self, *_: object) -> None:
        event.remove(self.engine, "before_cursor_execute", self._burn)
        event.remove(self.engine, "commit", self._burn)


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("action", list(ACTIONS))
def test_a_refused_commit_leaves_no_transaction_behind(db: Database, action: str) -> None:
    """SQLite refuses it while another reads: the write lock stayed in the pool, the write too."""
    if db.is_memory:
        pytest.skip("there are no two connections to a database in memory")
    engine = db.engine(pool_size=1, max_overflow=0, connect_args={"timeout": 0.05})
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    store.create_role("admin")
    with db.main.connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT * FROM userharbor_users").all()
        with pytest.raises(DBAPIError, match="database is locked"):
            ACTIONS[action](store)
        reader.rollback()
    SQLAlchemyUserStore(sessionmaker(db.main)).create_role("by another connection")
    store.create_role("by this one")
    assert db.count("userharbor_roles") == 3
    assert db.read("SELECT username, verified FROM userharbor_users") == [("jane", 0)]
    assert db.read("SELECT token_hash FROM userharbor_password_resets") == []


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("level", [None, "AUTOCOMMIT", "SERIALIZABLE"])
def test_a_read_survives_the_death_of_the_pool(
    db: Database, level: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first try of the caller; without a second try of the store's, it raised."""
    options = {} if level is None else {"isolation_level": level}
    engine = db.engine(pool_size=3, **options)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    store.add_session(new_token("s"))
    reads: list[Callable[[], object]] = [
        lambda: store.get_session("s"),
        lambda: store.get_user_by_username("jane"),
        lambda: store.get_user_by_email("jane@example.org"),
        lambda: store.get_password_hash("jane"),
    ]
    for read in reads:
        kill_pool(db, engine)
        with caplog.at_level(logging.INFO, "userharbor_sqlalchemy"):
            assert read() is not None
        assert "trying again" in caplog.text
        caplog.clear()


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("level", [None, "AUTOCOMMIT"])
def test_a_write_fails_once_and_cleanly_when_the_pool_has_died(db: Database, level: Any) -> None:
    """It is not known to the store whether it took effect, so it is not tried again."""
    options = {} if level is None else {"isolation_level": level}
    engine = db.engine(pool_size=3, **options)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    writes: list[Callable[[], None]] = [
        lambda: store.add_session(new_token("s")),
        lambda: store.set_password_reset(new_token("r")),
        lambda: store.create_user(new_user("joe")),
    ]
    for write in writes:
        kill_pool(db, engine)
        with pytest.raises(DBAPIError) as raised:
            write()
        assert raised.value.connection_invalidated
        assert "jane" not in str(raised.value)
        write()
    assert db.count("userharbor_sessions") == 1
    assert db.count("userharbor_password_resets") == 1
    assert db.count("userharbor_users") == 2


@pytest.mark.backends("postgresql", "mysql")
def test_a_connection_that_dies_within_a_block_takes_the_block_back(db: Database) -> None:
    """All of it, also where the block swallows the failure."""
    engine = db.engine(pool_size=1, max_overflow=0)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with pytest.raises(InvalidRequestError, match="rolled back"), store.transaction():
        store.create_user(new_user())
        kill(db, store.bind)
        with pytest.raises(DBAPIError):
            store.create_role("admin")
    assert db.count("userharbor_users") == 0
    store.create_user(new_user())


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.races
def test_a_crash_of_the_server_loses_no_acknowledged_write(db: Database) -> None:
    """Killed under four writers and started again: each acknowledged write is there, none twice."""
    if db.server is None:
        pytest.skip("only a throwaway server may be crashed")
    store = SQLAlchemyUserStore(sessionmaker(db.engine(pool_size=4)))
    store.create_user(new_user())
    acknowledged: list[str] = []
    unknown: list[str] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            token_hash = f"{writer}-{number}"
            try:
                store.add_session(new_token(token_hash))
            except DBAPIError:
                unknown.append(token_hash)
                time.sleep(0.02)
            else:
                acknowledged.append(token_hash)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    time.sleep(0.5)
    before = len(acknowledged)
    db.server.crash()
    time.sleep(0.5)
    stop.set()
    for writer in writers:
        writer.join()
    db.close()

    stored = [token_hash for (token_hash,) in db.read("SELECT token_hash FROM userharbor_sessions")]
    assert 0 < before < len(acknowledged)
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored) <= set(acknowledged) | set(unknown)


def _connect_args(begin: str) -> dict[str, Any]:
    arguments: dict[str, dict[str, Any]] = {
        "the driver's default": {},
        "IMMEDIATE": {"isolation_level": "IMMEDIATE"},
        "an event": {"isolation_level": None},
        "autocommit=False": {"autocommit": False},
    }
    return arguments[begin]


def _engine(path: Path, journal: str, begin: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args=_connect_args(begin))

    @event.listens_for(engine, "connect")
    def set_journal(connection: Any, _: object) -> None:
        if begin == "autocommit=False":
            connection.autocommit = True
        connection.execute(f"PRAGMA journal_mode = {journal}").fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        if begin == "autocommit=False":
            connection.autocommit = False

    if begin == "an event":
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _mixed_calls(path: Path, journal: str, begin: str, process: int) -> None:
    store = SQLAlchemyUserStore(sessionmaker(_engine(path, journal, begin)))
    for number in range(25):
        name = f"user{process}-{number}"
        store.create_user(new_user(name))
        store.add_session(new_token(name, name))
        store.set_password_reset(new_token(name, name))
        with store.transaction():
            assert store.get_password_reset(name) is not None
            store.set_password_hash(name, "new")
            store.remove_password_reset(name)
        store.refresh_session(name, EXPIRES_AT)
        assert store.get_session(name) is not None
        if number % 2:
            store.delete_user(name)


BEGINNINGS = ["the driver's default", "IMMEDIATE", "an event"]
if sys.version_info >= (3, 12):
    BEGINNINGS.append("autocommit=False")


@pytest.mark.races
@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("begin", BEGINNINGS)
def test_processes_share_a_sqlite_file(tmp_path: Path, journal: str, begin: str) -> None:
    """Four of them, two hundred calls each, and no error; with read-then-write, BUSY at once."""
    path = tmp_path / "users.db"
    engine = _engine(path, journal, begin)
    SQLAlchemyUserStore(sessionmaker(engine)).metadata.create_all(engine)
    engine.dispose()
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        pool.starmap(_mixed_calls, [(path, journal, begin, number) for number in range(4)])
    with engine.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM userharbor_users").scalar()
    assert count == 4 * 13
    engine.dispose()
