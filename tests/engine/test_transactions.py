"""Blocks, savepoints, and the sessions and connections that an application brings along."""

import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from userharbor.exceptions import UnknownPermissionError, UnknownRoleError, UserHarborError

from support.calls import CALLS
from support.databases import Database
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

Store = SQLAlchemyUserStore[User]


class Abort(Exception):
    pass


@pytest.fixture
def notes(db: Database) -> Iterator[Table]:
    """A table of the application's own."""
    metadata = MetaData()
    notes = Table(
        "notes",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("text", String(50)),
        mysql_engine="InnoDB",
    )
    metadata.create_all(db.main)
    yield notes
    metadata.drop_all(db.main)


def usernames(db: Database) -> list[str]:
    return sorted(name for (name,) in db.read("SELECT username FROM userharbor_users"))


def test_a_block_takes_effect_at_its_end(store: Store, db: Database) -> None:
    """Not before, in the eyes of another connection."""
    with store.transaction():
        store.create_user(new_user())
        if not db.is_memory:
            assert usernames(db) == []
        assert store.get_user_by_username("jane") is not None
    assert usernames(db) == ["jane"]


def test_a_block_within_a_block_is_a_savepoint(store: Store, db: Database) -> None:
    """What raises inside takes only its own part back."""
    with store.transaction():
        store.create_user(new_user("one"))
        with pytest.raises(Abort), store.transaction():
            store.create_user(new_user("two"))
            with store.transaction():
                store.create_user(new_user("three"))
            raise Abort
        with store.transaction():
            store.create_user(new_user("four"))
        assert store.get_user_by_username("two") is None
    assert usernames(db) == ["four", "one"]


def refusals(store: Store) -> list[Callable[[], None]]:
    return [
        lambda: store.create_user(new_user("JANE", email="new", verification_token_hash="new")),
        lambda: store.create_user(new_user("new", verification_token_hash="jane-verification")),
        lambda: store.create_role("admin"),
        lambda: store.create_permission("users.read"),
        lambda: store.add_session(new_token("s")),
        lambda: store.set_password_reset(new_token("r", "joe")),
    ]


def test_a_caught_refusal_leaves_the_block_usable(store: Store, db: Database) -> None:
    """On PostgreSQL a failed statement ends the transaction but for a savepoint."""
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
    store.create_role("admin")
    store.create_permission("users.read")
    store.add_session(new_token("s"))
    store.set_password_reset(new_token("r"))

    with store.transaction():
        store.add_session(new_token("before"))
        for refused in refusals(store):
            with pytest.raises(IntegrityError):
                refused()
        store.grant_role_to_user("jane", "admin")
        store.grant_role_to_user("jane", "admin")
        store.add_session(new_token("after"))

    assert usernames(db) == ["jane", "joe"]
    assert store.get_session("before") is not None
    assert store.get_session("after") is not None
    assert store.get_user_roles("jane") == {"admin"}


def test_a_failure_that_the_block_swallows_rolls_it_back(store: Store, db: Database) -> None:
    """PostgreSQL would answer COMMIT with a ROLLBACK, and no error."""
    with pytest.raises(InvalidRequestError, match="rolled back"), store.transaction():
        store.create_user(new_user())
        with _without_permissions(db), pytest.raises(DBAPIError):
            store.permission_exists("users.read")
    assert usernames(db) == []


@contextmanager
def _without_permissions(db: Database) -> Iterator[None]:
    """Let statements on permissions fail in the database."""

    def misspell(
        connection: object, cursor: object, statement: str, parameters: Any, *_: object
    ) -> tuple[str, Any]:
        return statement.replace("userharbor_permissions", "no_such_table"), parameters

    event.listen(db.main, "before_cursor_execute", misspell, retval=True)
    try:
        yield
    finally:
        event.remove(db.main, "before_cursor_execute", misspell)


@pytest.mark.parametrize("where", ["create_engine", "execution_options"])
def test_an_autocommit_engine_is_as_atomic_as_another(db: Database, where: str) -> None:
    """Blocks and calls of several statements are transactions all the same."""
    if where == "create_engine":
        engine = db.engine(isolation_level="AUTOCOMMIT")
    else:
        engine = db.engine().execution_options(isolation_level="AUTOCOMMIT")
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user("joe"))
    with pytest.raises(IntegrityError):
        store.create_user(new_user("new", verification_token_hash="joe-verification"))
    with pytest.raises(Abort), store.transaction():
        store.create_user(new_user("jane"))
        with store.transaction():
            store.create_role("admin")
        raise Abort
    assert usernames(db) == ["joe"]
    assert db.count("userharbor_roles") == 0

    with store.transaction():
        store.create_user(new_user("jane"))
    assert usernames(db) == ["jane", "joe"]
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM userharbor_users"))
    assert usernames(db) == [], "the engine commits each statement of the application's still"


def test_an_outer_transaction_of_a_test_suite_leaves_nothing_behind(db: Database) -> None:
    """The pattern of SQLAlchemy's documentation: a session bound to a connection, rolled back."""
    with db.main.connect() as connection:
        outer = connection.begin()
        store = SQLAlchemyUserStore(sessionmaker(connection))
        store.create_user(new_user())
        store.create_role("admin")
        with pytest.raises(IntegrityError):
            store.create_role("admin")
        with store.transaction():
            store.add_session(new_token("s"))
        with pytest.raises(Abort), store.transaction():
            store.delete_user("jane")
            raise Abort
        assert store.get_session("s") is not None
        assert store.get_user_by_username("jane") is not None
        assert connection.in_transaction()
        outer.rollback()
    assert usernames(db) == []
    assert db.count("userharbor_roles") == 0
    assert db.count("userharbor_sessions") == 0


def test_a_connection_that_nobody_has_begun_is_committed(db: Database) -> None:
    """A session of it would commit as well; nothing stays open."""
    with db.main.connect() as connection:
        store = SQLAlchemyUserStore(sessionmaker(connection))
        store.create_user(new_user())
        assert store.get_user_by_username("jane") is not None
        with store.transaction():
            store.create_user(new_user("joe"))
        assert not connection.in_transaction()
    assert usernames(db) == ["jane", "joe"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_row_of_the_application_and_a_registration_end_together(
    store: Store, db: Database, notes: Table, end: str
) -> None:
    """`transaction(session)` joins; the session's owner commits."""
    with Session(db.main) as session:
        session.execute(notes.insert().values(id=1, text="before"))
        with store.transaction(session):
            store.create_user(new_user())
        session.execute(notes.insert().values(id=2, text="after"))
        getattr(session, end)()
    assert usernames(db) == (["jane"] if end == "commit" else [])
    assert db.count("notes") == (2 if end == "commit" else 0)


def test_a_joined_block_that_raises_takes_its_own_part_back(
    store: Store, db: Database, notes: Table
) -> None:
    """The caller's transaction goes on, by session and by connection."""
    with Session(db.main) as session:
        with pytest.raises(Abort), store.transaction(session):
            store.create_user(new_user())
            raise Abort
        session.execute(notes.insert().values(id=1, text="after"))
        session.commit()
    with db.main.begin() as connection:
        connection.execute(notes.insert().values(id=2, text="before"))
        with pytest.raises(Abort), store.transaction(connection):
            store.create_user(new_user())
            raise Abort
    assert usernames(db) == []
    assert db.count("notes") == 2


def test_a_block_after_a_joined_one_is_the_stores_own_again(store: Store, db: Database) -> None:
    """Leaving a joined block gives its connection up."""
    with Session(db.main) as session:
        with store.transaction(session):
            store.create_user(new_user())
        session.rollback()
    store.create_user(new_user("joe"))
    assert usernames(db) == ["joe"]


def test_a_connection_in_autocommit_is_refused_to_join(store: Store, db: Database) -> None:
    """There is no transaction to take part in."""
    with db.engine().connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(InvalidRequestError, match="AUTOCOMMIT"), store.transaction(connection):
            raise AssertionError("the block began")


def test_the_applications_session_is_left_alone(db: Database, notes: Table) -> None:
    """With a `scoped_session`, its transaction goes on under the store's calls and blocks."""
    registry = scoped_session(sessionmaker(db.main))
    store = SQLAlchemyUserStore(registry)
    begun: list[Session] = []
    event.listen(registry, "after_begin", lambda session, *_: begun.append(session))
    store.create_user(new_user())
    with store.transaction():
        store.create_user(new_user("joe"))
    assert store.get_user_by_username("jane") is not None
    assert begun == []
    assert not registry().in_transaction()

    if db.backend != "sqlite":  # there, a second writer would wait for the first
        registry.execute(notes.insert().values(id=1, text="mine"))
        store.create_user(new_user("jim"))
        with pytest.raises(IntegrityError):
            store.create_user(new_user("jim"))
        assert registry().in_transaction()
        registry.rollback()
        assert db.count("notes") == 0
    registry.remove()


def test_one_connection_is_enough(db: Database) -> None:
    """Never two at once: a pool of one, which nobody waits for."""
    store = SQLAlchemyUserStore(
        sessionmaker(db.engine(pool_size=1, max_overflow=0, pool_timeout=0.2))
    )
    store.create_role("admin")
    store.create_user(new_user())
    with store.transaction():
        store.set_password_reset(new_token("r"))
        assert store.get_password_reset("r") is not None
        store.grant_role_to_user("jane", "admin")
        with store.transaction(), pytest.raises(IntegrityError):
            store.create_user(new_user())
        store.remove_all_sessions("jane")
    with pytest.raises(IntegrityError):
        store.create_user(new_user())
    store.delete_role("admin")
    store.delete_user("jane")


def test_a_thread_that_inherits_an_open_block_is_refused(store: Store, db: Database) -> None:
    """Its connection can't serve two threads; a thread without the context has its own."""
    outcomes: list[object] = []
    contexts = [] if db.is_memory else [contextvars.Context()]

    def call() -> None:
        try:
            outcomes.append(store.role_exists("admin"))
        except InvalidRequestError as error:
            outcomes.append(str(error))

    with store.transaction():
        store.create_role("admin")
        for context in (contextvars.copy_context(), *contexts):
            thread = threading.Thread(target=context.run, args=(call,))
            thread.start()
            thread.join()
    refusal, *seen = outcomes
    assert "another thread" in str(refusal)
    assert seen == [False for _ in contexts], "it has seen what is not committed"


def test_a_block_may_be_left_in_another_context(store: Store, db: Database) -> None:
    """As async frameworks do: it commits, does not raise, and is not left open behind."""
    entered = contextvars.copy_context()
    block = store.transaction()
    entered.run(block.__enter__)
    entered.run(store.create_user, new_user())
    contextvars.copy_context().run(block.__exit__, None, None, None)

    assert usernames(db) == ["jane"]
    entered.run(store.create_user, new_user("joe"))
    assert usernames(db) == ["jane", "joe"]


def test_blocks_of_two_stores_do_not_mix(db: Database, store: Store) -> None:
    """A block is that of one store."""
    other = SQLAlchemyUserStore(sessionmaker(db.main))
    with store.transaction():
        store.create_user(new_user())
        if not db.is_memory:
            assert other.get_user_by_username("jane") is None
        with pytest.raises(Abort), store.transaction():
            store.create_user(new_user("joe"))
            raise Abort
    assert other.get_user_by_username("jane") is not None


def test_writes_and_locks_go_where_updates_go(db: Database) -> None:
    """A session may route by statement: reads to the replica, all else to the primary."""
    primary, replica = db.engine(), db.engine()
    seen: dict[str, list[str]] = {"primary": [], "replica": []}
    for name, engine in (("primary", primary), ("replica", replica)):

        def note(*args: object, name: str = name) -> None:
            seen[name].append(str(args[2]).split()[0])

        event.listen(engine, "before_cursor_execute", note)

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Engine:
            return primary if clause is not None and clause.is_dml else replica

    store = SQLAlchemyUserStore(sessionmaker(class_=Routing))
    store.create_user(new_user())
    store.set_user_verified("jane")
    store.add_session(new_token("s"))
    store.set_password_reset(new_token("r"))
    assert seen["replica"] == []
    with store.transaction():
        assert store.get_password_reset("r") is not None
        assert store.get_user_by_username("jane") is not None
    assert seen["replica"] == []

    written = len(seen["primary"])
    assert store.get_session("s") is not None
    assert store.get_user_by_email("jane@example.org") is not None
    assert seen["replica"] == ["SELECT", "SELECT"]
    assert len(seen["primary"]) == written


def test_a_session_may_bind_by_table(db: Database) -> None:
    """`sessionmaker(binds=...)` and no bind of its own."""
    engine = db.engine()
    tables = SQLAlchemyUserStore(sessionmaker()).metadata.tables.values()
    store = SQLAlchemyUserStore(sessionmaker(binds=dict.fromkeys(tables, engine)))
    store.create_user(new_user())
    with store.transaction():
        store.add_session(new_token("s"))
    assert store.get_session("s") == new_token("s", expires_at=EXPIRES_AT)


def test_each_call_asks_for_the_bind_anew(db: Database) -> None:
    """A `sessionmaker` configured again, and sessions that choose a bind when they are made."""
    first, second = db.engine(), db.engine()
    used: list[str] = []
    for name, engine in (("first", first), ("second", second)):

        def note(*_: object, name: str = name) -> None:
            used.append(name)

        event.listen(engine, "before_cursor_execute", note)

    factory = sessionmaker(first)
    store = SQLAlchemyUserStore(factory)
    store.role_exists("admin")
    factory.configure(bind=second)
    store.role_exists("admin")
    assert used == ["first", "second"]

    class Choosing(Session):
        def __init__(self, **options: Any) -> None:
            options["bind"] = second
            super().__init__(**options)

    SQLAlchemyUserStore(sessionmaker(first, class_=Choosing)).role_exists("admin")
    assert used == ["first", "second", "second"]


def test_settings_of_a_connection_are_given_back(db: Database) -> None:
    """The application finds its pool's connections as it left them."""
    engine = db.engine(pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        before = connection.get_isolation_level()
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    with store.transaction():
        store.set_password_reset(new_token("r"))
        if db.backend == "mysql":
            store.get_session("s")
    with engine.connect() as connection:
        assert connection.get_isolation_level() == before
        connection.execute(text("DELETE FROM userharbor_users"))
        connection.rollback()
    assert usernames(db) == ["jane"]


def test_a_joined_session_is_asked_for_its_connection_as_for_a_write(db: Database) -> None:
    """One that routes, or binds by table only, joins with the connection that writes go on."""
    primary, replica = db.engine(), db.engine()

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Engine:
            return primary if clause is not None and clause.is_dml else replica

    event.listen(replica, "before_cursor_execute", _refuse)
    factory = sessionmaker(class_=Routing)
    store = SQLAlchemyUserStore(factory)
    with factory() as session:
        with store.transaction(session):
            store.create_user(new_user())
        session.commit()

    tables = store.metadata.tables.values()
    by_table = sessionmaker(binds=dict.fromkeys(tables, primary))
    with by_table() as other_session:
        with store.transaction(other_session):
            store.create_user(new_user("joe"))
        other_session.commit()
    assert usernames(db) == ["jane", "joe"]


def test_a_refusal_is_explained_by_the_primary(db: Database) -> None:
    """A replica that lags knows nothing yet of what stands in the way."""
    primary, replica = db.engine(), db.engine()

    class Routing(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Engine:
            return primary if clause is not None and clause.is_dml else replica

    store = SQLAlchemyUserStore(sessionmaker(class_=Routing))
    store.create_user(new_user())
    store.create_role("admin")
    store.create_permission("users.read")
    store.grant_role_to_user("jane", "admin")
    event.listen(replica, "before_cursor_execute", _refuse)

    with pytest.raises(IntegrityError, match="Username already exists"):
        store.create_user(new_user("JANE"))
    with pytest.raises(IntegrityError, match="Role already exists"):
        store.create_role("admin")
    with pytest.raises(KeyError):
        store.add_session(new_token("s", "ghost"))
    store.grant_role_to_user("jane", "admin")
    with pytest.raises(UnknownRoleError):
        store.grant_role_to_user("jane", "ghost")
    with pytest.raises(UnknownPermissionError):
        store.grant_permission_to_role("admin", "ghost")


def _refuse(*_: object) -> None:
    raise AssertionError("the replica was asked")


@pytest.mark.backends("sqlite", "mysql")
def test_a_grant_newer_than_the_joined_transaction_is_as_good(db: Database, store: Store) -> None:
    """The caller's snapshot is older than what stands in the way."""
    if db.is_memory:
        return
    store.create_user(new_user())
    store.create_role("admin")
    with Session(db.main) as session:
        if db.backend == "mysql":
            session.execute(text("SELECT count(*) FROM userharbor_users"))
        SQLAlchemyUserStore(sessionmaker(db.main)).grant_role_to_user("jane", "admin")
        with store.transaction(session):
            store.grant_role_to_user("jane", "admin")
            with pytest.raises(IntegrityError, match="Role already exists"):
                store.create_role("admin")
        session.rollback()


@pytest.mark.backends("sqlite")
def test_a_driver_that_begins_nothing_is_told_to(db: Database) -> None:
    """`isolation_level=None` and no BEGIN of the application's: atomic all the same."""
    engine = db.engine(connect_args={"isolation_level": None})
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with pytest.raises(Abort), store.transaction():
        store.create_role("admin")
        raise Abort
    with engine.connect() as connection:
        outer = connection.begin()
        SQLAlchemyUserStore(sessionmaker(connection)).create_role("admin")
        outer.rollback()
    assert db.count("userharbor_roles") == 0
    store.create_role("admin")
    with store.transaction():
        store.create_role("guest")
    assert db.count("userharbor_roles") == 2


def test_a_connection_in_autocommit_holds_no_block(db: Database) -> None:
    """A session that is bound to it may read and write by single statements."""
    with db.engine().connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        store = SQLAlchemyUserStore(sessionmaker(connection))
        store.remove_session("none")
        assert store.list_roles() == set()
        with pytest.raises(InvalidRequestError, match="AUTOCOMMIT"), store.transaction():
            raise AssertionError("the block began")
        with pytest.raises(InvalidRequestError, match="AUTOCOMMIT"):
            store.create_user(new_user())
    assert usernames(db) == []


def test_a_listener_may_begin_by_a_statement_of_its_own(db: Database) -> None:
    """What it sets for the connection stays set."""
    engine = db.engine()
    event.listen(engine, "engine_connect", lambda connection: connection.execute(text("SELECT 1")))
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    with store.transaction():
        store.add_session(new_token("s"))
    assert store.get_session("s") is not None


@pytest.mark.backends("postgresql")
def test_what_a_listener_sets_for_the_transaction_holds_for_reads_too(db: Database) -> None:
    """Row-level security and tenants by `SET LOCAL` need a transaction around each statement."""
    engine = db.engine()
    event.listen(
        engine, "begin", lambda connection: connection.execute(text("SET LOCAL search_path TO x"))
    )
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with pytest.raises(DBAPIError, match="does not exist"):
        store.get_user_by_username("jane")


@pytest.mark.backends("postgresql")
@pytest.mark.parametrize("level", [None, "REPEATABLE READ"])
def test_what_the_pool_s_listener_begins_is_gone_on_with(db: Database, level: str | None) -> None:
    """SQLAlchemy does not know of that transaction; a tenant may be set for it, and only for it."""
    engine = db.engine(**({"isolation_level": level} if level else {}))

    def choose(connection: Any, *_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL search_path TO tenant")

    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA tenant"))
        connection.execute(text("SET LOCAL search_path TO tenant"))
        metadata.create_all(connection)
    event.listen(engine, "checkout", choose)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    try:
        for _, call in CALLS:
            call(store, "jane")
        store.create_user(new_user())
        with store.transaction():
            store.add_session(new_token("s"))
        assert db.read("SELECT token_hash FROM tenant.userharbor_sessions") == [("s",)]
        assert usernames(db) == []
    finally:
        event.remove(engine, "checkout", choose)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA tenant CASCADE"))


@pytest.mark.backends("postgresql")
def test_a_connection_is_given_back_as_it_was(db: Database) -> None:
    """Outside of the store, its transactions are transactions, whatever a call met with."""
    engine = db.engine(pool_size=1, max_overflow=0)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_role("admin")
    with pytest.raises(UserHarborError):
        store.create_role("admin")
    event.listen(engine, "before_cursor_execute", _refuse)
    with pytest.raises(AssertionError):
        store.list_roles()
    event.remove(engine, "before_cursor_execute", _refuse)
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM userharbor_roles"))
    assert store.list_roles() == {"admin"}


@pytest.mark.backends("postgresql")
def test_a_connection_is_given_back_as_it_was_after_an_interrupt(db: Database) -> None:
    """At each line in turn, as Ctrl-C or a task queue's time limit falls: no AUTOCOMMIT stays."""
    engine = db.engine(pool_size=1, max_overflow=0)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    lines = 0
    for number in range(1, 100):
        try:
            with _interrupted_at(number):
                store.list_roles()
        except KeyboardInterrupt:
            lines = number
        else:
            break
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO userharbor_roles VALUES ('rolled back')"))
        assert store.list_roles() == set(), f"at line {number}"
    assert 10 < lines < 99


@contextmanager
def _interrupted_at(number: int) -> Iterator[None]:
    """Raise at the `number`-th line that is reached of the code that sets the driver's flag."""
    left = number

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        is_ours = frame.f_globals["__name__"].startswith("userharbor_sqlalchemy.")
        if not (is_ours and "autocommit" in frame.f_code.co_names):
            return None
        left -= event == "line"
        if event == "line" and left == 0:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.backends("postgresql")
def test_a_query_of_the_pool_s_listener_above_read_committed_is_refused(db: Database) -> None:
    """The level can't be changed after it; the error says what to do, and to do so helps."""

    def ping(connection: Any, *_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    engine = db.engine(isolation_level="REPEATABLE READ")
    event.listen(engine, "checkout", ping)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with pytest.raises(InvalidRequestError, match='isolation_level="READ COMMITTED"'):
        store.create_user(new_user())
    with pytest.raises(InvalidRequestError, match="SET LOCAL"), store.transaction():
        raise AssertionError("the block began")
    assert store.list_roles() == set()

    engine = db.engine(isolation_level="READ COMMITTED")
    event.listen(engine, "checkout", ping)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    with store.transaction():
        store.add_session(new_token("s"))
    assert usernames(db) == ["jane"]


@pytest.mark.backends("sqlite")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 takes autocommit from 3.12 on")
def test_a_driver_that_commits_no_transaction_is_given_none(db: Database) -> None:
    """With `autocommit=True`, all was lost that came after a call of several statements."""
    engine = db.engine(connect_args={"autocommit": True})
    store = SQLAlchemyUserStore(sessionmaker(engine))
    with pytest.raises(InvalidRequestError, match='isolation_level="AUTOCOMMIT"'):
        store.create_user(new_user())
    with pytest.raises(InvalidRequestError), store.transaction():
        raise AssertionError("the block began")
    joined = Session(engine)
    with joined, pytest.raises(InvalidRequestError), store.transaction(joined):
        raise AssertionError("the block began")
    store.create_role("admin")
    assert db.read("SELECT role FROM userharbor_roles") == [("admin",)]


def test_a_thread_within_the_context_may_open_a_block_of_its_own(
    store: Store, db: Database
) -> None:
    """Its calls go on its own connection, and the block outside stays what it was."""
    seen: list[object] = []

    def work() -> None:
        with store.transaction():
            seen.append(store.role_exists("admin"))

    store.create_role("admin")
    context = contextvars.copy_context()
    if db.backend == "sqlite":  # one writer at a time: the block outside is closed by then
        with store.transaction():
            context = contextvars.copy_context()
        work()
        return
    with store.transaction():
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(work))
        thread.start()
        thread.join()
        store.create_role("guest")
    assert seen == [True]
    assert store.list_roles() == {"admin", "guest"}


@pytest.mark.backends("postgresql", "mysql")
def test_a_lock_that_a_savepoint_took_along_is_taken_again(db: Database) -> None:
    """The user's row is locked once in a block, unless the inner block that did so was undone."""
    engine = db.engine()
    locks: list[str] = []

    def note(*arguments: Any) -> None:
        if "userharbor_users" in arguments[2] and " FOR " in arguments[2]:
            locks.append(arguments[2])

    event.listen(engine, "before_cursor_execute", note)
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.create_user(new_user())
    store.set_password_reset(new_token("r"))
    locks.clear()
    with store.transaction():
        with pytest.raises(Abort), store.transaction():
            assert store.get_password_reset("r") is not None
            raise Abort
        assert len(locks) == 1
        assert store.get_password_reset("r") is not None
        assert len(locks) == 2
        with store.transaction():
            store.remove_password_reset("r")
        assert len(locks) == 2
    assert db.count("userharbor_password_resets") == 0
