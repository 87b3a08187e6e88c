"""Races: eight threads at one account, ten rounds, and none raises but the core's typed errors.

What each test was seen to do against the naive form of what it guards stands in its docstring.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData
from sqlalchemy.orm import sessionmaker
from userharbor import UserHarbor
from userharbor.exceptions import (
    InvalidEmailError,
    InvalidPasswordResetTokenError,
    InvalidUsernameError,
    InvalidVerificationTokenError,
    PermissionAlreadyExistsError,
    RoleAlreadyExistsError,
    UserHarborError,
)

from support.databases import Database
from support.models import user_table
from support.racing import Outbox, Slow, Store, make_harbor, race, typed
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

pytestmark = pytest.mark.races

THREADS = 8
ROUNDS = 10


on_each_kind_of_engine = pytest.mark.parametrize(
    "engine",
    ["default", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT", "one connection"],
    indirect=True,
)


@pytest.fixture
def engine(request: pytest.FixtureRequest, db: Database) -> Engine:
    """An engine with a connection for each thread, or of the kind that the test asks for."""
    kind = getattr(request, "param", "default")
    if kind == "one connection":
        return db.engine(pool_size=1, max_overflow=0)
    if kind == "default" or (db.backend == "sqlite" and kind == "REPEATABLE READ"):
        return db.engine(pool_size=16)
    return db.engine(pool_size=16, isolation_level=kind)


@pytest.fixture
def store(engine: Engine) -> Store:
    return SQLAlchemyUserStore(sessionmaker(engine))


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture(params=[SQLAlchemyUserStore, Slow], ids=["at once", "with a pause"])
def harbor(
    request: pytest.FixtureRequest,
    engine: Engine,
    outbox: Outbox,
    monkeypatch: pytest.MonkeyPatch,
) -> UserHarbor[User]:
    return make_harbor(request.param(sessionmaker(engine)), outbox, monkeypatch)


@on_each_kind_of_engine
def test_one_reset_token_has_one_winner(
    harbor: UserHarbor[User], outbox: Outbox, db: Database
) -> None:
    """Read without a lock, one token was spent by all eight, on each database."""
    for number in range(ROUNDS):
        name = f"user{number}"
        harbor.register(name, f"{name}@x.org", "Password-0")
        harbor.send_password_reset(f"{name}@x.org")
        token = outbox.tokens[name]

        outcomes = race(
            [
                partial(harbor.reset_password, f"Password-{thread}", token)
                for thread in range(THREADS)
            ]
        )
        assert typed(outcomes, InvalidPasswordResetTokenError) == 1
        winner = outcomes.index(None)
        assert db.read("SELECT password_hash FROM userharbor_users WHERE username = ?", name) == [
            (f"hash of Password-{winner}",)
        ]
    assert db.count("userharbor_password_resets") == 0


def test_one_verification_token_has_one_winner(
    harbor: UserHarbor[User], outbox: Outbox, db: Database
) -> None:
    """Read without a lock, one token was spent by all eight, on each database."""
    for number in range(ROUNDS):
        name = f"user{number}"
        harbor.register(name, f"{name}@x.org", "Password-0")
        token = outbox.tokens[name]

        outcomes = race([partial(harbor.verify_email, token)] * THREADS)
        assert typed(outcomes, InvalidVerificationTokenError) == 1
    assert db.count("userharbor_email_verifications") == 0


KINDS = ["password_reset", "email_verification"]


@on_each_kind_of_engine
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unique", [True, False], ids=["unique index", "table of 0.7.0"])
def test_one_token_of_a_kind_is_left_of_a_user(
    store: Store, db: Database, kind: str, unique: bool
) -> None:
    """Deleted and inserted without a lock on the user, several were live in a table of 0.7.0.

    So on PostgreSQL; under the unique index it was an IntegrityError there, and a deadlock
    on MariaDB.
    """
    store.create_user(new_user())
    table = f"userharbor_{kind}s"
    on = f" ON {table}" if db.backend == "mysql" else ""
    if not unique:
        with db.main.begin() as connection:
            connection.exec_driver_sql(f"DROP INDEX uq_{table}_username{on}")
    try:
        for number in range(ROUNDS):
            hashes = [f"{number}-{thread}" for thread in range(THREADS)]
            calls = [partial(getattr(store, f"set_{kind}"), new_token(each)) for each in hashes]
            assert typed(race(calls)) == THREADS
            ((left, owner),) = db.read(f"SELECT token_hash, username FROM {table}")
            assert owner == "jane"
            found = {each for each in hashes if getattr(store, f"get_{kind}")(each) is not None}
            assert found == {left}
    finally:
        if not unique:
            with db.main.begin() as connection:
                connection.exec_driver_sql(f"DELETE FROM {table}")
                connection.exec_driver_sql(
                    f"CREATE UNIQUE INDEX uq_{table}_username ON {table} (username)"
                )


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_different_users_are_set_at_once(store: Store, db: Database, kind: str) -> None:
    """Deleted by username and inserted, they deadlocked on MariaDB, by locks on gaps."""
    names = [f"user{number}" for number in range(16)]
    for name in names:
        store.create_user(new_user(name))
    for number in range(ROUNDS):
        calls = [
            partial(getattr(store, f"set_{kind}"), new_token(f"{name}-{number}", name))
            for name in names
        ]
        assert typed(race(calls)) == len(names)
        rows = db.read(f"SELECT username, token_hash FROM userharbor_{kind}s")
        assert sorted(rows) == sorted((name, f"{name}-{number}") for name in names)


SPELLINGS: list[Callable[[str], str]] = [str.title, str.upper, str.casefold]


def test_one_name_in_three_casings_registers_once(store: Store, db: Database) -> None:
    """Told by what a lookup found before, seven of eight raised a raw IntegrityError."""
    for number in range(ROUNDS):
        calls = [
            partial(
                store.create_user,
                new_user(
                    spelling(f"Straße{number}"),
                    email=f"{number}-{thread}@x.org",
                    verification_token_hash=f"{number}-{thread}",
                ),
            )
            for thread, spelling in enumerate(SPELLINGS * 3)
        ]
        assert typed(race(calls), InvalidUsernameError) == 1
    assert db.count("userharbor_users") == ROUNDS
    assert db.count("userharbor_email_verifications") == ROUNDS


def test_one_email_registers_once(store: Store, db: Database) -> None:
    """Told by what a lookup found before, seven of eight raised a raw IntegrityError."""
    for number in range(ROUNDS):
        calls = [
            partial(store.create_user, new_user(f"user{number}-{thread}", email=f"{number}@x.org"))
            for thread in range(THREADS)
        ]
        assert typed(race(calls), InvalidEmailError) == 1
    assert db.count("userharbor_users") == ROUNDS
    assert db.count("userharbor_email_verifications") == ROUNDS


def test_roles_permissions_and_grants_are_made_once(store: Store, db: Database) -> None:
    """With the database's refusal let through, seven of eight raised a raw IntegrityError."""
    store.create_user(new_user())
    for number in range(ROUNDS):
        role, permission = f"role{number}", f"users.read{number}"
        assert typed(race([lambda: store.create_role(role)] * 8), RoleAlreadyExistsError) == 1
        made = race([lambda: store.create_permission(permission)] * 8)
        assert typed(made, PermissionAlreadyExistsError) == 1
        assert typed(race([lambda: store.grant_role_to_user("JANE", role)] * 8)) == 8
        granted = race([lambda: store.grant_permission_to_role(role, permission)] * 8)
        assert typed(granted) == 8
    assert db.count("userharbor_user_roles") == ROUNDS
    assert db.count("userharbor_role_permissions") == ROUNDS


def test_a_user_who_is_deleted_leaves_no_orphan_behind(store: Store, db: Database) -> None:
    """Looked up first and inserted then, a session outlived its user on SQLite.

    On PostgreSQL and MariaDB the foreign key's violation came through.
    """
    store.create_role("admin")
    for number in range(ROUNDS):
        store.create_user(new_user())
        logins: list[Callable[[], object]] = [
            partial(store.add_session, new_token(f"{number}-{thread}")) for thread in range(4)
        ]
        others: list[Callable[[], object]] = [
            lambda: store.delete_user("JANE"),
            lambda: store.set_password_reset(new_token(f"reset-{number}")),
            lambda: store.set_email_verification(new_token(f"verification-{number}")),
            lambda: store.grant_role_to_user("jane", "admin"),
        ]
        typed(race(logins + others), KeyError, UserHarborError)
        for table in (
            "users",
            "sessions",
            "password_resets",
            "email_verifications",
            "user_roles",
        ):
            assert db.count(f"userharbor_{table}") == 0


def test_a_session_that_is_logged_out_stays_gone(store: Store, db: Database) -> None:
    """Looked up first and updated then, the update that found no row was an error."""
    store.create_user(new_user())
    for number in range(ROUNDS):
        store.add_session(new_token(f"{number}"))
        later = EXPIRES_AT.replace(year=2040)
        calls: list[Callable[[], object]] = [
            *[lambda: store.refresh_session(f"{number}", later)] * 6,
            lambda: store.remove_session(f"{number}"),
            lambda: store.remove_all_sessions("jane"),
        ]
        assert typed(race(calls)) == THREADS
        assert db.count("userharbor_sessions") == 0


@on_each_kind_of_engine
def test_all_that_a_user_may_do_at_once(
    store: Store, outbox: Outbox, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock on the user's row first, they deadlocked on PostgreSQL and MariaDB."""
    harbor: UserHarbor[Any] = make_harbor(store, outbox, monkeypatch)
    for _ in range(ROUNDS):
        harbor.register("Jane", "jane@x.org", "Password-1")
        harbor.verify_email(outbox.tokens["Jane"])
        sessions = [harbor.login("jane", "Password-1") for _ in range(4)]
        harbor.send_password_reset("jane@x.org")
        token = outbox.tokens["Jane"]
        calls: list[Callable[[], object]] = [
            lambda: harbor.delete_account("Password-1", sessions[0]),
            lambda: harbor.change_password("Password-1", "Password-2", sessions[1]),
            lambda: harbor.reset_password("Password-3", token),
            lambda: harbor.send_password_reset("jane@x.org"),
            lambda: harbor.login("jane", "Password-1") and None,
            lambda: harbor.logout_all(sessions[2]),
            lambda: harbor.logout(sessions[3]),
            lambda: harbor.verify_session(sessions[0]) and None,
        ]
        outcomes = [each or None for each in race(calls)]
        typed(outcomes, UserHarborError, KeyError)
        store.delete_user("jane")
        assert db.count("userharbor_sessions") == 0
        assert db.count("userharbor_password_resets") == 0


def test_an_own_model_without_keys_of_its_own_races_as_well(
    db: Database, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the key looked up in the locking statement, MariaDB read from before the lock.

    Two tokens were live, or an IntegrityError raised; and it locked keys before users.
    """
    table = user_table("race_users", MetaData())
    engine = db.engine(pool_size=16)
    store = SQLAlchemyUserStore(sessionmaker(engine), table, table_prefix="race_")
    harbor: UserHarbor[Any] = make_harbor(store, outbox, monkeypatch)
    table.metadata.drop_all(db.main)
    table.metadata.create_all(db.main)
    try:
        for number in range(ROUNDS):
            harbor.register("Jane", "jane@x.org", "Password-1")
            harbor.verify_email(outbox.tokens["Jane"])
            tokens = [new_token(f"{number}-{thread}", "JANE") for thread in range(THREADS)]
            calls = [partial(store.set_password_reset, token) for token in tokens]
            assert typed(race(calls)) == THREADS
            assert db.count("race_password_resets") == 1

            sessions = [harbor.login("jane", "Password-1") for _ in range(3)]
            harbor.send_password_reset("jane@x.org")
            token = outbox.tokens["Jane"]
            mixed: list[Callable[[], object]] = [
                lambda: harbor.delete_account("Password-1", sessions[0]),
                lambda: harbor.change_password("Password-1", "Password-2", sessions[1]),
                lambda: harbor.reset_password("Password-3", token),
                lambda: harbor.send_password_reset("jane@x.org"),
                lambda: harbor.login("jane", "Password-1") and None,
                lambda: harbor.login("JANE", "Password-1") and None,
                lambda: harbor.logout_all(sessions[2]),
                lambda: store.create_user(new_user("JANE", email="other@x.org")),
            ]
            typed([each or None for each in race(mixed)], UserHarborError, KeyError)
            store.delete_user("jane")
            for each in table.metadata.sorted_tables:
                assert db.count(each.name) == 0
    finally:
        table.metadata.drop_all(db.main)
