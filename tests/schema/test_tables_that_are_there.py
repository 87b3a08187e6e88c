"""Tables that are on the MetaData already: reflected, or defined by what ran before."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Integer, MetaData, String, inspect, text
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import DeclarativeBase, sessionmaker

from support.databases import Database
from support.models import user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


def works(store: Store) -> bool:
    """Whether an account can be made, used, and taken away with all that it has."""
    store.create_user(new_user("Jane"))
    store.create_role("admin")
    store.grant_role_to_user("jane", "admin")
    store.add_session(new_token("s", "jane"))
    store.set_password_reset(new_token("r", "jane"))
    found = store.get_session("s"), store.get_password_reset("r"), store.get_user_roles("JANE")
    user = store.get_user_by_username("JANE")
    store.delete_role("admin")
    store.delete_user("jane")
    return (user, *found) == (
        User("Jane", "Jane@example.org", False),
        new_token("s", "Jane"),
        new_token("r", "Jane"),
        {"admin"},
    )


def reflected_table(db: Database) -> Store:
    """An application that reflects its whole database."""
    metadata = MetaData()
    metadata.reflect(db.main)
    return SQLAlchemyUserStore(sessionmaker(db.main), metadata.tables["people"])


def automapped_class(db: Database) -> Store:
    """One whose classes are made of what was reflected."""
    base: Any = automap_base()
    base.prepare(autoload_with=db.main)
    return SQLAlchemyUserStore(sessionmaker(db.main), base.classes.people)


def built_in(db: Database) -> Store:
    """One that has users in the store's own table."""
    metadata = MetaData()
    metadata.reflect(db.main)
    return SQLAlchemyUserStore(sessionmaker(db.main), metadata=metadata, table_prefix="auth_")


def used(start: Callable[[Database], Store], db: Database) -> Store:
    store = start(db)
    store.metadata.create_all(db.main)
    assert works(store)
    return store


STARTS: list[Callable[[Database], Store]] = [reflected_table, automapped_class, built_in]


@pytest.mark.parametrize("start", STARTS, ids=lambda it: it.__name__)
def test_an_application_starts_three_times_over_reflected_tables(
    start: Callable[[Database], Store], fresh: Database
) -> None:
    """The tables that the first start made are used by the others, and nothing is there twice."""
    user_table("people", MetaData(), mysql_collate="utf8mb4_bin").create(fresh.main)
    stores = [used(start, fresh) for _ in range(3)]
    for table in [table for store in stores for table in store.metadata.tables.values()]:
        names = [index.name for index in table.indexes]
        assert len(names) == len(set(names))
    found = {finding.code for finding in stores[-1].check()}
    assert found <= {"costly-transactions", "foreign-keys-off"}
    with fresh.main.connect() as connection:
        there = set(inspect(connection).get_table_names())
    assert there == {table.name for table in stores[-1].metadata.tables.values()}


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize(
    "unique",
    [
        "{} TEXT UNIQUE",
        "{} VARCHAR(255) NOT NULL UNIQUE",
        '"{}" varchar(150) COLLATE BINARY NOT NULL UNIQUE',
        "`{}` VARCHAR(255) CONSTRAINT one_{} UNIQUE ON CONFLICT ABORT",
        "[{}] VARCHAR(255) DEFAULT ('') UNIQUE",
    ],
)
@pytest.mark.parametrize("start", [reflected_table, automapped_class])
def test_what_sqlite_holds_to_be_unique_is_seen(
    start: Callable[[Database], Store], unique: str, fresh: Database
) -> None:
    """However the CREATE TABLE says it: SQLAlchemy reads some of it only."""
    columns = ", ".join(unique.format(name, name) for name in ("username", "email"))
    with fresh.main.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE people (id INTEGER PRIMARY KEY, {columns}, password_hash TEXT,"
            " verified BOOLEAN)"
        )
    stores = [used(start, fresh) for _ in range(3)]
    assert "not-unique" not in {finding.code for finding in stores[-1].check()}


@pytest.mark.backends("sqlite")
def test_what_sqlite_does_not_hold_to_be_unique_is_refused(fresh: Database) -> None:
    """A part of the rows, or of a pair."""
    with fresh.main.begin() as connection:
        for statement in (
            "CREATE TABLE people (id INTEGER PRIMARY KEY, tenant TEXT, username TEXT,"
            " email TEXT UNIQUE, password_hash TEXT, verified BOOLEAN, UNIQUE (tenant, username))",
            "CREATE UNIQUE INDEX some ON people (username) WHERE tenant = 'a'",
        ):
            connection.exec_driver_sql(statement)
    with pytest.raises(ValueError, match="username is neither the primary key nor unique"):
        reflected_table(fresh)


@pytest.mark.backends("sqlite")
def test_what_a_reflected_table_lacks_is_completed(fresh: Database) -> None:
    """A column, an index, a foreign key: so that a migration finds them missing."""
    store = reflected_or_made(fresh)
    store.metadata.create_all(fresh.main)
    with fresh.main.begin() as connection:
        connection.execute(text("DROP TABLE userharbor_sessions"))
        connection.execute(
            text("CREATE TABLE userharbor_sessions (token_hash TEXT PRIMARY KEY, username TEXT)")
        )
    store = reflected_table(fresh)
    sessions = store.metadata.tables["userharbor_sessions"]
    assert set(sessions.c.keys()) == {"token_hash", "username", "expires_at"}
    assert sessions.c.username.references(store.metadata.tables["people"].c.username)
    found = {(one.code, one.column) for one in store.check() if one.table == sessions.name}
    assert found == {("column-missing", "expires_at")}
    with fresh.main.begin() as connection:
        connection.execute(text("ALTER TABLE userharbor_sessions ADD expires_at DATETIME"))
    found = {(one.code, one.column) for one in store.check() if one.table == sessions.name}
    assert found == {("index-missing", None), ("foreign-key-missing", "username")}
    assert works(store)


def reflected_or_made(db: Database) -> Store:
    user_table("people", MetaData()).create(db.main)
    return reflected_table(db)


def _cell_with_one_base() -> Callable[[Database], Store]:
    class Base(DeclarativeBase):
        pass

    def run(db: Database) -> Store:
        class AppUser(Base):
            __tablename__ = "people"
            __table_args__ = {"extend_existing": True}
            id = Column(Integer, primary_key=True)
            username = Column(String(255), unique=True)
            email = Column(String(255), unique=True)
            password_hash = Column(String(255))
            verified = Column(Boolean)

        return SQLAlchemyUserStore(sessionmaker(db.main), AppUser)

    return run


def _cell_that_removes_its_table() -> Callable[[Database], Store]:
    metadata = MetaData()

    def run(db: Database) -> Store:
        if "people" in metadata.tables:
            metadata.remove(metadata.tables["people"])
        return SQLAlchemyUserStore(sessionmaker(db.main), user_table("people", metadata))

    return run


def _cell_that_clears() -> Callable[[Database], Store]:
    metadata = MetaData()

    def run(db: Database) -> Store:
        metadata.clear()
        return SQLAlchemyUserStore(sessionmaker(db.main), user_table("people", metadata))

    return run


def _cell_that_reflects() -> Callable[[Database], Store]:
    metadata = MetaData()

    def run(db: Database) -> Store:
        metadata.clear()
        metadata.reflect(db.main)
        if "people" not in metadata.tables:
            user_table("people", metadata)
        return SQLAlchemyUserStore(sessionmaker(db.main), metadata.tables["people"])

    return run


def _cell_with_a_base_of_its_own() -> Callable[[Database], Store]:
    def run(db: Database) -> Store:
        class Base(DeclarativeBase):
            pass

        class AppUser(Base):
            __table__ = user_table("people", Base.metadata)

        return SQLAlchemyUserStore(sessionmaker(db.main), AppUser)

    return run


CELLS = [
    _cell_with_one_base,
    _cell_that_removes_its_table,
    _cell_that_clears,
    _cell_that_reflects,
    _cell_with_a_base_of_its_own,
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda it: it.__name__[1:])
def test_a_cell_of_a_notebook_may_run_again(
    cell: Callable[[], Callable[[Database], Store]], fresh: Database
) -> None:
    """The store refers to the table that is there by then; one that was made before goes on."""
    run, stores = cell(), list[Store]()
    for _ in range(3):
        with warnings.catch_warnings():
            # SQLAlchemy's own, of the class that is defined again.
            warnings.simplefilter("ignore", SAWarning)
            stores.append(run(fresh))
        stores[-1].metadata.create_all(fresh.main)
        assert works(stores[-1])
        sessions = stores[-1].metadata.tables["userharbor_sessions"]
        people = stores[-1].metadata.tables["people"]
        assert sessions.c.username.references(people.c.username)
    assert works(stores[0])
