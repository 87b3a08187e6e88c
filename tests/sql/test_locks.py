"""What an open block keeps others from, and what it does not: by a second connection.

The other connection does not wait: it is told at once whether it would have to.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.faults import until_waiting
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

pytestmark = pytest.mark.backends("postgresql", "mysql")

Store = SQLAlchemyUserStore[User]
Call = Callable[[Store], object]


@pytest.fixture(autouse=True)
def seed(store: Store) -> None:
    """Two users with a token of each kind, two roles and a permission."""
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
        store.add_session(new_token(f"session of {name}", name))
        store.set_password_reset(new_token(f"reset of {name}", name))
    for role in ("admin", "editor"):
        store.create_role(role)
    store.create_permission("users.read")
    store.grant_role_to_user("jane", "admin")


def may_lock(db: Database, table: str, where: str, *, shared: bool = False) -> bool:
    """Whether another transaction gets a lock on a row at once, to write or `shared` to read."""
    with db.main.connect() as connection:
        how = "FOR SHARE" if shared else "FOR UPDATE"
        if shared and getattr(connection.dialect, "is_mariadb", False):
            how = "LOCK IN SHARE MODE"
        query = text(f"SELECT 1 FROM userharbor_{table} WHERE {where} {how} NOWAIT")
        try:
            assert connection.execute(query).all() == [(1,)]
        except OperationalError:
            return False
        return True


def may_write_to(db: Database, username: str) -> bool:
    return may_lock(db, "users", f"username = '{username}'")


def impatient(db: Database) -> Store:
    """A store whose calls fail where they would have to wait for a lock for long."""
    arguments = {
        "postgresql": {"options": "-c lock_timeout=100ms"},
        "mysql": {"init_command": "SET innodb_lock_wait_timeout = 1"},
    }
    return SQLAlchemyUserStore(sessionmaker(db.engine(connect_args=arguments[db.backend])))


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get_email_verification("jane-verification"),
        lambda store: store.remove_email_verification("jane-verification"),
        lambda store: store.set_email_verification(new_token("new")),
        lambda store: store.get_password_reset("reset of jane"),
        lambda store: store.remove_password_reset("reset of jane"),
        lambda store: store.remove_password_reset_for_user("JANE"),
        lambda store: store.set_password_reset(new_token("new")),
        lambda store: store.refresh_session("session of jane", EXPIRES_AT),
        lambda store: store.remove_session("session of jane"),
        lambda store: store.remove_all_sessions("JANE"),
        lambda store: store.remove_other_sessions("JANE", "session of jane"),
        lambda store: store.revoke_role_from_user("JANE", "admin"),
    ],
    ids=[
        "get verification",
        "remove verification",
        "set verification",
        "get reset",
        "remove reset",
        "remove reset of user",
        "set reset",
        "refresh session",
        "remove session",
        "remove all sessions",
        "remove other sessions",
        "revoke role",
    ],
)
def test_a_write_to_what_is_a_users_locks_the_user(store: Store, db: Database, call: Call) -> None:
    """To the end of the block, and nobody else's; so two blocks can't wait for each other."""
    with store.transaction():
        call(store)
        assert not may_write_to(db, "jane")
        assert may_write_to(db, "joe")
    assert may_write_to(db, "jane")


def test_a_lock_is_one_users_and_not_the_next_ones(store: Store, db: Database) -> None:
    """A block that has to do with several users' tokens locks each of them."""
    with store.transaction():
        store.remove_session("session of jane")
        assert may_write_to(db, "joe")
        store.remove_session("session of joe")
        assert not may_write_to(db, "jane")
        assert not may_write_to(db, "joe")


def test_a_hash_in_two_tables_is_two_tokens(store: Store, db: Database) -> None:
    """That one is looked at in a block says nothing of whose the other is."""
    store.add_session(new_token("same", "jane"))
    store.set_password_reset(new_token("same", "joe"))
    with store.transaction():
        store.remove_session("same")
        assert may_write_to(db, "joe")
        store.remove_password_reset("same")
        assert not may_write_to(db, "joe")


def test_a_token_that_is_to_be_spent_is_locked_itself(store: Store, db: Database) -> None:
    """On another node of a cluster, a lock on its user's row would not count."""
    with store.transaction():
        assert store.get_password_reset("reset of jane") is not None
        assert not may_lock(db, "password_resets", "token_hash = 'reset of jane'")
        assert may_lock(db, "password_resets", "token_hash = 'reset of joe'")
        assert store.get_email_verification("joe-verification") is not None
        assert not may_lock(db, "email_verifications", "token_hash = 'joe-verification'")


REFUSED: dict[str, tuple[Call, str, str]] = {
    "username": (
        lambda store: store.create_user(new_user("jane", email="new")),
        "users",
        "username = 'jane'",
    ),
    "e-mail": (
        lambda store: store.create_user(new_user("new", email="jane@example.org")),
        "users",
        "email = 'jane@example.org'",
    ),
    "session": (
        lambda store: store.add_session(new_token("session of jane", "joe")),
        "sessions",
        "token_hash = 'session of jane'",
    ),
    "reset": (
        lambda store: store.set_password_reset(new_token("reset of jane", "joe")),
        "password_resets",
        "token_hash = 'reset of jane'",
    ),
    "role": (lambda store: store.create_role("admin"), "roles", "role = 'admin'"),
    "permission": (
        lambda store: store.create_permission("users.read"),
        "permissions",
        "permission = 'users.read'",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_stood_in_the_way_may_be_referred_to(store: Store, db: Database, kind: str) -> None:
    """A refusal in a block that goes on locks against a change, and not against a reader."""
    refused, table, where = REFUSED[kind]
    with store.transaction():
        with pytest.raises(IntegrityError, match="already exists"):
            refused(store)
        assert may_lock(db, table, where, shared=True)
        assert not may_lock(db, table, where)


def test_a_grant_that_was_there_may_be_referred_to(store: Store, db: Database) -> None:
    """It is locked against a change, since to have the role already is as good."""
    with store.transaction():
        store.grant_role_to_user("jane", "admin")
        assert may_lock(db, "user_roles", "username = 'jane'", shared=True)
        assert not may_lock(db, "user_roles", "username = 'jane'")


def test_a_refused_registration_keeps_nobody_from_the_login(store: Store, db: Database) -> None:
    """Whoever has the e-mail address does not wait for the end of the block."""
    with store.transaction():
        with pytest.raises(IntegrityError, match="Email already exists"):
            store.create_user(new_user("new", email="jane@example.org"))
        impatient(db).add_session(new_token("meanwhile"))
    assert store.get_session("meanwhile") is not None


def test_a_refused_role_may_be_granted_meanwhile(store: Store, db: Database) -> None:
    """Only to delete it would have to wait."""
    with store.transaction():
        with pytest.raises(IntegrityError, match="Role already exists"):
            store.create_role("editor")
        impatient(db).grant_role_to_user("joe", "editor")
    assert store.get_user_roles("joe") == {"editor"}


@pytest.mark.backends("postgresql")
def test_a_block_that_locks_a_user_keeps_nobody_from_the_login(store: Store, db: Database) -> None:
    """A new session refers to the user's row, which changes nothing of it."""
    with store.transaction():
        assert store.get_password_reset("reset of jane") is not None
        store.remove_password_reset("reset of jane")
        impatient(db).add_session(new_token("meanwhile"))
        assert not may_write_to(db, "jane")
    assert store.get_session("meanwhile") is not None


def listening(engine: Engine) -> Engine:
    """One whose transactions the application begins by a statement of its own."""
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("SELECT 1"))
    return engine


ENGINES: dict[str, Callable[[Database], Engine]] = {
    "as it is": lambda db: db.engine(),
    "AUTOCOMMIT": lambda db: db.engine(isolation_level="AUTOCOMMIT"),
    "SERIALIZABLE": lambda db: db.engine(isolation_level="SERIALIZABLE"),
    "listening": lambda db: listening(db.engine()),
}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))
@pytest.mark.parametrize("before", ["nothing", "a role"])
def test_who_spends_a_token_waits_out_a_change_of_its_user(
    db: Database, engine: Callable[[Database], Engine], before: str
) -> None:
    """Read and locked at once, MariaDB from 11.6 on gives the block up: its snapshot is older.

    It is begun again where nothing is lost by that, and asked step by step where something is.
    """
    store = SQLAlchemyUserStore(sessionmaker(engine(db)))

    def spend() -> object:
        with store.transaction():
            if before == "a role":
                store.create_role("new")
            token = store.get_password_reset("reset of jane")
            store.remove_password_reset("reset of jane")
            return token

    with ThreadPoolExecutor(1) as threads:
        with db.main.begin() as other:
            other.execute(text("UPDATE userharbor_users SET password_hash = 'theirs'"))
            spending = threads.submit(spend)
            until_waiting(db)
        assert spending.result() is not None
    assert db.read("SELECT username FROM userharbor_password_resets") == [("joe",)]
    assert db.count("userharbor_roles") == 2 + (before == "a role")
