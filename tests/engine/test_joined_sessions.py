"""Sessions that are joined as a whole: their objects, and their savepoints."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import event, func, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.orm import (
    Session,
    scoped_session,
    sessionmaker,
)

from support.databases import Database
from support.invoices import Base, Invoice, invoice_table, invoices
from support.samples import new_user
from support.transactions import Abort, usernames
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


__all__ = ["invoice_table"]


@contextmanager
def plain(db: Database) -> Iterator[Session]:
    with Session(db.main) as session:
        yield session


@contextmanager
def without_autoflush(db: Database) -> Iterator[Session]:
    with Session(db.main) as session, session.no_autoflush:
        yield session


@contextmanager
def scoped(db: Database) -> Iterator[scoped_session[Session]]:
    registry = scoped_session(sessionmaker(db.main))
    try:
        yield registry
    finally:
        registry.remove()


@contextmanager
def bound_to_a_connection(db: Database) -> Iterator[Session]:
    with db.main.connect() as connection, Session(connection) as session:
        yield session


@contextmanager
def in_a_savepoint(db: Database) -> Iterator[Session]:
    with Session(db.main) as session:
        session.begin_nested()
        yield session


AnySession = Session | scoped_session[Session]
Opened = Callable[[Database], AbstractContextManager[AnySession]]
SESSIONS: list[Opened] = [plain, without_autoflush, scoped, bound_to_a_connection, in_a_savepoint]


@pytest.mark.parametrize("opened", SESSIONS)
def test_the_session_knows_what_a_block_took_back(
    store: Store, db: Database, opened: Opened
) -> None:
    """What it flushed within is gone, and what it changed or deleted is as it was."""
    with opened(db) as session:
        changed, deleted, pending = Invoice(id=1, note="a"), Invoice(id=2), Invoice(id=3)
        session.add_all([changed, deleted])
        session.flush()
        session.add(pending)
        flushed, unflushed = Invoice(id=4), Invoice(id=5)
        with pytest.raises(Abort), store.transaction(session):
            store.create_user(new_user())
            session.add(flushed)
            changed.note = "b"
            session.delete(deleted)
            session.flush()
            session.add(unflushed)
            raise Abort
        assert inspect(flushed).transient
        assert inspect(unflushed).transient
        assert inspect(deleted).persistent
        assert inspect(pending).persistent, "what was added before is of the caller's"
        assert changed.note == "a"
        session.add(Invoice(id=6))
        session.commit()
    assert invoices(db) == [1, 2, 3, 6]
    assert db.read("SELECT note FROM joined_invoices WHERE id = 1") == [("a",)]
    assert usernames(db) == []


@pytest.mark.parametrize("opened", SESSIONS)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_what_a_block_added_ends_with_the_session(
    store: Store, db: Database, opened: Opened, end: str
) -> None:
    """Flushed within or not; committing is the caller's."""
    with opened(db) as session:
        session.scalar(select(func.count()).select_from(Invoice))
        with store.transaction(session):
            session.add(Invoice(id=1))
            session.flush()
            store.create_user(new_user())
            session.add(Invoice(id=2))
        with store.transaction(session), store.transaction(session):
            store.create_role("admin")
        if not db.is_memory:
            assert (invoices(db), usernames(db)) == ([], [])
        getattr(session, end)()
        if opened is bound_to_a_connection:
            session.close()
    assert invoices(db) == ([1, 2] if end == "commit" else [])
    assert usernames(db) == (["jane"] if end == "commit" else [])


def test_a_refusal_of_the_store_s_takes_the_session_s_part_back(store: Store, db: Database) -> None:
    """A name that is taken leaves the block, and an invoice with it; not if it is caught within."""
    store.create_user(new_user())
    with Session(db.main) as session:
        refused, kept = Invoice(id=1), Invoice(id=2)
        with pytest.raises(IntegrityError), store.transaction(session):
            session.add(refused)
            session.flush()
            store.create_user(new_user())
        with store.transaction(session):
            session.add(kept)
            session.flush()
            with pytest.raises(IntegrityError):
                store.create_user(new_user())
        assert inspect(refused).transient
        assert inspect(kept).persistent
        session.commit()
    assert invoices(db) == [2]


@pytest.mark.parametrize("is_bound", [True, False])
def test_what_the_session_can_t_store_gives_no_value_away(db: Database, is_bound: bool) -> None:
    """Flushed at the start and at the end of the block; the session tells its owner the rest.

    It has the bind, and the store need not have one.
    """
    store = SQLAlchemyUserStore(sessionmaker(db.main if is_bound else None))
    with Session(db.main) as session:
        session.add(Invoice(id=1, note="before"))
        session.commit()
        for where in ("before", "within"):
            if where == "before":
                session.add(Invoice(id=1, note="very secret"))
            with pytest.raises(DBAPIError) as raised, store.transaction(session):
                store.list_roles()
                session.add(Invoice(id=1, note="very secret"))
            assert "very secret" not in f"{raised.value} {raised.value.orig!r}"
            assert raised.value.__context__ is None
            session.rollback()
    assert invoices(db) == [1]


def test_a_flush_that_fails_within_a_block_that_goes_on(store: Store, db: Database) -> None:
    """The session's own error is its owner's; the block is rolled back, and the session goes on."""
    with Session(db.main) as session:
        session.add(Invoice(id=1))
        refused = pytest.raises(InvalidRequestError, match="could not flush")
        with refused as raised, store.transaction(session):
            store.create_role("before")
            session.add(Invoice(id=1, note="very secret"))
            with pytest.raises(IntegrityError):
                session.flush()
            store.create_role("after")
        assert raised.value.__context__ is None
        session.add(Invoice(id=2))
        session.commit()
    assert invoices(db) == [1, 2]
    assert store.list_roles() == set()


def test_a_session_of_several_databases_is_joined(db: Database, fresh: Database) -> None:
    """The savepoint is set on the connection that the store uses, and on the other one."""
    if db.is_memory:
        return
    Base.metadata.create_all(fresh.main)
    store = SQLAlchemyUserStore(sessionmaker(db.main))
    factory = sessionmaker(binds={Base: fresh.main}, bind=db.main)
    with factory() as session:
        session.add(Invoice(id=1))
        session.flush()
        refused = Invoice(id=2)
        with pytest.raises(Abort), store.transaction(session):
            session.add(refused)
            session.flush()
            store.create_user(new_user())
            raise Abort
        assert inspect(refused).transient
        with store.transaction(session):
            store.create_user(new_user("joe"))
            session.add(Invoice(id=3))
        session.commit()
    assert usernames(db) == ["joe"]
    assert invoices(fresh) == [1, 3]


def test_a_block_in_a_listener_of_the_session_s(store: Store, db: Database) -> None:
    """While the session flushes, it is joined all the same."""
    with Session(db.main) as session:

        def register(session: Session, *_: object) -> None:
            with store.transaction(session):
                store.create_user(new_user())

        event.listen(session, "after_flush", register)
        session.add(Invoice(id=1))
        session.flush()
        event.remove(session, "after_flush", register)
        session.commit()
    assert (invoices(db), usernames(db)) == ([1], ["jane"])
