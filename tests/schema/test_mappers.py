"""What lookups return over the application's own user model."""

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import ForeignKey, MetaData, Row, String, event, inspect
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)
from sqlalchemy.orm.exc import DetachedInstanceError

from support.databases import Database
from support.model_stores import PREFIX, created, store_on
from support.models import SHAPES, documented, user_table
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User


def test_the_documentation_of_the_core_pasted(db: Database) -> None:
    """Its custom model and its custom mapping, which 0.7.0 breaks on."""
    app_user = documented()

    @dataclass
    class AppPublicUser(User):
        display_name: str

    store = SQLAlchemyUserStore(
        sessionmaker(db.main),
        user_model=app_user,
        user_mapper=lambda user: AppPublicUser(
            username=user.username,
            email=user.email,
            verified=user.verified,
            display_name=user.display_name,
        ),
        table_prefix=PREFIX,
    )
    with created(db, store.metadata):
        store.create_user(new_user())
        expected = AppPublicUser("jane", "jane@example.org", False, "Anonymous")
        assert store.get_user_by_username("JANE") == expected
        assert store.get_user_by_email("JANE@example.org") == expected


def test_a_mapper_gets_a_detached_instance_of_the_class(db: Database) -> None:
    """Its columns, properties and methods work; a relationship says that it is detached."""

    class Base(DeclarativeBase):
        pass

    class AppUser(Base):
        __tablename__ = "app_users"

        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column("login", String(255), unique=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]
        notes: Mapped[list["Note"]] = relationship()

        @property
        def label(self) -> str:
            return f"{self.username} #{self.id}"

        def greet(self, word: str) -> str:
            return f"{word} {self.label}"

    class Note(Base):
        __tablename__ = "app_notes"

        id: Mapped[int] = mapped_column(primary_key=True)
        author: Mapped[int] = mapped_column(ForeignKey(AppUser.id))

    seen: list[AppUser] = []

    def to_public(user: AppUser) -> User:
        seen.append(user)
        return User(user.greet("Dear"), user.email, user.verified)

    store = SQLAlchemyUserStore(
        sessionmaker(db.main), user_model=AppUser, user_mapper=to_public, table_prefix=PREFIX
    )
    with created(db, Base.metadata):
        store.create_user(new_user())
        user = store.get_user_by_username("jane")
        assert user == User("Dear jane #1", "jane@example.org", False)
        (instance,) = seen
        assert inspect(instance).detached
        assert instance.id == 1
        with pytest.raises(DetachedInstanceError):
            _ = instance.notes
        with Session(db.main) as session:
            session.add(instance)
            assert instance.notes == []


def test_a_mapper_of_a_table_gets_its_row(db: Database) -> None:
    """All its columns, by their names."""
    table = user_table("bare_users", MetaData())
    rows: list[Row[Any]] = []

    def to_user(row: Row[Any]) -> User:
        rows.append(row)
        return User(row.username, row.email, row.verified)

    store = SQLAlchemyUserStore(
        sessionmaker(db.main), user_model=table, user_mapper=to_user, table_prefix=PREFIX
    )
    with created(db, store.metadata):
        store.create_user(new_user())
        assert store.get_user_by_username("JANE") == User("jane", "jane@example.org", False)
        assert rows[0]._asdict()["id"] == 1


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_lookup_without_a_mapper_selects_three_columns(shape: str, db: Database) -> None:
    """Whatever the model has beside them."""
    model = SHAPES[shape]()
    store = store_on(db, model)
    statements: list[str] = []
    with created(db, store.metadata):
        store.create_user(new_user())
        engine = db.engine()
        event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        store = SQLAlchemyUserStore(sessionmaker(engine), user_model=model, table_prefix=PREFIX)
        assert store.get_user_by_username("JANE") == User("jane", "jane@example.org", False)
    selected = statements[-1].partition("FROM")[0]
    assert selected.count(",") == 2
