"""The core's own suite for stores, over each shape of user table that an application may have."""

import pytest
from userharbor.testing.user_store_contract import *

from userharbor_sqlalchemy import SQLAlchemyUserStore, User


@pytest.fixture
def user_store(model_store: SQLAlchemyUserStore[User]) -> SQLAlchemyUserStore[User]:
    return model_store
