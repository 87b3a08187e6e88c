"""What each write leaves in the tables, in the eyes of a second, raw connection."""

from datetime import datetime

import pytest
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

TOKEN_TABLES = ["email_verifications", "sessions", "password_resets"]


def tokens(db: Database, table: str) -> list[tuple[str, str]]:
    return sorted(db.read(f"SELECT token_hash, username FROM userharbor_{table}"))


def test_create_user_stores_texts_as_given_and_the_folded_name(store: Store, db: Database) -> None:
    """The spelling is kept; the key beside it is the casefolded one."""
    store.create_user(new_user("Straße", email="Jane@Example.org"))

    (row,) = db.read(
        "SELECT username, username_key, email, password_hash, verified FROM userharbor_users"
    )
    assert row[:4] == ("Straße", "strasse", "Jane@Example.org", "Straße-password-hash")
    assert not row[4]
    assert tokens(db, "email_verifications") == [("Straße-verification", "Straße")]


def test_verification_and_password_are_updated_in_place(store: Store, db: Database) -> None:
    """Only the one user's row changes."""
    for name in ("jane", "joe"):
        store.create_user(new_user(name))

    store.set_user_verified("JANE")
    store.set_password_hash("JANE", "new")

    rows = db.read("SELECT username, password_hash, verified FROM userharbor_users")
    assert sorted((name, password, bool(verified)) for name, password, verified in rows) == [
        ("jane", "new", True),
        ("joe", "joe-password-hash", False),
    ]


def test_delete_user_leaves_no_row_of_the_user_in_any_table(store: Store, db: Database) -> None:
    """Also on SQLite, where foreign keys are off unless the application turns them on."""
    store.create_role("admin")
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
        store.add_session(new_token(f"{name}-session", name))
        store.set_password_reset(new_token(f"{name}-reset", name))
        store.grant_role_to_user(name, "admin")

    store.delete_user("Jane")

    for table in ("users", *TOKEN_TABLES, "user_roles"):
        assert db.read(f"SELECT username FROM userharbor_{table}") == [("joe",)]


def test_sessions_are_added_refreshed_and_removed(store: Store, db: Database) -> None:
    """A session stands beside the others of its user."""
    store.create_user(new_user("Jane"))
    store.add_session(new_token("a", "JANE"))
    store.add_session(new_token("b", "jane"))
    store.add_session(new_token("c", "jane"))
    assert tokens(db, "sessions") == [("a", "Jane"), ("b", "Jane"), ("c", "Jane")]

    store.remove_session("b")
    store.refresh_session("a", datetime(2031, 1, 1))

    assert tokens(db, "sessions") == [("a", "Jane"), ("c", "Jane")]
    store.remove_all_sessions("jANE")
    assert tokens(db, "sessions") == []


@pytest.mark.parametrize("kind", ["email_verification", "password_reset"])
def test_one_token_of_a_kind_is_left_of_a_user(store: Store, db: Database, kind: str) -> None:
    """The new one replaces the old one, and nobody else's."""
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
        getattr(store, f"set_{kind}")(new_token(f"{name}-1", name))

    getattr(store, f"set_{kind}")(new_token("jane-2", "JANE"))
    assert tokens(db, f"userharbor_{kind}s".removeprefix("userharbor_")) == [
        ("jane-2", "jane"),
        ("joe-1", "joe"),
    ]

    getattr(store, f"set_{kind}")(new_token("jane-2", "jane", datetime(2031, 1, 1)))
    assert getattr(store, f"get_{kind}")("jane-2").expires_at == datetime(2031, 1, 1)


@pytest.mark.parametrize("kind", ["email_verification", "password_reset"])
def test_superseded_tokens_of_an_old_table_are_replaced_by_one(fresh: Database, kind: str) -> None:
    """The tables of 0.7.0 have no unique index; several live tokens may stand there."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    table = f"userharbor_{kind}s"
    with fresh.main.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {table}")
        on = f" ON {table}" if fresh.backend == "mysql" else ""
        connection.exec_driver_sql(f"DROP INDEX uq_{table}_username{on}")
        for token_hash in "abc":
            connection.exec_driver_sql(
                f"INSERT INTO {table} VALUES ('{token_hash}', 'jane', '2030-01-01 00:00:00')"
            )
    getattr(store, f"set_{kind}")(new_token("b"))
    assert tokens(fresh, f"{kind}s") == [("b", "jane")]


def test_roles_and_permissions_are_stored_granted_and_removed(store: Store, db: Database) -> None:
    """Granting twice stores one row; deleting a name takes its grants along."""
    store.create_user(new_user("Jane"))
    store.create_role("admin")
    store.create_role("guest")
    store.create_permission("users.read")
    for _ in range(2):
        store.grant_role_to_user("JANE", "admin")
        store.grant_permission_to_role("admin", "users.read")
    store.grant_permission_to_role("guest", "users.read")
    assert db.read("SELECT username, role FROM userharbor_user_roles") == [("Jane", "admin")]
    assert sorted(db.read("SELECT role, permission FROM userharbor_role_permissions")) == [
        ("admin", "users.read"),
        ("guest", "users.read"),
    ]

    store.delete_role("admin")
    assert db.read("SELECT role FROM userharbor_roles") == [("guest",)]
    assert db.count("userharbor_user_roles") == 0
    assert db.count("userharbor_role_permissions") == 1

    store.delete_permission("users.read")
    assert db.count("userharbor_permissions") == 0
    assert db.count("userharbor_role_permissions") == 0


def test_deleting_names_a_role_that_only_sqlite_could_leave_behind(
    store: Store, db: Database
) -> None:
    """A role made anew under a deleted one's name has nobody and nothing."""
    store.create_user(new_user())
    store.create_role("admin")
    store.create_permission("users.read")
    store.grant_role_to_user("jane", "admin")
    store.grant_permission_to_role("admin", "users.read")
    store.delete_role("admin")
    store.create_role("admin")

    assert store.get_user_roles("jane") == set()
    assert store.get_user_permissions("jane") == set()


def test_a_user_may_register_again_with_a_clean_slate(store: Store) -> None:
    """Nothing of the deleted account comes back under its name."""
    store.create_user(new_user())
    store.add_session(new_token("s"))
    store.delete_user("jane")
    store.create_user(new_user())

    assert store.get_session("s") is None
    verification = store.get_email_verification("jane-verification")
    assert verification is not None
    assert verification.expires_at == EXPIRES_AT
