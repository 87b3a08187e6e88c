"""Which columns a user model may have, by their types; and flags that are kept as integers."""

import enum
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Enum,
    Float,
    Identity,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PickleType,
    SmallInteger,
    String,
    Table,
    Text,
    Unicode,
    Uuid,
    text,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.declarative import AbstractConcreteBase, ConcreteBase
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    configure_mappers,
    mapped_column,
    registry,
    sessionmaker,
)
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine, UserDefinedType

from support.databases import Database
from support.model_stores import PREFIX, store_on
from support.models import user_table
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, register_user_model

Type = TypeEngine[Any] | type[TypeEngine[Any]]


def _label(part: Any) -> str:
    """How the name of a test names an attribute, or a type."""
    return part if isinstance(part, str) else re.sub(r" at 0x\w+", "", repr(part))


class Answer(enum.Enum):
    """What no flag is, though it has two values."""

    YES = "Y"
    NO = "N"


class YesNo(TypeDecorator[str]):
    """A letter, which stays one to Python."""

    impl = CHAR(1)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value and value.strip()


class Letter(TypeDecorator[bool]):
    """A flag that is stored as a letter."""

    impl = CHAR(1)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str:
        return "Y" if value else "N"

    def process_result_value(self, value: Any, dialect: Any) -> bool:
        return bool(value == "Y")


class Word(TypeDecorator[bool]):
    """A flag that is stored as the word for it, and takes nothing but a bool."""

    impl = String(5)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str:
        assert isinstance(value, bool)
        return str(value)

    def process_result_value(self, value: Any, dialect: Any) -> bool:
        return bool(value == "True")


class Since(TypeDecorator[bool]):
    """A flag that is stored as the time since when it holds, and can't be unset."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> datetime:
        return datetime.now()

    def process_result_value(self, value: Any, dialect: Any) -> bool:
        return value is not None


class OneOrMinusOne(TypeDecorator[bool]):
    """A flag that is stored as a number, by a rule of the application's own."""

    impl = SmallInteger
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> int:
        return 1 if value is True else -1

    def process_result_value(self, value: Any, dialect: Any) -> bool:
        return bool(value == 1)


class Flag(TypeDecorator[int]):
    """A flag that is stored as a number."""

    impl = SmallInteger
    cache_ok = True


class Sealed(TypeDecorator[str]):
    """A text that is stored as bytes."""

    impl = LargeBinary
    cache_ok = True


class Lowered(TypeDecorator[str]):
    """A text that is stored in lower case."""

    impl = Unicode(320)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value if value is None else value.lower()


class Nested(TypeDecorator[str]):
    """A decorator of a decorator."""

    impl = Lowered
    cache_ok = True


class OwnCitext(UserDefinedType[str]):
    """The CITEXT that applications wrote before SQLAlchemy had one."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "CITEXT"


def table_with(attribute: str, column_type: Type | None, *more: Any, **options: Any) -> Table:
    """A user table whose column for `attribute` is of this type."""
    columns: dict[str, Column[Any]] = {
        "username": Column("username", String(255), unique=True),
        "email": Column("email", String(320), unique=True),
        "password_hash": Column("password_hash", String(512)),
        "verified": Column("verified", Boolean),
    }
    unique = attribute in ("username", "email", "username_key")
    columns[attribute] = Column(attribute, column_type, *more, unique=unique, **options)
    return Table(
        "app_users", MetaData(), Column("id", Integer, primary_key=True), *columns.values()
    )


@pytest.mark.parametrize(
    "column_type",
    [
        CHAR(1),
        String(5),
        Text,
        DateTime,
        Date,
        Interval,
        Enum("yes", "no"),
        Enum(Answer),
        Float,
        Numeric(1, 0),
        JSON,
        LargeBinary,
        YesNo,
        Since,
        NullType,
        postgresql.BIT(1),
        postgresql.ENUM("yes", "no", name="answer"),
        postgresql.DOMAIN("answer", CHAR(1)),
        mysql.ENUM("yes", "no"),
    ],
    ids=_label,
)
def test_a_verified_that_is_no_flag_is_refused(column_type: Type) -> None:
    """What is in it may be true where it means no: 'N', 'false', a time."""
    table = table_with("verified", column_type)
    with pytest.raises(TypeError, match=r"'app_users'\.verified .*Boolean or an integer"):
        SQLAlchemyUserStore(sessionmaker(), user_model=table)
    assert set(table.metadata.tables) == {"app_users"}, "nor is a table defined"


@pytest.mark.parametrize(
    "column_type",
    [
        Boolean,
        SmallInteger,
        Integer,
        BigInteger,
        Flag,
        OneOrMinusOne,
        Letter,
        Word,
        PickleType,
        mysql.TINYINT(1),
        mysql.BIT(1),
        postgresql.DOMAIN("flag", Boolean()),
        postgresql.DOMAIN("flag", SmallInteger()),
    ],
    ids=_label,
)
def test_a_verified_that_is_a_flag_is_taken(column_type: Type) -> None:
    """A Boolean, an integer, a decorator of one, and a type that stores a bool as something."""
    register_user_model(table_with("verified", column_type))


@pytest.mark.parametrize("attribute", ["username", "username_key", "email", "password_hash"])
@pytest.mark.parametrize(
    "column_type",
    [
        LargeBinary,
        Integer,
        JSON,
        Uuid,
        Uuid(as_uuid=False),
        Enum("jane", "joe"),
        DateTime,
        PickleType,
        Sealed,
        mysql.VARBINARY(64),
        postgresql.ARRAY(Text),
        postgresql.JSONB,
        postgresql.DOMAIN("name", Integer()),
    ],
    ids=_label,
)
def test_a_column_that_holds_no_texts_is_refused(attribute: str, column_type: Type) -> None:
    """Of a bare table and of a class, by name and attribute."""
    table = table_with(attribute, column_type)
    with pytest.raises(TypeError, match=rf"'app_users'\.{attribute} .*a column of texts"):
        SQLAlchemyUserStore(sessionmaker(), user_model=table)

    class AppUser:
        pass

    with pytest.raises(TypeError, match=rf"AppUser\.{attribute} .*a column of texts"):
        register_user_model(AppUser, table)


@pytest.mark.parametrize("attribute", ["username", "username_key", "email", "password_hash"])
@pytest.mark.parametrize(
    "column_type",
    [
        String(255),
        Text,
        Unicode(255),
        CHAR(60),
        Lowered,
        Nested,
        OwnCitext,
        NullType,
        None,
        postgresql.CITEXT,
        postgresql.DOMAIN("address", postgresql.CITEXT()),
        mysql.LONGTEXT,
    ],
    ids=_label,
)
def test_a_column_that_holds_texts_is_taken(attribute: str, column_type: Type | None) -> None:
    """And one of which SQLAlchemy does not know what it holds, as a reflected one may be."""
    register_user_model(table_with(attribute, column_type))


@pytest.mark.parametrize(
    ("attribute", "column_type", "generated"),
    [
        ("username", String(255), Computed("lower(email)")),
        ("username_key", String(255), Computed("lower(username)")),
        ("email", String(320), Computed("username || '@example.org'", persisted=True)),
        ("password_hash", String(512), Computed("'x'")),
        ("verified", Boolean, Computed("email IS NOT NULL", persisted=True)),
        ("verified", SmallInteger, Computed("1")),
        ("verified", Integer, Identity()),
    ],
    ids=_label,
)
def test_a_column_that_the_database_generates_is_refused(
    attribute: str, column_type: Type, generated: Any
) -> None:
    """The store could not write it."""
    table = table_with(attribute, column_type, generated)
    with pytest.raises(ValueError, match=rf"'app_users'\.{attribute} is generated"):
        SQLAlchemyUserStore(sessionmaker(), user_model=table)


def test_other_columns_may_be_generated() -> None:
    """A surrogate key, or what the application computes for itself."""
    more = Column("label", String(300), Computed("username")), Column("nr", Integer, Identity())
    register_user_model(user_table("app_users", MetaData(), *more))


def _concrete_child() -> type[Any]:
    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(255), unique=True)

    class Member(Person):
        __tablename__ = "members"
        __mapper_args__ = {"concrete": True}
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(255), unique=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]

    return Member


def _child_of_a_concrete_base() -> type[Any]:
    class Base(DeclarativeBase):
        pass

    class Person(ConcreteBase, Base):
        __tablename__ = "people"
        __mapper_args__ = {"polymorphic_identity": "person"}
        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]

    class Member(Person):
        __tablename__ = "members"
        __mapper_args__ = {"polymorphic_identity": "member", "concrete": True}
        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]

    return Member


def _child_of_an_abstract_concrete_base() -> type[Any]:
    class Base(DeclarativeBase):
        pass

    class Person(AbstractConcreteBase, Base):
        strict_attrs = True

    class Member(Person):
        __tablename__ = "members"
        __mapper_args__ = {"polymorphic_identity": "member", "concrete": True}
        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]

    configure_mappers()
    return Member


def _imperative_concrete_child() -> type[Any]:
    class Person:
        pass

    class Member(Person):
        pass

    mapping = registry()
    mapping.map_imperatively(Person, user_table("people", mapping.metadata))
    mapping.map_imperatively(
        Member, user_table("members", mapping.metadata), inherits=Person, concrete=True
    )
    return Member


@pytest.mark.parametrize(
    "model",
    [
        _concrete_child,
        _child_of_a_concrete_base,
        _child_of_an_abstract_concrete_base,
        _imperative_concrete_child,
    ],
)
def test_concrete_inheritance_is_refused(model: Callable[[], type[Any]]) -> None:
    """A username that is unique in one of its tables may be there in another."""
    with pytest.raises(ValueError, match="Member is mapped by concrete inheritance"):
        register_user_model(model())


INTEGERS: dict[str, Type] = {
    "SmallInteger": SmallInteger(),
    "Integer": Integer(),
    "BigInteger": BigInteger(),
    "decorated": Flag(),
    "TINYINT(1)": SmallInteger().with_variant(mysql.TINYINT(1), "mysql", "mariadb"),
    "BIT(1)": SmallInteger().with_variant(mysql.BIT(1), "mysql", "mariadb"),
    "Boolean, but for a variant": Boolean().with_variant(SmallInteger(), "postgresql", "mysql"),
    "an integer, but for a variant": Integer().with_variant(Boolean(), "postgresql"),
}


@pytest.mark.parametrize("column_type", INTEGERS.values(), ids=list(INTEGERS))
def test_an_integer_verified_is_written_as_a_number_and_read_as_a_bool(
    column_type: Type, fresh: Database
) -> None:
    """By each lookup, before and after the e-mail was verified."""
    store = store_on(fresh, table_with("verified", column_type, nullable=False))
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    for verified in (False, True):
        users = [
            store.get_user_by_username("JANE"),
            store.get_user_by_email("jane@example.org"),
            *store.iter_users(),
        ]
        assert [user and user.verified for user in users] == [verified] * 3
        assert all(user is not None and type(user.verified) is bool for user in users)
        with fresh.main.connect() as connection:
            found = connection.execute(text("SELECT verified FROM app_users")).scalar()
        assert found in (int(verified), bytes([verified]))
        store.set_user_verified("Jane")


def test_a_verified_that_is_null_is_not_verified(fresh: Database) -> None:
    """A row of before there was such a column."""
    for column_type in (Boolean, SmallInteger, Integer):
        table = table_with("verified", column_type)
        store = store_on(fresh, table)
        store.metadata.create_all(fresh.main)
        row = {"username": "jane", "email": "jane@x.org", "password_hash": "x", "verified": None}
        with fresh.main.begin() as connection:
            connection.execute(table.insert().values(row))
        user = store.get_user_by_username("jane")
        assert user is not None
        assert user.verified is False
        store.metadata.drop_all(fresh.main)


LEGACY = """
    CREATE TABLE legacy_users (
        id INTEGER PRIMARY KEY,
        username VARCHAR(255) NOT NULL,
        email VARCHAR(320) NOT NULL,
        password_hash VARCHAR(512) NOT NULL,
        verified {},
        UNIQUE (username),
        UNIQUE (email)
    )
"""


@pytest.mark.parametrize("declared", ["SMALLINT", "INTEGER NOT NULL", "TINYINT(1)", "BIT(1)"])
def test_a_reflected_table_with_a_number_for_a_flag_works(declared: str, fresh: Database) -> None:
    """Where the database has such a type for a number."""
    if fresh.backend != "mysql":
        declared = {"TINYINT(1)": "BIGINT", "BIT(1)": "SMALLINT DEFAULT 0"}.get(declared, declared)
    key = {"mysql": "INTEGER AUTO_INCREMENT", "postgresql": "SERIAL"}.get(fresh.backend, "INTEGER")
    ddl = LEGACY.format(declared).replace("id INTEGER", f"id {key}")
    with fresh.main.begin() as connection:
        connection.exec_driver_sql(ddl)
    table = Table("legacy_users", MetaData(), autoload_with=fresh.main)
    store = store_on(fresh, table)
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    assert store.get_user_by_username("JANE") == User("jane", "jane@example.org", False)
    store.set_user_verified("jane")
    assert store.get_user_by_email("jane@example.org") == User("jane", "jane@example.org", True)


def test_a_reflected_flag_works(fresh: Database) -> None:
    """On MariaDB a reflected BOOLEAN is a TINYINT."""
    user_table("app_users", MetaData()).create(fresh.main)
    store = store_on(fresh, Table("app_users", MetaData(), autoload_with=fresh.main))
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    store.set_user_verified("jane")
    user = store.get_user_by_username("jane")
    assert user is not None
    assert user.verified is True


@pytest.mark.parametrize(
    ("column_type", "no", "yes"),
    [(Letter, "N", "Y"), (Word, "False", "True"), (OneOrMinusOne, -1, 1)],
    ids=_label,
)
def test_a_flag_that_its_type_converts_works(
    column_type: Type, no: object, yes: object, fresh: Database
) -> None:
    """The store writes a bool through the application's type, and reads it through that."""
    store = store_on(fresh, table_with("verified", column_type))
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    assert fresh.read("SELECT verified FROM app_users") == [(no,)]
    assert store.get_user_by_username("jane") == User("jane", "jane@example.org", False)
    store.set_user_verified("jane")
    assert fresh.read("SELECT verified FROM app_users") == [(yes,)]
    assert store.get_user_by_username("jane") == User("jane", "jane@example.org", True)


@pytest.mark.parametrize("column_type", [SmallInteger, Integer, BigInteger])
def test_a_mapper_gets_the_value_that_the_column_has(column_type: Type, fresh: Database) -> None:
    """It is of the application's type: of a row, and of an instance."""

    class AppUser:
        pass

    def as_it_is(user: Any) -> User:
        return User(user.username, user.email, user.verified)

    table = table_with("verified", column_type)
    prefix: dict[str, Any] = {"table_prefix": PREFIX}
    sessions = sessionmaker(fresh.main)
    register_user_model(AppUser, table, **prefix)
    for model in (table, AppUser):
        store = SQLAlchemyUserStore(sessions, model, user_mapper=as_it_is, **prefix)
        store.metadata.create_all(fresh.main)
        store.create_user(new_user())
        store.set_user_verified("jane")
        found = store.get_user_by_username("jane")
        assert found is not None
        assert (found.verified, type(found.verified)) == (1, int)
        store.delete_user("jane")


@pytest.mark.backends("postgresql")
def test_citext_and_domains_go_on_working(fresh: Database) -> None:
    """A text that folds by itself, and one that the database checks, made and reflected."""
    with fresh.main.begin() as connection:
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS citext")
        connection.exec_driver_sql("CREATE DOMAIN secret AS text CHECK (VALUE <> '')")
        connection.exec_driver_sql("CREATE DOMAIN flag AS smallint CHECK (VALUE IN (0, 1))")
        connection.exec_driver_sql(
            "CREATE TABLE app_users (username citext PRIMARY KEY, email citext UNIQUE,"
            " password_hash secret, verified flag)"
        )
    store = store_on(fresh, Table("app_users", MetaData(), autoload_with=fresh.main))
    store.metadata.create_all(fresh.main)
    store.create_user(new_user("Jane"))
    store.set_user_verified("jane")
    assert store.get_user_by_username("JANE") == User("Jane", "Jane@example.org", True)
    assert store.get_password_hash("jane") == "Jane-password-hash"
    store.create_user(new_user("Joe", expires_at=datetime(2020, 1, 1)))
    store.rename_user("jane", "Janet")
    assert store.purge_unverified(older_than=timedelta(days=1)) == 1
    assert [user.username for user in store.iter_users()] == ["Janet"]
