"""Typical uses of the public names, for mypy and pyright: that they are accepted, and as what."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, MetaData, Row, create_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from typing_extensions import assert_type
from userharbor import UserHarbor
from userharbor.interfaces import EmailSender, UserStore

from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

engine = create_engine("sqlite://")
Factory = sessionmaker(engine)


@dataclass
class Public(User):
    label: str


def to_public(row: Row[Any]) -> Public:
    return Public(row.username, row.email, row.verified, "label")


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
