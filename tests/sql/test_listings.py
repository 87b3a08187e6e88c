"""Listing users and a user's sessions, on the built-in tables and over each shape of user table."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Row
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import InvalidUsernameError

from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

NAMES = ["anna", "Bob", "jane", "Straße", "zoë"]


def test_sessions_of_a_user_are_listed(model_store: Store) -> None:
    """In any casing of the name, expired or not, in naive UTC, the longest first, no one else's."""
    long_ago = datetime(2001, 2, 3, 4, 5, 6, 789, timezone(timedelta(hours=2)))
    for name in ("Jane", "joe"):
        model_store.create_user(new_user(name))
    model_store.add_session(new_token("old", "Jane", long_ago))
    model_store.add_session(new_token("new", "JANE"))
    model_store.add_session(new_token("joe's", "joe"))

    assert model_store.list_sessions("jane") == [
        new_token("new", "Jane"),
        new_token("old", "Jane", datetime(2001, 2, 3, 2, 5, 6, 789)),
    ]
    assert model_store.list_sessions("nobody") == []
    assert model_store.list_sessions("nul\0") == []


def test_other_sessions_are_removed(model_store: Store) -> None:
    """All of the user's but the one, told apart byte for byte; other users keep theirs."""
    for name in ("jane", "joe"):
        model_store.create_user(new_user(name))
        for number in range(3):
            model_store.add_session(new_token(f"{name}-{number}", name))

    assert model_store.remove_other_sessions("JANE", "jane-1") == 2
    assert model_store.list_sessions("jane") == [new_token("jane-1")]
    assert model_store.remove_other_sessions("jane", "joe-1") == 1
    assert model_store.list_sessions("jane") == []
    assert model_store.remove_other_sessions("nobody", "joe-1") == 0
    assert len(model_store.list_sessions("joe")) == 3
    assert model_store.remove_other_sessions("joe", "JOE-1") == 3


@pytest.mark.parametrize("strange", ["nul\0", "\ud800", "x" * 129])
def test_no_session_has_a_hash_that_no_column_can_hold(store: Store, strange: str) -> None:
    """So all of the user's are others."""
    store.create_user(new_user())
    store.add_session(new_token("s"))
    store.add_session(new_token(""))
    assert store.remove_other_sessions("jane", strange) == 2


def test_removing_other_sessions_is_part_of_a_transaction(store: Store, db: Database) -> None:
    """Taken back with the block that raises."""
    store.create_user(new_user())
    for number in range(3):
        store.add_session(new_token(str(number)))
    with pytest.raises(ZeroDivisionError), store.transaction():
        assert store.remove_other_sessions("jane", "1") == 2
        raise ZeroDivisionError
    assert db.count("userharbor_sessions") == 3


def test_users_are_iterated_in_pages(model_store: Store) -> None:
    """Each once, as lookups return them, whatever the size of a page."""
    for name in NAMES:
        model_store.create_user(new_user(name))
    model_store.set_user_verified("bob")

    assert model_store.count_users() == 5
    for page_size in (1, 2, 5, 1000):
        users = list(model_store.iter_users(page_size=page_size))
        assert len(users) == 5
        assert {user.username for user in users} == set(NAMES)
        assert User("Bob", "Bob@example.org", True) in users
    names = [user.username for user in users]
    rest = [user.username for user in model_store.iter_users(after=names[2], page_size=1)]
    assert rest == names[3:]


def test_users_may_come_and_go_while_they_are_iterated(store: Store) -> None:
    """A page is as it is when it is read; who stays throughout is met once."""
    for name in ("a", "c", "e", "g"):
        store.create_user(new_user(name))
    users = store.iter_users(page_size=2)
    assert next(users).username == "a"
    store.delete_user("c")
    store.delete_user("e")
    store.create_user(new_user("b"))
    store.create_user(new_user("f"))
    assert [user.username for user in users] == ["c", "f", "g"]


def test_users_are_mapped_as_by_lookups(db: Database) -> None:
    """The mapper of the store gets each row."""

    @dataclass
    class Addressee(User):
        line: str

    def to_addressee(row: Row[Any]) -> Addressee:
        return Addressee(row.username, row.email, row.verified, f"{row.username} <{row.email}>")

    store = SQLAlchemyUserStore(sessionmaker(db.main), user_mapper=to_addressee)
    store.create_user(new_user())
    assert [user.line for user in store.iter_users()] == ["jane <jane@example.org>"]


def test_no_users(store: Store) -> None:
    """An empty table is no error."""
    assert store.count_users() == 0
    assert list(store.iter_users()) == []


def test_what_can_not_be_iterated_is_refused_at_the_call(store: Store) -> None:
    """Not when the first user is asked for."""
    with pytest.raises(ValueError, match="page_size=0"):
        store.iter_users(page_size=0)
    with pytest.raises(ValueError, match="page_size=1000000"):
        store.iter_users(page_size=1_000_000)
    with pytest.raises(InvalidUsernameError):
        store.iter_users(after="nul\0")
