"""Tables of names, those of roles and of permissions, and of grants that join two tables."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Column, Delete, Insert, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError
from userharbor.exceptions import UserHarborError

from .connections import Connections
from .dialects import enforces_foreign_keys, identical
from .errors import AlreadyExistsError
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
        self.is_named = identical(column, name)
        self._select = select(column).where(column == name)
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

    def exists(self, name: str) -> bool:
        """Whether there is a row of this name."""
        row = self._connections.first(self._select, self.named(name))
        return row is not None and row[0] == name

    def create(self, name: str) -> None:
        """Store a name; an error of the core's if it is there or if no column can hold it."""
        if not is_storable_key(name, NAME_LENGTH):
            raise self._invalid(f"{self._label} can't be stored")
        parameters = self.named(name)
        try:
            self._connections.insert(self._insert, parameters)
        except IntegrityError as refusal:
            taken = self._connections.first(self._select, parameters) is not None
            raise (self._taken() if taken else refusal) from None

    def delete(self, name: str) -> None:
        """Remove a name, if it is there, and the grants that refer to it."""
        statements = [*self._delete_referring, self._delete]
        delete_with_referring(self._connections, self._delete, statements, self.named(name))


def grant(
    connections: Connections,
    statement: Insert,
    parameters: Mapping[str, Any],
    is_granted: Callable[[], bool],
) -> bool:
    """Store a grant; return whether it is there, which takes both its sides."""
    try:
        if connections.insert(statement, parameters):
            return True
    except IntegrityError:
        # It was there before, or one side went away between the two halves of the statement.
        pass
    return is_granted()


def delete_with_referring(
    connections: Connections,
    statement: Delete,
    statements: list[Delete],
    parameters: Mapping[str, Any],
) -> None:
    """Issue a DELETE, or all of `statements` where the database would leave the referring rows."""
    if enforces_foreign_keys(connections.dialect):
        connections.execute(statement, parameters)
    else:
        connections.unit(
            lambda connection: [connection.execute(each, parameters) for each in statements]
        )
