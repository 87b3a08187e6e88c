"""Databases that old releases made: as they are, and after the steps of docs/upgrading.md."""

import re
from types import SimpleNamespace

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import sessionmaker

from support.alembic_project import AlembicProject
from support.databases import Database
from support.old_databases import (
    NEW,
    load,
    rows,
    use_every_method,
    without_superseded,
)
from support.pages import files
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

Store = SQLAlchemyUserStore[User]


@pytest.fixture
def old(fresh: Database) -> Database:
    """A database that 0.7.0 made."""
    load(fresh, "0.7.0")
    return fresh


@pytest.fixture
def old_store(old: Database) -> Store:
    return SQLAlchemyUserStore(sessionmaker(old.main))


@pytest.fixture
def built_in(alembic: AlembicProject) -> AlembicProject:
    """Alembic with the `env.py` of the built-in tables."""
    alembic.use("built-in/env.py")
    return alembic


def test_every_method_works_unmigrated(old: Database, old_store: Store) -> None:
    """The package is swapped, and the database stays as it is."""
    use_every_method(old_store, old.backend)


def test_two_live_tokens_of_one_user_work_unmigrated(old: Database, old_store: Store) -> None:
    """Both are found, as 0.7.0 did; a new one replaces both, and one removal both."""
    for token_hash in ("josé-superseded", "josé-reset"):
        token = old_store.get_password_reset(token_hash)
        assert token is not None
        assert token.username == "josé"

    old_store.set_password_reset(new_token("new", "JOSÉ"))

    assert old.read(
        "SELECT token_hash FROM userharbor_password_resets WHERE username = 'josé'"
    ) == [("new",)]


def test_autogenerate_only_adds(old: Database, built_in: AlembicProject) -> None:
    """Four indexes that 0.7.0 lacks: no table, column or type is touched."""
    migration = built_in.revision("--autogenerate").read_text()

    upgrade = migration[migration.index("def upgrade") : migration.index("def downgrade")]
    assert re.findall(r"\bop\.(?!f\b)(\w+)", upgrade) == ["create_index"] * len(NEW)
    assert set(re.findall(r"(?:ix|uq)_userharbor_\w+", upgrade)) == NEW


def test_a_migrated_database_lost_nothing_and_works(
    old: Database, old_store: Store, built_in: AlembicProject
) -> None:
    """But for the token that the documented statement removes, each row is what it was."""
    before = rows(old)

    built_in.add_indexes()

    built_in.run("check")
    assert rows(old) == without_superseded(before)
    use_every_method(old_store, old.backend)


@pytest.mark.backends("sqlite", "postgresql")
def test_the_migration_goes_down_again(old: Database, built_in: AlembicProject) -> None:
    """MariaDB refuses that (1553), and 0.7.0 works with the indexes anyway."""
    before = indexes(old)
    built_in.add_indexes()
    assert indexes(old) == before | NEW

    built_in.run("downgrade", "base")

    assert indexes(old) == before


def test_a_unique_index_is_refused_while_superseded_tokens_stand(
    old: Database, built_in: AlembicProject
) -> None:
    """What the documented statement is for."""
    before = rows(old)
    built_in.revision("--autogenerate")

    with pytest.raises(IntegrityError):
        built_in.run("upgrade", "head")

    assert rows(old) == before


def test_indexes_are_added_without_alembic(old: Database, old_store: Store) -> None:
    """By the same statement, and the loop of docs/upgrading.md."""
    before = rows(old)
    blocks = files("upgrading.md")
    with old.main.begin() as connection:
        op = SimpleNamespace(execute=connection.exec_driver_sql)
        exec(blocks["superseded_tokens.py"], {"op": op})

    exec(blocks["add_indexes.py"], {"engine": old.main})

    assert rows(old) == without_superseded(before)
    assert indexes(old) >= NEW
    use_every_method(old_store, old.backend)


@pytest.mark.backends("mysql")
@pytest.mark.parametrize("collation", [None, "utf8mb4_general_ci", "utf8mb4_unicode_ci"])
def test_old_tables_of_mariadb_get_exact_names_and_microseconds(
    database: Database, fresh: Database, built_in: AlembicProject, collation: str | None
) -> None:
    """As new tables have. Rows and foreign keys stay; a reference in another spelling is mended.

    And before the indexes: MySQL tells Alembic of each collation that is not the server's.
    """
    load(fresh, "0.7.0", collation)
    old, old_store = fresh, SQLAlchemyUserStore(sessionmaker(fresh.main))
    before = rows(old)
    references = foreign_keys(old)
    with old.main.begin() as connection:
        for table in ("sessions", "user_roles"):
            connection.exec_driver_sql(
                f"UPDATE userharbor_{table} SET username = 'JANE' WHERE username = 'Jane'"
            )
    assert rows(old) != before

    built_in.paste("exact_names.py")
    built_in.run("upgrade", "head")
    built_in.add_indexes()

    built_in.run("check")
    assert rows(old) == without_superseded(before)
    assert foreign_keys(old) == references
    assert columns(old) == columns(database)
    use_every_method(old_store, old.backend)
    old_store.create_user(new_user("jose"))
    old_store.create_role("Gaste")
    old_store.add_session(new_token("straße-session", "josé"))
    assert old_store.get_session("straße-session") == new_token("straße-session", "josé")


def test_a_table_without_username_key_gets_it(fresh: Database, built_in: AlembicProject) -> None:
    """The user table of 0.5: the key is filled by Python's casefold, then the rest follows."""
    load(fresh, "0.5.0")
    before = rows(fresh)

    built_in.paste("username_key.py")
    built_in.run("upgrade", "head")
    built_in.add_indexes()

    built_in.run("check")
    assert rows(fresh) == without_superseded(before)
    assert set(fresh.read("SELECT username, username_key FROM userharbor_users")) == {
        ("Jane", "jane"),
        ("Joe", "joe"),
        ("josé", "josé"),
        ("Straße", "strasse"),
    }
    use_every_method(SQLAlchemyUserStore(sessionmaker(fresh.main)), fresh.backend)


def test_names_that_differ_in_casing_stop_the_key(
    fresh: Database, built_in: AlembicProject
) -> None:
    """Nothing is changed, and the error names them; once one is renamed, it goes on."""
    load(fresh, "0.5.0", "utf8mb4_general_ci")  # others take these two for one
    with fresh.main.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO userharbor_users (username, email, password_hash, verified)"
            " VALUES ('strasse', 'strasse@example.org', 'x', true)"
        )
    before = rows(fresh)
    built_in.paste("username_key.py")

    with pytest.raises(
        ValueError, match=r"\[\['Straße', 'strasse'\]\]|\[\['strasse', 'Straße'\]\]"
    ):
        built_in.run("upgrade", "head")

    assert rows(fresh) == before
    columns = {column["name"] for column in inspect(fresh.main).get_columns("userharbor_users")}
    assert "username_key" not in columns
    with fresh.main.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE userharbor_users SET username = 'street' WHERE username = 'strasse'"
        )
    built_in.run("upgrade", "head")


def indexes(db: Database) -> set[str | None]:
    found = inspect(db.main)
    return {
        index["name"] for table in found.get_table_names() for index in found.get_indexes(table)
    }


def columns(db: Database) -> set[tuple[str, ...]]:
    """The columns of the built-in tables on MariaDB, with their types and collations."""
    described = db.read(
        "SELECT table_name, column_name, column_type, collation_name, is_nullable"
        " FROM information_schema.columns WHERE table_schema = DATABASE()"
    )
    return {column for column in described if column[0] in metadata.tables}


def foreign_keys(db: Database) -> list[str]:
    found = inspect(db.main)
    return [
        f"{table} {key}"
        for table in sorted(found.get_table_names())
        if table != "alembic_version"
        for key in sorted(found.get_foreign_keys(table), key=lambda key: str(key["name"]))
    ]
