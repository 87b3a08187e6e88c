"""A pool whose connections take no writes any more, as those to a primary that was replaced.

Here, it is each connection that is read-only; tests/cluster/test_failover.py replaces primaries.
"""

import gc
import logging
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

pytestmark = [
    pytest.mark.backends("postgresql", "mysql"),
    # Of a pool that is given up, those that a caller has then are left to the collector.
    pytest.mark.filterwarnings("ignore:.* was deleted while still open:ResourceWarning"),
]

WRITES: dict[str, Callable[[Store], None]] = {
    "create_role": lambda store: store.create_role("admin"),
    "add_session": lambda store: store.add_session(new_token("session")),
    "set_password_hash": lambda store: store.set_password_hash("jane", "another hash"),
    "set_password_reset": lambda store: store.set_password_reset(new_token("reset")),
}


@pytest.fixture
def engine(db: Database) -> Iterator[Engine]:
    """One whose pool has five connections, all read-only; there is a user, jane."""
    Store(sessionmaker(db.main)).create_user(new_user())
    engine = db.engine(pool_size=5, max_overflow=0)
    read_only = {
        "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "mysql": "SET SESSION TRANSACTION READ ONLY",
    }[db.backend]
    for connection in [engine.connect() for _ in range(5)]:
        connection.exec_driver_sql(read_only)
        connection.commit()
        connection.close()
    yield engine
    gc.collect()


@pytest.mark.parametrize("write", list(WRITES))
def test_a_write_is_tried_again_on_a_new_connection(
    engine: Engine, write: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, however many connections the pool has, and the log says so."""
    caplog.set_level(logging.INFO, "userharbor_sqlalchemy")
    WRITES[write](Store(sessionmaker(engine)))
    assert caplog.messages == ["the server takes no writes: trying again, attempt 2 of 5"]


def test_a_block_is_refused_and_the_next_one_is_not(engine: Engine) -> None:
    """Only the caller knows what else the block did."""
    store = Store(sessionmaker(engine))
    with pytest.raises(DBAPIError), store.transaction():
        store.create_role("admin")
    with store.transaction():
        store.create_role("admin")
    assert store.role_exists("admin")


def test_a_joined_session_is_refused_and_the_next_one_is_not(engine: Engine) -> None:
    """The pool that its connection is from is given up."""
    sessions = sessionmaker(engine)
    store = Store(sessions)
    with sessions() as session:
        with pytest.raises(DBAPIError), store.transaction(session):
            store.create_role("admin")
        session.rollback()
    with sessions() as session:
        with store.transaction(session):
            store.create_role("admin")
        session.commit()
    assert store.role_exists("admin")


def test_a_pool_is_given_up_by_the_first_of_its_connections_that_is_refused(
    db: Database, engine: Engine
) -> None:
    """The new one is not, by those of the old one that are refused later."""
    store, other = Store(sessionmaker(engine)), Store(sessionmaker(engine))
    pools = []

    @event.listens_for(engine, "do_execute", once=True)
    def write_meanwhile(*_: object) -> None:
        other.create_role("meanwhile")
        pools.append(engine.pool)

    store.create_role("admin")
    assert pools == [engine.pool]
    assert db.count("userharbor_roles") == 2
