"""`SQLAlchemyUserStore`: the protocol's four parts on one set of tables and connections."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, overload

from sqlalchemy import Connection, Engine, MetaData, Table
from sqlalchemy.orm import Session, scoped_session
from userharbor.interfaces import UserT

from .accounts import AccountMethods
from .binds import Binds, SessionFactory
from .connections import Connections
from .listings import ListingMethods
from .lookups import Lookup, User
from .maintenance import MaintenanceMethods
from .models import built_in, registered
from .permissions import PermissionMethods
from .roles import RoleMethods, role_table
from .tables import DEFAULT_PREFIX, define_tables
from .tables import metadata as built_in_metadata
from .tokens import TokenMethods, verification_table
from .username_keys import add_missing_keys
from .users import Users

AnyModel = type[Any] | Table


class SQLAlchemyUserStore(
    AccountMethods[UserT],
    TokenMethods,
    RoleMethods,
    PermissionMethods,
    ListingMethods[UserT],
    MaintenanceMethods,
):
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
        user_model: AnyModel | None = None,
        user_mapper: None = None,
        *,
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None: ...

    @overload
    def __init__(
        self,
        session_factory: SessionFactory,
        user_model: AnyModel | None = None,
        *,
        user_mapper: Callable[[Any], UserT],
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None: ...

    @overload
    def __init__(
        self,
        session_factory: SessionFactory,
        user_model: AnyModel | None,
        user_mapper: Callable[[Any], UserT],
        *,
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None: ...

    def __init__(
        self,
        session_factory: SessionFactory,
        user_model: AnyModel | None = None,
        user_mapper: Callable[[Any], Any] | None = None,
        *,
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None:
        """Define the tables; send no SQL, and leave `session_factory` uncalled.

        `session_factory` is a `sessionmaker` or a `scoped_session`, or any callable that
        returns a session.

        `user_model` is the application's own, as `register_user_model` takes it, and is
        registered where it was not; without one, users stand in a table of the store's own.
        `user_mapper` gets what a lookup found, and what it returns is what the lookup
        returns: for a class, a detached instance of it with its columns loaded; for a table,
        the store's own too, its row. Without one, lookups return a `User`.

        The tables stand on `metadata`, by default on that of `user_model` or on
        `userharbor_sqlalchemy.metadata`, and their names begin with `table_prefix`.

        `TypeError` and `ValueError` as `register_user_model` raises them.
        """
        if user_model is None:
            metadata = built_in_metadata if metadata is None else metadata
            tables = define_tables(metadata, table_prefix)
            model = built_in(tables)
        else:
            model, tables = registered(user_model, None, table_prefix)
            if metadata not in (None, model.table.metadata):
                raise ValueError("metadata is not that of user_model, where its tables stand")
        self.metadata: MetaData = model.table.metadata
        """The MetaData that holds every table of this store."""
        connections = Connections(Binds(session_factory, model.mapper, model.table))
        self._username_keys = tables.username_keys
        users = Users(connections, model, tables.username_keys)
        lookup = Lookup(model, user_mapper)
        roles = role_table(connections, tables)
        verifications = verification_table(connections, users, tables)
        AccountMethods.__init__(self, connections, users, lookup, verifications, model, tables)
        TokenMethods.__init__(self, connections, users, verifications, tables)
        RoleMethods.__init__(self, connections, users, roles, tables)
        PermissionMethods.__init__(self, connections, users, roles, tables)
        ListingMethods.__init__(self, connections, users, lookup, tables)
        MaintenanceMethods.__init__(self, connections, model, users, tables)

    @property
    def bind(self) -> Engine | Connection:
        """The engine or connection that writes go to, for `metadata.create_all(store.bind)`."""
        return self._connections.bind

    def transaction(
        self, bind: Session | scoped_session[Any] | Connection | None = None
    ) -> AbstractContextManager[None]:
        """Have all calls within the block take effect together, or none of them if it raises.

        A block within a block is a savepoint. With `bind`, the calls go on that session's
        connection, or on that connection: in a savepoint of it, and committing stays the
        caller's. A block belongs to the thread that opened it.
        """
        return self._connections.transaction(bind)

    def sync_username_keys(self) -> int:
        """Let users whom the application added by itself be found in any casing.

        Returns how many were taken in: 0 where `user_model` has a `username_key`, which is
        the application's to fill. All or none in one transaction, and safe to run again or
        while users register. `UsernamesCollideError` lists the names that differ in casing
        only.
        """
        keys = self._username_keys
        if keys is None:
            return 0
        return self._connections.explained(
            lambda: self._connections.unit(lambda c: add_missing_keys(c, keys)),
            # Another call has taken a user in between the look for one and the insert.
            lambda: None,
        )
