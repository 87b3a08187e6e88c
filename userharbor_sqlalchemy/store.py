"""`SQLAlchemyUserStore`: every public method, in the order of `userharbor.interfaces`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar, overload

from sqlalchemy import Connection, Engine, MetaData, SQLColumnExpression, Table
from userharbor.exceptions import (
    InvalidPasswordResetTokenError,
    InvalidPermissionError,
    InvalidRoleError,
    InvalidSessionTokenError,
    InvalidVerificationTokenError,
    UnknownPermissionError,
    UnknownRoleError,
)
from userharbor.interfaces import CreateUserRequest, UserT, UserToken

from .engine.database import Database
from .engine.sessions import Joined, SessionFactory, Sessions, check_factory, common_bind
from .errors import (
    PermissionTakenError,
    ResetTokenTakenError,
    RoleTakenError,
    SessionTokenTakenError,
    VerificationTokenTakenError,
)
from .maintenance.check import check
from .maintenance.findings import Finding
from .maintenance.purge import (
    Progress,
    Purged,
    UserProgress,
    past,
    purge_expired,
    purge_unverified,
)
from .schema.tables import DEFAULT_PREFIX, define_tables
from .schema.tables import metadata as built_in_metadata
from .schema.user_model import built_in, condition_on, registered
from .schema.username_keys import set_keys
from .sql.accounts import Accounts
from .sql.exports import Exports
from .sql.grants import Grants, Names, UserPermissions
from .sql.renames import Renames
from .sql.tokens import TokenTable
from .sql.unverified import Unverified
from .sql.users import User, Users

AnyModel = type[Any] | Table
P = ParamSpec("P")
T = TypeVar("T")


class SQLAlchemyUserStore(Generic[UserT]):
    """A `userharbor.interfaces.UserStore` on SQLite, PostgreSQL, MariaDB or MySQL.

    Each call works on a connection of the bind of `session_factory()`, and takes effect at
    once unless it is made in a `transaction()` block. The engine stays the application's. A
    store is safe to share between threads; each has its own blocks.

    A naive time is taken as UTC; times come back as naive UTC, to the microsecond. A username is
    found, and taken, in any casing. Token hashes, roles and permissions are told apart byte for
    byte. No method finds a text that no column can hold. Errors of the database are
    SQLAlchemy's, without the values of rows.
    """

    @overload
    def __init__(
        self: "SQLAlchemyUserStore[User]",
        session_factory: SessionFactory,
        user_model: AnyModel | None = None,
        user_mapper: None = None,
        *,
        active: SQLColumnExpression[bool] | None = None,
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
        active: SQLColumnExpression[bool] | None = None,
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
        active: SQLColumnExpression[bool] | None = None,
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None: ...

    def __init__(
        self,
        session_factory: SessionFactory,
        user_model: AnyModel | None = None,
        user_mapper: Callable[[Any], Any] | None = None,
        *,
        active: SQLColumnExpression[bool] | None = None,
        metadata: MetaData | None = None,
        table_prefix: str = DEFAULT_PREFIX,
    ) -> None:
        """Define the tables. Sends no SQL and does not call `session_factory`.

        But where a model on SQLite does not say what is unique, as a reflected one may not, the
        engine of a `sessionmaker` is asked for it.

        Args:
            session_factory: A `sessionmaker`, a `scoped_session`, an `async_sessionmaker`, or any
                callable that returns a session.
            user_model: The application's own, as `register_user_model` takes it; it is registered
                if it is not yet. Without one, users have a table of the store's own.
            user_mapper: What it returns, a lookup returns. It gets an instance as the ORM would
                have loaded it, without relationships and detached; for a table, the store's own
                too, the row. Without one, lookups return a `User`.
            active: A condition on columns of `user_model`, `AppUser.banned_at.is_(None)`, say. A
                user who does not meet it is found by no lookup, nor are the user's sessions and
                other tokens, and none is stored. The name and the e-mail stay taken. Without a
                condition, every user is active.
            metadata: Where the tables are defined: by default the MetaData of `user_model`, or
                `userharbor_sqlalchemy.metadata`.
            table_prefix: What the names of the tables begin with.

        Raises:
            TypeError: `session_factory` makes no sessions: it is an engine or a session, say.
                `user_model` is no model, lacks an attribute, or has one of a type that is no text
                (of `verified`: no Boolean or integer). `active` is no SQL expression.
            ValueError: Its username is not unique, it has several tables or inherits concretely,
                the database generates an attribute, or `metadata` is not that of the model.
                `active` is on a column of another table.
        """
        check_factory(session_factory)
        if user_model is None:
            metadata = built_in_metadata if metadata is None else metadata
            tables = define_tables(metadata, table_prefix)
            model = built_in(tables)
        else:
            model, tables = registered(user_model, None, table_prefix, common_bind(session_factory))
            if metadata not in (None, model.table.metadata):
                raise ValueError("metadata is not that of user_model, where its tables are")
        self.metadata: MetaData = model.table.metadata
        """The MetaData that holds every table of this store."""
        database = Database(Sessions(session_factory, model.mapper, model.table))
        users = Users(
            database, model, tables, None if active is None else condition_on(model, active)
        )
        self._database = database
        self._model = model
        self._tables = tables
        self._users = users
        self._email_verifications = TokenTable(
            database,
            users,
            tables.email_verifications,
            invalid=InvalidVerificationTokenError,
            taken=VerificationTokenTakenError,
        )
        self._sessions = TokenTable(
            database,
            users,
            tables.sessions,
            invalid=InvalidSessionTokenError,
            taken=SessionTokenTakenError,
        )
        self._password_resets = TokenTable(
            database,
            users,
            tables.password_resets,
            invalid=InvalidPasswordResetTokenError,
            taken=ResetTokenTakenError,
        )
        self._accounts: Accounts[UserT] = Accounts(
            database,
            users,
            self._email_verifications,
            self._password_resets,
            model,
            tables,
            user_mapper,
        )
        self._renames = Renames(users, self._accounts, tables)
        self._unverified = Unverified(database, users, self._accounts, model, tables)
        self._roles = Names(
            database,
            tables.roles.c.role,
            [tables.user_roles.c.role, tables.role_permissions.c.role],
            invalid=InvalidRoleError,
            taken=RoleTakenError,
            unknown=UnknownRoleError,
        )
        self._permissions = Names(
            database,
            tables.permissions.c.permission,
            [tables.role_permissions.c.permission],
            invalid=InvalidPermissionError,
            taken=PermissionTakenError,
            unknown=UnknownPermissionError,
        )
        self._user_roles = Grants(database, tables.user_roles, users, self._roles)
        self._role_permissions = Grants(
            database, tables.role_permissions, self._roles, self._permissions
        )
        self._user_permissions = UserPermissions(
            database, users, self._user_roles, self._role_permissions
        )
        self._exports = Exports(database, users, model, tables, self._user_permissions)

    @property
    def bind(self) -> Engine | Connection:
        """The engine or connection that writes go to, for `metadata.create_all(store.bind)`."""
        return self._database.bind

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `call(*args, **kwargs)` in a thread; a coroutine awaits its result.

        The event loop goes on meanwhile: while a password is hashed, mail is sent, and, on a sync
        engine, while the database answers. On an async engine the store's calls go to the
        database by this event loop. A coroutine that is cancelled ends when the thread has; on an
        async engine, the thread's next call of the store's raises `asyncio.CancelledError`.
        """
        return await self._database.run(partial(call, *args, **kwargs))

    # Accounts

    def transaction(self, joined: Joined | None = None, /) -> AbstractContextManager[None]:
        """Have all calls within the block take effect together, or none of them if it raises.

        A block within a block is a savepoint. If a session or a connection is `joined`, the calls
        go on its connection, in a savepoint of it, and the caller commits. The session is flushed,
        and knows of the savepoint. If the database ended the whole transaction, what is joined
        refuses all work until its owner rolls back. A block belongs to the thread that opened it.

        Raises:
            InvalidRequestError: Of SQLAlchemy's, at the end of a block that went on after a
                statement had failed within: all of it is rolled back. At the end of one that is
                left in another thread or context than it was entered in, and that no call has
                seen. At its start where what is joined is in AUTOCOMMIT, or its driver was
                told to commit each statement.
        """
        return self._database.transaction(joined)

    def create_user(self, user: CreateUserRequest) -> None:
        """Store an unverified user and the e-mail verification, both or neither.

        Texts are stored as they are given; a naive `expires_at` is UTC.

        Raises:
            InvalidUsernameError: The username is taken in any casing, or no column can hold it.
            InvalidEmailError: The e-mail is taken, or no column can hold it.
            InvalidCredentialsError: No column can hold the password hash.
            InvalidVerificationTokenError: The token hash is taken, or no column can hold it.
            ValueError: `expires_at` is before the year 1000 or after 9999-12-30.

        What is taken is also an `IntegrityError` of SQLAlchemy's.
        """
        self._accounts.create(user)

    def set_user_verified(self, username: str) -> None:
        """Mark the user's e-mail as verified, if there is such a user."""
        self._accounts.set_verified(username)

    def delete_user(self, username: str) -> None:
        """Remove the user, if there is one, with all tokens and granted roles."""
        self._accounts.delete(username)

    def get_user_by_username(self, username: str) -> UserT | None:
        """Return the user of this name in any casing, or None."""
        return self._accounts.by_username(username)

    def get_user_by_email(self, email: str) -> UserT | None:
        """Return the user of this e-mail, as it is given or in lower case, or None.

        In any casing of ASCII where the user table has an index on `lower(email)`, or its
        collation folds the case.
        """
        return self._accounts.by_email(email)

    def get_password_hash(self, username: str) -> str:
        """Return the user's password hash.

        Raises:
            UnknownUserError: There is no such user; also a `KeyError`.
            NoPasswordError: The user has none, as a row of the application's own may; also an
                `UnknownUserError`, and the core's `InvalidCredentialsError`.
        """
        return self._accounts.password_hash(username)

    def set_password_hash(self, username: str, password_hash: str) -> None:
        """Replace the user's password hash.

        Raises:
            UnknownUserError: There is no such user; also a `KeyError`.
            InvalidCredentialsError: No column can hold the hash.
        """
        self._accounts.set_password_hash(username, password_hash)

    # Tokens

    def get_email_verification(self, token_hash: str) -> UserToken | None:
        """Return the e-mail verification, expired or not, or None.

        `expires_at` is naive UTC, to the microsecond. Within `transaction()` the row and
        its user's are locked, and no other transaction gets the token until the block ends.
        """
        return self._email_verifications.get_to_spend(token_hash)

    def set_email_verification(self, verification: UserToken) -> None:
        """Store the user's only e-mail verification; those before it are gone.

        A naive `expires_at` is UTC.

        Raises:
            UnknownUserError: There is no such user; also a `KeyError`.
            InvalidVerificationTokenError: The hash is taken, or no column can hold it.
            ValueError: `expires_at` is before the year 1000 or after 9999-12-30.
        """
        self._email_verifications.replace(verification)

    def remove_email_verification(self, token_hash: str) -> None:
        """Remove the e-mail verification if it is there."""
        self._email_verifications.remove(token_hash)

    def get_session(self, token_hash: str) -> UserToken | None:
        """Return the session, expired or not, or None. `expires_at` is naive UTC."""
        return self._sessions.get(token_hash)

    def add_session(self, session: UserToken) -> None:
        """Store a session beside the user's others.

        A naive `expires_at` is UTC.

        Raises:
            UnknownUserError: There is no such user; also a `KeyError`.
            InvalidSessionTokenError: The hash is taken, or no column can hold it.
            ValueError: `expires_at` is before the year 1000 or after 9999-12-30.
        """
        self._sessions.add(session)

    def remove_session(self, token_hash: str) -> None:
        """Remove the session if it is there."""
        self._sessions.remove(token_hash)

    def remove_all_sessions(self, username: str) -> None:
        """Remove all sessions of the user, if there are any."""
        self._sessions.remove_of_user(username)

    def refresh_session(self, token_hash: str, new_expires_at: datetime) -> None:
        """Let the session expire at `new_expires_at` (naive: UTC) if it is still there.

        Raises:
            ValueError: `new_expires_at` is before the year 1000 or after 9999-12-30.
        """
        self._sessions.refresh(token_hash, new_expires_at)

    def get_password_reset(self, token_hash: str) -> UserToken | None:
        """Return the password reset, expired or not, or None.

        `expires_at` is naive UTC, to the microsecond. Within `transaction()` the row and
        its user's are locked, and no other transaction gets the token until the block ends.
        """
        return self._password_resets.get_to_spend(token_hash)

    def set_password_reset(self, reset: UserToken) -> None:
        """Store the user's only password reset; those before it are gone.

        A naive `expires_at` is UTC.

        Raises:
            UnknownUserError: There is no such user; also a `KeyError`.
            InvalidPasswordResetTokenError: The hash is taken, or no column can hold it.
            ValueError: `expires_at` is before the year 1000 or after 9999-12-30.
        """
        self._password_resets.replace(reset)

    def remove_password_reset(self, token_hash: str) -> None:
        """Remove the password reset if it is there."""
        self._password_resets.remove(token_hash)

    def remove_password_reset_for_user(self, username: str) -> None:
        """Remove the user's password reset if there is one."""
        self._password_resets.remove_of_user(username)

    # Roles

    def create_role(self, role: str) -> None:
        """Store a role.

        Raises:
            RoleAlreadyExistsError: It is there; also an `IntegrityError` of SQLAlchemy's.
            InvalidRoleError: No column can hold the name.
        """
        self._roles.create(role)

    def delete_role(self, role: str) -> None:
        """Remove a role, if it is there, from all users and with its permissions."""
        self._roles.delete(role)

    def list_roles(self) -> set[str]:
        """Return all roles."""
        return self._roles.all()

    def role_exists(self, role: str) -> bool:
        """Return whether there is such a role."""
        return self._roles.exists(role)

    def grant_role_to_user(self, username: str, role: str) -> None:
        """Give the user the role; no effect if the user has it already.

        Raises:
            UnknownUserError: There is no such user; also a `KeyError`.
            UnknownRoleError: There is no such role.
        """
        self._user_roles.grant(username, role)

    def revoke_role_from_user(self, username: str, role: str) -> None:
        """Take the role from the user; no effect if either, or the grant, is not there."""
        self._user_roles.revoke(username, role)

    def get_user_roles(self, username: str) -> set[str]:
        """Return the user's roles; none if there is no such user."""
        return self._user_roles.of(username)

    # Permissions

    def create_permission(self, permission: str) -> None:
        """Store a permission.

        Raises:
            PermissionAlreadyExistsError: It is there; also an `IntegrityError` of SQLAlchemy's.
            InvalidPermissionError: No column can hold the name.
        """
        self._permissions.create(permission)

    def delete_permission(self, permission: str) -> None:
        """Remove a permission, if it is there, from all roles."""
        self._permissions.delete(permission)

    def list_permissions(self) -> set[str]:
        """Return all permissions."""
        return self._permissions.all()

    def permission_exists(self, permission: str) -> bool:
        """Return whether there is such a permission."""
        return self._permissions.exists(permission)

    def grant_permission_to_role(self, role: str, permission: str) -> None:
        """Give the role the permission; no effect if the role has it already.

        Raises:
            UnknownRoleError: There is no such role.
            UnknownPermissionError: There is no such permission.
        """
        self._role_permissions.grant(role, permission)

    def revoke_permission_from_role(self, role: str, permission: str) -> None:
        """Take the permission from the role; no effect if either, or the grant, is not there."""
        self._role_permissions.revoke(role, permission)

    def get_role_permissions(self, role: str) -> set[str]:
        """Return the role's permissions; none if there is no such role."""
        return self._role_permissions.of(role)

    def get_user_permissions(self, username: str) -> set[str]:
        """Return the permissions of all the user's roles; none if there is no such user."""
        return self._user_permissions.of(username)

    # Beside the protocol: what applications do to accounts, show of them, and operate

    def set_email(self, username: str, email: str, *, verified: bool = False) -> None:
        """Replace the user's e-mail address, stored in lower case as the core registers it.

        The user's e-mail verification and password reset, which were sent to the old address, are
        gone; sessions stay.

        Raises:
            UnknownUserError: There is no such user; also a `KeyError`.
            InvalidEmailError: The e-mail is taken, or no column can hold it. What is taken is also
                an `IntegrityError` of SQLAlchemy's.
        """
        self._accounts.set_email(username, email, verified=verified)

    def rename_user(self, old: str, new: str) -> None:
        """Give the user of the name `old`, in any casing, the name `new`, as it is spelled.

        Tokens, sessions and roles move to the new name, and so do rows of the application's tables
        that refer to it by a foreign key with ON UPDATE CASCADE.

        Raises:
            UnknownUserError: There is no such user; also a `KeyError`.
            InvalidUsernameError: `new` is taken in any casing, or no column can hold it; what is
                taken is also an `IntegrityError` of SQLAlchemy's.
            UsernameReferredToError: Rows of other tables refer to the user, and would not move
                along; it names their `columns`. Nothing is changed. An `InvalidUsernameError`.
        """
        self._renames.rename(old, new)

    def export_user(self, username: str) -> dict[str, Any]:
        """Return all that the store keeps about the user, for JSON; no hash of a secret.

        `username`, `email`, `verified`, `has_password`; `roles` and `permissions`, sorted;
        `sessions`, `email_verifications` and `password_resets`, each a list of `expires_at` (ISO
        8601, UTC). Users who are not active are exported, too.

        Raises:
            UnknownUserError: There is no such user; also a `KeyError`.
        """
        return self._exports.of(username)

    def get_users_with_role(
        self, role: str, *, after: str | None = None, page_size: int = 1000
    ) -> Iterator[UserT]:
        """Iterate over the users who have the role, as `iter_users` does over all."""
        return self._accounts.having(
            self._user_roles.by_name, self._roles.resolve(role), after, page_size
        )

    def get_users_with_permission(
        self, permission: str, *, after: str | None = None, page_size: int = 1000
    ) -> Iterator[UserT]:
        """Iterate over the users who have the permission by any of their roles, each once."""
        return self._accounts.having(
            self._user_permissions.by_name,
            self._permissions.resolve(permission),
            after,
            page_size,
        )

    def list_sessions(self, username: str) -> list[UserToken]:
        """Return the user's sessions, expired or not, the longest-lasting first.

        `expires_at` is naive UTC. The list is empty if there is no such user.
        """
        return self._sessions.of_user(username)

    def remove_other_sessions(self, username: str, token_hash: str) -> int:
        """Remove all sessions of the user but that of `token_hash`; return how many there were.

        If none of them has this hash, all are removed.
        """
        return self._sessions.remove_others(username, token_hash)

    def count_users(self) -> int:
        """Return how many active users there are."""
        return self._accounts.count()

    def iter_users(
        self, *, prefix: str = "", after: str | None = None, page_size: int = 1000
    ) -> Iterator[UserT]:
        """Iterate over active users, as lookups return them, in the database's order of usernames.

        Those whose names begin with `prefix`, in any casing, and come after the name `after`. Reads
        `page_size` of them at a time; each page is a query of its own.

        Raises:
            ValueError: `page_size` is not from 1 to 10,000.
            InvalidUsernameError: No column can hold `after`.
        """
        return self._accounts.all(after, page_size, prefix)

    def purge_expired(
        self,
        *,
        before: datetime | None = None,
        verifications_before: datetime | None = None,
        batch_size: int = 1000,
        progress: Progress | None = None,
    ) -> Purged:
        """Remove the tokens that expired `before` (naive: UTC), now by default; return how many.

        E-mail verifications only if they expired `verifications_before`, too: by them,
        `purge_unverified` knows how long ago a user let one expire.

        Walks the token tables by primary key, `batch_size` rows at a time. What is expired
        among them is removed in a transaction of its own, so that no lock is held for long and
        none on a live token; a session that was refreshed meanwhile stays. It may be
        interrupted and run again, and run twice at once. After each batch, `progress` is called
        with how many rows were looked at by then, how many there were at the start, and what
        was removed by then.

        Raises:
            ValueError: `before` or `verifications_before` is in the future or before the year
                1000, or `batch_size` is not from 1 to 10,000.
            InvalidRequestError: Of SQLAlchemy's, within `transaction()`.
        """
        limit = past("before", before)
        of_verifications = min(limit, past("verifications_before", verifications_before))
        limits = {
            "sessions": limit,
            "email_verifications": of_verifications,
            "password_resets": limit,
        }
        tables = {
            "sessions": self._sessions,
            "email_verifications": self._email_verifications,
            "password_resets": self._password_resets,
        }
        return purge_expired(self._database, tables, limits, batch_size, progress)

    def purge_unverified(
        self,
        *,
        older_than: timedelta,
        batch_size: int = 1000,
        progress: UserProgress | None = None,
    ) -> int:
        """Remove the users who never verified, and whose verification expired so long ago.

        All that belongs to them goes too; their names and e-mails are free again. Users without an
        e-mail verification stay. Call it before `purge_expired`, which removes verifications.
        Returns how many users were removed. Walks the verifications by primary key, `batch_size` at
        a time, and may be interrupted and run again; who verifies meanwhile stays. After each
        batch, `progress` is called with how many verifications were looked at by then, how many
        there were at the start, and how many users were removed by then.

        Raises:
            ValueError: `older_than` is negative, or reaches back before the year 1000;
                `batch_size` is not from 1 to 10,000.
            InvalidRequestError: Of SQLAlchemy's, within `transaction()`.
        """
        return purge_unverified(self._database, self._unverified, older_than, batch_size, progress)

    def check(self) -> Iterator[Finding]:
        """Look for what is wrong with the database; `str()` of a finding says what to do.

        Tables, columns and indexes that are missing or differ; users without a key, with
        names that collide, or with an e-mail that lookups can't find; tokens that expired over
        a day ago, or of which a user has more than one; an engine whose `transaction()` costs
        extra. Nothing is changed or locked; each user and token is read.
        """
        return check(self._database, self._model, self._users, self._tables)

    def sync_username_keys(self) -> int:
        """Let users whom the application added or renamed by itself be found in any casing.

        Returns how many had no key or a wrong one: 0 where `user_model` has a `username_key`,
        which is the application's to fill. All or none in one transaction, and safe to run
        again or while users register.

        Raises:
            UsernamesCollideError: Its text lists the names that differ in casing only.
        """
        keys = self._tables.username_keys
        if keys is None:
            return 0
        # Refused where another call has taken a user in between the look for one and the insert.
        return self._database.unit(lambda c: set_keys(c, keys), lambda: None)
