"""Engines, connections and drivers that begin nothing, or commit each statement."""

import sys

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session, sessionmaker

from support.databases import Database
from support.samples import new_user
from support.transactions import Abort, usernames
from userharbor_sqlalchemy import SQLAlchemyUserStore


@pytest.mark.parametrize("where", ["create_engine", "execution_options"])
def test_an_autocommit_engine_is_as_atomic_as_another(db: Database, where: str) -> None:
    """Blocks and calls of several statements are transactions all the same."""
    if where == "create_engine":
        engine = db.engine(isolation_level="AUTOCOMMIT")
    else:
        engine = db.engine().execution_options(isolation_level="AUTOCOMMIT")
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user("joe"))
    with pytest.raises(IntegrityError):
        store.create_user(new_user("new", verification_token_hash="joe-verification"))
    with pytest.raises(Abort), store.transaction():
        store.create_user(new_user("jane"))
        with store.transaction():
            store.create_role("admin")
        raise Abort
    assert usernames(db) == ["joe"]
    assert db.count("userharbor_roles") == 0

    with store.transaction():
        store.create_user(new_user("jane"))
    assert usernames(db) == ["jane", "joe"]
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM userharbor_users"))
    assert usernames(db) == [], "the engine commits each statement of the application's still"


@pytest.mark.backends("sqlite")
def test_a_driver_that_begins_nothing_is_told_to(db: Database) -> None:
    """`isolation_level=None` and no BEGIN of the application's: atomic all the same."""
    engine = db.engine(connect_args={"isolation_level": None})
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with pytest.raises(Abort), store.transaction():
        store.create_role("admin")
        raise Abort
    with engine.connect() as connection:
        outer = connection.begin()
        SQLAlchemyUserStore(sessionmaker(connection)).create_role("admin")
        outer.rollback()
    assert db.count("userharbor_roles") == 0
    store.create_role("admin")
    with store.transaction():
        store.create_role("guest")
    assert db.count("userharbor_roles") == 2


def test_a_connection_in_autocommit_holds_no_block(db: Database) -> None:
    """A session that is bound to it may read and write by single statements."""
    with db.engine().connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        store = SQLAlchemyUserStore(sessionmaker(connection))
        store.remove_session("none")
        assert store.list_roles() == set()
        with pytest.raises(InvalidRequestError, match="AUTOCOMMIT"), store.transaction():
            raise AssertionError("the block began")
        with pytest.raises(InvalidRequestError, match="AUTOCOMMIT"):
            store.create_user(new_user())
    assert usernames(db) == []


@pytest.mark.backends("sqlite")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 takes autocommit from 3.12 on")
def test_a_driver_that_commits_no_transaction_is_given_none(db: Database) -> None:
    """With `autocommit=True`, all was lost that came after a call of several statements."""
    engine = db.engine(connect_args={"autocommit": True})
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with pytest.raises(InvalidRequestError, match='isolation_level="AUTOCOMMIT"'):
        store.create_user(new_user())
    with pytest.raises(InvalidRequestError), store.transaction():
        raise AssertionError("the block began")
    joined = Session(engine)
    with joined, pytest.raises(InvalidRequestError), store.transaction(joined):
        raise AssertionError("the block began")
    store.create_role("admin")
    assert db.read("SELECT role FROM userharbor_roles") == [("admin",)]
