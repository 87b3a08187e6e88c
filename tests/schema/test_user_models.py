"""The application's own user model: what may be registered or not, and what lookups return."""

import sys
import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    TypeDecorator,
    event,
    func,
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
from sqlalchemy.orm.exc import DetachedInstanceError

from support.databases import Database
from support.models import (
    SHAPES,
    Model,
    documented,
    imperative,
    integer_key,
    mapped_by_us,
    metadata_of,
    user_table,
    uuid_key,
)
from support.racing import race
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, register_user_model

# The built-in tables stay in the database under the tests; these go with each test.
PREFIX = "own_"


@contextmanager
def created(db: Database, metadata: MetaData) -> Iterator[None]:
    metadata.drop_all(db.main)
    metadata.create_all(db.main)
    try:
        yield
    finally:
        metadata.drop_all(db.main)


def store_on(db: Database, model: Model, table_prefix: str = PREFIX) -> SQLAlchemyUserStore[User]:
    return SQLAlchemyUserStore(sessionmaker(db.main), user_model=model, table_prefix=table_prefix)


# What may be registered


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


# What is refused


@pytest.mark.parametrize("missing", ["username", "email", "password_hash", "verified"])
def test_a_missing_attribute_is_refused_by_name(missing: str) -> None:
    """Of a class and of a table."""
    columns: dict[str, Column[Any]] = {
        "username": Column("username", String(255), primary_key=True),
        "email": Column("email", String(320), unique=True),
        "password_hash": Column("password_hash", String(512)),
        "verified": Column("verified", Boolean),
    }
    columns[missing] = Column("other", Integer, primary_key=True)
    table = Table("app_users", MetaData(), *columns.values())
    with pytest.raises(TypeError, match=f"'app_users' has no column attribute '{missing}'"):
        register_user_model(table)

    class AppUser:
        pass

    with pytest.raises(TypeError, match=f"AppUser has no column attribute '{missing}'"):
        register_user_model(AppUser, table)
    assert set(table.metadata.tables) == {"app_users"}


def test_a_username_that_is_not_unique_is_refused() -> None:
    """A composite key, a plain index and one on an expression do not make it so."""
    table = Table(
        "app_users",
        MetaData(),
        Column("tenant", Integer, primary_key=True),
        Column("username", String(255), primary_key=True, index=True),
        Column("email", String(320), unique=True),
        Column("password_hash", String(512)),
        Column("verified", Boolean),
    )
    Index("lowered", func.lower(table.c.username), unique=True)
    with pytest.raises(ValueError, match=r"'app_users'.username is neither the primary key nor"):
        SQLAlchemyUserStore(sessionmaker(), user_model=table)


def test_a_partial_index_does_not_make_a_username_unique() -> None:
    """No foreign key can point at it."""
    table = Table(
        "app_users",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("username", String(255)),
        Column("email", String(320), unique=True),
        Column("password_hash", String(512)),
        Column("verified", Boolean),
    )
    whole = table.c.username != ""
    Index("partial", table.c.username, unique=True, postgresql_where=whole, sqlite_where=whole)

    class AppUser:
        pass

    with pytest.raises(ValueError, match=r"AppUser.username is neither the primary key nor"):
        register_user_model(AppUser, table)
    assert inspect(AppUser, raiseerr=False) is None, "nor is the class mapped"


def test_joined_table_inheritance_is_refused() -> None:
    """A user must be one row of one table."""

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "people"

        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(255), unique=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)

    class Member(Person):
        __tablename__ = "members"

        id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]

    with pytest.raises(ValueError, match="Member spreads over several tables"):
        register_user_model(Member)


def test_what_is_not_mapped_is_refused() -> None:
    """And so is another table than the one it is mapped to."""

    class AppUser:
        pass

    with pytest.raises(TypeError, match="AppUser is not mapped"):
        SQLAlchemyUserStore(sessionmaker(), user_model=AppUser)
    model = imperative()
    with pytest.raises(ValueError, match="Imperative is mapped to 'imperative_users' already"):
        register_user_model(model, user_table("others", MetaData()))
    with pytest.raises(ValueError, match="metadata is not that of user_model"):
        SQLAlchemyUserStore(sessionmaker(), user_model=model, metadata=MetaData())


def test_two_models_of_one_metadata_need_two_prefixes() -> None:
    """The second is told so."""
    metadata = MetaData()
    register_user_model(user_table("one", metadata))
    with pytest.raises(ValueError, match="refer to 'one' already; another table_prefix"):
        register_user_model(user_table("two", metadata))


def test_an_email_that_may_not_be_unique_is_taken_with_a_warning() -> None:
    """Applications enforce it by an expression index too."""
    table = Table(
        "app_users",
        MetaData(),
        Column("username", String(255), primary_key=True),
        Column("email", String(320)),
        Column("password_hash", String(512)),
        Column("verified", Boolean),
    )
    Index("lowered", func.lower(table.c.email), unique=True)
    with pytest.warns(UserWarning, match=r"'app_users'.email has no unique constraint"):
        register_user_model(table)


# What lookups return


def test_the_documentation_of_the_core_pasted(db: Database) -> None:
    """Its custom model and its custom mapping, which 0.7.0 breaks on."""
    app_user = documented()

    @dataclass
    class AppPublicUser(User):
        display_name: str

    store = SQLAlchemyUserStore(
        sessionmaker(db.main),
        user_model=app_user,
        user_mapper=lambda user: AppPublicUser(
            username=user.username,
            email=user.email,
            verified=user.verified,
            display_name=user.display_name,
        ),
        table_prefix=PREFIX,
    )
    with created(db, store.metadata):
        store.create_user(new_user())
        expected = AppPublicUser("jane", "jane@example.org", False, "Anonymous")
        assert store.get_user_by_username("JANE") == expected
        assert store.get_user_by_email("JANE@example.org") == expected


def test_a_mapper_gets_a_detached_instance_of_the_class(db: Database) -> None:
    """Its columns, properties and methods work; a relationship says that it is detached."""

    class Base(DeclarativeBase):
        pass

    class AppUser(Base):
        __tablename__ = "app_users"

        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column("login", String(255), unique=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]
        notes: Mapped[list["Note"]] = relationship()

        @property
        def label(self) -> str:
            return f"{self.username} #{self.id}"

        def greet(self, word: str) -> str:
            return f"{word} {self.label}"

    class Note(Base):
        __tablename__ = "app_notes"

        id: Mapped[int] = mapped_column(primary_key=True)
        author: Mapped[int] = mapped_column(ForeignKey(AppUser.id))

    seen: list[AppUser] = []

    def to_public(user: AppUser) -> User:
        seen.append(user)
        return User(user.greet("Dear"), user.email, user.verified)

    store = SQLAlchemyUserStore(
        sessionmaker(db.main), user_model=AppUser, user_mapper=to_public, table_prefix=PREFIX
    )
    with created(db, Base.metadata):
        store.create_user(new_user())
        user = store.get_user_by_username("jane")
        assert user == User("Dear jane #1", "jane@example.org", False)
        (instance,) = seen
        assert inspect(instance).detached
        assert instance.id == 1
        with pytest.raises(DetachedInstanceError):
            _ = instance.notes
        with Session(db.main) as session:
            session.add(instance)
            assert instance.notes == []


def test_a_mapper_of_a_table_gets_its_row(db: Database) -> None:
    """All its columns, by their names."""
    table = user_table("bare_users", MetaData())
    rows: list[Row[Any]] = []

    def to_user(row: Row[Any]) -> User:
        rows.append(row)
        return User(row.username, row.email, row.verified)

    store = SQLAlchemyUserStore(
        sessionmaker(db.main), user_model=table, user_mapper=to_user, table_prefix=PREFIX
    )
    with created(db, store.metadata):
        store.create_user(new_user())
        assert store.get_user_by_username("JANE") == User("jane", "jane@example.org", False)
        assert rows[0]._asdict()["id"] == 1


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_lookup_without_a_mapper_selects_three_columns(shape: str, db: Database) -> None:
    """Whatever the model has beside them."""
    model = SHAPES[shape]()
    store = store_on(db, model)
    statements: list[str] = []
    with created(db, store.metadata):
        store.create_user(new_user())
        engine = db.engine()
        event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        store = SQLAlchemyUserStore(sessionmaker(engine), user_model=model, table_prefix=PREFIX)
        assert store.get_user_by_username("JANE") == User("jane", "jane@example.org", False)
    selected = statements[-1].partition("FROM")[0]
    assert selected.count(",") == 2


# Keys of usernames


def add_users(db: Database, table: Table, *names: str) -> None:
    with db.main.begin() as connection:
        connection.execute(
            table.insert(),
            [
                {
                    "username": name,
                    "email": f"{name}@x.org",
                    "password_hash": "x",
                    "verified": True,
                }
                for name in names
            ],
        )


def test_users_of_the_application_are_found_by_name_and_after_a_sync_in_any_casing(
    db: Database,
) -> None:
    """And a name that was taken in is not to be taken again."""
    table = user_table("app_users", MetaData())
    store = store_on(db, table)
    with created(db, store.metadata):
        add_users(db, table, "Jane", "Straße")
        assert store.get_user_by_username("Jane") is not None
        assert store.get_user_by_username("Straße") is not None
        assert store.get_user_by_username("STRASSE") is None
        store.add_session(new_token("s", "Straße"))
        store.set_password_hash("Straße", "new")
        store.set_password_reset(new_token("r", "Straße"))

        assert store.sync_username_keys() == 2
        assert store.sync_username_keys() == 0
        assert store.get_user_by_username("STRASSE") is not None
        assert store.get_password_hash("STRASSE") == "new"
        with pytest.raises(IntegrityError, match="Username already exists"):
            store.create_user(new_user("JANE"))
        store.delete_user("STRASSE")
        assert db.read("SELECT username FROM own_username_keys") == [("Jane",)]
        assert db.count("own_sessions") == 0
        store.create_user(new_user("strasse"))


def test_create_all_takes_in_the_users_who_are_there(db: Database) -> None:
    """Where it makes the table of keys beside an old table of users."""
    table = user_table("app_users", MetaData())
    with created(db, table.metadata):
        add_users(db, table, *(f"User{number}" for number in range(2500)))
        store = store_on(db, table)
        store.metadata.create_all(db.main)
        assert db.count("own_username_keys") == 2500
        assert store.get_user_by_username("USER1234") is not None
        assert store.sync_username_keys() == 0
        store.metadata.drop_all(db.main)


def test_names_that_collide_are_listed_and_nothing_is_written(db: Database) -> None:
    """By the sync, and by `create_all()`, which does not pass at the second time either."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_bin")
    with created(db, table.metadata):
        add_users(db, table, "Bob", "alice", "bob", "zoe")
        store = store_on(db, table)
        for _ in range(2):
            with pytest.raises(ValueError, match="differ in casing only") as raised:
                store.metadata.create_all(db.main)
            assert "'Bob'" in str(raised.value)
            assert "'bob'" in str(raised.value)
            assert not inspect(db.main).has_table("own_username_keys")

        with db.main.begin() as connection:
            connection.execute(table.delete().where(table.c.username == "bob"))
        store.metadata.create_all(db.main)
        add_users(db, table, "BOB", "yann")
        with pytest.raises(ValueError, match="'Bob' and 'BOB'"):
            store.sync_username_keys()
        assert db.count("own_username_keys") == 3
        assert db.count("app_users") == 5
        store.metadata.drop_all(db.main)


def test_a_user_of_exactly_this_name_is_it_whoever_has_the_key(db: Database) -> None:
    """With the key first, what was meant for the application's "Jane" went to who took "jane"."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_bin")
    store = store_on(db, table)
    with created(db, store.metadata):
        add_users(db, table, "Jane")
        store.create_user(new_user("jane"))
        store.create_role("admin")
        store.grant_role_to_user("Jane", "admin")
        store.set_password_hash("Jane", "new")
        store.set_password_reset(new_token("r", "Jane"))

        assert store.get_user_roles("jane") == set()
        assert store.get_password_hash("jane") == "jane-password-hash"
        reset = store.get_password_reset("r")
        assert reset is not None
        assert reset.username == "Jane"
        user = store.get_user_by_username("Jane")
        assert user is not None
        assert user.email == "Jane@x.org"
        with pytest.raises(ValueError, match="differ in casing only"):
            store.sync_username_keys()
        store.delete_user("Jane")
        assert store.get_user_by_username("JANE") == User("jane", "jane@example.org", False)


def test_a_user_whom_the_application_deleted_leaves_the_name_free(db: Database) -> None:
    """Also on SQLite, where the key stays behind."""
    table = user_table("app_users", MetaData())
    store = store_on(db, table)
    with created(db, store.metadata):
        for name in ("Jane", "Joe"):
            store.create_user(new_user(name))
            with db.main.begin() as connection:
                connection.execute(table.delete())
        store.create_user(new_user("jane", verification_token_hash="other"))
        assert store.get_user_by_username("JANE") is not None
        add_users(db, table, "joe")
        assert store.get_user_by_username("joe") is not None
        assert store.sync_username_keys() == 1


@pytest.mark.backends("mysql")
def test_a_name_that_the_applications_collation_folds_is_taken(db: Database) -> None:
    """It is told so by the core's error, where the database takes two names for one."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_unicode_ci")
    store = store_on(db, table)
    with created(db, store.metadata):
        add_users(db, table, "jose", "Jane")
        for name in ("josé", "jane"):
            with pytest.raises(IntegrityError, match="Username already exists"):
                store.create_user(new_user(name, email=f"other-{name}"))


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


@pytest.mark.backends("mysql")
@pytest.mark.parametrize(
    "options",
    [
        {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_unicode_ci"},
        {"mysql_default_charset": "latin1"},
        {},
    ],
)
def test_identity_is_exact_in_a_table_that_folds_accents(
    db: Database, options: dict[str, str]
) -> None:
    """Foreign keys take its collation; lookups and writes tell "josé" from "jose"."""
    table = user_table("app_users", MetaData(), mysql_engine="InnoDB", **options)
    store = store_on(db, table)
    with created(db, store.metadata):
        store.create_user(new_user("José", email="josé@x.org"))
        store.add_session(new_token("s", "José"))
        store.create_role("admin")
        store.grant_role_to_user("josé", "admin")

        for other in ("jose", "José ", "JOSE"):
            assert store.get_user_by_username(other) is None
            assert store.get_user_roles(other) == set()
            store.remove_all_sessions(other)
            store.revoke_role_from_user(other, "admin")
            store.delete_user(other)
            store.set_user_verified(other)
            with pytest.raises(KeyError):
                store.set_password_hash(other, "x")
            with pytest.raises(KeyError):
                store.add_session(new_token("t", other))
        assert store.get_user_by_email("jose@x.org") is None
        assert store.get_user_by_username("JOSÉ") == User("José", "josé@x.org", False)
        assert store.get_user_roles("JOSÉ") == {"admin"}
        assert store.get_session("s") is not None


def test_a_hundred_thousand_users_are_taken_in(db: Database) -> None:
    """In little memory, and later ones when asked to."""
    table = user_table("app_users", MetaData(), mysql_collate="utf8mb4_bin")
    with created(db, table.metadata):
        add_users(db, table, *(f"User{number}" for number in range(100_000)))
        store = store_on(db, table)
        if db.backend == "sqlite":  # measuring takes its time, and is of Python alone
            tracemalloc.start()
        store.metadata.create_all(db.main)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2_000_000, "the names alone would take more"
        assert db.count("own_username_keys") == 100_000

        added = store_on(db, table)
        add_users(db, table, "Late")
        assert added.sync_username_keys() == 1
        with pytest.raises(IntegrityError, match="Username already exists"):
            added.create_user(new_user("uSER500"))
        store.metadata.drop_all(db.main)


def test_no_warning_for_a_model_that_has_all() -> None:
    """Registering is silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in SHAPES.values():
            register_user_model(shape())
