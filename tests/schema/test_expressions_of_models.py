"""Attributes of a user model that are expressions, and no columns of its table."""

from typing import Any

import pytest
from sqlalchemy import Boolean, Column, String, Table, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, sessionmaker

from support.databases import Database
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, register_user_model


def test_an_expression_beside_the_columns_is_passed_over(fresh: Database) -> None:
    """What the application adds is none of the store's, whatever it is computed of."""

    class Base(DeclarativeBase):
        pass

    class Member(Base):
        __tablename__ = "members"
        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]
        shouted: Mapped[str] = column_property(func.upper(username))

    store = SQLAlchemyUserStore(sessionmaker(fresh.main), register_user_model(Member))
    Base.metadata.create_all(fresh.main)
    store.create_user(new_user())
    found = store.get_user_by_username("JANE")
    assert found is not None
    assert found.username == "jane"


@pytest.mark.parametrize("what", ["a query", "a column of another table"])
def test_what_is_no_column_of_the_table_does_not_take_the_place_of_one(what: str) -> None:
    """There would be nothing of the user's row to write to."""

    class Base(DeclarativeBase):
        pass

    flags = Table("flags", Base.metadata, Column("verified", Boolean))
    given: dict[str, Any] = {
        "a query": select(func.count() > 0).scalar_subquery(),
        "a column of another table": flags.c.verified,
    }

    class Member(Base):
        __tablename__ = "members"
        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool] = column_property(given[what])

    with pytest.raises(TypeError, match="Member has no column attribute 'verified'"):
        register_user_model(Member)
    assert set(Base.metadata.tables) == {"flags", "members"}
