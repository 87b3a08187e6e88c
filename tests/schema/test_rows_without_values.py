"""Rows of the application's own table that lack a password hash, or a username."""

from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, mapped_column, sessionmaker
from userharbor import UserHarbor
from userharbor.exceptions import InvalidCredentialsError
from userharbor.security import hash_password

from support.databases import Database
from support.model_stores import PREFIX, store_on
from support.models import Model
from support.racing import Outbox
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User
from userharbor_sqlalchemy.errors import NoPasswordError, UnknownUserError


def bare() -> Model:
    """A table that demands nothing of its rows, as legacy ones do."""
    return Table(
        "app_users",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("username", String(255), unique=True),
        Column("email", String(320), unique=True),
        Column("password_hash", String(512)),
        Column("verified", Boolean),
    )


def keyed() -> Model:
    """A class with a key of its own."""

    class Base(DeclarativeBase):
        pass

    class AppUser(Base):
        __tablename__ = "app_users"
        id = mapped_column(Integer, primary_key=True)
        username = mapped_column(String(255), unique=True)
        username_key = mapped_column(String(255), unique=True)
        email = mapped_column(String(320), unique=True)
        password_hash = mapped_column(Text)
        verified = mapped_column(Boolean)

    return AppUser


def bytewise() -> Model:
    """A class without a key, whose texts are compared byte for byte on MariaDB too."""
    text = String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql", "mariadb")

    class Base(DeclarativeBase):
        pass

    class AppUser(Base):
        __tablename__ = "app_users"
        id = mapped_column(Integer, primary_key=True)
        username = mapped_column(text, unique=True)
        email = mapped_column(text, unique=True)
        password_hash = mapped_column(String(512))
        verified = mapped_column(Boolean)

    return AppUser


MODELS = [bare, keyed, bytewise]


@pytest.fixture(params=MODELS, ids=lambda model: str(model.__name__))
def store(request: pytest.FixtureRequest, fresh: Database) -> SQLAlchemyUserStore[User]:
    """A store on a table whose columns may be NULL."""
    store = store_on(fresh, request.param())
    store.metadata.create_all(fresh.main)
    return store


def add_row(db: Database, store: SQLAlchemyUserStore[User], **values: Any) -> None:
    """Add a row as an application does."""
    table = store.metadata.tables["app_users"]
    row = {"email": "jane@x.org", "password_hash": "hash", "verified": True, **values}
    if "username_key" in table.c and values.get("username") is not None:
        row["username_key"] = values["username"].casefold()
    with db.main.begin() as connection:
        connection.execute(table.insert().values(row))


def test_a_user_without_a_hash_has_no_password(
    store: SQLAlchemyUserStore[User], fresh: Database
) -> None:
    """It is an error of its own, which callers who expect no such user, or a bad one, catch."""
    add_row(fresh, store, username="Jane", password_hash=None)
    assert store.get_user_by_username("Jane") == User("Jane", "jane@x.org", True)
    with pytest.raises(NoPasswordError) as raised:
        store.get_password_hash("Jane")
    assert isinstance(raised.value, InvalidCredentialsError)
    assert isinstance(raised.value, UnknownUserError)
    assert isinstance(raised.value, KeyError)
    with pytest.raises(UnknownUserError) as raised_for_nobody:
        store.get_password_hash("nobody")
    assert not isinstance(raised_for_nobody.value, NoPasswordError)


def test_a_login_without_a_hash_is_refused_as_that_of_an_unknown_name(
    store: SQLAlchemyUserStore[User], fresh: Database
) -> None:
    """By the same error with the same text: it tells nobody that there is such a user."""
    add_row(fresh, store, username="jane", password_hash=None)
    harbor = UserHarbor("secret", store, Outbox())
    texts = set[str]()
    for name in ("jane", "nobody"):
        for password in ("None", "", "password"):
            with pytest.raises(InvalidCredentialsError) as raised:
                harbor.login(name, password)
            texts.add(str(raised.value))
    assert texts == {"Invalid username or password"}


def test_a_user_without_a_hash_who_is_logged_in_can_not_prove_a_password(
    store: SQLAlchemyUserStore[User], fresh: Database
) -> None:
    """To change it, or to delete the account."""
    add_row(fresh, store, username="jane", password_hash=None)
    harbor = UserHarbor("secret", store, Outbox())
    store.set_password_hash("jane", hash_password("Password1!"))
    cookie = harbor.login("jane", "Password1!")
    with fresh.main.begin() as connection:
        connection.exec_driver_sql("UPDATE app_users SET password_hash = NULL")
    with pytest.raises(InvalidCredentialsError):
        harbor.change_password("None", "Password2!", cookie)
    with pytest.raises(InvalidCredentialsError):
        harbor.delete_account("None", cookie)
    assert harbor.get_current_user(cookie).username == "jane"


def test_a_user_without_a_hash_is_given_one(
    store: SQLAlchemyUserStore[User], fresh: Database
) -> None:
    """By `set_password_hash`, as a password reset does."""
    add_row(fresh, store, username="jane", password_hash=None)
    store.set_password_hash("jane", "a hash")
    assert fresh.read("SELECT password_hash FROM app_users") == [("a hash",)]
    assert store.get_password_hash("jane") == "a hash"


def test_a_row_without_a_username_is_no_user(
    store: SQLAlchemyUserStore[User], fresh: Database
) -> None:
    """No lookup finds it, it is neither counted nor listed, and `check()` does not name it."""
    add_row(fresh, store, username=None, email="Lead@x.org")
    store.sync_username_keys()
    store.create_user(new_user())
    assert store.get_user_by_email("Lead@x.org") is None
    assert store.get_user_by_email("lead@x.org") is None
    assert store.get_user_by_username("None") is None
    assert store.count_users() == 1
    assert [user.username for user in store.iter_users()] == ["jane"]
    assert [f.message for f in store.check() if f.code == "email-with-capitals"] == []


def test_a_key_without_a_username_collides_with_nobody(fresh: Database) -> None:
    """To `check()`, which names the user whose key it has as one without a key."""
    store = store_on(fresh, keyed())
    store.metadata.create_all(fresh.main)
    add_row(fresh, store, username=None, email="lead@x.org")
    with fresh.main.begin() as connection:
        connection.exec_driver_sql("UPDATE app_users SET username_key = 'jane'")
        row = "(2, 'Jane', 'jane@x.org', 'hash', TRUE)"
        columns = "(id, username, email, password_hash, verified)"
        connection.exec_driver_sql(f"INSERT INTO app_users {columns} VALUES {row}")
    about_rows = {"key-missing", "usernames-collide", "email-with-capitals"}
    found = [finding for finding in store.check() if finding.code in about_rows]
    assert [finding.code for finding in found] == ["key-missing"]
    assert "1 user ('Jane')" in found[0].message


def test_a_mapper_is_not_asked_about_a_row_without_a_username(fresh: Database) -> None:
    """It would get an instance, or a row, that is no user."""
    for model in MODELS:
        store: SQLAlchemyUserStore[Any] = store_on(fresh, model())
        store.metadata.create_all(fresh.main)
        add_row(fresh, store, username=None, email="lead@x.org")
        mapped = SQLAlchemyUserStore(
            sessionmaker(fresh.main), model(), user_mapper=lambda user: user, table_prefix=PREFIX
        )
        assert mapped.get_user_by_email("lead@x.org") is None
        assert list(mapped.iter_users()) == []
        store.metadata.drop_all(fresh.main)


@pytest.mark.parametrize("name", ["none", "None", "lead"])
def test_a_key_without_a_username_finds_nobody(name: str, fresh: Database) -> None:
    """Nothing is read, written or granted by such a key."""
    store = store_on(fresh, keyed())
    store.metadata.create_all(fresh.main)
    add_row(fresh, store, username=None, email="lead@x.org", password_hash="h", verified=False)
    with fresh.main.begin() as connection:
        connection.exec_driver_sql(f"UPDATE app_users SET username_key = '{name.casefold()}'")
    assert store.get_user_by_username(name) is None
    store.set_user_verified(name)
    store.delete_user(name)
    with pytest.raises(UnknownUserError):
        store.get_password_hash(name)
    with pytest.raises(UnknownUserError):
        store.set_password_hash(name, "another")
    with pytest.raises(UnknownUserError):
        store.add_session(new_token("s", name))
    with pytest.raises(UnknownUserError):
        store.set_password_reset(new_token("r", name))
    store.create_role("admin")
    with pytest.raises(UnknownUserError):
        store.grant_role_to_user(name, "admin")
    (row,) = fresh.read("SELECT password_hash, verified FROM app_users")
    assert (row[0], bool(row[1])) == ("h", False)


@pytest.mark.parametrize("model", MODELS)
def test_the_email_of_a_row_without_a_username_is_taken(model: Any, fresh: Database) -> None:
    """The database holds it to be unique."""
    store = store_on(fresh, model())
    store.metadata.create_all(fresh.main)
    add_row(fresh, store, username=None, email="lead@x.org")
    with pytest.raises(Exception, match="Email already exists"):
        store.create_user(new_user(email="lead@x.org"))
