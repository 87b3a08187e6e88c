"""What a mapper gets for a class is what SQLAlchemy's ORM would have loaded."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import JSON, ForeignKey, Integer, String, case, event, func, inspect, select, text
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    column_property,
    composite,
    deferred,
    mapped_column,
    query_expression,
    reconstructor,
    relationship,
    sessionmaker,
    synonym,
)

from support.databases import Database
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore

Model = Any


class UserColumns:
    """What each of the models here has."""

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(99), unique=True)
    email: Mapped[str] = mapped_column(String(99), unique=True)
    password_hash: Mapped[str] = mapped_column(String(99))
    verified: Mapped[bool]


def hierarchy() -> Model:
    """A class and its subclasses in one table, each with columns and methods of its own."""

    class Base(DeclarativeBase):
        pass

    class Person(UserColumns, Base):
        __tablename__ = "people"
        __mapper_args__ = {
            "polymorphic_on": "kind",
            "polymorphic_identity": "person",
            "with_polymorphic": "*",
        }
        kind: Mapped[str] = mapped_column(String(9))

        def may_refund(self) -> bool:
            return True

    class Trainee(Person):
        __mapper_args__ = {"polymorphic_identity": "trainee"}
        mentor: Mapped[str | None] = mapped_column(String(99))

        def may_refund(self) -> bool:
            return False

    class Visitor(Person):
        __mapper_args__ = {"polymorphic_identity": "visitor"}
        badge: Mapped[int | None]

    return Person


def of_an_expression() -> Model:
    """The discriminator is no column."""

    class Base(DeclarativeBase):
        pass

    class Person(UserColumns, Base):
        __tablename__ = "people"
        level: Mapped[int | None] = mapped_column(default=7)
        kind: Mapped[str] = column_property(case((level > 5, "chief"), else_="person"))
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}

    class Chief(Person):
        __mapper_args__ = {"polymorphic_identity": "chief"}

    return Person


def with_a_joined_subclass() -> Model:
    """What is in the subclass's own table is not loaded."""

    class Base(DeclarativeBase):
        pass

    class Person(UserColumns, Base):
        __tablename__ = "people"
        kind: Mapped[str] = mapped_column(String(9))
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}

    class Engineer(Person):
        __tablename__ = "engineers"
        __mapper_args__ = {"polymorphic_identity": "engineer"}
        id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
        language: Mapped[str] = mapped_column(String(9))
        spoken: Mapped[str] = column_property(func.lower(language))

    Person.shouted = column_property(func.upper(Person.username))
    return Person


def with_events() -> Model:
    """Listeners for the load, and a reconstructor, which sees the columns."""

    class Base(DeclarativeBase):
        pass

    class AppUser(UserColumns, Base):
        __tablename__ = "app_users"

        def __init__(self) -> None:
            raise AssertionError("called")

        @reconstructor
        def greet(self) -> None:
            self.greeting = f"Dear {self.username}"

    @event.listens_for(AppUser, "load")
    def _note(user: Any, context: Any) -> None:
        user.noted = [inspect(user).identity]

    return AppUser


def with_properties() -> Model:
    """Expressions, queries, columns under other names, and what others are made of."""

    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        user_id: Mapped[int] = mapped_column(ForeignKey("app_users.id"))

    class Names:
        def __init__(self, first: str, last: str) -> None:
            self.first, self.last = first, last

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Names) and vars(other) == vars(self)

        def __hash__(self) -> int:
            return hash((self.first, self.last))

    class AppUser(UserColumns, Base):
        __tablename__ = "app_users"
        first: Mapped[str] = mapped_column("first_name", String(9), default="Jane")
        last: Mapped[str] = mapped_column("last_name", String(9), default="Doe")
        full: Mapped[str] = column_property(first + " " + last)
        names: Mapped[Names] = composite(Names, first, last)
        wanted: Mapped[int | None] = query_expression()
        settings: Mapped[dict[str, int]] = mapped_column(
            MutableDict.as_mutable(JSON), default=lambda: {"size": 1}
        )
        login = synonym("username")
        orders: Mapped[list[Order]] = relationship()

        @hybrid_property
        def initials(self) -> str:
            return self.first[0] + self.last[0]

    AppUser.bought = column_property(
        select(func.count(Order.id)).where(Order.user_id == AppUser.id).scalar_subquery()
    )
    return AppUser


def with_deferred_columns() -> Model:
    """What the ORM leaves in the database until it is asked for."""

    class Base(DeclarativeBase):
        pass

    class AppUser(UserColumns, Base):
        __tablename__ = "app_users"
        __mapper_args__ = {"exclude_properties": ["legacy"]}
        email: Mapped[str] = deferred(mapped_column(String(99), unique=True))
        biography: Mapped[str] = mapped_column(String(99), default="long", deferred=True)
        photo: Mapped[str] = mapped_column(
            String(99), default="x", deferred=True, deferred_group="big", deferred_raiseload=True
        )

    AppUser.shouted = column_property(func.upper(AppUser.username), deferred=True)
    return AppUser


def as_a_dataclass() -> Model:
    """Fields have what is stored, and not their defaults."""

    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class AppUser(Base):
        __tablename__ = "app_users"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        username: Mapped[str] = mapped_column(String(99), unique=True)
        email: Mapped[str] = mapped_column(String(99), unique=True)
        password_hash: Mapped[str] = mapped_column(String(99), repr=False)
        verified: Mapped[bool] = mapped_column(default=True)
        city: Mapped[str] = mapped_column(String(9), insert_default="Lisbon", init=False)

    return AppUser


MODELS: list[tuple[Callable[[], Model], str | None]] = [
    (hierarchy, "person"),
    (hierarchy, "trainee"),
    (hierarchy, "visitor"),
    (of_an_expression, None),
    (with_a_joined_subclass, "person"),
    (with_a_joined_subclass, "engineer"),
    (with_events, None),
    (with_properties, None),
    (with_deferred_columns, None),
    (as_a_dataclass, None),
]


def _label(part: Any) -> str:
    return getattr(part, "__name__", str(part or ""))


def of_kind(db: Database, kind: str) -> None:
    with db.main.begin() as connection:
        connection.execute(text("UPDATE people SET kind = :kind"), {"kind": kind})


def found(store: SQLAlchemyUserStore[Any], username: str = "jane") -> Any:
    user = store.get_user_by_username(username)
    assert user is not None
    return user


def outcome(user: Any, attribute: str) -> object:
    """What an attribute is that is not loaded, or which error it raises."""
    try:
        return getattr(user, attribute)
    except SQLAlchemyError as error:
        return type(error)


def same(user: Any) -> Any:
    return user


@pytest.mark.parametrize(("made", "kind"), MODELS, ids=_label)
def test_a_mapper_gets_what_the_orm_would_have_loaded(
    made: Callable[[], Model], kind: str | None, fresh: Database
) -> None:
    """Its class, what is loaded and what is not, its identity, what listeners did; detached."""
    model = made()
    store: SQLAlchemyUserStore[Any] = SQLAlchemyUserStore(
        sessionmaker(fresh.main), model, user_mapper=same
    )
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    if kind is not None:
        of_kind(fresh, kind)
    with Session(fresh.main) as session:
        expected = session.scalars(select(model)).one()
        session.expunge_all()
        by_orm = {key: value for key, value in vars(expected).items() if key[0] != "_"}

    listed = list(store.iter_users(page_size=1))
    by_email = store.get_user_by_email("JANE@example.org")
    for user in (store.get_user_by_username("JANE"), by_email, *listed):
        assert type(user) is type(expected)
        assert inspect(user).detached
        assert inspect(user).identity == inspect(expected).identity
        assert not inspect(user).modified
        assert {key: value for key, value in vars(user).items() if key[0] != "_"} == by_orm
        for name in inspect(expected).unloaded:
            assert outcome(user, name) == outcome(expected, name)


def test_a_subclass_has_its_own_columns_and_methods(fresh: Database) -> None:
    """The base class's may say what it must not."""
    store: SQLAlchemyUserStore[Any] = SQLAlchemyUserStore(
        sessionmaker(fresh.main), hierarchy(), user_mapper=same
    )
    store.metadata.create_all(fresh.main)
    with fresh.main.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO people (username, email, password_hash, verified, kind, mentor, badge)"
                " VALUES ('joe', 'j@x.org', '', true, 'trainee', 'Ann', NULL),"
                " ('vic', 'v@x.org', '', true, 'visitor', NULL, 5),"
                " ('ann', 'a@x.org', '', true, 'person', NULL, NULL)"
            )
        )
    assert [
        (type(user).__name__, user.may_refund(), vars(user).get("mentor"), vars(user).get("badge"))
        for user in (found(store, name) for name in ("joe", "vic", "ann"))
    ] == [
        ("Trainee", False, "Ann", None),
        ("Visitor", True, None, 5),
        ("Person", True, None, None),
    ]


def test_a_class_that_was_not_imported_is_named(fresh: Database) -> None:
    """To take its base class for it would be to guess what its users may do."""
    store: SQLAlchemyUserStore[Any] = SQLAlchemyUserStore(
        sessionmaker(fresh.main), hierarchy(), user_mapper=same
    )
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    of_kind(fresh, "alien")
    with pytest.raises(InvalidRequestError, match=r"Person has no subclass .*'alien'"):
        store.get_user_by_username("jane")


def test_a_subclass_that_comes_later_is_taken(fresh: Database) -> None:
    """The store is made where its model is defined, and subclasses are in other modules."""

    class Base(DeclarativeBase):
        pass

    class Person(UserColumns, Base):
        __tablename__ = "people"
        kind: Mapped[str] = mapped_column(String(9))
        __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "person"}
        notes: Mapped[list["Note"]] = relationship()

    store: SQLAlchemyUserStore[Any] = SQLAlchemyUserStore(
        sessionmaker(fresh.main), Person, user_mapper=same
    )

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        author: Mapped[int] = mapped_column(ForeignKey(Person.id))

    class Trainee(Person):
        __mapper_args__ = {"polymorphic_identity": "trainee"}
        mentor: Mapped[int | None] = mapped_column(Integer)

    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    of_kind(fresh, "trainee")
    user = found(store)
    assert (type(user), user.mentor) == (Trainee, None)


def test_a_change_of_a_mutable_value_is_seen_by_a_session(fresh: Database) -> None:
    """The instance can be added to one of the application's, as one that it loaded."""
    store: SQLAlchemyUserStore[Any] = SQLAlchemyUserStore(
        sessionmaker(fresh.main), with_properties(), user_mapper=same
    )
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    user = found(store)
    user.settings["size"] = 2
    with Session(fresh.main) as session:
        session.add(user)
        session.commit()
    assert found(store).settings == {"size": 2}
