"""The path of docs/async.md from an empty folder, by its own files."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.pages import files

PAGE = files("async.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the page's files."""
    pytest.importorskip("aiosqlite")
    for name in ("accounts.py", "main.py", "joining.py", "operating.py"):
        (tmp_path / name).write_text(PAGE[name])
    return tmp_path


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_files_of_the_page_do_what_it_says(folder: Path) -> None:
    """Registering, joining a transaction, and operating, one after the other on one database."""
    assert run(folder, "main.py") == (
        "User(username='Jane', email='jane@example.org', verified=True)\n"
    )
    assert run(folder, "joining.py") == "2\n"
    printed = "sessions 0, e-mail verifications 0, password resets 0\n['Jane', 'John']\n"
    assert run(folder, "operating.py") == printed


def test_alembic_s_async_template_takes_the_stores_metadata(folder: Path) -> None:
    """With the page's two lines in place of the template's one."""
    run(folder, "-m", "alembic", "init", "-t", "async", "migrations")
    ini, env = folder / "alembic.ini", folder / "migrations" / "env.py"
    ini.write_text(
        ini.read_text().replace(
            "driver://user:pass@localhost/dbname", "sqlite+aiosqlite:///users.db"
        )
    )
    text = env.read_text()
    assert text.count("target_metadata = None\n") == 1
    env.write_text(text.replace("target_metadata = None\n", PAGE["migrations/env.py"]))
    run(folder, "-m", "alembic", "revision", "--autogenerate", "-m", "accounts")
    run(folder, "-m", "alembic", "upgrade", "head")
    assert "No new upgrade operations" in run(folder, "-m", "alembic", "check")
