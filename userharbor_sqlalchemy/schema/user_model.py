"""The application's own user model: its shape, and whether a store can use it."""

import warnings
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import Column, Index, Join, PrimaryKeyConstraint, Table, UniqueConstraint, inspect
from sqlalchemy.orm import Mapper, registry

from .tables import DEFAULT_PREFIX, Tables, define_tables

REQUIRED = ("username", "email", "password_hash", "verified")
ATTRIBUTES = (*REQUIRED, "username_key")
"""The attributes of a user model that the store uses, where it has them."""

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

    def length(self, attribute: str, default: int) -> int:
        """How many characters the column of `attribute` holds; `default` where it does not say."""
        column = self.columns.get(attribute)
        return getattr(column.type if column is not None else None, "length", None) or default

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
    imported. `TypeError` for what is not a model or lacks an attribute, `ValueError` for a
    username that is not unique or for joined-table inheritance; each names model and attribute.
    """
    registered(model, table, table_prefix)
    return model


def registered(
    model: "type[Any] | Table", table: Table | None, prefix: str
) -> tuple[UserModel, Tables]:
    """The shape of `model` and the tables of a store on it, defined at the first call."""
    user_model = _from_table(model) if isinstance(model, Table) else _from_class(model, table)
    return user_model, define_tables(
        user_model.table.metadata,
        prefix,
        user_model.columns["username"],
        with_username_keys=user_model.username_key is None,
    )


def built_in(tables: Tables) -> UserModel:
    """The shape of the store's own user table."""
    return UserModel(tables.users, dict(tables.users.columns), None)


def _from_table(table: Table) -> UserModel:
    return _checked(f"Table {table.name!r}", UserModel(table, dict(table.columns), None))


_mapping = Lock()


def _from_class(model: type[Any], table: Table | None) -> UserModel:
    name = getattr(model, "__name__", repr(model))
    with _mapping:
        mapper = inspect(model, raiseerr=False)
        if mapper is None and isinstance(model, type) and table is not None:
            _checked(name, UserModel(table, dict(table.columns), None))
            mapper = registry(metadata=table.metadata).map_imperatively(model, table)
    if not isinstance(mapper, Mapper):
        raise TypeError(
            f"{name} is not mapped: register_user_model({name}, table) maps it to its Table"
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
    return _checked(name, UserModel(local, columns, mapper))


def _checked(name: str, model: UserModel) -> UserModel:
    for attribute in REQUIRED:
        if attribute not in model.columns:
            raise TypeError(f"{name} has no column attribute {attribute!r}")
    if not is_unique(model.columns["username"]):
        raise ValueError(f"{name}.username is neither the primary key nor unique")
    for attribute in ("email", "username_key"):
        if attribute in model.columns and not is_unique(model.columns[attribute]):
            warnings.warn(
                f"{name}.{attribute} has no unique constraint or index that SQLAlchemy knows of;"
                " without one, two users may have the same",
                stacklevel=5,
            )
    return model


def is_unique(column: Column[Any]) -> bool:
    """Whether a key or index of the column's table holds it alone to be unique."""
    table = column.table
    if not isinstance(table, Table):
        return False
    keys = (PrimaryKeyConstraint, UniqueConstraint)
    uniques: list[list[Any]] = [
        list(key.columns) for key in table.constraints if isinstance(key, keys)
    ]
    uniques += [
        list(index.expressions) for index in table.indexes if index.unique and _is_whole(index)
    ]
    return any(len(unique) == 1 and unique[0] is column for unique in uniques)


def _is_whole(index: Index) -> bool:
    return not any(option.endswith("_where") for option in index.kwargs)
