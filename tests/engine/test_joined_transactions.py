"""A joined transaction that the database, or a statement, has ended: nothing goes on in it."""

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, create_engine, select, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.orm import (
    Session,
    sessionmaker,
)

from support.databases import Database
from support.faults import until_waiting
from support.invoices import INSERT, Invoice, invoice_table, invoices
from support.samples import new_token, new_user
from support.transactions import Abort
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


__all__ = ["invoice_table"]


# What ends a transaction, other than its owner: the database, in favour of another one.


def serialization_failure(db: Database, store: Store, connection: Connection) -> None:
    """40001 on PostgreSQL, 1020 on MariaDB: another request was first."""
    other = SQLAlchemyUserStore(sessionmaker(db.main))
    in_a_thread(lambda: other.set_password_hash("jane", "by another"))
    store.set_password_hash("jane", "mine")


def swallowed_failure(db: Database, store: Store, connection: Connection) -> None:
    """The block goes on after it."""
    with pytest.raises(DBAPIError):
        serialization_failure(db, store, connection)


def failure_of_several_statements(db: Database, store: Store, connection: Connection) -> None:
    """In a savepoint of the call's own, which is gone too."""
    other = SQLAlchemyUserStore(sessionmaker(db.main))
    in_a_thread(lambda: other.set_password_hash("jane", "by another"))
    store.set_password_reset(new_token("mine"))


def failure_of_the_application_s(db: Database, store: Store, connection: Connection) -> None:
    """By a statement that is not the store's."""
    other = SQLAlchemyUserStore(sessionmaker(db.main))
    in_a_thread(lambda: other.set_password_hash("jane", "by another"))
    connection.execute(text("UPDATE userharbor_users SET verified = true"))


def in_a_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


Failure = Callable[[Database, Store, Connection], None]
FAILURES: list[Failure] = [
    serialization_failure,
    swallowed_failure,
    failure_of_several_statements,
    failure_of_the_application_s,
]


@pytest.fixture
def snapshots(db: Database, store: Store) -> Iterator[Callable[[Connection], None]]:
    """What has a transaction of a connection fail where another one was first."""
    if db.backend == "mysql" and not db.read("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'"):
        pytest.skip("MySQL gives no transaction up because of its snapshot")
    store.create_user(new_user())

    def begin(connection: Connection) -> None:
        if db.backend == "mysql":
            connection.exec_driver_sql("SET SESSION innodb_snapshot_isolation = ON")
        connection.execute(text("SELECT count(*) FROM userharbor_users"))

    yield begin
    db.main.dispose()


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("outer", ["begun by itself", "begun", "in a savepoint", "bound"])
def test_a_session_does_not_go_on_without_its_transaction(
    store: Store,
    db: Database,
    snapshots: Callable[[Connection], None],
    failure: Failure,
    outer: str,
) -> None:
    """Rows before the block were lost, and those after it stored: now it must be rolled back."""
    engine = db.engine(isolation_level="REPEATABLE READ")
    with (
        engine.connect() as connection,
        Session(connection if outer == "bound" else engine) as session,
    ):
        if outer == "begun":
            session.begin()
        session.add(Invoice(id=1))
        session.flush()
        if outer == "in a savepoint":
            session.begin_nested()
        snapshots(session.connection())
        with pytest.raises(SQLAlchemyError), store.transaction(session):
            session.add(Invoice(id=2))
            session.flush()
            failure(db, store, session.connection())
        with pytest.raises(InvalidRequestError):
            session.execute(text(f"{INSERT} (3)"))
        with pytest.raises(InvalidRequestError):
            store.transaction(session).__enter__()
        with pytest.raises(InvalidRequestError):
            session.commit()
        session.rollback()
        assert invoices(db) == []

        session.add(Invoice(id=4))
        session.flush()
        with store.transaction(session):
            store.create_role("admin")
        session.commit()
    assert invoices(db) == [4]
    assert store.list_roles() == {"admin"}


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("outer", ["begun by itself", "begun", "in a savepoint"])
def test_a_connection_does_not_go_on_without_its_transaction(
    store: Store,
    db: Database,
    snapshots: Callable[[Connection], None],
    failure: Failure,
    outer: str,
) -> None:
    """As a session."""
    engine = db.engine(isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        if outer != "begun by itself":
            connection.begin()
        connection.execute(text(f"{INSERT} (1)"))
        if outer == "in a savepoint":
            connection.begin_nested()
        snapshots(connection)
        with pytest.raises(SQLAlchemyError), store.transaction(connection):
            failure(db, store, connection)
        with pytest.raises(InvalidRequestError):
            connection.execute(text(f"{INSERT} (2)"))
        with pytest.raises(InvalidRequestError):
            connection.commit()
        connection.rollback()
        assert invoices(db) == []
        connection.execute(text(f"{INSERT} (3)"))
        connection.commit()
    assert invoices(db) == [3]


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("failure", FAILURES[::2])
def test_a_bound_connection_does_not_go_on_without_its_transaction(
    db: Database, snapshots: Callable[[Connection], None], failure: Failure
) -> None:
    """A call by itself on the connection of the session factory's takes it along as well."""
    with db.engine(isolation_level="REPEATABLE READ").connect() as connection:
        bound = SQLAlchemyUserStore(sessionmaker(connection))
        with connection.begin() as outer:
            connection.execute(text(f"{INSERT} (1)"))
            snapshots(connection)
            with pytest.raises(DBAPIError):
                failure(db, bound, connection)
            with pytest.raises(InvalidRequestError):
                connection.execute(text(f"{INSERT} (2)"))
            outer.rollback()
    assert invoices(db) == []


@pytest.mark.parametrize("end", ["commits", "rolls back", "raises"])
def test_a_block_that_ends_its_transaction_by_a_statement(
    store: Store, db: Database, end: str
) -> None:
    """The savepoint is not there any more: what comes after must not pass for what came before."""
    if db.is_memory:
        return
    with Session(db.main) as session:
        session.add(Invoice(id=1))
        session.flush()
        with pytest.raises((SQLAlchemyError, Abort)), store.transaction(session):
            store.create_role("admin")
            session.execute(text("COMMIT" if end == "commits" else "ROLLBACK"))
            if end == "raises":
                raise Abort
        with pytest.raises(InvalidRequestError):
            session.execute(text(f"{INSERT} (2)"))
        session.rollback()
    assert invoices(db) == ([1] if end == "commits" else [])


@pytest.mark.backends("mysql")
def test_a_deadlock_in_a_joined_block_ends_the_session_s_transaction(
    store: Store, db: Database
) -> None:
    """1213: of two that wait for each other, InnoDB gives up the one that has written less."""
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
    with Session(db.main) as session, db.engine().connect() as other:
        session.add(Invoice(id=1))
        session.flush()
        update = "UPDATE userharbor_users SET verified = 1 WHERE username ="
        other.execute(text(f"{INSERT} (11), (12), (13), (14), (15), (16), (17), (18)"))
        other.execute(text(f"{update} 'joe'"))
        thread = threading.Thread(target=other.execute, args=(text(f"{update} 'jane'"),))
        with pytest.raises(DBAPIError), store.transaction(session):
            store.set_password_hash("jane", "mine")
            thread.start()
            until_waiting(db)
            store.set_password_hash("joe", "mine")
        thread.join()
        other.rollback()
        with pytest.raises(InvalidRequestError):
            session.execute(text(f"{INSERT} (2)"))
        session.rollback()
    assert invoices(db) == []


@pytest.mark.backends("mysql")
def test_a_lock_wait_that_took_too_long_ends_only_the_block(store: Store, db: Database) -> None:
    """1205: InnoDB rolls back the statement, and the session's rows are there still."""
    store.create_user(new_user())
    with Session(db.main) as session, db.engine().connect() as other:
        other.execute(text("UPDATE userharbor_users SET verified = 1"))
        session.execute(text("SET SESSION innodb_lock_wait_timeout = 1"))
        session.add(Invoice(id=1))
        session.flush()
        with pytest.raises(DBAPIError, match="Lock wait timeout"), store.transaction(session):
            store.set_password_hash("jane", "mine")
        other.rollback()
        session.add(Invoice(id=2))
        session.commit()
    db.main.dispose()
    assert invoices(db) == [1, 2]


@pytest.mark.backends("sqlite")
def test_a_trigger_that_rolls_back_ends_the_session_s_transaction(
    store: Store, db: Database
) -> None:
    """SQLite's ROLLBACK of a conflict takes the savepoint along."""
    if db.is_memory:
        return
    with Session(db.main) as session:
        session.add(Invoice(id=1))
        session.flush()
        with pytest.raises(DBAPIError), store.transaction(session):
            store.create_role("admin")
            session.execute(text("INSERT OR ROLLBACK INTO joined_invoices (id) VALUES (1)"))
        with pytest.raises(InvalidRequestError):
            session.execute(text(f"{INSERT} (2)"))
        session.rollback()
    assert invoices(db) == []
    assert store.list_roles() == set()


@pytest.mark.backends("sqlite")
def test_a_session_that_has_only_read_takes_the_lock_first(store: Store, db: Database) -> None:
    """A SAVEPOINT would begin by itself, and its release commit."""
    if db.is_memory:
        return
    with Session(db.main) as session, create_engine(db.url).connect() as other:
        assert session.scalars(select(Invoice.id)).all() == []
        with store.transaction(session):
            session.add(Invoice(id=1))
            other.exec_driver_sql("PRAGMA busy_timeout = 0")
            with pytest.raises(DBAPIError, match="locked"):
                other.execute(text(f"{INSERT} (2)"))
        session.rollback()
    assert invoices(db) == []
