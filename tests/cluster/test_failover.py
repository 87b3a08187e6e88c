"""A primary that fails, or is replaced: writers go on at the one that takes its place.

`pytest -s` prints the figures of docs/operations.md.
"""

import gc
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from userharbor_sqlalchemy import metadata

from . import failover
from .failover import Failover
from .writers import NOT_CONNECTED, REFUSED, UNKNOWN, Writers

pytestmark = [
    pytest.mark.cluster,
    # Of a pool that is given up, the connections that threads have are left to the collector.
    pytest.mark.filterwarnings("ignore:.* was deleted while still open:ResourceWarning"),
]


@pytest.fixture(params=["psycopg", "psycopg2", "pymysql"])
def servers(request: pytest.FixtureRequest) -> Iterator[Failover]:
    run = failover.mariadb if request.param == "pymysql" else failover.postgresql
    with run(request.param) as servers:
        yield servers


@pytest.fixture
def engine(servers: Failover) -> Iterator[Engine]:
    """One that has no more connections than its pool keeps; the built-in tables are there."""
    engine = create_engine(servers.url, pool_size=8, max_overflow=0)
    metadata.create_all(engine)
    yield engine
    engine.dispose()
    gc.collect()


def test_a_killed_primary_loses_no_acknowledged_write(servers: Failover, engine: Engine) -> None:
    """Each call that was under way has an unknown outcome; the next ones go to the other."""
    writers = Writers(engine)
    with writers.at_work():
        writers.go_on()
        servers.kill()
        servers.promote()
        writers.go_on()
    print(f"\n{engine.driver}, killed: {writers}")
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
    print(f"\n{engine.driver}, switched: {writers}")
    assert writers.errors.keys() <= {REFUSED, NOT_CONNECTED}
    writers.assert_stored(servers.ask_replica)
