"""What `check` says of collations, in schemas too, and of files that are there or in memory."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.models import user_table
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore
from userharbor_sqlalchemy.__main__ import main


def change(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def on_collations(store: SQLAlchemyUserStore[Any]) -> list[str]:
    """The columns of which a finding says that their collation folds texts."""
    found = (each for each in store.check() if each.code == "folding-collation")
    return [str(each).partition(":")[0] for each in found]


@pytest.mark.backends("mysql")
def test_a_collation_that_tells_case_and_accents_is_as_good_as_a_binary_one(
    fresh: Database,
) -> None:
    """Whatever it is called: `…_as_cs`, `…_as_cs_ks`, or `latin1_general_cs`."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.metadata.create_all(fresh.main)
    there = {name for name, *_ in fresh.read("SHOW COLLATION")}
    exact = {
        "utf8mb4_0900_as_cs",
        "utf8mb4_ja_0900_as_cs_ks",
        "utf8mb4_uca1400_as_cs",
        "latin1_general_cs",
        "latin1_bin",
    }
    folding = {
        "utf8mb4_general_ci",
        "utf8mb4_0900_as_ci",
        "utf8mb4_uca1400_ai_cs",
        "latin1_german1_ci",
    }
    for collation in (exact | folding) & there:
        change(
            fresh.main,
            "ALTER TABLE userharbor_users MODIFY email VARCHAR(320)"
            f" CHARACTER SET {collation.partition('_')[0]} COLLATE {collation} NOT NULL",
        )
        found = ["userharbor_users.email"] if collation in folding else []
        assert on_collations(store) == found, collation


@pytest.mark.backends("mysql")
def test_a_collation_that_the_model_does_not_name_is_found(fresh: Database) -> None:
    """The tables that refer to it can't be made; once the model says it, they can."""
    collation = "utf8mb4_unicode_520_ci"
    user_table("app_users", MetaData(), mysql_collate=collation).create(fresh.main)
    silent = SQLAlchemyUserStore(sessionmaker(fresh.main), user_table("app_users", MetaData()))
    with pytest.raises(OperationalError, match=r"3780|1005"):
        silent.metadata.create_all(fresh.main)
    (found,) = (each for each in silent.check() if each.code == "collation-unsaid")
    assert (found.table, found.column) == ("app_users", "username")
    assert collation in found.message

    model = user_table("app_users", MetaData(), mysql_collate=collation)
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), model)
    assert "collation-unsaid" not in {each.code for each in store.check()}
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    assert "collation-unsaid" not in {each.code for each in silent.check()}


@pytest.mark.backends("postgresql", "mysql")
def test_a_column_of_the_same_name_in_another_table_is_none_of_its_business(
    fresh: Database,
) -> None:
    """The application's own texts may be compared as it likes."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.metadata.create_all(fresh.main)
    if fresh.backend == "postgresql":
        change(fresh.main, "CREATE EXTENSION citext", "CREATE TABLE notes (email citext)")
    else:
        change(fresh.main, "CREATE TABLE notes (email VARCHAR(9) COLLATE utf8mb4_general_ci)")
    assert on_collations(store) == []


@pytest.mark.backends("postgresql")
def test_a_collation_is_looked_for_in_the_schema_of_the_table(fresh: Database) -> None:
    """And not in that which a name alone would find."""
    change(fresh.main, "CREATE EXTENSION citext", "CREATE SCHEMA auth")
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), metadata=MetaData(schema="auth"))
    store.metadata.create_all(fresh.main)
    change(fresh.main, "CREATE TABLE userharbor_users (email citext)")
    assert on_collations(store) == []
    change(fresh.main, "ALTER TABLE auth.userharbor_users ALTER email TYPE citext")
    assert on_collations(store) == ["userharbor_users.email"]


@pytest.fixture
def attached(fresh: Database, tmp_path: Path) -> Engine:
    """An engine whose connections have another database file attached, as `auth`."""
    engine = fresh.engine()

    def attach(connection: Any, _: object) -> None:
        connection.execute(f"ATTACH '{tmp_path / 'auth.db'}' AS auth").close()

    event.listen(engine, "connect", attach)
    return engine


@pytest.mark.backends("sqlite")
def test_a_collation_is_looked_for_in_the_attached_database(attached: Engine) -> None:
    """There, a schema is a database file beside the first one."""
    store = SQLAlchemyUserStore(sessionmaker(attached), metadata=MetaData(schema="auth"))
    store.metadata.create_all(attached)
    assert on_collations(store) == []
    change(attached, "CREATE UNIQUE INDEX auth.folded ON userharbor_users (email COLLATE NOCASE)")
    assert on_collations(store) == ["userharbor_users.email"]


@pytest.mark.backends("sqlite")
def test_what_is_unique_is_looked_for_in_the_attached_database(attached: Engine) -> None:
    """However its CREATE TABLE is written."""
    change(
        attached,
        "CREATE TABLE auth.app_users (id integer PRIMARY KEY,"
        ' "username" varchar(255) NOT NULL UNIQUE, "email" varchar(320) UNIQUE,'
        " password_hash varchar(512), verified boolean)",
    )
    model = user_table("app_users", MetaData(schema="auth"))
    store = SQLAlchemyUserStore(sessionmaker(attached), model)
    store.metadata.create_all(attached)
    assert [each for each in store.check() if each.code == "not-unique"] == []


@pytest.mark.backends("sqlite")
def test_a_file_that_is_named_by_a_uri_is_found(fresh: Database) -> None:
    """`file:` is not the beginning of its name."""
    url = f"sqlite:///file:{fresh.url.database}?uri=true"
    assert main(["create-tables", url]) == 0
    assert main(["check", url]) == 0


def test_a_database_in_memory_is_no_file_that_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is looked at, and lacks its tables."""
    assert main(["check", "sqlite:///:memory:"]) == 1
    assert "userharbor_users: the table is missing" in capsys.readouterr().out
