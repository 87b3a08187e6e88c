"""Tokens: what sessions, e-mail verifications and password resets have in common.

The row of a user is locked before the rows of the user's tokens, everywhere, or two calls
could wait for each other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    case,
    delete,
    func,
    insert,
    not_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from userharbor.exceptions import UserHarborError
from userharbor.interfaces import UserToken

from ..engine.backends import backend_of
from ..engine.database import Database
from ..errors import AlreadyExistsError, UnknownUserError
from ..schema.values import (
    TOKEN_HASH_LENGTH,
    as_naive_utc,
    as_utc,
    is_storable,
    is_storable_key,
    plain,
)
from .expressions import (
    UPSERTING,
    delete_by_key,
    identical,
    share_locked,
    unless_enforced,
    upsert,
    where_read_order_locks,
)
from .users import Users

T = TypeVar("T")


class TokenTable:
    """One of the three tables, and the statements on it."""

    def __init__(
        self,
        database: Database,
        users: Users,
        table: Table,
        *,
        invalid: type[UserHarborError],
        taken: type[AlreadyExistsError],
    ) -> None:
        self._database = database
        self._users = users
        self._invalid = invalid
        self._taken = taken

        token_hash: BindParameter[str] = _given(table.c.token_hash)
        username: BindParameter[str] = _given(table.c.username)
        expires_at: BindParameter[datetime] = _given(table.c.expires_at)
        by_hash = identical(table.c.token_hash, token_hash)
        columns = (table.c.username, table.c.token_hash, table.c.expires_at)
        row = {"token_hash": token_hash, "username": username, "expires_at": expires_at}

        self._select_any = select(*columns).where(table.c.token_hash == token_hash)
        # A row whose user is gone belongs to nobody: whoever takes the name next must not get it.
        self._select_owned = self._select_any.where(unless_enforced(users.has(table.c.username)))
        self._select = self._select_owned.where(*users.is_active(table.c.username))
        self._select_locked = self._select.with_for_update()
        self._select_to_spend = _select_to_spend(users, table, token_hash)
        self._select_taken = self._select_any.with_for_update(read=True)
        self._select_hashes = select(table.c.token_hash).where(table.c.username == username)
        of_owner = table.c.username == users.key
        self._lock = users.lock.where(*users.active)
        self._lock_with_hashes = self._lock.add_columns(
            *(
                select(function(table.c.token_hash)).where(of_owner).scalar_subquery().label(name)
                for name, function in (("least", func.min), ("greatest", func.max))
            )
        )
        self._select_hashes_locked = self._select_hashes.with_for_update()
        self._select_of_user = users.select_of(
            table.c.username, table.c.token_hash, table.c.expires_at
        ).order_by(table.c.expires_at.desc(), table.c.token_hash)
        self._insert = insert(table).values(row)
        columns_of_row: list[ColumnElement[Any]] = [
            token_hash.label("token_hash"),
            users.key.label("username"),
            expires_at.label("expires_at"),
        ]
        row_of_user = select(*columns_of_row).where(users.matches, *users.active)
        self._insert_for_user = (
            insert(table)
            .from_select(list(row), share_locked(row_of_user))
            .execution_options(preserve_rowcount=True)
        )
        self._has_unique_index = True
        self._upsert_for_user = upsert(
            row_of_user.with_for_update(key_share=True), table.c.username
        ).execution_options(preserve_rowcount=True)
        self._replace = (
            update(table)
            .where(table.c.token_hash == bindparam("replaced_token_hash"))
            .values(token_hash=token_hash, expires_at=expires_at)
        )
        self._refresh = update(table).where(by_hash).values(expires_at=expires_at)
        self._delete = delete(table).where(by_hash)
        self._delete_of_user = delete(table).where(users.owns(table.c.username))
        self._delete_others = self._delete_of_user.where(not_(by_hash))

        self._count = select(func.count()).select_from(table)
        self._key = table.c.token_hash
        is_expired = table.c.expires_at < bindparam("limit", type_=table.c.expires_at.type)
        flagged: list[ColumnElement[Any]] = [
            table.c.token_hash,
            case((is_expired, 1), else_=0).label("is_expired"),
        ]
        self._select_flagged = select(*flagged)
        # By their keys: a range would lock the live rows within it on MySQL. And by their
        # expiry again, which may have been put off since it was read.
        self._delete_expired = delete_by_key(table).where(
            table.c.token_hash.in_(bindparam("expired", expanding=True)), is_expired
        )

    def get(self, token_hash: str) -> UserToken | None:
        """The token, or None."""
        return _token(self._database.first(self._select, _hashed(token_hash)), token_hash)

    def get_to_spend(self, token_hash: str) -> UserToken | None:
        """The token, or None; within `transaction()` no other transaction gets it until the end."""
        if not self._database.in_transaction:
            return self.get(token_hash)
        if self._database.locks_at_once:
            row = self._database.first(self._select_to_spend, _hashed(token_hash))
            token = _token(row, token_hash)
            self._database.lock_once((self, token_hash), lambda: token is not None)
            return token
        self._lock_owner(token_hash)
        # What another transaction spent meanwhile is gone when it is read again.
        row = self._database.first(self._select_locked, _hashed(token_hash))
        return _token(row, token_hash)

    def of_user(self, username: str) -> list[UserToken]:
        """The user's tokens, the longest-lasting first."""
        parameters = self._users.resolve(username, of_primary=False)
        rows = self._database.all(self._select_of_user, parameters)
        return [
            UserToken(row.username, row.token_hash, as_naive_utc(row.expires_at))
            for row in rows
            if self._users.found(row.username, parameters)
        ]

    def row(self, token_hash: str, expires_at: datetime) -> dict[str, Any]:
        """The parameters of a new row, its owner's name aside.

        The core's error for a hash that no column can hold.
        """
        if not is_storable_key(token_hash, TOKEN_HASH_LENGTH):
            raise self._invalid("Token hash can't be stored")
        return {"given_token_hash": plain(token_hash), "given_expires_at": as_utc(expires_at)}

    def insert(self, connection: Connection, username: str, row: dict[str, Any]) -> None:
        """Store `row` for the user that is spelled `username`."""
        connection.execute(self._insert, {**row, "given_username": username})

    def add(self, token: UserToken) -> None:
        """Store `token` beside the others of its user."""
        if not self._database.insert(
            self._insert_for_user,
            self._parameters(token),
            lambda: self.check_not_taken(token.token_hash),
        ):
            raise UnknownUserError

    def replace(self, token: UserToken) -> None:
        """Store `token` in the place of those of its user."""
        parameters = self._parameters(token)

        def refused() -> None:
            self.check_not_taken(token.token_hash)

        if self._upsert(parameters, refused):
            return
        if not self._database.unit(partial(self._replace_with, parameters), refused):
            raise UnknownUserError

    def refresh(self, token_hash: str, expires_at: datetime) -> None:
        """Let the token, if it is there, expire at `expires_at`."""
        self._lock_owner(token_hash)
        self._database.execute(
            self._refresh, {**_hashed(token_hash), "given_expires_at": as_utc(expires_at)}
        )

    def remove(self, token_hash: str) -> None:
        """Remove the token if it is there."""
        self._lock_owner(token_hash)
        self._database.execute(self._delete, _hashed(token_hash))

    def remove_of_user(self, username: str) -> None:
        """Remove all tokens of the user, if there are any."""
        self._database.execute(self._delete_of_user, self._users.resolve(username))

    def remove_others(self, username: str, token_hash: str) -> int:
        """Remove the user's tokens but that of `token_hash`; return how many there were."""
        parameters = {**self._users.resolve(username), **_hashed(token_hash)}
        if not is_storable(token_hash, TOKEN_HASH_LENGTH):
            return self._database.execute(self._delete_of_user, parameters)
        return self._database.execute(self._delete_others, parameters)

    def remove_with(self, connection: Connection, parameters: Mapping[str, Any]) -> None:
        """Remove all tokens of the user that `parameters` find, as a part of a unit."""
        connection.execute(self._delete_of_user, parameters)

    def count(self) -> int:
        """How many tokens there are."""
        return self._database.count(self._count)

    def purge(self, limit: datetime, batch_size: int) -> Iterator[tuple[int, int]]:
        """Remove what expired before `limit`; for each batch, how many rows it had and lost."""
        rows = self._select_flagged.params(limit=limit)
        pages = self._database.pages(rows, self._key, lambda row: str(row.token_hash), batch_size)
        for page in pages:
            expired = [row.token_hash for row in page if row.is_expired]
            removed = 0
            if expired:
                parameters = {"expired": expired, "limit": limit}
                removed = self._database.execute(self._delete_expired, parameters)
            yield len(page), removed

    def check_not_taken(self, token_hash: str) -> None:
        """Raise the core's error if a token has this hash."""
        row = self._database.first(self._select_taken, _hashed(token_hash), of_primary=True)
        if row is not None:
            raise self._taken

    def _lock_owner(self, token_hash: str) -> None:
        """Within `transaction()`: lock the row of the token's user before that of the token."""

        def lock() -> bool:
            row = self._database.first(self._select_owned, _hashed(token_hash))
            token = _token(row, token_hash)
            return token is not None and self._users.lock_by_name(token.username)

        self._database.lock_once((self, token_hash), lock)

    def _parameters(self, token: UserToken) -> dict[str, Any]:
        return {
            **self.row(token.token_hash, token.expires_at),
            **self._users.resolve(token.username),
        }

    def _upsert(self, parameters: dict[str, Any], refused: Callable[[], None]) -> bool:
        """Replace by one statement, where the database has it; return whether it did."""
        dialect = self._database.bind.dialect
        if not (self._has_unique_index and dialect.name in UPSERTING):
            return False
        try:
            return bool(self._database.insert(self._upsert_for_user, parameters, refused))
        except DBAPIError as error:
            if not backend_of(dialect).lacks_unique_index(error):
                raise
        # A table of 0.7.0 has none. That one is created meanwhile need not be noticed.
        self._has_unique_index = False
        return False

    def _replace_with(self, parameters: dict[str, Any], connection: Connection) -> bool:
        """Replace by primary key: a DELETE by `username` would lock gaps of other users' rows."""
        owner, hashes = self._lock_owner_of(connection, parameters)
        if owner is None:
            return False
        for superseded in hashes[1:]:
            connection.execute(self._delete, {"given_token_hash": superseded})
        replaced = (
            hashes
            and connection.execute(
                self._replace, {**parameters, "replaced_token_hash": hashes[0]}
            ).rowcount
        )
        if not replaced:
            self.insert(connection, owner, parameters)
        return True

    def _lock_owner_of(
        self, connection: Connection, parameters: dict[str, Any]
    ) -> tuple[str | None, list[str]]:
        """Lock the user's row; the name as it was stored, and the hashes of the user's tokens."""
        in_transaction = self._database.in_transaction
        with_hashes = backend_of(connection.dialect).reads_after_locks and not in_transaction
        lock = self._lock_with_hashes if with_hashes else self._lock
        row = connection.execute(lock, parameters).first()
        if row is None or not self._users.found(row.username, parameters):
            return None, []
        if with_hashes and row.least == row.greatest:
            return row.username, [] if row.least is None else [row.least]
        # In a transaction of the caller's, a plain read may be older than the lock; by itself, a
        # locking one would lock gaps on MySQL.
        select_hashes = self._select_hashes_locked if in_transaction else self._select_hashes
        rows = connection.execute(select_hashes, {"given_username": row.username})
        return row.username, [hashed[0] for hashed in rows]


def _select_to_spend(users: Users, table: Table, token_hash: BindParameter[str]) -> Select[Any]:
    """A query of the token that locks its user's row, and then its own."""
    by = users.found_by
    user, token = users.table.alias(), table.alias()
    owner = (
        select(user.c[by.key])
        .join_from(token, user, user.c[users.key.key] == token.c.username)
        .where(token.c.token_hash == token_hash)
        .scalar_subquery()
    )
    columns = [table.c[name] for name in ("username", "token_hash", "expires_at")]
    return (
        select(*columns)
        .join_from(users.table, table, identical(users.key, table.c.username))
        .where(table.c.token_hash == token_hash, where_read_order_locks(by == owner), *users.active)
        .with_for_update(key_share=True, of=[users.table, table])
    )


def _given(column: ColumnElement[T]) -> BindParameter[T]:
    """A parameter for a value of `column`, and not of its name, which an UPDATE would reserve."""
    return bindparam(f"given_{column.key}", type_=column.type)


def _hashed(token_hash: str) -> dict[str, Any]:
    """The parameters that find a token. A hash that no column can hold finds none."""
    is_there = is_storable(token_hash, TOKEN_HASH_LENGTH)
    return {"given_token_hash": plain(token_hash) if is_there else None}


def _token(row: Sequence[Any] | None, token_hash: str) -> UserToken | None:
    """`row` as a token, if it is that of `token_hash` in the eyes of Python too."""
    if row is None:
        return None
    username, stored_hash, expires_at = row
    if stored_hash != token_hash:
        return None
    return UserToken(username, stored_hash, as_naive_utc(expires_at))
