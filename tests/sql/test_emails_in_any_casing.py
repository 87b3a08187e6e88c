"""E-mail addresses with capitals in rows of the application's; names in two normal forms."""

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Engine,
    Index,
    MetaData,
    String,
    Table,
    event,
    func,
    insert,
    text,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import InvalidEmailError

from support.databases import Database
from support.models import BYTEWISE
from support.plans import explained
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

FOLDED = (
    String(255)
    .with_variant(String(255, collation="NOCASE"), "sqlite")
    .with_variant(postgresql.CITEXT(), "postgresql")
    .with_variant(mysql.VARCHAR(255, collation="utf8mb4_general_ci"), "mysql", "mariadb")
)


def table_with(email: Any, **options: Any) -> Table:
    return Table(
        "members",
        MetaData(),
        Column("username", String(255), primary_key=True),
        Column("username_key", String(255), unique=True),
        Column("email", email, **options),
        Column("password_hash", String(255)),
        Column("verified", Boolean),
        **BYTEWISE,
    )


def by_collation(engine: Engine) -> Table:
    """The column folds the case."""
    if engine.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS citext"))
    return table_with(FOLDED, unique=True)


def by_unique_index(engine: Engine) -> Table:
    """An index holds the address in lower case to be unique."""
    table = table_with(String(255))
    Index("one_email", func.lower(table.c.email), unique=True)
    return table


def by_plain_index(engine: Engine) -> Table:
    """Written as text, beside a unique constraint on the column."""
    table = table_with(String(255), unique=True)
    Index("folded_email", text("lower(email)"), _table=table)
    return table


def by_reflected_index(engine: Engine) -> Table:
    """As the database tells it."""
    by_unique_index(engine).create(engine)
    return Table("members", MetaData(), autoload_with=engine)


def with_jane(engine: Engine, table: Table) -> Store:
    """A store, and a row of the application's."""
    store = SQLAlchemyUserStore(sessionmaker(engine), table)
    store.metadata.create_all(engine)
    row = {"username": "Jane", "username_key": "jane", "email": "Jane.Doe@Example.org"}
    with engine.begin() as connection:
        connection.execute(insert(table).values(**row, password_hash="x", verified=True))
    return store


def prefer_indexes(driver: Any, _: object) -> None:
    """PostgreSQL would read a small table whole."""
    driver.execute("SET enable_seqscan = off")
    driver.commit()


def assert_found_by_an_index(fresh: Database, made: Callable[[Engine], Table]) -> None:
    engine = fresh.engine()
    if fresh.backend == "postgresql":
        event.listen(engine, "connect", prefer_indexes)
    store = with_jane(engine, made(engine))
    jane = User("Jane", "Jane.Doe@Example.org", True)
    with explained(engine) as plans:
        for spelled in ("jane.doe@example.org", "JANE.DOE@EXAMPLE.ORG", "Jane.Doe@Example.org"):
            assert store.get_user_by_email(spelled) == jane
        assert store.get_user_by_email("jane.d@example.org") is None
        with pytest.raises(InvalidEmailError):
            store.create_user(new_user("joe", email="Jane.Doe@Example.org"))
    assert plans.scans == []
    assert "email-with-capitals" not in {finding.code for finding in store.check()}
    store.create_user(new_user("joe"))
    assert store.get_user_by_email("JOE@example.org") == User("joe", "joe@example.org", False)


def test_an_address_is_found_in_any_casing_by_the_columns_collation(fresh: Database) -> None:
    """So that nobody registers a second account on it."""
    assert_found_by_an_index(fresh, by_collation)


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("made", [by_unique_index, by_plain_index])
def test_an_address_is_found_in_any_casing_by_an_index_on_its_lower_case(
    made: Callable[[Engine], Table], fresh: Database
) -> None:
    """Where the column tells the casings apart."""
    assert_found_by_an_index(fresh, made)


@pytest.mark.backends("postgresql")
def test_an_index_on_the_lower_case_is_known_when_it_is_reflected(fresh: Database) -> None:
    """SQLite's are not reflected by SQLAlchemy."""
    assert_found_by_an_index(fresh, by_reflected_index)


def test_an_address_is_taken_in_any_casing_where_the_collation_says_so(fresh: Database) -> None:
    """By the core's error."""
    assert_taken_in_any_casing(fresh, by_collation)


@pytest.mark.backends("sqlite", "postgresql")
def test_an_address_is_taken_in_any_casing_where_an_index_says_so(fresh: Database) -> None:
    """By the core's error."""
    assert_taken_in_any_casing(fresh, by_unique_index)


def assert_taken_in_any_casing(fresh: Database, made: Callable[[Engine], Table]) -> None:
    store = with_jane(fresh.main, made(fresh.main))
    with pytest.raises(InvalidEmailError, match="Email already exists"):
        store.create_user(new_user("joe", email="jane.doe@example.org"))
    with store.transaction(), pytest.raises(InvalidEmailError, match="Email already exists"):
        store.create_user(new_user("joe", email="JANE.doe@example.org"))
    assert fresh.count("members") == 1


def test_where_no_index_serves_a_user_is_named_by_a_look_at_the_rows(fresh: Database) -> None:
    """The same on each database: found as it is spelled, and not by other casings."""
    store = with_jane(fresh.main, table_with(String(255), unique=True))
    assert store.get_user_by_email("Jane.Doe@Example.org") is not None
    assert store.get_user_by_email("jane.doe@example.org") is None
    (found,) = [finding for finding in store.check() if finding.code == "email-with-capitals"]
    assert "1 user ('Jane')" in found.message
    assert "index on lower(email)" in found.message


def test_names_that_are_composed_otherwise_are_other_names(store: Store) -> None:
    """As each database has them; the application normalises them, if it wants to."""
    composed = unicodedata.normalize("NFC", "José")
    decomposed = unicodedata.normalize("NFD", "José")
    for name, email in ((composed, "c@x.org"), (decomposed, "d@x.org")):
        store.create_user(new_user(name, email=email))
        store.create_role(name)
    for name, email in ((composed, "c@x.org"), (decomposed, "d@x.org")):
        assert store.get_user_by_username(name.upper()) == User(name, email, False)
        store.grant_role_to_user(name.upper(), name)
        assert store.get_user_roles(name) == {name}
    assert store.list_roles() == {composed, decomposed}
