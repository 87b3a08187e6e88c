"""Migrations that Alembic generates, with the files that docs/alembic.md shows."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, inspect
from sqlalchemy.orm import Session, sessionmaker

from support.alembic_project import AlembicProject
from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

Store = SQLAlchemyUserStore[User]
Sessions = sessionmaker[Session]


def built_in(sessions: Sessions) -> Store:
    return SQLAlchemyUserStore(sessions)


def own_model(sessions: Sessions) -> Store:
    return SQLAlchemyUserStore(sessions, user_model=import_module("models").AppUser)


def on_own_metadata(sessions: Sessions) -> Store:
    return SQLAlchemyUserStore(sessions, metadata=import_module("models").AppBase.metadata)


@dataclass(frozen=True)
class Application:
    """The files of docs/alembic.md that an application has, and the store that it makes."""

    files: tuple[str, ...]
    store: Callable[[Sessions], Store]
    schema: str | None = None

    def metadatas(self) -> set[MetaData]:
        """What the application would call `create_all()` on."""
        store = self.store(sessionmaker())
        own = [import_module("models").AppBase.metadata] if len(self.files) > 1 else []
        return {store.metadata, *own}


APPLICATIONS = {
    "built-in": Application(("built-in/env.py",), built_in),
    "own-model": Application(("own-model/env.py", "own-model/models.py"), own_model),
    "own-model-with-key": Application(
        ("own-model/env.py", "own-model-with-key/models.py"), own_model
    ),
    "naming-convention": Application(
        ("own-model/env.py", "naming-convention/models.py"), on_own_metadata
    ),
    "two-metadatas": Application(("two-metadatas/env.py", "two-metadatas/models.py"), built_in),
}
ON_SQLITE = {"batch": Application(("batch/env.py",), built_in)}
ON_POSTGRESQL = {
    "schema": Application(("schema/env.py", "schema/models.py"), on_own_metadata, "auth")
}


def of(applications: dict[str, Application]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("application", applications.values(), ids=list(applications))


def tables(db: Database, schema: str | None) -> set[str]:
    return set(inspect(db.main).get_table_names(schema)) - {"alembic_version"}


def there_and_back(alembic: AlembicProject, fresh: Database, application: Application) -> None:
    """Generate a migration, go up, use the store, go down."""
    alembic.use(*application.files)

    migration = alembic.revision("--autogenerate")
    imported = re.findall(r"^(?:from|import) (\S+)", migration.read_text(), re.MULTILINE)
    assert {name.partition(".")[0] for name in imported} <= {"typing", "alembic", "sqlalchemy"}
    assert "userharbor_sqlalchemy" not in migration.read_text()

    alembic.run("upgrade", "head")
    alembic.run("check")
    assert works(application.store(sessionmaker(fresh.main)))
    expected = {table.name for each in application.metadatas() for table in each.tables.values()}
    assert tables(fresh, application.schema) == expected

    if fresh.backend == "mysql":
        delete_drop_index(migration)
    alembic.run("downgrade", "base")
    assert tables(fresh, application.schema) == set()


def delete_drop_index(migration: Path) -> None:
    """What docs/alembic.md says of a downgrade on MariaDB and MySQL."""
    lines = migration.read_text().splitlines(keepends=True)
    migration.write_text("".join(line for line in lines if "op.drop_index(" not in line))


def works(store: Store) -> bool:
    """Whether each table takes rows, and finds them."""
    store.create_user(new_user("Straße"))
    store.add_session(new_token("session", "STRASSE"))
    store.set_password_reset(new_token("reset", "strasse"))
    store.create_role("admin")
    store.create_permission("users.read")
    store.grant_role_to_user("strasse", "admin")
    store.grant_permission_to_role("admin", "users.read")
    found: list[Any] = [
        store.get_user_by_username("STRASSE"),
        store.get_email_verification("Straße-verification"),
        store.get_session("session"),
        store.get_password_reset("reset"),
    ]
    return all(found) and store.get_user_permissions("Straße") == {"users.read"}


@of(APPLICATIONS)
def test_a_generated_migration_goes_up_and_down(
    alembic: AlembicProject, fresh: Database, application: Application
) -> None:
    """It imports SQLAlchemy only, leaves `alembic check` nothing to find, and nothing behind."""
    there_and_back(alembic, fresh, application)


@of(ON_SQLITE)
@pytest.mark.backends("sqlite")
def test_a_migration_in_batch_mode_goes_up_and_down(
    alembic: AlembicProject, fresh: Database, application: Application
) -> None:
    """The same with `render_as_batch`."""
    there_and_back(alembic, fresh, application)


@of(ON_POSTGRESQL)
@pytest.mark.backends("postgresql")
def test_a_migration_in_a_schema_goes_up_and_down(
    alembic: AlembicProject, fresh: Database, application: Application
) -> None:
    """Tables elsewhere, the store's own names among them, are none of its business."""
    metadata.create_all(fresh.main)
    with fresh.main.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other")
        connection.exec_driver_sql("CREATE TABLE other.things (id integer)")

    there_and_back(alembic, fresh, application)

    assert len(tables(fresh, "public")) == len(metadata.tables)
    assert tables(fresh, "other") == {"things"}


@of(APPLICATIONS)
def test_after_create_all_there_is_nothing_to_migrate(
    alembic: AlembicProject, fresh: Database, application: Application
) -> None:
    """`alembic check` passes on tables that SQLAlchemy made."""
    alembic.use(*application.files)
    for each in application.metadatas():
        each.create_all(fresh.main)

    alembic.run("check")


@of(ON_POSTGRESQL)
@pytest.mark.backends("postgresql")
def test_after_create_all_in_a_schema_there_is_nothing_to_migrate(
    alembic: AlembicProject, fresh: Database, application: Application
) -> None:
    """The same where the tables stand in a schema."""
    alembic.use(*application.files)
    with fresh.main.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA auth")
    for each in application.metadatas():
        each.create_all(fresh.main)

    alembic.run("check")


def test_users_from_before_the_migration_are_taken_in(
    alembic: AlembicProject, fresh: Database
) -> None:
    """A table of keys that Alembic made is empty until `sync_username_keys()`."""
    alembic.use("own-model/env.py", "own-model/models.py")
    users = import_module("models").AppUser.__table__
    row = {"username": "Joe", "email": "joe@example.org", "password_hash": "x", "verified": True}
    with fresh.main.begin() as connection:
        users.create(connection)
        connection.execute(users.insert(), row)

    alembic.revision("--autogenerate")
    alembic.run("upgrade", "head")

    store = own_model(sessionmaker(fresh.main))
    assert fresh.count("userharbor_username_keys") == 0
    assert store.sync_username_keys() == 1
    assert store.get_user_by_username("JOE") == User("Joe", "joe@example.org", True)
