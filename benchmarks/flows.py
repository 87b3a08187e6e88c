"""What an application does: whole calls of `UserHarbor`, but for the hashing of passwords."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from pwdlib import PasswordHash
from userharbor import UserHarbor, security
from userharbor.interfaces import UserStore

from userharbor_sqlalchemy import metadata

from .backends import Backend
from .stores import OURS, stores
from .timing import Section, in_turns

PASSWORD = "Correct-horse-1"
ROLE = "editor"
PERMISSIONS = [f"articles.write{number}" for number in range(10)]


class Site:
    """An application on one store. It remembers who was given, or sent, which token."""

    def __init__(self, store: UserStore[Any]) -> None:
        self.tokens: dict[str, str] = {}
        self.harbor = UserHarbor("secret", store, self, username_validator=lambda _: True)

    def login(self, name: str) -> None:
        self.tokens[name] = self.harbor.login(name, PASSWORD)

    def send_verification(self, username: str, email: str, verification_token: str) -> None:
        self.tokens[username] = verification_token

    def send_password_reset(self, username: str, email: str, reset_token: str) -> None:
        self.tokens[username] = reset_token

    def send_email_verified(self, username: str, email: str) -> None: ...
    def send_password_changed(self, username: str, email: str) -> None: ...
    def send_account_deleted(self, username: str, email: str) -> None: ...


# From registering to going, each finding what those before it left.
FLOWS: list[tuple[str, Callable[[Site, str], object]]] = [
    ("register", lambda site, name: site.harbor.register(name, f"{name}@example.org", PASSWORD)),
    ("verify_email", lambda site, name: site.harbor.verify_email(site.tokens[name])),
    ("login", Site.login),
    ("get_current_user", lambda site, name: site.harbor.get_current_user(site.tokens[name])),
    ("grant_role", lambda site, name: site.harbor.grant_role(name, ROLE)),
    (
        "require_permission",
        lambda site, name: site.harbor.require_permission(site.tokens[name], PERMISSIONS[3]),
    ),
    ("logout", lambda site, name: site.harbor.logout(site.tokens[name])),
    (
        "send_password_reset",
        lambda site, name: site.harbor.send_password_reset(f"{name}@example.org"),
    ),
    ("reset_password", lambda site, name: site.harbor.reset_password(PASSWORD, site.tokens[name])),
    ("login", Site.login),
    ("delete_account", lambda site, name: site.harbor.delete_account(PASSWORD, site.tokens[name])),
]


def flows(backend: Backend, rounds: int, calls: int = 10) -> dict[str, Section]:
    """All flows, on both stores."""
    engines = [backend.engine(), backend.engine()]
    metadata.create_all(engines[0])
    both = stores(*engines)
    both[OURS].create_role(ROLE)
    for permission in PERMISSIONS:
        both[OURS].create_permission(permission)
        both[OURS].grant_permission_to_role(ROLE, permission)
    sites = {name: Site(store) for name, store in both.items()}
    steps = [
        (flow, {name: partial(call, site) for name, site in sites.items()}) for flow, call in FLOWS
    ]
    with _passwords_unhashed():
        section = in_turns(steps, OURS, rounds, calls)
    both[OURS].delete_role(ROLE)
    for permission in PERMISSIONS:
        both[OURS].delete_permission(permission)
    for engine in engines:
        engine.dispose()
    return {"flows": section}


class _Unhashed:
    """Passwords as they are: hashing them takes as long as thousands of calls."""

    @classmethod
    def identify(cls, hash: str | bytes) -> bool:
        return True

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        return str(password)

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        return password == hash

    def check_needs_rehash(self, hash: str | bytes) -> bool:
        return False


@contextmanager
def _passwords_unhashed() -> Iterator[None]:
    hasher = security.password_hasher
    security.password_hasher = PasswordHash((_Unhashed(),))
    try:
        yield
    finally:
        security.password_hasher = hasher
