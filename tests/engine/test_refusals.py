"""What the databases refuse: docs/errors.md says truly what is in the error, and no secret is."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError
from userharbor.exceptions import UserHarborError
from userharbor.interfaces import CreateUserRequest, UserToken

from support.databases import Database
from support.refusals import MARIADB, MYSQL, POSTGRESQL, SQLITE, Refusal, provoked
from support.samples import EXPIRES_AT
from support.secrets import assert_gives_nothing_away

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()


def check(fresh: Database, section: str, what: str, refusal: Refusal) -> None:
    """The call is refused; code and text are those on the page."""
    codes, texts = documented(section)[what]
    with provoked(fresh, refusal) as store, pytest.raises(DBAPIError) as raised:
        refusal.call(store)
    said = str(raised.value).replace(str(fresh.url.database), "app")
    assert any(text in said for text in texts), said
    if fresh.backend != "sqlite" or sys.version_info >= (3, 11):
        assert not codes or not codes.isdisjoint(codes_of(raised.value)), said
    assert_gives_nothing_away(raised.value)


def documented(section: str) -> dict[str, tuple[set[str], list[str]]]:
    """A table of the page: of what is refused, the codes and the texts that it may have."""
    table = PAGE.partition(f"### {section}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| ([^|]+?)(?: \(\w+\))? \|([^|]*)\| (.+) \|$", table, re.MULTILINE)
    return {
        what: (set(re.findall(r"\w+", codes)), [text for _, text in re.findall(CODE_SPAN, texts)])
        for what, codes, texts in rows[1:]
    }


CODE_SPAN = r"(`+) ?(.+?) ?\1(?!`)"


def codes_of(error: DBAPIError) -> set[str]:
    orig = error.orig
    names = ("sqlstate", "pgcode", "sqlite_errorname")
    assert orig is not None
    return {str(code) for code in (*orig.args[:1], *(getattr(orig, name, "") for name in names))}


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("what", list(SQLITE))
def test_what_sqlite_refuses(fresh: Database, what: str) -> None:
    """No text of its own quotes a value."""
    check(fresh, "SQLite", what, SQLITE[what])


@pytest.mark.backends("postgresql")
@pytest.mark.parametrize("what", list(POSTGRESQL))
def test_what_postgresql_refuses(fresh: Database, what: str) -> None:
    """The first line of its report is kept; of a data exception, without the value."""
    check(fresh, "PostgreSQL", what, POSTGRESQL[what])


@pytest.mark.backends("mysql")
@pytest.mark.parametrize("what", list(MYSQL))
def test_what_mariadb_and_mysql_refuse(fresh: Database, what: str) -> None:
    """Numbers and texts differ here and there."""
    check(fresh, "MariaDB and MySQL", what, MYSQL[what])


@pytest.mark.backends("mysql")
@pytest.mark.parametrize("what", list(MARIADB))
def test_what_only_mariadb_refuses(fresh: Database, what: str) -> None:
    """MySQL limits the time of a SELECT only."""
    with fresh.main.connect() as connection:
        if not connection.dialect.is_mariadb:  # type: ignore[attr-defined]
            return
    check(fresh, "MariaDB and MySQL", what, MARIADB[what])


def test_the_page_has_what_is_provoked_and_nothing_else() -> None:
    """At least ten a database, forty in all."""
    assert list(documented("SQLite")) == list(SQLITE)
    assert list(documented("PostgreSQL")) == list(POSTGRESQL)
    assert list(documented("MariaDB and MySQL")) == [*MYSQL, *MARIADB]


# What quotes, or looks like the end of what is quoted.
PIECES = ["'", '"', "`", "' for key 'x'", "\n", "DETAIL:  ", "%s", "\\", "»", "é", "管", "ab", "12"]
SECRETS = st.lists(st.sampled_from(PIECES), min_size=4, max_size=9).map(
    lambda pieces: f"§{''.join(pieces)}§§§§§§§§"
)
QUOTING = [
    "a table is missing",
    "a unique index of yours",
    "a check of yours",
    "a column of another type",
    "a trigger of yours",
]


@pytest.mark.parametrize("what", QUOTING)
def test_whatever_the_values_are_none_is_given_away(fresh: Database, what: str) -> None:
    """Whole or cut off: five characters of one are enough to tell."""
    refusals = {"sqlite": SQLITE, "postgresql": POSTGRESQL, "mysql": MYSQL}[fresh.backend]
    refused: list[DBAPIError] = []
    with provoked(fresh, refusals[what]) as store:

        @settings(max_examples=30, deadline=None)
        @given(SECRETS, SECRETS, SECRETS)
        def refuse(email: str, password_hash: str, token_hash: str) -> None:
            request = CreateUserRequest("jane", email, password_hash, token_hash, EXPIRES_AT)
            calls: list[Callable[[], None]] = [
                lambda: store.create_user(request),
                lambda: store.set_password_hash("jane", password_hash),
                lambda: store.set_password_hash("secretive", password_hash),
                lambda: store.add_session(UserToken("jane", token_hash, EXPIRES_AT)),
            ]
            for call in calls:
                try:
                    call()
                except UserHarborError:
                    pass
                except DBAPIError as error:
                    refused.append(error)
                    assert_gives_nothing_away(error, email[:5], password_hash[:5], token_hash[:5])

        refuse()
    assert len(refused) >= 30
