"""The admin page of docs/accounts.md in a real browser, over the application's and our tables."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, Table
from sqlalchemy.orm import sessionmaker
from userharbor.security import hash_password

from support.applications import served
from support.browser import browser as browser
from support.databases import Database
from support.pages import DOCS, files
from support.samples import EXPIRES_AT, new_token, new_user
from support.servers import free_port
from userharbor_sqlalchemy import SQLAlchemyUserStore

pytest.importorskip("sqladmin")

PASSWORD = "Correct-horse-1"
HARBOR = """
from userharbor import UserHarbor

harbor = UserHarbor("change me", store, None)
"""


@pytest.fixture
def folder(fresh: Database, tmp_path: Path) -> Path:
    """The page's model and its admin page, on `fresh`, whose tables are there."""
    blocks = (DOCS / "accounts.md").read_text(encoding="utf-8").split("```python\n")
    accounts = blocks[1].partition("```")[0]
    url = fresh.url.render_as_string(hide_password=False)
    accounts = accounts.replace("sqlite:///users.db", url)
    # The servers ask for lengths.
    accounts = accounts.replace(
        "mapped_column(unique=True)", "mapped_column(String(99), unique=True)"
    )
    hashed = "password_hash: Mapped[str]"
    accounts = accounts.replace(hashed, f"{hashed} = mapped_column(String(512))")
    (tmp_path / "accounts.py").write_text(f"from sqlalchemy import String\n{accounts}\n{HARBOR}")
    (tmp_path / "admin.py").write_text(files("accounts.md")["admin.py"])
    return tmp_path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    command = ["uvicorn", "admin:app", "--port", url.rpartition(":")[2]]
    with served(
        command, url=url, folder=folder, environment={**os.environ, "PYTHONPATH": str(folder)}
    ):
        yield url


def test_who_is_deleted_by_the_bin_icon_is_gone_with_all_that_was_theirs(
    fresh: Database, browser: Any, url: str
) -> None:
    """As by `delete_user`. The page is for those who have the permission; sessions are ended."""
    users = table_of_members(fresh)
    store: SQLAlchemyUserStore[Any] = SQLAlchemyUserStore(sessionmaker(fresh.main), users)
    for name in ("jane", "joe", "admin"):
        store.create_user(new_user(name, password_hash=hash_password(PASSWORD)))
        store.set_user_verified(name)
    store.add_session(new_token("jane-phone", "jane"))
    store.add_session(new_token("joe-phone", "joe", EXPIRES_AT.replace(year=2040)))
    store.create_role("manager")
    store.create_permission("accounts.manage")
    store.grant_permission_to_role("manager", "accounts.manage")
    store.grant_role_to_user("admin", "manager")

    page = browser.new_page()
    page.set_default_timeout(15_000)

    def log_in(name: str) -> None:
        page.goto(f"{url}/admin/login")
        page.fill("[name=username]", name)
        page.fill("[name=password]", PASSWORD)
        page.click("[type=submit]")

    def delete(text_of_row: str) -> None:
        page.locator("tr", has_text=text_of_row).locator(".fa-trash").click()
        with page.expect_response(lambda response: response.request.method == "DELETE"):
            page.click("#modal-delete-button[data-url]")
        page.wait_for_load_state()

    log_in("joe")
    page.goto(f"{url}/admin/member/list")
    assert page.url.endswith("/admin/login")
    log_in("admin")
    page.goto(f"{url}/admin/member/list")
    assert "jane@example.org" in page.content()
    assert "argon2" not in page.content()
    delete("jane@example.org")
    assert fresh.read("SELECT username FROM members ORDER BY username") == [("admin",), ("joe",)]
    owners = {row[0] for row in fresh.read("SELECT username FROM userharbor_sessions")}
    assert owners == {"admin", "joe"}

    page.goto(f"{url}/admin/login-session/list")
    delete("2040")
    assert store.get_session("joe-phone") is None
    page.close()


def table_of_members(fresh: Database) -> Table:
    return Table("members", MetaData(), autoload_with=fresh.main)
