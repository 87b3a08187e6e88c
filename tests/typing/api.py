"""Typical uses of the public names, for mypy and pyright: that they are accepted, and as what."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, MetaData, Row, Table, create_engine
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)
from typing_extensions import assert_type
from userharbor import UserHarbor
from userharbor.interfaces import EmailSender, UserStore, UserToken

from userharbor_sqlalchemy import (
    Finding,
    Purged,
    SQLAlchemyUserStore,
    User,
    metadata,
    register_user_model,
)

engine = create_engine("sqlite://")
Factory = sessionmaker(engine)
async_engine = create_async_engine("sqlite+aiosqlite://")


@dataclass
class Public(User):
    label: str


def to_public(row: Row[Any]) -> Public:
    return Public(row.username, row.email, row.verified, "label")


class Base(DeclarativeBase):
    pass


@register_user_model
class AppUser(Base):
    __tablename__ = "app_users"

    username: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    verified: Mapped[bool]


app_users = Table("app_users", MetaData())


def to_public_from_model(user: AppUser) -> Public:
    return Public(user.username, user.email, user.verified, "label")


def default_user(sender: EmailSender, token: str) -> None:
    store = SQLAlchemyUserStore(Factory)
    assert_type(store, SQLAlchemyUserStore[User])
    protocol: UserStore[User] = store
    harbor = UserHarbor("secret", store=store, email_sender=sender)
    assert_type(harbor, UserHarbor[User])
    assert_type(harbor.get_current_user(token), User)
    assert_type(protocol.get_user_by_username("jane"), User | None)


def mapped_user(sender: EmailSender, token: str) -> None:
    store = SQLAlchemyUserStore(Factory, user_mapper=to_public)
    assert_type(store, SQLAlchemyUserStore[Public])
    assert_type(SQLAlchemyUserStore(Factory, None, to_public), SQLAlchemyUserStore[Public])
    harbor = UserHarbor("secret", store=store, email_sender=sender)
    assert_type(harbor.get_current_user(token), Public)


def own_model(sender: EmailSender, token: str) -> None:
    assert_type(register_user_model(AppUser), type[AppUser])
    assert_type(SQLAlchemyUserStore(Factory, AppUser), SQLAlchemyUserStore[User])
    assert_type(SQLAlchemyUserStore(Factory, app_users), SQLAlchemyUserStore[User])
    store = SQLAlchemyUserStore(Factory, user_model=AppUser, user_mapper=to_public_from_model)
    assert_type(store, SQLAlchemyUserStore[Public])
    assert_type(store.sync_username_keys(), int)
    assert_type(store.purge_expired(), Purged)
    assert_type(store.list_sessions("jane"), list[UserToken])
    assert_type(store.remove_other_sessions("jane", token), int)
    assert_type(store.iter_users(after="jane"), Iterator[Public])
    assert_type(store.iter_users(prefix="ja"), Iterator[Public])
    assert_type(store.get_users_with_role("admin", page_size=10), Iterator[Public])
    assert_type(store.get_users_with_permission("users.read"), Iterator[Public])
    assert_type(store.export_user("jane"), dict[str, Any])
    store.set_email("jane", "jane@example.org", verified=True)
    store.rename_user("jane", "janet")
    assert_type(store.purge_unverified(older_than=timedelta(days=30)), int)
    assert_type(store.count_users(), int)
    assert_type(store.check(), Iterator[Finding])
    harbor = UserHarbor("secret", store=store, email_sender=sender)
    assert_type(harbor.get_current_user(token), Public)


def other_factories_and_tables() -> None:
    SQLAlchemyUserStore(scoped_session(Factory))
    SQLAlchemyUserStore(lambda: Session(engine))
    store = SQLAlchemyUserStore(Factory, metadata=MetaData(schema="auth"), table_prefix="staff_")
    store.metadata.create_all(engine)
    metadata.create_all(engine)


def transactions(session: Session, registry: scoped_session[Session], one: Connection) -> None:
    store = SQLAlchemyUserStore(Factory)
    with store.transaction():
        store.delete_user("jane")
    for bind in (session, registry, one):
        with store.transaction(bind):
            store.delete_user("jane")


async def use_async(session: AsyncSession, connection: AsyncConnection) -> None:
    """A store on an async engine, called in a thread, and joined to what is async."""
    store = SQLAlchemyUserStore(async_sessionmaker(async_engine), AppUser)
    assert_type(store, SQLAlchemyUserStore[User])
    assert_type(await store.run(store.count_users), int)
    assert_type(await store.run(store.get_user_by_username, "jane"), User | None)
    with store.transaction(session), store.transaction(connection):
        pass


def use_active() -> None:
    """Conditions on attributes and on columns."""
    SQLAlchemyUserStore(Factory, AppUser, active=AppUser.verified)
    SQLAlchemyUserStore(Factory, AppUser, active=AppUser.email.is_not(None))
    SQLAlchemyUserStore(Factory, app_users, active=app_users.c.email.is_not(None))
    mapped = SQLAlchemyUserStore(
        Factory, AppUser, to_public_from_model, active=AppUser.verified.is_(True)
    )
    assert_type(mapped, SQLAlchemyUserStore[Public])
