"""The table of keys beside an application's own table, and which rows of that are users."""

import pytest
from sqlalchemy import MetaData, String, insert, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from support.databases import Database
from support.models import user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


def own_store(db: Database, table_name: str = "members") -> Store:
    table = user_table(table_name, MetaData(), mysql_collate="utf8mb4_bin")
    return SQLAlchemyUserStore(sessionmaker(db.main), table, table_prefix="own_")


def test_a_user_has_one_key(fresh: Database) -> None:
    """The database refuses a second one, by which another name would find the user."""
    store = own_store(fresh)
    store.metadata.create_all(fresh.main)
    store.create_user(new_user("Jane"))
    assert fresh.read("SELECT username_key, username FROM own_username_keys") == [("jane", "Jane")]
    keys = store.metadata.tables["own_username_keys"]
    with fresh.main.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(keys).values(username_key="other", username="Jane"))


@pytest.mark.backends("sqlite", "postgresql")
def test_tables_made_within_a_transaction_leave_the_users_who_are_there(fresh: Database) -> None:
    """Those of before and those added in it are taken in; all of it can be rolled back."""
    store = own_store(fresh)
    members = store.metadata.tables["members"]
    members.create(fresh.main)
    values = {"password_hash": "x", "verified": False}
    with fresh.main.begin() as connection:
        connection.execute(insert(members).values(username="Anna", email="a", **values))

    with fresh.main.connect() as connection:
        transaction = connection.begin()
        connection.execute(insert(members).values(username="Bob", email="b", **values))
        store.metadata.create_all(connection)
        names = connection.execute(text("SELECT username FROM own_username_keys")).scalars()
        assert sorted(names) == ["Anna", "Bob"]
        transaction.rollback()
    assert fresh.read("SELECT username FROM members") == [("Anna",)]

    with fresh.main.begin() as connection:
        connection.execute(insert(members).values(username="Bob", email="b", **values))
        store.metadata.create_all(connection)
    assert fresh.count("members") == 2
    assert store.get_user_by_username("ANNA") == User("Anna", "a", False)
    assert store.get_user_by_username("BOB") == User("Bob", "b", False)


def test_a_base_class_without_an_identity_leaves_the_discriminator_alone(fresh: Database) -> None:
    """Its rows have what the column's default says, as those that the application adds."""

    class Base(DeclarativeBase):
        pass

    class Party(Base):
        __tablename__ = "parties"
        __mapper_args__ = {"polymorphic_on": "kind"}
        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]
        kind: Mapped[str | None] = mapped_column(String(20), default="unknown")

    class Person(Party):
        __mapper_args__ = {"polymorphic_identity": "person"}

    store = SQLAlchemyUserStore(sessionmaker(fresh.main), Party, table_prefix="own_")
    store.metadata.create_all(fresh.main)
    with Session(fresh.main) as session:
        session.add(Person(username="joe", email="e", password_hash="x", verified=False))
        session.commit()
    store.create_user(new_user())
    assert sorted(fresh.read("SELECT username, kind FROM parties")) == [
        ("jane", "unknown"),
        ("joe", "person"),
    ]
    assert store.get_user_by_username("joe") == User("joe", "e", False)


def test_a_class_that_inherits_without_a_discriminator_has_all_rows(fresh: Database) -> None:
    """There is nothing that would tell its rows from those of its base."""

    class Base(DeclarativeBase):
        pass

    class Party(Base):
        __tablename__ = "parties"
        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]

    class Person(Party):
        pass

    store = SQLAlchemyUserStore(sessionmaker(fresh.main), Person, table_prefix="own_")
    store.metadata.create_all(fresh.main)
    with Session(fresh.main) as session:
        session.add(Party(username="joe", email="e", password_hash="x", verified=False))
        session.commit()
    store.create_user(new_user())
    store.add_session(new_token("of joe", "joe"))
    assert store.get_user_by_username("joe") == User("joe", "e", False)
    assert store.get_user_by_username("JANE") == User("jane", "jane@example.org", False)
    assert [user.username for user in store.iter_users()] == ["jane", "joe"]
