"""`python -m userharbor_sqlalchemy`, as an operator meets it in a shell, on a terminal, by cron."""

import json
import os
import pty
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import pytest
from sqlalchemy.orm import sessionmaker

from support.databases import Database
from support.samples import new_token, new_user
from userharbor_sqlalchemy import Purged, SQLAlchemyUserStore, User
from userharbor_sqlalchemy.__main__ import Progress, main

PAST = datetime(2020, 1, 1)
SHELL = [sys.executable, "-m", "userharbor_sqlalchemy"]

APPLICATION = """
from sqlalchemy import Boolean, Column, MetaData, String, Table, create_engine
from sqlalchemy.orm import sessionmaker
from userharbor_sqlalchemy import SQLAlchemyUserStore

users = Table(
    "app_users",
    MetaData(),
    Column("username", String(255), primary_key=True),
    Column("email", String(320), unique=True),
    Column("password_hash", String(512)),
    Column("verified", Boolean),
    mysql_collate="utf8mb4_bin",
    mariadb_collate="utf8mb4_bin",
)
engine = create_engine({url!r})
store = SQLAlchemyUserStore(sessionmaker(engine), user_model=users)
"""


def url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
def filled(fresh: Database) -> SQLAlchemyUserStore[User]:
    """A store with three expired sessions and one that lives."""
    assert main(["create-tables", url(fresh)]) == 0
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.create_user(new_user())
    for number in range(3):
        store.add_session(new_token(str(number), expires_at=PAST))
    store.add_session(new_token("live"))
    return store


def test_tables_are_made_checked_and_purged(
    fresh: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """From an empty database to one in which `check` finds nothing."""
    if fresh.backend != "sqlite":
        assert main(["check", url(fresh)]) == 1
        assert "userharbor_sessions: the table is missing" in capsys.readouterr().out
    assert main(["create-tables", url(fresh)]) == 0
    assert "userharbor_sessions" in capsys.readouterr().out
    assert main(["create-tables", url(fresh)]) == 0
    assert capsys.readouterr().out == "no table was missing\n"

    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.create_user(new_user())
    store.add_session(new_token("old", expires_at=PAST))
    assert main(["check", url(fresh)]) == 1
    assert "`purge` removes them" in capsys.readouterr().out
    assert main(["purge", url(fresh)]) == 0
    assert capsys.readouterr().out == (
        "removed: sessions 1, e-mail verifications 0, password resets 0\n"
    )
    assert main(["check", url(fresh)]) == 0
    assert capsys.readouterr().out == "nothing found\n"
    assert main(["check", "--json", url(fresh)]) == 0
    assert capsys.readouterr().out == ""


def test_what_expired_lately_may_be_kept(
    filled: SQLAlchemyUserStore[User], fresh: Database
) -> None:
    """`--expired-for` counts in days."""
    assert main(["purge", "--expired-for", "36500", url(fresh)]) == 0
    assert fresh.count("userharbor_sessions") == 4
    assert main(["purge", "--expired-for", "0.5", "--batch-size", "2", url(fresh)]) == 0
    assert fresh.read("SELECT token_hash FROM userharbor_sessions") == [("live",)]


def test_who_never_verified_is_removed_if_asked_for(
    fresh: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a verification is kept that tells how long ago it expired."""
    assert main(["create-tables", url(fresh)]) == 0
    store = SQLAlchemyUserStore(sessionmaker(fresh.main))
    store.create_user(new_user("jane", expires_at=PAST))
    lately = datetime.now(timezone.utc) - timedelta(days=10)
    store.create_user(new_user("joe", expires_at=lately))
    capsys.readouterr()
    assert main(["purge", "--unverified", "30", url(fresh)]) == 0
    assert capsys.readouterr().out == (
        "removed: unverified users 1\n"
        "removed: sessions 0, e-mail verifications 0, password resets 0\n"
    )
    assert fresh.read("SELECT username FROM userharbor_email_verifications") == [("joe",)]
    with pytest.raises(SystemExit):
        main(["purge", "--unverified", "-1", url(fresh)])
    assert "is negative" in capsys.readouterr().err


def test_all_that_is_stored_about_a_user_is_exported(
    fresh: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON; exit code 1 where there is no such user."""
    assert main(["create-tables", url(fresh)]) == 0
    SQLAlchemyUserStore(sessionmaker(fresh.main)).create_user(new_user("José"))
    capsys.readouterr()
    assert main(["export", "--username", "JOSÉ", url(fresh)]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported["email"] == "José@example.org"
    assert main(["export", "--username", "nobody", url(fresh)]) == 1
    assert capsys.readouterr().err == "error: there is no such user\n"


def test_a_store_of_the_applications_is_taken_by_its_name(fresh: Database, tmp_path: Path) -> None:
    """With its own user model, from the folder that the command is run in."""
    (tmp_path / "accounts.py").write_text(APPLICATION.format(url=url(fresh)))

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SHELL, command, "accounts:store"], capture_output=True, text=True, cwd=tmp_path
        )

    made = run("create-tables")
    assert (made.returncode, made.stderr) == (0, "")
    assert "userharbor_username_keys" in made.stdout
    with fresh.main.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO app_users (username, email, password_hash, verified)"
            " VALUES ('Joe', 'joe@example.org', 'x', true)"
        )
    looked = run("check")
    assert looked.returncode == 1
    assert "1 user ('Joe') without the right username_key" in looked.stdout
    synced = run("sync-username-keys")
    assert (synced.returncode, synced.stdout) == (0, "users given a key: 1\n")
    assert "Joe" not in run("check").stdout


def test_a_purge_shows_a_bar_on_a_terminal(
    filled: SQLAlchemyUserStore[User], fresh: Database
) -> None:
    """And ends it with a line of its own."""
    controller, terminal = pty.openpty()
    done = subprocess.run([*SHELL, "purge", url(fresh)], stderr=terminal, stdout=terminal)
    os.close(terminal)
    shown = b""
    while chunk := _read(controller):
        shown += chunk
    os.close(controller)
    assert done.returncode == 0
    assert b"\r[##############################] 100%\r\n" in shown
    assert shown.endswith(b"removed: sessions 3, e-mail verifications 0, password resets 0\r\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1000)
    except OSError:  # the other end is closed
        return b""


def test_a_purge_by_cron_is_one_line(filled: SQLAlchemyUserStore[User], fresh: Database) -> None:
    """Nothing but the result, if it does not take long."""
    done = subprocess.run([*SHELL, "purge", url(fresh)], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "removed: sessions 3, e-mail verifications 0, password resets 0\n"


@pytest.mark.parametrize("command", ["purge", "create-tables", "check"])
def test_a_database_out_of_reach_is_an_error_and_no_traceback(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, and the reason."""
    for driver in ("postgresql+psycopg", "mysql+pymysql"):
        assert main([command, f"{driver}://someone:sesame@127.0.0.1:1/test"]) == 3
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert "127.0.0.1" in captured.err
        assert "sesame" not in captured.err
        assert captured.err.count("\n") == 1
        assert captured.out == ""


def test_tables_that_are_missing_are_an_error(
    fresh: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """`purge` before `create-tables`."""
    fresh.main.connect().close()  # so that SQLite's file is there
    assert main(["purge", url(fresh)]) == 3
    assert "userharbor_sessions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "required: COMMAND"),
        (["purge"], "there is no STORE, nor USERHARBOR_STORE in the environment"),
        (["check", "--ignore", "nothing", "sqlite://"], "invalid choice: 'nothing'"),
        (["purge", "nonsense"], "STORE is neither MODULE:NAME nor a database URL"),
        (["purge", "no_such_module:store"], "No module named 'no_such_module'"),
        (["purge", "json.no_such_module:store"], "No module named 'json.no_such_module'"),
        (["purge", "json:store"], "json has no store"),
        (["purge", "json:dumps"], "dumps of json is not a SQLAlchemyUserStore"),
        (["purge", "nosuch://localhost/x"], "can't use this URL: "),
        (["purge", "oracle+oracledb://localhost/x"], "can't use this URL: No module named"),
        (["purge", "sqlite:///no/such/file.db"], "there is no file no/such/file.db"),
        (["check", "sqlite:///no/such/file.db"], "there is no file no/such/file.db"),
        (["check", "postgresql://u:p@rt:sesame@host:5432/db"], "SQLAlchemy can't parse it"),
        (["check", "postgresql:u:sesame@host/db"], "No module named 'postgresql'"),
        (["purge", "--batch-size", "0", "sqlite://"], "batch_size=0 is not from 1 to 10000"),
        (["purge", "--batch-size", "many", "sqlite://"], "invalid int value"),
        (["purge", "--expired-for", "-1", "sqlite://"], "is in the future"),
        (["purge", "--expired-for", "nan", "sqlite://"], "NaN"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, as is usual."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    printed = capsys.readouterr().err
    assert reason in printed
    assert "sesame" not in printed


def test_the_environment_may_name_the_store(
    filled: SQLAlchemyUserStore[User],
    fresh: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Other users of the machine can read a command line, and a URL may have a password."""
    monkeypatch.setenv("USERHARBOR_STORE", url(fresh))
    assert main(["purge"]) == 0
    assert capsys.readouterr().out.startswith("removed: sessions 3,")
    assert main(["check"]) == 0


def test_findings_may_be_printed_as_json(
    filled: SQLAlchemyUserStore[User], fresh: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line each, with what the finding has."""
    assert main(["check", "--json", url(fresh)]) == 1
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert found == {
        "code": "expired-tokens",
        "message": "3 rows expired over a day ago: `purge` removes them",
        "table": "userharbor_sessions",
        "column": None,
    }


def test_findings_may_be_left_out_by_their_code(
    filled: SQLAlchemyUserStore[User], fresh: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """A deployment may fail on the schema, and not on tokens that are due to be purged."""
    arguments = ["check", "--ignore", "expired-tokens", "--ignore", "several-tokens", url(fresh)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "nothing found\n"
    with fresh.main.begin() as connection:
        connection.exec_driver_sql("DROP TABLE userharbor_role_permissions")
    assert main(arguments) == 1
    assert "userharbor_role_permissions: the table is missing" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "purge", "sync-username-keys"])
def test_a_file_that_is_missing_is_not_made(command: str, tmp_path: Path) -> None:
    """Also where the store is named by its module."""
    (tmp_path / "accounts.py").write_text(APPLICATION.format(url="sqlite:///typo.db"))
    done = subprocess.run(
        [*SHELL, command, "accounts:store"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "there is no file typo.db" in done.stderr
    assert not (tmp_path / "typo.db").exists()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os; os.environ['NO_SUCH_KEY']", "KeyError: 'NO_SUCH_KEY'"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit('not configured')", "SystemExit: not configured"),
        (
            # As a proxy of Flask's or Werkzeug's does.
            "class Proxy:\n"
            "    @property\n"
            "    def __class__(self):\n"
            "        raise RuntimeError('Working outside of application context.\\n\\nTo solve')\n"
            "store = Proxy()",
            "RuntimeError: Working outside of application context.",
        ),
        (
            "from sqlalchemy.orm import Session\n"
            "from userharbor_sqlalchemy import SQLAlchemyUserStore\n"
            "def session() -> Session:\n"
            "    raise LookupError('no tenant')\n"
            "store = SQLAlchemyUserStore(session)",
            "LookupError: no tenant",
        ),
    ],
    ids=["it raises", "it lacks a module", "it exits", "a proxy", "a session"],
)
@pytest.mark.parametrize("command", ["check", "purge"])
def test_an_application_that_fails_is_an_error_and_no_traceback(
    source: str, reason: str, command: str, tmp_path: Path
) -> None:
    """Exit code 3 and one line: 1 would say that something was found."""
    (tmp_path / "broken.py").write_text(source)
    done = subprocess.run(
        [*SHELL, command, "broken:store"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", f"error: {reason}\n")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """As pip knows it."""
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"userharbor-sqlalchemy {version('userharbor-sqlalchemy')}\n"


class Stream(StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    """Rows that came meanwhile, or that another purge took, do not spoil it."""
    for is_terminal, shown in (
        (False, "50% of 4 tokens looked at\n100% of 4 tokens looked at\n" * 2),
        (True, f"\r[{'#' * 15}{'.' * 15}]  50%\r[{'#' * 30}] 100%" * 2 + f"\r[{'#' * 30}] 100%\n"),
    ):
        stream = Stream(is_terminal)
        progress = Progress(stream, every=0)
        for looked_at in (2, 4, 2, 6):
            progress(looked_at, 4, Purged())
        progress.end(full=True)
        assert stream.getvalue() == shown


def test_the_bar_of_a_purge_that_fails_stays_as_it_was() -> None:
    """And is none if there was none; what comes after it stands on a line of its own."""
    stream = Stream(is_terminal=True)
    Progress(stream, every=0).end(full=False)
    assert stream.getvalue() == ""
    progress = Progress(stream, every=0)
    progress(1, 2, Purged())
    progress.end(full=False)
    assert stream.getvalue().endswith("]  50%\n")


def test_names_that_collide_need_a_human(
    fresh: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and which they are."""
    (tmp_path / "accounts.py").write_text(APPLICATION.format(url=url(fresh)))
    (tmp_path / "users.py").write_text("""
from accounts import engine, users

users.create(engine)
with engine.begin() as connection:
    for number, name in enumerate(["STRASSE", "straße"]):
        row = dict(username=name, email=str(number), password_hash="x", verified=True)
        connection.execute(users.insert(), row)
""")
    subprocess.run([sys.executable, "users.py"], cwd=tmp_path, check=True)
    done = subprocess.run(
        [*SHELL, "create-tables", "accounts:store"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: usernames that differ in casing only: ")
    assert "'STRASSE'" in done.stderr
    assert "'straße'" in done.stderr


def test_an_interrupted_purge_says_what_it_has_removed(
    filled: SQLAlchemyUserStore[User], fresh: Database, tmp_path: Path
) -> None:
    """Exit code 130, no traceback; what was committed by then is gone."""
    (tmp_path / "slow.py").write_text(f"""
import os, signal
from sqlalchemy import create_engine, event
from sqlalchemy.orm import sessionmaker
from userharbor_sqlalchemy import SQLAlchemyUserStore

# A shell that starts a program in the background may have it ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
engine = create_engine({url(fresh)!r})
removals = []

@event.listens_for(engine, "before_cursor_execute")
def interrupt(connection, cursor, statement, *rest):
    if statement.startswith("DELETE"):
        removals.append(statement)
        if len(removals) == 2:
            os.kill(os.getpid(), signal.SIGINT)

store = SQLAlchemyUserStore(sessionmaker(engine))
""")
    arguments = [*SHELL, "purge", "--batch-size", "1", "slow:store"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr == (
        "error: interrupted; removed so far: sessions 1, e-mail verifications 0,"
        " password resets 0; run it again for the rest\n"
    )
    assert fresh.count("userharbor_sessions") == 3
