"""Nodes of a Galera cluster that die, and what the clients of all nodes see.

`pytest -s` prints it: the figures of docs/operations.md.
"""

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker

from support.racing import Store
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore

from .galera import Node, everywhere, number

pytestmark = pytest.mark.cluster


class Client:
    """Registers users and logs them in by one node, one after the other, and notes the outcomes."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.users: list[str] = []
        self.sessions: list[str] = []
        self.errors: Counter[int | None] = Counter()
        self._longest = 0.0
        self._store = store

    def write_until(self, enough: threading.Event) -> None:
        for count in itertools.count():
            if enough.is_set():
                break
            name = f"{self.name}-{count}"
            started = time.monotonic()
            try:
                self._store.create_user(new_user(name))
                self.users.append(name)
                self._store.add_session(new_token(name, name))
                self.sessions.append(name)
            except OperationalError as error:
                self.errors[number(error)] += 1
                time.sleep(0.05)
            self._longest = max(self._longest, time.monotonic() - started)

    def wait_for(self, more: int) -> None:
        """Wait until that many more writes are acknowledged."""
        goal = len(self.sessions) + more
        while len(self.sessions) < goal:
            time.sleep(0.05)

    def __repr__(self) -> str:
        return (
            f"{self.name}: {len(self.sessions)} writes, the longest took {self._longest:.1f} s;"
            f" errors: {dict(self.errors)}"
        )


def test_a_killed_node_loses_no_acknowledged_write(
    nodes: list[Node], engines: list[Engine], stores: list[Store]
) -> None:
    """Two clients a node. The survivors' wait and go on; the node comes back and has all rows."""
    clients = [
        Client(f"{node.name}-{each}", store)
        for node, store in zip(nodes, stores, strict=True)
        for each in range(2)
    ]
    survivors, orphans = clients[:4], clients[4:]
    enough = threading.Event()
    threads = [threading.Thread(target=client.write_until, args=[enough]) for client in clients]
    for thread in threads:
        thread.start()
    try:
        for client in clients:
            client.wait_for(20)
        nodes[2].kill()
        for client in survivors:
            client.wait_for(20)
    finally:
        enough.set()
        for thread in threads:
            thread.join()
        print("", *clients, sep="\n")

    assert [client.errors for client in survivors] == [{}] * len(survivors)
    for client in orphans:
        assert set(client.errors) <= {2003, 2013}

    def assert_all_are_there(engines: list[Engine]) -> None:
        users = everywhere(engines, "SELECT username FROM userharbor_users ORDER BY 1")
        sessions = everywhere(engines, "SELECT username FROM userharbor_sessions ORDER BY 1")
        for client in clients:
            assert {(name,) for name in client.users} <= set(users)
            assert {(name,) for name in client.sessions} <= set(sessions)

    assert_all_are_there(engines[:2])
    nodes[2].join(nodes[:2])
    assert_all_are_there(engines)
    stores[2].create_user(new_user())


def test_a_node_left_alone_refuses_and_no_write_is_sent_twice(
    nodes: list[Node], engines: list[Engine], caplog: pytest.LogCaptureFixture
) -> None:
    """The write under way ends with an unknown outcome, 1180; then each call is refused by 1047."""
    caplog.set_level(logging.INFO, "userharbor_sqlalchemy")
    # By an engine that waits for nothing before a statement: the write gets as far as COMMIT.
    alone = create_engine(nodes[0].url)
    store = SQLAlchemyUserStore(sessionmaker(alone))
    store.create_user(new_user())
    nodes[1].kill()
    nodes[2].kill()
    try:
        with pytest.raises(OperationalError, match=r"1180, .* Not connected to Primary"):
            for count in itertools.count():
                store.add_session(new_token(f"{count}"))
        refused: list[Callable[[], object]] = [
            lambda: store.add_session(new_token("later")),
            lambda: store.create_user(new_user("joe")),
            lambda: store.get_session("later"),
        ]
        for call in refused:
            with pytest.raises(OperationalError, match="1047, 'WSREP has not yet prepared node"):
                call()
        assert [record for record in caplog.records if record.name == "userharbor_sqlalchemy"] == []
    finally:
        alone.dispose()
        nodes[0].stand_alone()
        nodes[1].join(nodes[:1])
        nodes[2].join(nodes[:2])
    assert everywhere(engines, "SELECT * FROM userharbor_sessions WHERE token_hash = 'later'") == []
    assert everywhere(engines, "SELECT username FROM userharbor_users") == [("jane",)]


@pytest.mark.parametrize("code", [1047, 1180, 2003, 2013])
@pytest.mark.parametrize("call", ["add_session", "create_user"])
def test_a_write_with_an_unknown_outcome_is_not_sent_again(
    stores: list[Store],
    engines: list[Engine],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
) -> None:
    """Each of these at COMMIT is raised: the write may have taken effect."""
    stores[0].create_user(new_user())
    commits = []

    def commit(connection: object) -> None:
        commits.append(connection)
        raise engines[0].dialect.loaded_dbapi.OperationalError(code, "at COMMIT")

    monkeypatch.setattr("pymysql.connections.Connection.commit", commit)
    with pytest.raises(OperationalError) as raised:
        if call == "add_session":
            stores[0].add_session(new_token("session"))
        else:
            stores[0].create_user(new_user("joe"))
    assert number(raised.value) == code
    assert len(commits) == 1
