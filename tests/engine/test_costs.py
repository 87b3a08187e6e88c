"""What each method costs: statements, and messages on the wire. More is a regression."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import create_engine, event
from sqlalchemy.orm import sessionmaker
from userharbor.interfaces import UserStore

from support.calls import CALLS
from support.databases import Database
from support.proxy import proxy_of
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

# Statements are those that SQLAlchemy issues. A message is what the driver sends and then waits
# for: on MariaDB and MySQL also each COMMIT, and a ROLLBACK when a connection is given back, but on
# an engine in AUTOCOMMIT (`auto`). `transaction` is a block that spends a password reset, for which
# MySQL is asked two queries more than MariaDB.
COSTS = """
                               statements of                       messages of
                              sqlite postgresql mariadb mysql  psycopg psycopg2 mariadb mysql auto
create_user                        4          2       2     3        4        4       4     5    4
get_user_by_username               1          1       1     1        1        2       2     2    1
get_user_by_email                  1          1       1     1        1        2       2     2    1
set_user_verified                  1          1       1     2        1        2       3     4    1
get_password_hash                  1          1       1     1        1        2       2     2    1
set_password_hash                  1          1       1     2        1        2       3     4    1
get_email_verification             1          1       1     1        1        2       2     2    1
set_email_verification             1          1       2     3        1        2       4     5    4
remove_email_verification          1          1       1     2        1        2       3     4    1
add_session                        1          1       1     2        1        2       3     4    1
get_session                        1          1       1     1        1        2       2     2    1
refresh_session                    1          1       1     2        1        2       3     4    1
remove_session                     1          1       1     2        1        2       3     4    1
remove_all_sessions                1          1       1     2        1        2       3     4    1
set_password_reset                 1          1       2     3        1        2       4     5    4
get_password_reset                 1          1       1     1        1        2       2     2    1
remove_password_reset              1          1       1     2        1        2       3     4    1
remove_password_reset_for_user     1          1       1     2        1        2       3     4    1
transaction                        3          2       3     5        4        4       5     7    4
create_role                        3          1       1     2        1        2       3     4    1
role_exists                        1          1       1     1        1        2       2     2    1
list_roles                         1          1       1     1        1        2       2     2    1
create_permission                  3          1       1     2        1        2       3     4    1
permission_exists                  1          1       1     1        1        2       2     2    1
list_permissions                   1          1       1     1        1        2       2     2    1
grant_role_to_user                 1          1       1     2        1        2       3     4    1
get_user_roles                     1          1       1     1        1        2       2     2    1
grant_permission_to_role           1          1       1     2        1        2       3     4    1
get_role_permissions               1          1       1     1        1        2       2     2    1
get_user_permissions               1          1       1     1        1        2       2     2    1
revoke_permission_from_role        1          1       1     2        1        2       3     4    1
revoke_role_from_user              1          1       1     2        1        2       3     4    1
delete_permission                  3          1       1     2        1        2       3     4    1
delete_role                        4          1       1     2        1        2       3     4    1
delete_user                        6          1       1     2        1        2       3     4    1
"""
STATEMENTS, MESSAGES = slice(0, 4), slice(4, 9)

WARMING = 10
"""Rounds after which psycopg has prepared each statement."""


def expected(columns: slice, column: str, table: str = COSTS) -> dict[str, set[int]]:
    _, head, *rows = (line.split() for line in table.strip().splitlines())
    at = head[columns].index(column)
    return {method: {int(costs[columns][at])} for method, *costs in rows}


def costs(store: UserStore[Any], count: Callable[[], int]) -> dict[str, set[int]]:
    """How far each call moves `count`, when all have been made before."""
    for _ in range(WARMING):
        for _, call in CALLS:
            call(store, "jane")
    found: dict[str, set[int]] = defaultdict(set)
    for method, call in CALLS:
        before = count()
        call(store, "jane")
        found[method].add(count() - before)
    return found


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


def kind(db: Database) -> str:
    """The database's column of the table. A write on MySQL says its level first."""
    is_mariadb = getattr(db.main.dialect, "is_mariadb", False)
    return "mariadb" if is_mariadb else db.backend


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
