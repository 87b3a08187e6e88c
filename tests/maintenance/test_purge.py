"""Purging expired tokens: what goes, what stays, and who is disturbed."""

import threading
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import bindparam, event, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import Purged, SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

PAST = datetime(2020, 1, 1)


def fill(store: Store, expired: int, live: int) -> None:
    """jane's sessions: some expired, some not, in an order of hashes that mixes them."""
    store.create_user(new_user())
    for number in range(expired):
        store.add_session(new_token(f"{number:04} expired", expires_at=PAST))
    for number in range(live):
        store.add_session(new_token(f"{number:04} live"))


def test_expired_tokens_of_each_kind_go_and_live_ones_stay(store: Store, db: Database) -> None:
    """The counts say how many of each."""
    for name in ("gone", "stays"):
        expires_at = PAST if name == "gone" else EXPIRES_AT
        store.create_user(new_user(name, expires_at=expires_at))
        store.set_password_reset(new_token(f"{name} reset", name, expires_at))
        store.add_session(new_token(f"{name} 1", name, expires_at))
        store.add_session(new_token(f"{name} 2", name, expires_at))

    assert store.purge_expired() == Purged(sessions=2, email_verifications=1, password_resets=1)
    for table, rows in (("sessions", 2), ("email_verifications", 1), ("password_resets", 1)):
        left = db.read(f"SELECT username FROM userharbor_{table}")
        assert left == [("stays",)] * rows
    assert db.count("userharbor_users") == 2
    assert store.purge_expired() == Purged()


@pytest.mark.parametrize("zone", [None, timezone.utc, timezone(timedelta(hours=-7))])
def test_a_token_that_expires_at_the_limit_stays(store: Store, zone: timezone | None) -> None:
    """To the microsecond; a naive `before` is UTC."""
    limit = datetime(2020, 5, 6, 7, 8, 9, 500000)
    store.create_user(new_user())
    store.add_session(new_token("before", expires_at=limit - timedelta(microseconds=1)))
    store.add_session(new_token("at", expires_at=limit))
    before = limit if zone is None else limit.replace(tzinfo=timezone.utc).astimezone(zone)
    assert store.purge_expired(before=before).sessions == 1
    assert [session.token_hash for session in store.list_sessions("jane")] == ["at"]


@pytest.mark.parametrize("batch_size", [1, 3, 7, 14, 1000])
def test_a_purge_goes_through_the_table_in_batches(store: Store, batch_size: int) -> None:
    """Each row is looked at once; progress tells what was removed by then."""
    fill(store, expired=7, live=7)
    seen: list[tuple[int, int, Purged]] = []
    purged = store.purge_expired(batch_size=batch_size, progress=lambda *args: seen.append(args))
    assert purged == Purged(sessions=7)
    assert seen[-1] == (15, 15, purged)
    looked_at = [0, *(each[0] for each in seen)]
    assert all(0 < after - before <= batch_size for before, after in pairwise(looked_at))


def test_what_was_purged_before_an_interruption_stays_gone(store: Store, db: Database) -> None:
    """A batch is committed when it is done; another run does the rest."""
    fill(store, expired=10, live=10)

    def interrupt(looked_at: int, total: int, purged: Purged) -> None:
        if purged.sessions >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.purge_expired(batch_size=4, progress=interrupt)
    assert db.count("userharbor_sessions") == 16
    assert store.purge_expired(batch_size=4).sessions == 6
    assert db.count("userharbor_sessions") == 10


def test_a_session_that_is_refreshed_meanwhile_stays(store: Store, db: Database) -> None:
    """Between the look at it and its removal; by the expiry that was read, it would go."""
    fill(store, expired=3, live=0)
    engine = db.engine()

    def refresh(*args: Any) -> None:
        if args[2].startswith("DELETE"):
            store.refresh_session("0001 expired", EXPIRES_AT)

    event.listen(engine, "before_cursor_execute", refresh)
    assert SQLAlchemyUserStore(sessionmaker(engine)).purge_expired().sessions == 2
    assert store.list_sessions("jane") == [new_token("0001 expired")]


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("rows", [3, 300])
def test_a_live_session_that_is_locked_is_not_waited_for(
    store: Store, db: Database, rows: int
) -> None:
    """MariaDB, left to choose, read all of a small table, until the lock wait timed out."""
    fill(store, expired=rows, live=rows)
    sessions = store.metadata.tables["userharbor_sessions"]
    one = select(sessions).where(sessions.c.token_hash == bindparam("hash")).with_for_update()
    with db.main.connect() as connection:
        for number in range(rows):
            assert connection.execute(one, {"hash": f"{number:04} live"}).first()
        assert store.purge_expired().sessions == rows


@pytest.mark.backends("postgresql")
def test_times_that_python_can_not_hold_are_purged_or_kept(store: Store, db: Database) -> None:
    """The database compares; a row that was made by hand does not stop a purge for good."""
    store.create_user(new_user())
    for number, expiry in enumerate(("-infinity", "infinity", "20000-01-01")):
        with db.main.begin() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO userharbor_sessions VALUES ('{number}', 'jane', '{expiry}')"
            )
    assert store.purge_expired() == Purged(sessions=1)
    assert db.count("userharbor_sessions") == 2


def test_a_purge_is_not_part_of_a_transaction(store: Store) -> None:
    """It commits each batch, which a block could not take back."""
    with (
        pytest.raises(InvalidRequestError, match="within transaction"),
        store.transaction(),
    ):
        store.purge_expired()


@pytest.mark.parametrize("batch_size", [0, -1, 10_001])
def test_a_batch_of_no_sensible_size_is_refused(store: Store, batch_size: int) -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match=f"batch_size={batch_size}"):
        store.purge_expired(batch_size=batch_size)


def test_the_largest_batch_is_one_statement(store: Store, db: Database) -> None:
    """Each database takes that many parameters."""
    fill(store, expired=1, live=0)
    sessions = store.metadata.tables["userharbor_sessions"]
    rows = [
        {"token_hash": f"{number:05}", "username": "jane", "expires_at": PAST}
        for number in range(9_999)
    ]
    with db.main.begin() as connection:
        connection.execute(sessions.insert(), rows)
    assert store.purge_expired(batch_size=10_000).sessions == 10_000


def test_a_limit_in_the_future_is_refused(store: Store) -> None:
    """Tokens that expire until then are live now."""
    fill(store, expired=0, live=1)
    with pytest.raises(ValueError, match="in the future"):
        store.purge_expired(before=EXPIRES_AT + timedelta(days=1))
    assert store.get_session("0000 live") is not None


@pytest.mark.races
def test_purges_and_logins_at_once(db: Database) -> None:
    """Two purgers, and sessions that are added, refreshed and removed: no error, none lost."""
    store = SQLAlchemyUserStore(sessionmaker(db.engine()))
    fill(store, expired=400, live=50)
    sessions = store.metadata.tables["userharbor_sessions"]
    purgers = [
        threading.Thread(target=lambda: removed.append(store.purge_expired(batch_size=20).sessions))
        for _ in range(2)
    ]
    removed: list[int] = []
    errors: list[Exception] = []

    def log_in(name: str) -> None:
        try:
            for number in range(40):
                token = f"{number:04} {name}"
                store.add_session(new_token(token, expires_at=PAST))
                store.refresh_session(token, EXPIRES_AT)
        except Exception as error:
            errors.append(error)

    logins = [threading.Thread(target=log_in, args=(name,)) for name in ("one", "two")]
    for thread in (*purgers, *logins):
        thread.start()
    for thread in (*purgers, *logins):
        thread.join()
    assert errors == []
    left = [session.token_hash for session in store.list_sessions("jane")]
    assert sum(removed) + len(left) == 400 + 50 + 80
    assert sum(token.endswith("live") for token in left) == 50
    assert not any(token.endswith("expired") for token in left)
    assert len(left) == db.count(sessions.name)
