"""Roles and who has them: `userharbor.interfaces.RoleStore`."""

from sqlalchemy import delete, insert, select
from userharbor.exceptions import InvalidRoleError, UnknownRoleError

from .connections import Connections
from .errors import RoleTakenError, UnknownUserError
from .expressions import identical
from .names import NameTable, grant
from .tables import Tables
from .users import Users


class RoleMethods:
    """The protocol's methods on roles. Names are told apart byte for byte."""

    def __init__(
        self, connections: Connections, users: Users, roles: NameTable, tables: Tables
    ) -> None:
        granted = tables.user_roles
        self._connections = connections
        self._users = users
        self._roles = roles
        self._select_user_roles = (
            select(users.spelled, granted.c.role)
            .join_from(granted, users.table, granted.c.username == users.username)
            .where(users.is_named)
        )
        self._grant_role = (
            insert(granted)
            .from_select(
                ["username", "role"],
                select(users.username, tables.roles.c.role)
                .join_from(users.table, tables.roles, roles.is_named)
                .where(users.is_named),
            )
            .execution_options(preserve_rowcount=True)
        )
        is_granted = (granted.c.username == users.owner, identical(granted.c.role, roles.name))
        self._select_granted_role = (
            select(granted.c.role).where(*is_granted).with_for_update(read=True)
        )
        self._revoke_role = delete(granted).where(*is_granted)

    def create_role(self, role: str) -> None:
        """Store a role.

        `RoleAlreadyExistsError` (also an `IntegrityError` of SQLAlchemy's) if it is there,
        `InvalidRoleError` if no column can hold the name.
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
        """Give the user the role; having it already is as good.

        `UnknownUserError` (a `KeyError`) or `UnknownRoleError` if either is not there.
        """
        parameters = {**self._users.named(username), **self._roles.named(role)}
        if not grant(self._connections, self._grant_role, self._select_granted_role, parameters):
            if self._users.exists(username):
                raise UnknownRoleError("Unknown role")
            raise UnknownUserError

    def revoke_role_from_user(self, username: str, role: str) -> None:
        """Take the role from the user, who may not have it, nor either be there."""
        parameters = {**self._users.named(username), **self._roles.named(role)}
        self._connections.execute(self._revoke_role, parameters)

    def get_user_roles(self, username: str) -> set[str]:
        """Return the user's roles; none if there is no such user."""
        parameters = self._users.named(username, of_primary=False)
        rows = self._connections.all(self._select_user_roles, parameters)
        return {row.role for row in rows if self._users.found(row.username, parameters)}


def role_table(connections: Connections, tables: Tables) -> NameTable:
    """The table of roles, which permissions are granted to as well."""
    return NameTable(
        connections,
        tables.roles.c.role,
        [tables.user_roles.c.role, tables.role_permissions.c.role],
        InvalidRoleError,
        RoleTakenError,
    )
