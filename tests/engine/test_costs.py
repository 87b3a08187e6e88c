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
# for: for PyMySQL, and mysqlclient, also each COMMIT, and a ROLLBACK when a connection is given
# back, but on an engine in AUTOCOMMIT. `transaction` is a block that spends a password reset.
COSTS = """
                               statements of              messages of
                               sqlite postgresql mysql    psycopg psycopg2 pymysql autocommit
create_user                         4          2     2          4        4       4          4
get_user_by_username                1          1     1          1        2       2          1
get_user_by_email                   1          1     1          1        2       2          1
set_user_verified                   1          1     1          1        2       3          1
get_password_hash                   1          1     1          1        2       2          1
set_password_hash                   1          1     1          1        2       3          1
get_email_verification              1          1     1          1        2       2          1
set_email_verification              4          3     3          5        5       5          5
remove_email_verification           1          1     1          1        2       3          1
add_session                         1          1     1          1        2       3          1
get_session                         1          1     1          1        2       2          1
refresh_session                     1          1     1          1        2       3          1
remove_session                      1          1     1          1        2       3          1
remove_all_sessions                 1          1     1          1        2       3          1
set_password_reset                  4          3     3          5        5       5          5
get_password_reset                  1          1     1          1        2       2          1
remove_password_reset               1          1     1          1        2       3          1
remove_password_reset_for_user      1          1     1          1        2       3          1
transaction                         5          4     5          6        6       7          7
create_role                         3          1     1          1        2       3          1
role_exists                         1          1     1          1        2       2          1
list_roles                          1          1     1          1        2       2          1
create_permission                   3          1     1          1        2       3          1
permission_exists                   1          1     1          1        2       2          1
list_permissions                    1          1     1          1        2       2          1
grant_role_to_user                  1          1     1          1        2       3          1
get_user_roles                      1          1     1          1        2       2          1
grant_permission_to_role            1          1     1          1        2       3          1
get_role_permissions                1          1     1          1        2       2          1
get_user_permissions                1          1     1          1        2       2          1
revoke_permission_from_role         1          1     1          1        2       3          1
revoke_role_from_user               1          1     1          1        2       3          1
delete_permission                   3          1     1          1        2       3          1
delete_role                         4          1     1          1        2       3          1
delete_user                         6          1     1          1        2       3          1
"""
STATEMENTS, MESSAGES = slice(0, 3), slice(3, 7)

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
    assert found == expected(STATEMENTS, db.backend)


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
    driver = {"mysqldb": "pymysql"}.get(db.main.driver, db.main.driver)
    assert messages(db) == expected(MESSAGES, driver)


if tuple(map(int, sqlalchemy.__version__.split(".")[:3])) >= (2, 0, 43):
    # Before, SQLAlchemy had no skip_autocommit_rollback.

    @pytest.mark.backends("mysql")
    def test_each_method_sends_no_more_messages_in_autocommit(db: Database) -> None:
        """On MariaDB too, on an engine that is made so."""
        options = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
        assert messages(db, **options) == expected(MESSAGES, "autocommit")
