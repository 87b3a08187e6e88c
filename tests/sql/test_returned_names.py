"""A name that comes back belongs to somebody else: nothing of the user before is handed on.

On SQLite as it comes, no foreign key takes the rows along of a user whom the application removes.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, event, text
from sqlalchemy.orm import sessionmaker
from sqlalchemy.schema import CreateTable
from userharbor.exceptions import UserHarborError

from support.databases import Database
from support.models import user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


def built_in() -> Table | None:
    return None


def without_key() -> Table | None:
    return user_table("members", MetaData())


def with_key() -> Table | None:
    key = Column("username_key", String(255), nullable=False, unique=True)
    return user_table("members", MetaData(), key)


def folding() -> Table | None:
    """On SQLite, its column takes `jane` for `Jane`, of which SQLAlchemy reflects nothing."""
    table = user_table("members", MetaData())
    nocase = "username VARCHAR(255) COLLATE NOCASE"
    table.info["ddl"] = str(CreateTable(table)).replace("username VARCHAR(255)", nocase)
    assert nocase in table.info["ddl"]
    return table


MODELS: list[Callable[[], Table | None]] = [built_in, without_key, with_key, folding]
models = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def users_of(store: Store) -> str:
    return next(name for name in store.metadata.tables if name in ("members", "userharbor_users"))


def referring(store: Store) -> list[Table]:
    """Each table that refers to a user, whichever they are by now."""
    users = store.metadata.tables[users_of(store)]
    return [
        table
        for table in store.metadata.sorted_tables
        if any(key.column.table is users for key in table.foreign_keys)
    ]


def store_on(fresh: Database, table: Table | None) -> Store:
    metadata = MetaData() if table is None else None
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table, metadata=metadata)
    if table is not None and "ddl" in table.info and fresh.backend == "sqlite":
        with fresh.main.begin() as connection:
            connection.exec_driver_sql(table.info["ddl"])
    store.metadata.create_all(fresh.main)
    return store


def store_with_jane(fresh: Database, table: Table | None) -> Store:
    """Jane, with a row in each table that refers to a user."""
    store = store_on(fresh, table)
    store.create_role("admin")
    store.create_user(new_user("Jane"))
    store.grant_role_to_user("Jane", "admin")
    store.add_session(new_token("old cookie", "Jane"))
    store.set_password_reset(new_token("old link", "Jane"))
    for each in referring(store):
        assert fresh.count(each.name) == 1, f"fill {each.name} here"
    return store


def remove(fresh: Database, store: Store) -> None:
    with fresh.main.begin() as connection:
        connection.execute(text(f"DELETE FROM {users_of(store)}"))


def rename(fresh: Database, store: Store, *, with_key: bool) -> None:
    table = store.metadata.tables[users_of(store)]
    key = ", username_key = 'janet'" if "username_key" in table.c and with_key else ""
    with fresh.main.begin() as connection:
        connection.execute(text(f"UPDATE {table.name} SET username = 'Janet'{key}"))


def assert_nothing_of_the_first(store: Store, fresh: Database, name: str) -> None:
    assert store.get_user_roles(name) == set()
    assert store.list_sessions(name) == []
    assert store.get_session("old cookie") is None
    assert store.get_password_reset("old link") is None
    assert store.get_email_verification(f"{name}-verification") is not None
    for table in referring(store):
        rows = [row for row in fresh.read(f"SELECT username FROM {table.name}") if row[0] == name]
        fresh_rows = 1 if table.name.endswith(("verifications", "username_keys")) else 0
        assert len(rows) == fresh_rows, table.name


@models
@pytest.mark.parametrize("name", ["Jane", "JANE", "jane"])
def test_a_name_registered_after_a_delete_has_nothing_of_the_user_before(
    fresh: Database, model: Callable[[], Table | None], name: str
) -> None:
    """In any casing, at once, and on each database."""
    store = store_with_jane(fresh, model())
    remove(fresh, store)
    store.create_user(new_user(name, email="stranger@example.org"))
    assert_nothing_of_the_first(store, fresh, name)


@models
@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("with_key", [True, False], ids=["with its key", "without its key"])
@pytest.mark.parametrize("name", ["Jane", "JANE", "jane"])
def test_a_name_registered_after_a_change_of_it_has_nothing_of_the_user_before(
    fresh: Database, model: Callable[[], Table | None], name: str, with_key: bool
) -> None:
    """Elsewhere the foreign keys refuse the change, or take the rows along."""
    store = store_with_jane(fresh, model())
    rename(fresh, store, with_key=with_key)
    store.create_user(new_user(name, email="stranger@example.org"))
    assert_nothing_of_the_first(store, fresh, name)


@pytest.mark.parametrize("model", [built_in, with_key], ids=lambda model: model.__name__)
@pytest.mark.parametrize("where", ["alone", "in a block"])
def test_a_key_that_was_left_at_a_change_of_name_is_made_that_of_the_new_name(
    fresh: Database, model: Callable[[], Table | None], where: str
) -> None:
    """On each database: whoever was renamed is found, and keeps what is theirs."""
    store = store_on(fresh, model())
    store.create_user(new_user("Jane"))
    store.remove_email_verification("Jane-verification")  # to which a foreign key would hold
    rename(fresh, store, with_key=False)
    with store.transaction() if where == "in a block" else nullcontext():
        store.create_user(new_user("jane", email="stranger@example.org"))
    assert store.get_password_hash("JANET") == "Jane-password-hash"
    assert store.get_password_hash("JANE") == "jane-password-hash"
    with pytest.raises(UserHarborError, match="Username already exists"):
        store.create_user(new_user("janet", email="another@example.org"))


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("model", [built_in, with_key], ids=lambda model: model.__name__)
def test_a_key_that_was_left_stays_where_the_new_name_is_taken(
    fresh: Database, model: Callable[[], Table | None]
) -> None:
    """Of two users whose names differ in casing only, the application must rename one."""
    store = store_on(fresh, model())
    for name in ("Jane", "JANET"):
        store.create_user(new_user(name))
        store.remove_email_verification(f"{name}-verification")
    with fresh.main.begin() as connection:
        users = users_of(store)
        connection.execute(text(f"UPDATE {users} SET username = 'Janet' WHERE username = 'Jane'"))
    with pytest.raises(UserHarborError, match="Username already exists"):
        store.create_user(new_user("jane", email="stranger@example.org"))


@models
@pytest.mark.backends("sqlite")
def test_a_token_whose_user_is_gone_is_nobodys(
    fresh: Database, model: Callable[[], Table | None]
) -> None:
    """Before anybody registers: the core would look for a user of that name, in any casing."""
    store = store_with_jane(fresh, model())
    verification = new_user("Jane").verification_token_hash
    remove(fresh, store)
    for get, token_hash in [
        (store.get_session, "old cookie"),
        (store.get_password_reset, "old link"),
        (store.get_email_verification, verification),
    ]:
        assert get(token_hash) is None
        with store.transaction():
            assert get(token_hash) is None


@models
@pytest.mark.backends("sqlite")
def test_a_user_who_never_verified_leaves_the_name_free(
    fresh: Database, model: Callable[[], Table | None]
) -> None:
    """The verification left behind was in the way for good."""
    store = store_on(fresh, model())
    for _ in range(3):
        store.create_user(new_user("Jane"))
        remove(fresh, store)


@models
@pytest.mark.backends("sqlite")
def test_a_refused_registration_removes_nothing(
    fresh: Database, model: Callable[[], Table | None]
) -> None:
    """Of the user who has the name, in any casing."""
    store = store_with_jane(fresh, model())
    for name in ("Jane", "JANE"):
        with pytest.raises(UserHarborError, match="already exists"):
            store.create_user(new_user(name, email="stranger@example.org"))
    assert store.get_user_roles("jane") == {"admin"}
    assert store.get_session("old cookie") is not None
    assert store.get_password_reset("old link") is not None


@models
@pytest.mark.backends("sqlite")
def test_check_reports_rows_whose_user_is_missing_and_its_remedy_removes_them(
    fresh: Database, model: Callable[[], Table | None]
) -> None:
    """The statement that it names, for each table that refers to a user."""
    engine = fresh.engine()

    @event.listens_for(engine, "connect")
    def enforce(connection: Any, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    store = store_with_jane(fresh, model())
    remove(fresh, store)
    enforcing = SQLAlchemyUserStore(
        sessionmaker(engine), model(), metadata=MetaData() if model is built_in else None
    )
    found = [finding for finding in enforcing.check() if finding.code == "user-missing"]
    assert {finding.table for finding in found} == {table.name for table in referring(store)}
    with fresh.main.begin() as connection:
        for finding in found:
            assert "1 row" in finding.message
            connection.execute(text(finding.message.partition("removed by: ")[2]))
    assert {finding.code for finding in enforcing.check()} <= {"folding-collation"}
    for table in referring(store):
        assert fresh.count(table.name) == 0


@pytest.mark.backends("sqlite")
def test_check_reports_a_connection_that_enforces_no_foreign_keys(fresh: Database) -> None:
    """SQLite as it comes; a listener turns them on."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.metadata.create_all(fresh.main)
    (found,) = (one for one in store.check() if one.table is None)
    assert (found.code, found.table) == ("foreign-keys-off", None)
    assert "PRAGMA foreign_keys = ON" in str(found)


@pytest.mark.parametrize("name", ["role", "permission"])
def test_a_role_or_permission_that_comes_back_is_granted_to_nobody(
    store: Store, db: Database, name: str
) -> None:
    """Nor does it count between the application's removing it and its coming back."""
    store.create_user(new_user())
    store.create_role("admin")
    store.create_permission("ban")
    store.grant_role_to_user("jane", "admin")
    store.grant_permission_to_role("admin", "ban")
    with db.main.begin() as connection:
        connection.execute(text(f"DELETE FROM userharbor_{name}s"))
    for _ in range(2):
        assert store.get_user_permissions("jane") == set()
        assert store.get_role_permissions("admin") == set()
        assert store.get_user_roles("jane") == (set() if name == "role" else {"admin"})
        getattr(store, f"create_{name}")({"role": "admin", "permission": "ban"}[name])
        with pytest.raises(UserHarborError, match="already exists"):
            getattr(store, f"create_{name}")({"role": "admin", "permission": "ban"}[name])
        with db.main.begin() as connection:
            connection.execute(text(f"DELETE FROM userharbor_{name}s"))


def test_a_refused_role_keeps_its_grants(store: Store) -> None:
    """What is there has left nothing behind."""
    store.create_user(new_user())
    store.create_role("admin")
    store.grant_role_to_user("jane", "admin")
    with pytest.raises(UserHarborError, match="already exists"):
        store.create_role("admin")
    assert store.get_user_roles("jane") == {"admin"}
