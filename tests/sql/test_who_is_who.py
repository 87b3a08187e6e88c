"""Users by a role, by a permission, or by how their names begin: by pages, exactly."""

from collections.abc import Iterable
from typing import Any

import pytest
from userharbor.exceptions import InvalidUsernameError

from support.samples import new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

NAMES = ["Jane", "janet", "JANUARY", "jan_ice", "jan%", "jan|", "Straße", "joe", "josé"]


def names(users: Iterable[User]) -> set[str]:
    return {user.username for user in users}


@pytest.fixture
def people(model_store: Store) -> Store:
    for number, name in enumerate(NAMES):
        model_store.create_user(new_user(name, email=f"{number}@example.org"))
    return model_store


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("", set(NAMES)),
        ("j", set(NAMES) - {"Straße"}),
        ("JAN", {"Jane", "janet", "JANUARY", "jan_ice", "jan%", "jan|"}),
        ("jane", {"Jane", "janet"}),
        ("jan_", {"jan_ice"}),
        ("jan%", {"jan%"}),
        ("jan|", {"jan|"}),
        ("jos", {"josé"}),
        ("jose", set()),
        ("JOSÉ", {"josé"}),
        ("STRASS", {"Straße"}),
        ("strasse", {"Straße"}),
        ("janes", set()),
        ("nul\0", set()),
        ("\ud800", set()),
        ("x" * 300, set()),
    ],
)
def test_names_that_begin_so_are_found_in_any_casing(
    people: Store, prefix: str, found: set[str]
) -> None:
    """No character stands for another; by pages of any size."""
    for page_size in (1, 3, 1000):
        assert names(people.iter_users(prefix=prefix, page_size=page_size)) == found
    users = [user.username for user in people.iter_users(prefix=prefix)]
    if users:
        rest = people.iter_users(prefix=prefix, after=users[0], page_size=2)
        assert [user.username for user in rest] == users[1:]


def test_who_has_a_role_or_a_permission_is_listed_once(people: Store) -> None:
    """Byte for byte; a permission by whichever role, or several."""
    for role in ("admin", "Admin", "editor"):
        people.create_role(role)
    people.create_permission("users.read")
    people.grant_permission_to_role("admin", "users.read")
    people.grant_permission_to_role("editor", "users.read")
    for name, role in (
        ("jane", "admin"),
        ("JANE", "editor"),
        ("joe", "editor"),
        ("josé", "admin"),
        ("straße", "Admin"),
    ):
        people.grant_role_to_user(name, role)
    for page_size in (1, 2, 1000):
        listed: dict[str, Any] = {
            role: names(people.get_users_with_role(role, page_size=page_size))
            for role in ("admin", "Admin", "editor", "ADMIN", "nul\0")
        }
        assert listed == {
            "admin": {"Jane", "josé"},
            "Admin": {"Straße"},
            "editor": {"Jane", "joe"},
            "ADMIN": set(),
            "nul\0": set(),
        }
        able = people.get_users_with_permission("users.read", page_size=page_size)
        may = [user.username for user in able]
        assert sorted(may) == ["Jane", "joe", "josé"]
        rest = people.get_users_with_permission("users.read", after=may[0], page_size=page_size)
        assert [user.username for user in rest] == may[1:]
    assert names(people.get_users_with_permission("users.write")) == set()


def test_who_is_taken_for_another_by_a_collation_is_not_listed(store: Store) -> None:
    """An accent tells two users apart."""
    store.create_role("admin")
    for name in ("jose", "josé"):
        store.create_user(new_user(name))
    store.grant_role_to_user("jose", "admin")
    assert names(store.get_users_with_role("admin")) == {"jose"}
    assert names(store.iter_users(prefix="jose")) == {"jose"}


def test_what_can_not_be_listed_is_refused_at_the_call(people: Store) -> None:
    """As by `iter_users`."""
    with pytest.raises(ValueError, match="page_size=0"):
        people.get_users_with_role("admin", page_size=0)
    with pytest.raises(InvalidUsernameError):
        people.get_users_with_permission("users.read", after="nul\0")
    with pytest.raises(ValueError, match="page_size=0"):
        people.iter_users(prefix="j", page_size=0)
