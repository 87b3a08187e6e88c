"""Which of a driver's texts are passed on, with what of its error, and which may quote values."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, event
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.refusals import MYSQL, POSTGRESQL, SQLITE, provoked
from support.secrets import assert_gives_nothing_away
from userharbor_sqlalchemy import SQLAlchemyUserStore


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
        assert_gives_nothing_away(raised.value, "管")
    assert db.count("userharbor_roles") == 0


def said_of_a_missing_table(db: Database, role: str) -> str:
    """What the driver's error says when `role` is looked for in a table that is not there."""
    store = SQLAlchemyUserStore(sessionmaker(db.main), table_prefix="absent_", metadata=MetaData())
    with pytest.raises(DBAPIError) as raised:
        store.role_exists(role)
    assert raised.value.orig is not None
    return str(raised.value.orig.args[-1])


def test_a_parameter_is_taken_out_of_any_text(db: Database) -> None:
    """Even where it comes from elsewhere: it can't be told from one that is quoted."""
    whole = said_of_a_missing_table(db, "admin")
    assert "absent_roles" in whole
    assert said_of_a_missing_table(db, "absent_roles") == whole.replace("absent_roles", "…")


def test_a_parameter_of_a_few_letters_is_in_any_text(db: Database) -> None:
    """And so is the beginning of a longer one."""
    for role in ("a", "abs", "absent and more"):
        assert "absent_roles" in said_of_a_missing_table(db, role)


@contextmanager
def refusing(engine: Engine, *arguments: object) -> Iterator[None]:
    """Let each statement on a table fail by an error of the driver's with these arguments."""

    def refuse(cursor: object, statement: str, *_: object) -> None:
        if "userharbor_" in statement:
            raise engine.dialect.loaded_dbapi.OperationalError(*arguments)

    event.listen(engine, "do_execute", refuse)
    try:
        yield
    finally:
        event.remove(engine, "do_execute", refuse)


@pytest.mark.backends("mysql")
def test_what_mariadb_says_of_a_stale_snapshot_is_kept_whole(db: Database) -> None:
    """Its text is longer from 11.8 on."""
    text = (
        "Record has changed since last read in table 'userharbor_users'; try restarting transaction"
    )
    with refusing(db.main, 1020, text), pytest.raises(DBAPIError) as raised:
        SQLAlchemyUserStore(sessionmaker(db.main)).create_role("admin")
    assert raised.value.orig is not None
    assert raised.value.orig.args == (1020, text)


@pytest.mark.backends("postgresql", "mysql")
def test_without_a_code_a_text_must_not_have_the_beginning_of_a_parameter(db: Database) -> None:
    """A driver may quote it, and cut it off."""
    store = SQLAlchemyUserStore(sessionmaker(db.main))
    with refusing(db.main, "can't adapt 'admi...'"), pytest.raises(DBAPIError) as raised:
        store.create_role("administrator")
    assert "withheld" in str(raised.value)
    with refusing(db.main, "can't adapt it"), pytest.raises(DBAPIError, match="adapt it"):
        store.create_role("administrator")


@pytest.mark.backends("sqlite")
def test_so_it_is_with_a_database_of_which_nothing_is_known(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its codes may be anything."""
    monkeypatch.setattr(db.main.dialect, "name", "another")
    assert "withheld" in said_of_a_missing_table(db, "absent and more")
    assert "absent_roles" in said_of_a_missing_table(db, "admin")


def test_the_driver_s_error_keeps_its_class_and_its_codes(fresh: Database) -> None:
    """Also when it is pickled. What else it had, is empty."""
    refusals = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "mysql": MYSQL}[fresh.backend]
    what = "a check of yours"
    with provoked(fresh, refusals[what]) as store, pytest.raises(DBAPIError) as raised:
        refusals[what].call(store)
    for error in (raised.value, pickle.loads(pickle.dumps(raised.value))):
        orig: Any = error.orig
        assert isinstance(orig, fresh.main.dialect.loaded_dbapi.Error)
        if fresh.backend == "postgresql":
            assert isinstance(error, IntegrityError)
            assert type(orig).__name__ == "CheckViolation"
            assert "23514" in (getattr(orig, "sqlstate", None), getattr(orig, "pgcode", None))
            assert orig.diag.constraint_name == "short"
            assert orig.diag.table_name == "userharbor_sessions"
            assert orig.diag.message_detail is None
        elif fresh.backend == "mysql":
            assert orig.args[0] in (4025, 3819)
        elif hasattr(orig, "sqlite_errorname"):
            assert orig.sqlite_errorname == "SQLITE_CONSTRAINT_CHECK"
        assert str(error).count("short") == 1
        assert [name for name in dir(orig) if not hasattr(orig, name)] == []
