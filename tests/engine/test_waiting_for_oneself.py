"""A call is made outside of a session that has written to the user's row: it waits for itself."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

IMPATIENT: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 0.01},
    "postgresql": {"options": "-c lock_timeout=10ms"},
    "mysql": {"init_command": "SET innodb_lock_wait_timeout = 0"},
}


@pytest.fixture
def waiting(db: Database) -> SQLAlchemyUserStore[User]:
    """A store, with Jane in it, whose connections wait for a lock no longer than they must."""
    store = SQLAlchemyUserStore(sessionmaker(db.engine(connect_args=IMPATIENT[db.backend])))
    store.create_user(new_user())
    store.set_password_reset(new_token("reset"))
    return store


def wrote(session: Session) -> None:
    session.execute(text("UPDATE userharbor_users SET verified = true WHERE username = 'jane'"))


def test_the_error_of_a_single_call_says_that_the_session_is_to_be_joined(
    waiting: SQLAlchemyUserStore[User], db: Database
) -> None:
    """The text of each database says that a lock was waited for, and not whose it may be."""
    with Session(db.main) as session:
        wrote(session)
        with pytest.raises(OperationalError, match=r"store\.transaction\(session\)"):
            waiting.set_password_hash("jane", "another")
    waiting.set_password_hash("jane", "another")


def test_so_does_that_of_a_call_of_several_statements(
    waiting: SQLAlchemyUserStore[User], db: Database
) -> None:
    """Which begins a transaction of its own."""
    with Session(db.main) as session:
        wrote(session)
        with pytest.raises(OperationalError, match=r"store\.transaction\(session\)"):
            waiting.set_password_reset(new_token("another"))


def test_so_does_that_of_a_block(waiting: SQLAlchemyUserStore[User], db: Database) -> None:
    """Where it begins, on SQLite, or where it locks the user."""
    with Session(db.main) as session:
        wrote(session)
        with (
            pytest.raises(OperationalError, match=r"store\.transaction\(session\)"),
            waiting.transaction(),
        ):
            waiting.get_password_reset("reset")


def test_to_join_the_session_is_to_wait_for_nothing(
    waiting: SQLAlchemyUserStore[User], db: Database
) -> None:
    """As the error says."""
    with Session(db.main) as session:
        wrote(session)
        with waiting.transaction(session):
            waiting.set_password_hash("jane", "another")
        session.commit()
    assert waiting.get_password_hash("jane") == "another"
