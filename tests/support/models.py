"""The shapes of user table that applications have, each made anew by a function."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    Uuid,
    false,
    func,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry
from sqlalchemy.schema import SchemaItem

from userharbor_sqlalchemy import register_user_model

Model = Any

# By which names a table of the application's compares bytes, whichever dialect the URL names.
BYTEWISE: dict[str, Any] = {"mysql_collate": "utf8mb4_bin", "mariadb_collate": "utf8mb4_bin"}


class Turned(TypeDecorator[str]):
    """Stored in another order, as what is encrypted is."""

    impl = String(255)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and value[::-1]

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return value and value[::-1]


def documented() -> Model:
    """The documented minimum: no key, the username is the primary key."""

    class Base(DeclarativeBase):
        pass

    class Documented(Base):
        __tablename__ = "documented_users"

        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True, index=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool] = mapped_column(Boolean, default=False)
        display_name: Mapped[str] = mapped_column(String(255), default="Anonymous")

    return Documented


def with_username_key() -> Model:
    """What 0.7.0 demanded."""

    class Base(DeclarativeBase):
        pass

    class Keyed(Base):
        __tablename__ = "keyed_users"

        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        username_key: Mapped[str] = mapped_column(String(255), unique=True, index=True)
        email: Mapped[str] = mapped_column(String(320), unique=True, index=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool] = mapped_column(Boolean, default=False)

    return Keyed


def integer_key() -> Model:
    """A surrogate key, and columns with defaults made in Python and by the server."""

    class Base(DeclarativeBase):
        pass

    class Numbered(Base):
        __tablename__ = "numbered_users"

        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(255), unique=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]
        tenant: Mapped[str] = mapped_column(String(50), insert_default="main")
        number: Mapped[int] = mapped_column(insert_default=lambda: 42)
        created: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())

    return Numbered


def uuid_key() -> Model:
    """A UUID for a key, and columns under other names than their attributes."""

    class Base(DeclarativeBase):
        pass

    class Renamed(Base):
        __tablename__ = "renamed_users"

        id: Mapped[uuid.UUID] = mapped_column("user_id", Uuid, primary_key=True, default=uuid.uuid4)
        username: Mapped[str] = mapped_column("login", String(255), unique=True)
        email: Mapped[str] = mapped_column("mail", String(320), unique=True)
        password_hash: Mapped[str] = mapped_column("secret", String(512))
        verified: Mapped[bool] = mapped_column("is_active", server_default=false())
        locale: Mapped[str] = mapped_column(String(10), server_default="en")

    return Renamed


def imperative() -> Model:
    """A dataclass that the application mapped to a table by itself."""

    @dataclass
    class Imperative:
        username: str
        email: str
        password_hash: str
        verified: bool = False

    mapping = registry()
    mapping.map_imperatively(Imperative, user_table("imperative_users", mapping.metadata))
    return Imperative


def bare_table() -> Model:
    """A table, and no class at all."""
    return user_table("bare_users", MetaData())


def mapped_by_us() -> Model:
    """A dataclass with a table, which registering maps."""

    @dataclass
    class Plain:
        username: str
        email: str
        password_hash: str
        verified: bool = False

    table = user_table("plain_users", MetaData())
    return register_user_model(Plain, table, table_prefix="mapped_by_us_")


def user_table(name: str, metadata: MetaData, *more: SchemaItem, **options: Any) -> Table:
    """A bare table; its options for MySQL are those for MariaDB, by either of its names."""
    options |= {key.replace("mysql_", "mariadb_"): value for key, value in options.items()}
    return Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("username", String(255), nullable=False, unique=True),
        Column("email", String(320), nullable=False, unique=True),
        Column("password_hash", String(512), nullable=False),
        Column("verified", Boolean, nullable=False, default=False),
        *more,
        **options,
    )


SHAPES: dict[str, Callable[[], Model]] = {
    shape.__name__: shape
    for shape in (
        documented,
        with_username_key,
        integer_key,
        uuid_key,
        imperative,
        bare_table,
        mapped_by_us,
    )
}


def metadata_of(model: Model) -> MetaData:
    table = model if isinstance(model, Table) else model.__table__
    metadata: MetaData = table.metadata
    return metadata
