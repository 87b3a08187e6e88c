"""PgBouncer in transaction mode: from one transaction to the next, a client's server changes."""

from functools import partial

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import InvalidPasswordResetTokenError, InvalidUsernameError

from support.racing import Outbox, Slow, Store, make_harbor, race, typed
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore

pytestmark = pytest.mark.cluster

CLIENTS = 8
ROUNDS = 20


@pytest.fixture
def store(pooled: Engine) -> Store:
    return SQLAlchemyUserStore(sessionmaker(pooled))


def test_all_clients_share_two_servers_and_leave_them_as_they_were(
    pooled: Engine, store: Store
) -> None:
    """A statement that was prepared on one server, psycopg's default, failed on the other.

    Single calls are in AUTOCOMMIT, blocks at READ COMMITTED, and the engine's own level is
    another.
    """
    servers: set[int] = set()
    engine = pooled.execution_options(isolation_level="SERIALIZABLE")
    own = SQLAlchemyUserStore(sessionmaker(engine))

    def work(client: int) -> None:
        for count in range(ROUNDS):
            name = f"{client}-{count}"
            own.create_user(new_user(name))
            with own.transaction():
                own.add_session(new_token(name, name))
                own.set_password_reset(new_token(name, name))
            assert own.get_session(name) == new_token(name, name)
            with pooled.begin() as connection:
                server, level = connection.exec_driver_sql(
                    "SELECT pg_backend_pid(), current_setting('transaction_isolation')"
                ).one()
            assert level == "read committed"
            servers.add(server)

    assert typed(race([partial(work, client) for client in range(CLIENTS)])) == CLIENTS
    assert len(servers) == 2
    with pooled.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM userharbor_password_resets")
        assert count.scalar() == CLIENTS * ROUNDS


def test_one_reset_token_has_one_winner(pooled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held to the end of the block, on the server that the block stays on."""
    outbox = Outbox()
    harbor = make_harbor(Slow(sessionmaker(pooled)), outbox, monkeypatch)
    for round_ in range(ROUNDS):
        name = f"user{round_}"
        harbor.register(name, f"{name}@x.org", "Password-0")
        harbor.send_password_reset(f"{name}@x.org")
        token = outbox.tokens[name]
        spend = [partial(harbor.reset_password, f"Password-{n}", token) for n in range(CLIENTS)]
        assert typed(race(spend), InvalidPasswordResetTokenError) == 1


def test_one_name_registers_once(store: Store) -> None:
    """The others get the typed error."""
    for round_ in range(ROUNDS):
        calls = [
            partial(
                store.create_user,
                new_user(
                    f"Jane{round_}",
                    email=f"{round_}-{client}@x.org",
                    verification_token_hash=f"{round_}-{client}",
                ),
            )
            for client in range(CLIENTS)
        ]
        assert typed(race(calls), InvalidUsernameError) == 1
