"""What is done again, and how often: calls that the database gave up, and refusals out of date."""

import time
from collections.abc import Callable

import pytest
from sqlalchemy import Column, Connection, Engine, MetaData, String, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import UserHarborError

from support.databases import Database
from support.faults import failing
from support.models import user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

GIVEN_UP: dict[str, list[str | int]] = {
    "sqlite": ["database is locked"],
    "postgresql": ["40001", "40P01"],
    # Some drivers of MySQL name it by SQLSTATE.
    "mysql": [1213, 1205, 1020, "40001"],
}

CALLS: dict[str, Callable[[Store], object]] = {
    "a read": lambda store: store.list_roles(),
    "a statement": lambda store: store.create_role("admin"),
    "several statements": lambda store: store.set_password_reset(new_token("new")),
}


@pytest.fixture
def engine(db: Database) -> Engine:
    """An engine, and Jane in its database."""
    engine = db.main if db.is_memory else db.engine()
    SQLAlchemyUserStore(sessionmaker(engine)).create_user(new_user())
    return engine


@pytest.mark.parametrize("call", list(CALLS))
def test_what_the_database_gave_up_is_done_again(engine: Engine, db: Database, call: str) -> None:
    """Whatever it calls that: a deadlock, a wait that took too long, a stale snapshot."""
    store = SQLAlchemyUserStore(sessionmaker(engine))
    for code in GIVEN_UP[db.backend]:
        with failing(engine, code, times=1) as tried:
            CALLS[call](store)
        assert len(tried) > 1, code
        with db.main.begin() as connection:
            connection.execute(text("DELETE FROM userharbor_roles"))


@pytest.mark.parametrize("call", list(CALLS))
def test_the_fifth_try_is_the_last(engine: Engine, db: Database, call: str) -> None:
    """It may do; where it does not, the database's error is raised, with its code."""
    store = SQLAlchemyUserStore(sessionmaker(engine))
    for code in GIVEN_UP[db.backend]:
        with failing(engine, code, times=100) as tried, pytest.raises(DBAPIError):
            CALLS[call](store)
        assert len(tried) == 5
    with failing(engine, GIVEN_UP[db.backend][0], times=4):
        CALLS[call](store)


def test_after_ten_seconds_nothing_is_tried_again(
    engine: Engine, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try may have waited for a lock for long; a caller waits no longer than that."""
    store = SQLAlchemyUserStore(sessionmaker(engine))
    code = GIVEN_UP[db.backend][0]
    for seconds, tries in ((6.0, 2), (11.0, 1), (3.0, 4)):
        with failing(engine, code, times=100) as tried:

            def clock(tried: list[str] = tried, seconds: float = seconds) -> float:
                return len(tried) * seconds

            with monkeypatch.context() as patch:
                patch.setattr(time, "monotonic", clock)
                with pytest.raises(DBAPIError):
                    store.create_role("admin")
        assert len(tried) == tries


def test_an_error_of_another_kind_is_raised_at_once(db: Database) -> None:
    """Of a read too: only a connection that had died is worth a second try."""
    engine = db.main if db.is_memory else db.engine()
    store = SQLAlchemyUserStore(sessionmaker(engine), table_prefix="absent_", metadata=MetaData())
    calls: list[Callable[[], object]] = [
        store.list_roles,
        lambda: store.get_session("s"),
        lambda: store.create_role("admin"),
        lambda: store.delete_user("jane"),
    ]
    for call in calls:
        with failing(engine, 0, times=0, where="absent_") as tried:
            with pytest.raises(DBAPIError):
                call()
            assert len(tried) == 1


def test_within_a_block_nothing_is_tried_again(engine: Engine, db: Database) -> None:
    """What else the block has done is gone, and only the caller knows what that was."""
    store = SQLAlchemyUserStore(sessionmaker(engine))
    for code in GIVEN_UP[db.backend]:
        with pytest.raises(DBAPIError), store.transaction():
            store.create_role("before")
            with failing(engine, code, times=1) as tried:
                try:
                    store.create_role("admin")
                finally:
                    assert len(tried) == 1
    assert db.count("userharbor_roles") == 0


def test_what_stood_in_the_way_and_is_gone_is_no_refusal(engine: Engine, db: Database) -> None:
    """A role that is deleted between the refusal and the look at it can be made."""
    if db.is_memory:
        return
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_role("admin")
    looked: list[str] = []

    def delete(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT") and not looked:
            looked.append(statement)
            with db.main.begin() as other:
                other.execute(text("DELETE FROM userharbor_roles"))

    event.listen(engine, "before_cursor_execute", delete)
    store.create_role("admin")
    assert looked
    assert store.list_roles() == {"admin"}


def test_a_refusal_that_the_store_can_not_explain_is_raised_in_the_end(db: Database) -> None:
    """A unique column of the application's own: tried five times, and not for ever."""
    badge = Column("badge", String(10), unique=True, server_default="none")
    model = user_table("badge_users", MetaData(), badge)
    store = SQLAlchemyUserStore(sessionmaker(db.main), model, table_prefix="badge_")
    store.metadata.drop_all(db.main)
    store.metadata.create_all(db.main)
    inserts: list[str] = []

    def count(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO badge_users"):
            inserts.append(statement)
            assert len(inserts) < 20

    try:
        store.create_user(new_user())
        event.listen(db.main, "before_cursor_execute", count)
        with pytest.raises(IntegrityError) as raised:
            store.create_user(new_user("joe"))
        assert not isinstance(raised.value, UserHarborError)
        assert len(inserts) == 5
    finally:
        if event.contains(db.main, "before_cursor_execute", count):
            event.remove(db.main, "before_cursor_execute", count)
        store.metadata.drop_all(db.main)


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("where", ["alone", "in a block"])
def test_a_refusal_is_not_waited_after(
    store: Store, db: Database, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Locks may be held; and what a rule of the application's forbids, it forbids next time too."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with db.main.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER no_roles BEFORE INSERT ON userharbor_roles"
                " BEGIN SELECT RAISE(ABORT, 'no more roles'); END"
            )
        )
    try:
        with pytest.raises(IntegrityError):
            if where == "alone":
                store.create_role("admin")
            else:
                with store.transaction():
                    store.create_role("admin")
    finally:
        with db.main.begin() as connection:
            connection.execute(text("DROP TRIGGER no_roles"))
    assert pauses == []


def nothing(store: Store) -> None: ...


def a_role(store: Store) -> None:
    store.create_role("admin")


def an_inner_block(store: Store) -> None:
    with store.transaction():
        store.create_role("admin")


def a_statement_of_the_applications(store: Store) -> None:
    assert isinstance(store.bind, Connection)
    store.bind.execute(text("INSERT INTO userharbor_roles VALUES ('admin')"))


@pytest.mark.parametrize(
    "before", [nothing, a_role, an_inner_block, a_statement_of_the_applications]
)
def test_a_block_is_begun_again_where_nothing_is_lost(
    engine: Engine, db: Database, before: Callable[[Store], None]
) -> None:
    """On MariaDB. Elsewhere, and after anything was done, the error is the caller's."""
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.set_password_reset(new_token("reset"))

    def spend() -> None:
        with store.transaction():
            before(store)
            with failing(engine, GIVEN_UP[db.backend][0], times=1, where="password_resets"):
                assert store.get_password_reset("reset") is not None
            store.remove_password_reset("reset")

    is_mariadb = getattr(db.main.dialect, "is_mariadb", False)
    if is_mariadb and before is nothing:
        spend()
        assert db.count("userharbor_password_resets") == 0
    else:
        with pytest.raises(DBAPIError):
            spend()
        assert db.count("userharbor_roles") == 0
        assert db.count("userharbor_password_resets") == 1
