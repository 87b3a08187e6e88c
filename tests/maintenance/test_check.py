"""What `store.check()` finds: each defect that is planted, and nothing in a clean database."""

from datetime import datetime

import pytest
import sqlalchemy
from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from support import old_databases
from support.databases import Database
from support.model_stores import add_users
from support.models import SHAPES, user_table
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import Finding, SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


def clean(fresh: Database) -> Store:
    """A store on an engine that the documentation recommends, and on new tables with a user."""
    options = {"isolation_level": "READ COMMITTED"} if fresh.backend == "mysql" else {}
    store = SQLAlchemyUserStore(sessionmaker(fresh.engine(**options)))
    store.metadata.create_all(store.bind)
    store.create_user(new_user())
    store.set_password_reset(new_token("reset"))
    store.add_session(new_token("session"))
    return store


def findings_of(store: Store) -> list[Finding]:
    """All but that of SQLite as it comes, which a test of its own has."""
    return [finding for finding in store.check() if finding.code != "foreign-keys-off"]


def lines(store: Store) -> list[str]:
    """The findings as the command prints them."""
    return [str(finding) for finding in findings_of(store)]


def change(database: Database, *statements: str) -> None:
    with database.main.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_clean_database_is_passed_over_in_silence(fresh: Database) -> None:
    """Tables as new as they are, users who have what they need."""
    assert lines(clean(fresh)) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_of_the_applications_is_passed_over_in_silence(fresh: Database, shape: str) -> None:
    """On MySQL but for the collation of its table, which is the server's default."""
    options = {"isolation_level": "READ COMMITTED"} if fresh.backend == "mysql" else {}
    store = SQLAlchemyUserStore(
        sessionmaker(fresh.engine(**options)),
        user_model=SHAPES[shape](),
        table_prefix=f"{shape}_",
    )
    store.metadata.create_all(store.bind)
    store.create_user(new_user("Straße", email="straße@example.org"))
    store.add_session(new_token("session", "Straße"))
    findings = lines(store)
    if fresh.backend == "mysql":
        findings = [finding for finding in findings if "collation" not in finding]
    assert findings == []


def test_nothing_is_changed_by_a_look(fresh: Database) -> None:
    """Also where all tables are missing."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    findings = [finding for finding in lines(store) if "missing" in finding]
    assert len(findings) == len(store.metadata.tables)
    assert all("`create-tables`" in finding for finding in findings)
    with pytest.raises(Exception, match="userharbor_users"):
        fresh.count("userharbor_users")


@pytest.mark.parametrize(
    ("defect", "finding"),
    [
        (
            "DROP TABLE userharbor_role_permissions",
            "userharbor_role_permissions: the table is missing",
        ),
        (
            "ALTER TABLE userharbor_sessions RENAME COLUMN expires_at TO expiry",
            "userharbor_sessions.expires_at: the column is missing",
        ),
        (
            "DROP INDEX uq_userharbor_password_resets_username{on userharbor_password_resets}",
            "userharbor_password_resets.username: no unique index",
        ),
        (
            "DROP INDEX ix_userharbor_users_email{on userharbor_users}",
            "userharbor_users.email: no unique index",
        ),
    ],
)
def test_a_defect_of_the_schema_is_found(fresh: Database, defect: str, finding: str) -> None:
    """One line for one defect."""
    store = clean(fresh)
    before, _, table = defect.partition("{")
    change(fresh, before + (f" {table[:-1]}" if table and fresh.backend == "mysql" else ""))
    (found,) = lines(store)
    assert found.startswith(finding)


def test_a_missing_plain_index_and_foreign_key_are_found(fresh: Database) -> None:
    """A table that was made by hand, say."""
    store = clean(fresh)
    change(
        fresh,
        "DROP TABLE userharbor_user_roles",
        "CREATE TABLE userharbor_user_roles"
        " (username VARCHAR(255) NOT NULL, role VARCHAR(100) NOT NULL,"
        " PRIMARY KEY (username, role))",
    )
    findings = lines(store)
    assert [finding.partition(":")[0] for finding in findings] == [
        "userharbor_user_roles.role",
        "userharbor_user_roles",
        "userharbor_user_roles.role",
        "userharbor_user_roles.username",
    ]
    assert "holds 100 characters, not 255" in findings[0]
    assert "index ix_userharbor_user_roles_role is missing" in findings[1]
    assert "foreign key" in findings[2]


def test_a_column_that_folds_case_is_found(fresh: Database) -> None:
    """Its collation is what each database calls it."""
    define = {
        "sqlite": "CREATE TABLE userharbor_roles"
        " (role VARCHAR(255) COLLATE NOCASE NOT NULL PRIMARY KEY)",
        "postgresql": "CREATE TABLE userharbor_roles (role citext NOT NULL PRIMARY KEY)",
        "mysql": "CREATE TABLE userharbor_roles"
        " (role VARCHAR(255) COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY)",
    }
    if fresh.backend == "postgresql":
        change(fresh, "CREATE EXTENSION citext")
    change(fresh, define[fresh.backend])
    found = [finding for finding in lines(clean_beside(fresh)) if "collation" in finding]
    assert found == [
        "userharbor_roles.role: its collation equates texts that differ in case or accent:"
        " a migration gives it a binary one"
    ]


def clean_beside(fresh: Database) -> Store:
    """A store whose tables are all there, some of them made before, without foreign keys."""
    without_keys = MetaData()
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), metadata=without_keys)
    for table in without_keys.tables.values():
        table.constraints -= table.foreign_key_constraints
    without_keys.create_all(fresh.main)
    return store


def own_table(metadata: MetaData) -> Table:
    tenants = Table("tenants", metadata, Column("id", Integer, primary_key=True))
    return user_table(
        "app_users",
        metadata,
        Column("tenant_id", ForeignKey(tenants.c.id, ondelete="CASCADE")),
        Index("ix_app_users_low", text("lower(email)")),
    )


@pytest.mark.backends("sqlite", "postgresql")
def test_what_the_application_does_with_its_own_table_is_its_business(fresh: Database) -> None:
    """Its foreign keys, indexes on expressions, an e-mail that is NULL, however it is written."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), own_table(MetaData()))
    change(
        fresh,
        "CREATE TABLE app_users (id integer PRIMARY KEY, tenant_id integer,"
        ' "username" varchar(255) NOT NULL UNIQUE, "email" varchar(320) UNIQUE,'
        " password_hash varchar(512), verified boolean)",
        "CREATE INDEX ix_app_users_low ON app_users (lower(email))",
        "INSERT INTO app_users (id, username, email) VALUES (1, 'jane', NULL)",
    )
    store.metadata.create_all(fresh.main)
    if fresh.backend == "sqlite":
        change(fresh, "CREATE INDEX search ON app_users (email COLLATE NOCASE)")
    assert lines(store) == []


@pytest.mark.backends("sqlite", "postgresql")
def test_a_unique_index_on_some_rows_is_none(fresh: Database) -> None:
    """Nor is one on an expression beside the column."""
    store = clean(fresh)
    change(
        fresh,
        "DROP INDEX ix_userharbor_users_email",
        "CREATE UNIQUE INDEX verified_only ON userharbor_users (email) WHERE verified",
        "CREATE UNIQUE INDEX pair ON userharbor_users (email, lower(username))",
    )
    (found,) = lines(store)
    assert found.startswith("userharbor_users.email: no unique index")


def test_rows_of_other_classes_are_none_of_its_business(fresh: Database) -> None:
    """With single-table inheritance, the users are those of the model."""

    class Base(DeclarativeBase):
        pass

    class Party(Base):
        __tablename__ = "parties"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "party"}
        username: Mapped[str] = mapped_column(String(255), primary_key=True)
        kind: Mapped[str] = mapped_column(String(20))
        email: Mapped[str] = mapped_column(String(320), unique=True)
        password_hash: Mapped[str] = mapped_column(String(512))
        verified: Mapped[bool]

    class Member(Party):
        __mapper_args__ = {"polymorphic_identity": "member"}

    store = SQLAlchemyUserStore(sessionmaker(fresh.main), Member)
    store.metadata.create_all(fresh.main)
    change(fresh, "INSERT INTO parties VALUES ('ACME', 'party', 'A@example.org', 'x', true)")
    assert [finding for finding in lines(store) if "user" in finding.partition(":")[2]] == []


@pytest.mark.backends("postgresql")
def test_a_column_that_takes_times_of_the_session_is_found(fresh: Database) -> None:
    """There, a time comes back as the server's zone makes it."""
    store = clean(fresh)
    change(fresh, "ALTER TABLE userharbor_sessions ALTER COLUMN expires_at TYPE timestamp")
    (found,) = lines(store)
    assert found.startswith("userharbor_sessions.expires_at: takes times as the session's time")


@pytest.mark.backends("sqlite")
def test_a_look_on_a_connection_of_the_tests_takes_no_lock(fresh: Database) -> None:
    """Another connection writes meanwhile."""
    clean(fresh)
    with fresh.engine().connect() as connection, connection.begin():
        findings = lines(SQLAlchemyUserStore(sessionmaker(connection)))
        assert list(findings) == []
        change(fresh, "DELETE FROM userharbor_sessions")


@pytest.mark.backends("postgresql", "mysql")
def test_a_column_that_loses_microseconds_is_found(fresh: Database) -> None:
    """PostgreSQL's `timestamp(0)`, MariaDB's plain `DATETIME`."""
    store = clean(fresh)
    column = "userharbor_sessions ALTER COLUMN expires_at TYPE timestamp(0) with time zone"
    if fresh.backend == "mysql":
        column = "userharbor_sessions MODIFY COLUMN expires_at DATETIME NOT NULL"
    change(fresh, f"ALTER TABLE {column}")
    (found,) = lines(store)
    assert found.startswith("userharbor_sessions.expires_at: loses microseconds")


def insert_users(fresh: Database, *rows: tuple[str, str, str]) -> None:
    for username, key, email in rows:
        change(
            fresh,
            "INSERT INTO userharbor_users (username, username_key, email, password_hash, verified)"
            f" VALUES ('{username}', '{key}', '{email}', 'x', true)",
        )


def test_users_whom_lookups_miss_are_found(fresh: Database) -> None:
    """A wrong key, a name that collides with another, capitals in the address."""
    store = clean(fresh)
    insert_users(
        fresh,
        ("Anna", "Anna", "a@example.org"),
        ("JANE", "JANE", "j@example.org"),
        ("joe", "joe", "Joe@example.org"),
    )
    findings = lines(store)
    assert len(findings) == 3
    assert "2 users ('Anna', 'JANE') without the right username_key" in findings[0]
    assert "differ in casing only: 'JANE', 'jane'" in findings[1]
    assert "1 user ('joe') with capitals in the e-mail address" in findings[2]


def test_a_collation_that_folds_keys_does_not_confuse_a_look(fresh: Database) -> None:
    """MariaDB's default one takes the key "josé" for "jose"; it was a KeyError."""
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), SHAPES["with_username_key"]())
    store.metadata.create_all(fresh.main)
    for name, key in (("jose", "wrong"), ("x", "josé")):
        change(
            fresh,
            "INSERT INTO keyed_users (username, username_key, email, password_hash, verified)"
            f" VALUES ('{name}', '{key}', '{name}@example.org', 'x', true)",
        )
    findings = [finding for finding in lines(store) if finding.startswith("keyed_users: ")]
    assert len(findings) == 1
    assert "2 users ('jose', 'x') without the right username_key" in findings[0]


def test_users_without_a_row_in_the_table_of_keys_are_found(fresh: Database) -> None:
    """Until they are synced; two that collide are named together."""
    table = user_table("own_users", MetaData(), mysql_collate="utf8mb4_bin")
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), user_model=table)
    store.metadata.create_all(fresh.main)
    add_users(fresh, table, "anna", "bob", "carl", "STRASSE", "straße")
    findings = [finding for finding in lines(store) if finding.startswith("own_users: ")]
    assert "5 users ('" in findings[0]
    assert "', …) without the right username_key: `sync-username-keys` sets it" in findings[0]
    assert "differ in casing only: 'STRASSE', 'straße'" in findings[1]


def test_tokens_that_should_be_gone_are_found(fresh: Database) -> None:
    """Expired for longer than a day: each kind by itself."""
    store = clean(fresh)
    for number in range(3):
        store.add_session(new_token(str(number), expires_at=datetime(2020, 1, 1)))
    (found,) = lines(store)
    assert found == ("userharbor_sessions: 3 rows expired over a day ago: `purge` removes them")
    store.purge_expired()
    assert lines(store) == []


def test_more_than_one_live_token_of_a_user_is_found(fresh: Database) -> None:
    """As 0.7.0 could leave them, whose tables have no index against it."""
    store = clean(fresh)
    change(
        fresh,
        "DROP TABLE userharbor_password_resets",
        "CREATE TABLE userharbor_password_resets (token_hash VARCHAR(128) PRIMARY KEY,"
        " username VARCHAR(255), expires_at TIMESTAMP)",
    )
    resets = store.metadata.tables["userharbor_password_resets"]
    with fresh.main.begin() as connection:
        for number in range(2):
            row = {"token_hash": str(number), "username": "jane", "expires_at": EXPIRES_AT}
            connection.execute(resets.insert(), row)
    assert any("1 user ('jane') with more than one live token" in each for each in lines(store))


def test_a_database_of_0_7_0_is_found_lacking(fresh: Database) -> None:
    """What docs/upgrading.md adds."""
    old_databases.load(fresh, "0.7.0")
    findings = "\n".join(lines(SQLAlchemyUserStore(sessionmaker(fresh.main))))
    assert "userharbor_password_resets.username: no unique index" in findings
    assert "the index ix_userharbor_user_roles_role is missing" in findings or (
        fresh.backend == "mysql"  # which makes one for the foreign key
    )
    assert "1 user ('josé') with more than one live token" in findings
    # There, the collation folds them.
    assert ("capitals in the e-mail address" in findings) == (fresh.backend != "mysql")
    assert ("loses microseconds" in findings) == (fresh.backend == "mysql")
    assert ("collation" in findings) == (fresh.backend == "mysql")


COSTS: list[tuple[dict[str, object], str | None]] = [
    ({}, 'isolation_level="READ COMMITTED" saves a message'),
    ({"isolation_level": "AUTOCOMMIT"}, "skip_autocommit_rollback=True saves a message"),
]
if tuple(map(int, sqlalchemy.__version__.split(".")[:3])) >= (2, 0, 43):
    # Before, SQLAlchemy had no skip_autocommit_rollback.
    COSTS.append(({"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}, None))


@pytest.mark.backends("mysql")
@pytest.mark.parametrize(("options", "cost"), COSTS)
def test_an_engine_that_makes_transactions_cost_extra_is_found(
    fresh: Database, options: dict[str, object], cost: str | None
) -> None:
    """It is the application's, and one option mends it."""
    clean(fresh)
    findings = lines(SQLAlchemyUserStore(sessionmaker(fresh.engine(**options))))
    assert findings == [] if cost is None else cost in findings[0]


def test_a_schema_that_is_translated_is_looked_at(fresh: Database) -> None:
    """As the store's own statements follow `schema_translate_map`."""
    schema = {"sqlite": "main", "postgresql": "auth", "mysql": fresh.url.database}[fresh.backend]
    if fresh.backend == "postgresql":
        change(fresh, "CREATE SCHEMA auth")
    options = {"isolation_level": "READ COMMITTED"} if fresh.backend == "mysql" else {}
    engine = fresh.engine(**options).execution_options(schema_translate_map={"logical": schema})
    store = SQLAlchemyUserStore(sessionmaker(engine), metadata=MetaData(schema="logical"))
    store.metadata.create_all(engine)
    store.create_user(new_user())
    assert lines(store) == []


def test_a_finding_has_a_code_a_table_and_a_message(fresh: Database) -> None:
    """So that a program need not read the line that it prints as."""
    store = clean(fresh)
    store.add_session(new_token("old", expires_at=datetime(2020, 1, 1)))
    change(fresh, "DROP TABLE userharbor_user_roles")
    missing, expired = findings_of(store)
    assert (missing.code, missing.table, missing.column) == (
        "table-missing",
        "userharbor_user_roles",
        None,
    )
    assert (expired.code, expired.table) == ("expired-tokens", "userharbor_sessions")
    assert str(expired) == f"userharbor_sessions: {expired.message}"


def test_a_finding_about_a_column_names_it(fresh: Database) -> None:
    """The line has it behind the table's name, and the finding by itself."""
    store = clean(fresh)
    change(fresh, "DROP TABLE userharbor_password_resets")
    change(fresh, "CREATE TABLE userharbor_password_resets (token_hash VARCHAR(128) PRIMARY KEY)")
    found = [(each.code, each.column) for each in findings_of(store)]
    assert found == [("column-missing", "username"), ("column-missing", "expires_at")]


@pytest.mark.backends("mysql")
def test_a_finding_about_the_engine_has_no_table(db: Database) -> None:
    """What it costs is no table's fault."""
    (found,) = SQLAlchemyUserStore(sessionmaker(db.engine())).check()
    assert (found.code, found.table) == ("costly-transactions", None)
    assert str(found).startswith("engine: ")
