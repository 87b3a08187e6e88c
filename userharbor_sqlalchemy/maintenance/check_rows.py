"""What a look at the rows finds: users whom lookups miss, and tokens that should be gone.

Rows are read by the page, and none is locked.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, bindparam, delete, func, literal, select

from ..engine.database import Database
from ..schema.user_model import UserModel
from ..schema.values import USERNAME_LENGTH, as_utc, is_storable_key, username_key
from ..sql.users import Users
from .findings import Finding

PAGE_SIZE = 1000
EXAMPLES = 3
PURGE_DUE = timedelta(days=1)
"""How long after its expiry a token is one that purging forgot."""


class Affected:
    """How many users a finding is about, and the first of them."""

    def __init__(self) -> None:
        self.count: int = 0
        self._first: list[str] = []

    def add(self, username: str) -> None:
        self.count += 1
        if len(self._first) < EXAMPLES:
            self._first.append(username)

    def __str__(self) -> str:
        more = ", …" if self.count > EXAMPLES else ""
        users = "user" if self.count == 1 else "users"
        return f"{self.count} {users} ({_quoted(self._first)}{more})"


def user_findings(
    database: Database, model: UserModel, users: Users, username_keys: Table | None
) -> Iterator[Finding]:
    """Users without their key, with names that collide, or with an e-mail lookups can't find."""
    username, email = model.columns["username"], model.columns["email"]
    rows = select(username.label("username"), email.label("email")).where(*users.of_model)
    key: ColumnElement[str]
    if username_keys is None:
        key, named = model.columns["username_key"], username
        remedy = "set it to username.casefold()"
    else:
        key, named = username_keys.c.username_key, username_keys.c.username
        rows = rows.outerjoin_from(model.table, username_keys, named == username)
        remedy = "`sync-username-keys` sets it"

    without_key, with_capitals = Affected(), Affected()
    spellings: dict[str, list[str]] = {}
    rows = rows.add_columns(key.label("key"))
    for page in database.pages(rows, username, lambda row: str(row.username), PAGE_SIZE):
        for row in page:
            name = row.username
            if row.key != username_key(name) and is_storable_key(
                username_key(name), USERNAME_LENGTH
            ):
                without_key.add(name)
                spellings.setdefault(username_key(name), []).append(name)
        for name in _not_found_by_email(database, model, page):
            with_capitals.add(name)
    table = model.table.name
    if without_key.count:
        message = f"{without_key} without the right username_key: {remedy}"
        yield Finding("key-missing", message, table)
    yield from _collisions(database, table, spellings, named, key)
    if with_capitals.count:
        yield Finding(
            "email-with-capitals",
            f"{with_capitals} with capitals in the e-mail address, which is found in that"
            " spelling only: store it in lower case, or have an index on lower(email)",
            table,
        )


def _not_found_by_email(
    database: Database, model: UserModel, page: Sequence[Row[Any]]
) -> Iterator[str]:
    """Whose address has capitals, and neither an index nor a collation that folds them."""
    email = model.columns["email"]
    by_email = {
        row.email: row.username for row in page if row.email and row.email.lower() != row.email
    }
    if not by_email:
        return
    in_lower_case = [spelled.lower() for spelled in by_email]
    found = select(email.label("email")).where(model.email_as_found(email).in_(in_lower_case))
    missed = by_email.keys() - {row.email for row in database.all(found, {})}
    yield from (name for spelled, name in by_email.items() if spelled in missed)


def _collisions(
    database: Database,
    table: str,
    spellings: dict[str, list[str]],
    named: ColumnElement[str],
    key: ColumnElement[str],
) -> Iterator[Finding]:
    """Names without their key, by that key, which are another's too."""
    keyed = select(named.label("username"), key.label("key")).where(
        key.in_(bindparam("keys", expanding=True)), named.is_not(None)
    )
    keys = list(spellings)
    for start in range(0, len(keys), PAGE_SIZE):
        some = keys[start : start + PAGE_SIZE]
        for row in database.all(keyed, {"keys": some}):
            # A collation may have folded another key into the answer.
            names = spellings.get(row.key)
            if names is not None and row.username not in names:
                names.append(row.username)
    for names in spellings.values():
        if len(names) > 1:
            same = _quoted(sorted(names))
            message = f"usernames that differ in casing only: {same}: rename one"
            yield Finding("usernames-collide", message, table)


def left_findings(database: Database, users: Users, table: Table) -> Iterator[Finding]:
    """Rows whose user is missing: the application removed or renamed it."""
    left = ~users.has(table.c.username)
    if count := database.count(select(func.count()).select_from(table).where(left)):
        schemas = database.bind.get_execution_options().get("schema_translate_map")
        remedy = (
            delete(table)
            .where(left)
            .compile(
                dialect=database.bind.dialect,
                schema_translate_map=schemas,
                render_schema_translate=schemas is not None,
            )
        )
        rows = "row refers" if count == 1 else "rows refer"
        message = f"{count} {rows} to a username that no user has, to be removed by: {remedy}"
        yield Finding("user-missing", " ".join(message.split()), table.name)


def token_findings(database: Database, table: Table, *, one_a_user: bool) -> Iterator[Finding]:
    """Tokens that purging forgot, and users with more than one live token of a kind."""
    now = as_utc(datetime.now(timezone.utc))
    expires_at = table.c.expires_at
    forgotten = select(func.count()).where(expires_at < literal(now - PURGE_DUE, expires_at.type))
    if count := database.count(forgotten):
        message = f"{count} rows expired over a day ago: `purge` removes them"
        yield Finding("expired-tokens", message, table.name)
    if one_a_user:
        several = (
            select(table.c.username)
            .where(expires_at >= literal(now, expires_at.type))
            .group_by(table.c.username)
            .having(func.count() > 1)
        )
        names = Affected()
        for row in database.all(several, {}):
            names.add(row.username)
        if names.count:
            yield Finding(
                "several-tokens",
                f"{names} with more than one live token: remove all but the one that expires last",
                table.name,
            )


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))
