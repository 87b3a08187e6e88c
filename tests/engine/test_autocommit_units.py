"""Transactions on an engine that commits each statement by itself, and is spared the ROLLBACK."""

from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

OPTIONS: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "pool_size": 1, "max_overflow": 0}
if tuple(map(int, sqlalchemy.__version__.split(".")[:3])) >= (2, 0, 43):
    OPTIONS["skip_autocommit_rollback"] = True


class Abort(Exception):
    pass


@pytest.fixture
def engine(db: Database) -> Engine:
    """An engine with one connection, which is the next call's again."""
    return db.engine(**OPTIONS)


@pytest.fixture
def store(engine: Engine) -> Store:
    return SQLAlchemyUserStore(sessionmaker(engine))


def roles(db: Database) -> list[str]:
    return sorted(role for (role,) in db.read("SELECT role FROM userharbor_roles"))


how_it_ends = pytest.mark.parametrize("interrupt", [Abort, KeyboardInterrupt, GeneratorExit])


@how_it_ends
def test_a_block_that_raises_leaves_no_transaction_open(
    store: Store, engine: Engine, db: Database, interrupt: type[BaseException]
) -> None:
    """Neither for the store's next call on its connection nor for the application's."""
    with pytest.raises(interrupt), store.transaction():
        store.create_role("undone")
        raise interrupt
    assert store.list_roles() == set()
    store.create_role("by the store")
    assert roles(db) == ["by the store"]
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO userharbor_roles VALUES ('by the application')"))
    assert roles(db) == ["by the application", "by the store"]


def test_a_call_that_raises_leaves_no_transaction_open(
    store: Store, engine: Engine, db: Database
) -> None:
    """One of several statements, at the last of them."""

    def fall(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO userharbor_email_verifications"):
            raise Abort

    event.listen(engine, "before_cursor_execute", fall)
    with pytest.raises(Abort):
        store.create_user(new_user())
    event.remove(engine, "before_cursor_execute", fall)
    assert store.get_user_by_username("jane") is None
    store.create_role("admin")
    assert roles(db) == ["admin"]
    assert db.count("userharbor_users") == 0


@pytest.mark.backends("postgresql", "mysql")
def test_a_block_that_raises_holds_no_lock_any_more(store: Store, db: Database) -> None:
    """Another connection may write the row that it has written."""
    store.create_user(new_user())
    with pytest.raises(Abort), store.transaction():
        store.set_password_reset(new_token("undone"))
        raise Abort
    row = "SELECT username FROM userharbor_users FOR UPDATE NOWAIT"
    with db.engine().connect() as other:
        assert other.execute(text(row)).scalars().all() == ["jane"]


@pytest.mark.backends("postgresql")
def test_a_block_reads_anew_where_the_pool_s_listener_has_begun(db: Database) -> None:
    """By a BEGIN of its own, at the database's default level."""
    level = "-c default_transaction_isolation=serializable"
    engine = db.engine(isolation_level="AUTOCOMMIT", connect_args={"options": level})

    def begin(connection: Any, *_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")

    event.listen(engine, "checkout", begin)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with store.transaction():
        assert store.list_roles() == set()
        with db.main.begin() as other:
            other.execute(text("INSERT INTO userharbor_roles VALUES ('theirs')"))
        assert store.list_roles() == {"theirs"}, "it reads what is committed by now"
