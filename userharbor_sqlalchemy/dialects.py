"""What differs between databases: the only place that asks for a dialect's name or driver.

What they spell differently stands in expressions.py, column types in tables.py, and how a
level is set in isolation.py.
"""

import os
from contextlib import suppress

from sqlalchemy import URL, Connection, Dialect, Executable, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from .isolation import driver_connection, is_autocommit, isolation_level, set_isolation_level


def enforces_foreign_keys(dialect: Dialect) -> bool:
    """Whether a referenced row takes the rows that refer to it along. SQLite may be told to."""
    return dialect.name != "sqlite"


def has_free_autocommit(connection: Connection) -> bool:
    """Whether `connection` may commit each statement by itself, and that costs no message.

    psycopg and psycopg2 save two round trips of three by it; to MySQL's and MariaDB's
    drivers it would be six messages. Not where the application listens for the begin of a
    transaction, or has begun one: it may say there whose rows are to be seen.
    """
    return _is_psycopg(connection) and not (
        connection.dispatch.begin or is_autocommit(connection) or _is_begun(connection)
    )


def prepare_transaction(connection: Connection) -> None:
    """Make `connection` fit for a transaction of ours, before that begins.

    Above READ COMMITTED, who waited for a lock would read from a snapshot older than it.
    """
    if connection.dialect.name == "postgresql":
        if not _is_begun(connection):
            set_isolation_level(connection, "READ COMMITTED")
    elif is_autocommit(connection) and not _is_mysql(connection):
        sqlite = connection.dialect.name == "sqlite"
        set_isolation_level(connection, "SERIALIZABLE" if sqlite else "READ COMMITTED")


def begin_by_statement(connection: Connection) -> None:
    """Begin where `connection` commits each statement by itself still, in one message, not six.

    Where a listener has begun, let the transaction be one at READ COMMITTED, or
    `InvalidRequestError`: after a query, PostgreSQL refuses another level.
    """
    if _is_mysql(connection) and is_autocommit(connection):
        connection.exec_driver_sql("START TRANSACTION")
    elif isolation_level(connection) != "READ COMMITTED" and _is_begun(connection):
        try:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        except DBAPIError as error:
            if _ACTIVE_SQL_TRANSACTION not in error_codes(error):
                raise
        else:
            return
        raise InvalidRequestError(
            "a listener of the pool's has begun a transaction above READ COMMITTED, by a query:"
            ' make the engine with isolation_level="READ COMMITTED", or begin by a SET LOCAL'
        )


def roll_back_in_autocommit(connection: Connection) -> None:
    """End what `begin_by_statement` began: SQLAlchemy may leave out a ROLLBACK in AUTOCOMMIT."""
    if _is_mysql(connection) and is_autocommit(connection):
        with suppress(DBAPIError):
            connection.exec_driver_sql("ROLLBACK")


def read_committed(connection: Connection) -> None:
    """Before a transaction begins: let each of its statements read what is committed by then.

    Costs MySQL and MariaDB a message; a transaction that begins with a locking read can do
    without.
    """
    if _is_mysql(connection) and isolation_level(connection) != "READ COMMITTED":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")


def lock_database(connection: Connection, no_op: Executable) -> None:
    """Take SQLite's one write lock, and wait for it if need be.

    In a transaction that is begun, a write takes it that matches no row. Without it a
    transaction that has read before it writes fails at once where another writes too, and a
    SAVEPOINT would begin, and its release commit, a transaction of its own: the driver emits
    BEGIN before a write only, and none at all if it is told to.

    `InvalidRequestError` where the driver would not commit what is begun here.
    """
    if connection.dialect.name == "sqlite":
        driver = driver_connection(connection)
        if getattr(driver, "in_transaction", True):
            connection.execute(no_op)
        # From Python 3.12 on: its commit() does nothing then.
        elif getattr(driver, "autocommit", None) is True:
            raise InvalidRequestError(
                "sqlite3 commits no transaction of a connection made with autocommit=True: give"
                ' create_engine() isolation_level="AUTOCOMMIT" instead'
            )
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def error_codes(error: DBAPIError) -> set[str | int]:
    """How the database names what went wrong: by an SQLSTATE, a number or, on SQLite, a text."""
    orig = error.orig
    codes = [getattr(orig, "sqlstate", None), getattr(orig, "pgcode", None)]
    codes += orig.args[:1] if orig is not None else ()
    return {code for code in codes if isinstance(code, (str, int))}


# What tells the columns of a table whose collation, or type, takes "a" for "A" or "á".
_FOLDING = {
    "mysql": """
        SELECT column_name FROM information_schema.columns
        WHERE table_schema = coalesce(:schema, database()) AND table_name = :table
        AND right(collation_name, 4) <> '_bin' AND right(collation_name, 6) <> '_as_cs'
    """,
    "postgresql": """
        SELECT column_name FROM information_schema.columns
        LEFT JOIN pg_collation ON collname = collation_name
        WHERE table_schema = coalesce(:schema, current_schema()) AND table_name = :table
        AND (udt_name = 'citext' OR NOT collisdeterministic)
    """,
    "sqlite": """
        SELECT part.name FROM pragma_index_list(:table, coalesce(:schema, 'main')) AS list
        JOIN pragma_index_xinfo(list.name, coalesce(:schema, 'main')) AS part
        WHERE part.name IS NOT NULL AND part.coll <> 'BINARY' AND list."unique"
    """,
}
_FOLDING["mariadb"] = _FOLDING["mysql"]


def folding_columns(connection: Connection, table: str, schema: str | None) -> set[str]:
    """The columns of `table` that take texts for one that differ in case or accent."""
    query = _FOLDING.get(connection.dialect.name)
    if query is None:
        return set()
    return set(connection.scalars(text(query), {"table": table, "schema": schema}))


def unique_columns(
    connection: Connection, table: str, schema: str | None
) -> set[tuple[str | None, ...]]:
    """What SQLite holds to be unique in a CREATE TABLE that SQLAlchemy can't read."""
    if connection.dialect.name != "sqlite":
        return set()
    rows = connection.execute(
        text(
            """
            SELECT part.name FROM pragma_index_list(:table, coalesce(:schema, 'main')) AS list
            JOIN pragma_index_info(list.name, coalesce(:schema, 'main')) AS part
            WHERE list."unique" AND NOT list.partial
            GROUP BY list.name HAVING count(*) = 1
            """
        ),
        {"table": table, "schema": schema},
    )
    return {(name,) for (name,) in rows}


def missing_file(url: URL) -> str | None:
    """The path of SQLite's database file, if it is not there and connecting would make it."""
    path = (url.database or "").removeprefix("file:").partition("?")[0]
    in_memory = path in ("", ":memory:") or url.query.get("mode") == "memory"
    if url.get_backend_name() != "sqlite" or in_memory or os.path.exists(path):
        return None
    return path


def engine_options(url: URL) -> dict[str, str]:
    """The options of an engine whose `transaction()` costs nothing beside its statements."""
    is_mysql = url.get_backend_name() in ("mysql", "mariadb")
    return {"isolation_level": "READ COMMITTED"} if is_mysql else {}


def cost_of_transactions(connection: Connection) -> str | None:
    """What the engine of `connection` makes each `transaction()` cost beside its statements."""
    if not _is_mysql(connection):
        return None
    if is_autocommit(connection):
        if connection.dialect.skip_autocommit_rollback:
            return None
        return "skip_autocommit_rollback=True saves a message a call"
    if isolation_level(connection) != "READ COMMITTED":
        return 'isolation_level="READ COMMITTED" saves a message each'
    return None


def _is_mysql(connection: Connection) -> bool:
    return connection.dialect.name in ("mysql", "mariadb")


def _is_psycopg(connection: Connection) -> bool:
    return connection.dialect.driver in ("psycopg", "psycopg2")


def _is_begun(connection: Connection) -> bool:
    """Whether a listener of the pool's has begun a transaction that SQLAlchemy does not know of."""
    if not _is_psycopg(connection):
        return False
    return driver_connection(connection).info.transaction_status in _IN_TRANSACTION


# PQTRANS_INTRANS and PQTRANS_INERROR of libpq.
_IN_TRANSACTION = (2, 3)

# PostgreSQL's SQLSTATE for a level that is set after a query.
_ACTIVE_SQL_TRANSACTION = "25001"
