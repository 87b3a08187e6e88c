"""How long a text may be: the longest that fits is stored and found, one more is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    event,
    inspect,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import sessionmaker
from sqlalchemy.types import TypeDecorator, TypeEngine
from userharbor.exceptions import (
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidPasswordResetTokenError,
    InvalidPermissionError,
    InvalidRoleError,
    InvalidSessionTokenError,
    InvalidUsernameError,
    InvalidVerificationTokenError,
)

from support.databases import Database
from support.models import BYTEWISE, user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

# Columns are measured in characters, each of which is four bytes here.
LETTER = "𝒶"

WIDTHS = {
    "userharbor_users": {
        "username": 255,
        "username_key": 255,
        "email": 320,
        "password_hash": 512,
    },
    "userharbor_email_verifications": {"token_hash": 128, "username": 255},
    "userharbor_sessions": {"token_hash": 128, "username": 255},
    "userharbor_password_resets": {"token_hash": 128, "username": 255},
    "userharbor_roles": {"role": 255},
    "userharbor_permissions": {"permission": 255},
    "userharbor_user_roles": {"username": 255, "role": 255},
    "userharbor_role_permissions": {"role": 255, "permission": 255},
}


@pytest.mark.parametrize("table", WIDTHS)
def test_a_column_has_the_width_that_is_documented(db: Database, table: str) -> None:
    """That of 0.7.0, whose databases go on."""
    columns = inspect(db.main).get_columns(table)
    lengths = {column["name"]: getattr(column["type"], "length", None) for column in columns}
    assert {name: length for name, length in lengths.items() if length} == WIDTHS[table]


def test_the_table_of_keys_has_the_width_of_a_username(fresh: Database) -> None:
    """Beside an application's own table, which has no column for the key."""
    store = own_store(fresh, username=40, email=50, password_hash=60)
    store.metadata.create_all(fresh.main)
    columns = inspect(fresh.main).get_columns("own_username_keys")
    lengths = {column["name"]: getattr(column["type"], "length", None) for column in columns}
    assert lengths == {"username_key": 255, "username": 40}


def test_the_longest_email_is_stored_and_found(store: Store) -> None:
    """And by its lower case, which is as long."""
    email = "A" * 308 + "@example.org"
    assert len(email) == 320
    store.create_user(new_user(email=email.lower()))
    assert store.get_user_by_email(email) == User("jane", email.lower(), False)
    store.create_user(new_user("joe", email=LETTER * 320))
    assert store.get_user_by_email(LETTER * 320) == User("joe", LETTER * 320, False)


def test_a_longer_email_is_refused_and_not_found(store: Store, db: Database) -> None:
    """Before it is sent, also on SQLite, which would keep it."""
    with pytest.raises(InvalidEmailError):
        store.create_user(new_user(email=LETTER * 321))
    assert db.count("userharbor_users") == 0
    store.create_user(new_user(email=LETTER * 320))
    assert store.get_user_by_email(LETTER * 321) is None


def test_the_longest_password_hash_is_stored_and_read(store: Store) -> None:
    """With the account, and in the place of another."""
    store.create_user(new_user(password_hash=LETTER * 512))
    assert store.get_password_hash("jane") == LETTER * 512
    store.set_password_hash("jane", "x" * 512)
    assert store.get_password_hash("jane") == "x" * 512


def test_a_longer_password_hash_is_refused(store: Store, db: Database) -> None:
    """And what was stored before stays."""
    with pytest.raises(InvalidCredentialsError):
        store.create_user(new_user(password_hash="x" * 513))
    assert db.count("userharbor_users") == 0
    store.create_user(new_user())
    with pytest.raises(InvalidCredentialsError):
        store.set_password_hash("jane", "x" * 513)
    assert store.get_password_hash("jane") == "jane-password-hash"


def test_the_longest_username_is_stored_and_found(store: Store) -> None:
    """One more is refused, and found nowhere."""
    store.create_user(new_user(LETTER * 255, email="e", verification_token_hash="v"))
    assert store.get_user_by_username(LETTER * 255) == User(LETTER * 255, "e", False)
    assert store.get_user_by_username(LETTER * 256) is None
    with pytest.raises(InvalidUsernameError):
        store.create_user(new_user(LETTER * 256, email="f", verification_token_hash="w"))


TOKENS: dict[str, tuple[Callable[[Store, str], None], str, type[Exception]]] = {
    "session": (
        lambda store, token_hash: store.add_session(new_token(token_hash)),
        "get_session",
        InvalidSessionTokenError,
    ),
    "reset": (
        lambda store, token_hash: store.set_password_reset(new_token(token_hash)),
        "get_password_reset",
        InvalidPasswordResetTokenError,
    ),
    "verification": (
        lambda store, token_hash: store.set_email_verification(new_token(token_hash)),
        "get_email_verification",
        InvalidVerificationTokenError,
    ),
    "verification with the account": (
        lambda store, token_hash: store.create_user(
            new_user("joe", verification_token_hash=token_hash)
        ),
        "get_email_verification",
        InvalidVerificationTokenError,
    ),
}


@pytest.mark.parametrize("kind", TOKENS)
def test_the_longest_token_hash_is_stored_and_found(store: Store, kind: str) -> None:
    """One more is refused, and found nowhere."""
    add, getter, error = TOKENS[kind]
    store.create_user(new_user())
    with pytest.raises(error):
        add(store, LETTER * 129)
    assert getattr(store, getter)(LETTER * 129) is None
    add(store, LETTER * 128)
    assert getattr(store, getter)(LETTER * 128).token_hash == LETTER * 128


def test_the_longest_names_are_stored_and_found(store: Store) -> None:
    """Those of roles and of permissions; one more is refused, and found nowhere."""
    store.create_role(LETTER * 255)
    store.create_permission(LETTER * 255)
    assert store.role_exists(LETTER * 255)
    assert store.permission_exists(LETTER * 255)
    assert not store.role_exists(LETTER * 256)
    assert not store.permission_exists(LETTER * 256)
    with pytest.raises(InvalidRoleError):
        store.create_role(LETTER * 256)
    with pytest.raises(InvalidPermissionError):
        store.create_permission(LETTER * 256)


def own_store(db: Database, **lengths: int | None) -> Store:
    """A store on a table of the application's with columns of these lengths."""
    texts: list[Column[Any]] = [
        Column(name, String(lengths[name]), unique=name != "password_hash", nullable=False)
        for name in ("username", "email", "password_hash")
    ]
    table = Table(
        "own_members",
        MetaData(),
        Column("id", Integer, primary_key=True),
        *texts,
        Column("verified", Boolean, nullable=False),
        **BYTEWISE,
    )
    return SQLAlchemyUserStore(sessionmaker(db.main), table, table_prefix="own_")


def test_the_columns_of_an_own_table_say_how_long_a_text_may_be(fresh: Database) -> None:
    """Each by itself, and not what the built-in ones hold."""
    store = own_store(fresh, username=40, email=50, password_hash=60)
    store.metadata.create_all(fresh.main)
    longest = new_user("n" * 40, email="e" * 50, password_hash="p" * 60)
    for name, longer, error in (
        ("username", "n" * 41, InvalidUsernameError),
        ("email", "e" * 51, InvalidEmailError),
        ("password_hash", "p" * 61, InvalidCredentialsError),
    ):
        changes: dict[str, Any] = {name: longer}
        with pytest.raises(error):
            store.create_user(replace(longest, **changes))
    store.create_user(longest)
    assert store.get_user_by_email("e" * 50) == User("n" * 40, "e" * 50, False)
    assert store.get_user_by_email("e" * 51) is None
    assert store.get_password_hash("n" * 40) == "p" * 60


@pytest.mark.backends("sqlite", "postgresql")
def test_a_column_without_a_length_holds_what_the_built_in_one_does(fresh: Database) -> None:
    """So that the answers are the same on each database."""
    store = own_store(fresh, username=None, email=None, password_hash=None)
    store.metadata.create_all(fresh.main)
    longest = new_user(
        "n" * 255, email="e" * 320, password_hash="p" * 512, verification_token_hash="v"
    )
    store.create_user(longest)
    assert store.get_user_by_email("e" * 320) == User("n" * 255, "e" * 320, False)
    with pytest.raises(InvalidEmailError):
        store.create_user(new_user(email="e" * 321))
    with pytest.raises(InvalidCredentialsError):
        store.create_user(new_user(password_hash="p" * 513))


class Sized(TypeDecorator[str]):
    """A text that is as long as the database wants it."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(String(60 if dialect.name in ("mysql", "mariadb") else 90))


class Marked(TypeDecorator[str]):
    """A text that is stored with ten characters more."""

    impl = String(90)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and f"encrypted:{value}"

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return value and value.removeprefix("encrypted:")


OF_A_TYPE: dict[str, tuple[TypeEngine[str], dict[str, int]]] = {
    "by a decorator": (Sized(), {"mysql": 60}),
    "by a variant": (String(90).with_variant(String(60), "mysql", "mariadb"), {"mysql": 60}),
    "after a conversion": (Marked(), {"sqlite": 80, "postgresql": 80, "mysql": 80}),
}


@pytest.mark.parametrize("kind", OF_A_TYPE)
def test_a_text_may_be_as_long_as_this_database_holds_it(kind: str, fresh: Database) -> None:
    """Whatever the type says, also where the database would store it cut off."""
    column_type, lengths = OF_A_TYPE[kind]
    longest = lengths.get(fresh.backend, 90)
    table = Table(
        "members",
        MetaData(),
        Column("username", String(90), primary_key=True),
        Column("username_key", String(255), unique=True),
        Column("email", column_type, unique=True),
        Column("password_hash", column_type),
        Column("verified", Boolean),
        **BYTEWISE,
    )
    engine = fresh.engine()
    if fresh.backend == "mysql":
        event.listen(engine, "connect", lambda c, _: c.cursor().execute("SET sql_mode = ''"))
    store = SQLAlchemyUserStore(sessionmaker(engine), table)
    store.metadata.create_all(engine)
    with pytest.raises(InvalidEmailError):
        store.create_user(new_user(email=LETTER * (longest + 1)))
    store.create_user(new_user(email=LETTER * longest, password_hash=LETTER * longest))
    assert store.get_user_by_email(LETTER * longest) == User("jane", LETTER * longest, False)
    assert store.get_password_hash("jane") == LETTER * longest
    with pytest.raises(InvalidCredentialsError):
        store.set_password_hash("jane", LETTER * (longest + 1))
    assert store.get_password_hash("jane") == LETTER * longest


@pytest.mark.backends("mysql")
def test_a_column_that_is_measured_in_bytes_holds_fewer_characters(fresh: Database) -> None:
    """TINYTEXT has 255 of them, and cuts off what is longer where it is not told to refuse it."""
    table = user_table("members", MetaData(), mysql_collate="utf8mb4_bin")
    table.c.password_hash.type = mysql.TINYTEXT()
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table)
    store.metadata.create_all(fresh.main)
    store.create_user(new_user(password_hash=LETTER * 63))
    assert store.get_password_hash("jane") == LETTER * 63
    with pytest.raises(InvalidCredentialsError):
        store.set_password_hash("jane", "x" * 64)


def test_a_key_may_be_as_long_as_this_database_holds_it(fresh: Database) -> None:
    """A name that is longer when it is folded."""
    table = Table(
        "members",
        MetaData(),
        Column("username", String(9), primary_key=True),
        Column("username_key", String(20).with_variant(String(9), fresh.main.name), unique=True),
        Column("email", String(90), unique=True),
        Column("password_hash", String(90)),
        Column("verified", Boolean),
        **BYTEWISE,
    )
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table)
    store.metadata.create_all(fresh.main)
    with pytest.raises(InvalidUsernameError):
        store.create_user(new_user("s" * 8 + "ß"))
    store.create_user(new_user("s" * 7 + "ß"))
    assert store.get_user_by_username("S" * 9) is not None
