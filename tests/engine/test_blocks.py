"""Blocks of `transaction()`: savepoints, failures within, and whose thread they are of."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.samples import new_token, new_user
from support.transactions import Abort, usernames
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


def test_a_block_takes_effect_at_its_end(store: Store, db: Database) -> None:
    """Not before, in the eyes of another connection."""
    with store.transaction():
        store.create_user(new_user())
        if not db.is_memory:
            assert usernames(db) == []
        assert store.get_user_by_username("jane") is not None
    assert usernames(db) == ["jane"]


def test_a_block_within_a_block_is_a_savepoint(store: Store, db: Database) -> None:
    """What raises inside takes only its own part back."""
    with store.transaction():
        store.create_user(new_user("one"))
        with pytest.raises(Abort), store.transaction():
            store.create_user(new_user("two"))
            with store.transaction():
                store.create_user(new_user("three"))
            raise Abort
        with store.transaction():
            store.create_user(new_user("four"))
        assert store.get_user_by_username("two") is None
    assert usernames(db) == ["four", "one"]


def refusals(store: Store) -> list[Callable[[], None]]:
    return [
        lambda: store.create_user(new_user("JANE", email="new", verification_token_hash="new")),
        lambda: store.create_user(new_user("new", verification_token_hash="jane-verification")),
        lambda: store.create_role("admin"),
        lambda: store.create_permission("users.read"),
        lambda: store.add_session(new_token("s")),
        lambda: store.set_password_reset(new_token("r", "joe")),
    ]


def test_a_caught_refusal_leaves_the_block_usable(store: Store, db: Database) -> None:
    """On PostgreSQL a failed statement ends the transaction but for a savepoint."""
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
    store.create_role("admin")
    store.create_permission("users.read")
    store.add_session(new_token("s"))
    store.set_password_reset(new_token("r"))

    with store.transaction():
        store.add_session(new_token("before"))
        for refused in refusals(store):
            with pytest.raises(IntegrityError):
                refused()
        store.grant_role_to_user("jane", "admin")
        store.grant_role_to_user("jane", "admin")
        store.add_session(new_token("after"))

    assert usernames(db) == ["jane", "joe"]
    assert store.get_session("before") is not None
    assert store.get_session("after") is not None
    assert store.get_user_roles("jane") == {"admin"}


def test_a_failure_that_the_block_swallows_rolls_it_back(store: Store, db: Database) -> None:
    """PostgreSQL would answer COMMIT with a ROLLBACK, and no error."""
    with pytest.raises(InvalidRequestError, match="rolled back"), store.transaction():
        store.create_user(new_user())
        with _without_permissions(db), pytest.raises(DBAPIError):
            store.permission_exists("users.read")
    assert usernames(db) == []


@contextmanager
def _without_permissions(db: Database) -> Iterator[None]:
    """Let statements on permissions fail in the database."""

    def misspell(
        connection: object, cursor: object, statement: str, parameters: Any, *_: object
    ) -> tuple[str, Any]:
        return statement.replace("userharbor_permissions", "no_such_table"), parameters

    event.listen(db.main, "before_cursor_execute", misspell, retval=True)
    try:
        yield
    finally:
        event.remove(db.main, "before_cursor_execute", misspell)


def test_one_connection_is_enough(db: Database) -> None:
    """Never two at once: a pool of one, which nobody waits for."""
    store = SQLAlchemyUserStore(
        sessionmaker(db.engine(pool_size=1, max_overflow=0, pool_timeout=0.2))
    )
    store.create_role("admin")
    store.create_user(new_user())
    with store.transaction():
        store.set_password_reset(new_token("r"))
        assert store.get_password_reset("r") is not None
        store.grant_role_to_user("jane", "admin")
        with store.transaction(), pytest.raises(IntegrityError):
            store.create_user(new_user())
        store.remove_all_sessions("jane")
    with pytest.raises(IntegrityError):
        store.create_user(new_user())
    store.delete_role("admin")
    store.delete_user("jane")


def test_a_thread_that_inherits_an_open_block_is_refused(store: Store, db: Database) -> None:
    """Its connection can't serve two threads; a thread without the context has its own."""
    outcomes: list[object] = []
    contexts = [] if db.is_memory else [contextvars.Context()]

    def call() -> None:
        try:
            outcomes.append(store.role_exists("admin"))
        except InvalidRequestError as error:
            outcomes.append(str(error))

    with store.transaction():
        store.create_role("admin")
        for context in (contextvars.copy_context(), *contexts):
            thread = threading.Thread(target=context.run, args=(call,))
            thread.start()
            thread.join()
    refusal, *seen = outcomes
    assert "another thread" in str(refusal)
    assert seen == [False for _ in contexts], "it has seen what is not committed"


def test_a_block_may_be_left_in_another_context(store: Store, db: Database) -> None:
    """As async frameworks do: it commits, does not raise, and is not left open behind."""
    entered = contextvars.copy_context()
    block = store.transaction()
    entered.run(block.__enter__)
    entered.run(store.create_user, new_user())
    contextvars.copy_context().run(block.__exit__, None, None, None)

    assert usernames(db) == ["jane"]
    entered.run(store.create_user, new_user("joe"))
    assert usernames(db) == ["jane", "joe"]


def test_blocks_of_two_stores_do_not_mix(db: Database, store: Store) -> None:
    """A block is that of one store."""
    other = SQLAlchemyUserStore(sessionmaker(db.main))
    with store.transaction():
        store.create_user(new_user())
        if not db.is_memory:
            assert other.get_user_by_username("jane") is None
        with pytest.raises(Abort), store.transaction():
            store.create_user(new_user("joe"))
            raise Abort
    assert other.get_user_by_username("jane") is not None


def test_a_thread_within_the_context_may_open_a_block_of_its_own(
    store: Store, db: Database
) -> None:
    """Its calls go on its own connection, and the block outside stays what it was."""
    seen: list[object] = []

    def work() -> None:
        with store.transaction():
            seen.append(store.role_exists("admin"))

    store.create_role("admin")
    context = contextvars.copy_context()
    if db.backend == "sqlite":  # one writer at a time: the block outside is closed by then
        with store.transaction():
            context = contextvars.copy_context()
        work()
        return
    with store.transaction():
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(work))
        thread.start()
        thread.join()
        store.create_role("guest")
    assert seen == [True]
    assert store.list_roles() == {"admin", "guest"}


@pytest.mark.backends("postgresql", "mysql")
def test_a_lock_that_a_savepoint_took_along_is_taken_again(db: Database) -> None:
    """The user's row is locked once in a block, unless the inner block that did so was undone."""
    engine = db.engine()
    locks: list[str] = []

    def note(*arguments: Any) -> None:
        if "userharbor_users" in arguments[2] and " FOR " in arguments[2]:
            locks.append(arguments[2])

    event.listen(engine, "before_cursor_execute", note)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    store.set_password_reset(new_token("r"))
    locks.clear()
    with store.transaction():
        with pytest.raises(Abort), store.transaction():
            assert store.get_password_reset("r") is not None
            raise Abort
        assert len(locks) == 1
        assert store.get_password_reset("r") is not None
        assert len(locks) == 2
        with store.transaction():
            store.remove_password_reset("r")
        assert len(locks) == 2
    assert db.count("userharbor_password_resets") == 0
