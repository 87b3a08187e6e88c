"""Defaults and `onupdate` that look at the row: they see it by the names of its columns."""

from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, text
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from support.databases import Database
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore


def seen_by(name: str) -> Any:
    """A default of what the row has in the column `name`."""
    return lambda context: str(context.get_current_parameters()[name])


@pytest.mark.parametrize(
    ("looked_at", "expected"),
    [
        ("username", "Jane"),
        ("email", "jane@x.org"),
        ("password_hash", "a hash"),
        ("verified", "0"),
        ("username_key", "jane"),
    ],
)
def test_a_default_sees_what_the_new_row_has(
    looked_at: str, expected: str, fresh: Database
) -> None:
    """A handle made of the name, or a domain of the address."""
    table = Table(
        "members",
        MetaData(),
        Column("username", String(255), primary_key=True),
        Column("username_key", String(255), unique=True),
        Column("email", String(255), unique=True),
        Column("password_hash", String(255)),
        Column("verified", Boolean),
        Column("seen", String(255), default=seen_by(looked_at)),
    )
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table)
    store.metadata.create_all(fresh.main)
    store.create_user(new_user("Jane", email="jane@x.org", password_hash="a hash"))
    assert fresh.read("SELECT seen FROM members") == [(expected,)]


def test_defaults_see_renamed_columns_and_the_discriminator(fresh: Database) -> None:
    """By the columns' names, and not by the attributes'; `current_parameters`, too."""

    def both(context: DefaultExecutionContext) -> str:
        assert context.current_parameters is not None
        return f"{context.current_parameters['kind']} {context.current_parameters['login']}"

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "people"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(20))
        username: Mapped[str] = mapped_column("login", String(255), unique=True)
        email: Mapped[str] = mapped_column("mail", String(255), unique=True)
        password_hash: Mapped[str] = mapped_column("secret", String(255))
        verified: Mapped[bool] = mapped_column("active")
        label: Mapped[str] = mapped_column(String(255), default=both)

    class Member(Person):
        __mapper_args__ = {"polymorphic_identity": "member"}

    store = SQLAlchemyUserStore(sessionmaker(fresh.main), Member)
    store.metadata.create_all(fresh.main)
    store.create_user(new_user("Jane"))
    assert fresh.read("SELECT label, login FROM people") == [("member Jane", "Jane")]


def test_onupdate_sees_what_is_written(fresh: Database) -> None:
    """Of a verification, of a new password, and of a key that is corrected."""

    def written(context: DefaultExecutionContext) -> str:
        assert context.current_parameters is not None
        seen = context.current_parameters
        names = ("password_hash", "verified", "username_key")
        return " ".join(f"{name}={seen[name]}" for name in names if name in seen)

    table = Table(
        "members",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("username", String(255), unique=True),
        Column("username_key", String(255), unique=True),
        Column("email", String(255), unique=True),
        Column("password_hash", String(255)),
        Column("verified", Boolean),
        Column("written", String(255), onupdate=written),
    )
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table)
    store.metadata.create_all(fresh.main)
    store.create_user(new_user("Jane"))
    store.remove_email_verification("Jane-verification")
    store.set_user_verified("JANE")
    assert fresh.read("SELECT written FROM members") == [("verified=1",)]
    store.set_password_hash("JANE", "another")
    assert fresh.read("SELECT written FROM members") == [("password_hash=another",)]
    with fresh.main.begin() as connection:
        connection.execute(text("UPDATE members SET username = 'Joan'"))
    store.create_user(new_user("jane", email="other@x.org"))
    renamed = "SELECT written FROM members WHERE username = 'Joan'"
    assert fresh.read(renamed) == [("username_key=joan",)]
