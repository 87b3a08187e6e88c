"""A multi-primary cluster of MariaDB on loopback: each node takes reads and writes."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from support import servers


class Node:
    """One server of a cluster."""

    def __init__(self, home: Path, name: str, programs: Path | None) -> None:
        home.mkdir()
        self.name = name
        self._server = servers.MariaDB(home, programs)
        self.url: URL = self._server.url
        self.address = f"127.0.0.1:{servers.free_port()}"
        self._options = [
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            # What is committed survives the node: the others have it.
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=16M",
            "--wsrep-on=ON",
            f"--wsrep-provider={_provider(programs)}",
            "--wsrep-cluster-name=throwaway",
            f"--wsrep-node-name={name}",
            f"--wsrep-node-address={self.address}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{servers.free_port()}",
            "--wsrep-provider-options="
            f"gmcast.listen_addr=tcp://{self.address};"
            f"ist.recv_addr=127.0.0.1:{servers.free_port()};"
            "gcache.size=32M;pc.recovery=false",
        ]

    def found(self) -> None:
        """Start as the first node of a new cluster."""
        self._server.install()
        self._server.start(
            *self._options, "--wsrep-cluster-address=gcomm://", "--wsrep-new-cluster"
        )

    def join(self, others: list["Node"]) -> None:
        """Start as one more node beside `others`, and wait until it has what they have."""
        addresses = ",".join(node.address for node in others)
        self._server.start(*self._options, f"--wsrep-cluster-address=gcomm://{addresses}")
        self._wait_until_synced()

    def stand_alone(self) -> None:
        """Go on as a cluster of one, by an operator's decision that the others are gone."""
        # The node refuses what SQLAlchemy asks of a new connection.
        driver: Any = create_engine(self.url).dialect.loaded_dbapi
        connection = driver.connect(host=self.url.host, port=self.url.port, user=self.url.username)
        cursor = connection.cursor()
        # From 11 on, each of the provider's options is a variable of the server's.
        if cursor.execute("SHOW VARIABLES LIKE 'wsrep_provider_pc_bootstrap'"):
            cursor.execute("SET GLOBAL wsrep_provider_pc_bootstrap = ON")
        else:
            cursor.execute("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
        connection.close()
        self._wait_until_synced()

    def kill(self) -> None:
        """End the node without notice, as `kill -9` does."""
        self._server.kill()

    def status(self, variable: str) -> str:
        """What SHOW STATUS says of `variable`; nothing while the node does not answer."""
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                row = connection.exec_driver_sql("SHOW STATUS LIKE %s", (variable,)).one()
                return str(row[1])
        except OperationalError:
            return ""
        finally:
            engine.dispose()

    def _wait_until_synced(self) -> None:
        until = time.monotonic() + 60
        while self.status("wsrep_local_state_comment") != "Synced":
            assert time.monotonic() < until, f"{self.name} is not synced"
            time.sleep(0.1)


@contextlib.contextmanager
def cluster(programs: Path | None = None) -> Iterator[list[Node]]:
    """Run three nodes, of the MariaDB that is installed or of `programs`.

    All have the database `test`.
    """
    with servers.folder("galera") as home, contextlib.ExitStack() as started:
        nodes = [Node(home / name, name, programs) for name in ("one", "two", "three")]
        first, second, third = nodes
        for node in nodes:
            started.callback(node.kill)
        first.found()
        # One at a time, since each is given the data by one that has them.
        second.join([first])
        third.join([first, second])
        yield nodes


def _provider(programs: Path | None) -> Path:
    library = (programs or Path("/usr/lib/galera")) / "libgalera_smm.so"
    if not library.exists():
        raise servers.NotInstalled("Galera: apt-get install galera-4 rsync")
    return library


def engine(node: Node) -> Engine:
    """An engine whose statements wait for what other nodes have committed."""
    return create_engine(node.url, connect_args={"init_command": "SET wsrep_sync_wait = 7"})


def everywhere(engines: list[Engine], sql: str) -> list[tuple[Any, ...]]:
    """The rows that each node answers with, which are the same."""
    answers = []
    for each in engines:
        with each.connect() as connection:
            answers.append([tuple(row) for row in connection.execute(text(sql))])
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


def number(error: object) -> int | None:
    """The database's number of an error."""
    orig = getattr(error, "orig", None)
    return orig.args[0] if isinstance(orig, Exception) else None
