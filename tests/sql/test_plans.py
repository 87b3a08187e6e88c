"""Every statement finds its rows by an index, with 100,000 rows in each table."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import MetaData, inspect
from sqlalchemy.orm import Session, sessionmaker
from userharbor.exceptions import UserHarborError

from support.bulk import filled
from support.calls import CALLS
from support.databases import Database
from support.models import documented
from support.plans import explained
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

Store = SQLAlchemyUserStore[User]

REFUSED: list[Callable[[Store], object]] = [
    lambda store: store.create_user(new_user("user100001")),
    lambda store: store.create_user(new_user("New", email="user100001@example.org")),
    lambda store: store.create_user(new_user("New", verification_token_hash="user100001")),
    lambda store: store.add_session(new_token("user100001", "user100002")),
    lambda store: store.set_password_reset(new_token("user100001", "user100002")),
    lambda store: store.create_role("user100001"),
    lambda store: store.create_permission("user100001"),
    lambda store: store.grant_role_to_user("user100001", "user100001"),
    lambda store: store.grant_role_to_user("user100001", "nobody's"),
    lambda store: store.grant_role_to_user("nobody", "user100001"),
    lambda store: store.grant_permission_to_role("user100001", "user100001"),
    lambda store: store.grant_permission_to_role("user100001", "nobody's"),
    lambda store: store.grant_permission_to_role("nobody's", "user100001"),
]


BESIDE_THE_PROTOCOL: list[Callable[[Store], object]] = [
    lambda store: store.list_sessions("user100001"),
    lambda store: store.remove_other_sessions("user100001", "user100001"),
    lambda store: next(store.iter_users(after="user100001", page_size=10)),
    lambda store: next(store.get_users_with_role("user100001")),
    lambda store: next(store.get_users_with_permission("user100001")),
    lambda store: store.set_email("user100001", "another@example.org"),
    lambda store: store.export_user("user100001"),
    lambda store: store.rename_user("user100003", "user100003-anew"),
    lambda store: store.rename_user("user100003-anew", "user100003"),
]


def call_all(store: Store) -> None:
    for method, call in CALLS:
        if method not in ("list_roles", "list_permissions"):  # they are about all rows
            call(store, "jane")
    for call_beside in BESIDE_THE_PROTOCOL:
        call_beside(store)
    for refused in REFUSED:
        with suppress(UserHarborError, KeyError):
            refused(store)


def built_in(sessions: sessionmaker[Session]) -> Store:
    return SQLAlchemyUserStore(sessions, metadata=MetaData(), table_prefix="planned_")


def own_model(sessions: sessionmaker[Session]) -> Store:
    return SQLAlchemyUserStore(sessions, documented(), table_prefix="planned_")


@pytest.mark.parametrize("make", [built_in, own_model])
def test_no_statement_reads_a_table_from_end_to_end(
    db: Database, make: Callable[[sessionmaker[Session]], Store]
) -> None:
    """Of no method, alone and in a block, also where it looks for what stood in its way."""
    engine = db.engine()
    store = make(sessionmaker(engine))
    with filled(engine, store.metadata.sorted_tables, 100_000):
        with explained(engine) as plans:
            # On PostgreSQL, keys that have a table of their own have no index for that.
            if make is built_in or db.backend != "postgresql":
                assert next(store.iter_users(prefix="USER1000", page_size=10))
            call_all(store)
            with store.transaction():
                call_all(store)
        assert len(plans.explained) > 40
        assert plans.scans == []


def test_an_index_begins_with_each_foreign_key(db: Database) -> None:
    """By it the database itself finds what goes with a user or a role, which no plan shows."""
    database = inspect(db.main)
    for table in metadata.tables:
        first: set[str | None] = {database.get_pk_constraint(table)["constrained_columns"][0]}
        first |= {index["column_names"][0] for index in database.get_indexes(table)}
        for reference in database.get_foreign_keys(table):
            assert reference["constrained_columns"][0] in first, table
