"""Tables of names, those of roles and of permissions, and of grants that join two tables."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Column, Delete, Insert, Select, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError
from userharbor.exceptions import UserHarborError

from .connections import Connections
from .dialects import enforces_foreign_keys
from .errors import AlreadyExistsError
from .expressions import identical
from .retry import ATTEMPTS
from .values import NAME_LENGTH, is_storable, is_storable_key


class NameTable:
    """A table whose rows are names, told apart byte for byte, that other tables refer to."""

    def __init__(
        self,
        connections: Connections,
        column: Column[str],
        referring: list[Column[str]],
        invalid: type[UserHarborError],
        taken: type[AlreadyExistsError],
    ) -> None:
        self._connections = connections
        self._invalid = invalid
        self._taken = taken
        name = bindparam(f"given_{column.name}", type_=column.type)
        self.name = name
        self._label = column.name.capitalize()
        self._parameter = name.key
        self.is_named: identical = identical(column, name)
        self._select = select(column).where(column == name)
        self._select_taken = self._select.with_for_update(read=True)
        self._select_all = select(column)
        self._insert = insert(column.table).values({column.name: name})
        self._delete = delete(column.table).where(self.is_named)
        self._delete_referring = [
            delete(reference.table).where(identical(reference, name)) for reference in referring
        ]

    def named(self, name: str) -> dict[str, Any]:
        """The parameters of `is_named`. A name that no column can hold finds no row."""
        return {self._parameter: name if is_storable(name, NAME_LENGTH) else None}

    def all(self) -> set[str]:
        """All names."""
        return {row[0] for row in self._connections.all(self._select_all, {})}

    def exists(self, name: str, *, of_primary: bool = False) -> bool:
        """Whether there is a row of this name; `of_primary`: as writes see it."""
        row = self._connections.first(self._select, self.named(name), of_primary=of_primary)
        return row is not None and row[0] == name

    def is_taken(self, name: str) -> AlreadyExistsError | None:
        """The error that the database refuses this name to a new row; None if it does not."""
        parameters = self.named(name)
        row = self._connections.first(self._select_taken, parameters, of_primary=True)
        return None if row is None else self._taken()

    def create(self, name: str) -> None:
        """Store a name; an error of the core's if it is there or if no column can hold it."""
        if not is_storable_key(name, NAME_LENGTH):
            raise self._invalid(f"{self._label} can't be stored")
        self._connections.explained(
            lambda: self._connections.insert(self._insert, self.named(name)),
            lambda: self.is_taken(name),
        )

    def delete(self, name: str) -> None:
        """Remove a name, if it is there, and the grants that refer to it."""
        statements = [*self._delete_referring, self._delete]
        delete_with_referring(self._connections, self._delete, statements, self.named(name))


def grant(
    connections: Connections, statement: Insert, granted: Select[Any], parameters: Mapping[str, Any]
) -> bool:
    """Store a grant; return whether it is there, which takes both its sides.

    `granted` selects its row, as it is by now.
    """
    for _ in range(ATTEMPTS):
        # Refused, it was there before, or one side went away under the statement.
        with suppress(IntegrityError):
            return connections.insert(statement, parameters) > 0
        if connections.first(granted, parameters, of_primary=True) is not None:
            return True
    return False


def delete_with_referring(
    connections: Connections,
    statement: Delete,
    statements: list[Delete],
    parameters: Mapping[str, Any],
) -> None:
    """Issue a DELETE, or all of `statements` where the database would leave the referring rows."""
    if enforces_foreign_keys(connections.bind.dialect):
        connections.execute(statement, parameters)
    else:
        connections.unit(
            lambda connection: [connection.execute(each, parameters) for each in statements]
        )
