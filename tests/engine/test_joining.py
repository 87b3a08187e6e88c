"""Transactions of the application's: on its session or connection, and beside them."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, event, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from support.databases import Database
from support.samples import new_token, new_user
from support.transactions import Abort, usernames, without_snapshot_isolation
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


@pytest.fixture
def notes(db: Database) -> Iterator[Table]:
    """A table of the application's own."""
    metadata = MetaData()
    notes = Table(
        "notes",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("text", String(50)),
        mysql_engine="InnoDB",
    )
    metadata.create_all(db.main)
    yield notes
    metadata.drop_all(db.main)


def test_an_outer_transaction_of_a_test_suite_leaves_nothing_behind(db: Database) -> None:
    """The pattern of SQLAlchemy's documentation: a session bound to a connection, rolled back."""
    with db.main.connect() as connection:
        outer = connection.begin()
        store = SQLAlchemyUserStore(sessionmaker(connection))
        store.create_user(new_user())
        store.create_role("admin")
        with pytest.raises(IntegrityError):
            store.create_role("admin")
        with store.transaction():
            store.add_session(new_token("s"))
        with pytest.raises(Abort), store.transaction():
            store.delete_user("jane")
            raise Abort
        assert store.get_session("s") is not None
        assert store.get_user_by_username("jane") is not None
        assert connection.in_transaction()
        outer.rollback()
    assert usernames(db) == []
    assert db.count("userharbor_roles") == 0
    assert db.count("userharbor_sessions") == 0


def test_a_connection_that_nobody_has_begun_is_committed(db: Database) -> None:
    """A session of it would commit as well; nothing stays open."""
    with db.main.connect() as connection:
        store = SQLAlchemyUserStore(sessionmaker(connection))
        store.create_user(new_user())
        assert store.get_user_by_username("jane") is not None
        with store.transaction():
            store.create_user(new_user("joe"))
        assert not connection.in_transaction()
    assert usernames(db) == ["jane", "joe"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_row_of_the_application_and_a_registration_end_together(
    store: Store, db: Database, notes: Table, end: str
) -> None:
    """`transaction(session)` joins; the session's owner commits."""
    with Session(db.main) as session:
        session.execute(notes.insert().values(id=1, text="before"))
        with store.transaction(session):
            store.create_user(new_user())
        session.execute(notes.insert().values(id=2, text="after"))
        getattr(session, end)()
    assert usernames(db) == (["jane"] if end == "commit" else [])
    assert db.count("notes") == (2 if end == "commit" else 0)


def test_a_joined_block_that_raises_takes_its_own_part_back(
    store: Store, db: Database, notes: Table
) -> None:
    """The caller's transaction goes on, by session and by connection."""
    with Session(db.main) as session:
        with pytest.raises(Abort), store.transaction(session):
            store.create_user(new_user())
            raise Abort
        session.execute(notes.insert().values(id=1, text="after"))
        session.commit()
    with db.main.begin() as connection:
        connection.execute(notes.insert().values(id=2, text="before"))
        with pytest.raises(Abort), store.transaction(connection):
            store.create_user(new_user())
            raise Abort
    assert usernames(db) == []
    assert db.count("notes") == 2


def test_a_block_after_a_joined_one_is_the_stores_own_again(store: Store, db: Database) -> None:
    """Leaving a joined block gives its connection up."""
    with Session(db.main) as session:
        with store.transaction(session):
            store.create_user(new_user())
        session.rollback()
    store.create_user(new_user("joe"))
    assert usernames(db) == ["joe"]


def test_a_connection_in_autocommit_is_refused_to_join(store: Store, db: Database) -> None:
    """There is no transaction to take part in."""
    with db.engine().connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(InvalidRequestError, match="AUTOCOMMIT"), store.transaction(connection):
            raise AssertionError("the block began")


def test_the_applications_session_is_left_alone(db: Database, notes: Table) -> None:
    """With a `scoped_session`, its transaction goes on under the store's calls and blocks."""
    registry = scoped_session(sessionmaker(db.main))
    store = SQLAlchemyUserStore(registry)
    begun: list[Session] = []
    event.listen(registry, "after_begin", lambda session, *_: begun.append(session))
    store.create_user(new_user())
    with store.transaction():
        store.create_user(new_user("joe"))
    assert store.get_user_by_username("jane") is not None
    assert begun == []
    assert not registry().in_transaction()

    if db.backend != "sqlite":  # there, a second writer would wait for the first
        registry.execute(notes.insert().values(id=1, text="mine"))
        store.create_user(new_user("jim"))
        with pytest.raises(IntegrityError):
            store.create_user(new_user("jim"))
        assert registry().in_transaction()
        registry.rollback()
        assert db.count("notes") == 0
    registry.remove()


@pytest.mark.backends("sqlite", "mysql")
def test_a_grant_newer_than_the_joined_transaction_is_as_good(db: Database, store: Store) -> None:
    """The caller's snapshot is older than what stands in the way."""
    if db.is_memory:
        return
    store.create_user(new_user())
    store.create_role("admin")
    with Session(db.engine(connect_args=without_snapshot_isolation(db))) as session:
        if db.backend == "mysql":
            session.execute(text("SELECT count(*) FROM userharbor_users"))
        SQLAlchemyUserStore(sessionmaker(db.main)).grant_role_to_user("jane", "admin")
        with store.transaction(session):
            store.grant_role_to_user("jane", "admin")
            with pytest.raises(IntegrityError, match="Role already exists"):
                store.create_role("admin")
        session.rollback()
