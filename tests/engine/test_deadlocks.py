"""Transactions that two connections give up for each other, for real: alone, and in a block."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import Session, sessionmaker
from userharbor.exceptions import UserHarborError

from support.databases import Database
from support.faults import deadlock, rival, until_waiting
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

pytestmark = pytest.mark.backends("postgresql", "mysql")


@pytest.fixture
def engine(db: Database) -> Engine:
    """The engine that loses."""
    return db.engine()


@pytest.fixture
def store(engine: Engine) -> Store:
    """A store in which Jane has a reset."""
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    store.set_password_reset(new_token("old"))
    return store


def resets(db: Database) -> list[str]:
    return [name for (name,) in db.read("SELECT token_hash FROM userharbor_password_resets")]


def test_a_call_that_loses_a_deadlock_is_done_again(
    store: Store, engine: Engine, db: Database
) -> None:
    """The caller does not notice."""
    with deadlock(db, engine) as begun:
        store.set_password_reset(new_token("new"))
    assert begun
    assert resets(db) == ["new"]


def test_a_block_that_swallows_a_deadlock_is_rolled_back(
    store: Store, engine: Engine, db: Database
) -> None:
    """On MariaDB and MySQL, all that it did before is gone; it must not store the rest alone."""
    with pytest.raises(InvalidRequestError, match="rolled back"), store.transaction():
        store.create_role("before")
        with deadlock(db, engine) as begun, pytest.raises(DBAPIError):
            store.set_password_reset(new_token("new"))
        assert begun
        store.create_role("after")
    assert resets(db) == ["old"]
    assert db.count("userharbor_roles") == 0


def test_a_deadlock_in_an_inner_block_takes_the_outer_one_along(
    store: Store, engine: Engine, db: Database
) -> None:
    """They are one transaction."""
    with pytest.raises(InvalidRequestError, match="rolled back"), store.transaction():
        store.create_role("before")
        with deadlock(db, engine), pytest.raises(DBAPIError), store.transaction():
            store.set_password_reset(new_token("new"))
        store.create_role("after")
    assert db.count("userharbor_roles") == 0


@pytest.mark.parametrize("where", ["a block", "the application's session"])
def test_a_deadlock_is_raised_as_what_it_is(
    store: Store, engine: Engine, db: Database, where: str
) -> None:
    """And not as the want of a savepoint, which MariaDB and MySQL have dropped with the rest."""
    with Session(engine) as session:
        with pytest.raises(DBAPIError) as raised:
            if where == "a block":
                with deadlock(db, engine), store.transaction():
                    store.set_password_reset(new_token("new"))
            else:
                with deadlock(db, engine), store.transaction(session), store.transaction():
                    store.set_password_reset(new_token("new"))
        session.rollback()
    assert raised.value.orig is not None
    said = raised.value.orig.args
    if db.backend == "mysql":
        assert said[0] == 1213
    assert "deadlock" in said[-1].lower()
    assert resets(db) == ["old"]


@pytest.mark.backends("mysql")
def test_a_wait_for_a_lock_that_took_too_long_is_waited_for_again(
    store: Store, db: Database
) -> None:
    """Its holder has ended by then."""
    impatient = db.engine(connect_args={"init_command": "SET SESSION innodb_lock_wait_timeout = 1"})
    with rival(db) as other:
        other.execute(text("SELECT * FROM userharbor_users FOR UPDATE"))
        codes: list[object] = []

        def give_way(context: ExceptionContext) -> None:
            codes.append(context.original_exception.args[0])
            other.rollback()

        event.listen(impatient, "handle_error", give_way)
        SQLAlchemyUserStore(sessionmaker(impatient)).set_password_hash("jane", "new")
    assert codes == [1205]
    assert store.get_password_hash("jane") == "new"


@pytest.mark.backends("postgresql")
def test_a_statement_that_can_not_be_serialized_is_done_again(store: Store, db: Database) -> None:
    """The database's default level may be SERIALIZABLE; a statement alone is run at that."""
    strict = db.engine(connect_args={"options": "-c default_transaction_isolation=serializable"})
    given_up: list[str] = []
    event.listen(strict, "handle_error", lambda context: given_up.append(str(context.statement)))
    with rival(db) as other:
        other.execute(text("UPDATE userharbor_users SET password_hash = 'theirs'"))

        def commit() -> None:
            until_waiting(db)
            other.commit()

        thread = threading.Thread(target=commit)
        thread.start()
        SQLAlchemyUserStore(sessionmaker(strict)).set_password_hash("jane", "new")
        thread.join()
    assert len(given_up) == 1
    assert store.get_password_hash("jane") == "new"


@pytest.mark.backends("mysql")
@pytest.mark.parametrize("level", [None, "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.set_user_verified("jane"),
        lambda store: store.set_password_hash("jane", "new"),
        lambda store: store.add_session(new_token("new")),
        lambda store: store.set_password_reset(new_token("new")),
        lambda store: store.remove_all_sessions("jane"),
        lambda store: store.grant_role_to_user("jane", "admin"),
        lambda store: store.delete_user("jane"),
        lambda store: store.create_user(new_user("JANE", email="other@example.org")),
    ],
    ids=["verify", "hash", "session", "reset", "sessions", "role", "delete", "create"],
)
def test_a_user_who_came_back_lets_no_block_deadlock(
    store: Store, db: Database, level: str | None, call: Callable[[Store], object]
) -> None:
    """While a backup goes on, the record of before is there, and a lock on it is kept.

    By the call, if it is above READ COMMITTED, while it waits for a block. Another block waits
    for that lock, and so does the first one's next statement, at the other's expense.
    """
    store.create_role("admin")
    single = SQLAlchemyUserStore(
        sessionmaker(db.engine(**({"isolation_level": level} if level else {})))
    )
    errors = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except (UserHarborError, KeyError):
            pass
        except Exception as error:
            errors.append(error)

    def in_a_block() -> None:
        with store.transaction():
            store.remove_all_sessions("jane")

    with db.engine(isolation_level="REPEATABLE READ").connect() as backup:
        backup.execute(text("SELECT count(*) FROM userharbor_users"))
        store.delete_user("jane")
        store.create_user(new_user())
        threads = [
            threading.Thread(target=run, args=(each,))
            for each in (lambda: call(single), in_a_block)
        ]
        with store.transaction():
            store.set_password_hash("jane", "one")
            for number, thread in enumerate(threads, 1):
                thread.start()
                until_waiting(db, number)
            run(lambda: store.set_password_hash("jane", "two"))
        for thread in threads:
            thread.join()
    assert errors == []
