"""What each method costs: statements, and messages on the wire."""

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from userharbor.interfaces import UserStore

from support.calls import CALLS, CALLS_BESIDE
from support.databases import Database
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore

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
# Looks into the catalog are not counted: renaming asks for the foreign keys that refer to a user.
COSTS_BESIDE = """
                               statements of
                              sqlite postgresql mariadb mysql
set_email                          4          3       3     4
list_sessions                      1          1       1     1
remove_other_sessions              1          1       1     2
count_users                        1          1       1     1
iter_users                         2          2       2     2
iter_users(prefix=)                2          2       2     2
get_users_with_role                2          2       2     2
get_users_with_permission          1          1       1     1
export_user                        6          6       6     6
rename_user                       10          8       8     9
"""
STATEMENTS, MESSAGES = slice(0, 4), slice(4, 9)

CATALOG = re.compile(
    r"pg_catalog|PRAGMA|sqlite_master|SHOW |information_schema|database\(\)", re.IGNORECASE
)
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


def costs_beside(store: SQLAlchemyUserStore[Any], count: Callable[[], int]) -> dict[str, set[int]]:
    """The same of what is beside the protocol."""
    found: dict[str, set[int]] = {}
    for round_ in ("warm", "jane"):
        store.create_user(new_user(round_))
        store.create_role(round_)
        store.grant_role_to_user(round_, round_)
        for method, call in CALLS_BESIDE:
            before = count()
            call(store, round_)
            found[method] = {count() - before}
        store.delete_user(f"{round_}-anew")
    return found


def is_of_the_catalog(statement: str) -> bool:
    """Whether a statement asks the database for its tables, and not for their rows."""
    return CATALOG.search(statement) is not None


def kind(db: Database) -> str:
    """The database's column of the table. A write on MySQL says its level first."""
    is_mariadb = getattr(db.main.dialect, "is_mariadb", False)
    return "mariadb" if is_mariadb else db.backend
