"""Which of the texts of a database and of its driver are passed on, and which may quote values."""

from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import sessionmaker
from sqlalchemy.types import TypeDecorator

from support.databases import Database
from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore


class Guarded(TypeDecorator[str]):
    """A type of an application's own that refuses a value, and quotes it."""

    impl = String(320)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        if value is not None and "secret" in value:
            raise ValueError(f"no place for {value}")
        return value


def assert_does_not_say(value: str, error: BaseException | None) -> None:
    """Neither `error` nor what it was raised from or in the course of."""
    while error is not None:
        said = f"{error} {error!r} {error.args!r} {getattr(error, 'params', None)!r}"
        assert value not in said
        assert_does_not_say(value, getattr(error, "orig", None))
        error = error.__cause__ or error.__context__


@pytest.mark.backends("postgresql", "mysql")
def test_a_text_that_the_connection_can_not_carry_is_not_quoted(db: Database) -> None:
    """Python's own error holds it; what is raised is an error of SQLAlchemy's, as any other."""
    encoding = {"postgresql": {"client_encoding": "latin1"}, "mysql": {"charset": "latin1"}}
    store = SQLAlchemyUserStore(sessionmaker(db.engine(connect_args=encoding[db.backend])))
    for block in (False, True):
        with pytest.raises(StatementError, match="character set") as raised:
            if block:
                with store.transaction():
                    store.create_role("管理者")
            else:
                store.create_role("管理者")
        assert_does_not_say("管", raised.value)
    assert db.count("userharbor_roles") == 0


def test_what_a_type_of_the_application_s_refuses_is_not_quoted(db: Database) -> None:
    """It raises before the driver has seen the value."""
    table = Table(
        "guarded_users",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("username", String(255), nullable=False, unique=True),
        Column("email", Guarded, nullable=False, unique=True),
        Column("password_hash", String(512), nullable=False),
        Column("verified", Boolean, nullable=False),
    )
    store = SQLAlchemyUserStore(sessionmaker(db.main), table, table_prefix="guarded_")
    store.metadata.drop_all(db.main)
    store.metadata.create_all(db.main)
    try:
        with pytest.raises(StatementError) as raised:
            store.create_user(new_user(email="secret@example.org"))
        assert not isinstance(raised.value, DBAPIError)
        assert_does_not_say("secret", raised.value)
        with pytest.raises(StatementError) as raised:
            store.get_user_by_email("secret@example.org")
        assert_does_not_say("secret", raised.value)
        store.create_user(new_user())
    finally:
        store.metadata.drop_all(db.main)


def said_of_a_missing_table(db: Database, role: str) -> tuple[Any, ...]:
    """What the driver's error says when `role` is looked for in a table that is not there."""
    store = SQLAlchemyUserStore(sessionmaker(db.main), table_prefix="absent_", metadata=MetaData())
    with pytest.raises(DBAPIError) as raised:
        store.role_exists(role)
    assert raised.value.orig is not None
    return raised.value.orig.args


def test_a_text_that_is_known_is_passed_on(db: Database) -> None:
    """With the number by which MariaDB and MySQL name the error."""
    said = said_of_a_missing_table(db, "admin")
    assert "absent_roles" in said[-1]
    if db.backend == "mysql":
        assert said[0] == 1146


def test_a_text_that_has_a_value_in_it_is_withheld(db: Database) -> None:
    """Even where it comes from elsewhere: it can't be told from one that is quoted."""
    said = said_of_a_missing_table(db, "absent_roles")
    assert "withheld" in said[-1]
    assert "absent_roles" not in said[-1]


def test_a_value_of_a_few_letters_withholds_nothing(db: Database) -> None:
    """They are in any text."""
    for role in ("a", "ab", "abs"):
        assert "absent_roles" in said_of_a_missing_table(db, role)[-1]
