"""The application's own user model: its shape, and whether a store can use it."""

import warnings
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Enum,
    Integer,
    Join,
    String,
    Table,
    and_,
    func,
    inspect,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Mapper, registry
from sqlalchemy.sql import visitors
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine, UserDefinedType

from .tables import DEFAULT_PREFIX, Tables, define_tables
from .uniques import add_unseen, is_unique, lowered_indexes
from .values import EMAIL_LENGTH, PASSWORD_HASH_LENGTH, USERNAME_LENGTH

REQUIRED = ("username", "email", "password_hash", "verified")
ATTRIBUTES = (*REQUIRED, "username_key")
"""The attributes of a user model that the store uses, where it has them."""

LENGTHS = {
    "username": USERNAME_LENGTH,
    "username_key": USERNAME_LENGTH,
    "email": EMAIL_LENGTH,
    "password_hash": PASSWORD_HASH_LENGTH,
}

ModelT = TypeVar("ModelT", bound="type[Any] | Table")


@dataclass(frozen=True)
class UserModel:
    """The user table of a store: its columns by what they are for, whatever their names."""

    table: Table
    columns: dict[str, Column[Any]]
    mapper: Mapper[Any] | None

    @property
    def username_key(self) -> Column[str] | None:
        """The column for the casefolded username, where the model has one."""
        return self.columns.get("username_key")

    @property
    def flags(self) -> tuple[Any, Any]:
        """What to write into `verified` for no and for yes.

        A Boolean takes numbers too; to a SMALLINT of PostgreSQL's, nothing else can be written.
        """
        return (False, True) if _takes_bools(self.columns["verified"].type) else (0, 1)

    def length(self, attribute: str) -> int:
        """How many characters a text may have in a search by `attribute`."""
        column = self.columns.get(attribute)
        length = None if column is None else getattr(column.type, "length", None)
        return length or LENGTHS[attribute]

    def holds(self, attribute: str, text: str, dialect: Dialect) -> bool:
        """Whether the column of `attribute`, if there is one, holds what is stored for `text`.

        One whose type does not say how much holds as much as that of the store's own tables.
        """
        if attribute not in self.columns:
            return True
        column_type = self.columns[attribute].type
        store = column_type.dialect_impl(dialect).bind_processor(dialect)
        try:
            stored = store(text) if store is not None else text
        except Exception:
            return True  # the statement is refused by it, in an error that does not quote the text
        return len(stored) <= (stored_length(column_type, dialect) or LENGTHS[attribute])

    def email_as_found(self, text: ColumnElement[str]) -> ColumnElement[str]:
        """What lookups compare of an address, the column or a parameter: what an index is on."""
        return func.lower(text) if lowered_indexes(self.columns["email"]) else text

    def identities(self) -> list[Any] | None:
        """The discriminators of the model's rows; None where all rows of the table are its."""
        if self.mapper is None or self.mapper.inherits is None:
            return None
        return [mapper.polymorphic_identity for mapper in self.mapper.self_and_descendants]


def register_user_model(
    model: ModelT, table: Table | None = None, *, table_prefix: str = DEFAULT_PREFIX
) -> ModelT:
    """Define the store's tables on the MetaData of an application's user model; return `model`.

    `model` is a declarative class, an imperatively mapped class, a class not mapped yet with
    its `table` (it is mapped imperatively), or a `Table` itself. It needs the attributes
    `username` (the primary key, or unique), `email`, `password_hash` and `verified`. The
    names of the tables begin with `table_prefix`. Registering again changes nothing.

    Sends no SQL and needs no session, so that Alembic sees every table once the models are
    imported. `TypeError` for what is not a model, lacks an attribute, or has one of a type that
    is no text (of `verified`: no Boolean or integer); `ValueError` for a username that is not
    unique, an attribute that the database generates, or for joined-table or concrete
    inheritance. Each names model and attribute.
    """
    registered(model, table, table_prefix)
    return model


def registered(
    model: "type[Any] | Table", table: Table | None, prefix: str, engine: object = None
) -> tuple[UserModel, Tables]:
    """The shape of `model` and the tables of a store on it, defined where they are missing.

    An `engine` is asked what is unique where the model does not say it.
    """
    if isinstance(model, Table):
        user_model = _from_table(model, engine)
    else:
        user_model = _from_class(model, table, engine)
    return user_model, define_tables(
        user_model.table.metadata,
        prefix,
        user_model.columns["username"],
        with_username_keys=user_model.username_key is None,
    )


def condition_on(model: UserModel, active: object) -> ColumnElement[bool]:
    """`active` on the columns of the table itself, without what the ORM has noted on them.

    `TypeError` for what is no SQL expression, `ValueError` for one on another table's columns.
    """
    expression: Any = active
    # What the ORM's attributes, hybrid ones too, stand for.
    while not isinstance(expression, ColumnElement) and hasattr(expression, "__clause_element__"):
        expression = expression.__clause_element__()
    if not isinstance(expression, ColumnElement):
        raise TypeError(
            f"active is of the type {type(active).__name__}; it must be a condition on columns of"
            " user_model, as AppUser.banned_at.is_(None) is"
        )

    def plainly(element: Any, **_: Any) -> Column[Any] | None:
        if not isinstance(element, Column):
            return None
        for column in model.table.columns:
            if column.name == element.name and column.table.key == getattr(
                element.table, "key", None
            ):
                return column
        raise ValueError(f"active names {element}, which is no column of {model.table.key}")

    condition: ColumnElement[bool] = visitors.replacement_traverse(expression, {}, plainly)
    # By itself, it would make an ORM query of each statement that it is in.
    return and_(model.columns["username"].is_not(None), condition)


def built_in(tables: Tables) -> UserModel:
    """The shape of the store's own user table."""
    return UserModel(tables.users, dict(tables.users.columns), None)


def _from_table(table: Table, engine: object) -> UserModel:
    return _checked(f"Table {table.name!r}", UserModel(table, dict(table.columns), None), engine)


_mapping = Lock()


def _from_class(model: type[Any], table: Table | None, engine: object) -> UserModel:
    name = getattr(model, "__name__", repr(model))
    with _mapping:
        mapper = inspect(model, raiseerr=False)
        if mapper is None and isinstance(model, type) and table is not None:
            _checked(name, UserModel(table, dict(table.columns), None), engine)
            mapper = registry(metadata=table.metadata).map_imperatively(model, table)
    if not isinstance(mapper, Mapper):
        raise TypeError(
            f"{name} is not mapped: register_user_model({name}, table) maps it to its Table"
        )
    if mapper.concrete:
        raise ValueError(
            f"{name} is mapped by concrete inheritance, where a username that is unique in its"
            " table may be there in another: register a class that does not inherit its mapping"
        )
    local = mapper.local_table
    if isinstance(mapper.persist_selectable, Join) or not isinstance(local, Table):
        raise ValueError(f"{name} spreads over several tables; a user must be one row of one table")
    if table is not None and table is not local:
        raise ValueError(f"{name} is mapped to {local.name!r} already, not to {table.name!r}")
    # Not `mapper.attrs`: that would configure all mappers, and a decorator runs before the
    # classes that a relationship names are there.
    columns = {
        name: column
        for name, column in mapper.columns.items()
        if isinstance(column, Column) and column.table is local
    }
    return _checked(name, UserModel(local, columns, mapper), engine)


_A_COLUMN_EACH = (
    "the store writes to a column for each: a username as it is spelled, and an address in lower"
    " case"
)


def _checked(name: str, model: UserModel, engine: object) -> UserModel:
    for attribute in REQUIRED:
        if attribute not in model.columns:
            there = model.mapper is not None and hasattr(model.mapper.class_, attribute)
            why = f": what is there is no column of its own; {_A_COLUMN_EACH}" if there else ""
            raise TypeError(f"{name} has no column attribute {attribute!r}{why}")
    for attribute in ATTRIBUTES:
        if attribute in model.columns:
            _check_column(f"{name}.{attribute}", model.columns[attribute], attribute == "verified")
    unique = ("username", *(name for name in ("email", "username_key") if name in model.columns))
    if not all(_is_held_unique(model, attribute) for attribute in unique):
        add_unseen(model.table, engine)
    if not is_unique(model.columns["username"]):
        raise ValueError(
            f"{name}.username is neither the primary key nor unique, as far as SQLAlchemy knows"
        )
    for attribute in unique:
        if not _is_held_unique(model, attribute):
            warnings.warn(
                f"{name}.{attribute} has no unique constraint or index that SQLAlchemy knows of,"
                " and that is not deferrable; without one, two users may have the same",
                stacklevel=5,
            )
    return model


def _is_held_unique(model: UserModel, attribute: str) -> bool:
    column = model.columns[attribute]
    lowered = lowered_indexes(column) if attribute == "email" else []
    return is_unique(column) or any(index.unique for index in lowered)


def _check_column(named: str, column: Column[Any], is_verified: bool) -> None:
    if column.computed is not None or column.identity is not None:
        raise ValueError(
            f"{named} is generated by the database, and the store can't write it:"
            " have the attribute name a column that is not"
        )
    holds, wanted = _is_text(column.type), "a column of texts"
    if is_verified:
        holds = _is_flag(column.type)
        wanted = "a Boolean or an integer, or a TypeDecorator must store a bool in it"
    if not holds:
        raise TypeError(f"{named} is a column of type {column.type!r}; it must be {wanted}")


def _is_text(column_type: TypeEngine[Any]) -> bool:
    stored = _stored(column_type)
    # Of these, nobody but the database knows what they hold: one may be a CITEXT.
    if isinstance(stored, (NullType, UserDefinedType)):
        return True
    return isinstance(stored, String) and not isinstance(stored, (Enum, mysql.SET))


def _is_flag(column_type: TypeEngine[Any]) -> bool:
    stored = _stored(column_type)
    return isinstance(stored, (Boolean, Integer, mysql.BIT)) or _takes_bools(column_type)


def _takes_bools(column_type: TypeEngine[Any]) -> bool:
    """Whether the application's type makes something else of a bool, and a bool of that again."""
    if not isinstance(column_type, TypeDecorator):
        return False
    store = column_type.bind_processor(_no_dialect)
    read = column_type.result_processor(_no_dialect, None)
    if store is None or read is None:
        return False
    flags = (False, True)
    try:
        stored = [store(flag) for flag in flags]
        back = [bool(read(value)) for value in stored]
    except Exception:
        return False
    return back == [*flags] and not any(isinstance(value, bool) for value in stored)


_no_dialect: Dialect = DefaultDialect()


def stored_length(column_type: TypeEngine[Any], dialect: Dialect) -> int | None:
    """How many characters a column of this type holds on this database, if the type says it."""
    stored = _stored(column_type.dialect_impl(dialect))
    if isinstance(stored, mysql.TINYTEXT):
        return _TINYTEXT_LENGTH
    length: int | None = getattr(stored, "length", None)
    return length


# It holds 255 bytes, and a character may have four.
_TINYTEXT_LENGTH = 63


def _stored(column_type: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type that the database stores, under what decorates it."""
    if isinstance(column_type, TypeDecorator):
        return _stored(column_type.impl_instance)
    if isinstance(column_type, postgresql.DOMAIN):
        return _stored(column_type.data_type)
    return column_type
