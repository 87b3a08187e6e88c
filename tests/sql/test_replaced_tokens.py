"""A new verification or reset takes the place of its user's, and of nobody else's."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import InvalidPasswordResetTokenError, InvalidVerificationTokenError
from userharbor.interfaces import UserToken

from support.databases import Database
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]
Way = Callable[[Store, Database], AbstractContextManager[object]]

SETTERS: dict[str, Any] = {
    "email_verifications": SQLAlchemyUserStore.set_email_verification,
    "password_resets": SQLAlchemyUserStore.set_password_reset,
}
TAKEN = {
    "email_verifications": InvalidVerificationTokenError,
    "password_resets": InvalidPasswordResetTokenError,
}


@contextmanager
def joined(store: Store, db: Database) -> Iterator[None]:
    with db.main.begin() as connection, store.transaction(connection):
        yield


WAYS: dict[str, Way] = {
    "alone": lambda store, db: nullcontext(),
    "in a block": lambda store, db: store.transaction(),
    "joined": joined,
}

each_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


def as_it_is(db: Database, table: str) -> None: ...


def without_index(db: Database, table: str) -> None:
    on = f" ON {table}" if db.backend == "mysql" else ""
    with db.main.begin() as connection:
        connection.exec_driver_sql(f"DROP INDEX uq_{table}_username{on}")


def unique_at_commit(db: Database, table: str) -> None:
    if db.backend != "postgresql":
        pytest.skip("only PostgreSQL has constraints that are looked at when a block commits")
    without_index(db, table)
    with db.main.begin() as connection:
        connection.exec_driver_sql(
            f"ALTER TABLE {table} ADD UNIQUE (username) DEFERRABLE INITIALLY DEFERRED"
        )


@pytest.fixture(params=[as_it_is, without_index, unique_at_commit])
def db_of_some_age(request: pytest.FixtureRequest, fresh: Database) -> Database:
    """A database with our unique indexes, with none, or with a constraint of another kind."""
    SQLAlchemyUserStore(sessionmaker(fresh.main)).metadata.create_all(fresh.main)
    for kind in SETTERS:
        request.param(fresh, f"userharbor_{kind}")
    return fresh


@pytest.fixture
def aged(db_of_some_age: Database) -> Store:
    """A store on it, three users, and a token of each kind for each."""
    store = SQLAlchemyUserStore(sessionmaker(db_of_some_age.main))
    for name, token_hash in zip(["jane", "joe", "kim"], "bdf", strict=True):
        store.create_user(new_user(name, verification_token_hash=f"first of {name}"))
        for setter in SETTERS.values():
            setter(store, new_token(token_hash, name))
    return store


@each_way
def test_the_tokens_around_it_stay(aged: Store, db_of_some_age: Database, way: Way) -> None:
    """Those whose hash is less and those whose hash is greater, by whichever user."""
    for kind, setter in SETTERS.items():
        for name, token_hash in [("joe", "c"), ("JOE", "e"), ("jane", "g"), ("kim", "a")]:
            before = held(db_of_some_age, kind)
            with way(aged, db_of_some_age):
                setter(aged, new_token(token_hash, name))
            assert held(db_of_some_age, kind) == before | {name.lower(): token_hash}


@each_way
def test_a_token_may_take_its_own_place(aged: Store, db_of_some_age: Database, way: Way) -> None:
    """The same hash, to last for longer."""
    later = EXPIRES_AT + timedelta(days=1)
    before = held(db_of_some_age, "password_resets")
    with way(aged, db_of_some_age):
        aged.set_password_reset(UserToken("jane", "b", later))
    assert held(db_of_some_age, "password_resets") == before
    token = aged.get_password_reset("b")
    assert token is not None
    assert token.expires_at == later.replace(tzinfo=None)


@each_way
def test_the_hash_of_another_users_token_is_refused(
    aged: Store, db_of_some_age: Database, way: Way
) -> None:
    """Whether the user has a token or not; an open block goes on."""
    aged.create_user(new_user("new"))
    aged.remove_email_verification("new-verification")
    for kind, setter in SETTERS.items():
        before = held(db_of_some_age, kind)
        with way(aged, db_of_some_age):
            for name in ("jane", "new"):
                with pytest.raises(TAKEN[kind], match="already exists") as refusal:
                    setter(aged, new_token("d", name))
                assert isinstance(refusal.value, IntegrityError)
            setter(aged, new_token("last", "jane"))
        assert held(db_of_some_age, kind) == before | {"jane": "last"}


@each_way
def test_nobody_has_no_token_to_replace(aged: Store, db_of_some_age: Database, way: Way) -> None:
    """A user who is not there, and one whose name no column holds."""
    for kind, setter in SETTERS.items():
        before = held(db_of_some_age, kind)
        with way(aged, db_of_some_age):
            for name in ("nobody", "no\0body"):
                with pytest.raises(KeyError):
                    setter(aged, new_token("new", name))
        assert held(db_of_some_age, kind) == before


@each_way
def test_several_of_a_user_become_one(fresh: Database, way: Way) -> None:
    """As a race left them in a table of 0.7.0, which had no unique index."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.metadata.create_all(fresh.main)
    without_index(fresh, "userharbor_password_resets")
    store.create_user(new_user())
    with fresh.main.begin() as connection:
        resets = store.metadata.tables["userharbor_password_resets"]
        rows = [
            {"token_hash": hashed, "username": "jane", "expires_at": EXPIRES_AT} for hashed in "adx"
        ]
        connection.execute(resets.insert(), rows)
    with way(store, fresh):
        store.set_password_reset(new_token("new"))
    assert held(fresh, "password_resets") == {"jane": "new"}


def held(db: Database, kind: str) -> dict[str, str]:
    """Each user's token, one at most."""
    rows = db.read(f"SELECT username, token_hash FROM userharbor_{kind}")
    assert len(rows) == len(dict(rows))
    return dict(rows)
