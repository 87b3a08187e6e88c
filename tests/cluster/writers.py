"""Writers that go on whatever happens to their server, and know what must be stored by then."""

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import sessionmaker

from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore

from .failover import Ask

LATER = EXPIRES_AT + timedelta(days=365)

REFUSED = "refused by a read-only server"
NOT_CONNECTED = "no connection to be had"
UNKNOWN = "outcome unknown"

_STORED = {
    "session": (
        "SELECT token_hash AS name, expires_at > '2030-06-01' AS value FROM userharbor_sessions"
    ),
    "password": "SELECT username AS name, password_hash AS value FROM userharbor_users",
    "reset": "SELECT username AS name, token_hash AS value FROM userharbor_password_resets",
}
Fact = tuple[str, str]


class Writers:
    """Eight threads, each of which writes what belongs to a user of its own."""

    def __init__(self, engine: Engine) -> None:
        self.errors: Counter[str] = Counter()
        self._store = SQLAlchemyUserStore(sessionmaker(engine))
        self._names = [f"writer{number}" for number in range(8)]
        self._acknowledged: dict[str, list[float]] = {name: [] for name in self._names}
        self._possible: dict[Fact, set[object]] = {}
        self._lock = threading.Lock()
        self._call = threading.local()
        event.listen(engine, "handle_error", self._note_whether_connected)
        for name in self._names:
            self._store.create_user(new_user(name))
            self._possible["password", name] = {f"{name}-password-hash"}

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Have them write until the end of the block."""
        enough = threading.Event()
        threads = [
            threading.Thread(target=self._write_until, args=(enough, name), daemon=True)
            for name in self._names
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            enough.set()
            for thread in threads:
                thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in threads), f"a writer hangs: {self}"

    def go_on(self) -> None:
        """Wait until each of them has written some more; fail if one does not."""
        goals = {name: len(times) + 20 for name, times in self._acknowledged.items()}
        until = time.monotonic() + 30
        while any(len(self._acknowledged[name]) < goal for name, goal in goals.items()):
            assert time.monotonic() < until, f"a writer does not go on: {self}"
            time.sleep(0.01)

    def assert_stored(self, ask: Ask) -> None:
        """Fail unless `ask` finds all that was acknowledged, and nothing that was not sent."""
        stored = {
            (kind, row["name"]): row["value"] for kind, sql in _STORED.items() for row in ask(sql)
        }
        wrong = {
            fact: (stored.get(fact), possible)
            for fact in stored.keys() | self._possible.keys()
            if stored.get(fact) not in (possible := self._possible.get(fact, {None}))
        }
        assert wrong == {}

    def __repr__(self) -> str:
        times = sorted(itertools.chain(*self._acknowledged.values()))
        outage = max(after - before for before, after in itertools.pairwise(times))
        return f"{len(times)} writes, at most {outage:.2f} s without one; {dict(self.errors)}"

    def _write_until(self, enough: threading.Event, name: str) -> None:
        for count in itertools.count():
            for fact, value, call in self._calls(name, f"{name}-{count}"):
                if enough.is_set():
                    return
                self._write(name, fact, value, call)

    def _calls(self, name: str, token: str) -> Iterator[tuple[Fact, object, Callable[[], object]]]:
        store = self._store

        def block() -> None:
            with store.transaction():
                store.add_session(new_token(f"{token}-block", name))
                store.refresh_session(f"{token}-block", LATER)

        yield ("session", token), False, lambda: store.add_session(new_token(token, name))
        yield ("password", name), token, lambda: store.set_password_hash(name, token)
        yield ("reset", name), token, lambda: store.set_password_reset(new_token(token, name))
        yield ("session", f"{token}-block"), True, block

    def _write(self, name: str, fact: Fact, value: object, call: Callable[[], object]) -> None:
        self._call.connected = True
        try:
            call()
        except DBAPIError as error:
            outcome = self._outcome(error)
            with self._lock:
                self.errors[outcome] += 1
            if outcome == UNKNOWN:
                self._possible.setdefault(fact, {None}).add(value)
            time.sleep(0.02)
        else:
            self._possible[fact] = {value}
            self._acknowledged[name].append(time.monotonic())

    def _note_whether_connected(self, context: ExceptionContext) -> None:
        self._call.connected = context.connection is not None

    def _outcome(self, error: DBAPIError) -> str:
        if not self._call.connected:
            return NOT_CONNECTED
        return REFUSED if is_refusal(error) else UNKNOWN


def is_refusal(error: DBAPIError) -> bool:
    """Whether a server took no writes: by the class of the driver's error, or its number."""
    assert error.orig is not None
    names = {type(error.orig).__name__, *error.orig.args[:1]}
    return not names.isdisjoint({"ReadOnlySqlTransaction", 1290, 1836})
