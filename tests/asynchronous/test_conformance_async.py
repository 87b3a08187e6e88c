"""The core's own suite on async engines: each test runs in a thread, and in a greenlet."""

from functools import partial
from typing import Any

import pytest
from userharbor.testing.user_store_contract import *

from asynchronous.conftest import WAYS, Loop
from userharbor_sqlalchemy import SQLAlchemyUserStore, User


@pytest.fixture(params=WAYS.values(), ids=list(WAYS), autouse=True)
def calling(request: pytest.FixtureRequest, loop: Loop, store: SQLAlchemyUserStore[User]) -> None:
    """Have the test itself called that way, since the suite is one of plain functions."""
    item: Any = request.node
    test, way = item.obj, request.param

    def there(**arguments: Any) -> None:
        loop.run(way(store, partial(test, **arguments)))

    item.obj = there
