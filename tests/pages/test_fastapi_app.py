"""The FastAPI example over HTTP, with mail, on a database of its own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from sqlalchemy import text

from support.applications import EXAMPLES, Application, MailServer
from support.databases import Database, fresh_database

T = TypeVar("T")
CLIENTS = 20
PASSWORD = "Correct-horse-1"


@pytest.fixture(scope="module")
def application(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Application]:
    """The example, running."""
    folder = tmp_path_factory.mktemp("application")
    with (
        fresh_database(database, folder) as fresh,
        MailServer().running() as mail,
        Application(fresh, mail, folder).running() as application,
    ):
        yield application


@pytest.fixture
def client(application: Application) -> Iterator[httpx.Client]:
    with application.client() as client:
        yield client


def test_an_account_from_registration_to_deletion(
    application: Application, client: httpx.Client
) -> None:
    """What the routes of userharbor-fastapi promise, each step shown by the next."""
    mail, address = application.mail, "jane@example.org"
    account = {"username": "Jane", "password": PASSWORD}

    assert client.post("/auth/register", json={**account, "email": address}).status_code == 201
    assert client.post("/auth/login", json=account).status_code == 403
    assert client.post("/auth/verify-email", json={"token": mail.token(address)}).is_success
    session = login(client, "JANE", PASSWORD)
    assert client.get("/auth/me", headers=session).json() == {
        "username": "Jane",
        "email": address,
        "verified": True,
    }

    assert client.get("/authors", headers=session).status_code == 403
    assert client.put("/author", headers=session, json={"pen_name": "J. D."}).is_success
    assert client.get("/authors", headers=session).json() == ["J. D."]

    assert client.post("/auth/password-reset/request", json={"email": address}).is_success
    reset = {"token": mail.token(address), "new_password": "Battery-staple-2"}
    assert client.post("/auth/password-reset/confirm", json=reset).is_success
    assert client.get("/auth/me", headers=session).status_code == 401
    assert client.post("/auth/login", json=account).status_code == 401

    session = login(client, "jane", "Battery-staple-2")
    password = {"password": "Battery-staple-2"}
    assert client.request("DELETE", "/auth/account", headers=session, json=password).is_success
    assert client.get("/auth/me", headers=session).status_code == 401
    assert mail.subjects(address) == [
        "Verify your email",
        "Email verified",
        "Reset your password",
        "Password changed",
        "Account deleted",
    ]
    assert client.post("/auth/register", json={**account, "email": address}).status_code == 201


def test_who_opens_it_is_told_where_to_go_on(client: httpx.Client) -> None:
    """The first page is not an error, and the list of routes has a title."""
    assert client.get("/").json() == {"routes": "/docs"}
    assert "<title>Authors" in client.get("/docs").text


@pytest.mark.parametrize("example", ["fastapi_app.py", "async_app/app.py"])
def test_without_a_secret_it_says_how_to_make_one(example: str, tmp_path: Path) -> None:
    """And does not start."""
    environment = {each: os.environ[each] for each in os.environ if each != "SECRET_KEY"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "SECRET_KEY is not set; python -c" in done.stderr


def test_a_pen_name_is_not_kept_without_its_role(
    application: Application, client: httpx.Client
) -> None:
    """The application's own session, joined: what the store refuses takes back both."""
    session = new_member(application, client, "judy")
    engine = application.database.main
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM userharbor_role_permissions"))
        connection.execute(text("DELETE FROM userharbor_roles"))
    try:
        refused = client.put("/author", headers=session, json={"pen_name": "Nobody"})
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_role")
        with engine.connect() as connection:
            judy = text("SELECT pen_name FROM members WHERE username = 'judy'")
            assert connection.scalars(judy).all() == [""]
    finally:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO userharbor_roles VALUES ('author')"))
            row = "(role, permission) VALUES ('author', 'authors.read')"
            connection.execute(text(f"INSERT INTO userharbor_role_permissions {row}"))


def test_twenty_clients_register_and_log_in_at_once(application: Application) -> None:
    """Each its own account, from registration to what its session may see."""

    def flow(number: int) -> str:
        with application.client() as client:
            session = new_member(application, client, f"member{number}")
            client.put("/author", headers=session, json={"pen_name": f"Member {number}"})
            assert f"Member {number}" in client.get("/authors", headers=session).json()
            username: str = client.get("/auth/me", headers=session).json()["username"]
            return username

    assert at_once(flow) == [f"member{number}" for number in range(CLIENTS)]


def test_of_twenty_who_spend_one_verification_at_once_one_wins(
    application: Application, client: httpx.Client
) -> None:
    """The address is verified once, and one mail says so."""
    address = "joe@example.org"
    account = {"username": "joe", "email": address, "password": PASSWORD}
    client.post("/auth/register", json=account)
    token = {"token": application.mail.token(address)}

    def verify(_: int) -> int:
        with application.client() as client:
            return client.post("/auth/verify-email", json=token).status_code

    assert sorted(at_once(verify)) == [200] + [400] * (CLIENTS - 1)
    assert application.mail.subjects(address).count("Email verified") == 1


def test_of_twenty_who_spend_one_reset_at_once_one_wins(
    application: Application, client: httpx.Client
) -> None:
    """Its password is the one that logs in."""
    new_member(application, client, "jill")
    client.post("/auth/password-reset/request", json={"email": "jill@example.org"})
    token = application.mail.token("jill@example.org")

    def reset(number: int) -> int:
        with application.client() as client:
            password = {"token": token, "new_password": f"Battery-staple-{number}"}
            return client.post("/auth/password-reset/confirm", json=password).status_code

    outcomes = at_once(reset)
    assert sorted(outcomes) == [200] + [400] * (CLIENTS - 1)
    assert login(client, "jill", f"Battery-staple-{outcomes.index(200)}")


def test_an_account_whose_mail_is_refused_gets_another(
    application: Application, client: httpx.Client
) -> None:
    """503 says that no mail went out; the account is there, and may ask for one again."""
    address = "jim@full.example"
    account = {"username": "jim", "email": address, "password": PASSWORD}
    assert client.post("/auth/register", json=account).status_code == 503
    assert client.post("/auth/register", json=account).status_code == 409
    assert client.post("/auth/resend-verification", json={"email": address}).status_code == 503


def test_expired_sessions_are_purged_while_the_application_runs(
    application: Application, client: httpx.Client
) -> None:
    """And only they: a session that has not expired goes on."""
    expired, valid = (new_member(application, client, name) for name in ("old", "young"))
    engine = application.database.main
    with engine.begin() as connection:
        expire = "UPDATE userharbor_sessions SET expires_at = '2020-01-01 00:00:00.000000'"
        connection.execute(text(f"{expire} WHERE username = 'old'"))
    count = text("SELECT count(*) FROM userharbor_sessions WHERE username = 'old'")
    purged = threading.Event()
    for _ in range(100):
        with engine.connect() as connection:
            if connection.scalar(count) == 0:
                purged.set()
                break
        purged.wait(0.1)
    assert purged.is_set()
    assert client.get("/auth/me", headers=expired).status_code == 401
    assert client.get("/auth/me", headers=valid).status_code == 200


VALID = {
    "username": "mallory_too",
    "email": "mallory_too@example.org",
    "password": PASSWORD,
    "old_password": PASSWORD,
    "new_password": "Battery-staple-2",
    "token": "a token",
    "pen_name": "M.",
}
HOSTILE_VALUES = [
    *("null", "true", "0", "-1.5", "1e400", "NaN", "9" * 5000, "[]", "{}", '[["a"]]'),
    '{"a": {"b": []}}',
    "[" * 900 + "]" * 900,
    "[" * 100_000,
    r'"jane\u0000"',
    r'"Correct-horse-1\ud800"',
    r'"jane@example.org\n"',
    '"' + "x" * 1_000_000 + '"',
    json.dumps("' or 1=1; drop table members; -- %s :x {0}"),
]
HOSTILE_BODIES = [b"", b"{", b'"', b"\xff" * 100, b"\x00" * 100, b"[" * 100_000]
CONTENT_TYPES = [b"application/json", b"text/plain", b"multipart/form-data", b"text/\xff; \xff"]


def test_hostile_requests_are_refused(application: Application, client: httpx.Client) -> None:
    """Whatever stands in a field, in the body or in a header: no error of the server's.

    And nothing comes of it: the session of the account that asks goes on.
    """
    session = new_member(application, client, "mallory")

    def send(
        method: str,
        path: str,
        content: bytes,
        content_type: bytes = b"application/json",
        authorization: bytes = session["Authorization"].encode(),
    ) -> None:
        headers = {b"Content-Type": content_type, b"Authorization": authorization}
        answer = client.request(method, path, content=content, headers=headers)
        assert answer.status_code < 500, (path, headers, content[:80])

    for method, path, fields in bodies(client.get("/openapi.json").json()):
        for field in fields:
            valid = "".join(f'"{other}": "{VALID[other]}", ' for other in fields - {field})
            for value in HOSTILE_VALUES:
                send(method, path, f'{{{valid}"{field}": {value}}}'.encode())
        for body in HOSTILE_BODIES:
            for content_type in CONTENT_TYPES:
                send(method, path, body, content_type)
    for token in (b"x" * 5000, b"\xff", b"' OR 1=1"):
        send("GET", "/auth/me", b"", authorization=b"Bearer " + token)
    assert client.get("/auth/me", headers=session).json()["username"] == "mallory"


def bodies(api: dict[str, Any]) -> Iterator[tuple[str, str, set[str]]]:
    """Each method and path of the application that takes a body, with the body's fields."""
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            if body := operation.get("requestBody"):
                reference = body["content"]["application/json"]["schema"]["$ref"]
                schema = api["components"]["schemas"][reference.rpartition("/")[2]]
                yield method.upper(), path, set(schema["properties"])


def at_once(work: Callable[[int], T]) -> list[T]:
    """What `work` returns to each of the clients, all of which begin together."""
    barrier = threading.Barrier(CLIENTS)

    def begin(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(begin, range(CLIENTS)))


def new_member(application: Application, client: httpx.Client, username: str) -> dict[str, str]:
    """Register, verify and log in; return the headers of the session."""
    address = f"{username}@example.org"
    account = {"username": username, "email": address, "password": PASSWORD}
    assert client.post("/auth/register", json=account).status_code == 201
    token = {"token": application.mail.token(address)}
    assert client.post("/auth/verify-email", json=token).status_code == 200
    return login(client, username, PASSWORD)


def login(client: httpx.Client, username: str, password: str) -> dict[str, str]:
    """Log in; return the headers of the session."""
    answer = client.post("/auth/login", json={"username": username, "password": password})
    assert answer.status_code == 200
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}
