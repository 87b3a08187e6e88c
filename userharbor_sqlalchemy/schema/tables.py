"""Every table of the store, defined on a MetaData.

The user table is the store's own, or the application's, which user_model.py has looked at. Plain
column types only, with variants where a dialect needs one: Alembic writes them into
the application's migrations. Names and columns are those of userharbor-sqlalchemy 0.7; what
came later only adds to them.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
    event,
)
from sqlalchemy.dialects import mysql

from .uniques import is_unique
from .username_keys import begin_before_ddl, fill_created_table
from .values import (
    EMAIL_LENGTH,
    NAME_LENGTH,
    PASSWORD_HASH_LENGTH,
    TOKEN_HASH_LENGTH,
    USERNAME_LENGTH,
)

DEFAULT_PREFIX = "userharbor_"

metadata: MetaData = MetaData()
"""The MetaData of the built-in tables, for `create_all()` and for Alembic's `env.py`."""


@dataclass(frozen=True)
class Tables:
    """The tables of a store."""

    users: Table
    username_keys: Table | None
    email_verifications: Table
    sessions: Table
    password_resets: Table
    roles: Table
    permissions: Table
    user_roles: Table
    role_permissions: Table

    def of_users(self) -> list[Table]:
        """The tables whose rows belong to a user: those that refer to one, by `username`."""
        return [
            table
            for table in vars(self).values()
            if table not in (None, self.users) and "username" in table.columns
        ]


_defining = Lock()


def define_tables(
    metadata: MetaData,
    prefix: str,
    username: Column[str] | None = None,
    *,
    with_username_keys: bool = False,
) -> Tables:
    """The tables named with `prefix` on `metadata`, where those that are missing are defined.

    They refer to `username`, a column of the application's, or to that of a user table that
    is defined with them. `ValueError` where they refer to another table already.
    """
    with _defining:
        return _Definition(metadata, prefix).tables(username, with_username_keys)


def schema_in_use(table: Table, connection: Connection) -> str | None:
    """Where `table` is in the database, as an application's `schema_translate_map` has it."""
    schemas = connection.get_execution_options().get("schema_translate_map") or {}
    return schemas.get(table.schema, table.schema)


class _Definition:
    """Defines one set of tables, or completes those that are there: reflected, say."""

    def __init__(self, metadata: MetaData, prefix: str) -> None:
        self._metadata = metadata
        self._prefix = prefix
        self._options: dict[str, Any] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}

    def tables(self, username: Column[str] | None, with_username_keys: bool) -> Tables:
        if username is None:
            username = self._users().c.username
        users = username.table
        assert isinstance(users, Table)
        # MySQL demands of a foreign key the collation of the column that it points to, which
        # the application may have set on its table.
        self._options |= {
            option: value
            for option, value in users.kwargs.items()
            if option.startswith(("mysql_", "mariadb_"))
            and option.lower().endswith(("charset", "character set", "character_set", "collate"))
        }
        roles = self._table("roles", Column("role", _text(NAME_LENGTH), primary_key=True))
        permissions = self._table(
            "permissions", Column("permission", _text(NAME_LENGTH), primary_key=True)
        )
        return Tables(
            users=users,
            email_verifications=self._tokens("email_verifications", username, one_a_user=True),
            sessions=self._tokens("sessions", username),
            password_resets=self._tokens("password_resets", username, one_a_user=True),
            roles=roles,
            permissions=permissions,
            user_roles=self._table(
                "user_roles",
                _reference("username", username, primary_key=True),
                _reference("role", roles.c.role, primary_key=True),
                indexed="role",
            ),
            role_permissions=self._table(
                "role_permissions",
                _reference("role", roles.c.role, primary_key=True),
                _reference("permission", permissions.c.permission, primary_key=True),
                indexed="permission",
            ),
            username_keys=self._username_keys(username) if with_username_keys else None,
        )

    def _table(self, name: str, *columns: Column[Any], indexed: str | None = None) -> Table:
        key = self._prefix + name
        if self._metadata.schema is not None:
            key = f"{self._metadata.schema}.{key}"
        table = self._metadata.tables.get(key)
        if table is not None and self._has_lost_what_it_refers_to(table):
            self._metadata.remove(table)
            table = None
        if table is None:
            table = Table(self._prefix + name, self._metadata, *columns, **self._options)
        for column in columns:
            self._complete(table, column)
        if indexed is not None:
            self._index(table, indexed)
        return table

    def _has_lost_what_it_refers_to(self, table: Table) -> bool:
        """Whether another table, or column, has taken the place of one that it refers to."""
        referred = [key.column for key in table.foreign_keys]
        return any(
            self._metadata.tables.get(column.table.key) is not column.table
            or column.table.c.get(column.key) is not column
            for column in referred
        )

    def _complete(self, table: Table, column: Column[Any]) -> None:
        """Let `table` have `column`, and what it refers to."""
        existing = table.c.get(column.name)
        if existing is None:
            table.append_column(column)
        elif existing is not column and column.foreign_keys:
            (target,) = (key.column for key in column.foreign_keys)
            found = [key.column.table for key in existing.foreign_keys]
            if not found:
                existing.append_foreign_key(ForeignKey(target, ondelete="CASCADE"))
            elif target.table not in found:
                raise ValueError(
                    f"the tables {self._prefix}… of this MetaData refer to {found[0].name!r}"
                    " already; another table_prefix makes others"
                )
            existing.type = column.type

    def _index(
        self,
        table: Table,
        column: str,
        *,
        unique: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        """Let there be an index on `column`."""
        if unique:
            is_there = is_unique(table.c[column])
        else:
            plain = [index for index in table.indexes if not index.unique]
            is_there = any(index.columns.keys()[:1] == [column] for index in plain)
        # By the application's convention, which need not have one for indexes.
        if name is None and "ix" not in self._metadata.naming_convention:
            name = f"ix_{table.name}_{column}"
        if not is_there:
            Index(name, table.c[column], unique=unique, **options)

    def _users(self) -> Table:
        users = self._table(
            "users",
            Column("username", _text(USERNAME_LENGTH), primary_key=True),
            Column("username_key", _text(USERNAME_LENGTH), nullable=False),
            Column("email", _text(EMAIL_LENGTH), nullable=False),
            Column("password_hash", _text(PASSWORD_HASH_LENGTH), nullable=False),
            Column("verified", Boolean, nullable=False),
        )
        # By it, PostgreSQL finds a prefix in any collation.
        by_letters = {"username_key": "varchar_pattern_ops"}
        self._index(users, "username_key", unique=True, postgresql_ops=by_letters)
        self._index(users, "email", unique=True)
        return users

    def _username_keys(self, username: Column[str]) -> Table:
        keys = self._table(
            "username_keys",
            Column("username_key", _text(USERNAME_LENGTH), primary_key=True),
            _reference("username", username),
        )
        self._index(keys, "username", unique=True)
        event.listen(keys, "before_create", begin_before_ddl)
        event.listen(keys, "after_create", fill_created_table)
        return keys

    def _tokens(self, name: str, username: Column[str], *, one_a_user: bool = False) -> Table:
        tokens = self._table(
            name,
            Column("token_hash", _text(TOKEN_HASH_LENGTH), primary_key=True),
            _reference("username", username),
            Column("expires_at", _time(), nullable=False),
            indexed="username",
        )
        if one_a_user:
            # Beside the plain index, not in its place: MariaDB refuses to drop an index that a
            # foreign key needs. And not a constraint: Alembic can't add one on SQLite.
            self._index(tokens, "username", unique=True, name=f"uq_{tokens.name}_username")
        return tokens


def _reference(name: str, column: Column[str], **kw: Any) -> Column[str]:
    return Column(name, column.type, ForeignKey(column, ondelete="CASCADE"), nullable=False, **kw)


def _text(length: int) -> String:
    """A text column that tells apart what differs in case or accent, on MySQL and MariaDB too."""
    bytewise = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(bytewise, "mysql", "mariadb")


def _time() -> DateTime:
    """A column for an instant in UTC that keeps microseconds, on MySQL and MariaDB too."""
    return DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


define_tables(metadata, DEFAULT_PREFIX)
