"""What differs between databases: the only place that asks for a dialect's name or driver.

Statements are the same for all of them but for `identical`; column types stand in tables.py.
"""

from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Dialect, Executable, Table, delete
from sqlalchemy.engine.interfaces import IsolationLevel
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


class _name_of(ColumnElement[Any]):
    """The name of a table where a statement takes an expression."""

    inherit_cache = False

    def __init__(self, table: Table) -> None:
        self.table = table


@compiles(_name_of)
def _compile_name(element: _name_of, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.table, asfrom=True, **kw)


def delete_by_key(table: Table) -> Delete:
    """A DELETE that reads the rows whose primary keys its condition names, and no others.

    MySQL and MariaDB would read a small table whole, and wait for each row that is locked.
    """
    statement = delete(table)
    for dialect in ("mysql", "mariadb"):
        statement = statement.prefix_with(_name_of(table), dialect=dialect).with_hint(
            "FORCE INDEX (PRIMARY)", dialect_name=dialect
        )
    return statement


def enforces_foreign_keys(dialect: Dialect) -> bool:
    """Whether a referenced row takes the rows that refer to it along. SQLite may be told to."""
    return dialect.name != "sqlite"


def is_autocommit(connection: Connection) -> bool:
    """Whether `connection` was told to commit each statement by itself.

    The driver's own flag does not tell: recipes that emit BEGIN themselves set it too.
    """
    return _isolation_level(connection) == "AUTOCOMMIT"


def autocommit_if_free(connection: Connection) -> None:
    """Let `connection` commit each statement by itself where that costs no message.

    psycopg and psycopg2 save two round trips of three by it; to MySQL's and MariaDB's
    drivers it would be six messages. Not where the application listens for the begin of a
    transaction: it may say there whose rows are to be seen.
    """
    if connection.dialect.driver not in ("psycopg", "psycopg2") or connection.dispatch.begin:
        return
    if not is_autocommit(connection):
        _set_isolation_level(connection, "AUTOCOMMIT")


def prepare_transaction(connection: Connection) -> None:
    """Make `connection` fit for a transaction of ours, before that begins.

    Above READ COMMITTED, who waited for a lock would read from a snapshot older than it.
    """
    if connection.dialect.name == "postgresql":
        _set_isolation_level(connection, "READ COMMITTED")
    elif is_autocommit(connection) and not _is_mysql(connection):
        sqlite = connection.dialect.name == "sqlite"
        _set_isolation_level(connection, "SERIALIZABLE" if sqlite else "READ COMMITTED")


def begin_in_autocommit(connection: Connection) -> None:
    """Begin by a statement where `connection` commits each statement by itself still.

    For MySQL and MariaDB, that is one message where another isolation level would be six.
    """
    if _is_mysql(connection) and is_autocommit(connection):
        connection.exec_driver_sql("START TRANSACTION")


def roll_back_in_autocommit(connection: Connection) -> None:
    """End what `begin_in_autocommit` began: SQLAlchemy may leave out a ROLLBACK in AUTOCOMMIT."""
    if _is_mysql(connection) and is_autocommit(connection):
        with suppress(DBAPIError):
            connection.exec_driver_sql("ROLLBACK")


def read_committed(connection: Connection) -> None:
    """Before a transaction begins: let each of its statements read what is committed by then.

    Costs MySQL and MariaDB a message; a transaction that begins with a locking read can do
    without.
    """
    if _is_mysql(connection) and _isolation_level(connection) != "READ COMMITTED":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")


def lock_database(connection: Connection, no_op: Executable) -> None:
    """Take SQLite's one write lock, by a write that matches no row, and wait for it if need be.

    Without it a transaction that has read before it writes fails at once where another
    writes too, and a SAVEPOINT would begin, and its release commit, a transaction of its
    own: the driver emits BEGIN before a write only, and none at all if it is told to.
    """
    if connection.dialect.name == "sqlite":
        connection.execute(no_op)
        if not getattr(connection.connection.dbapi_connection, "in_transaction", True):
            connection.exec_driver_sql("BEGIN IMMEDIATE")


# PostgreSQL's SQLSTATEs; MySQL's and MariaDB's numbers for a deadlock, a lock wait that took too
# long and a stale snapshot; SQLite's text (Python 3.10 has no code for it).
_ROLLED_BACK = {"40001", "40P01", 1213, 1205, 1020, "database is locked"}


def was_rolled_back(error: DBAPIError) -> bool:
    """Whether the database gave the transaction up in favour of another: trying again may do."""
    orig = error.orig
    codes = [getattr(orig, "sqlstate", None), getattr(orig, "pgcode", None)]
    codes += orig.args[:1] if orig is not None else ()
    return any(code in _ROLLED_BACK for code in codes if isinstance(code, (str, int)))


def _is_mysql(connection: Connection) -> bool:
    return connection.dialect.name in ("mysql", "mariadb")


def _isolation_level(connection: Connection) -> str | None:
    options = connection.get_execution_options()
    # What create_engine(isolation_level=...) was given has no public name.
    return options.get("isolation_level") or getattr(
        connection.dialect, "_on_connect_isolation_level", None
    )


def _set_isolation_level(connection: Connection, level: IsolationLevel) -> None:
    """Set the level until `connection` is given back, and notice a dead connection as it is.

    SQLAlchemy lets the driver's own error through here, and the dead connection stay.
    """
    errors = connection.dialect.loaded_dbapi.Error
    try:
        connection.execution_options(isolation_level=level)
    except errors as error:
        connection.invalidate()
        died = error
    else:
        return
    raise DBAPIError.instance(
        None, None, died, errors, connection_invalidated=True, dialect=connection.dialect
    )
