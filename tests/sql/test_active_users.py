"""Users who may not come in, by a condition of the application's on its own model."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Boolean, DateTime, MetaData, String, func, update
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    mapped_column,
    sessionmaker,
)
from userharbor.exceptions import InvalidEmailError, InvalidUsernameError

from support.databases import Database
from support.models import BYTEWISE, user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[Any]
NOW = datetime(2026, 1, 1)


class Base(DeclarativeBase):
    pass


class Account(Base):
    """An application's own, whose columns have other names than its attributes."""

    __tablename__ = "active_accounts"
    __table_args__ = BYTEWISE

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(255), unique=True)
    username_key: Mapped[str] = mapped_column(String(255), unique=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    password_hash: Mapped[str] = mapped_column(String(512))
    verified: Mapped[bool] = mapped_column(Boolean)
    banned_at: Mapped[datetime | None] = mapped_column("banned", DateTime)
    strikes: Mapped[int] = mapped_column(default=0)

    @hybrid_property
    def is_active(self) -> Any:
        return self.banned_at == None  # noqa: E711


CONDITIONS: dict[str, Callable[[], Any]] = {
    "an attribute's": lambda: Account.banned_at.is_(None),
    "of several": lambda: Account.banned_at.is_(None) & (Account.strikes < 3),
    "one or the other": lambda: (Account.banned_at.is_(None)) | (Account.strikes < 0),
    "a function's": lambda: func.coalesce(Account.banned_at, NOW) == NOW,
    "a hybrid's": lambda: Account.is_active,
    "a column's": lambda: Account.__table__.c.banned.is_(None),
}


@pytest.fixture(params=CONDITIONS.values(), ids=list(CONDITIONS))
def store(request: pytest.FixtureRequest, db: Database) -> Any:
    """A store with Jane in it, and all that can be hers; and with Joe."""
    sessions = sessionmaker(db.main)
    store: Store = SQLAlchemyUserStore(
        sessions, Account, active=request.param(), table_prefix="active_"
    )
    Base.metadata.drop_all(db.main)
    store.metadata.create_all(db.main)
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
        store.add_session(new_token(f"{name}-phone", name))
        store.set_password_reset(new_token(f"{name}-reset", name))
    store.create_role("admin")
    store.create_permission("users.read")
    store.grant_permission_to_role("admin", "users.read")
    store.grant_role_to_user("jane", "admin")
    yield store
    Base.metadata.drop_all(db.main)


def ban(db: Database, when: datetime | None = datetime(2026, 6, 1)) -> None:
    with Session(db.main) as session, session.begin():
        session.execute(update(Account).where(Account.username == "jane").values(banned_at=when))


def found(store: Store) -> list[Any]:
    """What lookups find of Jane's."""
    return [
        store.get_user_by_username("JANE"),
        store.get_user_by_email("jane@example.org"),
        store.get_session("jane-phone"),
        store.get_email_verification("jane-verification"),
        store.get_password_reset("jane-reset"),
        *store.list_sessions("JANE"),
        *store.get_user_roles("JANE"),
        *store.get_user_permissions("JANE"),
        *(user for user in store.iter_users() if user.username == "jane"),
        *store.get_users_with_role("admin"),
        *store.get_users_with_permission("users.read"),
    ]


def test_who_may_not_come_in_is_found_by_no_lookup_until_that_ends(
    db: Database, store: Store
) -> None:
    """From that moment, sessions that are open too, and within a block; then all is there again."""
    before = found(store)
    assert None not in before
    assert len(before) == 11
    ban(db)
    assert found(store) == [None] * 5
    with store.transaction():
        assert found(store) == [None] * 5
    assert store.count_users() == 1
    with pytest.raises(KeyError):
        store.get_password_hash("jane")
    ban(db, None)
    assert found(store) == before
    assert store.count_users() == 2


def test_nothing_lets_such_a_user_in(db: Database, store: Store) -> None:
    """No session and no token is stored, alone and in a block; what is there may be ended."""
    ban(db)
    ways_in: list[Callable[[], object]] = [
        lambda: store.add_session(new_token("new", "jane")),
        lambda: store.set_password_reset(new_token("new", "jane")),
        lambda: store.set_email_verification(new_token("new", "jane")),
    ]
    for let_in in ways_in:
        with pytest.raises(KeyError):
            let_in()
        with store.transaction(), pytest.raises(KeyError):
            let_in()
    assert db.count("active_sessions") == db.count("active_password_resets") == 2
    store.remove_session("jane-phone")
    store.remove_password_reset_for_user("jane")
    assert db.count("active_sessions") == db.count("active_password_resets") == 1


def test_name_and_address_stay_taken(db: Database, store: Store) -> None:
    """Nobody else comes in by them."""
    ban(db)
    with pytest.raises(InvalidUsernameError):
        store.create_user(new_user("JANE", email="new@example.org"))
    with pytest.raises(InvalidEmailError):
        store.create_user(new_user("judy", email="jane@example.org"))
    with pytest.raises(InvalidUsernameError):
        store.rename_user("joe", "jane")
    with pytest.raises(InvalidEmailError):
        store.set_email("joe", "jane@example.org")


def test_what_an_administrator_does_is_done_to_such_a_user_too(db: Database, store: Store) -> None:
    """Renaming, roles, the address, an export, and deleting."""
    ban(db)
    store.set_user_verified("jane")
    store.set_password_hash("jane", "another")
    store.revoke_role_from_user("jane", "admin")
    store.set_email("jane", "janet@example.org", verified=True)
    store.rename_user("jane", "janet")
    exported = store.export_user("janet")
    assert (exported["email"], exported["verified"]) == ("janet@example.org", True)
    assert len(exported["sessions"]) == 1
    assert exported["roles"] == []
    assert not any(finding.table == "active_accounts" for finding in store.check())
    store.delete_user("janet")
    assert db.read("SELECT username FROM active_accounts") == [("joe",)]
    assert db.count("active_sessions") == 1


def test_what_is_no_condition_on_the_model_is_refused(db: Database) -> None:
    """At construction, by an error that says what is wrong."""
    stranger = user_table("strangers", MetaData())
    sessions = sessionmaker(db.main)
    wrong: Any
    for wrong in (True, "banned_at IS NULL", print):
        with pytest.raises(TypeError, match="active is of the type"):
            SQLAlchemyUserStore(sessions, Account, active=wrong, table_prefix="active_")
    for column in (stranger.c.email, aliased(Account).banned_at, stranger.alias().c.email):
        with pytest.raises(ValueError, match="no column of active_accounts"):
            SQLAlchemyUserStore(sessions, Account, active=column.is_(None), table_prefix="active_")


def test_the_store_s_own_table_takes_a_condition_as_well(db: Database) -> None:
    """On a column that it has."""
    store: SQLAlchemyUserStore[User] = SQLAlchemyUserStore(sessionmaker(db.main))
    users = store.metadata.tables["userharbor_users"]
    store = SQLAlchemyUserStore(sessionmaker(db.main), active=users.c.verified)
    store.create_user(new_user())
    assert store.get_user_by_username("jane") is None
    store.set_user_verified("jane")
    assert store.get_user_by_username("jane") is not None


def test_one_who_is_not_active_is_not_purged(store: Store, db: Database) -> None:
    """Or the name of a user who was banned would be free."""
    registration = new_user("judy", expires_at=datetime(2020, 1, 1))
    store.create_user(registration)
    with db.main.begin() as connection:
        banned = (
            update(Account)
            .where(Account.username == "judy")
            .values(banned_at=NOW + timedelta(days=1), strikes=5)
        )
        connection.execute(banned)
    assert store.purge_unverified(older_than=timedelta(days=1)) == 0
    with pytest.raises(InvalidUsernameError):
        store.create_user(registration)
