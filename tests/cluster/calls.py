"""A call of each method: those that only read, when they stand by themselves, and others."""

from typing import Any

from support.samples import EXPIRES_AT, new_token, new_user

READS: dict[str, tuple[Any, ...]] = {
    "get_user_by_username": ("JANE",),
    "get_user_by_email": ("jane@example.org",),
    "get_password_hash": ("JANE",),
    "get_email_verification": ("jane-verification",),
    "get_session": ("session",),
    "get_password_reset": ("reset",),
    "list_roles": (),
    "role_exists": ("admin",),
    "get_user_roles": ("JANE",),
    "list_permissions": (),
    "permission_exists": ("users.read",),
    "get_role_permissions": ("admin",),
    "get_user_permissions": ("JANE",),
    # Beside the protocol:
    "list_sessions": ("JANE",),
    "count_users": (),
    "export_user": ("JANE",),
}
WRITES: dict[str, tuple[Any, ...]] = {
    "create_user": (new_user("joe"),),
    "set_user_verified": ("JANE",),
    "delete_user": ("JANE",),
    "set_password_hash": ("JANE", "another hash"),
    "set_email_verification": (new_token("new"),),
    "remove_email_verification": ("jane-verification",),
    "add_session": (new_token("new"),),
    "remove_session": ("session",),
    "remove_all_sessions": ("JANE",),
    "refresh_session": ("session", EXPIRES_AT),
    "set_password_reset": (new_token("new"),),
    "remove_password_reset": ("reset",),
    "remove_password_reset_for_user": ("JANE",),
    "create_role": ("editor",),
    "delete_role": ("admin",),
    "grant_role_to_user": ("JANE", "admin"),
    "revoke_role_from_user": ("JANE", "admin"),
    "create_permission": ("users.write",),
    "delete_permission": ("users.read",),
    "grant_permission_to_role": ("admin", "users.read"),
    "revoke_permission_from_role": ("admin", "users.read"),
    # Beside the protocol:
    "remove_other_sessions": ("JANE", "another session"),
    "set_email": ("JANE", "another@example.org"),
    "rename_user": ("JANE", "janet"),
}
CALLS = READS | WRITES
