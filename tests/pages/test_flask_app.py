"""The Flask example: its pages in a real browser, its migrations and its commands."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import inspect

from support.applications import EXAMPLES, MailServer, served
from support.browser import browser as browser
from support.databases import Database, fresh_database
from support.servers import free_port

pytest.importorskip("flask_wtf")

FOLDER = EXAMPLES / "flask_app"
PASSWORD, ANOTHER = "Correct-horse-1", "Battery-staple-2"
WIDTHS = {"wide": 1280, "narrow": 390}


class Site:
    """The application, running, and the mail that it sends."""

    def __init__(self, database: Database, mail: MailServer, folder: Path) -> None:
        self.mail = mail
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self.environment = os.environ | {
            "SECRET_KEY": "a secret of the tests",
            "DATABASE_URL": database.url.render_as_string(hide_password=False),
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mail.port),
            "BASE_URL": self.url,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def flask(self, *arguments: str) -> str:
        """Run a command of the application's; return what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", str(FOLDER / "app.py"), *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self) -> Iterator["Site"]:
        self.flask("db", "upgrade")
        port = self.url.rpartition(":")[2]
        command = ["flask", "--app", str(FOLDER / "app.py"), "run", "--port", port]
        with served(command, url=self.url, folder=self.folder, environment=self.environment):
            yield self

    def link(self, address: str) -> str:
        """That of the newest mail to `address`."""
        found = re.search('href="([^"]+)"', self.mail.newest(address))
        assert found is not None
        return found[1]


@pytest.fixture(scope="module")
def site(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with (
        fresh_database(database, folder) as fresh,
        MailServer().running() as mail,
        Site(fresh, mail, folder).running() as site,
    ):
        yield site


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    context = browser.new_context(base_url=site.url)
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


def fill_in(page: Any, button: str, **fields: str) -> None:
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(value)
    page.get_by_role("main").get_by_role("button", name=button).click()


def log_in(page: Any, password: str = PASSWORD) -> None:
    page.goto("/login")
    fill_in(page, "Log in", Username="jane", Password=password)


def said(page: Any) -> str:
    return str(page.locator(".note").first.inner_text())


def test_an_account_in_a_browser_from_registration_to_deletion(
    browser: Any, page: Any, site: Site
) -> None:
    """By the links in the mails; the other session ends, and so does each after a reset."""
    page.goto("/register")
    fill_in(page, "Register", Username="Jane", **{"E-mail": "jane@example.org"}, Password="short")
    assert said(page) == "Weak password."
    fill_in(page, "Register", Username="Jane", **{"E-mail": "jane@example.org"}, Password=PASSWORD)
    assert "mail" in said(page)
    log_in(page)
    assert said(page) == "User email not verified."

    link = site.link("jane@example.org")
    assert httpx.get(link).status_code == 200, "a mail server that opens links"
    page.goto(link)
    fill_in(page, "Verify")
    log_in(page)
    assert page.get_by_role("heading", level=1).inner_text() == "Your account"

    other = browser.new_context(base_url=site.url)
    elsewhere = other.new_page()
    log_in(elsewhere)
    page.reload()
    assert "You are logged in 2 times." in page.content()
    fill_in(page, "End the other sessions")
    assert said(page) == "Ended 1 other session."
    elsewhere.goto("/account")
    assert said(elsewhere) == "Log in first."

    elsewhere.goto("/forgotten")
    fill_in(elsewhere, "Send a link", **{"E-mail": "jane@example.org"})
    elsewhere.goto(site.link("jane@example.org"))
    fill_in(elsewhere, "Save", New_password=ANOTHER)
    assert said(elsewhere) == "Log in with your new password."
    page.goto("/account")
    assert said(page) == "Log in first."
    log_in(page)
    assert said(page) == "Invalid username or password."
    log_in(page, ANOTHER)

    page.goto("/account/password")
    fill_in(page, "Save", Old_password=ANOTHER, New_password=PASSWORD)
    log_in(page)
    page.get_by_role("button", name="Log out").click()
    log_in(page)
    page.get_by_role("link", name="Delete your account").click()
    fill_in(page, "Delete", Password=PASSWORD)
    assert said(page) == "Your account is deleted."
    log_in(page)
    assert said(page) == "Invalid username or password."
    other.close()


@pytest.mark.backends("sqlite")
def test_no_page_shuts_anybody_out(browser: Any, page: Any, site: Site, tmp_path: Path) -> None:
    """By axe's rules, wide and narrow, light and dark; nothing is wider than the screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.goto("/register")
    fill_in(page, "Register", Username="judy", **{"E-mail": "judy@example.org"}, Password=PASSWORD)
    page.goto(site.link("judy@example.org"))
    fill_in(page, "Verify")
    fill_in(page, "Log in", Username="judy", Password=PASSWORD)
    paths = ["/", "/account", "/account/password", "/account/delete"]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name, width in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": 800})
            for path in [*paths, "/register", "/login", "/forgotten", "/reset?token=none"]:
                page.goto(path)
                found = axe.run(page, options={"resultTypes": ["violations"]}).response
                assert [each["id"] for each in found["violations"]] == [], path
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                shot = f"{path.strip('/').replace('/', '-').partition('?')[0]}-{name}-{scheme}.png"
                page.screenshot(path=tmp_path / shot)


def test_a_form_of_another_site_is_refused(site: Site) -> None:
    """Without the token of the form, nothing is done."""
    with httpx.Client(base_url=site.url) as client:
        form = {"username": "mallory", "email": "m@example.org", "password": PASSWORD}
        for path in ("/register", "/login", "/logout", "/account/sessions", "/account/delete"):
            assert client.post(path, data=form).status_code == 400


def test_the_migrations_make_what_the_models_say_and_can_be_undone(
    fresh: Database, tmp_path: Path
) -> None:
    """By Flask-Migrate's commands; and the application's own purge and check."""
    site = Site(fresh, MailServer(), tmp_path)
    site.flask("db", "upgrade")
    site.flask("db", "check")
    assert site.flask("accounts", "purge").startswith("removed: sessions 0")
    assert "missing" not in site.flask("accounts", "check")
    site.flask("db", "downgrade", "base")
    assert inspect(fresh.main).get_table_names() == ["alembic_version"]


def test_without_a_secret_it_says_how_to_make_one(tmp_path: Path) -> None:
    """And does not start."""
    environment = {each: os.environ[each] for each in os.environ if each != "SECRET_KEY"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "app.py")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "SECRET_KEY is not set; python -c" in done.stderr
