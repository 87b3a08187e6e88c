"""What `store.check()` takes for an index or a column that does, and what it does not."""

import warnings

import pytest
from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, Text
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.models import BYTEWISE, user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


def made(fresh: Database) -> Store:
    """A store on new tables, on an engine of which there is nothing to say."""
    options = {"isolation_level": "READ COMMITTED"} if fresh.backend == "mysql" else {}
    store = SQLAlchemyUserStore(sessionmaker(fresh.engine(**options)))
    store.metadata.create_all(fresh.main)
    store.create_user(new_user())
    store.add_session(new_token("session"))
    return store


def change(database: Database, *statements: str) -> None:
    with database.main.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def found(store: Store) -> list[str]:
    findings = (each for each in store.check() if each.code != "foreign-keys-off")
    return [str(finding) for finding in findings]


# MySQL and MariaDB make an index for a foreign key by themselves.
INDEXES = [
    "email_verifications.username",
    "sessions.username",
    "password_resets.username",
    "user_roles.role",
    "role_permissions.permission",
]


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("indexed", INDEXES)
def test_a_missing_plain_index_is_found(fresh: Database, indexed: str) -> None:
    """By its name; where a unique one begins with the column, that does."""
    table, _, column = indexed.partition(".")
    store = made(fresh)
    change(fresh, f"DROP INDEX ix_userharbor_{table}_{column}")
    has_unique_one = table in ("email_verifications", "password_resets")
    name = f"userharbor_{table}: the index ix_userharbor_{table}_{column} is missing"
    assert [finding.partition(": a migration")[0] for finding in found(store)] == (
        [] if has_unique_one else [name]
    )


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize(
    ("statement", "does"),
    [
        ("CREATE INDEX other ON userharbor_sessions (username)", True),
        ("CREATE INDEX other ON userharbor_sessions (username, expires_at)", True),
        ("CREATE UNIQUE INDEX other ON userharbor_sessions (username, token_hash)", True),
        ("CREATE INDEX other ON userharbor_sessions (expires_at, username)", False),
        ("CREATE INDEX other ON userharbor_sessions (username) WHERE token_hash <> ''", False),
        ("CREATE INDEX other ON userharbor_sessions (lower(username))", False),
    ],
)
def test_an_index_serves_that_begins_with_the_column(
    fresh: Database, statement: str, does: bool
) -> None:
    """Of all rows, whatever it is called and whatever follows."""
    store = made(fresh)
    change(fresh, "DROP INDEX ix_userharbor_sessions_username", statement)
    assert (found(store) == []) == does


def test_a_unique_constraint_serves_as_an_index(fresh: Database) -> None:
    """That of a table that was made by hand."""
    store = made(fresh)
    change(
        fresh,
        "DROP TABLE userharbor_user_roles",
        _hand_made(
            fresh,
            "user_roles",
            "username {}, role {}, PRIMARY KEY (username, role), UNIQUE (role, username)",
        ),
    )
    assert [finding for finding in found(store) if "index" in finding] == []


@pytest.mark.parametrize(
    ("key", "does"),
    [
        ("UNIQUE (permission)", True),
        ("CONSTRAINT one_of_each UNIQUE (permission)", True),
        ("UNIQUE (permission, comment)", False),
        ("PRIMARY KEY (comment, permission)", False),
        ("CHECK (permission <> '')", False),
    ],
)
def test_a_unique_constraint_on_the_column_alone_holds_it_to_one_of_each(
    fresh: Database, key: str, does: bool
) -> None:
    """Not one on several columns."""
    store = made(fresh)
    change(
        fresh,
        "DROP TABLE userharbor_role_permissions",
        "DROP TABLE userharbor_permissions",
        _hand_made(fresh, "permissions", f"permission {{}}, comment {{}}, {key}"),
    )
    findings = [each for each in found(store) if each.startswith("userharbor_permissions.")]
    assert [finding.partition(":")[0] for finding in findings] == (
        [] if does else ["userharbor_permissions.permission"]
    )
    assert all("no unique index" in finding for finding in findings)


def _hand_made(fresh: Database, table: str, columns: str) -> str:
    text = "VARCHAR(255) NOT NULL"
    if fresh.backend == "mysql":
        text = "VARCHAR(255) COLLATE utf8mb4_bin NOT NULL"
    return f"CREATE TABLE userharbor_{table} ({columns.replace('{}', text)})"


@pytest.mark.backends("mysql")
@pytest.mark.parametrize(
    ("type_", "does"),
    [
        ("TIMESTAMP NULL", False),
        ("TIMESTAMP(3) NULL", False),
        ("TIMESTAMP(6) NULL", True),
        ("DATETIME", False),
        ("DATETIME(3)", False),
        ("DATETIME(6)", True),
    ],
)
def test_a_time_that_loses_microseconds_is_found(fresh: Database, type_: str, does: bool) -> None:
    """Whichever of the server's types it has."""
    store = made(fresh)
    change(fresh, f"ALTER TABLE userharbor_sessions MODIFY expires_at {type_}")
    assert found(store) == (
        []
        if does
        else [
            "userharbor_sessions.expires_at: loses microseconds: a migration gives it six digits"
            " of them"
        ]
    )


@pytest.mark.backends("postgresql")
@pytest.mark.parametrize(
    ("type_", "finding"),
    [
        ("timestamptz", None),
        ("timestamptz(6)", None),
        ("timestamptz(3)", "loses microseconds"),
        ("timestamp", "takes times as the session's time zone says"),
    ],
)
def test_a_time_of_another_type_is_found(fresh: Database, type_: str, finding: str | None) -> None:
    """One that rounds, or that has no time zone."""
    store = made(fresh)
    change(fresh, f"ALTER TABLE userharbor_sessions ALTER expires_at TYPE {type_}")
    findings = found(store)
    assert len(findings) == (0 if finding is None else 1)
    assert all(finding is not None and finding in each for each in findings)


def test_a_text_of_the_applications_that_has_no_length_is_passed_over(fresh: Database) -> None:
    """The model does not say how much the column is to hold; the database may limit it."""
    table = Table(
        "members",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("username", String(255), unique=True),
        Column("email", Text, unique=True),
        Column("password_hash", String),
        Column("verified", Boolean),
        **BYTEWISE,
    )
    collation = " COLLATE utf8mb4_bin" if fresh.backend == "mysql" else ""
    change(
        fresh,
        f"CREATE TABLE members (id integer PRIMARY KEY, username varchar(255){collation} UNIQUE,"
        f" email varchar(100){collation} UNIQUE, password_hash varchar(200), verified boolean)",
    )
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table)
    findings = [finding for finding in found(store) if finding.startswith("members")]
    assert findings == []


@pytest.mark.backends("sqlite", "postgresql")
def test_a_narrow_column_is_found_and_a_wide_one_is_not(fresh: Database) -> None:
    """By the characters that the model says."""
    table = user_table("members", MetaData())
    change(
        fresh,
        "CREATE TABLE members (id integer PRIMARY KEY, username varchar(255) UNIQUE,"
        " email varchar(319) UNIQUE, password_hash varchar(513), verified boolean)",
    )
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table)
    assert [finding for finding in found(store) if finding.startswith("members")] == [
        "members.email: holds 319 characters, not 320: a migration widens it"
    ]


@pytest.mark.backends("sqlite", "postgresql")
def test_a_look_leaves_the_applications_warnings_alone(fresh: Database) -> None:
    """SQLAlchemy's warnings of indexes on expressions are not shown; later ones are."""
    store = made(fresh)
    change(fresh, "CREATE INDEX low ON userharbor_users (lower(email))")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(store) == []
        with pytest.raises(SAWarning):
            warnings.warn("of the application's", SAWarning, stacklevel=1)
