"""A store on a user model of the application's, its tables, and users beside the store's."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import MetaData, Table
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.models import Model
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

# The built-in tables stay in the database under the tests; these go with each test.
PREFIX = "own_"


@contextmanager
def created(db: Database, metadata: MetaData) -> Iterator[None]:
    metadata.drop_all(db.main)
    metadata.create_all(db.main)
    try:
        yield
    finally:
        metadata.drop_all(db.main)


def store_on(db: Database, model: Model, table_prefix: str = PREFIX) -> SQLAlchemyUserStore[User]:
    return SQLAlchemyUserStore(sessionmaker(db.main), user_model=model, table_prefix=table_prefix)


def add_users(db: Database, table: Table, *names: str) -> None:
    with db.main.begin() as connection:
        connection.execute(
            table.insert(),
            [
                {
                    "username": name,
                    "email": f"{name}@x.org",
                    "password_hash": "x",
                    "verified": True,
                }
                for name in names
            ],
        )
