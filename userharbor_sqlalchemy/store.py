"""`SQLAlchemyUserStore`: the protocol's four parts on one set of tables and connections."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, overload

from sqlalchemy import Connection, MetaData, Row, delete, false, select
from sqlalchemy.orm import Session, scoped_session
from userharbor.interfaces import UserT

from . import tables as built_in
from .accounts import AccountMethods
from .connections import Connections, SessionFactory
from .permissions import PermissionMethods
from .roles import RoleMethods, role_table
from .tables import DEFAULT_PREFIX, define_tables
from .tokens import TokenMethods
from .users import User, Users, to_user


class SQLAlchemyUserStore(AccountMethods[UserT], TokenMethods, RoleMethods, PermissionMethods):
    """A `userharbor.interfaces.UserStore` on SQLite, PostgreSQL, MariaDB or MySQL.

    Each call works on a connection of the bind of `session_factory()`, and takes effect at
    once unless it stands in a `transaction()` block. The engine stays the application's. A
    store is safe to share between threads; each has its own blocks.

    Times are taken as UTC when they are naive, and come back as naive UTC.
    """

    @overload
    def __init__(
        self: "SQLAlchemyUserStore[User]",
        session_factory: SessionFactory,
        user_model: None = None,
        user_mapper: None = None,
        *,
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None: ...

    @overload
    def __init__(
        self,
        session_factory: SessionFactory,
        user_model: None = None,
        *,
        user_mapper: Callable[[Any], UserT],
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None: ...

    @overload
    def __init__(
        self,
        session_factory: SessionFactory,
        user_model: None,
        user_mapper: Callable[[Any], UserT],
        *,
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None: ...

    def __init__(
        self,
        session_factory: SessionFactory,
        user_model: None = None,
        user_mapper: Callable[[Row[Any]], Any] | None = None,
        *,
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None:
        """Define the tables; send no SQL, and leave `session_factory` uncalled.

        `session_factory` is a `sessionmaker` or a `scoped_session`, or any callable that
        returns a session. `user_mapper` gets the row of a lookup (`username`, `email`,
        `verified`), and what it returns is what lookups return; the default is `User`. The
        tables stand on `metadata`, by default on `userharbor_sqlalchemy.metadata`, and their
        names begin with `table_prefix`.
        """
        if user_model is not None:
            raise TypeError("user_model: an own user model is not supported yet")
        self.metadata = built_in.metadata if metadata is None else metadata
        """The MetaData that holds every table of this store."""
        tables = define_tables(self.metadata, table_prefix)
        connections = Connections(
            session_factory,
            reading=select(tables.users),
            writing=delete(tables.users).where(false()),
        )
        users = Users(connections, tables.users)
        roles = role_table(connections, tables)
        mapper: Callable[[Row[Any]], Any] = to_user if user_mapper is None else user_mapper
        TokenMethods.__init__(self, connections, users, tables)
        AccountMethods.__init__(self, connections, users, self._email_verifications, tables, mapper)
        RoleMethods.__init__(self, connections, users, roles, tables)
        PermissionMethods.__init__(self, connections, users, roles, tables)

    def transaction(
        self, bind: Session | scoped_session[Any] | Connection | None = None
    ) -> AbstractContextManager[None]:
        """Have all calls within the block take effect together, or none of them if it raises.

        A block within a block is a savepoint. With `bind`, the calls go on that session's
        connection, or on that connection: in a savepoint of it, and committing stays the
        caller's. A block belongs to the thread that opened it.
        """
        return self._connections.transaction(bind)
