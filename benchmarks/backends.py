"""The databases: throwaway ones, none of which waits for a disk."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url

from support import servers

NAMES = ("sqlite", "postgresql", "mariadb")

PRAGMAS = ("journal_mode=WAL", "synchronous=OFF")
"""Of SQLite, unless others are what is measured."""

AUTOCOMMIT: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}


@dataclass(frozen=True)
class Backend:
    """A running database."""

    name: str
    url: URL
    version: str = ""

    def engine(self, **options: Any) -> Engine:
        """An engine as an application makes it; SQLite's in WAL mode, and without `fsync`."""
        engine = create_engine(self.url, **options)
        if self.name == "sqlite":
            event.listen(engine, "connect", execute_pragmas(*PRAGMAS))
        return engine


def execute_pragmas(*pragmas: str) -> Callable[[Any, object], None]:
    """A listener that has a new connection begin with them."""

    def execute(connection: Any, _: object) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    return execute


@contextmanager
def started(name: str) -> Iterator[Backend]:
    """Run a database of its own for the block."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield _named(name, make_url(f"sqlite:///{Path(folder) / 'users.db'}"))
    elif name == "postgresql":
        with servers.postgresql() as server:
            url = server.url.set(drivername="postgresql+psycopg")
            _set(url, "ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()")
            yield _named(name, url)
    else:
        with servers.mariadb() as server:
            _set(
                server.url,
                "SET GLOBAL innodb_flush_log_at_trx_commit = 0",
                # A million users shall fit, as they do elsewhere.
                f"SET GLOBAL innodb_buffer_pool_size = {1 << 30}",
            )
            yield _named(name, server.url)


def _set(url: URL, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def _named(name: str, url: URL) -> Backend:
    engine = create_engine(url)
    with engine.connect() as connection:
        version = ".".join(map(str, connection.dialect.server_version_info or ()))
    engine.dispose()
    return Backend(name, url, f"{version}, {url.drivername}")
