"""Roles and permissions: the tables of their names, and of who has which."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    insert,
    select,
)
from userharbor.exceptions import UserHarborError

from ..engine.database import Database
from ..errors import AlreadyExistsError
from ..schema.values import NAME_LENGTH, is_storable, is_storable_key, plain
from .expressions import identical, share_locked, unless_enforced
from .leftovers import Leftovers
from .users import Users


class Names:
    """A table whose rows are names, told apart byte for byte, that other tables refer to."""

    def __init__(
        self,
        database: Database,
        key: Column[str],
        referring: list[Column[str]],
        *,
        invalid: type[UserHarborError],
        taken: type[AlreadyExistsError],
        unknown: type[UserHarborError],
    ) -> None:
        self._database = database
        self._invalid = invalid
        self._taken = taken
        self._unknown = unknown
        name = bindparam(f"given_{key.name}", type_=key.type)
        self.key = key
        self.table: Table = key.table
        self._name = name
        self._parameter = name.key
        self.matches: identical = identical(key, name)
        self._select = select(key).where(key == name)
        self._select_taken = self._select.with_for_update(read=True)
        self._select_all = select(key)
        self._insert = insert(key.table).values({key.name: name})
        self._delete = delete(key.table).where(self.matches)
        self._leftovers = Leftovers(
            (reference.table, self.owns(reference)) for reference in referring
        )

    def resolve(self, name: str, *, of_primary: bool = True) -> dict[str, Any]:
        """The parameters of `matches`. A name that no column can hold finds no row."""
        return {self._parameter: plain(name) if is_storable(name, NAME_LENGTH) else None}

    def found(self, stored: str, parameters: Mapping[str, Any]) -> bool:
        """Whether the name in a row is the one asked for, whatever the collation folds."""
        return bool(stored == parameters[self._parameter])

    def has(self, reference: Column[str]) -> ColumnElement[bool]:
        """The condition that the name is there to which a row of another table refers."""
        return exists().where(self.key == reference)

    def owns(self, reference: Column[str]) -> ColumnElement[bool]:
        """The condition of a write that a row of another table refers to the name."""
        return identical(reference, self._name)

    def select_of(self, reference: Column[str], *columns: Column[Any]) -> Select[Any]:
        """A query of the rows of another table that refer to the name, which comes first."""
        return select(reference, *columns).where(
            reference == self._name, unless_enforced(self.has(reference))
        )

    def all(self) -> set[str]:
        """All names."""
        return {row[0] for row in self._database.all(self._select_all, {})}

    def exists(self, name: str, *, of_primary: bool = False) -> bool:
        """Whether there is a row of this name; `of_primary`: as writes see it."""
        parameters = self.resolve(name)
        row = self._database.first(self._select, parameters, of_primary=of_primary)
        return row is not None and self.found(row[0], parameters)

    def check_exists(self, name: str) -> None:
        """The core's error unless there is a row of this name, as writes see it."""
        if not self.exists(name, of_primary=True):
            raise self.unknown()

    def unknown(self) -> UserHarborError:
        """The error that there is no such name."""
        return self._unknown(f"Unknown {self.key.name}")

    def create(self, name: str) -> None:
        """Store a name; an error of the core's if it is there or if no column can hold it."""
        if not is_storable_key(name, NAME_LENGTH):
            raise self._invalid(f"{self.key.name.capitalize()} can't be stored")
        parameters = self.resolve(name)

        def insert_alone(connection: Connection) -> None:
            connection.execute(self._insert, parameters)
            self._leftovers.remove(connection, parameters)

        if self._database.enforces_foreign_keys:
            self._database.insert(self._insert, parameters, lambda: self._check_not_taken(name))
        else:
            self._database.unit(insert_alone, lambda: self._check_not_taken(name))

    def delete(self, name: str) -> None:
        """Remove a name, if it is there, and the grants that refer to it."""
        self._database.delete(
            self._delete, [*self._leftovers.deletes, self._delete], self.resolve(name)
        )

    def _check_not_taken(self, name: str) -> None:
        row = self._database.first(self._select_taken, self.resolve(name), of_primary=True)
        if row is not None:
            raise self._taken


class Grants:
    """A table of grants: of roles to users, or of permissions to roles."""

    def __init__(
        self, database: Database, table: Table, holder: Users | Names, granted: Names
    ) -> None:
        self._database = database
        self._holder = holder
        self._granted = granted
        to, what = table.primary_key
        self.to: Column[str] = to
        self.what: Column[str] = what
        self.granted_exists: ColumnElement[bool] = unless_enforced(granted.has(what))
        self._select = holder.select_of(to, what).where(self.granted_exists)
        both = select(holder.key, granted.key).join_from(
            holder.table, granted.table, granted.matches
        )
        self._insert = (
            insert(table)
            .from_select([to, what], share_locked(both.where(holder.matches)))
            .execution_options(preserve_rowcount=True)
        )
        by_both = (holder.owns(to), granted.owns(what))
        self._select_granted = select(what).where(*by_both).with_for_update(read=True)
        self._delete = delete(table).where(*by_both)
        self.by_name: Select[Any] = select(to).where(granted.owns(what), self.granted_exists)
        """A query of those who have what `granted.resolve(name)` finds, by plain references."""

    def grant(self, holder: str, name: str) -> None:
        """Store a grant, which may be there; the core's error if one of its sides is not."""
        parameters = {**self._holder.resolve(holder), **self._granted.resolve(name)}
        if not self._database.insert(
            self._insert, parameters, lambda: self._count_granted(parameters)
        ):
            self._holder.check_exists(holder)
            raise self._granted.unknown()

    def revoke(self, holder: str, name: str) -> None:
        """Remove a grant, which may not be there, nor either of its sides."""
        parameters = {**self._holder.resolve(holder), **self._granted.resolve(name)}
        self._database.execute(self._delete, parameters)

    def of(self, holder: str) -> set[str]:
        """What is granted to `holder`."""
        return _granted(self._database, self._select, self._holder, holder)

    def _count_granted(self, parameters: Mapping[str, Any]) -> int | None:
        """Refused, it was there before, or one side went away under the statement."""
        row = self._database.first(self._select_granted, parameters, of_primary=True)
        return None if row is None else 1


class UserPermissions:
    """What users may do by any of their roles: a query of both tables of grants."""

    def __init__(
        self, database: Database, users: Users, user_roles: Grants, role_permissions: Grants
    ) -> None:
        self._database = database
        self._users = users
        role, permission = role_permissions.to, role_permissions.what
        self.select_of_any: Select[Any] = (
            users.select_of_any(user_roles.to, permission)
            .join(role.table, role == user_roles.what)
            .where(user_roles.granted_exists, role_permissions.granted_exists)
        )
        """A query of the permissions of a user, who need not be active."""
        self._select = self.select_of_any.where(*users.active)
        self.by_name: Select[Any] = (
            select(user_roles.to)
            .where(user_roles.what.in_(role_permissions.by_name))
            .where(user_roles.granted_exists)
        )
        """A query of those who have what `resolve(permission)` finds, by plain references."""

    def of(self, username: str) -> set[str]:
        """The permissions of all the user's roles."""
        return _granted(self._database, self._select, self._users, username)


def _granted(
    database: Database, statement: Select[Any], holder: Users | Names, name: str
) -> set[str]:
    parameters = holder.resolve(name, of_primary=False)
    rows = database.all(statement, parameters)
    return {row[-1] for row in rows if holder.found(row[0], parameters)}
