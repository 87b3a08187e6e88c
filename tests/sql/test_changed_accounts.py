"""A user is renamed, or has another e-mail address: on each shape of user table."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    event,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import sessionmaker
from sqlalchemy.schema import CreateSchema, DropSchema
from userharbor.exceptions import InvalidEmailError, InvalidUsernameError

from support.databases import Database
from support.models import Turned
from support.racing import race, typed
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User
from userharbor_sqlalchemy.errors import UsernameReferredToError

Store = SQLAlchemyUserStore[User]


@pytest.fixture
def jane(model_store: Store) -> Store:
    """A store with Jane in it, and all that can be hers; and with Joe."""
    store = model_store
    for name in ("Jane", "Joe"):
        store.create_user(new_user(name, verification_token_hash=f"{name}-verification"))
        store.set_password_reset(new_token(f"{name}-reset", name))
        store.add_session(new_token(f"{name}-phone", name))
    store.add_session(new_token("Jane-laptop", "Jane", EXPIRES_AT + timedelta(days=1)))
    store.create_role("admin")
    store.create_role("editor")
    store.grant_role_to_user("Jane", "admin")
    store.grant_role_to_user("Jane", "editor")
    store.grant_role_to_user("Joe", "editor")
    return store


def of(store: Store, name: str) -> dict[str, Any]:
    """What lookups find of the user, under whichever name."""
    found = store.export_user(name)
    return {key: value for key, value in found.items() if key != "username"}


@pytest.mark.parametrize("within", ["alone", "in a block"])
def test_all_that_is_a_user_s_comes_along_with_a_new_name(jane: Store, within: str) -> None:
    """Tokens, sessions, roles and password; the old name is free, and others keep their own."""
    before, joe = of(jane, "jane"), of(jane, "joe")
    if within == "alone":
        jane.rename_user("JANE", "Janet")
    else:
        with jane.transaction():
            jane.rename_user("JANE", "Janet")
            assert jane.get_user_by_username("janet") is not None
    assert of(jane, "janet") == before
    assert of(jane, "joe") == joe
    assert jane.get_user_by_username("jane") is None
    user = jane.get_user_by_username("JANET")
    assert user is not None
    assert (user.username, user.email) == ("Janet", "Jane@example.org")
    assert jane.get_password_hash("janet") == "Jane-password-hash"
    assert jane.get_session("Jane-phone") == new_token("Jane-phone", "Janet")
    assert jane.get_email_verification("Jane-verification") is not None
    assert jane.get_user_roles("janet") == {"admin", "editor"}
    jane.create_user(new_user("jane", email="another@example.org"))
    assert jane.get_user_roles("jane") == set()


def test_a_name_may_change_its_casing_only(jane: Store) -> None:
    """The key is the same; to be spelled as before is no change."""
    before = of(jane, "jane")
    jane.rename_user("jane", "JANE")
    jane.rename_user("jane", "JANE")
    user = jane.get_user_by_username("jane")
    assert user is not None
    assert user.username == "JANE"
    assert of(jane, "jane") == before


def test_a_rename_is_taken_back_with_its_block(jane: Store) -> None:
    """All of it."""
    before = jane.export_user("jane")
    with pytest.raises(ZeroDivisionError), jane.transaction():
        jane.rename_user("jane", "Janet")
        raise ZeroDivisionError
    assert jane.export_user("jane") == before


def test_a_name_that_can_not_be_had_changes_nothing(jane: Store) -> None:
    """It is taken, in another casing too, or no column can hold it; the user is unknown."""
    before = jane.export_user("jane")
    for taken in ("Joe", "JOE"):
        with pytest.raises(InvalidUsernameError, match="already exists") as raised:
            jane.rename_user("jane", taken)
        assert isinstance(raised.value, IntegrityError)
        with jane.transaction():
            with pytest.raises(InvalidUsernameError, match="already exists"):
                jane.rename_user("jane", taken)
            assert jane.get_user_roles("jane") == {"admin", "editor"}
    for strange in ("nul\0", "\ud800", "x" * 256, "space "):
        with pytest.raises(InvalidUsernameError, match="can't be stored"):
            jane.rename_user("jane", strange)
        with pytest.raises(KeyError):
            jane.rename_user(strange, "nobody")
    with pytest.raises(KeyError):
        jane.rename_user("nobody", "somebody")
    assert jane.export_user("jane") == before


def test_an_address_is_replaced_and_what_was_sent_to_the_old_one_is_void(jane: Store) -> None:
    """As the core registers it, in lower case; sessions stay, and so do others' tokens."""
    jane.set_user_verified("jane")
    jane.set_email("JANE", "Jane.Doe@Example.ORG")
    user = jane.get_user_by_username("jane")
    assert user is not None
    assert (user.email, user.verified) == ("jane.doe@example.org", False)
    assert jane.get_user_by_email("Jane@example.org") is None
    assert jane.get_user_by_email("JANE.DOE@example.org") == user
    assert jane.get_email_verification("Jane-verification") is None
    assert jane.get_password_reset("Jane-reset") is None
    assert jane.get_session("Jane-phone") is not None
    assert jane.get_password_reset("Joe-reset") is not None
    jane.set_email("jane", "jane@example.org", verified=True)
    user = jane.get_user_by_username("jane")
    assert user is not None
    assert (user.email, user.verified) == ("jane@example.org", True)


def test_an_address_that_can_not_be_had_changes_nothing(jane: Store) -> None:
    """It is taken, or no column can hold it; the user is unknown. A block goes on."""
    jane.set_email("joe", "joe@example.org")
    before = jane.export_user("jane")
    with pytest.raises(InvalidEmailError, match="already exists") as raised:
        jane.set_email("jane", "JOE@example.org")
    assert isinstance(raised.value, IntegrityError)
    with jane.transaction():
        with pytest.raises(InvalidEmailError, match="already exists"):
            jane.set_email("jane", "joe@example.org")
        assert jane.get_password_reset("Jane-reset") is not None
    for strange in ("nul\0", "\ud800", "x" * 321, "space "):
        with pytest.raises(InvalidEmailError, match="can't be stored"):
            jane.set_email("jane", strange)
    with pytest.raises(KeyError):
        jane.set_email("nobody", "nobody@example.org")
    assert jane.export_user("jane") == before


def test_an_export_says_what_is_there_and_no_secret(jane: Store, db: Database) -> None:
    """Plain data, in any casing of the name."""
    jane.create_permission("articles.write")
    jane.grant_permission_to_role("editor", "articles.write")
    assert jane.export_user("JANE") == {
        "username": "Jane",
        "email": "Jane@example.org",
        "verified": False,
        "has_password": True,
        "roles": ["admin", "editor"],
        "permissions": ["articles.write"],
        "sessions": [
            {"expires_at": "2030-01-01T12:00:00.123456Z"},
            {"expires_at": "2030-01-02T12:00:00.123456Z"},
        ],
        "email_verifications": [{"expires_at": "2030-01-01T12:00:00.123456Z"}],
        "password_resets": [{"expires_at": "2030-01-01T12:00:00.123456Z"}],
    }
    with pytest.raises(KeyError):
        jane.export_user("nobody")


# What of the application's own tables refers to a user.


@pytest.fixture
def referred(fresh: Database) -> Callable[..., Store]:
    """Makes a store whose users other tables refer to, by foreign keys with these options."""
    engine = fresh.engine()
    if fresh.backend == "sqlite":

        @event.listens_for(engine, "connect")
        def enforce_foreign_keys(connection: Any, _: object) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

    def make(column: str = "userharbor_users.username", **options: Any) -> Store:
        metadata = MetaData()
        store: Store = SQLAlchemyUserStore(sessionmaker(engine), metadata=metadata)
        of_users = column.startswith("userharbor_users.")
        referring = metadata.tables[column.partition(".")[0]].c[column.partition(".")[2]]
        Table(
            "invoices",
            metadata,
            Column("id", String(20), primary_key=True),
            Column("owner", referring.type, ForeignKey(referring, **options)),
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )
        metadata.create_all(engine)
        for name in ("jane", "joe"):
            store.create_user(new_user(name))
            store.add_session(new_token(f"{name}-phone", name))
        owners = ("jane", "joe") if of_users else ("jane-phone", "joe-phone")
        with engine.begin() as connection:
            for owner in owners:
                row = {"id": f"of {owner}", "owner": owner}
                connection.execute(text("INSERT INTO invoices VALUES (:id, :owner)"), row)
        return store

    return make


def owners(db: Database) -> list[tuple[Any, ...]]:
    return db.read("SELECT id, owner FROM invoices ORDER BY id")


def test_rows_of_the_application_s_that_cascade_come_along(
    fresh: Database, referred: Callable[..., Store]
) -> None:
    """As the database sees to it."""
    store = referred(onupdate="CASCADE")
    store.rename_user("jane", "janet")
    assert owners(fresh) == [("of jane", "janet"), ("of joe", "joe")]


@pytest.mark.parametrize(
    "options", [{}, {"ondelete": "CASCADE"}, {"ondelete": "SET NULL"}], ids=str
)
def test_rows_of_the_application_s_that_would_not_come_along_are_named(
    fresh: Database, referred: Callable[..., Store], options: dict[str, Any]
) -> None:
    """And nothing is changed; a user whom no row refers to is renamed."""
    store = referred(**options)
    before = store.export_user("jane")
    with pytest.raises(UsernameReferredToError, match=r"referred to by invoices\.owner:"):
        store.rename_user("jane", "janet")
    assert store.export_user("jane") == before
    assert owners(fresh) == [("of jane", "jane"), ("of joe", "joe")]
    store.create_user(new_user("judy"))
    store.rename_user("judy", "judith")
    assert store.get_user_by_username("judith") is not None


def test_rows_that_hang_on_a_user_s_session_are_named_too(
    fresh: Database, referred: Callable[..., Store]
) -> None:
    """They would go with it, since it is stored anew."""
    store = referred("userharbor_sessions.token_hash", ondelete="CASCADE", onupdate="CASCADE")
    with pytest.raises(UsernameReferredToError, match=r"invoices\.owner"):
        store.rename_user("jane", "janet")
    assert owners(fresh) == [("of jane-phone", "jane-phone"), ("of joe-phone", "joe-phone")]


def test_columns_of_the_application_s_on_our_tables_keep_their_values(fresh: Database) -> None:
    """Added to the tables in the database; our MetaData does not know of them."""
    engine = fresh.engine()
    store: Store = SQLAlchemyUserStore(sessionmaker(engine))
    store.metadata.create_all(engine)
    with engine.begin() as connection:
        for change in (
            "userharbor_sessions ADD COLUMN device VARCHAR(50) DEFAULT 'unknown' NOT NULL",
            "userharbor_user_roles ADD COLUMN granted_at TIMESTAMP NULL",
        ):
            connection.execute(text(f"ALTER TABLE {change}"))
    store.create_user(new_user("jane"))
    store.add_session(new_token("phone", "jane"))
    store.create_role("admin")
    store.grant_role_to_user("jane", "admin")
    with engine.begin() as connection:
        connection.execute(text("UPDATE userharbor_sessions SET device = 'a phone'"))
        granted = "UPDATE userharbor_user_roles SET granted_at = '2020-02-29 12:00:00'"
        connection.execute(text(granted))
    before = fresh.read("SELECT granted_at FROM userharbor_user_roles")
    store.rename_user("jane", "janet")
    assert fresh.read("SELECT username, device FROM userharbor_sessions") == [("janet", "a phone")]
    assert fresh.read("SELECT granted_at FROM userharbor_user_roles") == before


def test_a_rename_looks_where_the_tables_are(fresh: Database) -> None:
    """As `schema_translate_map` says."""
    schema = {"sqlite": "main", "postgresql": "auth", "mysql": fresh.url.database}[fresh.backend]
    if fresh.backend == "postgresql":
        with fresh.main.begin() as connection:
            connection.execute(text("CREATE SCHEMA auth"))
    engine = fresh.engine(execution_options={"schema_translate_map": {"logical": schema}})
    own = MetaData(schema="logical")
    store: Store = SQLAlchemyUserStore(sessionmaker(engine), metadata=own)
    username = own.tables["logical.userharbor_users"].c.username
    invoices = Table("invoices", own, Column("owner", username.type, ForeignKey(username)))
    own.create_all(engine)
    for name in ("jane", "joe"):
        store.create_user(new_user(name))
    with engine.begin() as connection:
        connection.execute(invoices.insert(), {"owner": "jane"})
    with pytest.raises(UsernameReferredToError, match=r"invoices\.owner"):
        store.rename_user("jane", "janet")
    store.rename_user("joe", "joseph")
    assert store.get_user_by_username("joseph") is not None


@pytest.fixture
def members(fresh: Database) -> Callable[..., tuple[Store, Table, Engine]]:
    """Makes a store on a user table of the application's, which holds Jane and Joe."""
    engine = fresh.engine()

    def make(*more: Any, type_: Any = None, **options: Any) -> tuple[Store, Table, Engine]:
        # Compared byte for byte on each database, and no longer than an index of MySQL's takes.
        text_type = type_ or String(200)
        own = Table(
            "members",
            MetaData(schema=options.pop("schema", None)),
            Column("id", Integer, primary_key=True),
            Column("username", text_type, unique=True, nullable=False),
            Column("username_key", String(200), unique=True, nullable=False),
            Column("email", String(200), unique=True, nullable=False),
            Column("password_hash", String(200), nullable=False),
            Column("verified", Boolean, nullable=False),
            *more,
            mysql_engine="InnoDB",
            mariadb_engine="InnoDB",
        )
        store: Store = SQLAlchemyUserStore(sessionmaker(engine), own)
        own.metadata.create_all(engine)
        for name in ("Jane", "Joe"):
            store.create_user(new_user(name))
            store.add_session(new_token(f"{name}-phone", name))
        return store, own, engine

    return make


def refuses(store: Store, column: str) -> None:
    """Renaming Jane is refused for rows of `column`, and renaming Joe is not."""
    before = store.export_user("jane")
    with pytest.raises(UsernameReferredToError) as raised:
        store.rename_user("jane", "Janet")
    assert list(raised.value.columns) == [column]
    assert store.export_user("jane") == before
    store.rename_user("joe", "Joseph")
    assert [each.token_hash for each in store.list_sessions("joseph")] == ["Joe-phone"]


@pytest.mark.parametrize("column", ["id", "username"])
def test_a_user_table_may_refer_to_itself(
    members: Callable[..., tuple[Store, Table, Engine]], column: str
) -> None:
    """Its users are there, and by a key that does not change, each may have another name."""
    kind = Integer if column == "id" else String(200)
    store, own, engine = members(Column("referrer", kind, ForeignKey(f"members.{column}")))
    assert store.count_users() == 2
    jane = select(own.c[column]).where(own.c.username == "Jane")
    with engine.begin() as connection:
        of_jane = connection.scalar(jane)
        connection.execute(own.update().where(own.c.username == "Joe").values(referrer=of_jane))
    if column == "username":
        refuses(store, "members.referrer")
        return
    store.rename_user("jane", "Janet")
    assert [each.token_hash for each in store.list_sessions("janet")] == ["Jane-phone"]
    assert {user.username for user in store.iter_users()} == {"Janet", "Joe"}


def test_a_type_of_the_application_s_is_looked_through(
    members: Callable[..., tuple[Store, Table, Engine]],
) -> None:
    """What refers to the user has the name as that type stores it."""
    store, own, engine = members(type_=Turned())
    posts = Table("posts", own.metadata, Column("author", Turned(), ForeignKey(own.c.username)))
    posts.create(engine)
    with engine.begin() as connection:
        connection.execute(posts.insert(), {"author": "Jane"})
    refuses(store, "posts.author")


def test_what_refers_to_a_key_is_named(
    members: Callable[..., tuple[Store, Table, Engine]],
) -> None:
    """The key changes with the name."""
    store, own, engine = members()
    key = own.c.username_key
    posts = Table("posts", own.metadata, Column("author", key.type, ForeignKey(key)))
    posts.create(engine)
    with engine.begin() as connection:
        connection.execute(posts.insert(), {"author": "jane"})
    refuses(store, "posts.author")


def test_the_default_schema_may_be_named(
    fresh: Database, members: Callable[..., tuple[Store, Table, Engine]]
) -> None:
    """By the application's MetaData."""
    schema = {"sqlite": "main", "postgresql": "public", "mysql": fresh.url.database}[fresh.backend]
    store, _, _ = members(schema=schema)
    store.rename_user("jane", "Janet")
    assert [each.token_hash for each in store.list_sessions("janet")] == ["Jane-phone"]


@pytest.mark.backends("postgresql", "mysql")
@pytest.mark.parametrize("column", ["userharbor_sessions.token_hash", "members.username"])
def test_tables_in_another_schema_are_named(
    fresh: Database, members: Callable[..., tuple[Store, Table, Engine]], column: str
) -> None:
    """Which no MetaData of the store's knows of."""
    store, own, engine = members()
    elsewhere = f"{fresh.url.database}_elsewhere"
    referred = own.metadata.tables[column.partition(".")[0]].c[column.partition(".")[2]]
    copied = referred._copy()
    here = "public" if fresh.backend == "postgresql" else fresh.url.database
    other = MetaData(schema=elsewhere)
    Table(referred.table.name, other, copied, schema=here)
    notes = Table(
        "notes",
        other,
        Column("of", referred.type, ForeignKey(copied, ondelete="CASCADE")),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
    with engine.begin() as connection:
        connection.execute(CreateSchema(elsewhere))
    notes.create(engine)
    try:
        value = "Jane" if column == "members.username" else "Jane-phone"
        with engine.begin() as connection:
            connection.execute(notes.insert(), {"of": value})
        refuses(store, f"{elsewhere}.notes.of")
        assert fresh.count(f"{elsewhere}.notes") == 1
    finally:
        notes.drop(engine)
        with engine.begin() as connection:
            connection.execute(DropSchema(elsewhere))


@pytest.mark.backends("postgresql")
def test_a_search_path_hides_nothing(fresh: Database) -> None:
    """PostgreSQL names no schema then."""
    with fresh.main.begin() as connection:
        connection.execute(CreateSchema("auth"))
    engine = fresh.engine(connect_args={"options": "-c search_path=public,auth"})
    own = MetaData(schema="auth")
    store: Store = SQLAlchemyUserStore(sessionmaker(engine), metadata=own)
    hashes = own.tables["auth.userharbor_sessions"].c.token_hash
    reference = ForeignKey(hashes, ondelete="CASCADE")
    notes = Table("notes", own, Column("of", hashes.type, reference), schema="public")
    own.create_all(engine)
    for name in ("Jane", "Joe"):
        store.create_user(new_user(name))
        store.add_session(new_token(f"{name}-phone", name))
    with engine.begin() as connection:
        connection.execute(notes.insert(), {"of": "Jane-phone"})
    refuses(store, "public.notes.of")


@pytest.mark.backends("sqlite")
def test_a_name_may_be_spelled_in_another_casing(
    fresh: Database, members: Callable[..., tuple[Store, Table, Engine]]
) -> None:
    """In a foreign key of SQLite's."""
    store, _, engine = members()
    with engine.begin() as connection:
        references = "FOREIGN KEY (u) REFERENCES Members(Username)"
        connection.execute(text(f"CREATE TABLE posts (u VARCHAR(200), {references})"))
        connection.execute(text("INSERT INTO posts VALUES ('Jane')"))
    refuses(store, "posts.u")


@pytest.mark.backends("postgresql")
def test_what_refers_to_a_column_of_the_application_s_is_named(
    members: Callable[..., tuple[Store, Table, Engine]],
) -> None:
    """Which it has added to a table of the store's. Each keeps what it was, of any kind."""
    store, _, engine = members()
    with engine.begin() as connection:
        for change in (
            "ADD COLUMN sid INTEGER GENERATED BY DEFAULT AS IDENTITY UNIQUE",
            "ADD COLUMN row INTEGER GENERATED ALWAYS AS IDENTITY",
            "ADD COLUMN short TEXT GENERATED ALWAYS AS (left(token_hash, 2)) STORED",
            "ADD COLUMN data JSONB",
            "ADD COLUMN tags TEXT[] DEFAULT '{a,b}'",
        ):
            connection.execute(text(f"ALTER TABLE userharbor_sessions {change}"))
        sids = "SELECT sid FROM userharbor_sessions WHERE username = 'Jane'"
        connection.execute(text(f"CREATE TABLE notes AS {sids}"))
        reference = "FOREIGN KEY (sid) REFERENCES userharbor_sessions (sid) ON DELETE CASCADE"
        connection.execute(text(f"ALTER TABLE notes ADD {reference}"))
    columns = text("SELECT sid, short, data IS NULL, tags FROM userharbor_sessions ORDER BY sid")
    with engine.connect() as connection:
        before = connection.execute(columns).all()
    refuses(store, "notes.sid")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE notes"))
    store.rename_user("jane", "Janet")
    with engine.connect() as connection:
        assert connection.execute(columns).all() == before


@pytest.mark.backends("sqlite")
def test_where_no_foreign_key_is_enforced_one_that_cascades_is_named(
    fresh: Database, referred: Callable[..., Store]
) -> None:
    """As SQLite comes, it would leave the row to whoever takes the name next."""
    referred(onupdate="CASCADE")
    store: Store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    with pytest.raises(UsernameReferredToError, match=r"invoices\.owner"):
        store.rename_user("jane", "janet")
    assert owners(fresh) == [("of jane", "jane"), ("of joe", "joe")]


def test_a_stranger_who_takes_the_old_name_gets_nothing(jane: Store) -> None:
    """Also where no foreign key is enforced."""
    jane.rename_user("jane", "janet")
    jane.create_user(new_user("jane", email="new@example.org"))
    assert jane.list_sessions("jane") == []
    assert jane.get_user_roles("jane") == set()
    assert len(jane.list_sessions("janet")) == 2


def test_names_that_a_collation_may_fold_are_told_apart(store: Store) -> None:
    """A rename moves the rows of the one who has exactly this name."""
    for name in ("jose", "josé"):
        store.create_user(new_user(name))
        store.add_session(new_token(f"{name}-phone", name))
    store.rename_user("jose", "pepe")
    assert [each.token_hash for each in store.list_sessions("pepe")] == ["jose-phone"]
    assert [each.token_hash for each in store.list_sessions("josé")] == ["josé-phone"]


@pytest.mark.races
def test_of_those_who_want_one_name_or_address_one_gets_it(db: Database) -> None:
    """By renaming and by registering at once; nobody loses what is theirs."""
    store = SQLAlchemyUserStore(sessionmaker(db.engine(pool_size=16)))
    for round_ in range(8):
        users = [f"user{round_}{number}" for number in range(6)]
        for user in users:
            store.create_user(new_user(user))
            store.add_session(new_token(f"{user}-phone", user))
        name, address = f"Wanted{round_}", f"wanted{round_}@example.org"
        new = new_user(name.upper(), email=f"{round_}@x.org", verification_token_hash=f"{round_}")
        calls: list[Callable[[], object]] = [
            *(partial(store.rename_user, user, name) for user in users),
            partial(store.create_user, new),
        ]
        assert typed(race(calls), InvalidUsernameError) == 1
        assert db.count("userharbor_sessions") == 6 * (round_ + 1)
        left = [user for user in users if store.get_user_by_username(user) is not None]
        assert (
            typed(
                race([partial(store.set_email, user, address) for user in left]), InvalidEmailError
            )
            == 1
        )


@pytest.mark.races
def test_a_session_that_is_begun_during_a_rename_is_the_user_s_or_refused(db: Database) -> None:
    """Under either name, and never left to whoever takes the old one."""
    store = SQLAlchemyUserStore(sessionmaker(db.engine(pool_size=16)))
    for round_ in range(8):
        store.create_user(new_user(f"a{round_}"))
        calls: list[Callable[[], object]] = [
            partial(store.rename_user, f"a{round_}", f"b{round_}"),
            *(
                partial(store.add_session, new_token(f"{round_}-{name}", f"{name}{round_}"))
                for name in ("a", "b", "A", "B")
            ),
            partial(store.set_password_reset, new_token(f"{round_}", f"a{round_}")),
        ]
        outcomes = race(calls)
        typed(outcomes, KeyError)
        assert outcomes[0] is None
        stored = sum(each is None for each in outcomes[1:5])
        assert len(store.list_sessions(f"b{round_}")) == stored
        assert store.get_user_by_username(f"a{round_}") is None
