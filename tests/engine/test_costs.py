"""What each method costs: statements, and messages on the wire. More is a regression."""

from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import create_engine, event
from sqlalchemy.orm import sessionmaker
from userharbor.interfaces import UserStore

from support.calls import CALLS
from support.costs import (
    COSTS_BESIDE,
    MESSAGES,
    STATEMENTS,
    costs,
    costs_beside,
    expected,
    is_of_the_catalog,
    kind,
)
from support.databases import Database
from support.proxy import proxy_of
from userharbor_sqlalchemy import SQLAlchemyUserStore, User


def test_the_table_has_every_method() -> None:
    """Those of the protocol, of which userharbor 0.7 had one less; each is called."""
    methods = {name for name in dir(UserStore) if not name.startswith("_")}
    assert methods <= {method for method, _ in CALLS} == set(expected(STATEMENTS, "sqlite"))


def test_each_method_issues_no_more_statements(
    db: Database, store: SQLAlchemyUserStore[User]
) -> None:
    """One, where SQL can say it in one."""
    issued: list[str] = []

    def note(*arguments: Any) -> None:
        issued.append(arguments[2])

    event.listen(db.main, "before_cursor_execute", note)
    try:
        found = costs(store, lambda: len(issued))
    finally:
        event.remove(db.main, "before_cursor_execute", note)
    assert found == expected(STATEMENTS, kind(db))


def test_no_statement_is_compiled_at_every_call(
    db: Database, store: SQLAlchemyUserStore[User]
) -> None:
    """SQLAlchemy keeps what it has compiled, where each part of a statement has a cache key."""
    without: list[str] = []

    def note(*arguments: Any) -> None:
        statement, compiled = arguments[2], arguments[4].compiled
        if compiled is not None and compiled.cache_key is None:
            without.append(statement)

    event.listen(db.main, "before_cursor_execute", note)
    try:
        costs(store, lambda: 0)
        costs_beside(store, lambda: 0)
    finally:
        event.remove(db.main, "before_cursor_execute", note)
    assert without == []


def messages(db: Database, **options: Any) -> dict[str, set[int]]:
    """On a pooled connection that has been in use."""
    with proxy_of(db.url) as proxy:
        engine = create_engine(proxy.url, **options)
        store = SQLAlchemyUserStore(sessionmaker(engine))
        found = costs(store, lambda: proxy.messages)
        engine.dispose()
    return found


@pytest.mark.backends("postgresql", "mysql")
def test_each_method_sends_no_more_messages(db: Database) -> None:
    """With psycopg one, where it is one statement."""
    column = db.main.driver if db.backend == "postgresql" else kind(db)
    assert messages(db) == expected(MESSAGES, column)


@pytest.mark.backends("mysql")
def test_a_level_that_the_engine_has_need_not_be_said(db: Database) -> None:
    """Then MySQL is asked as often as MariaDB is, but in a block, which saves a message on both."""
    found = messages(db, isolation_level="READ COMMITTED")
    assert found == expected(MESSAGES, "mariadb") | {"transaction": spending(db)}


def spending(db: Database) -> set[int]:
    """The messages of a block where nothing says a level."""
    return {4 if kind(db) == "mariadb" else 6}


if tuple(map(int, sqlalchemy.__version__.split(".")[:3])) >= (2, 0, 43):
    # Before, SQLAlchemy had no skip_autocommit_rollback.

    @pytest.mark.backends("mysql")
    def test_each_method_sends_no_more_messages_in_autocommit(db: Database) -> None:
        """On an engine that is made so, of a server that is at READ COMMITTED."""
        level = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
        found = messages(
            db,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            connect_args={"init_command": level},
        )
        assert found == expected(MESSAGES, "auto") | {"transaction": spending(db)}


def test_what_is_beside_the_protocol_issues_no_more_statements(
    db: Database, store: SQLAlchemyUserStore[User]
) -> None:
    """Of a user with one verification and one role, whom no other table refers to."""
    issued: list[str] = []

    def note(*arguments: Any) -> None:
        if not is_of_the_catalog(arguments[2]):
            issued.append(arguments[2])

    event.listen(db.main, "before_cursor_execute", note)
    try:
        found = costs_beside(store, lambda: len(issued))
    finally:
        event.remove(db.main, "before_cursor_execute", note)
    assert found == expected(slice(0, 4), kind(db), COSTS_BESIDE)
