"""Keys of usernames: users whom the application added, and names that collide."""

import tracemalloc

import pytest
from sqlalchemy import MetaData, inspect
from sqlalchemy.exc import IntegrityError

from support.databases import Database
from support.model_stores import add_users, created, store_on
from support.models import user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import User


def test_users_of_the_application_are_found_by_name_and_after_a_sync_in_any_casing(
    db: Database,
) -> None:
    """And a name that was taken in is not to be taken again."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_bin")
    store = store_on(db, table)
    with created(db, store.metadata):
        add_users(db, table, "Jane", "Straße")
        assert store.get_user_by_username("Jane") is not None
        assert store.get_user_by_username("Straße") is not None
        assert store.get_user_by_username("STRASSE") is None
        store.add_session(new_token("s", "Straße"))
        store.set_password_hash("Straße", "new")
        store.set_password_reset(new_token("r", "Straße"))

        assert store.sync_username_keys() == 2
        assert store.sync_username_keys() == 0
        assert store.get_user_by_username("STRASSE") is not None
        assert store.get_password_hash("STRASSE") == "new"
        with pytest.raises(IntegrityError, match="Username already exists"):
            store.create_user(new_user("JANE"))
        store.delete_user("STRASSE")
        assert db.read("SELECT username FROM own_username_keys") == [("Jane",)]
        assert db.count("own_sessions") == 0
        store.create_user(new_user("strasse"))


def test_create_all_takes_in_the_users_who_are_there(db: Database) -> None:
    """Where it makes the table of keys beside an old table of users."""
    table = user_table("app_users", MetaData())
    with created(db, table.metadata):
        add_users(db, table, *(f"User{number}" for number in range(2500)))
        store = store_on(db, table)
        store.metadata.create_all(db.main)
        assert db.count("own_username_keys") == 2500
        assert store.get_user_by_username("USER1234") is not None
        assert store.sync_username_keys() == 0
        store.metadata.drop_all(db.main)


def test_names_that_collide_are_listed_and_nothing_is_written(db: Database) -> None:
    """By the sync, and by `create_all()`, which does not pass at the second time either."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_bin")
    with created(db, table.metadata):
        add_users(db, table, "Bob", "alice", "bob", "zoe")
        store = store_on(db, table)
        for _ in range(2):
            with pytest.raises(ValueError, match="differ in casing only") as raised:
                store.metadata.create_all(db.main)
            assert "'Bob'" in str(raised.value)
            assert "'bob'" in str(raised.value)
            assert not inspect(db.main).has_table("own_username_keys")

        with db.main.begin() as connection:
            connection.execute(table.delete().where(table.c.username == "bob"))
        store.metadata.create_all(db.main)
        add_users(db, table, "BOB", "yann")
        with pytest.raises(ValueError, match="'Bob' and 'BOB'"):
            store.sync_username_keys()
        assert db.count("own_username_keys") == 3
        assert db.count("app_users") == 5
        store.metadata.drop_all(db.main)


def test_a_user_of_exactly_this_name_is_it_whoever_has_the_key(db: Database) -> None:
    """With the key first, what was meant for the application's "Jane" went to who took "jane"."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_bin")
    store = store_on(db, table)
    with created(db, store.metadata):
        add_users(db, table, "Jane")
        store.create_user(new_user("jane"))
        store.create_role("admin")
        store.grant_role_to_user("Jane", "admin")
        store.set_password_hash("Jane", "new")
        store.set_password_reset(new_token("r", "Jane"))

        assert store.get_user_roles("jane") == set()
        assert store.get_password_hash("jane") == "jane-password-hash"
        reset = store.get_password_reset("r")
        assert reset is not None
        assert reset.username == "Jane"
        user = store.get_user_by_username("Jane")
        assert user is not None
        assert user.email == "Jane@x.org"
        with pytest.raises(ValueError, match="differ in casing only"):
            store.sync_username_keys()
        store.delete_user("Jane")
        assert store.get_user_by_username("JANE") == User("jane", "jane@example.org", False)


def test_a_user_whom_the_application_deleted_leaves_the_name_free(db: Database) -> None:
    """Also on SQLite, where the key stays behind."""
    table = user_table("app_users", MetaData())
    store = store_on(db, table)
    with created(db, store.metadata):
        for name in ("Jane", "Joe"):
            store.create_user(new_user(name))
            with db.main.begin() as connection:
                connection.execute(table.delete())
        store.create_user(new_user("jane", verification_token_hash="other"))
        assert store.get_user_by_username("JANE") is not None
        add_users(db, table, "joe")
        assert store.get_user_by_username("joe") is not None
        assert store.sync_username_keys() == 1


@pytest.mark.backends("mysql")
def test_a_name_that_the_applications_collation_folds_is_taken(db: Database) -> None:
    """It is told so by the core's error, where the database takes two names for one."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_unicode_ci")
    store = store_on(db, table)
    with created(db, store.metadata):
        add_users(db, table, "jose", "Jane")
        for name in ("josé", "jane"):
            with pytest.raises(IntegrityError, match="Username already exists"):
                store.create_user(new_user(name, email=f"other-{name}"))


def test_many_users_are_taken_in(db: Database) -> None:
    """In little memory, and later ones when asked to."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_bin")
    with created(db, table.metadata):
        add_users(db, table, *(f"User{number}" for number in range(30_000)))
        store = store_on(db, table)
        if db.backend == "sqlite":  # measuring takes its time, and is of Python alone
            tracemalloc.start()
        store.metadata.create_all(db.main)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_000_000, "the names alone would take more"
        assert db.count("own_username_keys") == 30_000

        added = store_on(db, table)
        add_users(db, table, "Late")
        assert added.sync_username_keys() == 1
        with pytest.raises(IntegrityError, match="Username already exists"):
            added.create_user(new_user("uSER500"))
        store.metadata.drop_all(db.main)


WRONG = {
    "of no name": {"Jane": "something"},
    "of another name": {"Janet": "jane"},
    "of each other": {"Jane": "joe", "Joe": "jane"},
    "of one who has none": {"Janet": "jane", "Jane": None},
    "in the wrong casing": {"Straße": "straße"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_a_sync_corrects_a_key_that_is_wrong(wrong: dict[str, str | None], db: Database) -> None:
    """As `check()` says that it does: of a user whom the application renamed, say."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_bin")
    store = store_on(db, table)
    with created(db, store.metadata):
        add_users(db, table, *wrong)
        rows = [{"username": name, "username_key": key} for name, key in wrong.items() if key]
        with db.main.begin() as connection:
            connection.execute(store.metadata.tables["own_username_keys"].insert(), rows)
        assert "key-missing" in {finding.code for finding in store.check()}
        assert store.sync_username_keys() == len(wrong)
        assert "key-missing" not in {finding.code for finding in store.check()}
        for name in wrong:
            found = store.get_user_by_username(name.upper())
            assert found is not None
            assert found.username == name
        assert store.sync_username_keys() == 0


def test_keys_stay_wrong_where_names_collide(db: Database) -> None:
    """All or nothing."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_bin")
    store = store_on(db, table)
    with created(db, store.metadata):
        add_users(db, table, "Jane", "JANE", "Joe")
        keys = store.metadata.tables["own_username_keys"]
        with db.main.begin() as connection:
            connection.execute(keys.insert().values(username="Joe", username_key="wrong"))
        with pytest.raises(ValueError, match="differ in casing only"):
            store.sync_username_keys()
        assert db.read("SELECT username_key FROM own_username_keys") == [("wrong",)]
