"""Permissions and the roles that carry them: `userharbor.interfaces.PermissionStore`."""

from sqlalchemy import delete, insert, select
from userharbor.exceptions import (
    InvalidPermissionError,
    UnknownPermissionError,
    UnknownRoleError,
)

from .connections import Connections
from .errors import PermissionTakenError
from .expressions import identical
from .names import NameTable, grant
from .tables import Tables
from .users import Users


class PermissionMethods:
    """The protocol's methods on permissions. Names are told apart byte for byte."""

    def __init__(
        self, connections: Connections, users: Users, roles: NameTable, tables: Tables
    ) -> None:
        granted, held = tables.role_permissions, tables.user_roles
        self._connections = connections
        self._users = users
        self._roles = roles
        self._permissions = NameTable(
            connections,
            tables.permissions.c.permission,
            [granted.c.permission],
            InvalidPermissionError,
            PermissionTakenError,
        )
        self._select_role_permissions = select(granted.c.role, granted.c.permission).where(
            granted.c.role == roles.name
        )
        self._select_user_permissions = (
            select(users.spelled, granted.c.permission)
            .join_from(held, users.table, held.c.username == users.username)
            .join(granted, granted.c.role == held.c.role)
            .where(users.is_named)
        )
        self._grant_permission = (
            insert(granted)
            .from_select(
                ["role", "permission"],
                select(tables.roles.c.role, tables.permissions.c.permission)
                .join_from(tables.roles, tables.permissions, self._permissions.is_named)
                .where(roles.is_named),
            )
            .execution_options(preserve_rowcount=True)
        )
        is_granted = (
            identical(granted.c.role, roles.name),
            identical(granted.c.permission, self._permissions.name),
        )
        self._select_granted_permission = (
            select(granted.c.role).where(*is_granted).with_for_update(read=True)
        )
        self._revoke_permission = delete(granted).where(*is_granted)

    def create_permission(self, permission: str) -> None:
        """Store a permission.

        `PermissionAlreadyExistsError` (also an `IntegrityError` of SQLAlchemy's) if it is
        there, `InvalidPermissionError` if no column can hold the name.
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
        """Give the role the permission; having it already is as good.

        `UnknownRoleError` or `UnknownPermissionError` if either is not there.
        """
        parameters = {**self._roles.named(role), **self._permissions.named(permission)}
        if not grant(
            self._connections, self._grant_permission, self._select_granted_permission, parameters
        ):
            if self._roles.exists(role, of_primary=True):
                raise UnknownPermissionError("Unknown permission")
            raise UnknownRoleError("Unknown role")

    def revoke_permission_from_role(self, role: str, permission: str) -> None:
        """Take the permission from the role, which may not have it, nor either be there."""
        parameters = {**self._roles.named(role), **self._permissions.named(permission)}
        self._connections.execute(self._revoke_permission, parameters)

    def get_role_permissions(self, role: str) -> set[str]:
        """Return the role's permissions; none if there is no such role."""
        rows = self._connections.all(self._select_role_permissions, self._roles.named(role))
        return {row.permission for row in rows if row.role == role}

    def get_user_permissions(self, username: str) -> set[str]:
        """Return the permissions of all the user's roles; none if there is no such user."""
        parameters = self._users.named(username, of_primary=False)
        rows = self._connections.all(self._select_user_permissions, parameters)
        found = [row for row in rows if self._users.found(row.username, parameters)]
        return {row.permission for row in found}
