"""A new verification or reset takes the place of its user's, and of nobody else's."""

from typing import Any

import pytest

from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

SETTERS: dict[str, Any] = {
    "email_verifications": SQLAlchemyUserStore.set_email_verification,
    "password_resets": SQLAlchemyUserStore.set_password_reset,
}


@pytest.mark.parametrize("kind", list(SETTERS))
def test_the_tokens_around_it_stay(
    store: SQLAlchemyUserStore[User], db: Database, kind: str
) -> None:
    """Those whose hash is less and those whose hash is greater, by whichever user."""
    names = ["jane", "joe", "kim"]
    for name, token_hash in zip(names, "bdf", strict=True):
        store.create_user(new_user(name, verification_token_hash=f"first of {name}"))
        SETTERS[kind](store, new_token(token_hash, name))
    for name, token_hash in [("joe", "c"), ("joe", "e"), ("jane", "g"), ("kim", "a")]:
        before = held(db, kind)
        SETTERS[kind](store, new_token(token_hash, name))
        assert held(db, kind) == before | {name: token_hash}


def held(db: Database, kind: str) -> dict[str, str]:
    """Each user's token, one at most."""
    rows = db.read(f"SELECT username, token_hash FROM userharbor_{kind}")
    assert len(rows) == len(dict(rows))
    return dict(rows)
