"""The databases that the tests run on, and how a test reaches one."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, NullPool, PoolProxiedConnection, create_engine, make_url

from support import servers

THROWAWAY = "throwaway"
_SERVERS: dict[str, Callable[[], contextlib.AbstractContextManager[servers.Server]]] = {
    "postgresql": servers.postgresql,
    "postgresql15": servers.postgresql15,
    "mariadb": servers.mariadb,
    "mariadb118": partial(servers.newer, "mariadb118"),
    "mysql": partial(servers.newer, "mysql"),
}


def named_urls() -> dict[str, str]:
    """What `[db]` in setup.cfg says."""
    config = ConfigParser(interpolation=None)
    config.read(Path(__file__).parents[2] / "setup.cfg")
    return dict(config["db"])


def backend_of(url: URL) -> str:
    """Which database it is: `mysql` is MariaDB as well, under both names of SQLAlchemy's."""
    name = url.get_backend_name()
    return "mysql" if name == "mariadb" else name


class Databases:
    """Starts what the session's databases need, each server once, and stops it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._servers: dict[str, servers.Server] = {}
        self.missing: set[str] = set()

    def url(self, text: str, asked_for: bool) -> URL:
        """A URL to connect to. Fails where that can't be had, skips where it is not installed."""
        url = make_url(text)
        if url.database == THROWAWAY:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory())
            return url.set(database=os.path.join(folder, "test.db"))
        name, _, domain = (url.host or "").partition(".")
        if domain != THROWAWAY:
            return url
        if name not in self._servers:
            try:
                self._servers[name] = self._stack.enter_context(_SERVERS[name]())
            except servers.NotInstalled as error:
                if asked_for:
                    pytest.fail(f"asked for, and not installed: {error}")
                self.missing.add(str(error))
                pytest.skip(f"not installed: {error}")
        return self._servers[name].url.set(drivername=url.drivername)

    def server(self, url: URL) -> servers.Server | None:
        """The throwaway server behind `url`, if it is one."""
        found = (
            server
            for server in self._servers.values()
            if server.url.set(drivername=url.drivername) == url
        )
        return next(found, None)

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def fresh_database(beside: "Database", folder: Path) -> Iterator["Database"]:
    """An empty database on the server of another, or a file in `folder`; it goes at the end.

    On a server it bears the name of the folder, so that those of a test and its module are two.
    """
    if beside.backend == "sqlite":
        with contextlib.closing(Database(beside.url.set(database=str(folder / "fresh.db")))) as it:
            yield it
        return
    name = f"{beside.url.database}_{folder.name}".lower()
    alone = create_engine(beside.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with alone.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        with contextlib.closing(Database(beside.url.set(database=name), beside.server)) as it:
            yield it
        connection.exec_driver_sql(f"DROP DATABASE {name}")


class Database:
    """One database: engines on it, and a raw reader beside them."""

    def __init__(self, url: URL, server: servers.Server | None = None) -> None:
        self.server = server
        self.url = url
        self.backend = backend_of(url)
        self.is_memory = self.backend == "sqlite" and not url.database
        self._engines: list[Engine] = []
        self.main = create_engine(url)
        self._qmark = self.main.dialect.paramstyle == "qmark"

    def engine(self, **options: Any) -> Engine:
        """An engine of a test's own, disposed of at its end."""
        if self.is_memory:
            pytest.skip("a second engine would have another database in memory")
        engine = create_engine(self.url, **options)
        self._engines.append(engine)
        return engine

    def read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What another connection, of the driver and not of SQLAlchemy, reads.

        `?` stands for a value.
        """
        cursor = self._reader.cursor()
        cursor.execute(sql if self._qmark else sql.replace("?", "%s"), values)
        rows = [tuple(row) for row in cursor.fetchall()]
        cursor.close()
        return rows

    def count(self, table: str) -> int:
        """How many rows `table` has, to the raw reader."""
        return int(self.read(f"SELECT count(*) FROM {table}")[0][0])

    def checked_out(self) -> list[str]:
        """Which engines a connection is checked out of."""
        return [
            engine.pool.status()
            for engine in (self.main, *self._engines)
            if _checked_out(engine.pool)()
        ]

    @cached_property
    def _reader(self) -> PoolProxiedConnection:
        if self.is_memory:
            # There, a thread has one connection only; the pool counts none of them.
            return self.main.raw_connection()
        alone = create_engine(self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        return alone.raw_connection()

    def dispose_engines(self) -> None:
        for engine in self._engines:
            engine.dispose()
        self._engines.clear()

    def close(self) -> None:
        """Give up every connection; a later call makes others."""
        self._reader.invalidate()
        del self._reader
        self.main.dispose()


def _checked_out(pool: Any) -> Callable[[], int]:
    return getattr(pool, "checkedout", lambda: 0)
