"""User models of the application's that are refused, or taken with a warning."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    func,
    inspect,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry, sessionmaker, synonym

from support.models import imperative, user_table
from userharbor_sqlalchemy import SQLAlchemyUserStore, register_user_model


@pytest.mark.parametrize("missing", ["username", "email", "password_hash", "verified"])
def test_a_missing_attribute_is_refused_by_name(missing: str) -> None:
    """Of a class and of a table."""
    columns: dict[str, Column[Any]] = {
        "username": Column("username", String(255), primary_key=True),
        "email": Column("email", String(320), unique=True),
        "password_hash": Column("password_hash", String(512)),
        "verified": Column("verified", Boolean),
    }
    columns[missing] = Column("other", Integer, primary_key=True)
    table = Table("app_users", MetaData(), *columns.values())
    with pytest.raises(TypeError, match=f"'app_users' has no column attribute '{missing}'"):
        register_user_model(table)

    class AppUser:
        pass

    with pytest.raises(TypeError, match=f"AppUser has no column attribute '{missing}'"):
        register_user_model(AppUser, table)
    assert set(table.metadata.tables) == {"app_users"}


def _login_is_the_email() -> type[Any]:
    class Base(DeclarativeBase):
        pass

    class AppUser(Base):
        __tablename__ = "app_users"
        email: Mapped[str] = mapped_column(String(320), primary_key=True)
        username = synonym("email")
        password_hash: Mapped[str] = mapped_column(String(255))
        verified: Mapped[bool]

    return AppUser


def _email_is_the_login() -> type[Any]:
    class Base(DeclarativeBase):
        pass

    class AppUser(Base):
        __tablename__ = "app_users"
        username: Mapped[str] = mapped_column(String(320), primary_key=True)
        password_hash: Mapped[str] = mapped_column(String(255))
        verified: Mapped[bool]

        @hybrid_property
        def email(self) -> str:
            return self.username

    return AppUser


def _login_is_of_python() -> type[Any]:
    class AppUser:
        @property
        def username(self) -> str:
            return str(vars(self)["email"])

    table = Table(
        "app_users",
        MetaData(),
        Column("email", String(320), primary_key=True),
        Column("password_hash", String(512)),
        Column("verified", Boolean),
    )
    registry(metadata=table.metadata).map_imperatively(AppUser, table)
    return AppUser


@pytest.mark.parametrize(
    ("model", "lacks"),
    [
        (_login_is_the_email, "username"),
        (_email_is_the_login, "email"),
        (_login_is_of_python, "username"),
    ],
)
def test_one_column_for_two_attributes_is_refused(
    model: Callable[[], type[Any]], lacks: str
) -> None:
    """The text says why: what is stored for the one is not what is stored for the other."""
    why = "what is there is no column .* as it is spelled, and an address in lower case"
    with pytest.raises(TypeError, match=f"AppUser has no column attribute '{lacks}': {why}"):
        register_user_model(model())


def test_a_username_that_is_not_unique_is_refused() -> None:
    """A composite key, a plain index and one on an expression do not make it so."""
    table = Table(
        "app_users",
        MetaData(),
        Column("tenant", Integer, primary_key=True),
        Column("username", String(255), primary_key=True, index=True),
        Column("email", String(320), unique=True),
        Column("password_hash", String(512)),
        Column("verified", Boolean),
    )
    Index("lowered", func.lower(table.c.username), unique=True)
    with pytest.raises(ValueError, match=r"'app_users'.username is neither the primary key nor"):
        SQLAlchemyUserStore(sessionmaker(), user_model=table)


def test_a_partial_index_does_not_make_a_username_unique() -> None:
    """No foreign key can point at it."""
    table = Table(
        "app_users",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("username", String(255)),
        Column("email", String(320), unique=True),
        Column("password_hash", String(512)),
        Column("verified", Boolean),
    )
    whole = table.c.username != ""
    Index("partial", table.c.username, unique=True, postgresql_where=whole, sqlite_where=whole)

    class AppUser:
        pass

    with pytest.raises(ValueError, match=r"AppUser.username is neither the primary key nor"):
        register_user_model(AppUser, table)
    assert inspect(AppUser, raiseerr=False) is None, "nor is the class mapped"


def test_joined_table_inheritance_is_refused() -> None:
    """A user must be one row of one table."""

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "people"

        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(255), unique=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)

    class Member(Person):
        __tablename__ = "members"

        id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]

    with pytest.raises(ValueError, match="Member spreads over several tables"):
        register_user_model(Member)


def test_what_is_not_mapped_is_refused() -> None:
    """And so is another table than the one it is mapped to."""

    class AppUser:
        pass

    with pytest.raises(TypeError, match="AppUser is not mapped"):
        SQLAlchemyUserStore(sessionmaker(), user_model=AppUser)
    model = imperative()
    with pytest.raises(ValueError, match="Imperative is mapped to 'imperative_users' already"):
        register_user_model(model, user_table("others", MetaData()))
    with pytest.raises(ValueError, match="metadata is not that of user_model"):
        SQLAlchemyUserStore(sessionmaker(), user_model=model, metadata=MetaData())


def test_two_models_of_one_metadata_need_two_prefixes() -> None:
    """The second is told so."""
    metadata = MetaData()
    register_user_model(user_table("one", metadata))
    with pytest.raises(ValueError, match="refer to 'one' already; another table_prefix"):
        register_user_model(user_table("two", metadata))


def test_an_email_that_may_not_be_unique_is_taken_with_a_warning() -> None:
    """An index on its lower case is as good as one; on something else, it is not."""
    table = Table(
        "app_users",
        MetaData(),
        Column("username", String(255), primary_key=True),
        Column("email", String(320)),
        Column("password_hash", String(512)),
        Column("verified", Boolean),
    )
    Index("plain", func.lower(table.c.email))
    Index("other", func.lower(table.c.username), unique=True)
    Index("trimmed", func.trim(table.c.email), unique=True)
    with pytest.warns(UserWarning, match=r"'app_users'.email has no unique constraint"):
        register_user_model(table)
    Index("lowered", func.lower(table.c.email), unique=True)
    register_user_model(table)
