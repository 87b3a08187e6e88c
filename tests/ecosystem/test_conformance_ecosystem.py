"""The core's own suite for stores, over a user model of each library."""

from collections.abc import Iterator

import pytest
from userharbor.testing.user_store_contract import *

from ecosystem.stores import STORES, Store
from support.databases import Database

# A new database for each test takes its time on a server.
pytestmark = pytest.mark.backends("sqlite")


@pytest.fixture(params=STORES, ids=lambda it: it.__name__)
def user_store(request: pytest.FixtureRequest, fresh: Database) -> Iterator[Store]:
    with request.param(fresh.main, None) as store:
        yield store
