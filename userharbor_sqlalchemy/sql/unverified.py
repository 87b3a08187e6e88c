"""Users who never verified their e-mail: removed, with all that is theirs, by batches."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
)

from ..engine.backends import backend_of
from ..engine.database import Database
from ..schema.tables import Tables
from ..schema.user_model import UserModel
from .accounts import Accounts
from .expressions import identical
from .users import Users


class Unverified:
    """The users whose e-mail verification has expired, found by its table's primary key.

    A user without one may be the application's, or one whom it has banned.
    """

    def __init__(
        self,
        database: Database,
        users: Users,
        accounts: Accounts[Any],
        model: UserModel,
        tables: Tables,
    ) -> None:
        self._database = database
        self._users = users
        self._accounts = accounts
        verifications = tables.email_verifications
        limit = bindparam("limit", type_=verifications.c.expires_at.type)
        expired = verifications.c.expires_at < limit
        no, _ = model.flags
        # Some types of databases' own have no comparison to SQLAlchemy.
        flag = type_coerce(model.columns["verified"], Integer)
        is_unverified = or_(flag.is_(None), flag == literal(no, model.columns["verified"].type))
        of_user = identical(verifications.c.username, users.key)
        usernames: BindParameter[Any] = bindparam("usernames", expanding=True, type_=users.key.type)
        named = users.is_in(usernames)
        # Of a user who is not active, the name stays taken.
        doomed = (
            is_unverified,
            *users.active,
            exists().where(of_user, expired),
            ~exists().where(of_user, ~expired),
        )
        self._key = verifications.c.token_hash
        columns: list[ColumnElement[Any]] = [
            verifications.c.token_hash,
            verifications.c.username,
            case((expired, 1), else_=0).label("is_expired"),
        ]
        self._select = select(*columns)
        self._count = select(func.count()).select_from(verifications)
        # What a user does who is locked now, the next statement sees.
        some = (named, *users.of_model)
        self._lock = (
            select(users.key).where(*some, is_unverified).order_by(users.key).with_for_update()
        )
        self._select_doomed = select(users.key).where(*some, *doomed)
        self._delete = delete(users.table).where(*some, *doomed)
        self._delete_one = delete(users.table).where(users.matches, *doomed)

    def count(self) -> int:
        """How many verifications there are."""
        return self._database.count(self._count)

    def purge(self, limit: datetime, batch_size: int) -> Iterator[tuple[int, int]]:
        """Remove the users; for each batch of verifications, how many it had and how many went."""
        rows = self._select.params(limit=limit)
        pages = self._database.pages(rows, self._key, lambda row: str(row.token_hash), batch_size)
        for page in pages:
            names = [row.username for row in page if row.is_expired]
            yield len(page), self._remove(names, limit) if names else 0

    def _remove(self, names: list[str], limit: datetime) -> int:
        given = {"usernames": names, "limit": limit}

        def remove(connection: Connection) -> int:
            backend = backend_of(connection.dialect)
            if not backend.locks_in_order:
                return sum(self._remove_one(connection, name, limit) for name in sorted({*names}))
            if not backend.enforces_foreign_keys:
                doomed = connection.scalars(self._select_doomed, given).all()
                for username in doomed:
                    self._accounts.delete_within(connection, self._users.parameters(username))
                return len(doomed)
            connection.execute(self._lock, given)
            return int(connection.execute(self._delete, given).rowcount)

        return self._database.unit(remove)

    def _remove_one(self, connection: Connection, username: str, limit: datetime) -> int:
        # InnoDB locks an index's entry before the row: all calls find a user by the same index.
        given = {**self._users.parameters(username), "limit": limit}
        connection.execute(self._users.lock, given)
        return int(connection.execute(self._delete_one, given).rowcount)
