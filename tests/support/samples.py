"""Accounts and tokens that tests store."""

from datetime import datetime
from typing import Any

from userharbor.interfaces import CreateUserRequest, UserToken

EXPIRES_AT = datetime(2030, 1, 1, 12, 0, 0, 123456)


def new_user(username: str = "jane", **changes: Any) -> CreateUserRequest:
    """A request to register `username`; e-mail and token hash are made from the name."""
    values: dict[str, Any] = {
        "username": username,
        "email": f"{username}@example.org",
        "password_hash": f"{username}-password-hash",
        "verification_token_hash": f"{username}-verification",
        "expires_at": EXPIRES_AT,
    }
    return CreateUserRequest(**values | changes)


def new_token(
    token_hash: str, username: str = "jane", expires_at: datetime = EXPIRES_AT
) -> UserToken:
    """A token of `username`."""
    return UserToken(username, token_hash, expires_at)
