"""Tables in which the database takes texts for one that differ: the store does not."""

from datetime import datetime

import pytest
from sqlalchemy import MetaData
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import UnknownRoleError

from support.databases import Database
from support.models import user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


FOLDING = {
    "sqlite": [
        "DROP TABLE userharbor_sessions",
        "CREATE TABLE userharbor_sessions (token_hash VARCHAR(128) COLLATE NOCASE PRIMARY KEY,"
        " username VARCHAR(255) NOT NULL, expires_at DATETIME NOT NULL)",
    ],
    "postgresql": [
        "CREATE EXTENSION citext",
        "ALTER TABLE userharbor_sessions ALTER COLUMN token_hash TYPE citext",
    ],
    "mysql": [
        "ALTER TABLE userharbor_sessions MODIFY token_hash VARCHAR(128)"
        " CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL"
    ],
}


@pytest.fixture
def folding(fresh: Database) -> Store:
    """A store on new tables whose sessions are kept in a column that folds case, at least."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.metadata.create_all(fresh.main)
    with fresh.main.begin() as connection:
        for statement in FOLDING[fresh.backend]:
            connection.exec_driver_sql(statement)
    store.create_user(new_user())
    for token_hash in ("abc", "other"):
        store.add_session(new_token(token_hash))
    return store


@pytest.mark.parametrize("another", ["ABC", "äbc", "abc "])
def test_other_sessions_are_all_where_none_has_just_this_hash(
    folding: Store, fresh: Database, another: str
) -> None:
    """One whose hash the column takes for the given one is no exception."""
    assert folding.remove_other_sessions("jane", another) == 2
    assert fresh.count("userharbor_sessions") == 0


def test_the_session_that_has_just_this_hash_is_left(folding: Store, fresh: Database) -> None:
    """So byte for byte as it was stored."""
    assert folding.remove_other_sessions("jane", "abc") == 1
    assert fresh.read("SELECT token_hash FROM userharbor_sessions") == [("abc",)]


def test_a_write_to_a_session_reaches_none_whose_hash_only_looks_alike(
    folding: Store, fresh: Database
) -> None:
    """No row comes back that Python could compare, so the database must."""
    before = folding.get_session("abc")
    folding.refresh_session("ABC", datetime(2050, 1, 1))
    assert folding.get_session("abc") == before
    folding.remove_session("ABC")
    assert fresh.count("userharbor_sessions") == 2


def test_a_hash_with_a_space_at_its_end_is_another(store: Store, db: Database) -> None:
    """Also in the built-in tables, whose collation on MariaDB and MySQL passes over it."""
    store.create_user(new_user())
    store.add_session(new_token("abc"))
    store.remove_session("abc ")
    assert store.get_session("abc ") is None
    assert db.count("userharbor_sessions") == 1
    assert store.remove_other_sessions("jane", "abc ") == 1
    assert db.count("userharbor_sessions") == 0


@pytest.mark.backends("sqlite")
def test_who_only_looks_alike_is_unknown(fresh: Database) -> None:
    """Where the application's own column is in a collation that passes over spaces."""
    with fresh.main.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE members (id integer PRIMARY KEY, email varchar(320) UNIQUE,"
            " username varchar(255) COLLATE RTRIM UNIQUE, password_hash varchar(512),"
            " verified boolean)"
        )
    table = user_table("members", MetaData())
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table, table_prefix="own_")
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    assert store.get_user_by_username("jane ") is None
    with pytest.raises(KeyError):
        store.get_password_hash("jane ")
    with pytest.raises(UnknownRoleError):
        store.grant_role_to_user("jane", "ghost")
    with pytest.raises(KeyError):
        store.grant_role_to_user("jane ", "ghost")
    with pytest.raises(KeyError):
        store.set_password_hash("jane ", "another")
    store.delete_user("jane ")
    assert store.get_password_hash("jane") == new_user().password_hash
