"""The core's own suite for stores, reading from a replica that each commit waits for."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from userharbor.testing.user_store_contract import *

from userharbor_sqlalchemy import SQLAlchemyUserStore, User

from .postgres import Pair, empty, routed

pytestmark = pytest.mark.cluster


@pytest.fixture
def user_store(pair: Pair) -> Iterator[SQLAlchemyUserStore[User]]:
    primary = create_engine(
        pair.primary, connect_args={"options": "-c synchronous_commit=remote_apply"}
    )
    replica = create_engine(pair.replica)
    empty(primary)
    yield SQLAlchemyUserStore(routed(primary, replica))
    primary.dispose()
    replica.dispose()
