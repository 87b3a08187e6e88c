"""Each writing call in a block, while each other one is made: none fails but by a typed error."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import timezone
from typing import Any

import pytest
from sqlalchemy import Engine, insert
from sqlalchemy.orm import sessionmaker
from userharbor.exceptions import UserHarborError

from support.databases import Database
from support.racing import Store
from support.samples import EXPIRES_AT, new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, metadata

pytestmark = pytest.mark.races

Call = Callable[[Store, str, str], object]

# Of a store, what each name ends with, and which of the two calls it is.
CALLS: dict[str, Call] = {
    "create_user": lambda store, at, by: store.create_user(new_user(f"bob{at}")),
    "create_user there": lambda store, at, by: store.create_user(
        new_user(f"JANE{at}", email=f"{by}{at}@x.org", verification_token_hash=f"v{by}{at}")
    ),
    "set_user_verified": lambda store, at, by: store.set_user_verified(f"jane{at}"),
    "set_password_hash": lambda store, at, by: store.set_password_hash(f"jane{at}", by),
    "delete_user": lambda store, at, by: store.delete_user(f"jane{at}"),
    "set_email_verification": lambda store, at, by: store.set_email_verification(
        new_token(f"v{by}{at}", f"jane{at}")
    ),
    "get_email_verification": lambda store, at, by: store.get_email_verification(
        f"jane{at}-verification"
    ),
    "remove_email_verification": lambda store, at, by: store.remove_email_verification(
        f"jane{at}-verification"
    ),
    "add_session": lambda store, at, by: store.add_session(new_token(f"s{by}{at}", f"jane{at}")),
    "refresh_session": lambda store, at, by: store.refresh_session(f"s{at}", EXPIRES_AT),
    "remove_session": lambda store, at, by: store.remove_session(f"s{at}"),
    "remove_all_sessions": lambda store, at, by: store.remove_all_sessions(f"jane{at}"),
    "remove_other_sessions": lambda store, at, by: store.remove_other_sessions(
        f"jane{at}", f"s{at}"
    ),
    "set_password_reset": lambda store, at, by: store.set_password_reset(
        new_token(f"r{by}{at}", f"jane{at}")
    ),
    "get_password_reset": lambda store, at, by: store.get_password_reset(f"r{at}"),
    "remove_password_reset": lambda store, at, by: store.remove_password_reset(f"r{at}"),
    "remove_password_reset_for_user": lambda store, at, by: store.remove_password_reset_for_user(
        f"jane{at}"
    ),
    "set_email": lambda store, at, by: store.set_email(f"jane{at}", f"{by}{at}@new.example"),
    "rename_user": lambda store, at, by: store.rename_user(f"jane{at}", f"janet{by}{at}"),
    "rename_user there": lambda store, at, by: store.rename_user(f"jane{at}", f"JOE{at}"),
    "create_role": lambda store, at, by: store.create_role(f"new{at}"),
    "delete_role": lambda store, at, by: store.delete_role(f"b{at}"),
    "grant_role_to_user": lambda store, at, by: store.grant_role_to_user(f"jane{at}", f"a{at}"),
    "revoke_role_from_user": lambda store, at, by: store.revoke_role_from_user(
        f"jane{at}", f"b{at}"
    ),
    "create_permission": lambda store, at, by: store.create_permission(f"new{at}"),
    "delete_permission": lambda store, at, by: store.delete_permission(f"p{at}"),
    "grant_permission_to_role": lambda store, at, by: store.grant_permission_to_role(
        f"b{at}", f"p{at}"
    ),
    "revoke_permission_from_role": lambda store, at, by: store.revoke_permission_from_role(
        f"a{at}", f"p{at}"
    ),
}

LEVELS = ["default", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"]


def seed(engine: Engine, names: list[str]) -> None:
    """For each, a user with a token of each kind and a role of two, one of which has a permission.

    Their rows, written as such: there are thousands of pairs.
    """
    rows: dict[str, list[dict[str, Any]]] = {
        "users": [
            {
                "username": f"{name}{at}",
                "username_key": f"{name}{at}",
                "email": f"{name}{at}@example.org",
                "password_hash": "hash",
                "verified": False,
            }
            for at in names
            for name in ("jane", "joe")
        ],
        "email_verifications": [token(f"jane{at}-verification", at) for at in names],
        "sessions": [token(f"s{at}", at) for at in names],
        "password_resets": [token(f"r{at}", at) for at in names],
        "roles": [{"role": f"{letter}{at}"} for at in names for letter in "ab"],
        "permissions": [{"permission": f"p{at}"} for at in names],
        "role_permissions": [{"role": f"a{at}", "permission": f"p{at}"} for at in names],
        "user_roles": [{"username": f"jane{at}", "role": f"b{at}"} for at in names],
    }
    with engine.begin() as connection:
        for table, values in rows.items():
            connection.execute(insert(metadata.tables[f"userharbor_{table}"]), values)


def token(token_hash: str, at: str) -> dict[str, Any]:
    expires_at = EXPIRES_AT.replace(tzinfo=timezone.utc)
    return {"token_hash": token_hash, "username": f"jane{at}", "expires_at": expires_at}


@pytest.mark.parametrize("second_in", ["block", "single"])
@pytest.mark.parametrize("level", LEVELS)
def test_two_calls_at_once(db: Database, level: str, second_in: str) -> None:
    """The block is held open until the other call is through, or for as long as to let it wait.

    One user for each pair, and many pairs at once: those of other users are not in the way either,
    but for a block that renames on MySQL and MariaDB.
    """
    alone = db.backend == "sqlite"  # where one writes, all others wait
    if alone and level not in ("default", "AUTOCOMMIT"):
        pytest.skip("SQLite has one level for those that write")
    options = {} if level == "default" else {"isolation_level": level}
    store = SQLAlchemyUserStore(sessionmaker(db.engine(pool_size=2 * len(CALLS), **options)))

    def failures(first: str, second: str, at: str) -> list[str]:
        begun, ended = threading.Event(), threading.Event()
        failed = []

        @contextmanager
        def noted(which: str) -> Iterator[None]:
            try:
                yield
            except (UserHarborError, KeyError):
                pass
            except Exception as error:
                # InnoDB locks the gap that a name leaves, in which a neighbour's may be stored.
                if not ("rename" in f"{first}, {second}" and "Deadlock found" in str(error)):
                    failed.append(f"{first}, {second}: {which} raised {error!r}")

        def hold() -> None:
            with noted("first"), store.transaction():
                CALLS[first](store, at, "first")
                begun.set()
                ended.wait(0.01 if alone else 0.05)
            begun.set()

        holder = threading.Thread(target=hold)
        holder.start()
        begun.wait()
        with noted("second"), store.transaction() if second_in == "block" else nullcontext():
            CALLS[second](store, at, "second")
        ended.set()
        holder.join()
        return failed

    with ThreadPoolExecutor(1 if alone else len(CALLS)) as threads:
        for first in CALLS:
            names = [f"-{first}-{number}" for number in range(len(CALLS))]
            seed(db.main, names)
            found = threads.map(failures, [first] * len(CALLS), CALLS, names)
            assert [each for failed in found for each in failed] == []
