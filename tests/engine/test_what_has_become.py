"""A call that fails in the end says in one line what has become of it."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from support.databases import Database
from support.faults import failing, kill, kill_pool
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

WITHOUT_EFFECT = r"tried 5 times, without effect"
BEGIN_AGAIN = r"nothing of its transaction takes effect; begin that again"
UNKNOWN = r"the connection was lost: whether this took effect is unknown"

DEADLOCK: dict[str, str | int] = {
    "sqlite": "database is locked",
    "postgresql": "40P01",
    "mysql": 1213,
}


@pytest.fixture
def engine(db: Database) -> Engine:
    return db.engine(pool_size=3)


@pytest.fixture
def store(engine: Engine) -> Store:
    """A store in which Jane is."""
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    return store


CALLS: dict[str, Callable[[Store], object]] = {
    "a read": lambda store: store.list_roles(),
    "a statement": lambda store: store.create_role("admin"),
    "several statements": lambda store: store.set_password_reset(new_token("new")),
}


@pytest.mark.parametrize("call", list(CALLS))
def test_what_was_given_up_was_tried_so_often(
    store: Store, engine: Engine, db: Database, call: str
) -> None:
    """And the database has taken each try back."""
    failure = failing(engine, DEADLOCK[db.backend], times=100)
    with failure, pytest.raises(DBAPIError, match=WITHOUT_EFFECT):
        CALLS[call](store)


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize("where", ["a block", "a connection"])
def test_in_a_transaction_the_caller_is_to_begin_it_again(
    store: Store, engine: Engine, db: Database, call: str, where: str
) -> None:
    """What else it did is gone, too."""
    with engine.connect() as connection, pytest.raises(DBAPIError, match=BEGIN_AGAIN):
        connection.begin()
        bound = SQLAlchemyUserStore(sessionmaker(connection))
        with failing(engine, DEADLOCK[db.backend], times=100):
            if where == "a block":
                with store.transaction():
                    CALLS[call](store)
            else:
                CALLS[call](bound)


@pytest.mark.backends("postgresql", "mysql")
def test_a_write_on_a_lost_connection_has_an_unknown_outcome(
    store: Store, engine: Engine, db: Database
) -> None:
    """The message may have arrived."""
    for call in ("a statement", "several statements"):
        kill_pool(db, engine)
        with pytest.raises(DBAPIError, match=UNKNOWN):
            CALLS[call](store)


@pytest.mark.backends("mysql")
def test_a_read_on_lost_connections_was_tried_twice(store: Store, engine: Engine) -> None:
    """There is nothing to be unsure about."""
    without_effect = pytest.raises(DBAPIError, match="tried 2 times, without effect")
    with failing(engine, 2013, times=100), without_effect:
        store.list_roles()


@pytest.mark.backends("postgresql", "mysql")
def test_a_block_has_an_unknown_outcome_where_its_commit_was_lost(
    store: Store, db: Database
) -> None:
    """But not where a call within it was."""
    with pytest.raises(DBAPIError, match=UNKNOWN), store.transaction():
        store.create_role("admin")
        kill(db, store.bind)
    with pytest.raises(DBAPIError, match=BEGIN_AGAIN), store.transaction():
        store.create_role("admin")
        kill(db, store.bind)
        store.create_role("editor")
    assert store.list_roles() == set()


@pytest.mark.backends("postgresql", "mysql")
def test_a_server_that_takes_no_writes_had_none(db: Database) -> None:
    """A pool of connections to it is given up each time."""
    arguments = {
        "postgresql": {"options": "-c default_transaction_read_only=on"},
        "mysql": {"init_command": "SET SESSION TRANSACTION READ ONLY"},
    }
    store = SQLAlchemyUserStore(sessionmaker(db.engine(connect_args=arguments[db.backend])))
    with pytest.raises(DBAPIError, match=WITHOUT_EFFECT):
        store.create_role("admin")


@pytest.mark.backends("postgresql")
def test_a_lock_that_postgresql_waited_for_too_long_is_waited_for_once(db: Database) -> None:
    """The application has said how long."""
    engine = db.engine(connect_args={"options": "-c lock_timeout=10ms"})
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    with Session(db.main) as session:
        session.execute(text("SELECT * FROM userharbor_users FOR UPDATE"))
        with pytest.raises(DBAPIError, match="tried once, without effect"):
            store.set_password_hash("jane", "another")
