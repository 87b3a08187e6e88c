"""Calls that start at once, and what a core needs beside its store."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from userharbor import UserHarbor
from userharbor.interfaces import UserToken

from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]


def race(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Start all calls at once; return what each returned or raised."""
    outcomes: list[object] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(number: int, call: Callable[[], object]) -> None:
        start.wait()
        try:
            outcomes[number] = call()
        except Exception as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def typed(outcomes: Sequence[object], *errors: type[Exception]) -> int:
    """How many calls won, where each other one raised one of `errors`."""
    strangers = [each for each in outcomes if each is not None and not isinstance(each, errors)]
    assert strangers == []
    return sum(each is None for each in outcomes)


class Outbox:
    """Keeps the last token that was mailed to each user."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}

    def send_verification(self, username: str, email: str, verification_token: str) -> None:
        self.tokens[username] = verification_token

    def send_password_reset(self, username: str, email: str, reset_token: str) -> None:
        self.tokens[username] = reset_token

    def send_email_verified(self, username: str, email: str) -> None: ...

    def send_password_changed(self, username: str, email: str) -> None: ...

    def send_account_deleted(self, username: str, email: str) -> None: ...


class Slow(SQLAlchemyUserStore[User]):
    """Takes its time between reading a token and what follows."""

    def get_password_reset(self, token_hash: str) -> UserToken | None:
        token = super().get_password_reset(token_hash)
        time.sleep(0.01)
        return token

    def get_email_verification(self, token_hash: str) -> UserToken | None:
        token = super().get_email_verification(token_hash)
        time.sleep(0.01)
        return token


def make_harbor(store: Store, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> UserHarbor[User]:
    monkeypatch.setattr("userharbor.main.hash_password", lambda password: f"hash of {password}")
    monkeypatch.setattr(
        "userharbor.main.verify_password",
        lambda password, password_hash: password_hash == f"hash of {password}",
    )
    # Each look at a session refreshes it, within the blocks of the core as well.
    return UserHarbor("secret", store, outbox, session_refresh_threshold=timedelta(days=60))
