"""Rows of the user table as detached instances of the application's class, as the ORM loads them.

The ORM itself makes them by queries of its own only, in a session.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, inspect, null
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Mapper, class_mapper, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

_NO_EXPRESSION = null().label(None)


class Instances:
    """Makes instances of a mapped class, or of the subclass that a row's discriminator names.

    Of rows that have `columns`: each column and column property of the table's classes, but for
    those that are deferred or wait for an expression.
    """

    def __init__(self, mapper: Mapper[Any]) -> None:
        self._mapper: Mapper[Any] = class_mapper(mapper.class_)
        self.columns: list[ColumnElement[Any]] = []
        self._places: dict[ColumnElement[Any], int] = {}
        self._attributes: dict[Mapper[Any], list[tuple[str, int]]] = {}
        for each in mapper.self_and_descendants:
            if each.local_table is mapper.local_table:
                for attribute in each.column_attrs:
                    column = attribute.columns[0]
                    if not (attribute.deferred or column.compare(_NO_EXPRESSION)):
                        self.place(column)
        on = mapper.polymorphic_on
        self._discriminator = None if on is None else self.place(on)

    def place(self, column: ColumnElement[Any]) -> int:
        """Where a row has `column`, which is one of `columns` from then on."""
        if column not in self._places:
            self._places[column] = len(self.columns)
            self.columns.append(column)
        return self._places[column]

    def make(self, row: Sequence[Any]) -> Any:
        """The instance; listeners for its load were called, and `__init__` was not."""
        mapper = self._mapper_of(row)
        if mapper not in self._attributes:
            self._attributes[mapper] = self._attributes_of(mapper)
        instance: Any = mapper.class_manager.new_instance()
        for key, place in self._attributes[mapper]:
            set_committed_value(instance, key, row[place])
        make_transient_to_detached(instance)
        # By no public name. Reconstructors, composites and mutable types listen, too.
        mapper.class_manager.dispatch.load(inspect(instance), None)
        return instance

    def _mapper_of(self, row: Sequence[Any]) -> Mapper[Any]:
        identity = None if self._discriminator is None else row[self._discriminator]
        if identity is None:
            return self._mapper
        mapper: Mapper[Any] | None = self._mapper.polymorphic_map.get(identity)
        if mapper is None:
            raise InvalidRequestError(
                f"{self._mapper.class_.__name__} has no subclass whose polymorphic_identity is"
                f" {identity!r}: has the application imported it?"
            )
        return mapper

    def _attributes_of(self, mapper: Mapper[Any]) -> list[tuple[str, int]]:
        """The attributes of the class that a row has, and where."""
        return [
            (attribute.key, self._places[column])
            for attribute in mapper.column_attrs
            if not attribute.deferred and attribute.key in mapper.all_orm_descriptors
            for column in attribute.columns
            if column in self._places
        ]
