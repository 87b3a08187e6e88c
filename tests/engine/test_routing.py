"""Sessions that choose a bind by statement, by table or anew: which one a call goes to."""

from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker
from userharbor.exceptions import UnknownPermissionError, UnknownRoleError

from support.databases import Database
from support.samples import EXPIRES_AT, new_token, new_user
from support.transactions import refuse, usernames
from userharbor_sqlalchemy import SQLAlchemyUserStore


def test_writes_and_locks_go_where_updates_go(db: Database) -> None:
    """A session may route by statement: reads to the replica, all else to the primary."""
    primary, replica = db.engine(), db.engine()
    seen: dict[str, list[str]] = {"primary": [], "replica": []}
    for name, engine in (("primary", primary), ("replica", replica)):

        def note(*args: object, name: str = name) -> None:
            seen[name].append(str(args[2]).split()[0])

        event.listen(engine, "before_cursor_execute", note)

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Engine:
            return primary if clause is not None and clause.is_dml else replica

    store = SQLAlchemyUserStore(sessionmaker(class_=Routing))
    store.create_user(new_user())
    store.set_user_verified("jane")
    store.add_session(new_token("s"))
    store.set_password_reset(new_token("r"))
    assert seen["replica"] == []
    with store.transaction():
        assert store.get_password_reset("r") is not None
        assert store.get_user_by_username("jane") is not None
    assert seen["replica"] == []

    written = len(seen["primary"])
    assert store.get_session("s") is not None
    assert store.get_user_by_email("jane@example.org") is not None
    assert seen["replica"] == ["SELECT", "SELECT"]
    assert len(seen["primary"]) == written


def test_a_session_may_bind_by_table(db: Database) -> None:
    """`sessionmaker(binds=...)` and no bind of its own."""
    engine = db.engine()
    tables = SQLAlchemyUserStore(sessionmaker()).metadata.tables.values()
    store = SQLAlchemyUserStore(sessionmaker(binds=dict.fromkeys(tables, engine)))
    store.create_user(new_user())
    with store.transaction():
        store.add_session(new_token("s"))
    assert store.get_session("s") == new_token("s", expires_at=EXPIRES_AT)


def test_each_call_asks_for_the_bind_anew(db: Database) -> None:
    """A `sessionmaker` configured again, and sessions that choose a bind when they are made."""
    first, second = db.engine(), db.engine()
    used: list[str] = []
    for name, engine in (("first", first), ("second", second)):

        def note(*_: object, name: str = name) -> None:
            used.append(name)

        event.listen(engine, "before_cursor_execute", note)

    factory = sessionmaker(first)
    store = SQLAlchemyUserStore(factory)
    store.role_exists("admin")
    factory.configure(bind=second)
    store.role_exists("admin")
    assert used == ["first", "second"]

    class Choosing(Session):
        def __init__(self, **options: Any) -> None:
            options["bind"] = second
            super().__init__(**options)

    SQLAlchemyUserStore(sessionmaker(first, class_=Choosing)).role_exists("admin")
    assert used == ["first", "second", "second"]


def test_a_joined_session_is_asked_for_its_connection_as_for_a_write(db: Database) -> None:
    """One that routes, or binds by table only, joins with the connection that writes go on."""
    primary, replica = db.engine(), db.engine()

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Engine:
            return primary if clause is not None and clause.is_dml else replica

    event.listen(replica, "before_cursor_execute", refuse)
    factory = sessionmaker(class_=Routing)
    store = SQLAlchemyUserStore(factory)
    with factory() as session:
        with store.transaction(session):
            store.create_user(new_user())
        session.commit()

    tables = store.metadata.tables.values()
    by_table = sessionmaker(binds=dict.fromkeys(tables, primary))
    with by_table() as other_session:
        with store.transaction(other_session):
            store.create_user(new_user("joe"))
        other_session.commit()
    assert usernames(db) == ["jane", "joe"]


def test_a_refusal_is_explained_by_the_primary(db: Database) -> None:
    """A replica that lags knows nothing yet of what stands in the way."""
    primary, replica = db.engine(), db.engine()

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Engine:
            return primary if clause is not None and clause.is_dml else replica

    store = SQLAlchemyUserStore(sessionmaker(class_=Routing))
    store.create_user(new_user())
    store.create_role("admin")
    store.create_permission("users.read")
    store.grant_role_to_user("jane", "admin")
    event.listen(replica, "before_cursor_execute", refuse)

    with pytest.raises(IntegrityError, match="Username already exists"):
        store.create_user(new_user("JANE"))
    with pytest.raises(IntegrityError, match="Role already exists"):
        store.create_role("admin")
    with pytest.raises(KeyError):
        store.add_session(new_token("s", "ghost"))
    store.grant_role_to_user("jane", "admin")
    with pytest.raises(UnknownRoleError):
        store.grant_role_to_user("jane", "ghost")
    with pytest.raises(UnknownPermissionError):
        store.grant_permission_to_role("admin", "ghost")
