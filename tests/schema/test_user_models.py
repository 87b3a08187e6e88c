"""The application's own user model: what may be registered, and how it is stored."""

import sys
import warnings

import pytest
from sqlalchemy import (
    Column,
    Dialect,
    ForeignKey,
    MetaData,
    String,
    Table,
    TypeDecorator,
    inspect,
    select,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)

from support.databases import Database
from support.model_stores import created, store_on
from support.models import (
    SHAPES,
    documented,
    integer_key,
    mapped_by_us,
    metadata_of,
    user_table,
    uuid_key,
)
from support.racing import race
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, register_user_model


@pytest.mark.parametrize("shape", list(SHAPES))
def test_registering_defines_the_tables_beside_the_model(shape: str) -> None:
    """No session is needed; twice is once, and the store does not register again."""
    model = SHAPES[shape]()
    assert register_user_model(model) is model
    tables = set(metadata_of(model).tables)
    assert "userharbor_sessions" in tables
    assert "userharbor_users" not in tables
    assert ("userharbor_username_keys" in tables) == (shape != "with_username_key")

    register_user_model(model)
    store = SQLAlchemyUserStore(sessionmaker(), user_model=model)
    assert set(metadata_of(model).tables) == tables
    assert store.metadata is metadata_of(model)


def test_registering_in_threads_at_once_maps_once() -> None:
    """As where each of an application's threads makes its store."""

    def round_of_threads() -> None:
        class AppUser:
            pass

        table = user_table("app_users", MetaData())
        outcomes = race([lambda: register_user_model(AppUser, table)] * 8)
        assert outcomes == [AppUser] * 8
        assert inspect(AppUser).local_table is table

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            round_of_threads()
    finally:
        sys.setswitchinterval(interval)


def test_registering_decorates_a_declarative_class() -> None:
    """Also where a relationship names a class that is not there yet."""

    class Base(DeclarativeBase):
        pass

    @register_user_model
    class AppUser(Base):
        __tablename__ = "app_users"

        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]
        notes: Mapped[list["Note"]] = relationship()

    class Note(Base):
        __tablename__ = "notes"

        id: Mapped[int] = mapped_column(primary_key=True)
        author: Mapped[str] = mapped_column(ForeignKey(AppUser.username))

    assert AppUser.__name__ == "AppUser"
    assert "userharbor_sessions" in Base.metadata.tables
    assert inspect(AppUser).relationships["notes"].mapper.class_ is Note


def test_a_class_that_was_mapped_here_serves_the_applications_sessions(db: Database) -> None:
    """A user whom the store creates is an object of the application's, and the other way round."""
    model = mapped_by_us()
    store = store_on(db, model)
    with created(db, store.metadata):
        store.create_user(new_user())
        with Session(db.main) as session:
            jane = session.scalars(select(model)).one()
            assert (jane.username, jane.verified) == ("jane", False)
            session.add(model("Joe", "joe@example.org", "hash"))
            session.commit()
        assert store.get_user_by_username("Joe") == User("Joe", "joe@example.org", False)


def test_the_tables_take_a_prefix(db: Database) -> None:
    """Two sets of tokens on one user table."""
    model = documented()
    one, two = store_on(db, model, table_prefix="one_"), store_on(db, model, table_prefix="two_")
    with created(db, one.metadata):
        one.create_user(new_user())
        two.add_session(new_token("s"))
        assert one.get_session("s") is None
        assert db.count("two_sessions") == 1


def test_two_models_live_in_one_process(db: Database) -> None:
    """Each on its own MetaData, in one database under two prefixes."""
    one = store_on(db, documented(), table_prefix="a_")
    two = store_on(db, integer_key(), table_prefix="b_")
    with created(db, one.metadata), created(db, two.metadata):
        one.create_user(new_user())
        assert two.get_user_by_username("jane") is None
        two.create_user(new_user())
        one.delete_user("jane")
        assert two.get_user_by_username("JANE") is not None


def test_two_stores_share_one_model(db: Database) -> None:
    """What one stores the other finds."""
    model = documented()
    one, two = store_on(db, model), store_on(db, model)
    with created(db, one.metadata):
        one.create_user(new_user())
        assert two.get_user_by_username("JANE") is not None


def test_columns_keep_their_defaults(db: Database) -> None:
    """Those made in Python, by value and by call, and those of the server."""
    numbered = integer_key()
    store = store_on(db, numbered)
    with created(db, store.metadata):
        store.create_user(new_user())
        (row,) = db.read("SELECT id, tenant, number, created FROM numbered_users")
        assert row[:3] == (1, "main", 42)
        assert row[3] is not None
    renamed = uuid_key()
    store = store_on(db, renamed)
    with created(db, store.metadata):
        store.create_user(new_user())
        (row,) = db.read("SELECT login, mail, secret, is_active, locale FROM renamed_users")
        assert row == ("jane", "jane@example.org", "jane-password-hash", 0, "en")


@pytest.mark.backends("postgresql")
def test_a_model_may_stand_in_a_schema(db: Database) -> None:
    """The MetaData's own, with a naming convention."""

    class Base(DeclarativeBase):
        metadata = MetaData(
            schema="app", naming_convention={"fk": "fk_%(table_name)s_%(column_0_name)s"}
        )

    class AppUser(Base):
        __tablename__ = "users"

        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(255), unique=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]

    store = store_on(db, AppUser)
    with db.main.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA app")
    try:
        store.metadata.create_all(db.main)
        store.create_user(new_user())
        store.add_session(new_token("s", "JANE"))
        assert db.count("app.own_sessions") == 1
        (key,) = inspect(db.main).get_foreign_keys("own_sessions", schema="app")
        assert key["name"] == "fk_own_sessions_username"
    finally:
        with db.main.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA app CASCADE")


def test_single_table_inheritance_sets_and_asks_for_the_discriminator(db: Database) -> None:
    """Other identities of the table are not the store's users, but their names are taken."""

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "people"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]
        kind: Mapped[str] = mapped_column(String(20))

    class Customer(Person):
        __mapper_args__ = {"polymorphic_identity": "customer"}

    class GoldCustomer(Customer):
        __mapper_args__ = {"polymorphic_identity": "gold"}

    store = store_on(db, Customer)
    with created(db, Base.metadata):
        with Session(db.main) as session:
            values = {"password_hash": "x", "verified": False}
            session.add(Person(username="boss", email="boss@x.org", **values))
            session.add(GoldCustomer(username="rich", email="rich@x.org", **values))
            session.commit()
        store.sync_username_keys()
        store.create_user(new_user())

        assert sorted(db.read("SELECT username, kind FROM people")) == [
            ("boss", "person"),
            ("jane", "customer"),
            ("rich", "gold"),
        ]
        assert store.get_user_by_username("RICH") is not None
        assert store.get_user_by_username("boss") is None
        assert store.get_user_by_email("boss@x.org") is None
        with pytest.raises(KeyError):
            store.add_session(new_token("s", "boss"))
        store.delete_user("boss")
        assert db.count("people") == 3
        with pytest.raises(IntegrityError, match="Username already exists"):
            store.create_user(new_user("BOSS"))
        with pytest.raises(IntegrityError, match="Email already exists"):
            store.create_user(new_user("new", email="boss@x.org"))


def test_columns_keep_their_types(db: Database) -> None:
    """A type that the application made converts what the store writes and looks for."""

    class Reversed(TypeDecorator[str]):
        impl = String(320)
        cache_ok = True

        def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
            return value[::-1] if value else value

        def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
            return value[::-1] if value else value

    class YesNo(TypeDecorator[bool]):
        impl = String(1)
        cache_ok = True

        def process_bind_param(self, value: bool | None, dialect: Dialect) -> str:
            return "Y" if value else "N"

        def process_result_value(self, value: str | None, dialect: Dialect) -> bool:
            return value == "Y"

    table = Table(
        "app_users",
        MetaData(),
        Column("username", String(255), primary_key=True),
        Column("email", Reversed, unique=True),
        Column("password_hash", Reversed),
        Column("verified", YesNo),
    )
    store = store_on(db, table)
    with created(db, store.metadata):
        store.create_user(new_user(email="jane@x.org"))
        store.set_user_verified("JANE")
        assert store.get_user_by_email("JANE@x.org") == User("jane", "jane@x.org", True)
        assert store.get_password_hash("jane") == "jane-password-hash"
        assert db.read("SELECT email, verified FROM app_users") == [("gro.x@enaj", "Y")]
        with pytest.raises(IntegrityError, match="Email already exists"):
            store.create_user(new_user("joe", email="jane@x.org"))


def test_no_warning_for_a_model_that_has_all() -> None:
    """Registering is silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in SHAPES.values():
            register_user_model(shape())
