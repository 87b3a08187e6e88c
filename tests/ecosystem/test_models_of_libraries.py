"""What a user model of each library is to the store, beside the conformance suite."""

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import inspect
from userharbor.exceptions import InvalidEmailError

from ecosystem.stores import STORES, advanced_alchemy, sqlmodel
from support.databases import Database
from support.pages import files
from support.samples import new_user


@pytest.mark.parametrize("of", STORES, ids=lambda it: it.__name__)
def test_a_mapper_gets_an_instance_of_the_librarys_class(of: Any, fresh: Database) -> None:
    """Detached, with each column, after each of the calls that change it; nothing is amiss."""
    with of(fresh.main, lambda user: user) as store:
        store.create_user(new_user("Jane", email="jane@example.org"))
        store.set_user_verified("jane")
        user = store.get_user_by_username("JANE")
        assert (user.username, user.email, user.verified) == ("Jane", "jane@example.org", True)
        assert inspect(user).detached
        assert set(inspect(type(user)).columns.keys()) - vars(user).keys() <= {"_sentinel"}
        assert repr(user)
        found = {finding.code for finding in store.check()}
        # MariaDB's default collation folds, and no library says another.
        assert found <= {"foreign-keys-off", "costly-transactions", "folding-collation"}


@pytest.mark.backends("sqlite", "postgresql")  # MariaDB has whole seconds there
def test_what_an_audited_base_adds_is_filled(fresh: Database) -> None:
    """Its UUID and its times, of the creation and of a later change."""
    with advanced_alchemy(fresh.main, lambda user: user) as store:
        store.create_user(new_user())
        before = store.get_user_by_username("jane")
        assert isinstance(before.id, UUID)
        assert isinstance(before.created_at, datetime)
        store.set_password_hash("jane", "another")
        assert store.get_user_by_username("jane").updated_at > before.updated_at


@pytest.mark.backends("sqlite")
def test_the_page_on_frameworks_has_a_model_that_works(
    fresh: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own file, as it stands."""
    monkeypatch.chdir(tmp_path)
    page: dict[str, Any] = {"__name__": "members"}
    exec(files("frameworks.md")["members.py"], page)
    page["store"].create_user(new_user())
    assert page["store"].get_user_by_username("JANE").email == "jane@example.org"
    page["engine"].dispose()


@pytest.mark.backends("mysql")
def test_a_length_that_is_not_said_is_that_of_the_database(fresh: Database) -> None:
    """SQLModel's texts have 255 characters on MySQL and MariaDB."""
    with sqlmodel(fresh.main, None) as store:
        with pytest.raises(InvalidEmailError):
            store.create_user(new_user(email="e" * 256))
        store.create_user(new_user(email="e" * 255))
        assert store.get_user_by_email("e" * 255) is not None
