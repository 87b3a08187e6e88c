"""The core's own suite for stores, through PgBouncer in transaction mode."""

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker
from userharbor.testing.user_store_contract import *

from userharbor_sqlalchemy import SQLAlchemyUserStore, User

pytestmark = pytest.mark.cluster


@pytest.fixture
def user_store(pooled: Engine) -> SQLAlchemyUserStore[User]:
    return SQLAlchemyUserStore(sessionmaker(pooled))
