"""Fixtures of several servers at once. One that is not installed fails its tests."""

from collections.abc import Iterator

import pytest
from racing import Store
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker

from userharbor_sqlalchemy import SQLAlchemyUserStore, metadata

from . import galera


@pytest.fixture(scope="session")
def nodes() -> Iterator[list[galera.Node]]:
    """A Galera cluster of three nodes."""
    with galera.cluster() as nodes:
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
