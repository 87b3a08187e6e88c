"""What lookups select of the user table, and what they make of a row.

Which row it is stands in users.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Mapper, class_mapper, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from .models import UserModel


@dataclass
class User:
    """What lookups return by default. An application may subclass it, as a dataclass too.

    `username` and `email` are spelled as they were stored.
    """

    username: str
    email: str
    verified: bool


def _to_user(row: Sequence[Any]) -> User:
    username, email, verified = row
    return User(username, email, verified)


class Lookup:
    """What a lookup selects of the user table, and what it makes of a row."""

    def __init__(self, model: UserModel, user_mapper: Callable[[Any], Any] | None) -> None:
        self.select: Select[Any]
        attributes = list(model.columns)
        self.user: Callable[[Any], Any] = user_mapper or _to_user
        if user_mapper is None:
            attributes = ["username", "email", "verified"]
            self.select = select(*(model.columns[name].label(name) for name in attributes))
        elif model.mapper is None:
            self.select = select(model.table)
        else:
            self.select = select(*model.columns.values())
            instance = _instances(model.mapper, attributes)
            self.user = lambda row: user_mapper(instance(row))
        self._username_at = attributes.index("username")
        self._email_at = attributes.index("email")

    def username(self, row: Sequence[Any]) -> str:
        """The username in a row of `select`."""
        return str(row[self._username_at])

    def email(self, row: Sequence[Any]) -> str:
        """The e-mail address in a row of `select`."""
        return str(row[self._email_at])


def _instances(mapper: Mapper[Any], attributes: list[str]) -> Callable[[Sequence[Any]], Any]:
    """A function that makes a detached instance of the mapped class of a row's values."""

    def instance(row: Sequence[Any]) -> Any:
        # Attributes are there once mappers are configured, which the first call sees to.
        made = class_mapper(mapper.class_).class_manager.new_instance()
        for attribute, value in zip(attributes, row, strict=True):
            set_committed_value(made, attribute, value)
        make_transient_to_detached(made)
        return made

    return instance
