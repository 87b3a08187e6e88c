"""A session that sends reads to a replica which knows nothing yet: writes do not rely on it.

The replica here is a second database with the same tables, and empty. What a real one executes
is counted in tests/cluster.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, Select
from sqlalchemy.orm import Session, sessionmaker
from userharbor.exceptions import (
    InvalidEmailError,
    InvalidPasswordResetTokenError,
    InvalidSessionTokenError,
    InvalidUsernameError,
    InvalidVerificationTokenError,
    PermissionAlreadyExistsError,
    RoleAlreadyExistsError,
    UnknownRoleError,
)

from support.databases import Database
from support.models import user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]
Call = Callable[[Store], None]


def routed(primary: Engine, replica: Engine) -> sessionmaker[Session]:
    """Sessions as docs/operations.md has them."""

    class Routed(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Engine:
            return replica if isinstance(clause, Select) else primary

    return sessionmaker(class_=Routed)


@pytest.fixture(params=["built-in", "own table"])
def stale(request: pytest.FixtureRequest, db: Database, fresh: Database) -> Iterator[Store]:
    """A store whose primary has two users, a role and a permission, and whose replica has none."""
    metadata = MetaData()
    model = user_table("stale_members", metadata) if request.param == "own table" else None
    store = SQLAlchemyUserStore(
        routed(db.main, fresh.main), model, metadata=metadata, table_prefix="stale_"
    )
    metadata.drop_all(db.main)
    for engine in (db.main, fresh.main):
        metadata.create_all(engine)
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
        store.add_session(new_token(f"session of {name}", name))
        store.set_password_reset(new_token(f"reset of {name}", name))
    store.create_role("admin")
    store.create_permission("users.read")
    store.grant_role_to_user("jane", "admin")
    yield store
    metadata.drop_all(db.main)


def test_the_replica_is_behind(stale: Store) -> None:
    """A getter by itself does not find what there is; in a block it does."""
    assert stale.get_user_by_username("jane") is None
    assert stale.get_user_by_email("jane@example.org") is None
    assert stale.get_session("session of jane") is None
    with stale.transaction():
        assert stale.get_user_by_username("jane") is not None
        assert stale.get_session("session of jane") is not None


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda store: store.create_user(new_user("JANE", email="e")), InvalidUsernameError),
        (
            lambda store: store.create_user(new_user("new", email="jane@example.org")),
            InvalidEmailError,
        ),
        (
            lambda store: store.create_user(
                new_user("new", verification_token_hash="jane-verification")
            ),
            InvalidVerificationTokenError,
        ),
        (
            lambda store: store.set_email_verification(new_token("jane-verification", "joe")),
            InvalidVerificationTokenError,
        ),
        (
            lambda store: store.add_session(new_token("session of jane", "joe")),
            InvalidSessionTokenError,
        ),
        (
            lambda store: store.set_password_reset(new_token("reset of jane", "joe")),
            InvalidPasswordResetTokenError,
        ),
        (lambda store: store.create_role("admin"), RoleAlreadyExistsError),
        (lambda store: store.create_permission("users.read"), PermissionAlreadyExistsError),
    ],
    ids=[
        "username",
        "e-mail",
        "verification with the account",
        "verification",
        "session",
        "reset",
        "role",
        "permission",
    ],
)
def test_what_is_taken_is_told_by_the_primary(
    stale: Store, call: Call, error: type[Exception]
) -> None:
    """To the replica nothing is taken, and the database's refusal would come without a reason."""
    with pytest.raises(error, match="already exists"):
        call(stale)


def test_who_is_there_is_told_by_the_primary(stale: Store) -> None:
    """A grant that is there, a password that stays, a role that is not there: no unknown user."""
    stale.grant_role_to_user("JANE", "admin")
    stale.set_password_hash("JANE", "jane-password-hash")
    with pytest.raises(UnknownRoleError):
        stale.grant_role_to_user("JANE", "ghost")
    with stale.transaction():
        assert stale.get_user_roles("jane") == {"admin"}
