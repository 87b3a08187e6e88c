"""Unique constraints that are checked at the end, and rows in the way that nobody sees."""

from collections.abc import Callable

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.orm import sessionmaker
from sqlalchemy.schema import SchemaItem
from userharbor.exceptions import InvalidEmailError, InvalidUsernameError, UserHarborError
from userharbor.interfaces import CreateUserRequest

from support.databases import Database
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, register_user_model


def table_with(*constraints: SchemaItem, metadata: MetaData | None = None) -> Table:
    return Table(
        "members",
        metadata or MetaData(),
        Column("id", Integer, primary_key=True),
        Column("username", String(255), nullable=False),
        Column("username_key", String(255), nullable=False),
        Column("email", String(255), nullable=False),
        Column("password_hash", String(255)),
        Column("verified", Boolean),
        Column("tenant", String(20), server_default="a"),
        *constraints,
    )


@pytest.mark.parametrize(
    "late",
    [
        UniqueConstraint("username", deferrable=True, initially="DEFERRED"),
        UniqueConstraint("username", deferrable=True, initially="IMMEDIATE"),
        UniqueConstraint("username", name="one_name", deferrable=True),
    ],
    ids=lambda it: str(it.initially),
)
def test_a_username_that_is_unique_at_the_end_only_is_refused(late: UniqueConstraint) -> None:
    """PostgreSQL lets no foreign key point at it."""
    with pytest.raises(ValueError, match="username is neither the primary key nor unique"):
        register_user_model(table_with(late))


def test_a_primary_key_that_is_checked_at_the_end_is_refused() -> None:
    """As a unique constraint is."""
    table = Table(
        "members",
        MetaData(),
        *(Column(name, String(255)) for name in ("username", "email", "password_hash")),
        Column("verified", Boolean),
        PrimaryKeyConstraint("username", deferrable=True),
    )
    with pytest.raises(ValueError, match="username is neither the primary key nor unique"):
        register_user_model(table)


@pytest.mark.parametrize("attribute", ["email", "username_key"])
@pytest.mark.parametrize("initially", ["DEFERRED", "IMMEDIATE", None])
def test_what_is_unique_at_the_end_only_is_taken_with_a_warning(
    attribute: str, initially: str | None
) -> None:
    """A block would store it, and be refused at its end."""
    others = {"username", "email", "username_key"} - {attribute}
    late = UniqueConstraint(attribute, deferrable=True, initially=initially)
    table = table_with(late, *(UniqueConstraint(name) for name in others))
    with pytest.warns(UserWarning, match=f"{attribute} has no .* that is not deferrable"):
        register_user_model(table)


@pytest.mark.backends("postgresql")
@pytest.mark.filterwarnings("ignore:.*not deferrable")
def test_a_call_by_itself_is_refused_by_the_typed_error_all_the_same(fresh: Database) -> None:
    """Its commit is its end."""
    late = UniqueConstraint("email", deferrable=True, initially="DEFERRED")
    table = table_with(late, UniqueConstraint("username"), UniqueConstraint("username_key"))
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table)
    store.metadata.create_all(fresh.main)
    store.create_user(new_user("jane"))
    with pytest.raises(InvalidEmailError, match="Email already exists"):
        store.create_user(new_user("joe", email="jane@example.org"))
    assert fresh.count("members") == 1


Hidden = tuple[CreateUserRequest, type[UserHarborError], str]

HIDDEN: dict[str, Hidden] = {
    "email": (new_user("joe", email="jane@example.org"), InvalidEmailError, "Email already"),
    "username": (new_user("jane", email="other"), InvalidUsernameError, "Username already"),
    "key": (new_user("JANE", email="other"), InvalidUsernameError, "Username already"),
}

NAMED: dict[str, Callable[[], list[SchemaItem]]] = {
    "by the database": lambda: [
        UniqueConstraint(name) for name in ("username", "username_key", "email")
    ],
    "by the application": lambda: [
        UniqueConstraint("username", name="one name"),
        Index("one_key", "username_key", unique=True),
        UniqueConstraint("email", name="one_email"),
    ],
    "by a convention": lambda: [
        UniqueConstraint("username"),
        Index(None, "username_key", unique=True),
        Index(None, "email", unique=True),
    ],
}
CONVENTION = {"uq": "unique_%(table_name)s_%(column_0_name)s", "ix": "ix_%(column_0_label)s"}


@pytest.mark.backends("postgresql")
@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("what", HIDDEN)
def test_what_a_hidden_row_takes_is_told_by_the_constraint(
    what: str, named: str, fresh: Database
) -> None:
    """Row-level security hides it from the look for it, and not from the unique index."""
    request, error, message = HIDDEN[what]
    metadata = MetaData(naming_convention=CONVENTION if named == "by a convention" else None)
    table = table_with(*NAMED[named](), metadata=metadata)
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table)
    store.metadata.create_all(fresh.main)
    store.create_user(new_user("jane"))
    store.remove_email_verification("jane-verification")
    with fresh.main.begin() as connection:
        for statement in (
            "UPDATE members SET tenant = 'b'",
            "ALTER TABLE members ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY own ON members USING (tenant = 'a')",
            "DROP ROLE IF EXISTS tenant_a",
            "CREATE ROLE tenant_a",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO tenant_a",
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO tenant_a",
        ):
            connection.execute(text(statement))
    engine = fresh.engine()
    event.listen(engine, "connect", lambda driver, _: driver.execute("SET ROLE tenant_a"))
    event.listen(engine, "connect", lambda driver, _: driver.commit())
    store = SQLAlchemyUserStore(sessionmaker(engine), table)
    assert store.get_user_by_username("jane") is None
    try:
        with pytest.raises(error, match=message) as caught:
            store.create_user(request)
        assert caught.value.__context__ is None
        with store.transaction():
            with pytest.raises(error):
                store.create_user(request)
            store.create_user(new_user("other"))
        assert store.get_user_by_username("OTHER") is not None
    finally:
        engine.dispose()
        with fresh.main.begin() as connection:
            connection.execute(text("DROP OWNED BY tenant_a"))
            connection.execute(text("DROP ROLE tenant_a"))
