"""The databases that old releases made (tests/data/make_old_databases.py), and what is in them."""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from sqlalchemy import NullPool, create_engine
from userharbor.interfaces import UserStore, UserToken

from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

DATA = Path(__file__).parents[1] / "data"
EXPIRES_AT = datetime(2030, 1, 1, 12, 0, 0, 123456)
SUPERSEDED = ("josé-superseded", "josé")
NEW = {
    "ix_userharbor_user_roles_role",
    "ix_userharbor_role_permissions_permission",
    "uq_userharbor_email_verifications_username",
    "uq_userharbor_password_resets_username",
}
"""The indexes that a table of 0.7.0 lacks."""


def load(database: Database, version: str, collation: str | None = None) -> None:
    """Fill an empty database with what the old release had stored.

    On MariaDB and MySQL the tables have the collation that the server gives them, or this one.
    """
    if database.backend == "sqlite":
        shutil.copy(DATA / f"userharbor-{version}.sqlite", str(database.url.database))
        return
    server = "mariadb" if database.backend == "mysql" else database.backend
    dump = (DATA / f"userharbor-{version}.{server}.sql").read_text(encoding="utf-8")
    dump = dump.replace(" COLLATE=utf8mb4_general_ci", f" COLLATE={collation}" if collation else "")
    with create_engine(database.url, poolclass=NullPool).begin() as connection:
        for statement in dump.rstrip(";\n").split(";\n"):
            connection.exec_driver_sql(statement)


def rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row, in the eyes of the raw reader, but for the column that 0.5 lacks."""
    found = {}
    for table in metadata.sorted_tables:
        columns = ", ".join(
            column.name for column in table.columns if column.name != "username_key"
        )
        found[table.name] = sorted(database.read(f"SELECT {columns} FROM {table.name}"))
    return found


def without_superseded(
    found: dict[str, list[tuple[Any, ...]]],
) -> dict[str, list[tuple[Any, ...]]]:
    """The rows that are left by the migration of docs/upgrading.md."""
    resets = found["userharbor_password_resets"]
    left = [row for row in resets if row[:2] != SUPERSEDED]
    assert len(left) == len(resets) - 1
    return found | {"userharbor_password_resets": left}


def use_every_method(store: SQLAlchemyUserStore[User], backend: str) -> None:
    """Call each method of the protocol on the rows that the old release stored."""
    # What MariaDB's DATETIME has dropped of a second is gone.
    expires_at = EXPIRES_AT.replace(microsecond=0) if backend == "mysql" else EXPIRES_AT
    spy: Any = Mock(wraps=store)
    _use_account(spy)
    _use_sessions(spy, expires_at)
    _use_single_tokens(spy, expires_at)
    _use_roles_and_permissions(spy)
    _delete(spy)
    protocol = {name for name in dir(UserStore) if not name.startswith("_")}
    assert {str(call[0]) for call in spy.method_calls} >= protocol


def _use_account(store: Any) -> None:
    assert store.get_user_by_username("STRASSE") == User("Straße", "Straße@Example.org", True)
    assert store.get_user_by_username("JOSÉ").username == "josé"
    assert store.get_user_by_username("jose") is None
    assert store.get_user_by_email("Jane@Example.org") == User("Jane", "Jane@Example.org", True)
    assert store.get_user_by_email("jose@Example.org") is None
    assert store.get_password_hash("jane") == "hash of Jane"
    store.set_password_hash("JANE", "new")
    assert store.get_password_hash("Jane") == "new"
    assert not store.get_user_by_username("joe").verified
    store.set_user_verified("JOE")
    assert store.get_user_by_username("joe").verified
    with store.transaction():
        store.create_user(new_user("Zoë"))
    assert store.get_user_by_username("ZOË").username == "Zoë"


def _use_sessions(store: Any, expires_at: datetime) -> None:
    assert store.get_session("Jane-session") == UserToken("Jane", "Jane-session", expires_at)
    assert store.get_session("Jane-naive").expires_at == datetime(2031, 1, 1)
    assert store.get_session("jane-session") is None
    store.refresh_session("Jane-session", datetime(2032, 1, 1))
    assert store.get_session("Jane-session").expires_at == datetime(2032, 1, 1)
    store.add_session(new_token("another", "jane"))
    store.remove_session("Jane-naive")
    assert store.get_session("Jane-naive") is None
    store.remove_all_sessions("JANE")
    assert store.get_session("Jane-session") is None
    assert store.get_session("another") is None
    assert store.get_session("Straße-session").username == "Straße"


def _use_single_tokens(store: Any, expires_at: datetime) -> None:
    verification = UserToken("Joe", "Joe-verification", expires_at)
    assert store.get_email_verification("Joe-verification") == verification
    store.set_email_verification(new_token("second", "JOE"))
    assert store.get_email_verification("Joe-verification") is None
    store.remove_email_verification("second")
    assert store.get_email_verification("second") is None

    with store.transaction():
        reset = UserToken("Jane", "Jane-reset", expires_at)
        assert store.get_password_reset("Jane-reset") == reset
        store.remove_password_reset("Jane-reset")
    assert store.get_password_reset("Jane-reset") is None
    store.set_password_reset(new_token("third", "jane"))
    assert store.get_password_reset("third").username == "Jane"
    store.remove_password_reset_for_user("JANE")
    assert store.get_password_reset("third") is None


def _use_roles_and_permissions(store: Any) -> None:
    assert store.list_roles() == {"admin", "Gäste"}
    assert store.role_exists("Gäste")
    assert not store.role_exists("gaste")
    assert store.list_permissions() == {"articles.read", "articles.write"}
    assert store.permission_exists("articles.read")
    assert store.get_user_roles("JANE") == {"admin", "Gäste"}
    assert store.get_role_permissions("admin") == {"articles.read", "articles.write"}
    assert store.get_user_permissions("STRASSE") == {"articles.read"}

    store.create_role("editor")
    store.create_permission("articles.delete")
    store.grant_role_to_user("STRASSE", "editor")
    store.grant_permission_to_role("editor", "articles.delete")
    assert store.get_user_permissions("Straße") == {"articles.read", "articles.delete"}
    store.revoke_permission_from_role("editor", "articles.delete")
    store.revoke_role_from_user("strasse", "Gäste")
    assert store.get_user_permissions("Straße") == set()


def _delete(store: Any) -> None:
    store.delete_permission("articles.write")
    assert store.get_role_permissions("admin") == {"articles.read"}
    store.delete_role("admin")
    assert store.get_user_roles("Jane") == {"Gäste"}
    store.delete_user("JANE")
    assert store.get_user_by_username("Jane") is None
    assert store.get_user_by_email("Jane@Example.org") is None
