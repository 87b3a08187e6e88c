"""`python -m benchmarks.purge`: a million expired sessions among a million live ones.

One purge is killed in its middle; then two run at once, while users log in. Prints what was seen,
and fails if a live session is gone or an expired one is left.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from statistics import quantiles
from subprocess import DEVNULL, PIPE, Popen
from threading import Event, Thread
from time import perf_counter, sleep
from typing import Any

from sqlalchemy import func, insert, literal, select
from sqlalchemy.orm import sessionmaker

from support.bulk import filled
from support.samples import EXPIRES_AT, new_token
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

from .backends import NAMES, Backend, started

PAST = EXPIRES_AT.replace(year=2020)
# The command, and the most memory that it took.
COMMAND = [
    sys.executable,
    "-c",
    "import resource, sys; from userharbor_sqlalchemy.__main__ import main; main();"
    " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, 'MB of memory')",
    "purge",
]


@dataclass
class Logins:
    """A user who logs in, stays and logs out, again and again."""

    store: SQLAlchemyUserStore[User]
    username: str
    seconds: list[float] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def during(self, work: Callable[[], Any]) -> str:
        """Log in while `work` is done; how long a call took then."""
        self.seconds.clear()
        stop = Event()
        thread = Thread(target=self._until, args=(stop,))
        thread.start()
        work()
        stop.set()
        thread.join()
        cuts = quantiles(self.seconds, n=100)
        figures = {"median": cuts[49], "99 %": cuts[98], "longest": max(self.seconds)}
        return ", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in figures.items())

    def _until(self, stop: Event) -> None:
        for number in count():
            token = new_token(f"login {number}", self.username, EXPIRES_AT)
            self._timed(self.store.add_session, token)
            self._timed(self.store.refresh_session, token.token_hash, EXPIRES_AT)
            self._timed(self.store.remove_session, token.token_hash)
            if stop.wait(0.002):
                return

    def _timed(self, call: Callable[..., object], *arguments: object) -> None:
        begun = perf_counter()
        try:
            call(*arguments)
        except Exception as error:
            self.errors.append(error)
        self.seconds.append(perf_counter() - begun)


def started_purge(backend: Backend) -> Popen[str]:
    """The command, as an operator starts it."""
    url = backend.url.render_as_string(hide_password=False)
    return Popen([*COMMAND, url], stdout=PIPE, stderr=DEVNULL, text=True)


def ended(purge: Popen[str]) -> str:
    """Wait for its end; what it printed, and the most memory that it took."""
    printed, _ = purge.communicate()
    assert purge.returncode == 0, purge.returncode
    return printed.strip().replace("\n", "; ")


def measure(backend: Backend, rows: int) -> None:
    """Fill the tables, purge, and print what was seen."""
    engine = backend.engine()
    store = SQLAlchemyUserStore(sessionmaker(engine))
    users, sessions = (store.metadata.tables[f"userharbor_{t}"] for t in ("users", "sessions"))
    expires_at = sessions.c.expires_at

    def left(expiry: datetime) -> int:
        of_these = select(func.count()).where(expires_at == literal(expiry, expires_at.type))
        with engine.connect() as connection:
            return int(connection.scalars(of_these).one())

    with filled(engine, [users, sessions], rows):
        store.metadata.create_all(engine)
        expired = select(sessions.c.token_hash + "x", sessions.c.username, literal(PAST))
        with engine.begin() as connection:
            into = ["token_hash", "username", "expires_at"]
            connection.execute(insert(sessions).from_select(into, expired))
        assert left(PAST) == left(EXPIRES_AT) == rows
        logins = Logins(store, f"user{rows}")
        print(f"{backend.name}: logins before: {logins.during(lambda: sleep(5))}")

        purge = started_purge(backend)
        while left(PAST) > rows * 3 // 4:
            sleep(0.05)
        purge.kill()
        purge.communicate()
        rest = left(PAST)
        print(f"  killed in its middle, with {rest:,} of {rows:,} expired sessions left")

        begun = perf_counter()
        both: list[str] = []

        def two_at_once() -> None:
            purges = [started_purge(backend), started_purge(backend)]
            both.extend(map(ended, purges))

        print(f"  logins beside two purges: {logins.during(two_at_once)}")
        seconds = perf_counter() - begun
        print(*(f"  {each}" for each in both), sep="\n")
        print(f"  {rest / seconds:,.0f} expired sessions a second, in {seconds:.0f} s")
        assert (left(PAST), left(EXPIRES_AT)) == (0, rows)
        assert logins.errors == [], logins.errors[:3]
        store.metadata.drop_all(engine)
    engine.dispose()


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.purge", description=__doc__)
    add = parser.add_argument
    add("--db", choices=NAMES, action="append", help="may be repeated; all by default")
    add("--rows", type=int, default=1_000_000, help="a power of ten (default: %(default)s)")
    arguments = parser.parse_args()
    for name in arguments.db or NAMES:
        with started(name) as backend:
            measure(backend, arguments.rows)


main()
