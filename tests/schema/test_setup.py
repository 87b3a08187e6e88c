"""Making a store: what the constructor does and does not, and where the tables stand."""

from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, MetaData, Row, event, inspect
from sqlalchemy.orm import Session, sessionmaker
from userharbor.interfaces import UserLike

import userharbor_sqlalchemy
from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

Store = SQLAlchemyUserStore[User]

BUILT_IN = {
    "userharbor_users",
    "userharbor_email_verifications",
    "userharbor_sessions",
    "userharbor_password_resets",
    "userharbor_roles",
    "userharbor_permissions",
    "userharbor_user_roles",
    "userharbor_role_permissions",
}


def works(store: SQLAlchemyUserStore[User]) -> bool:
    """Whether an account can be made, and used, and taken away again."""
    store.create_user(new_user())
    store.create_role("admin")
    store.grant_role_to_user("jane", "admin")
    store.add_session(new_token("s"))
    store.set_password_reset(new_token("r"))
    session = store.get_session("s")
    found = store.get_user_by_username("JANE")
    store.delete_role("admin")
    store.delete_user("jane")
    return session == new_token("s") and found == User("jane", "jane@example.org", False)


def test_importing_is_enough_for_the_shared_metadata() -> None:
    """Alembic's env.py imports it and makes no store."""
    assert set(metadata.tables) == BUILT_IN
    assert set(userharbor_sqlalchemy.__all__) == {
        "Finding",
        "Purged",
        "SQLAlchemyUserStore",
        "User",
        "metadata",
        "register_user_model",
    }


def test_the_constructor_sends_no_sql_and_does_not_call_the_factory() -> None:
    """An application may make its store before there is a database."""

    def factory() -> Session:
        raise AssertionError("called")

    store = SQLAlchemyUserStore(factory)
    assert store.metadata is metadata


def test_two_stores_on_one_metadata_share_the_tables(db: Database) -> None:
    """What one stores the other finds."""
    factory = sessionmaker(db.main)
    one, two = SQLAlchemyUserStore(factory), SQLAlchemyUserStore(factory)
    one.create_user(new_user())
    assert two.get_user_by_username("jane") == User("jane", "jane@example.org", False)
    assert set(metadata.tables) == BUILT_IN


def test_tables_with_another_prefix_stand_beside_the_default_ones(
    store: Store, db: Database
) -> None:
    """Two sets of accounts in one database, each to itself."""
    other = SQLAlchemyUserStore(sessionmaker(db.main), metadata=MetaData(), table_prefix="staff_")
    other.metadata.create_all(db.main)
    try:
        assert works(other)
        other.create_user(new_user("boss"))
        assert store.get_user_by_username("boss") is None
        assert db.read("SELECT username FROM staff_users") == [("boss",)]
        assert works(store)
    finally:
        other.metadata.drop_all(db.main)


def test_one_metadata_holds_tables_of_two_prefixes() -> None:
    """And the same prefix again defines nothing twice."""
    own = MetaData()
    for prefix in ("userharbor_", "staff_", "staff_"):
        SQLAlchemyUserStore(sessionmaker(), metadata=own, table_prefix=prefix)
    assert set(own.tables) == BUILT_IN | {
        name.replace("userharbor_", "staff_") for name in BUILT_IN
    }


def test_the_tables_follow_the_applications_naming_convention(db: Database) -> None:
    """Constraints and indexes are named as the application's own are."""
    own = MetaData(
        naming_convention={
            "ix": "idx__%(table_name)s__%(column_0_name)s",
            "pk": "pk__%(table_name)s",
            "fk": "fk__%(table_name)s__%(column_0_name)s",
        }
    )
    store = SQLAlchemyUserStore(sessionmaker(db.main), metadata=own, table_prefix="named_")
    own.create_all(db.main)
    try:
        assert works(store)
        names = {index["name"] for index in inspect(db.main).get_indexes("named_users")}
        assert "idx__named_users__email" in names
        (key,) = inspect(db.main).get_foreign_keys("named_sessions")
        assert key["name"] in ("fk__named_sessions__username", None)
    finally:
        own.drop_all(db.main)


@pytest.mark.backends("postgresql")
def test_the_tables_may_stand_in_a_schema(db: Database) -> None:
    """`metadata=MetaData(schema="auth")`, beside tables of the same name elsewhere."""
    store = SQLAlchemyUserStore(sessionmaker(db.main), metadata=MetaData(schema="auth"))
    with db.main.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA auth")
    try:
        store.metadata.create_all(db.main)
        assert works(store)
        store.create_user(new_user())
        assert db.count("auth.userharbor_users") == 1
        assert db.count("public.userharbor_users") == 0
    finally:
        with db.main.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA auth CASCADE")


def test_lookups_return_what_the_mapper_makes_of_a_row(db: Database) -> None:
    """The mapper gets the row of the lookup, with the columns of `User`."""

    @dataclass
    class Public(User):
        label: str

    def to_public(row: Row[tuple[str, str, bool]]) -> Public:
        return Public(row.username, row.email, row.verified, f"{row.username} <{row.email}>")

    store = SQLAlchemyUserStore(sessionmaker(db.main), user_mapper=to_public)
    store.create_user(new_user())

    expected = Public("jane", "jane@example.org", False, "jane <jane@example.org>")
    assert store.get_user_by_username("Jane") == expected
    assert store.get_user_by_email("jane@example.org") == expected
    assert store.get_user_by_username("ghost") is None


def test_user_has_the_three_attributes_of_the_protocol() -> None:
    """And applications may extend it."""
    user: UserLike = User("jane", "jane@example.org", True)
    assert (user.username, user.email, user.verified) == ("jane", "jane@example.org", True)


def test_a_lookup_without_a_mapper_selects_three_columns(store: Store, db: Database) -> None:
    """The password hash stays where it is."""
    statements: list[str] = []

    def note(*args: object) -> None:
        statements.append(str(args[2]))

    store.create_user(new_user())
    event.listen(db.main, "before_cursor_execute", note)
    try:
        store.get_user_by_username("jane")
        store.get_user_by_email("jane@example.org")
    finally:
        event.remove(db.main, "before_cursor_execute", note)
    assert len(statements) == 2
    assert all("password_hash" not in statement for statement in statements)


@pytest.mark.backends("postgresql")
def test_a_schema_translate_map_is_followed(db: Database) -> None:
    """The engine's own option decides where the tables are."""
    engine: Engine = db.main.execution_options(schema_translate_map={None: "tenant"})
    with db.main.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA tenant")
    try:
        metadata.create_all(engine)
        store = SQLAlchemyUserStore(sessionmaker(engine))
        assert works(store)
        store.create_user(new_user())
        assert db.count("tenant.userharbor_users") == 1
        assert db.count("public.userharbor_users") == 0
    finally:
        with db.main.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA tenant CASCADE")


def test_a_metadata_that_was_cleared_is_defined_anew() -> None:
    """Test suites clear theirs."""
    own = MetaData()
    SQLAlchemyUserStore(sessionmaker(), metadata=own)
    own.clear()
    assert len(SQLAlchemyUserStore(sessionmaker(), metadata=own).metadata.tables) == 8
