"""Random calls, transactions and rollbacks, held against the store in memory from PyPI.

Where that store is looser than the protocol (a role that is made twice, a grant of a role that is
not there, names in another casing), the machine says what is to happen instead.
"""

import copy
import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import UnknownPermissionError, UnknownRoleError
from userharbor.interfaces import CreateUserRequest, UserToken
from userharbor_inmemory import InMemoryUserStore

from support.databases import Database
from support.samples import EXPIRES_AT
from userharbor_sqlalchemy import SQLAlchemyUserStore, metadata

NAMES = ["jane", "JANE", "Straße", "STRASSE", "josé", "jose"]
ROLES = ["admin", "ADMIN", "guest"]
PERMISSIONS = ["users.read", "users.write"]
KINDS = ["session", "password_reset", "email_verification"]

names = st.sampled_from(NAMES)
roles = st.sampled_from(ROLES)
permissions = st.sampled_from(PERMISSIONS)
kinds = st.sampled_from(KINDS)
times = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))


class Abort(Exception):
    pass


class Model(InMemoryUserStore):
    """With what this store has beside the protocol."""

    def set_email(self, username: str, email: str) -> None:
        user = self._users[username.casefold()]
        if any(other.email == email for other in self._users.values() if other is not user):
            raise ValueError("Email already exists")
        user.email, user.verified = email, False
        for tokens in (self._email_verifications, self._password_resets):
            self._remove_user_tokens(tokens, user.username)

    def rename_user(self, old: str, new: str) -> None:
        user = self._users[old.casefold()]
        if self._users.get(new.casefold(), user) is not user:
            raise ValueError("Username already exists")
        for tokens in (self._sessions, self._email_verifications, self._password_resets):
            for token in tokens.values():
                if token.username == user.username:
                    token.username = new
        del self._users[old.casefold()]
        user.username = new
        self._users[new.casefold()] = user


class Machine(RuleBasedStateMachine):
    def __init__(self, db: Database) -> None:
        super().__init__()
        self.store = SQLAlchemyUserStore(sessionmaker(db.main))
        self.model = Model()
        self.blocks: list[tuple[Any, dict[str, Any]]] = []
        self.hashes: list[str] = []
        self.numbers = itertools.count()
        with db.main.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())

    def spelled(self, name: str) -> str:
        """The name as the model stored it, which knows some methods by that only."""
        user = self.model.get_user_by_username(name)
        return name if user is None else user.username

    def both(self, method: str, *arguments: Any) -> None:
        """Call both; they agree in what they return, and in that there is no such user, or one."""
        outcomes = []
        for store in (self.model, self.store):
            try:
                outcomes.append(copy.copy(getattr(store, method)(*copy.copy(arguments))))
            except KeyError:
                outcomes.append(KeyError)
            except (ValueError, IntegrityError):
                outcomes.append(IntegrityError)
        assert outcomes[0] == outcomes[1]

    def new_hash(self) -> str:
        self.hashes.append(f"hash-{next(self.numbers)}")
        return self.hashes[-1]

    @initialize()
    def begin_with_something_to_lose(self) -> None:
        for number, name in enumerate(["jane", "Straße"]):
            self.register(name, number, EXPIRES_AT)
            for kind in KINDS:
                self.add_token(name, kind, EXPIRES_AT)
            self.create_role(ROLES[number])
            self.create_permission(PERMISSIONS[number])
            self.grant_permission(ROLES[number], PERMISSIONS[number])
            self.grant_role(name, ROLES[number])

    @rule(name=names, number=st.integers(0, 3), expires_at=times)
    def register(self, name: str, number: int, expires_at: datetime) -> None:
        request = CreateUserRequest(name, f"{number}@x.org", "hash", self.new_hash(), expires_at)
        try:
            self.model.create_user(request)
        except ValueError:
            with pytest.raises(IntegrityError):
                self.store.create_user(request)
        else:
            self.store.create_user(request)

    @rule(name=names)
    def delete_user(self, name: str) -> None:
        self.both("delete_user", name)

    @rule(name=names)
    def verify(self, name: str) -> None:
        self.both("set_user_verified", name)

    @rule(name=names, number=st.integers(0, 3))
    def set_email(self, name: str, number: int) -> None:
        self.both("set_email", name, f"{number}@x.org")

    @rule(old=names, new=names)
    def rename_user(self, old: str, new: str) -> None:
        self.both("rename_user", old, new)

    @rule(name=names, password_hash=st.text(alphabet="abcß ", max_size=5))
    def set_password(self, name: str, password_hash: str) -> None:
        self.both("set_password_hash", name, password_hash)

    @rule(name=names, kind=kinds, expires_at=times)
    def add_token(self, name: str, kind: str, expires_at: datetime) -> None:
        method = "add_session" if kind == "session" else f"set_{kind}"
        token = UserToken(self.spelled(name), self.new_hash(), expires_at)
        self.both(method, token)

    @rule(kind=kinds, data=st.data())
    def remove_token(self, kind: str, data: st.DataObject) -> None:
        self.both(f"remove_{kind}", data.draw(st.sampled_from(self.hashes)))

    @rule(data=st.data())
    def refresh(self, data: st.DataObject) -> None:
        later = EXPIRES_AT + timedelta(microseconds=data.draw(st.integers(0, 10**6)))
        self.both("refresh_session", data.draw(st.sampled_from(self.hashes)), later)

    @rule(name=names, method=st.sampled_from(["all_sessions", "password_reset_for_user"]))
    def remove_tokens_of_user(self, name: str, method: str) -> None:
        self.both(f"remove_{method}", self.spelled(name))

    @rule(role=roles)
    def create_role(self, role: str) -> None:
        if self.model.role_exists(role):
            with pytest.raises(IntegrityError):
                self.store.create_role(role)
        else:
            self.both("create_role", role)

    @rule(permission=permissions)
    def create_permission(self, permission: str) -> None:
        if self.model.permission_exists(permission):
            with pytest.raises(IntegrityError):
                self.store.create_permission(permission)
        else:
            self.both("create_permission", permission)

    @rule(role=roles)
    def delete_role(self, role: str) -> None:
        self.both("delete_role", role)

    @rule(permission=permissions)
    def delete_permission(self, permission: str) -> None:
        self.both("delete_permission", permission)

    @rule(name=names, role=roles)
    def grant_role(self, name: str, role: str) -> None:
        if self.model.get_user_by_username(name) is not None and not self.model.role_exists(role):
            with pytest.raises(UnknownRoleError):
                self.store.grant_role_to_user(name, role)
        else:
            self.both("grant_role_to_user", name, role)

    @rule(name=names, role=roles)
    def revoke_role(self, name: str, role: str) -> None:
        if self.model.get_user_by_username(name) is None:
            self.store.revoke_role_from_user(name, role)
        else:
            self.both("revoke_role_from_user", name, role)

    @rule(role=roles, permission=permissions)
    def grant_permission(self, role: str, permission: str) -> None:
        if not self.model.role_exists(role):
            with pytest.raises(UnknownRoleError):
                self.store.grant_permission_to_role(role, permission)
        elif not self.model.permission_exists(permission):
            with pytest.raises(UnknownPermissionError):
                self.store.grant_permission_to_role(role, permission)
        else:
            self.both("grant_permission_to_role", role, permission)

    @rule(role=roles, permission=permissions)
    def revoke_permission(self, role: str, permission: str) -> None:
        if self.model.role_exists(role):
            self.both("revoke_permission_from_role", role, permission)
        else:
            self.store.revoke_permission_from_role(role, permission)

    @precondition(lambda self: len(self.blocks) < 3)
    @rule()
    def begin(self) -> None:
        block = self.store.transaction()
        block.__enter__()
        self.blocks.append((block, copy.deepcopy(self.model.__dict__)))

    @precondition(lambda self: self.blocks)
    @rule()
    def commit(self) -> None:
        block, _ = self.blocks.pop()
        block.__exit__(None, None, None)

    @precondition(lambda self: self.blocks)
    @rule()
    def roll_back(self) -> None:
        block, before = self.blocks.pop()
        block.__exit__(Abort, Abort(), None)
        self.model.__dict__.update(before)

    @rule(name=names, role=roles, data=st.data())
    def look(self, name: str, role: str, data: st.DataObject) -> None:
        token_hash = data.draw(st.sampled_from(self.hashes))
        self.compare_user(name)
        for kind in KINDS:
            self.both(f"get_{kind}", token_hash)
        self.both("get_role_permissions", role)

    def compare_user(self, name: str) -> None:
        one, other = (store.get_user_by_username(name) for store in (self.model, self.store))
        assert (one and vars_of(one)) == (other and vars_of(other))
        self.both("get_password_hash", name)
        self.both("get_user_roles", name)
        self.both("get_user_permissions", name)

    def teardown(self) -> None:
        while self.blocks:
            self.roll_back()
        for name in NAMES:
            self.compare_user(name)
        for number in range(4):
            one, other = (
                store.get_user_by_email(f"{number}@x.org") for store in (self.model, self.store)
            )
            assert (one and vars_of(one)) == (other and vars_of(other))
        for token_hash in self.hashes:
            for kind in KINDS:
                self.both(f"get_{kind}", token_hash)
        for role in ROLES:
            self.both("get_role_permissions", role)
        self.both("list_roles")
        self.both("list_permissions")


def vars_of(user: Any) -> tuple[str, str, bool]:
    return user.username, user.email, user.verified


@pytest.mark.races
def test_the_store_is_as_the_one_in_memory(db: Database) -> None:
    """After any sequence of calls, blocks within blocks, commits and rollbacks."""

    class OnThisDatabase(Machine):
        def __init__(self) -> None:
            super().__init__(db)

    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
