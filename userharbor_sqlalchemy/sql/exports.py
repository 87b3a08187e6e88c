"""All that is stored about one user, as data for JSON, without what lets anybody in."""

from typing import Any

from sqlalchemy import Connection, Select, Table, select

from ..engine.database import Database
from ..errors import UnknownUserError
from ..schema.tables import Tables
from ..schema.user_model import UserModel
from ..schema.values import as_naive_utc
from .grants import UserPermissions
from .users import Users


class Exports:
    """Queries of what belongs to a user, who need not be active."""

    def __init__(
        self,
        database: Database,
        users: Users,
        model: UserModel,
        tables: Tables,
        permissions: UserPermissions,
    ) -> None:
        self._database = database
        self._users = users
        names = ("email", "verified", "password_hash")
        self._select_user = select(
            users.spelled, *(model.columns[name].label(name) for name in names)
        ).where(users.matches)
        self._select_names: dict[str, Select[Any]] = {
            "roles": users.select_of_any(tables.user_roles.c.username, tables.user_roles.c.role),
            "permissions": permissions.select_of_any,
        }
        self._select_times: dict[str, Select[Any]] = {
            kind: _times(users, table)
            for kind, table in (
                ("sessions", tables.sessions),
                ("email_verifications", tables.email_verifications),
                ("password_resets", tables.password_resets),
            )
        }

    def of(self, username: str) -> dict[str, Any]:
        """The export of the user of this name in any casing; `UnknownUserError` without one."""
        parameters = self._users.resolve(username, of_primary=False)

        def read(connection: Connection) -> dict[str, Any]:
            user = connection.execute(self._select_user, parameters).first()
            if user is None or not self._users.found(user.username, parameters):
                return {}

            def values(statement: Select[Any]) -> list[Any]:
                rows = connection.execute(statement, parameters)
                return [row[-1] for row in rows if self._users.found(row[0], parameters)]

            return {
                "username": user.username,
                "email": user.email,
                "verified": bool(user.verified),
                "has_password": user.password_hash is not None,
                **{kind: sorted(set(values(of))) for kind, of in self._select_names.items()},
                **{
                    kind: [{"expires_at": f"{as_naive_utc(at).isoformat()}Z"} for at in values(of)]
                    for kind, of in self._select_times.items()
                },
            }

        found = self._database.read(read)
        if not found:
            raise UnknownUserError
        return found


def _times(users: Users, table: Table) -> Select[Any]:
    expires_at = table.c.expires_at
    return users.select_of_any(table.c.username, expires_at).order_by(expires_at)
