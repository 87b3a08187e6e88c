"""A store on a user model of each library: what an application of it would write."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from advanced_alchemy.base import UUIDAuditBase
from attrs import define
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, MetaData, String
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    mapped_column,
    registry,
    sessionmaker,
)
from sqlmodel import Field, SQLModel

from support.models import user_table
from userharbor_sqlalchemy import SQLAlchemyUserStore

Store = SQLAlchemyUserStore[Any]
Mapper = Callable[[Any], Any]


@contextmanager
def sqlmodel(engine: Engine, user_mapper: Mapper | None) -> Iterator[Store]:
    """Lengths are not said, and the defaults are those of the fields."""

    class Base(SQLModel, registry=registry()):
        pass

    class Member(Base, table=True):
        __tablename__ = "sqlmodel_members"

        id: int | None = Field(default=None, primary_key=True)
        username: str = Field(unique=True)
        email: str = Field(unique=True, index=True)
        password_hash: str
        verified: bool = False

    yield made(sessionmaker(engine), Member, user_mapper, engine)


@contextmanager
def flask_sqlalchemy(engine: Engine, user_mapper: Mapper | None) -> Iterator[Store]:
    """The session is the application's, and its engine too, within a context."""
    app = Flask("members")
    app.config["SQLALCHEMY_DATABASE_URI"] = engine.url
    db = SQLAlchemy(app)

    class Member(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        username = db.Column(db.String(255), unique=True, nullable=False)
        email = db.Column(db.String(320), unique=True, nullable=False)
        password_hash = db.Column(db.String(512), nullable=False)
        verified = db.Column(db.Boolean, nullable=False, default=False)

    with app.app_context():
        yield made(db.session, Member, user_mapper, db.engine)
        db.session.remove()
        db.engine.dispose()


class Account(UUIDAuditBase):
    """With a UUID, an unmapped sentinel, and times of its creation and its last change."""

    __tablename__ = "advanced_accounts"

    username: Mapped[str] = mapped_column(String(255), unique=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    password_hash: Mapped[str] = mapped_column(String(512))
    verified: Mapped[bool] = mapped_column(default=False)


@contextmanager
def advanced_alchemy(engine: Engine, user_mapper: Mapper | None) -> Iterator[Store]:
    """Its MetaData is that of all its models."""
    yield made(sessionmaker(engine), Account, user_mapper, engine)


@contextmanager
def automap(engine: Engine, user_mapper: Mapper | None) -> Iterator[Store]:
    """The class is made of what was reflected."""
    user_table("members", MetaData(), mysql_collate="utf8mb4_bin").create(engine)
    base: Any = automap_base()
    base.prepare(autoload_with=engine)
    yield made(sessionmaker(engine), base.classes.members, user_mapper, engine)


@contextmanager
def dataclass(engine: Engine, user_mapper: Mapper | None) -> Iterator[Store]:
    """SQLAlchemy's own, whose defaults are those of the fields."""

    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Member(Base):
        __tablename__ = "dataclass_members"

        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        username: Mapped[str] = mapped_column(String(255), unique=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512), repr=False)
        verified: Mapped[bool] = mapped_column(default=False)

    yield made(sessionmaker(engine), Member, user_mapper, engine)


@contextmanager
def attrs(engine: Engine, user_mapper: Mapper | None) -> Iterator[Store]:
    """A class of attrs', mapped to a table."""

    @define(slots=False)
    class Member:
        username: str
        email: str
        password_hash: str
        verified: bool = False

    mapping = registry()
    mapping.map_imperatively(Member, user_table("attrs_members", mapping.metadata))
    yield made(sessionmaker(engine), Member, user_mapper, engine)


STORES = [sqlmodel, flask_sqlalchemy, advanced_alchemy, automap, dataclass, attrs]


def made(sessions: Any, model: Any, user_mapper: Mapper | None, engine: Engine) -> Store:
    store: Store = SQLAlchemyUserStore(sessions, model, user_mapper)
    store.metadata.create_all(engine)
    return store
