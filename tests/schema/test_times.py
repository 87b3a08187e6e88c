"""Instants survive each column that holds one, in servers and sessions of another zone."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy.orm import sessionmaker

from support import servers
from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

INDIA = timezone(timedelta(hours=5, minutes=30))
INSTANTS = [
    (datetime(2030, 1, 1, 12, 0), datetime(2030, 1, 1, 12, 0)),
    (datetime(2030, 1, 1, 12, 0, 0, 1), datetime(2030, 1, 1, 12, 0, 0, 1)),
    (datetime(2030, 1, 1, 12, 0, 0, 999999), datetime(2030, 1, 1, 12, 0, 0, 999999)),
    (datetime(2030, 1, 1, 0, 0, 0, 1, INDIA), datetime(2029, 12, 31, 18, 30, 0, 1)),
    (datetime(2030, 7, 1, 12, 0, tzinfo=timezone.utc), datetime(2030, 7, 1, 12, 0)),
    (datetime(2030, 7, 1, 12, tzinfo=timezone(timedelta(hours=-9))), datetime(2030, 7, 1, 21)),
]

SESSION_ZONE = {
    "sqlite": {},
    "postgresql": {"connect_args": {"options": "-c timezone=America/Caracas"}},
    "mysql": {"connect_args": {"init_command": "SET time_zone = '-04:00'"}},
}


@pytest.fixture(params=["the server's zone", "a session's own zone"])
def store(request: pytest.FixtureRequest, db: Database) -> SQLAlchemyUserStore[User]:
    if request.param == "the server's zone":
        return SQLAlchemyUserStore(sessionmaker(db.main))
    return SQLAlchemyUserStore(sessionmaker(db.engine(**SESSION_ZONE[db.backend])))


@pytest.mark.parametrize(("given", "naive_utc"), INSTANTS)
def test_an_expiry_comes_back_as_the_same_instant(
    store: SQLAlchemyUserStore[User], db: Database, given: datetime, naive_utc: datetime
) -> None:
    """Naive UTC to the microsecond, through every method that stores one."""
    store.create_user(new_user(expires_at=given))
    verification = store.get_email_verification("jane-verification")
    store.set_email_verification(new_token("v", expires_at=given))
    store.set_password_reset(new_token("r", expires_at=given))
    store.add_session(new_token("s", expires_at=given))
    store.add_session(new_token("refreshed"))
    store.refresh_session("refreshed", given)

    found = [
        verification,
        store.get_email_verification("v"),
        store.get_password_reset("r"),
        store.get_session("s"),
        store.get_session("refreshed"),
    ]
    assert [token and token.expires_at for token in found] == [naive_utc] * 5


def test_the_server_is_not_in_utc(db: Database) -> None:
    """What the tests of this file rest on."""
    if db.backend == "postgresql":
        assert db.read("SHOW timezone") == [(servers.TIME_ZONE,)]
    elif db.backend == "mysql":
        assert db.read("SELECT @@global.time_zone, @@session.time_zone") == [
            (servers.OFFSET, servers.OFFSET)
        ]
    else:
        assert datetime.now().astimezone().utcoffset() == INDIA.utcoffset(None)


def test_a_column_holds_utc_to_the_raw_reader(db: Database) -> None:
    """Another program that reads the tables finds the instant as well."""
    store = SQLAlchemyUserStore(sessionmaker(db.main))
    instant = datetime(2030, 1, 1, 0, 0, 0, 1, INDIA)
    store.create_user(new_user(expires_at=instant))
    store.set_password_reset(new_token("r", expires_at=instant))
    store.add_session(new_token("s", expires_at=instant))

    for table in ("email_verifications", "password_resets", "sessions"):
        ((stored,),) = db.read(f"SELECT expires_at FROM userharbor_{table}")
        if db.backend == "postgresql":
            assert stored == instant
        else:
            assert str(stored) == "2029-12-31 18:30:00.000001"


@pytest.mark.parametrize(
    "given",
    [
        datetime.max,
        datetime.min,
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        datetime.min.replace(tzinfo=INDIA),
    ],
)
def test_an_instant_that_not_each_database_gives_back_is_refused(
    store: SQLAlchemyUserStore[User], db: Database, given: datetime
) -> None:
    """PostgreSQL would store it, and fail to read it in a time zone that puts it past the end."""
    store.create_user(new_user())
    store.add_session(new_token("s"))
    calls: list[Callable[[], None]] = [
        lambda: store.add_session(new_token("t", expires_at=given)),
        lambda: store.set_password_reset(new_token("t", expires_at=given)),
        lambda: store.refresh_session("s", given),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="is not between 1000-01-02 and 9999-12-30"):
            call()
    assert store.get_session("s") == new_token("s")
    assert db.count("userharbor_password_resets") == 0
