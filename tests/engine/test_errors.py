"""Refusals: of which class they are, and that they give no value away."""

import pickle
from collections.abc import Callable

import pytest
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import (
    InvalidEmailError,
    InvalidPasswordResetTokenError,
    InvalidSessionTokenError,
    InvalidUsernameError,
    InvalidVerificationTokenError,
    PermissionAlreadyExistsError,
    RoleAlreadyExistsError,
    UserHarborError,
)
from userharbor.interfaces import CreateUserRequest, UserToken

from support.databases import Database
from support.samples import EXPIRES_AT, new_token, new_user
from support.secrets import EMAIL, HASH, TOKEN, assert_gives_nothing_away, secret_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (new_user("JANE", email="other"), InvalidUsernameError, "Username already exists"),
        (new_user("jane", email="other"), InvalidUsernameError, "Username already exists"),
        (new_user("joe", email="jane@example.org"), InvalidEmailError, "Email already exists"),
        (
            new_user("joe", verification_token_hash="jane-verification"),
            InvalidVerificationTokenError,
            "Verification token already exists",
        ),
    ],
)
@pytest.mark.parametrize("where", ["alone", "in a transaction"])
def test_a_taken_value_is_named_by_the_cores_error(
    store: Store, db: Database, request_: CreateUserRequest, error: type, message: str, where: str
) -> None:
    """It is an IntegrityError as well, and nothing of the second account is stored."""
    store.create_user(new_user())
    with pytest.raises(error) as raised:
        if where == "alone":
            store.create_user(request_)
        else:
            with store.transaction():
                store.create_user(request_)

    assert isinstance(raised.value, IntegrityError)
    assert str(raised.value) == message
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (type(copy), str(copy)) == (type(raised.value), message)
    assert db.read("SELECT username FROM userharbor_users") == [("jane",)]
    assert db.count("userharbor_email_verifications") == 1


def test_each_other_taken_value_is_named_too(store: Store) -> None:
    """Roles, permissions and token hashes."""
    store.create_user(new_user())
    store.create_user(new_user("joe"))
    store.create_role("admin")
    store.create_permission("users.read")
    store.add_session(new_token("s"))
    store.set_password_reset(new_token("r"))
    calls: list[tuple[type, Callable[[], None]]] = [
        (RoleAlreadyExistsError, lambda: store.create_role("admin")),
        (PermissionAlreadyExistsError, lambda: store.create_permission("users.read")),
        (InvalidSessionTokenError, lambda: store.add_session(new_token("s", "joe"))),
        (
            InvalidVerificationTokenError,
            lambda: store.set_email_verification(new_token("jane-verification", "joe")),
        ),
        (InvalidPasswordResetTokenError, lambda: store.set_password_reset(new_token("r", "joe"))),
    ]
    for error, call in calls:
        with pytest.raises(error) as raised:
            call()
        assert isinstance(raised.value, IntegrityError)
        assert "already exists" in str(raised.value)


def test_a_missing_user_is_a_key_error_of_the_cores(store: Store) -> None:
    """Both an application that catches KeyError and one that catches the core's errors see it."""
    calls: list[Callable[[], object]] = [
        lambda: store.get_password_hash("ghost"),
        lambda: store.set_password_hash("ghost", "x"),
        lambda: store.add_session(new_token("s", "ghost")),
    ]
    for call in calls:
        with pytest.raises(KeyError) as raised:
            call()
        assert isinstance(raised.value, UserHarborError)
        assert str(raised.value) == "Unknown username"
        assert str(pickle.loads(pickle.dumps(raised.value))) == "Unknown username"


def test_tokens_and_grants_for_ghosts_store_nothing(store: Store, db: Database) -> None:
    """Also on SQLite with foreign keys off, which is its default."""
    store.create_role("admin")
    if db.backend == "sqlite":
        assert db.read("PRAGMA foreign_keys") == [(0,)]
    calls: list[Callable[[], None]] = [
        lambda: store.add_session(new_token("t", "ghost")),
        lambda: store.set_email_verification(new_token("t", "ghost")),
        lambda: store.set_password_reset(new_token("t", "ghost")),
        lambda: store.grant_role_to_user("ghost", "admin"),
    ]
    for call in calls:
        with pytest.raises(KeyError):
            call()
    for table in ("sessions", "email_verifications", "password_resets", "user_roles"):
        assert db.count(f"userharbor_{table}") == 0


def failing_calls(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.create_user(secret_user()),
        lambda: store.set_password_hash("secretive", HASH),
        lambda: store.get_user_by_email(EMAIL),
        lambda: store.add_session(UserToken("secretive", TOKEN, EXPIRES_AT)),
        lambda: store.set_password_reset(UserToken("secretive", TOKEN, EXPIRES_AT)),
        lambda: store.get_session(TOKEN),
        lambda: store.remove_session(TOKEN),
        lambda: store.refresh_session(TOKEN, EXPIRES_AT),
    ]


def test_a_duplicate_gives_nothing_away(store: Store) -> None:
    """The driver quotes the duplicate; its exception is not in the chain."""
    store.create_user(secret_user())
    store.add_session(UserToken("secretive", TOKEN, EXPIRES_AT))
    calls: list[Callable[[], None]] = [
        lambda: store.create_user(secret_user()),
        lambda: store.create_user(secret_user("other")),
        lambda: store.add_session(UserToken("secretive", TOKEN, EXPIRES_AT)),
    ]
    for call in calls:
        with pytest.raises(IntegrityError) as raised:
            call()
        assert_gives_nothing_away(raised.value)


def test_a_missing_table_is_named_and_gives_nothing_away(db: Database) -> None:
    """Any refusal of the database's is raised without its values, and is of SQLAlchemy's class."""
    store = SQLAlchemyUserStore(sessionmaker(db.main), table_prefix="absent_", metadata=MetaData())
    for call in failing_calls(store):
        with pytest.raises(DBAPIError, match=r"absent_\w+") as raised:
            call()
        assert_gives_nothing_away(raised.value)
        assert raised.value.__context__ is None
        assert raised.value.orig is not None
        if db.backend == "postgresql":
            assert isinstance(raised.value, ProgrammingError)


@pytest.mark.backends("postgresql", "mysql")
def test_a_refusal_at_random_gives_nothing_away(db: Database) -> None:
    """A trigger may quote what it likes."""
    metadata = MetaData()
    store = SQLAlchemyUserStore(sessionmaker(db.main), table_prefix="quoting_", metadata=metadata)
    metadata.create_all(db.main)
    text = "'no ', NEW.email, ' with ', NEW.password_hash"
    with db.main.begin() as connection:
        if db.backend == "mysql":
            connection.exec_driver_sql(
                "CREATE TRIGGER quote BEFORE INSERT ON quoting_users FOR EACH ROW BEGIN"
                f" DECLARE said VARCHAR(500) DEFAULT CONCAT({text});"
                " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = said; END"
            )
        else:
            connection.exec_driver_sql(
                "CREATE OR REPLACE FUNCTION quote_it() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN"
                f" RAISE EXCEPTION USING MESSAGE = concat({text}), DETAIL = concat({text});"
                " END $$"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER quote BEFORE INSERT ON quoting_users"
                " FOR EACH ROW EXECUTE FUNCTION quote_it()"
            )
    try:
        with pytest.raises(DBAPIError) as raised:
            store.create_user(secret_user())
        assert_gives_nothing_away(raised.value)
        assert "withheld" in str(raised.value)
    finally:
        metadata.drop_all(db.main)


@pytest.mark.backends("postgresql", "mysql")
def test_a_value_too_long_for_an_altered_column_gives_nothing_away(db: Database) -> None:
    """The database refuses what the store could not foresee."""
    metadata = MetaData()
    store = SQLAlchemyUserStore(sessionmaker(db.main), table_prefix="narrow_", metadata=metadata)
    metadata.create_all(db.main)
    change = "MODIFY email" if db.backend == "mysql" else "ALTER email TYPE"
    with db.main.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE narrow_users {change} varchar(5)")
    try:
        with pytest.raises(DBAPIError) as raised:
            store.create_user(secret_user())
        assert_gives_nothing_away(raised.value)
        assert store.get_user_by_username("secretive") is None
    finally:
        metadata.drop_all(db.main)
