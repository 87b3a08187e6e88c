"""What differs between databases: the only place that asks for a dialect's name or driver.

Statements are the same for all of them but for `identical`; column types stand in tables.py.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType


class identical(FunctionElement[Any]):
    """`identical(column, value)`: they are equal, byte for byte; an index on `column` serves.

    A condition of a write needs it, since no row comes back to be compared in Python. On
    MySQL and MariaDB the column's collation may fold accents, case and trailing spaces.
    """

    # As a Boolean, it would be compared with 1 where the database has none, and no index serve.
    type = NullType()
    inherit_cache = True

    def __init__(self, column: ColumnElement[str], value: ColumnElement[str]) -> None:
        super().__init__(column, value)


@compiles(identical)
def _compile_equality(element: identical, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{column} = {value}"


@compiles(identical, "mysql", "mariadb")
def _compile_bytewise(element: identical, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = (compiler.process(clause, **kw) for clause in element.clauses)
    return (
        f"({column} = {value}"
        f" AND CAST(CONVERT({column} USING utf8mb4) AS BINARY)"
        f" = CAST(CONVERT({value} USING utf8mb4) AS BINARY))"
    )


def enforces_foreign_keys(dialect: Dialect) -> bool:
    """Whether a referenced row takes the rows that refer to it along. SQLite may be told to."""
    return dialect.name != "sqlite"


def is_autocommit(connection: Connection) -> bool:
    """Whether `connection` was told to commit each statement by itself.

    The driver's own flag does not tell: recipes that emit BEGIN themselves set it too.
    """
    return _isolation_level(connection) == "AUTOCOMMIT"


def autocommit_if_free(connection: Connection) -> bool:
    """Let `connection` commit each statement by itself where that costs no message.

    Returns whether it does so now. psycopg and psycopg2 save two round trips of three by
    it; to MySQL's and MariaDB's drivers it would be six messages.
    """
    if is_autocommit(connection):
        return True
    if connection.dialect.driver not in ("psycopg", "psycopg2"):
        return False
    connection.execution_options(isolation_level="AUTOCOMMIT")
    return True


def prepare_transaction(connection: Connection) -> None:
    """Make `connection` fit for a transaction of ours, before that begins.

    Above READ COMMITTED, who waited for a lock would read from a snapshot older than it.
    """
    sqlite = connection.dialect.name == "sqlite"
    if connection.dialect.name == "postgresql" or is_autocommit(connection):
        level = "SERIALIZABLE" if sqlite else "READ COMMITTED"
        connection.execution_options(isolation_level=level)


def read_committed(connection: Connection) -> None:
    """As the first statement of a transaction: let each later one read what is committed by then.

    Costs MySQL and MariaDB a message; a transaction that begins with a locking read can do
    without.
    """
    if connection.dialect.name not in ("mysql", "mariadb"):
        return
    if _isolation_level(connection) != "READ COMMITTED":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")


def lock_database(connection: Connection, no_op: Executable) -> None:
    """Take SQLite's one write lock, by a write that matches no row, and wait for it if need be.

    Without it a transaction that has read before it writes fails at once where another
    writes too, and a SAVEPOINT would begin, and its release commit, a transaction of its
    own: the driver emits BEGIN before a write only.
    """
    if connection.dialect.name == "sqlite":
        connection.execute(no_op)


# PostgreSQL's SQLSTATEs; MySQL's and MariaDB's numbers for a deadlock, a lock wait that took too
# long and a stale snapshot; SQLite's text (Python 3.10 has no code for it).
_ROLLED_BACK = {"40001", "40P01", 1213, 1205, 1020, "database is locked"}


def was_rolled_back(error: DBAPIError) -> bool:
    """Whether the database gave the transaction up in favour of another: trying again may do."""
    orig = error.orig
    codes = (
        getattr(orig, "sqlstate", None),
        getattr(orig, "pgcode", None),
        *(orig.args[:1] if orig is not None else ()),
    )
    return any(code in _ROLLED_BACK for code in codes)


def _isolation_level(connection: Connection) -> str | None:
    options = connection.get_execution_options()
    # What create_engine(isolation_level=...) was given has no public name.
    return options.get("isolation_level") or getattr(
        connection.dialect, "_on_connect_isolation_level", None
    )
