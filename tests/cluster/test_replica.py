"""A session that sends reads to a replica: locks and writes, and whole blocks, go to the primary.

Both servers count the statements that they execute: pg_stat_statements, which a replica
keeps for itself.
"""

import time
from collections.abc import Callable, Iterator

import pytest
from racing import Outbox, Store, make_harbor
from samples import EXPIRES_AT, new_token, new_user
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import (
    InvalidPasswordResetTokenError,
    InvalidUsernameError,
    PermissionAlreadyExistsError,
    RoleAlreadyExistsError,
)
from userharbor.interfaces import UserStore

from userharbor_sqlalchemy import SQLAlchemyUserStore

from .postgres import Pair, emptied, routed

pytestmark = pytest.mark.cluster

READS = {
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
}
WRITES = {
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
}
CALLS = READS | WRITES


class Server:
    """One of the two, asked what it has executed of what others sent."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def forget(self) -> None:
        self.ask("SELECT pg_stat_statements_reset()")

    def executed(self) -> int:
        """How many statements on the store's tables."""
        ((count,),) = self.ask(
            "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements"
            " WHERE query LIKE '%userharbor!_%' ESCAPE '!'"
        )
        assert isinstance(count, int)
        return count


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
def replica(engines: list[Engine], primary: Server) -> Server:
    """The replica, which has what the primary has."""
    seed = SQLAlchemyUserStore(sessionmaker(emptied(engines[0])))
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


def wait_for_replay(primary: Server, replica: Server) -> None:
    """Wait until the replica shows what the primary has committed by now."""
    ((written,),) = primary.ask("SELECT pg_current_wal_lsn()")
    behind = f"SELECT pg_last_wal_replay_lsn() < '{written}'::pg_lsn"
    while replica.ask(behind) != [(False,)]:
        time.sleep(0.01)


@pytest.fixture
def stale(primary: Server, replica: Server) -> Iterator[Server]:
    """The replica, which shows nothing of what is committed from now on."""
    replica.ask("SELECT pg_wal_replay_pause()")
    while replica.ask("SELECT pg_get_wal_replay_pause_state()") != [("paused",)]:
        time.sleep(0.01)
    yield replica
    replica.ask("SELECT pg_wal_replay_resume()")


@pytest.fixture
def store(engines: list[Engine]) -> Store:
    return SQLAlchemyUserStore(routed(*engines))


def test_the_tables_of_calls_name_each_method() -> None:
    """The protocol has 35, of which `transaction()` is not in the tables."""
    methods = {name for name in dir(UserStore) if not name.startswith("_")}
    assert set(CALLS) == methods - {"transaction"}
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
