"""How `python -m userharbor_sqlalchemy` takes the URLs that SQLite's database may have."""

import subprocess
import sys
from pathlib import Path

import pytest


def run(command: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command in a shell whose folder is `folder`."""
    arguments = [sys.executable, "-m", "userharbor_sqlalchemy", command, url]
    return subprocess.run(arguments, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///file:accounts.db?uri=true",
        "sqlite:///file:accounts.db?mode=rwc&uri=true",
        "sqlite:///file:{folder}/accounts.db?uri=true",
    ],
)
def test_a_file_may_be_named_by_a_uri_of_sqlites(url: str, tmp_path: Path) -> None:
    """Where it is there it is used; where it is not, it is missed and not made."""
    url = url.format(folder=tmp_path)
    missed = run("check", url, tmp_path)
    assert missed.returncode == 2
    assert "there is no file" in missed.stderr
    assert "file:" not in missed.stderr.partition("there is no file")[2]
    assert list(tmp_path.iterdir()) == []
    assert run("create-tables", url, tmp_path).returncode == 0
    assert [each.name for each in tmp_path.iterdir()] == ["accounts.db"]
    found = run("check", url, tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, "nothing found\n", "")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:accounts?mode=memory&uri=true",
    ],
)
def test_a_database_in_memory_has_no_file_to_miss(url: str, tmp_path: Path) -> None:
    """It is looked at as it is, without a table, and leaves no file."""
    done = run("check", url, tmp_path)
    assert done.returncode == 1, done.stderr
    assert "userharbor_users: the table is missing" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_tables_is_there(tmp_path: Path) -> None:
    """What is missing then is the tables."""
    (tmp_path / "accounts.db").touch()
    done = run("check", "sqlite:///accounts.db", tmp_path)
    assert done.returncode == 1, done.stderr
    assert "userharbor_users: the table is missing" in done.stdout
