"""Faults of a database: an error of the driver's at a statement, and a deadlock that is real."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from support.databases import Database

RESETS_OF_JANE = "SELECT 1 FROM userharbor_password_resets WHERE username = 'jane' FOR UPDATE"
JANE = "SELECT 1 FROM userharbor_users WHERE username = 'jane' FOR UPDATE"


@contextmanager
def failing(
    engine: Engine, code: str | int, times: int, where: str = "userharbor_"
) -> Iterator[list[str]]:
    """Let the first `times` statements that name `where` fail with `code`; yield those tried."""
    tried: list[str] = []

    def refuse(cursor: object, statement: str, *_: object) -> None:
        if where in statement:
            tried.append(statement)
            if len(tried) <= times:
                raise driver_error(engine, code)

    event.listen(engine, "do_execute", refuse)
    try:
        yield tried
    finally:
        event.remove(engine, "do_execute", refuse)


def driver_error(engine: Engine, code: str | int) -> Exception:
    """The driver's own exception for what the database names `code`."""
    error: Any = engine.dialect.loaded_dbapi.OperationalError
    named_by = {"psycopg": "sqlstate", "psycopg2": "pgcode"}.get(engine.dialect.driver)
    if named_by is not None:
        refusal: Exception = type("Refusal", (error,), {named_by: code})("given up")
    elif isinstance(code, int):
        refusal = error(code, "given up")
    else:
        refusal = error(code)
    return refusal


@contextmanager
def rival(db: Database) -> Iterator[Connection]:
    """A transaction on another connection, which no deadlock is resolved at the expense of."""
    with db.engine().connect() as connection:
        if db.backend == "postgresql":
            # Only who has waited for so long looks for a deadlock.
            connection.execute(text("SET deadlock_timeout = '1h'"))
        else:
            # InnoDB gives up the transaction that has written less.
            for number in range(50):
                connection.execute(text(f"INSERT INTO userharbor_roles VALUES ('rival{number}')"))
        yield connection


@contextmanager
def deadlock(db: Database, engine: Engine) -> Iterator[list[str]]:
    """Let the next call on `engine` that locks Jane, and then her reset, end in a deadlock.

    `engine` loses. What it yields has an element once that was begun.
    """
    begun: list[str] = []
    threads: list[threading.Thread] = []
    with rival(db) as other:
        other.execute(text(RESETS_OF_JANE))

        def cross() -> None:
            until_waiting(db)
            other.execute(text(JANE))
            other.rollback()

        def let_cross(connection: Connection, cursor: object, statement: str, *_: object) -> None:
            if not begun and "userharbor_users" in statement and " FOR " in statement:
                begun.append(statement)
                if db.backend == "postgresql":
                    # It looks once, and then the rival has to be waiting.
                    connection.exec_driver_sql("SET deadlock_timeout = '1s'")
                threads.append(threading.Thread(target=cross))
                threads[0].start()

        event.listen(engine, "before_cursor_execute", let_cross)
        try:
            yield begun
        finally:
            event.remove(engine, "before_cursor_execute", let_cross)
            for thread in threads:
                thread.join()


def until_waiting(db: Database, how_many: int = 1) -> None:
    """Wait until so many transactions wait for locks of others."""
    waiting = {
        "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    }
    for _ in range(100):
        if db.read(waiting[db.backend]) == [(how_many,)]:
            return
        time.sleep(0.11)  # InnoDB answers as before to who asks within 0.1 s.
    raise AssertionError("no transaction waits")


def kill_pool(db: Database, engine: Engine) -> None:
    """End three connections of the pool from the server's side, as a restart or a firewall does."""
    with ExitStack() as held:
        numbers = [_number(db, held.enter_context(engine.connect())) for _ in range(3)]
    _end(db, numbers)


def kill(db: Database, connection: Any) -> None:
    """End the connection from the server's side."""
    _end(db, [_number(db, connection)])


def _number(db: Database, connection: Connection) -> int:
    asked = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
    return int(connection.exec_driver_sql(asked[db.backend]).scalar_one())


def _end(db: Database, numbers: list[int]) -> None:
    kill = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}[db.backend]
    with db.main.connect() as connection:
        for number in numbers:
            connection.exec_driver_sql(kill.format(number))
    time.sleep(0.1)
