"""Levels, locks and settings: what the store leaves of the application's, and what it adds."""

from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

INSERT = text("INSERT INTO userharbor_roles VALUES ('theirs')")
LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"]


def test_what_a_listener_writes_before_a_read_stays(db: Database) -> None:
    """A read commits nothing of its own, but that which it found begun."""
    engine = db.engine(pool_size=1, max_overflow=0)
    written: list[Connection] = []

    def write(connection: Connection) -> None:
        if not written:
            written.append(connection)
            connection.execute(INSERT)

    event.listen(engine, "engine_connect", write)
    assert SQLAlchemyUserStore(sessionmaker(engine)).get_session("s") is None
    assert db.read("SELECT role FROM userharbor_roles") == [("theirs",)]


@pytest.mark.backends("postgresql")
def test_what_a_listener_sets_for_a_connection_stays_set(db: Database) -> None:
    """Once for each connection of the pool; there, a ROLLBACK takes a setting back."""
    engine = db.engine(pool_size=1, max_overflow=0)

    def choose(connection: Connection) -> None:
        if not connection.info.get("is_set"):
            connection.info["is_set"] = True
            connection.execute(text("SET application_name = 'theirs'"))

    event.listen(engine, "engine_connect", choose)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    assert store.list_roles() == set()
    with store.transaction():
        store.create_role("admin")
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW application_name")) == "theirs"


@pytest.mark.backends("sqlite")
def test_a_block_on_a_connection_holds_the_write_lock_from_its_start(db: Database) -> None:
    """Nobody else writes between what it reads and what it writes."""
    other = db.engine(connect_args={"timeout": 0})
    with db.engine().connect() as connection:
        store = SQLAlchemyUserStore(sessionmaker(connection))
        with store.transaction():
            assert not store.role_exists("admin")
            with other.connect() as refused, pytest.raises(OperationalError, match="locked"):
                refused.execute(INSERT)
            store.create_role("admin")
    assert db.read("SELECT role FROM userharbor_roles") == [("admin",)]


@pytest.mark.backends("sqlite")
def test_a_read_on_a_connection_waits_for_no_writer(db: Database) -> None:
    """It takes no write lock, since it writes nothing."""
    impatient = db.engine(connect_args={"timeout": 0})
    with db.engine().begin() as writer, impatient.connect() as connection:
        writer.execute(INSERT)
        assert SQLAlchemyUserStore(sessionmaker(connection)).list_roles() == set()


def assert_reads_anew(store: Store, db: Database) -> None:
    """Within a block, what another commits is seen."""
    with store.transaction():
        assert store.list_roles() == set()
        with db.main.begin() as other:
            other.execute(INSERT)
        assert store.list_roles() == {"theirs"}


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("level", LEVELS)
def test_a_block_reads_what_is_committed_by_now(db: Database, level: str) -> None:
    """At whichever level the engine is: a snapshot would be older than a lock."""
    engine = db.engine(isolation_level=level, pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        before = connection.get_isolation_level()
    assert_reads_anew(SQLAlchemyUserStore(sessionmaker(engine)), db)
    with engine.connect() as connection:
        assert connection.get_isolation_level() == before


@pytest.mark.backends("mysql")
@pytest.mark.parametrize("level", LEVELS)
def test_the_dialect_may_be_named_mariadb(db: Database, level: str) -> None:
    """`mariadb+pymysql://` is the same to the store as `mysql+pymysql://`."""
    if not getattr(db.main.dialect, "is_mariadb", False):
        pytest.skip("the server is MySQL")
    url = db.url.set(drivername=f"mariadb+{db.url.get_driver_name()}")
    engine = create_engine(url, isolation_level=level)
    try:
        store = SQLAlchemyUserStore(sessionmaker(engine))
        assert_reads_anew(store, db)
        sent: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
        store.create_user(new_user())
        with store.transaction():
            store.set_password_reset(new_token("r"))
        assert ("START TRANSACTION" in sent) == (level == "AUTOCOMMIT")
    finally:
        engine.dispose()


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("begun", [False, True], ids=["", "begun by the pool's listener"])
def test_an_engine_at_read_committed_is_told_no_level(db: Database, begun: bool) -> None:
    """That would be a message, and change nothing."""
    engine = db.engine(isolation_level="READ COMMITTED")
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))

    def begin(connection: Any, *_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    if begun:
        event.listen(engine, "checkout", begin)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    with store.transaction():
        store.set_password_reset(new_token("r"))
    assert sent
    assert [statement for statement in sent if statement.startswith("SET")] == []
