"""A class for each database: how a transaction begins, what locks, which errors mean "given up".

`no_op` is a write that matches no row.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, Dialect
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError, InvalidRequestError, StatementError

T = TypeVar("T")


class Backend:
    """What holds for a database of which nothing is known; the others differ from it."""

    enforces_foreign_keys: bool = True
    """Whether the rows that refer to a row are deleted together with it."""

    given_up: frozenset[str | int] = frozenset({"40001", "40P01"})
    """The codes of an error after which the transaction is rolled back whole: try it again."""

    def one_statement(
        self, connection: Connection, work: Callable[[Connection], T], *, reads: bool
    ) -> T:
        """Have `work` issue one statement; commit it unless it only reads."""
        result = work(connection)
        if not (reads or is_autocommit(connection)):
            connection.commit()
        return result

    def prepare_transaction(self, connection: Connection) -> None:
        """Before SQLAlchemy begins: let it begin, and commit, a transaction."""
        if is_autocommit(connection):
            _set_isolation_level(connection, "READ COMMITTED")

    def begin(self, connection: Connection, *, read_committed: bool) -> None:
        """Begin what SQLAlchemy left to the first statement; `read_committed` if the level is free.

        Above READ COMMITTED, a transaction reads from a snapshot older than a lock it waited for.
        """

    def take_write_lock(self, connection: Connection, no_op: Delete) -> None:
        """Take the one write lock of a database that has one."""

    def roll_back(self, connection: Connection) -> None:
        """End what `begin` began and SQLAlchemy does not know of."""

    def gave_up(self, error: DBAPIError) -> bool:
        """Whether the transaction of `error` was rolled back in favour of another."""
        return not self.given_up.isdisjoint(error_codes(error))


class SQLite(Backend):
    """One write lock for the whole database; foreign keys are enforced where it is told to."""

    enforces_foreign_keys: bool = False
    # Python 3.10 has no code for it.
    given_up: frozenset[str | int] = frozenset({"database is locked"})

    def prepare_transaction(self, connection: Connection) -> None:
        """Leave AUTOCOMMIT, where SQLAlchemy would commit each statement."""
        if is_autocommit(connection):
            _set_isolation_level(connection, "SERIALIZABLE")

    def take_write_lock(self, connection: Connection, no_op: Delete) -> None:
        """Take the write lock, and wait for it if need be.

        A transaction that has read before it writes fails at once where another writes too.
        The driver emits BEGIN before a write only, and none at all if it is told to: a
        SAVEPOINT would begin a transaction of its own, and its release commit it. In a
        transaction that is begun, a write that matches no row takes the lock.

        `InvalidRequestError` where the driver would not commit what is begun here.
        """
        driver = _driver_connection(connection)
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


class PostgreSQL(Backend):
    """A single statement commits by itself, in one round trip of three; a level costs nothing."""

    # libpq's PQTRANS_INTRANS and PQTRANS_INERROR.
    _IN_TRANSACTION = (2, 3)
    _ACTIVE_SQL_TRANSACTION = "25001"

    def one_statement(
        self, connection: Connection, work: Callable[[Connection], T], *, reads: bool
    ) -> T:
        """Have `work` issue one statement, which the driver commits.

        Not where the application listens for the begin of a transaction, or has begun one: it
        may say there whose rows are to be seen.

        If autocommit cannot be restored, even after KeyboardInterrupt, drop the connection:
        what the application rolls back on it later would stay.
        """
        # `dispatch.begin` has no public substitute, nor has the driver's flag: SQLAlchemy's way
        # to set it, `execution_options()`, takes a fifth of the time of a read.
        if (
            not _is_psycopg(connection)
            or connection.dispatch.begin
            or is_autocommit(connection)
            or self._is_begun(connection)
        ):
            return super().one_statement(connection, work, reads=reads)
        driver = _driver_connection(connection)
        before: bool = driver.autocommit
        is_restored = False
        try:
            try:
                try:
                    driver.autocommit = True
                except connection.dialect.loaded_dbapi.Error as error:
                    died = error
                else:
                    return work(connection)
                raise _dead(connection, died)
            finally:
                with suppress(connection.dialect.loaded_dbapi.Error):
                    driver.autocommit = before
                    is_restored = True
        finally:
            if not is_restored:
                connection.invalidate()

    def prepare_transaction(self, connection: Connection) -> None:
        """BEGIN says the level, in the same message."""
        if not self._is_begun(connection):
            _set_isolation_level(connection, "READ COMMITTED")

    def begin(self, connection: Connection, *, read_committed: bool) -> None:
        """Let a transaction that a listener of the pool's has begun be one at READ COMMITTED.

        `InvalidRequestError` where it can't be: PostgreSQL refuses another level after a query.
        """
        if isolation_level(connection) == "READ COMMITTED" or not self._is_begun(connection):
            return
        try:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        except DBAPIError as error:
            if self._ACTIVE_SQL_TRANSACTION not in error_codes(error):
                raise
        else:
            return
        raise InvalidRequestError(
            "a listener of the pool's has begun a transaction above READ COMMITTED, by a query:"
            ' make the engine with isolation_level="READ COMMITTED", or begin by a SET LOCAL'
        )

    def _is_begun(self, connection: Connection) -> bool:
        """Whether a listener of the pool's has begun a transaction, unknown to SQLAlchemy."""
        if not _is_psycopg(connection):
            return False
        status = _driver_connection(connection).info.transaction_status
        return status in self._IN_TRANSACTION


class MySQL(Backend):
    """MySQL and MariaDB: a change of autocommit is six messages, and a level is one."""

    # A deadlock, a lock wait that took too long, a stale snapshot. Some drivers have no numbers.
    given_up: frozenset[str | int] = frozenset({1213, 1205, 1020, "40001"})

    def prepare_transaction(self, connection: Connection) -> None:
        """AUTOCOMMIT may stay: `begin` begins nevertheless, in one message."""

    def begin(self, connection: Connection, *, read_committed: bool) -> None:
        """A transaction that begins with a locking read can do without READ COMMITTED."""
        if read_committed and isolation_level(connection) != "READ COMMITTED":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        if is_autocommit(connection):
            connection.exec_driver_sql("START TRANSACTION")

    def roll_back(self, connection: Connection) -> None:
        """SQLAlchemy may leave out a ROLLBACK in AUTOCOMMIT."""
        if is_autocommit(connection):
            with suppress(DBAPIError):
                connection.exec_driver_sql("ROLLBACK")


_OTHER = Backend()
_MYSQL = MySQL()
_BACKENDS = {
    "sqlite": SQLite(),
    "postgresql": PostgreSQL(),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}


def backend_of(dialect: Dialect) -> Backend:
    """What is known of the database of `dialect`."""
    return _BACKENDS.get(dialect.name, _OTHER)


def is_autocommit(connection: Connection) -> bool:
    """Whether `connection` was told to commit each statement by itself.

    The driver's own flag does not tell: recipes that emit BEGIN themselves set it too.
    """
    return isolation_level(connection) == "AUTOCOMMIT"


def isolation_level(connection: Connection) -> str | None:
    """The level that `connection` or its engine was given, if any."""
    options = connection.get_execution_options()
    # What create_engine(isolation_level=...) was given has no public name, and to derive an
    # engine that has one makes a read one and a half times as long.
    return options.get("isolation_level") or getattr(
        connection.dialect, "_on_connect_isolation_level", None
    )


def error_codes(error: DBAPIError) -> set[str | int]:
    """How the database names what went wrong: by an SQLSTATE, a number or, on SQLite, a text."""
    orig = error.orig
    codes = [getattr(orig, name, None) for name in ("sqlstate", "pgcode", "errno")]
    codes += orig.args[:1] if orig is not None else ()
    return {code for code in codes if isinstance(code, (str, int))}


def _set_isolation_level(connection: Connection, level: IsolationLevel) -> None:
    """Set the level until `connection` is given back, and notice a dead connection as it is."""
    try:
        connection.execution_options(isolation_level=level)
    except connection.dialect.loaded_dbapi.Error as error:
        died = error
    else:
        return
    raise _dead(connection, died)


def _dead(connection: Connection, error: Exception) -> StatementError:
    """The driver's error as SQLAlchemy's, which lets it through and the dead connection stay."""
    connection.invalidate()
    dialect = connection.dialect
    return DBAPIError.instance(
        None, None, error, dialect.loaded_dbapi.Error, connection_invalidated=True, dialect=dialect
    )


def _driver_connection(connection: Connection) -> Any:
    """The connection of the driver, which has attributes that SQLAlchemy does not know."""
    return connection.connection.dbapi_connection


def _is_psycopg(connection: Connection) -> bool:
    return connection.dialect.driver in ("psycopg", "psycopg2")
