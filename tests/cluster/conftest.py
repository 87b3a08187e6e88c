"""Fixtures of several servers at once. One that is not installed fails its tests."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.orm import sessionmaker

from support.racing import Store
from support.servers import unpacked
from userharbor_sqlalchemy import SQLAlchemyUserStore, metadata

from . import galera, postgres


@pytest.fixture(scope="session", params=["installed", "galera118"])
def nodes(request: pytest.FixtureRequest) -> Iterator[list[galera.Node]]:
    """A Galera cluster of three nodes, of the MariaDB that is installed and of 11.8."""
    programs = None if request.param == "installed" else unpacked(request.param)
    with galera.cluster(programs) as nodes:
        yield nodes


@pytest.fixture
def engines(nodes: list[galera.Node]) -> Iterator[list[Engine]]:
    """An engine a node; the built-in tables are there, and empty."""
    engines = [galera.engine(node) for node in nodes]
    metadata.drop_all(engines[0])
    metadata.create_all(engines[0])
    yield engines
    for engine in engines:
        engine.dispose()


@pytest.fixture
def stores(engines: list[Engine]) -> list[Store]:
    """A store a node."""
    return [SQLAlchemyUserStore(sessionmaker(engine)) for engine in engines]


@pytest.fixture(scope="session")
def pair() -> Iterator[postgres.Pair]:
    """A PostgreSQL primary and its replica, with the built-in tables."""
    with postgres.streaming() as pair:
        engine = create_engine(pair.primary)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE EXTENSION {postgres.STATISTICS}")
            metadata.create_all(connection)
        engine.dispose()
        yield pair


@pytest.fixture(scope="session")
def bouncer(pair: postgres.Pair) -> Iterator[URL]:
    """A PgBouncer before the primary."""
    with postgres.pgbouncer(pair.primary) as url:
        yield url


@pytest.fixture(params=["psycopg", "psycopg2"])
def pooled(request: pytest.FixtureRequest, bouncer: URL) -> Iterator[Engine]:
    """An engine on PgBouncer; the built-in tables are empty."""
    url = bouncer.set(drivername=f"postgresql+{request.param}")
    arguments = {"prepare_threshold": None} if request.param == "psycopg" else {}
    engine = create_engine(url, connect_args=arguments, pool_size=8)
    postgres.empty(engine)
    yield engine
    engine.dispose()
