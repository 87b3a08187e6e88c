"""A primary that fails, or is replaced: writers go on at the one that takes its place.

`pytest -s` prints the figures of docs/operations.md.
"""

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import sessionmaker

from support.samples import new_token, new_user
from support.servers import unpacked
from userharbor_sqlalchemy import SQLAlchemyUserStore, metadata

from . import failover
from .calls import WRITES
from .failover import Failover
from .writers import NOT_CONNECTED, REFUSED, UNKNOWN, Writers, is_refusal

pytestmark = [
    pytest.mark.cluster,
    # Of a pool that is given up, the connections that threads have are left to the collector.
    pytest.mark.filterwarnings("ignore:.* was deleted while still open:ResourceWarning"),
]

SERVERS: dict[str, Callable[[], AbstractContextManager[Failover]]] = {
    "psycopg": lambda: failover.postgresql("psycopg"),
    "psycopg2": lambda: failover.postgresql("psycopg2"),
    "mariadb": failover.mariadb,
    "mysql": lambda: failover.mariadb(unpacked("mysql")),
}


@pytest.fixture(params=SERVERS)
def servers(request: pytest.FixtureRequest) -> Iterator[Failover]:
    with SERVERS[request.param]() as servers:
        yield servers


@pytest.fixture
def engine(servers: Failover) -> Iterator[Engine]:
    with engine_on(servers) as engine:
        yield engine


@contextmanager
def engine_on(servers: Failover) -> Iterator[Engine]:
    """One that has no more connections than its pool keeps; the built-in tables are there."""
    engine = create_engine(servers.url, pool_size=8, max_overflow=0)
    metadata.create_all(engine)
    yield engine
    engine.dispose()
    gc.collect()


def named(engine: Engine) -> str:
    return f"{engine.url.drivername} {engine.dialect.server_version_info}"


@pytest.fixture(scope="module", params=SERVERS)
def stale_engines(request: pytest.FixtureRequest) -> Iterator[Iterator[Engine]]:
    """Engines whose five connections are to a primary that was replaced, and has one user."""
    with SERVERS[request.param]() as servers, engine_on(servers) as engine:
        SQLAlchemyUserStore(sessionmaker(engine)).create_user(new_user())
        stale = [create_engine(servers.url, pool_size=5, max_overflow=0) for _ in range(5)]
        for each in stale:
            for connection in [each.connect() for _ in range(5)]:
                connection.close()
        servers.make_read_only()
        servers.promote()
        with engine_on(servers) as anew:
            SQLAlchemyUserStore(sessionmaker(anew)).create_user(new_user("joe"))
        yield iter(stale)
        for each in stale:
            each.dispose()
        gc.collect()


def test_a_killed_primary_loses_no_acknowledged_write(servers: Failover, engine: Engine) -> None:
    """Each call that was under way has an unknown outcome; the next ones go to the other."""
    writers = Writers(engine)
    with writers.at_work():
        writers.go_on()
        servers.kill()
        servers.promote()
        writers.go_on()
    print(f"\n{named(engine)}, killed: {writers}")
    assert writers.errors.keys() <= {UNKNOWN, NOT_CONNECTED}
    writers.assert_stored(servers.ask_replica)


def test_writers_leave_a_primary_that_became_read_only(servers: Failover, engine: Engine) -> None:
    """It keeps their connections, and refuses each write on them, which then has had no effect."""
    writers = Writers(engine)
    with writers.at_work():
        writers.go_on()
        servers.make_read_only()
        servers.promote()
        writers.go_on()
    print(f"\n{named(engine)}, switched: {writers}")
    assert writers.errors.keys() <= {REFUSED, NOT_CONNECTED}
    writers.assert_stored(servers.ask_replica)


def test_writers_leave_a_primary_that_became_a_replica() -> None:
    """Its connections are lost; those that are made until the address is the other's stay."""
    with failover.restarted_postgresql() as servers, engine_on(servers) as engine:
        writers = Writers(engine)
        with writers.at_work():
            writers.go_on()
            servers.make_read_only()
            while not writers.errors[REFUSED]:
                time.sleep(0.01)
            servers.promote()
            writers.go_on()
        print(f"\n{named(engine)}, started again: {writers}")
        assert writers.errors.keys() <= {REFUSED, NOT_CONNECTED, UNKNOWN}
        writers.assert_stored(servers.ask_replica)


@pytest.mark.parametrize(
    "name", ["add_session", "set_password_hash", "set_password_reset", "create_role"]
)
def test_one_write_leaves_a_pool_of_connections_to_the_old_primary(
    stale_engines: Iterator[Engine], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At its second try, without an error. Until then the old primary answers what is read."""
    caplog.set_level(logging.INFO, "userharbor_sqlalchemy")
    store = SQLAlchemyUserStore(sessionmaker(next(stale_engines)))
    assert store.get_user_by_username("joe") is None
    getattr(store, name)(*WRITES[name])
    assert store.get_user_by_username("joe") is not None
    tries = [each.getMessage() for each in caplog.records if each.name == "userharbor_sqlalchemy"]
    assert len(tries) == 1
    assert "trying again, attempt 2" in tries[0]


def test_a_block_on_the_old_primary_is_refused_and_the_next_one_is_not(
    stale_engines: Iterator[Engine],
) -> None:
    """Only the caller knows what else the block did, so it is not tried again."""
    store = SQLAlchemyUserStore(sessionmaker(next(stale_engines)))
    with pytest.raises(DBAPIError) as raised, store.transaction():
        store.add_session(new_token("in a block"))
    assert is_refusal(raised.value)
    with store.transaction():
        store.add_session(new_token("in a block"))
    assert store.get_session("in a block") is not None


@pytest.mark.parametrize("server", ["mariadb", "mysql"])
def test_a_commit_that_became_read_only_has_no_effect(server: str) -> None:
    """It is refused, which PostgreSQL does not do: a block raises, a call is tried again."""
    with SERVERS[server]() as servers, engine_on(servers) as engine:
        store = SQLAlchemyUserStore(sessionmaker(engine))
        store.create_user(new_user())
        with pytest.raises(DBAPIError) as raised, store.transaction():
            store.add_session(new_token("in a block"))
            servers.make_read_only()
        assert is_refusal(raised.value)

        servers.ask_primary("SET GLOBAL read_only = 0")

        @event.listens_for(engine, "commit", once=True)
        def switch(connection: Connection) -> None:
            servers.make_read_only()
            servers.promote()

        store.add_session(new_token("by itself"))
        stored = "SELECT token_hash FROM userharbor_sessions"
        assert servers.ask_primary(stored) == []
        assert servers.ask_replica(stored) == [{"token_hash": "by itself"}]
