"""The core's own suite for stores, on tables that 0.7.0 made: as they are, and migrated."""

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import sessionmaker
from userharbor.testing.user_store_contract import *

from support.alembic_project import AlembicProject
from support.databases import Database, fresh_database
from support.old_databases import load
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata


@pytest.fixture(scope="module", params=["unmigrated", "migrated"])
def old(
    request: pytest.FixtureRequest, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp(request.param)
    with fresh_database(database, folder) as old, pytest.MonkeyPatch.context() as patch:
        load(old, "0.7.0")
        if request.param == "migrated":
            patch.chdir(folder)
            alembic = AlembicProject(old)
            alembic.use("built-in/env.py")
            alembic.add_indexes()
        yield old


@pytest.fixture
def user_store(old: Database) -> SQLAlchemyUserStore[User]:
    with old.main.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return SQLAlchemyUserStore(sessionmaker(old.main))
