"""A user whom the application has renamed, with the key of the old name beside the new one."""

import pytest
from userharbor.exceptions import InvalidUsernameError, UnknownRoleError

from support.databases import Database
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User


def test_nobody_has_the_old_name(store: SQLAlchemyUserStore[User], db: Database) -> None:
    """Lookups believe the name and not the key; so does what tells why a grant was not made."""
    store.create_user(new_user())
    store.remove_email_verification("jane-verification")
    with pytest.raises(UnknownRoleError):
        store.grant_role_to_user("JANE", "no such role")
    with db.main.begin() as connection:
        connection.exec_driver_sql("UPDATE userharbor_users SET username = 'joan'")
    assert store.get_user_by_username("jane") is None
    with pytest.raises(InvalidUsernameError):
        store.grant_role_to_user("JANE", "no such role")
