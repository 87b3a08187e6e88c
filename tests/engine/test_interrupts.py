"""Ctrl-C, a task queue's time limit, a coroutine that is closed: what is left of a block."""

import contextvars

import pytest
from sqlalchemy.orm import Session, sessionmaker

from support.databases import Database
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

interrupts = pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])


class Abort(Exception):
    pass


def roles(db: Database) -> list[str]:
    return sorted(role for (role,) in db.read("SELECT role FROM userharbor_roles"))


@interrupts
def test_an_interrupt_takes_the_whole_block_back(
    store: Store, db: Database, interrupt: type[BaseException]
) -> None:
    """And the next block begins as if it had not been."""
    with pytest.raises(interrupt), store.transaction():
        store.create_role("undone")
        raise interrupt
    with store.transaction():
        store.create_role("admin")
    assert roles(db) == ["admin"]


@interrupts
def test_an_interrupt_takes_an_inner_block_back(
    store: Store, db: Database, interrupt: type[BaseException]
) -> None:
    """What the outer one does stays, where that goes on after all."""
    with store.transaction():
        store.create_role("before")
        with pytest.raises(interrupt), store.transaction():
            store.create_role("undone")
            raise interrupt
        store.create_role("after")
    assert roles(db) == ["after", "before"]


@interrupts
def test_an_interrupt_takes_a_joined_block_back(
    store: Store, db: Database, interrupt: type[BaseException]
) -> None:
    """The application's transaction is the application's to end."""
    with Session(db.main) as session:
        with store.transaction(session):
            store.create_role("before")
        with pytest.raises(interrupt), store.transaction(session):
            store.create_role("undone")
            raise interrupt
        session.commit()
    assert roles(db) == ["before"]


def test_a_block_left_in_another_context_leaves_that_one_s_block_open(
    store: Store, db: Database, fresh: Database
) -> None:
    """As a garbage collector leaves one: the block that is open there goes on to hold its calls."""
    other = SQLAlchemyUserStore(sessionmaker(fresh.main))
    other.metadata.create_all(fresh.main)
    here, there = contextvars.Context(), contextvars.Context()
    block, others_block = store.transaction(), other.transaction()
    here.run(block.__enter__)
    here.run(store.create_role, "admin")
    there.run(others_block.__enter__)
    there.run(block.__exit__, None, None, None)
    assert roles(db) == ["admin"]

    there.run(other.create_role, "undone")
    there.run(others_block.__exit__, Abort, Abort(), None)
    assert roles(fresh) == []
    there.run(other.create_role, "guest")
    assert roles(fresh) == ["guest"]
