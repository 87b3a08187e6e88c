"""The example on an async engine over HTTP, with mail, its own migrations and its own tables."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import inspect

from asynchronous.conftest import DRIVERS
from support.applications import EXAMPLES, MailServer, served
from support.databases import Database
from support.servers import free_port

pytestmark = pytest.mark.async_drivers("aiosqlite", "asyncpg", "aiomysql")
FOLDER = EXAMPLES / "async_app"
PASSWORD = "Correct-horse-1"


@pytest.fixture
def environment(fresh: Database, driver: str, tmp_path: Path) -> dict[str, str]:
    pytest.importorskip(driver)
    assert driver in DRIVERS[fresh.backend]
    url = fresh.url.set(drivername=f"{fresh.backend}+{driver}")
    if fresh.backend == "sqlite":
        url = url.update_query_dict({"timeout": "30"})
    named = url.render_as_string(hide_password=False)
    return os.environ | {"SECRET_KEY": "a secret of the tests", "DATABASE_URL": named}


def alembic(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "alembic", "-c", str(FOLDER / "alembic.ini"), *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer().running() as mail:
        yield mail


@pytest.fixture
def url(environment: dict[str, str], mail: MailServer, tmp_path: Path) -> Iterator[str]:
    """The application, running on migrated tables."""
    environment |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mail.port)}
    alembic(environment, tmp_path, "upgrade", "head")
    url = f"http://127.0.0.1:{free_port()}"
    command = ["uvicorn", "app:app", "--app-dir", str(FOLDER), "--port", url.rpartition(":")[2]]
    with served(command, url=url, folder=tmp_path, environment=environment):
        yield url


def test_the_migrations_make_what_the_models_say_and_can_be_undone(
    fresh: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    """By Alembic's async way; it finds nothing to change afterwards."""
    alembic(environment, tmp_path, "upgrade", "head")
    assert "No new upgrade operations detected" in alembic(environment, tmp_path, "check")
    alembic(environment, tmp_path, "downgrade", "base")
    assert inspect(fresh.main).get_table_names() == ["alembic_version"]


def test_an_account_from_registration_to_deletion(
    fresh: Database, url: str, mail: MailServer
) -> None:
    """Its profile comes and goes with it; the cookie is one that scripts can't read."""
    with httpx.Client(base_url=url, timeout=30) as client:
        form = {"username": "Jane", "email": "jane@example.org", "password": PASSWORD}
        assert client.post("/register", json={**form, "motto": "Onwards"}).status_code == 201
        taken = client.post("/register", json={**form, "username": "JANE", "motto": "Me too"})
        assert (taken.status_code, taken.json()["detail"]) == (400, "Username already exists")
        silent = client.post("/register", json={**form, "username": "Judy", "motto": "Nobody"})
        assert silent.status_code == 201
        assert client.get("/").json() == ["Onwards"]

        login = {"username": "JANE", "password": PASSWORD}
        assert client.post("/login", json=login).status_code == 403
        token = mail.token("jane@example.org")
        assert client.post("/verify", params={"token": token}).is_success
        cookie = client.post("/login", json=login).headers["set-cookie"]
        assert {"HttpOnly", "SameSite=lax", "Secure"} <= set(cookie.split("; "))
        jane = {"Cookie": cookie.partition(";")[0]}
        assert client.get("/me", headers=jane).json()["username"] == "Jane"
        assert client.get("/me").status_code == 401

        wrong = client.delete("/account", params={"password": "no"}, headers=jane)
        assert wrong.status_code == 401
        gone = client.delete("/account", params={"password": PASSWORD}, headers=jane)
        assert gone.is_success
        assert client.get("/me", headers=jane).status_code == 401
        assert client.get("/").json() == []
    assert fresh.count("members") == fresh.count("profiles") == 0


def test_twenty_clients_register_at_once(url: str, mail: MailServer) -> None:
    """The event loop serves each; all log in."""

    def flow(number: int) -> Any:
        with httpx.Client(base_url=url, timeout=60) as client:
            name = f"member{number:02}"
            address = f"{name}@example.org"
            form = {"username": name, "email": address, "password": PASSWORD, "motto": name}
            assert client.post("/register", json=form).is_success
            assert client.post("/verify", params={"token": mail.token(address)}).is_success
            login = {"username": name, "password": PASSWORD}
            return client.post("/login", json=login).status_code

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(flow, range(20))) == [200] * 20
    with httpx.Client(base_url=url) as client:
        assert sorted(client.get("/").json()) == [f"member{number:02}" for number in range(20)]
