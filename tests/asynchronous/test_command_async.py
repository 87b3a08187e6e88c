"""`python -m userharbor_sqlalchemy` for an application whose store is on an async engine."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy.orm import sessionmaker

from asynchronous.conftest import DRIVERS
from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore

pytestmark = pytest.mark.async_drivers("aiosqlite", "asyncpg", "aiomysql")
PAST = datetime(2020, 1, 1)

APPLICATION = """
import os, signal
from sqlalchemy import event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from userharbor_sqlalchemy import SQLAlchemyUserStore

# A shell that starts a program in the background may have it ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
engine = create_async_engine({url!r})
store = SQLAlchemyUserStore(async_sessionmaker(engine))
removals = []

@event.listens_for(engine.sync_engine, "before_cursor_execute")
def interrupt(connection, cursor, statement, *rest):
    if statement.startswith("DELETE"):
        removals.append(statement)
        if len(removals) == 2 and "INTERRUPT" in os.environ:
            os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture
def target(fresh: Database, driver: str, tmp_path: Path) -> str:
    """The URL of an empty database, by an async driver; the application's module names it too."""
    pytest.importorskip(driver)
    assert driver in DRIVERS[fresh.backend]
    url = fresh.url.set(drivername=f"{fresh.backend}+{driver}")
    named = url.render_as_string(hide_password=False)
    (tmp_path / "application.py").write_text(APPLICATION.format(url=named))
    return named


def command(
    folder: Path, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "userharbor_sqlalchemy", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": "", **environment},
    )


def test_each_command_works_on_an_async_engine(
    fresh: Database, target: str, tmp_path: Path
) -> None:
    """By the application's module, and by a URL."""
    assert "userharbor_sessions" in command(tmp_path, "create-tables", "application:store").stdout
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.create_user(new_user())
    store.add_session(new_token("old", expires_at=PAST))
    for named, removed in (("application:store", 1), (target, 0)):
        purged = command(tmp_path, "purge", named)
        assert (purged.stderr, purged.returncode) == ("", 0)
        assert f"sessions {removed}," in purged.stdout
        ignored = ("--ignore", "costly-transactions", "--ignore", "foreign-keys-off")
        assert command(tmp_path, "check", *ignored, named).stdout == "nothing found\n"
        synced = command(tmp_path, "sync-username-keys", named)
        assert synced.stdout == "users given a key: 0\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio cancels a task by Ctrl-C from 3.11")
def test_an_interrupted_purge_says_what_it_has_removed(
    fresh: Database, target: str, tmp_path: Path
) -> None:
    """As on a sync engine: exit code 130, one line."""
    command(tmp_path, "create-tables", target)
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.create_user(new_user())
    for number in range(3):
        store.add_session(new_token(str(number), expires_at=PAST))
    done = command(tmp_path, "purge", "--batch-size", "1", "application:store", INTERRUPT="yes")
    assert done.returncode == 130
    assert done.stderr == (
        "error: interrupted; removed so far: sessions 1, e-mail verifications 0,"
        " password resets 0; run it again for the rest\n"
    )
    # What was cancelled on its way may have taken effect.
    assert fresh.count("userharbor_sessions") in (1, 2)
