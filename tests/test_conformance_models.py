"""The core's own suite for stores, over each shape of user table that an application may have."""

from collections.abc import Iterator

import pytest
from databases import Database
from sqlalchemy.orm import sessionmaker
from user_models import SHAPES, Model, metadata_of
from userharbor.testing.user_store_contract import *

from userharbor_sqlalchemy import SQLAlchemyUserStore, User


@pytest.fixture(scope="module", params=list(SHAPES))
def model(request: pytest.FixtureRequest, database: Database) -> Iterator[Model]:
    model = SHAPES[request.param]()
    store = SQLAlchemyUserStore(sessionmaker(), user_model=model, table_prefix=f"{request.param}_")
    store.metadata.drop_all(database.main)
    store.metadata.create_all(database.main)
    yield model
    store.metadata.drop_all(database.main)


@pytest.fixture
def user_store(
    request: pytest.FixtureRequest, model: Model, db: Database
) -> SQLAlchemyUserStore[User]:
    prefix = f"{request.node.callspec.params['model']}_"
    with db.main.begin() as connection:
        for table in reversed(metadata_of(model).sorted_tables):
            connection.execute(table.delete())
    return SQLAlchemyUserStore(sessionmaker(db.main), user_model=model, table_prefix=prefix)
