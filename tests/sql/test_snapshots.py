"""Blocks that join a transaction of the application's, which has read before what happened since.

Above READ COMMITTED, such a transaction goes on reading from its snapshot. What must not be
old is read with a lock.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from userharbor.exceptions import (
    InvalidEmailError,
    InvalidPasswordResetTokenError,
    InvalidSessionTokenError,
    InvalidUsernameError,
    InvalidVerificationTokenError,
    PermissionAlreadyExistsError,
    RoleAlreadyExistsError,
    UnknownRoleError,
)
from userharbor.interfaces import UserToken

from support.databases import Database
from support.racing import Store
from support.samples import new_token, new_user
from support.transactions import without_snapshot_isolation
from userharbor_sqlalchemy import SQLAlchemyUserStore

pytestmark = pytest.mark.backends("postgresql", "mysql")


@contextmanager
def snapshot(db: Database) -> Iterator[Session]:
    """A session whose transaction reads what is there now, whatever is committed later."""
    arguments = without_snapshot_isolation(db)
    engine = db.engine(isolation_level="REPEATABLE READ", connect_args=arguments)
    with Session(engine) as session:
        session.execute(text("SELECT count(*) FROM userharbor_users"))
        yield session


def token_or_none(store: Store, session: Session, getter: str, token_hash: str) -> object:
    """What a getter in a joined block answers; None also where the database ends the block."""
    try:
        with store.transaction(session):
            token: UserToken | None = getattr(store, getter)(token_hash)
            return token
    except DBAPIError:
        return None


@pytest.mark.parametrize("kind", ["password_reset", "email_verification"])
def test_a_token_spent_since_is_not_handed_out_again(store: Store, db: Database, kind: str) -> None:
    """It is in the snapshot still, where a plain read would find it.

    PostgreSQL gives the transaction up, InnoDB finds nothing.
    """
    store.create_user(new_user())
    getattr(store, f"set_{kind}")(new_token("once"))
    with snapshot(db) as session:
        with store.transaction():
            assert getattr(store, f"get_{kind}")("once") is not None
            getattr(store, f"remove_{kind}")("once")
        assert token_or_none(store, session, f"get_{kind}", "once") is None


@pytest.mark.backends("mysql")
def test_what_was_taken_since_is_told_by_the_cores_error(store: Store, db: Database) -> None:
    """A plain read would find nothing that stands in the way.

    On PostgreSQL, a locking one finds nothing either: the application begins again there.
    """
    store.create_user(new_user("joe"))
    with snapshot(db) as session:
        store.create_user(new_user())
        store.create_role("admin")
        store.create_permission("users.read")
        store.add_session(new_token("s"))
        store.set_password_reset(new_token("r"))
        with store.transaction(session):
            with pytest.raises(InvalidUsernameError, match="already exists"):
                store.create_user(new_user("JANE", email="e", verification_token_hash="v"))
            with pytest.raises(InvalidEmailError, match="already exists"):
                store.create_user(new_user("new", email="jane@example.org"))
            with pytest.raises(InvalidVerificationTokenError, match="already exists"):
                store.create_user(new_user("new", verification_token_hash="jane-verification"))
            with pytest.raises(RoleAlreadyExistsError):
                store.create_role("admin")
            with pytest.raises(PermissionAlreadyExistsError):
                store.create_permission("users.read")
            with pytest.raises(InvalidSessionTokenError, match="already exists"):
                store.add_session(new_token("s", "joe"))
            with pytest.raises(InvalidPasswordResetTokenError, match="already exists"):
                store.set_password_reset(new_token("r", "joe"))
        session.commit()
    assert db.count("userharbor_users") == 2


@pytest.mark.backends("mysql")
@pytest.mark.parametrize("unique", [True, False], ids=["unique index", "table of 0.7.0"])
def test_a_token_set_since_is_replaced(fresh: Database, unique: bool) -> None:
    """By a plain read there would be none to replace, and two live ones afterwards."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    if not unique:
        with fresh.main.begin() as connection:
            connection.exec_driver_sql(
                "DROP INDEX uq_userharbor_password_resets_username ON userharbor_password_resets"
            )
    with snapshot(fresh) as session:
        store.set_password_reset(new_token("since"))
        with store.transaction(session):
            store.set_password_reset(new_token("last"))
        session.commit()
    assert fresh.read("SELECT token_hash FROM userharbor_password_resets") == [("last",)]


@pytest.mark.backends("mysql")
def test_a_new_token_keeps_no_other_users_from_being_stored(store: Store, db: Database) -> None:
    """To lock a user's tokens, where there are none, locks the gap where others' belong."""
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
    engine = db.engine()
    impatient = db.engine(connect_args={"init_command": "SET innodb_lock_wait_timeout = 1"})
    other = SQLAlchemyUserStore(sessionmaker(impatient))
    stored: list[str] = []

    def store_another(*arguments: Any) -> None:
        if arguments[2].startswith("INSERT INTO userharbor_password_resets"):
            other.set_password_reset(new_token("of joe", "joe"))
            stored.append("of joe")

    event.listen(engine, "before_cursor_execute", store_another)
    SQLAlchemyUserStore(sessionmaker(engine)).set_password_reset(new_token("of jane"))
    assert stored == ["of joe"]
    assert store.get_password_reset("of jane") is not None
    assert store.get_password_reset("of joe") is not None


@pytest.mark.backends("postgresql")
def test_a_grant_is_not_made_where_a_side_goes_away_under_it(store: Store, db: Database) -> None:
    """The foreign key refuses it once the deletion that it waited for is committed."""
    store.create_user(new_user())
    store.create_role("admin")
    outcomes: list[Exception | None] = []

    def grant() -> None:
        try:
            store.grant_role_to_user("jane", "admin")
        except UnknownRoleError as error:
            outcomes.append(error)
        else:
            outcomes.append(None)

    granting = threading.Thread(target=grant)
    with db.main.begin() as connection:
        connection.execute(text("DELETE FROM userharbor_roles"))
        granting.start()
        wait_until_blocked(db, connection.scalar(text("SELECT pg_backend_pid()")), granting)
    granting.join()
    assert isinstance(outcomes[0], UnknownRoleError)
    assert db.count("userharbor_user_roles") == 0


def wait_until_blocked(db: Database, holder: int | None, waiting: threading.Thread) -> None:
    """Until another connection waits for a lock that `holder` has."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE ? = ANY (pg_blocking_pids(pid))"
    while waiting.is_alive() and db.read(blocked, holder) == [(0,)]:
        time.sleep(0.01)
