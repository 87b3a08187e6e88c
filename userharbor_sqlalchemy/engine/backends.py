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

    has_typed_columns: bool = False
    """Whether a value must be given as of the type that its column has."""

    given_up: frozenset[str | int] = frozenset({"40001", "40P01"})
    """The codes of an error after which the transaction is rolled back whole: try it again."""

    locks_in_order: bool = False
    """Whether one query locks rows of two tables in the order in which it names these."""

    reads_after_locks: bool = False
    """Whether what a query reads without a lock is as of after the locks that it waited for."""

    known: str = ""
    """The codes of which it is known whether their texts quote values; a pattern, as `quoting`."""

    quoting: str = ""
    """The codes whose texts quote values, between quotation marks."""

    raised: str = ""
    """The codes of a trigger's or function's own texts, which say anything."""

    # A serialization failure, a deadlock.
    _DOOMED = frozenset({"40001", "40P01"})
    # Read-only, as a primary is from the day on that it is a replica.
    _TAKES_NO_WRITES: frozenset[str | int] = frozenset({"25006"})
    # ON CONFLICT without an index that is unique, or with one that is so at COMMIT only.
    _LACKS_UNIQUE_INDEX = frozenset(
        {
            "42P10",
            "55000",
            "ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint",
        }
    )
    # "Cached plan must not change result type": a statement that was prepared before a migration.
    _KNOWS_OLD_TABLES = frozenset({"0A000"})

    def one_statement(
        self, connection: Connection, work: Callable[[Connection], T], *, reads: bool
    ) -> T:
        """Have `work` issue one statement; commit it unless it only reads."""
        result = work(connection)
        if not (reads or is_autocommit(connection)):
            try:
                connection.commit()
            except BaseException:
                # SQLAlchemy takes it for ended, and would give it back to the pool as it is.
                with suppress(DBAPIError):
                    connection.rollback()
                raise
        return result

    def prepare_transaction(self, connection: Connection) -> None:
        """Before SQLAlchemy begins: let it begin, and commit, a transaction."""
        if is_autocommit(connection) or _driver_commits(connection):
            _set_isolation_level(connection, "READ COMMITTED")

    def begin(self, connection: Connection, *, read_committed: bool) -> None:
        """Begin what SQLAlchemy left to the first statement; `read_committed` if the level is free.

        Above READ COMMITTED, a transaction reads from a snapshot older than a lock it waited for.
        """

    def limit_waits(self, connection: Connection) -> None:
        """Have no statement of the transaction wait for a lock for ever."""

    def take_write_lock(self, connection: Connection, no_op: Delete) -> None:
        """Take the one write lock of a database that has one."""

    def roll_back(self, connection: Connection) -> None:
        """End what `begin` began and SQLAlchemy does not know of."""

    def begins_again(self, connection: Connection) -> bool:
        """Whether a transaction in which nothing was done can be begun again, unnoticed."""
        return False

    def begin_again(self, connection: Connection) -> None:
        """Begin the transaction of a block again, which the database gave up."""
        try:
            connection.connection.rollback()
        except connection.dialect.loaded_dbapi.Error as error:
            died = error
        else:
            self.begin(connection, read_committed=True)
            return
        raise _dead(connection, died)

    def commits_each(self, connection: Connection) -> bool:
        """Whether statements take effect one by one, whatever SQLAlchemy has begun.

        Where the driver was told to commit them, the application may emit BEGIN by itself.
        """
        if is_autocommit(connection):
            return True
        return _driver_commits(connection) and not self._is_begun(connection)

    def _is_begun(self, connection: Connection) -> bool:
        """Whether the database is in a transaction: outside of one, it keeps no savepoint."""
        try:
            connection.exec_driver_sql("SAVEPOINT userharbor_sqlalchemy")
            connection.exec_driver_sql("RELEASE SAVEPOINT userharbor_sqlalchemy")
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return False
        return True

    def is_doomed(self, error: DBAPIError) -> bool:
        """Whether no savepoint helps after `error`, even if it is there: the snapshot stays."""
        return not self._DOOMED.isdisjoint(error_codes(error))

    def gave_up(self, error: DBAPIError) -> bool:
        """Whether the transaction of `error` was rolled back in favour of another."""
        return not self.given_up.isdisjoint(error_codes(error))

    def waited(self, error: DBAPIError) -> bool:
        """Whether a lock was waited for too long."""
        return not {"55P03", 1205, "database is locked"}.isdisjoint(error_codes(error))

    def takes_no_writes(self, error: DBAPIError) -> bool:
        """Whether the server, or the connection, refused to write at all: it had no effect."""
        return not self._TAKES_NO_WRITES.isdisjoint(error_codes(error))

    def knows_old_tables(self, error: DBAPIError) -> bool:
        """Whether the connection refused a statement for what it remembers: it had no effect."""
        return not self._KNOWS_OLD_TABLES.isdisjoint(error_codes(error))

    def lacks_unique_index(self, error: DBAPIError) -> bool:
        """Whether a statement was refused since it needs a unique index: it had no effect."""
        return not self._LACKS_UNIQUE_INDEX.isdisjoint(error_codes(error))


class SQLite(Backend):
    """One write lock for the whole database; foreign keys are enforced where it is told to."""

    enforces_foreign_keys: bool = False
    # In a block, all are locked.
    locks_in_order: bool = True
    # Python 3.10 has no code for it.
    given_up: frozenset[str | int] = frozenset({"database is locked"})
    known: str = "(?s:.+)"
    raised: str = "'SQLITE_CONSTRAINT_TRIGGER'"

    def prepare_transaction(self, connection: Connection) -> None:
        """Leave AUTOCOMMIT, where SQLAlchemy would commit each statement."""
        if is_autocommit(connection):
            _set_isolation_level(connection, "SERIALIZABLE")

    def commits_each(self, connection: Connection) -> bool:
        """The driver's setting does not matter: `take_write_lock` begins what is not begun."""
        return is_autocommit(connection)

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

    has_typed_columns: bool = True
    locks_in_order: bool = True
    # SQLSTATEs. A data exception, what another server said; RAISE and ASSERT, whichever code they
    # are given, and what is written in another language.
    known: str = "'[0-9A-Z]{5}'"
    quoting: str = "'(22|HV)...'"
    raised: str = "'(P000[14]|exec_stmt_raise|3[89]...)'"

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
            not _knows_its_transaction(connection)
            or connection.dispatch.begin
            or is_autocommit(connection)
            or self._is_begun_unseen(connection)
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
                    return self._prepared_or_again(connection, work)
                raise _dead(connection, died)
            finally:
                with suppress(connection.dialect.loaded_dbapi.Error):
                    driver.autocommit = before
                    is_restored = True
        finally:
            if not is_restored:
                connection.invalidate()

    def _prepared_or_again(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        """Have `work` issue one statement; again, if what was prepared is of before a migration."""
        try:
            return work(connection)
        except DBAPIError as error:
            if not self.knows_old_tables(error):
                raise
        # Nothing else has psycopg forget what it has prepared.
        connection.exec_driver_sql("ROLLBACK")
        return work(connection)

    def prepare_transaction(self, connection: Connection) -> None:
        """BEGIN says the level, in the same message."""
        if not self._is_begun_unseen(connection):
            _set_isolation_level(connection, "READ COMMITTED")

    def begin(self, connection: Connection, *, read_committed: bool) -> None:
        """Let a transaction that a listener of the pool's has begun be one at READ COMMITTED.

        `InvalidRequestError` where it can't be: PostgreSQL refuses another level after a query.
        """
        if isolation_level(connection) == "READ COMMITTED" or not self._is_begun_unseen(connection):
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

    def limit_waits(self, connection: Connection) -> None:
        """As SQLite and MariaDB do by themselves, unless the application has set a limit."""
        connection.exec_driver_sql(
            "SELECT set_config('lock_timeout', '5s', true)"
            " WHERE current_setting('lock_timeout') = '0'"
        )

    def _is_begun(self, connection: Connection) -> bool:
        """As the driver knows it, without a message."""
        if not _knows_its_transaction(connection):
            return super()._is_begun(connection)
        if connection.dialect.driver == "asyncpg":
            asyncpg: Any = connection.connection.driver_connection
            return bool(asyncpg.is_in_transaction())
        return _driver_connection(connection).info.transaction_status in self._IN_TRANSACTION

    def _is_begun_unseen(self, connection: Connection) -> bool:
        """Whether a listener of the pool's has begun a transaction, unknown to SQLAlchemy."""
        return _knows_its_transaction(connection) and self._is_begun(connection)


class MySQL(Backend):
    """MySQL and MariaDB: a change of autocommit is six messages, and a level is one."""

    # A snapshot is taken at the first plain read, where there is none yet.
    reads_after_locks: bool = True
    # A deadlock, a lock wait that took too long, a stale snapshot. Some drivers have no numbers.
    given_up: frozenset[str | int] = frozenset({1213, 1205, 1020, "40001"})
    # read_only, at a statement or at COMMIT; tx_read_only; innodb_read_only.
    _TAKES_NO_WRITES: frozenset[str | int] = frozenset({1290, 1792, 1836, "25006"})
    # The server's and the client's. Duplicates, texts that are no numbers or times, that another
    # character set does not have, or near which SQL is wrong, and what another server said. Then a
    # value without marks, and a SIGNAL, whose number is anything.
    known: str = "[1-6][0-9]{3}"
    quoting: str = (
        "1062|1064|1292|1296|1300|1366|1367|1411|1430|1470|1525|1557|1569|1586|1690|1761|1762"
        "|191[678]|1977|3854"
    )
    raised: str = "1526|164[2345]|-?[0-9]{5}|'45000'"
    # "Transaction characteristics can't be changed while a transaction is in progress".
    _HAS_BEGUN = 1568

    def one_statement(
        self, connection: Connection, work: Callable[[Connection], T], *, reads: bool
    ) -> T:
        """Have `work` issue one statement; a level lasts for one transaction, thus for a write."""
        if not reads:
            self._set_level(connection, read_committed=False)
        return super().one_statement(connection, work, reads=reads)

    def prepare_transaction(self, connection: Connection) -> None:
        """AUTOCOMMIT may stay: `begin` begins nevertheless, in one message."""

    def begin(self, connection: Connection, *, read_committed: bool) -> None:
        """A transaction that begins with a locking read needs the level for its locks only."""
        self._set_level(connection, read_committed=read_committed)
        if self._in_autocommit(connection):
            connection.exec_driver_sql("START TRANSACTION")

    def begins_again(self, connection: Connection) -> bool:
        """On MariaDB, not in a savepoint, nor where the application does something at a begin."""
        return _is_mariadb(connection) and not (
            connection.in_nested_transaction() or connection.dispatch.begin
        )

    def _set_level(self, connection: Connection, *, read_committed: bool) -> None:
        """For what comes next: what a listener has begun by itself ends, since it has a level.

        Above READ COMMITTED, a write keeps locks that it has no use for. On MySQL, those on what
        is deleted and not purged yet let blocks deadlock; on MariaDB, at SERIALIZABLE only, the
        snapshot that its first lock opens is older than the lock.
        """
        needs_none = {"READ COMMITTED"}
        if _is_mariadb(connection) and not read_committed:
            needs_none.add("REPEATABLE READ")
        if level_of_transactions(connection) in needs_none:
            return
        set_level = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
        try:
            connection.exec_driver_sql(set_level)
        except DBAPIError as error:
            if self._HAS_BEGUN not in error_codes(error):
                raise
        else:
            return
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql(set_level)

    def roll_back(self, connection: Connection) -> None:
        """SQLAlchemy may leave out a ROLLBACK in AUTOCOMMIT, and where the driver is in it."""
        with suppress(DBAPIError):
            if not connection.invalidated and self._in_autocommit(connection):
                connection.exec_driver_sql("ROLLBACK")

    def _in_autocommit(self, connection: Connection) -> bool:
        return is_autocommit(connection) or _driver_commits(connection)


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
    """Whether SQLAlchemy was told to let `connection` commit each statement by itself."""
    return isolation_level(connection) == "AUTOCOMMIT"


def isolation_level(connection: Connection) -> str | None:
    """The level that `connection` or its engine was given, if any."""
    options = connection.get_execution_options()
    # What create_engine(isolation_level=...) was given has no public name, and to derive an
    # engine that has one makes a read one and a half times as long.
    return options.get("isolation_level") or getattr(
        connection.dialect, "_on_connect_isolation_level", None
    )


def level_of_transactions(connection: Connection) -> str | None:
    """The level that `connection` or its engine was given, or else the server's default."""
    level = isolation_level(connection)
    return connection.default_isolation_level if level in (None, "AUTOCOMMIT") else level


CODES = ("sqlstate", "pgcode", "errno", "sqlite_errorcode", "sqlite_errorname")
"""Attributes of the drivers' errors."""


def error_codes(error: DBAPIError) -> set[str | int]:
    """How the database names what went wrong: by an SQLSTATE, a number or, on SQLite, a text.

    And where PostgreSQL's source raised it: a function may give its error any SQLSTATE.
    """
    orig: Any = error.orig
    said = orig.args[0] if orig.args else None
    report = said if isinstance(said, dict) else {}  # pg8000's
    codes = [getattr(orig, name, None) for name in CODES]
    codes += [said, report.get("C"), report.get("R")]
    codes.append(getattr(getattr(orig, "diag", None), "source_function", None))
    codes.append(getattr(orig.__cause__, "server_source_function", None))  # asyncpg's
    return {code for code in codes if isinstance(code, (str, int))}


def _is_mariadb(connection: Connection) -> bool:
    return getattr(connection.dialect, "is_mariadb", False)


def _driver_commits(connection: Connection) -> bool:
    """Whether the driver, which may not have been told by SQLAlchemy, commits each statement.

    `autocommit` is a method of the drivers that have `get_autocommit()`.
    """
    driver = connection.connection.driver_connection
    try:
        ask = getattr(driver, "get_autocommit", None)
        return bool(ask()) if ask else getattr(driver, "autocommit", False) is True
    except connection.dialect.loaded_dbapi.Error as error:
        died = error
    raise _dead(connection, died)


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


def _knows_its_transaction(connection: Connection) -> bool:
    """Whether the driver says whether it is in a transaction, and goes into autocommit for free."""
    return connection.dialect.driver in ("psycopg", "psycopg2", "asyncpg")
