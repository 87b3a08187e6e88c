"""Drivers that were told to commit each statement, which SQLAlchemy does not know."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session, sessionmaker

from support.databases import Database
from support.racing import Slow, race
from support.samples import new_token, new_user
from support.transactions import Abort, usernames
from userharbor_sqlalchemy import SQLAlchemyUserStore

BY_ARGUMENT: dict[str, dict[str, dict[str, Any]]] = {
    "pymysql": {
        "connect_args": {"autocommit": True},
        "the server's default": {"autocommit": None},
        "init_command": {"autocommit": None, "init_command": "SET autocommit=1"},
    },
    "mysqldb": {
        "connect_args": {"autocommit": True},
        "init_command": {"autocommit": None, "init_command": "SET autocommit=1"},
    },
    "mysqlconnector": {"connect_args": {"autocommit": True}},
    "psycopg": {"connect_args": {"autocommit": True}},
    "psycopg2": {},
    "pysqlite": {"connect_args": {"isolation_level": None}},
}


def turn_on(driver: Any, *_: object) -> None:
    """A listener for the pool's `connect` and `checkout`."""
    if hasattr(driver, "isolation_level") and hasattr(driver, "executescript"):
        driver.isolation_level = None
    elif callable(driver.autocommit):
        driver.autocommit(True)
    else:
        driver.autocommit = True


def engines(db: Database, **options: Any) -> Iterator[tuple[str, Engine]]:
    """An engine for each way to tell the driver, and the name of the way."""
    if db.is_memory:
        pytest.skip("a second engine would have another database in memory")
    for way, arguments in BY_ARGUMENT[db.main.driver].items():
        yield way, db.engine(connect_args=arguments, **options)
    for name in ("connect", "checkout"):
        engine = db.engine(**options)
        event.listen(engine, name, turn_on)
        yield f"a listener for {name}", engine
    if db.main.driver in ("pymysql", "psycopg"):
        engine = create_engine(db.url.update_query_dict({"autocommit": "true"}), **options)
        yield "the URL", engine
        engine.dispose()


def tables(db: Database) -> list[int]:
    return [db.count(f"userharbor_{name}") for name in ("users", "roles", "email_verifications")]


def assert_whole(db: Database, engine: Engine, way: str) -> None:
    """Calls of several statements, blocks, and blocks within."""
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user("joe"))
    with pytest.raises(IntegrityError):
        store.create_user(new_user("new", verification_token_hash="joe-verification"))
    assert tables(db) == [1, 0, 1], way
    with pytest.raises(Abort), store.transaction():
        store.create_role("admin")
        with store.transaction():
            store.create_user(new_user("jane"))
        raise Abort
    assert tables(db) == [1, 0, 1], way
    with store.transaction():
        store.create_role("admin")
        with pytest.raises(Abort), store.transaction():
            store.create_user(new_user("jane"))
            raise Abort
        with pytest.raises(IntegrityError):
            store.create_user(new_user("joe"))
    assert tables(db) == [1, 1, 1], way
    store.delete_user("joe")
    store.delete_role("admin")
    assert tables(db) == [0, 0, 0], way


def test_what_belongs_together_is_whole(db: Database) -> None:
    """Half a registration was left, and half a block."""
    for way, engine in engines(db):
        assert_whole(db, engine, way)


def test_a_reset_token_has_one_winner(db: Database) -> None:
    """The lock of a block that is none is gone with its statement."""
    store = SQLAlchemyUserStore(sessionmaker(db.main))
    store.create_user(new_user())
    for way, engine in engines(db):
        store.set_password_reset(new_token("r"))
        slow = Slow(sessionmaker(engine))

        def spend(slow: Slow = slow) -> bool:
            with slow.transaction():
                found = slow.get_password_reset("r") is not None
                slow.remove_password_reset("r")
            return found

        assert sorted(race([spend] * 4), key=str) == [False, False, False, True], way


def test_what_holds_no_transaction_is_not_joined(db: Database) -> None:
    """The error names the setting; single calls on such a connection go on."""
    if db.backend == "sqlite":  # there, a block begins by itself what it joins
        return
    for way, engine in engines(db):
        store = SQLAlchemyUserStore(sessionmaker(engine))
        session = Session(engine)
        refused = pytest.raises(InvalidRequestError, match="autocommit=True in its URL, connect_")
        with session, refused, store.transaction(session):
            raise AssertionError("the block began")
        with engine.connect() as connection:
            bound = SQLAlchemyUserStore(sessionmaker(connection))
            for _ in ("not begun", "begun"):
                with refused:
                    bound.create_user(new_user())
                for block in (bound.transaction(), store.transaction(connection)):
                    with refused, block:
                        raise AssertionError("the block began")
                bound.create_role("admin")
                with pytest.raises(IntegrityError):
                    bound.create_role("admin")
                assert bound.list_roles() == {"admin"}
                bound.delete_role("admin")
                connection.rollback()
                connection.begin()
        assert tables(db) == [0, 0, 0], way


def test_a_recipe_that_begins_by_itself_goes_on(db: Database) -> None:
    """A BEGIN in a listener for `begin`: to join it is to be in its transaction."""
    if db.main.driver == "psycopg2":  # commits nothing that it has not begun itself
        return
    for way, engine in chain(engines(db), [("no way", db.engine())]):
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        assert_whole(db, engine, way)
        store = SQLAlchemyUserStore(sessionmaker(engine))
        for end, stored in (("rollback", []), ("commit", ["jane"])):
            with Session(engine) as session:
                with store.transaction(session):
                    store.create_user(new_user())
                with pytest.raises(Abort), store.transaction(session):
                    store.create_user(new_user("joe"))
                    raise Abort
                getattr(session, end)()
            assert usernames(db) == stored, way
        with engine.connect() as connection:
            SQLAlchemyUserStore(sessionmaker(connection)).delete_user("jane")
        with engine.connect() as connection, pytest.raises(Abort), store.transaction(connection):
            store.create_user(new_user("joe"))
            raise Abort
        assert tables(db) == [0, 0, 0], way


if tuple(map(int, sqlalchemy.__version__.split(".")[:3])) >= (2, 0, 43):
    # Before, SQLAlchemy had no skip_autocommit_rollback.

    def test_a_rollback_that_sqlalchemy_leaves_out_is_made(db: Database) -> None:
        """With `skip_autocommit_rollback` it asks the driver, and believes it."""
        for way, engine in engines(db, skip_autocommit_rollback=True, pool_size=1, max_overflow=0):
            if db.backend == "sqlite":
                continue
            store = SQLAlchemyUserStore(sessionmaker(engine))
            with pytest.raises(Abort), store.transaction():
                store.create_role("admin")
                raise Abort
            store.create_role("guest")
            assert db.read("SELECT role FROM userharbor_roles") == [("guest",)], way
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT 1")) == 1
            store.delete_role("guest")
