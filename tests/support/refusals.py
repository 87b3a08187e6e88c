"""What databases refuse, by the names that docs/errors.md has for it, and how it is provoked."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker
from userharbor.interfaces import CreateUserRequest, UserToken

from support.databases import Database
from support.samples import EXPIRES_AT
from support.secrets import EMAIL, HASH, TOKEN, secret_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


def register(store: Store) -> None:
    """Another user, who has the password of the first."""
    request = CreateUserRequest("other", f"{EMAIL}.other", HASH, f"{TOKEN}-other", EXPIRES_AT)
    store.create_user(request)


def log_in(store: Store) -> None:
    store.add_session(UserToken("secretive", TOKEN, EXPIRES_AT))


def change_password(store: Store) -> None:
    store.set_password_hash("secretive", f"{HASH}-changed")


def verify(store: Store) -> None:
    """A call whose parameters are no secrets: those are in the row that it changes."""
    store.set_user_verified("secretive")


def delete(store: Store) -> None:
    store.delete_user("secretive")


def fill(store: Store) -> None:
    for number in range(10_000):
        store.create_role(f"{number}".ljust(250, "-"))


@dataclass(frozen=True)
class Refusal:
    """`call` is refused after `sql`, on an engine of its own, while `holding` is not committed."""

    call: Callable[[Store], object]
    sql: tuple[str, ...] = ()
    holding: str = "SELECT 1"
    url: dict[str, Any] = field(default_factory=dict)
    connect_args: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[Engine], object] = lambda engine: None
    connections: int = 0
    afterwards: tuple[str, ...] = ()


@contextmanager
def provoked(fresh: Database, refusal: Refusal) -> Iterator[Store]:
    """A store of which the call will be refused. The user "secretive" is in its database."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.metadata.create_all(fresh.main)
    store.create_user(secret_user())
    url = fresh.url.set(**refusal.url)
    with ExitStack() as stack:
        stack.callback(_execute, fresh.main, refusal.afterwards)
        _execute(fresh.main, refusal.sql)
        if refusal.connections:
            many = create_engine(fresh.url, pool_size=refusal.connections)
            stack.callback(many.dispose)
            with suppress(OperationalError):
                for _ in range(refusal.connections):
                    stack.enter_context(many.connect())
        else:
            stack.enter_context(fresh.main.connect()).exec_driver_sql(refusal.holding)
        engine = create_engine(url, connect_args=refusal.connect_args)
        stack.callback(engine.dispose)
        refusal.prepare(engine)
        yield SQLAlchemyUserStore(sessionmaker(engine))


def _execute(engine: Engine, statements: tuple[str, ...]) -> None:
    for statement in statements:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)


def _on_connect(set_up: Callable[[Any], object]) -> Callable[[Engine], None]:
    def prepare(engine: Engine) -> None:
        event.listen(engine, "connect", lambda connection, _: set_up(connection))

    return prepare


def _set_page_limit(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 60")


def _deny_inserts(connection: sqlite3.Connection) -> None:
    def rule(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_INSERT else sqlite3.SQLITE_OK

    connection.set_authorizer(rule)


def _overwrite(start: int) -> Callable[[Engine], None]:
    def prepare(engine: Engine) -> None:
        path = Path(str(engine.url.database))
        content = path.read_bytes()
        path.write_bytes(content[:start].ljust(len(content), b"\xff"))

    return prepare


def _sessions_of(columns: str, options: str = "") -> tuple[str, ...]:
    """Another table of sessions, as SQLite can't alter it."""
    return (
        "DROP TABLE userharbor_sessions",
        f"CREATE TABLE userharbor_sessions (username text, expires_at text, {columns}) {options}",
    )


def _orders(username: str) -> tuple[str, ...]:
    return (
        f"CREATE TABLE orders (username {username}, CONSTRAINT orders_of_users"
        " FOREIGN KEY (username) REFERENCES userharbor_users (username))",
        "INSERT INTO orders VALUES ('secretive')",
    )


ONE_PASSWORD = ("CREATE UNIQUE INDEX one_password ON userharbor_users (password_hash)",)
NO_SESSIONS = ("DROP TABLE userharbor_sessions",)
NO_ENDS = ("ALTER TABLE userharbor_sessions RENAME COLUMN expires_at TO ends",)
DEVICE = ("ALTER TABLE userharbor_sessions ADD device varchar(9) NOT NULL",)
SHORT = (
    "ALTER TABLE userharbor_sessions ADD CONSTRAINT short CHECK (char_length(token_hash) < 9)",
)
QUOTED = "'not on Sundays, ', OLD.email, ' ', NEW.password_hash"

SQLITE = {
    "a table is missing": Refusal(log_in, NO_SESSIONS),
    "a column is missing": Refusal(log_in, NO_ENDS),
    "no privilege": Refusal(log_in, prepare=_on_connect(_deny_inserts)),
    "read-only": Refusal(
        log_in, prepare=_on_connect(lambda driver: driver.execute("PRAGMA query_only = ON"))
    ),
    "full": Refusal(fill, prepare=_on_connect(_set_page_limit)),
    "a lock is held": Refusal(log_in, holding="BEGIN IMMEDIATE", connect_args={"timeout": 0.01}),
    "it takes too long": Refusal(
        log_in, prepare=_on_connect(lambda driver: driver.set_progress_handler(lambda: 1, 1))
    ),
    "out of reach": Refusal(log_in, url={"database": "/no/such/folder/users.db"}),
    "no database": Refusal(log_in, prepare=_overwrite(0)),
    "a broken file": Refusal(log_in, prepare=_overwrite(4096)),
    "a foreign key of yours": Refusal(
        delete,
        _orders("text"),
        prepare=_on_connect(lambda driver: driver.execute("PRAGMA foreign_keys = ON")),
    ),
    "a unique index of yours": Refusal(register, ONE_PASSWORD),
    "a column of yours without a default": Refusal(
        log_in, _sessions_of("token_hash text, device text NOT NULL")
    ),
    "a check of yours": Refusal(
        log_in, _sessions_of("token_hash text, CONSTRAINT short CHECK (length(token_hash) < 9)")
    ),
    "a column of another type": Refusal(log_in, _sessions_of("token_hash integer", "STRICT")),
    "a trigger of yours": Refusal(
        change_password,
        (
            "CREATE TRIGGER quote BEFORE UPDATE ON userharbor_users"
            " BEGIN SELECT RAISE(ABORT, 'not on Sundays'); END",
        ),
    ),
}


def _options(*settings: str) -> dict[str, Any]:
    return {"options": " ".join(f"-c {setting}" for setting in settings)}


def _raising(exception: str, table: str = "userharbor_users") -> tuple[str, ...]:
    return (
        "CREATE FUNCTION quote_it() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {exception}; RETURN NEW; END $$",
        f"CREATE TRIGGER quote BEFORE INSERT OR UPDATE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION quote_it()",
    )


POSTGRESQL = {
    "a table is missing": Refusal(log_in, NO_SESSIONS),
    "a column is missing": Refusal(log_in, NO_ENDS),
    "no privilege": Refusal(log_in, connect_args=_options("role=pg_read_all_data")),
    "a row-level policy": Refusal(
        log_in,
        (
            "ALTER TABLE userharbor_sessions ENABLE ROW LEVEL SECURITY",
            "GRANT SELECT, UPDATE ON userharbor_users TO pg_write_all_data",
        ),
        connect_args=_options("role=pg_write_all_data"),
    ),
    "read-only": Refusal(log_in, connect_args=_options("default_transaction_read_only=on")),
    "a lock is held": Refusal(
        change_password,
        holding="SELECT * FROM userharbor_users FOR UPDATE",
        connect_args=_options("lock_timeout=10ms"),
    ),
    "it takes too long": Refusal(
        log_in,
        _raising("PERFORM pg_sleep(60)", "userharbor_sessions"),
        connect_args=_options("statement_timeout=50ms"),
    ),
    "out of reach": Refusal(log_in, url={"host": "127.0.0.1", "port": 1, "query": {}}),
    "no database": Refusal(log_in, url={"database": "absent"}),
    "too many connections": Refusal(log_in, connections=200),
    "a foreign key of yours": Refusal(delete, _orders("varchar(255)")),
    "a unique index of yours": Refusal(register, ONE_PASSWORD),
    "a column of yours without a default": Refusal(log_in, DEVICE),
    "a check of yours": Refusal(log_in, SHORT),
    "a column of another type": Refusal(
        log_in,
        (
            "ALTER TABLE userharbor_sessions ADD number integer"
            " GENERATED ALWAYS AS (token_hash::integer) STORED",
        ),
    ),
    "a column that is too short": Refusal(
        register,
        ("ALTER TABLE userharbor_email_verifications ALTER token_hash TYPE varchar(32)",),
    ),
    "a trigger of yours": Refusal(
        change_password,
        _raising(
            f"RAISE unique_violation USING MESSAGE = concat({QUOTED}),"
            f" DETAIL = concat({QUOTED}), HINT = concat({QUOTED}), CONSTRAINT = 'sundays'"
        ),
    ),
    "a trigger that casts": Refusal(verify, _raising("PERFORM OLD.email::integer")),
    "a view with a check": Refusal(
        log_in,
        (
            "ALTER TABLE userharbor_sessions RENAME TO all_sessions",
            "CREATE VIEW userharbor_sessions AS SELECT * FROM all_sessions"
            " WHERE length(token_hash) < 9 WITH CHECK OPTION",
        ),
    ),
}


def _signalling(signal: str) -> tuple[str, ...]:
    return (
        "CREATE TRIGGER quote BEFORE UPDATE ON userharbor_users FOR EACH ROW BEGIN"
        f" DECLARE said VARCHAR(500) DEFAULT CONCAT({QUOTED}); {signal} MESSAGE_TEXT = said; END",
    )


MYSQL = {
    "a table is missing": Refusal(log_in, NO_SESSIONS),
    "a column is missing": Refusal(log_in, NO_ENDS),
    "no privilege": Refusal(
        log_in,
        ("CREATE USER clerk", "GRANT SELECT ON userharbor_users TO clerk"),
        url={"username": "clerk", "password": None},
        afterwards=("DROP USER clerk",),
    ),
    "read-only": Refusal(
        log_in, connect_args={"init_command": "SET SESSION TRANSACTION READ ONLY"}
    ),
    "full": Refusal(
        fill,
        (
            "DROP TABLE userharbor_user_roles, userharbor_role_permissions",
            "ALTER TABLE userharbor_roles ENGINE = MEMORY, MAX_ROWS = 1",
        ),
    ),
    "a lock is held": Refusal(
        change_password,
        holding="SELECT * FROM userharbor_users FOR UPDATE",
        connect_args={"init_command": "SET innodb_lock_wait_timeout = 1"},
    ),
    "out of reach": Refusal(log_in, url={"host": "127.0.0.1", "port": 1}),
    "no database": Refusal(log_in, url={"database": "absent"}),
    "too many connections": Refusal(
        log_in,
        ("SET GLOBAL max_connections = 20",),
        connections=30,
        afterwards=("SET GLOBAL max_connections = 151",),
    ),
    "a foreign key of yours": Refusal(delete, _orders("varchar(255) COLLATE utf8mb4_bin")),
    "a unique index of yours": Refusal(register, ONE_PASSWORD),
    "a column of yours without a default": Refusal(log_in, DEVICE),
    "a check of yours": Refusal(log_in, SHORT),
    "a column of another type": Refusal(
        change_password,
        (
            "ALTER TABLE userharbor_users ADD n integer",
            "CREATE TRIGGER copy BEFORE UPDATE ON userharbor_users"
            " FOR EACH ROW SET NEW.n = NEW.password_hash",
        ),
    ),
    "a column that is too short": Refusal(
        register, ("ALTER TABLE userharbor_email_verifications MODIFY token_hash varchar(32)",)
    ),
    "a trigger of yours": Refusal(verify, _signalling("SIGNAL SQLSTATE '45000' SET")),
    "a trigger with a number of yours": Refusal(
        verify, _signalling("SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 30001,")
    ),
}
# MySQL has a limit for SELECT only.
MARIADB = {
    "it takes too long": Refusal(
        change_password,
        (
            "CREATE TRIGGER slow BEFORE UPDATE ON userharbor_users"
            " FOR EACH ROW SET @slept = SLEEP(60)",
        ),
        connect_args={"init_command": "SET max_statement_time = 0.05"},
    ),
}
