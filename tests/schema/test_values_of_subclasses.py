"""Times and texts that are more than that to Python: they are stored as what they say."""

import enum
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.models import documented
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User
from userharbor_sqlalchemy.maintenance import check_rows, purge


class Frozen(datetime):
    """A time as freezegun has it, in the place of each `datetime`."""


class Fluent(datetime):
    """A time as pendulum has it: its differences are no timedelta, its text is another."""

    def __sub__(self, other: Any) -> Any:
        return str(super().__sub__(other))

    def __str__(self) -> str:
        return "in a while"

    def isoformat(self, *_: Any, **__: Any) -> str:
        return "in a while"

    def astimezone(self, tz: tzinfo | None = None) -> "Fluent":
        return Fluent.fromtimestamp(self.timestamp(), tz)


class Role(str, enum.Enum):
    """A text with a name."""

    ADMIN = "admin"


class Markup(str):
    """A text that escapes what it is put together with, as templates' have it."""

    def __str__(self) -> str:
        return f"<{super().__str__()}>"

    def __mod__(self, other: Any) -> str:
        return "escaped"

    def __add__(self, other: str) -> "Markup":
        return Markup("escaped")

    def __radd__(self, other: str) -> "Markup":
        return Markup("escaped")

    def casefold(self) -> "Markup":
        return Markup(super().casefold())

    def translate(self, table: Any) -> "Markup":
        return Markup("translated")

    def replace(self, *_: Any) -> "Markup":
        return Markup("replaced")

    def encode(self, *_: Any, **__: Any) -> bytes:
        return b"encoded"


@pytest.mark.parametrize("of", [Frozen, Fluent])
def test_a_time_of_a_subclass_is_stored_as_the_time_that_it_is(
    of: type[datetime], store: SQLAlchemyUserStore[User]
) -> None:
    """Naive and with a time zone, by each method that takes one."""
    time = of(2030, 1, 1, 12, 0, 0, 123456)
    aware = of(2030, 1, 1, 14, 0, 0, 123456, timezone(timedelta(hours=2)))
    for expires_at in (time, aware):
        store.create_user(new_user("jane", expires_at=expires_at))
        store.add_session(new_token("s", expires_at=expires_at))
        store.set_password_reset(new_token("r", expires_at=expires_at))
        found = [
            store.get_email_verification("jane-verification"),
            store.get_session("s"),
            store.get_password_reset("r"),
        ]
        assert [token and token.expires_at for token in found] == [EXPIRES_AT] * 3
        assert {type(token.expires_at) for token in found if token} == {datetime}
        store.refresh_session("s", of(2031, 1, 1))
        session = store.get_session("s")
        assert session is not None
        assert session.expires_at == datetime(2031, 1, 1)
        store.delete_user("jane")
    assert store.purge_expired(before=of(2001, 1, 1)).sessions == 0


def test_a_clock_that_is_frozen_is_understood(
    store: SQLAlchemyUserStore[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the tests of an application replace `datetime` in each module."""
    for module in (purge, check_rows):
        monkeypatch.setattr(module, "datetime", Frozen)
    store.create_user(new_user())
    store.add_session(new_token("s", expires_at=datetime(2001, 1, 1)))
    assert "expired-tokens" in {finding.code for finding in store.check()}
    assert store.purge_expired().sessions == 1


@pytest.mark.parametrize("text", [Role.ADMIN, Markup("admin")])
@pytest.mark.parametrize("of_own", [False, True], ids=["built-in", "own model"])
def test_a_text_of_a_subclass_is_stored_as_the_text_that_it_is(
    text: str, of_own: bool, fresh: Database
) -> None:
    """As a name, an address, a hash, a role; and it finds what is plain."""
    store: SQLAlchemyUserStore[User] = SQLAlchemyUserStore(
        sessionmaker(fresh.main), documented() if of_own else None
    )
    store.metadata.create_all(fresh.main)
    store.create_user(new_user(text, email=text, password_hash=text, verification_token_hash=text))
    expected = User("admin", "admin", False)
    assert [*store.iter_users()] == [expected]
    assert store.get_user_by_username("ADMIN") == store.get_user_by_username(text) == expected
    assert store.get_user_by_email("admin") == store.get_user_by_email(text) == expected
    assert store.get_password_hash("admin") == "admin"
    store.set_password_hash(text, text)
    assert store.get_password_hash(text) == "admin"
    assert [*store.iter_users(after=text)] == []
    assert store.get_email_verification("admin") == new_token("admin", "admin")
    store.set_email_verification(new_token(text, text))
    store.add_session(new_token(text, text))
    assert store.get_session("admin") == store.get_session(text) == new_token("admin", "admin")
    assert store.remove_other_sessions(text, text) == 0
    store.create_role(text)
    store.create_permission(text)
    store.grant_role_to_user(text, text)
    store.grant_permission_to_role(text, text)
    assert store.list_roles() == store.get_user_roles(text) == {"admin"}
    assert store.list_permissions() == store.get_user_permissions("admin") == {"admin"}
    store.delete_user(text)
    assert store.count_users() == 0
