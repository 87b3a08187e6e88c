"""Users who never verified are removed with all that is theirs, and nobody else."""

import threading
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import event, insert
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import sessionmaker
from userharbor.interfaces import UserToken

from support.databases import Database
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

Store = SQLAlchemyUserStore[User]

LONG_AGO = datetime(2020, 1, 1)
MONTH = timedelta(days=30)


def names(store: Store) -> set[str]:
    return {user.username for user in store.iter_users()}


def register(store: Store, name: str, expires_at: datetime) -> None:
    store.create_user(new_user(name, expires_at=expires_at))


def test_who_never_verified_goes_and_leaves_name_and_address(model_store: Store) -> None:
    """On each shape of user table; who verified, or still may, or never had a mail, stays."""
    store = model_store
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    for name in ("jane", "Joe", "judy"):
        register(store, name, LONG_AGO)
        store.add_session(new_token(f"{name}-phone", name))
    store.set_user_verified("judy")
    register(store, "live", EXPIRES_AT)
    register(store, "late", yesterday)
    register(store, "resent", LONG_AGO)
    store.set_email_verification(new_token("new", "resent"))
    register(store, "without", LONG_AGO)
    store.remove_email_verification("without-verification")
    assert store.purge_unverified(older_than=MONTH) == 2
    assert names(store) == {"judy", "live", "late", "resent", "without"}
    assert store.get_session("jane-phone") is None
    register(store, "JANE", EXPIRES_AT)
    assert store.list_sessions("jane") == []
    assert store.purge_unverified(older_than=timedelta(0)) == 1
    assert names(store) == {"judy", "live", "resent", "without", "JANE"}


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_it_goes_through_the_verifications_in_batches(store: Store, batch_size: int) -> None:
    """Progress tells how many were looked at, and who went."""
    for number in range(7):
        register(store, f"old{number}", LONG_AGO)
        register(store, f"new{number}", EXPIRES_AT)
    seen: list[tuple[int, int, int]] = []
    removed = store.purge_unverified(
        older_than=MONTH, batch_size=batch_size, progress=lambda *each: seen.append(each)
    )
    assert removed == 7
    assert seen[-1] == (14, 14, 7)
    assert len(names(store)) == 7


def test_who_verifies_at_that_moment_stays(store: Store, db: Database) -> None:
    """Between the look at the verification and the removal; and who is sent another mail."""
    for name in ("jane", "joe", "judy"):
        register(store, name, LONG_AGO)
    engine = db.engine()
    done: list[str] = []

    def verify(*_: object) -> None:
        # Once, when the page of verifications has been read.
        if not done:
            done.append("now")
            store.set_user_verified("jane")
            store.set_email_verification(new_token("resent", "joe"))

    event.listen(engine, "checkin", verify)
    assert SQLAlchemyUserStore(sessionmaker(engine)).purge_unverified(older_than=MONTH) == 1
    assert done
    assert names(store) == {"jane", "joe"}


@pytest.mark.races
def test_of_those_who_verify_meanwhile_none_is_lost(db: Database) -> None:
    """By real threads, which register and verify while two purges run."""
    store = SQLAlchemyUserStore(sessionmaker(db.engine(pool_size=16)))
    verified = threading.Semaphore(0)
    for number in range(60):
        register(store, f"user{number:02}", LONG_AGO)

    def verify(numbers: range) -> None:
        for number in numbers:
            with store.transaction():
                token = store.get_email_verification(f"user{number:02}-verification")
                if token is not None:
                    store.remove_email_verification(token.token_hash)
                    store.set_user_verified(token.username)
                    verified_names.append(token.username)
            register(store, f"new{number:02}", EXPIRES_AT)
        verified.release()

    verified_names: list[str] = []
    removed: list[int] = []
    threads = [threading.Thread(target=verify, args=(range(at, 60, 3),)) for at in range(3)]
    threads += [
        threading.Thread(
            target=lambda: removed.append(store.purge_unverified(older_than=MONTH, batch_size=5))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(verified.acquire(timeout=0) for _ in range(3))
    new = {f"new{number:02}" for number in range(60)}
    assert names(store) == new | set(verified_names)
    assert sum(removed) == 60 - len(verified_names)


def test_thousands_go_and_thousands_stay(db: Database) -> None:
    """By batches, on tables that were filled as such."""
    rows = [
        {
            "username": f"user{number:05}",
            "username_key": f"user{number:05}",
            "email": f"user{number:05}@example.org",
            "password_hash": "hash",
            "verified": number % 2 == 0,
        }
        for number in range(4_000)
    ]
    expired = LONG_AGO.replace(tzinfo=timezone.utc)
    tokens = [
        {"token_hash": row["username"], "username": row["username"], "expires_at": expired}
        for row in rows
    ]
    with db.main.begin() as connection:
        connection.execute(insert(metadata.tables["userharbor_users"]), rows)
        for table in ("email_verifications", "sessions"):
            connection.execute(insert(metadata.tables[f"userharbor_{table}"]), tokens)
    store = SQLAlchemyUserStore(sessionmaker(db.main))
    assert store.purge_unverified(older_than=MONTH) == 2_000
    assert db.read("SELECT count(*) FROM userharbor_users WHERE verified") == [(2_000,)]
    assert db.count("userharbor_users") == db.count("userharbor_sessions") == 2_000


def test_expired_verifications_may_be_kept_for_it(store: Store, db: Database) -> None:
    """Purged as soon as they expire, nobody would be known to have let one expire."""
    register(store, "jane", datetime.now(timezone.utc) - timedelta(days=10))
    register(store, "joe", LONG_AGO)
    before = datetime.now(timezone.utc) - MONTH
    assert store.purge_expired(verifications_before=before).email_verifications == 1
    assert db.read("SELECT username FROM userharbor_email_verifications") == [("jane",)]
    assert store.purge_unverified(older_than=timedelta(days=7)) == 1
    assert names(store) == {"joe"}


def test_what_can_not_be_meant_is_refused(store: Store) -> None:
    """Before anything is removed."""
    register(store, "jane", LONG_AGO)
    with pytest.raises(ValueError, match="negative"):
        store.purge_unverified(older_than=timedelta(days=-1))
    with pytest.raises(ValueError, match="batch_size=0"):
        store.purge_unverified(older_than=MONTH, batch_size=0)
    for too_long in (timedelta(days=365 * 1_500), timedelta(days=800_000), timedelta.max):
        with pytest.raises(ValueError, match=r"older_than=.* is too long ago"):
            store.purge_unverified(older_than=too_long)
    with pytest.raises(ValueError, match="verifications_before"):
        store.purge_expired(verifications_before=datetime.now(timezone.utc) + MONTH)
    with store.transaction(), pytest.raises(InvalidRequestError, match="purge_unverified"):
        store.purge_unverified(older_than=MONTH)
    assert names(store) == {"jane"}
    assert isinstance(store.get_email_verification("jane-verification"), UserToken)
