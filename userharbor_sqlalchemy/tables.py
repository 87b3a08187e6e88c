"""Every table of the store, defined on a MetaData.

Plain column types only, with variants where a dialect needs one: Alembic writes them into
the application's migrations. Names and columns are those of userharbor-sqlalchemy 0.7; what
came later only adds to them.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
)
from sqlalchemy.dialects import mysql

DEFAULT_PREFIX = "userharbor_"

USERNAME_LENGTH = 255
EMAIL_LENGTH = 320
PASSWORD_HASH_LENGTH = 512
TOKEN_HASH_LENGTH = 128
NAME_LENGTH = 255

metadata = MetaData()
"""The MetaData of the built-in tables, for `create_all()` and for Alembic's `env.py`."""


@dataclass(frozen=True)
class Tables:
    """The tables of a store."""

    users: Table
    email_verifications: Table
    sessions: Table
    password_resets: Table
    roles: Table
    permissions: Table
    user_roles: Table
    role_permissions: Table


_defining = Lock()


def define_tables(metadata: MetaData, prefix: str) -> Tables:
    """The tables named with `prefix` on `metadata`, defined there at the first call."""
    key = ("userharbor_sqlalchemy", prefix)
    with _defining:
        tables = metadata.info.get(key)
        if not isinstance(tables, Tables):
            tables = metadata.info[key] = _define(metadata, prefix)
        return tables


def _define(metadata: MetaData, prefix: str) -> Tables:
    def table(name: str, *items: Column[Any]) -> Table:
        return Table(
            prefix + name,
            metadata,
            *items,
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )

    def reference(name: str, column: Column[str], **kw: Any) -> Column[str]:
        return Column(
            name, column.type, ForeignKey(column, ondelete="CASCADE"), nullable=False, **kw
        )

    users = table(
        "users",
        Column("username", _text(USERNAME_LENGTH), primary_key=True),
        Column("username_key", _text(USERNAME_LENGTH), nullable=False, unique=True, index=True),
        Column("email", _text(EMAIL_LENGTH), nullable=False, unique=True, index=True),
        Column("password_hash", _text(PASSWORD_HASH_LENGTH), nullable=False),
        Column("verified", Boolean, nullable=False),
    )

    def tokens(name: str) -> Table:
        return table(
            name,
            Column("token_hash", _text(TOKEN_HASH_LENGTH), primary_key=True),
            reference("username", users.c.username, index=True),
            Column("expires_at", _time(), nullable=False),
        )

    def tokens_one_a_user(name: str) -> Table:
        of_a_user = tokens(name)
        # Beside the plain index, not in its place: MariaDB refuses to drop an index that a
        # foreign key needs. An index and not a constraint: Alembic can't add one on SQLite.
        Index(f"uq_{of_a_user.name}_username", of_a_user.c.username, unique=True)
        return of_a_user

    roles = table("roles", Column("role", _text(NAME_LENGTH), primary_key=True))
    permissions = table("permissions", Column("permission", _text(NAME_LENGTH), primary_key=True))
    return Tables(
        users=users,
        email_verifications=tokens_one_a_user("email_verifications"),
        sessions=tokens("sessions"),
        password_resets=tokens_one_a_user("password_resets"),
        roles=roles,
        permissions=permissions,
        user_roles=table(
            "user_roles",
            reference("username", users.c.username, primary_key=True),
            reference("role", roles.c.role, primary_key=True, index=True),
        ),
        role_permissions=table(
            "role_permissions",
            reference("role", roles.c.role, primary_key=True),
            reference("permission", permissions.c.permission, primary_key=True, index=True),
        ),
    )


def _text(length: int) -> String:
    """A text column that tells apart what differs in case or accent, on MySQL and MariaDB too."""
    bytewise = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(bytewise, "mysql", "mariadb")


def _time() -> DateTime:
    """A column for an instant in UTC that keeps microseconds, on MySQL and MariaDB too."""
    return DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


define_tables(metadata, DEFAULT_PREFIX)
