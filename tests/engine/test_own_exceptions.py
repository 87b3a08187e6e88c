"""What the application's own code raises in the course of a call reaches the caller."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, event, text
from sqlalchemy.exc import DBAPIError, MissingGreenlet, StatementError
from sqlalchemy.orm import sessionmaker
from sqlalchemy.types import TypeDecorator

from support.databases import Database
from support.models import user_table
from support.secrets import assert_gives_nothing_away, secret_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


class Tenants:
    """What the application's own code does in the course of an INSERT, as a test tells it to."""

    default_raises: Exception | None = None
    type_raises: Exception | None = None
    query: str | None = None

    def default(self, context: Any) -> str:
        if self.default_raises is not None:
            raise self.default_raises
        if self.query is not None:
            email = context.get_current_parameters()["email"]
            context.connection.execute(text(self.query), {"email": email})
        return "one"


class Tenant(TypeDecorator[str]):
    """A type of the application's."""

    impl = String(20)
    cache_ok = False  # or a statement would have the type of an earlier test

    def __init__(self, tenants: Tenants) -> None:
        super().__init__()
        self.tenants = tenants

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        if self.tenants.type_raises is not None:
            raise self.tenants.type_raises
        return value


@pytest.fixture
def tenants() -> Tenants:
    return Tenants()


@pytest.fixture
def store(db: Database, tenants: Tenants) -> Iterator[Store]:
    """A store whose users have a tenant."""
    column = Column[str]("tenant", Tenant(tenants), default=tenants.default)
    model = user_table("tenant_users", MetaData(), column)
    store = SQLAlchemyUserStore(sessionmaker(db.main), model, table_prefix="tenant_")
    store.metadata.drop_all(db.main)
    store.metadata.create_all(db.main)
    yield store
    store.metadata.drop_all(db.main)


@pytest.mark.parametrize("where", ["alone", "in a block"])
@pytest.mark.parametrize("by", ["default", "type"])
@pytest.mark.parametrize(
    "own", [RuntimeError("no tenant"), KeyError("tenant"), MissingGreenlet("greenlet_spawn")]
)
def test_what_a_default_or_a_type_raises_is_the_cause(
    store: Store, tenants: Tenants, own: Exception, by: str, where: str
) -> None:
    """Its text and class are in that of SQLAlchemy's error, whose parameters are not."""
    setattr(tenants, f"{by}_raises", own)
    with (
        pytest.raises(StatementError, match=type(own).__name__) as raised,
        store.transaction() if where == "in a block" else nullcontext(),
    ):
        store.create_user(secret_user())
    assert not isinstance(raised.value, DBAPIError)
    assert raised.value.__cause__ is own
    assert raised.value.orig is own
    assert str(own.args[0]) in str(raised.value)
    assert_gives_nothing_away(raised.value)
    assert store.count_users() == 0


def test_what_a_listener_raises_is_raised_as_it_is(store: Store, db: Database) -> None:
    """A StatementError is made of what the database refuses only."""
    own = RuntimeError("outside of application context")

    def refuse(*_: object) -> None:
        raise own

    event.listen(db.main, "before_cursor_execute", refuse)
    try:
        with pytest.raises(RuntimeError) as raised:
            store.create_user(secret_user())
    finally:
        event.remove(db.main, "before_cursor_execute", refuse)
    assert raised.value is own


def test_what_a_default_asks_in_vain_gives_nothing_away(store: Store, tenants: Tenants) -> None:
    """It is the database that refuses it."""
    tenants.query = "SELECT tenant FROM absent_tenants WHERE email = :email"
    with pytest.raises(DBAPIError, match="absent_tenants") as raised:
        store.create_user(secret_user())
    assert_gives_nothing_away(raised.value)
