"""What docs/deployment.md says of servers that fork, and of test suites, with its own files."""

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import inspect

from support.applications import served
from support.databases import Database
from support.pages import files
from support.servers import free_port

PAGE = files("deployment.md")
REQUESTS = 40

# It uses the database before the workers are forked, so that a connection is in the pool.
SERVICE = """
from accounts import store

store.metadata.create_all(store.bind)


def application(environ, start_response):
    role = environ["PATH_INFO"].strip("/")
    if role:
        store.create_role(role)
    assert not role or (store.role_exists(role) and role in store.list_roles())
    start_response("200 OK", [])
    return [role.encode()]
"""


@pytest.fixture
def folder(fresh: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application's, with the files of the page, whose database is `fresh`."""
    for name in ("accounts.py", "gunicorn.conf.py", "conftest.py", "test_accounts.py"):
        (tmp_path / name).write_text(PAGE[name])
    monkeypatch.setenv("DATABASE_URL", fresh.url.render_as_string(hide_password=False))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_no_request_fails_in_workers_that_are_forked_after_the_database_was_used(
    fresh: Database, folder: Path
) -> None:
    """`gunicorn --preload -w 4`, with the page's gunicorn.conf.py: each answer is the asker's."""
    (folder / "service.py").write_text(SERVICE)
    url = f"http://127.0.0.1:{free_port()}"
    bind = url.removeprefix("http://")
    command = ["gunicorn", "--preload", "-w", "4", "-b", bind, "service:application"]

    def ask(number: int) -> tuple[int, str]:
        answer = httpx.get(f"{url}/role{number:02}", timeout=30)
        return answer.status_code, answer.text

    with served(command, url=url, folder=folder), ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(REQUESTS)))
    assert answers == [(200, f"role{number:02}") for number in range(REQUESTS)]
    assert fresh.count("userharbor_roles") == REQUESTS


def test_what_a_modules_store_and_sessions_write_in_a_test_is_rolled_back(
    fresh: Database, folder: Path
) -> None:
    """The page's fixture and its tests, run by pytest as a reader would."""
    assert "3 passed" in run_pytest(folder)
    assert fresh.count("userharbor_roles") == 0


@pytest.mark.backends("postgresql", "mysql")
def test_each_worker_of_xdist_has_a_database_of_its_own(fresh: Database, folder: Path) -> None:
    """With the tables; the database of the URL stays as it was."""
    conftest = PAGE["for_each_worker.py"] + PAGE["conftest.py"]
    (folder / "conftest.py").write_text(conftest)
    names = [f"{fresh.url.database}_gw{number}" for number in range(2)]
    try:
        assert "3 passed" in run_pytest(folder, "-n", "2")
        assert inspect(fresh.main).get_table_names() == []
        for name in names:
            with contextlib.closing(Database(fresh.url.set(database=name))) as its_own:
                assert its_own.count("userharbor_roles") == 0
    finally:
        with fresh.engine(isolation_level="AUTOCOMMIT").connect() as connection:
            for name in names:
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")


def run_pytest(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
