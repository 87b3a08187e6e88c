"""One call of each method of the store, in an order in which each finds what it is about.

From a user's registration to its deletion, nothing is left behind: so that the calls can be
made again, for another name or for the same one, by whatever counts, explains or times them.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from userharbor.interfaces import UserStore

from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore

Call = Callable[[UserStore[Any], str], object]

LATER = EXPIRES_AT + timedelta(days=1)


def _spend_reset(store: UserStore[Any], name: str) -> None:
    with store.transaction():
        store.get_password_reset(name)
        store.remove_password_reset(name)


CALLS: list[tuple[str, Call]] = [
    ("create_user", lambda store, name: store.create_user(new_user(name))),
    ("get_user_by_username", lambda store, name: store.get_user_by_username(name)),
    ("get_user_by_email", lambda store, name: store.get_user_by_email(f"{name}@example.org")),
    ("set_user_verified", lambda store, name: store.set_user_verified(name)),
    ("get_password_hash", lambda store, name: store.get_password_hash(name)),
    ("set_password_hash", lambda store, name: store.set_password_hash(name, "new")),
    (
        "get_email_verification",
        lambda store, name: store.get_email_verification(f"{name}-verification"),
    ),
    # In the place of the one that create_user stored.
    ("set_email_verification", lambda store, name: store.set_email_verification(_token(name))),
    ("remove_email_verification", lambda store, name: store.remove_email_verification(name)),
    ("add_session", lambda store, name: store.add_session(_token(name))),
    ("get_session", lambda store, name: store.get_session(name)),
    ("refresh_session", lambda store, name: store.refresh_session(name, LATER)),
    ("remove_session", lambda store, name: store.remove_session(name)),
    ("add_session", lambda store, name: store.add_session(_token(name))),
    ("remove_all_sessions", lambda store, name: store.remove_all_sessions(name)),
    ("set_password_reset", lambda store, name: store.set_password_reset(_token(name))),
    ("get_password_reset", lambda store, name: store.get_password_reset(name)),
    ("remove_password_reset", lambda store, name: store.remove_password_reset(name)),
    ("set_password_reset", lambda store, name: store.set_password_reset(_token(name))),
    (
        "remove_password_reset_for_user",
        lambda store, name: store.remove_password_reset_for_user(name),
    ),
    ("set_password_reset", lambda store, name: store.set_password_reset(_token(name))),
    ("transaction", _spend_reset),
    ("create_role", lambda store, name: store.create_role(name)),
    ("role_exists", lambda store, name: store.role_exists(name)),
    ("list_roles", lambda store, name: store.list_roles()),
    ("create_permission", lambda store, name: store.create_permission(name)),
    ("permission_exists", lambda store, name: store.permission_exists(name)),
    ("list_permissions", lambda store, name: store.list_permissions()),
    ("grant_role_to_user", lambda store, name: store.grant_role_to_user(name, name)),
    ("get_user_roles", lambda store, name: store.get_user_roles(name)),
    ("grant_permission_to_role", lambda store, name: store.grant_permission_to_role(name, name)),
    ("get_role_permissions", lambda store, name: store.get_role_permissions(name)),
    ("get_user_permissions", lambda store, name: store.get_user_permissions(name)),
    (
        "revoke_permission_from_role",
        lambda store, name: store.revoke_permission_from_role(name, name),
    ),
    ("revoke_role_from_user", lambda store, name: store.revoke_role_from_user(name, name)),
    ("delete_permission", lambda store, name: store.delete_permission(name)),
    ("delete_role", lambda store, name: store.delete_role(name)),
    ("delete_user", lambda store, name: store.delete_user(name)),
]


def _rename(store: SQLAlchemyUserStore[Any], name: str) -> None:
    store.rename_user(name, f"{name}-anew")


# What this store has beside the protocol, of a user who was just stored.
CALLS_BESIDE: list[tuple[str, Callable[[SQLAlchemyUserStore[Any], str], object]]] = [
    ("set_email", lambda store, name: store.set_email(name, f"{name}@another.example")),
    ("list_sessions", lambda store, name: store.list_sessions(name)),
    ("remove_other_sessions", lambda store, name: store.remove_other_sessions(name, "none")),
    ("count_users", lambda store, name: store.count_users()),
    ("iter_users", lambda store, name: list(store.iter_users())),
    ("iter_users(prefix=)", lambda store, name: list(store.iter_users(prefix=name))),
    ("get_users_with_role", lambda store, name: list(store.get_users_with_role(name))),
    ("get_users_with_permission", lambda store, name: list(store.get_users_with_permission(name))),
    ("export_user", lambda store, name: store.export_user(name)),
    ("rename_user", _rename),
]


def _token(name: str) -> Any:
    return new_token(name, name)
