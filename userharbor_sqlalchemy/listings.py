"""What an application shows of its accounts, beside the protocol: its users, a user's sessions.

What operators do stands in maintenance.py.
"""

from collections.abc import Iterator
from typing import Generic

from sqlalchemy import bindparam, delete, func, not_, select
from userharbor.exceptions import InvalidUsernameError
from userharbor.interfaces import UserT, UserToken

from .connections import Connections
from .expressions import identical
from .lookups import Lookup
from .paging import check_size, count_of, pages
from .tables import Tables
from .users import Users
from .values import (
    TOKEN_HASH_LENGTH,
    as_naive_utc,
    is_storable,
)


class ListingMethods(Generic[UserT]):
    """Listing users, and a user's sessions."""

    def __init__(
        self, connections: Connections, users: Users, lookup: Lookup, tables: Tables
    ) -> None:
        self._connections = connections
        self._users = users
        self._lookup = lookup
        sessions = tables.sessions
        given_token_hash = bindparam("given_token_hash", type_=sessions.c.token_hash.type)
        self._select_sessions = (
            select(users.spelled, sessions.c.token_hash, sessions.c.expires_at)
            .join_from(sessions, users.table, sessions.c.username == users.username)
            .where(users.is_named)
            .order_by(sessions.c.expires_at.desc(), sessions.c.token_hash)
        )
        self._delete_sessions = delete(sessions).where(sessions.c.username == users.owner)
        self._delete_other_sessions = self._delete_sessions.where(
            not_(identical(sessions.c.token_hash, given_token_hash))
        )
        is_user = (users.username.is_not(None), *users.is_one)
        self._count_users = select(func.count()).select_from(users.table).where(*is_user)
        self._select_users = lookup.select.where(*is_user)

    def list_sessions(self, username: str) -> list[UserToken]:
        """Return the user's sessions, expired or not, that which lasts longest first.

        `expires_at` is naive UTC. The list is empty if there is no such user.
        """
        parameters = self._users.named(username, of_primary=False)
        rows = self._connections.all(self._select_sessions, parameters)
        return [
            UserToken(row.username, row.token_hash, as_naive_utc(row.expires_at))
            for row in rows
            if self._users.found(row.username, parameters)
        ]

    def remove_other_sessions(self, username: str, token_hash: str) -> int:
        """Remove the user's sessions but that of `token_hash`; return how many there were.

        All of them where none of them has this hash.
        """
        parameters = {**self._users.named(username), "given_token_hash": token_hash}
        if not is_storable(token_hash, TOKEN_HASH_LENGTH):
            return self._connections.execute(self._delete_sessions, parameters)
        return self._connections.execute(self._delete_other_sessions, parameters)

    def count_users(self) -> int:
        """Return how many users there are."""
        return count_of(self._connections, self._count_users)

    def iter_users(self, *, after: str | None = None, page_size: int = 1000) -> Iterator[UserT]:
        """Iterate over all users, as lookups return them, in the database's order of usernames.

        Reads `page_size` of them at a time, each page by itself, as it is by then; `after` is the
        name to go on behind. `ValueError` for a `page_size` that is not from 1 to 10,000,
        `InvalidUsernameError` for an `after` that no column can hold.
        """
        check_size("page_size", page_size)
        if after is not None and not is_storable(after, len(after)):
            raise InvalidUsernameError("Username can't be stored")
        walk = pages(
            self._connections,
            self._select_users,
            self._users.username,
            self._lookup.username,
            page_size,
            after=after,
        )
        return (self._lookup.user(row) for page in walk for row in page)
