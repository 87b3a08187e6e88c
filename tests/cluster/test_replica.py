"""A session that sends reads to a replica: locks and writes, and whole blocks, go to the primary.

Both servers count the statements that they execute: pg_stat_statements, which a replica
keeps for itself.
"""

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, MetaData, create_engine
from sqlalchemy.orm import Session, sessionmaker
from userharbor.exceptions import (
    InvalidPasswordResetTokenError,
    InvalidUsernameError,
    PermissionAlreadyExistsError,
    RoleAlreadyExistsError,
)
from userharbor.interfaces import UserStore

from support.models import user_table
from support.racing import Outbox, Store, make_harbor
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore

from .calls import CALLS, READS, WRITES
from .postgres import Pair, Server, empty, routed, wait_for_replay

pytestmark = pytest.mark.cluster

StoreMaker = Callable[[sessionmaker[Session]], Store]


@pytest.fixture(scope="module", params=["built-in", "own table"])
def make_store(request: pytest.FixtureRequest, pair: Pair) -> Iterator[StoreMaker]:
    """Makes stores on tables of this module's; beside an own table, keys have one of theirs."""
    metadata = MetaData()
    own = request.param == "own table"
    model = user_table("userharbor_members", metadata) if own else None

    def make(sessions: sessionmaker[Session]) -> Store:
        return SQLAlchemyUserStore(
            sessions, model, metadata=metadata, table_prefix="userharbor_replicated_"
        )

    engine = create_engine(pair.primary)
    make(sessionmaker(engine)).metadata.create_all(engine)
    yield make
    metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def engines(pair: Pair) -> Iterator[list[Engine]]:
    """The primary's and the replica's; a commit on the primary does not wait for the replica."""
    engines = [create_engine(url) for url in (pair.primary, pair.replica)]
    yield engines
    for engine in engines:
        engine.dispose()


@pytest.fixture
def primary(engines: list[Engine]) -> Server:
    return Server(engines[0])


@pytest.fixture
def replica(make_store: StoreMaker, engines: list[Engine], primary: Server) -> Server:
    """The replica, which has what the primary has."""
    seed = make_store(sessionmaker(engines[0]))
    empty(engines[0], seed.metadata)
    seed.create_user(new_user())
    seed.add_session(new_token("session"))
    seed.set_password_reset(new_token("reset"))
    seed.create_role("admin")
    seed.grant_role_to_user("jane", "admin")
    seed.create_permission("users.read")
    seed.grant_permission_to_role("admin", "users.read")
    replica = Server(engines[1])
    wait_for_replay(primary, replica)
    for server in (primary, replica):
        server.forget()
    return replica


@pytest.fixture
def stale(primary: Server, replica: Server) -> Iterator[Server]:
    """The replica, which shows nothing of what is committed from now on."""
    replica.ask("SELECT pg_wal_replay_pause()")
    while replica.ask("SELECT pg_get_wal_replay_pause_state()") != [("paused",)]:
        time.sleep(0.01)
    yield replica
    replica.ask("SELECT pg_wal_replay_resume()")


@pytest.fixture
def store(make_store: StoreMaker, engines: list[Engine]) -> Store:
    return make_store(routed(*engines))


def test_the_tables_of_calls_name_each_method() -> None:
    """The protocol has 35, of which `transaction()` is not in the tables."""
    methods = {name for name in dir(UserStore) if not name.startswith("_")}
    assert methods - {"transaction"} <= set(CALLS)
    assert len(methods) == 35


@pytest.mark.parametrize("name", list(CALLS))
def test_a_call_by_itself(store: Store, primary: Server, replica: Server, name: str) -> None:
    """A getter is executed by the replica alone, anything else by the primary alone."""
    getattr(store, name)(*CALLS[name])
    executed = {"primary": primary.executed() > 0, "replica": replica.executed() > 0}
    assert executed == {"primary": name in WRITES, "replica": name in READS}


@pytest.mark.parametrize("name", list(CALLS))
def test_a_call_in_a_block(store: Store, primary: Server, replica: Server, name: str) -> None:
    """The primary executes all of a block, so that what is read there is locked or current."""
    with store.transaction():
        getattr(store, name)(*CALLS[name])
    assert primary.executed() > 0
    assert replica.executed() == 0


def test_a_read_sees_a_write_once_it_is_replayed(
    store: Store, primary: Server, stale: Server
) -> None:
    """Until then a getter answers with what was there before, but not in a block."""
    store.add_session(new_token("new"))
    assert store.get_session("new") is None
    with store.transaction():
        assert store.get_session("new") == new_token("new")
    stale.ask("SELECT pg_wal_replay_resume()")
    wait_for_replay(primary, stale)
    assert store.get_session("new") == new_token("new")


def test_a_write_relies_on_nothing_that_the_replica_says(store: Store, stale: Server) -> None:
    """Who is there, and what is taken, writes learn from the primary."""
    store.create_user(new_user("joe"))
    store.add_session(new_token("of joe", "JOE"))
    store.create_role("editor")
    store.grant_role_to_user("joe", "editor")
    store.create_permission("users.write")
    store.grant_permission_to_role("editor", "users.write")
    with pytest.raises(InvalidUsernameError, match="already exists"):
        store.create_user(new_user("JOE", email="other@example.org"))
    with pytest.raises(RoleAlreadyExistsError):
        store.create_role("editor")
    with pytest.raises(PermissionAlreadyExistsError):
        store.create_permission("users.write")

    store.delete_user("jane")
    assert store.get_user_by_username("jane") is not None
    writes: list[Callable[[], object]] = [
        lambda: store.set_password_hash("jane", "another hash"),
        lambda: store.add_session(new_token("late")),
        lambda: store.set_password_reset(new_token("late")),
        lambda: store.grant_role_to_user("jane", "editor"),
    ]
    for write in writes:
        with pytest.raises(KeyError):
            write()


def test_a_token_is_spent_once_however_late_the_replica_is(
    store: Store, stale: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core reads the token in a block: one that the replica lacks is found, a spent one not."""
    outbox = Outbox()
    harbor = make_harbor(store, outbox, monkeypatch)
    harbor.send_password_reset("jane@example.org")
    token = outbox.tokens["jane"]
    harbor.reset_password("Password-1", token)
    with pytest.raises(InvalidPasswordResetTokenError):
        harbor.reset_password("Password-2", token)
    with store.transaction():
        assert store.get_password_hash("jane") == "hash of Password-1"
