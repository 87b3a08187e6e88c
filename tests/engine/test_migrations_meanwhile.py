"""A schema that is migrated while the application runs, and its pool has seen the old one."""

import gc
import threading

import pytest
from sqlalchemy.orm import sessionmaker

from support.calls import CALLS as EVERY_CALL
from support.databases import Database
from support.racing import Store
from userharbor_sqlalchemy import SQLAlchemyUserStore

pytestmark = [
    pytest.mark.backends("postgresql", "mysql"),
    # Of a pool that is given up, those that a caller has then are left to the collector.
    pytest.mark.filterwarnings("ignore:.* was deleted while still open:ResourceWarning"),
]

MIGRATIONS = {
    "postgresql": [
        "ALTER TABLE userharbor_users ALTER email TYPE varchar(400)",
        "ALTER TABLE userharbor_users ALTER password_hash TYPE text",
        "ALTER TABLE userharbor_users ADD COLUMN note text",
        "ALTER TABLE userharbor_sessions ALTER username TYPE varchar(400)",
        "ALTER TABLE userharbor_password_resets ALTER token_hash TYPE varchar(200)",
        "ALTER TABLE userharbor_roles ALTER role TYPE varchar(400)",
        "CREATE INDEX by_expiry ON userharbor_sessions (expires_at)",
    ],
    "mysql": [
        "ALTER TABLE userharbor_users MODIFY email varchar(400) COLLATE utf8mb4_bin NOT NULL",
        "ALTER TABLE userharbor_users MODIFY password_hash text NOT NULL",
        "ALTER TABLE userharbor_users ADD COLUMN note text",
        "ALTER TABLE userharbor_sessions MODIFY expires_at datetime(3) NOT NULL",
        "CREATE INDEX by_expiry ON userharbor_sessions (expires_at)",
    ],
}


# A block can't be tried again by the store.
CALLS = [each for each in EVERY_CALL if each[0] != "transaction"]


def use(store: Store, name: str, times: int = 1) -> None:
    for _ in range(times):
        for _, call in CALLS:
            call(store, name)


def test_a_pool_that_knows_the_old_tables_goes_on(fresh: Database) -> None:
    """psycopg's connections keep statements that were prepared before, which are refused then."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.engine()))
    store.metadata.create_all(store.bind)
    for migration in MIGRATIONS[fresh.backend]:
        use(store, "jane", times=10)
        with fresh.main.begin() as connection:
            connection.exec_driver_sql(migration)
        use(store, "jane")


@pytest.mark.races
def test_a_migration_under_load_fails_no_call(fresh: Database) -> None:
    """Of eight threads, each with a user of its own."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.engine(pool_size=8)))
    store.metadata.create_all(store.bind)
    stop, errors, rounds = threading.Event(), [], [0] * 8

    def work(number: int) -> None:
        while not stop.is_set():
            try:
                use(store, f"user{number}")
                rounds[number] += 1
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    with fresh.engine(isolation_level="AUTOCOMMIT").connect() as connection:
        for migration in MIGRATIONS[fresh.backend]:
            before = list(rounds)
            while not errors and any(
                now < then + 5 for then, now in zip(before, rounds, strict=True)
            ):
                stop.wait(0.01)
            connection.exec_driver_sql(migration)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    gc.collect()
