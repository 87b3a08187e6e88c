"""Races across the nodes of a Galera cluster, where a row's lock does not reach another node.

Twenty rounds, most of two threads a node. That another node committed first, a node tells
with MariaDB's deadlock error: at COMMIT, or at any statement.
"""

from functools import partial

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import (
    InvalidEmailError,
    InvalidPasswordResetTokenError,
    InvalidUsernameError,
    InvalidVerificationTokenError,
    RoleAlreadyExistsError,
)

from support.racing import Outbox, Slow, Store, make_harbor, race, typed
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore

from .galera import everywhere, number

pytestmark = pytest.mark.cluster

ROUNDS = 20
DEADLOCK = 1213


@pytest.mark.parametrize("kind", [SQLAlchemyUserStore, Slow], ids=["at once", "with a pause"])
def test_one_reset_token_has_one_winner(
    kind: type[Store], engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others find no token, or their block is given up, which is the caller's to try again."""
    outbox = Outbox()
    harbors = [make_harbor(kind(sessionmaker(engine)), outbox, monkeypatch) for engine in engines]
    for round_ in range(ROUNDS):
        name = f"user{round_}"
        harbors[0].register(name, f"{name}@x.org", "Password-0")
        harbors[1].send_password_reset(f"{name}@x.org")
        token = outbox.tokens[name]

        outcomes = race(
            [
                partial(harbor.reset_password, f"Password-{thread}", token)
                for thread, harbor in enumerate(harbors * 2)
            ]
        )
        given_up = [each for each in outcomes if number(each) == DEADLOCK]
        others = [each for each in outcomes if each not in given_up]
        assert typed(others, InvalidPasswordResetTokenError) == 1
        assert everywhere(
            engines, f"SELECT password_hash FROM userharbor_users WHERE username = '{name}'"
        ) == [(f"hash of Password-{outcomes.index(None)}",)]
    assert everywhere(engines, "SELECT * FROM userharbor_password_resets") == []


def test_one_verification_token_has_one_winner(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others find no token, or their block is given up, which is the caller's to try again."""
    outbox = Outbox()
    harbors = [make_harbor(Slow(sessionmaker(engine)), outbox, monkeypatch) for engine in engines]
    for round_ in range(ROUNDS):
        name = f"user{round_}"
        harbors[0].register(name, f"{name}@x.org", "Password-0")
        calls = [partial(harbor.verify_email, outbox.tokens[name]) for harbor in harbors * 2]
        outcomes = race(calls)
        others = [each for each in outcomes if number(each) != DEADLOCK]
        assert typed(others, InvalidVerificationTokenError) == 1
    assert everywhere(engines, "SELECT * FROM userharbor_email_verifications") == []


def test_one_name_registers_once(stores: list[Store], engines: list[Engine]) -> None:
    """Without the retry of a deadlock, nodes raised that and not the typed error."""
    spellings = [str.title, str.upper, str.casefold]
    for round_ in range(ROUNDS):
        calls = [
            partial(
                store.create_user,
                new_user(
                    spellings[thread % 3](f"Straße{round_}"),
                    email=f"{round_}-{thread}@x.org",
                    verification_token_hash=f"{round_}-{thread}",
                ),
            )
            for thread, store in enumerate(stores * 2)
        ]
        assert typed(race(calls), InvalidUsernameError) == 1
    assert everywhere(engines, "SELECT count(*) FROM userharbor_users") == [(ROUNDS,)]
    assert everywhere(engines, "SELECT count(*) FROM userharbor_email_verifications") == [(ROUNDS,)]


def test_one_email_registers_once(stores: list[Store], engines: list[Engine]) -> None:
    """As a name does: by the unique index, and the retry."""
    for round_ in range(ROUNDS):
        calls = [
            partial(store.create_user, new_user(f"{round_}-{thread}", email=f"{round_}@x.org"))
            for thread, store in enumerate(stores * 2)
        ]
        assert typed(race(calls), InvalidEmailError) == 1
    assert everywhere(engines, "SELECT count(*) FROM userharbor_users") == [(ROUNDS,)]


@pytest.mark.parametrize("kind", ["password_reset", "email_verification"])
def test_one_token_of_a_kind_is_left_of_a_user(
    stores: list[Store], engines: list[Engine], kind: str
) -> None:
    """The lock on the user's row is the node's own; the unique index holds, and none raises.

    Once a node, or one of them might lose as often as a call is tried.
    """
    stores[0].create_user(new_user())
    for round_ in range(ROUNDS):
        hashes = [f"{round_}-{thread}" for thread in range(3)]
        calls = [
            partial(getattr(store, f"set_{kind}"), new_token(each))
            for store, each in zip(stores, hashes, strict=True)
        ]
        assert typed(race(calls)) == len(calls)
        ((left,),) = everywhere(engines, f"SELECT token_hash FROM userharbor_{kind}s")
        assert left in hashes


def test_a_role_and_its_grant_are_made_once(stores: list[Store], engines: list[Engine]) -> None:
    """One creates the role, the others get the typed error; granting it is right from each."""
    stores[0].create_user(new_user())
    for round_ in range(ROUNDS):
        role = f"role{round_}"
        made = race([partial(store.create_role, role) for store in stores * 2])
        assert typed(made, RoleAlreadyExistsError) == 1
        granted = race([partial(store.grant_role_to_user, "JANE", role) for store in stores * 2])
        assert typed(granted) == 6
    assert everywhere(engines, "SELECT count(*) FROM userharbor_user_roles") == [(ROUNDS,)]


def test_what_a_call_has_stored_the_next_on_another_node_finds(stores: list[Store]) -> None:
    """By `wsrep_sync_wait = 7`.

    With 1, a user just stored was unknown to a login, and a session outlived its logout.
    """
    one, two, three = stores
    for round_ in range(100):
        name = f"user{round_}"
        one.create_user(new_user(name))
        two.add_session(new_token(name, name))
        three.remove_session(name)
        assert one.get_session(name) is None
