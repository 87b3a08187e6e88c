"""Giving users their keys whom the application has added or renamed beside the table of keys."""

from contextlib import suppress
from typing import Any

from sqlalchemy import Column, Connection, Table, bindparam, delete, exists, false, insert, select
from sqlalchemy.exc import DBAPIError

from ..engine.backends import backend_of
from ..errors import UsernamesCollideError
from .values import USERNAME_LENGTH, is_storable_key, username_key

BATCH_SIZE = 1000


def set_keys(connection: Connection, keys: Table) -> int:
    """Store the key of each user who has none or a wrong one, and return how many that were.

    `UsernamesCollideError` if some of them, or of those who have one, fold to the same key;
    it is the caller's to take back what was stored by then. A name whose key no column can
    hold stays without, and is found as it is spelled.
    """
    username = _username(keys)
    _remove_wrong_keys(connection, keys)
    if not backend_of(connection.dialect).enforces_foreign_keys:
        # A user whom the application deleted has left a key.
        is_owned = exists().where(
            username == keys.c.username, username.collate("BINARY") == keys.c.username
        )
        connection.execute(delete(keys).where(~is_owned))
    missing = (
        select(username)
        .outerjoin_from(username.table, keys, keys.c.username == username)
        .where(keys.c.username.is_(None), username.is_not(None))
        .order_by(username)
        .limit(BATCH_SIZE)
    )
    taken = select(keys.c.username_key, keys.c.username).where(
        keys.c.username_key.in_(bindparam("keys", expanding=True))
    )
    added, collisions = 0, list[tuple[str, str]]()
    names = connection.scalars(missing).all()
    while names:
        by_key = {
            username_key(name): name
            for name in names
            if is_storable_key(username_key(name), USERNAME_LENGTH)
        }
        owners: dict[str, str] = by_key | {
            row[0]: row[1] for row in connection.execute(taken, {"keys": list(by_key)})
        }
        new: list[dict[str, Any]] = []
        for name in names:
            owner = owners.get(username_key(name))
            if owner == name:
                new.append({"username_key": username_key(name), "username": name})
            elif owner is not None:
                collisions.append((owner, name))
        if new:
            connection.execute(insert(keys), new)
            added += len(new)
        names = connection.scalars(missing.where(username > names[-1])).all()
    if collisions:
        raise UsernamesCollideError(collisions)
    return added


def begin_before_ddl(keys: Table, connection: Connection, **_: object) -> None:
    """Before `create_all()` makes the table of keys: let SQLite take that back too, if it must.

    Its driver begins no transaction for DDL, but puts it into one that a write has begun.
    """
    if isinstance(connection, Connection):
        no_op = delete(_username(keys).table).where(false())
        backend_of(connection.dialect).take_write_lock(connection, no_op)


def fill_created_table(keys: Table, connection: Connection, **_: object) -> None:
    """After `create_all()` has made the table of keys: store those of the users who are there.

    Where that fails, the table goes again, or the next `create_all()` would take it for
    filled: on MariaDB and MySQL, no DDL is rolled back.
    """
    if not isinstance(connection, Connection):  # a mock engine, which only prints
        return
    try:
        set_keys(connection, keys)
    except Exception:
        with suppress(DBAPIError):
            keys.drop(connection)
        raise


def _remove_wrong_keys(connection: Connection, keys: Table) -> None:
    """All of them before any is set: one may be the right one of another user."""
    key = keys.c.username_key
    rows = select(key, keys.c.username).order_by(key).limit(BATCH_SIZE)
    remove = delete(keys).where(key.in_(bindparam("wrong", expanding=True)))
    page = connection.execute(rows).all()
    while page:
        wrong = [stored for stored, username in page if stored != username_key(username)]
        if wrong:
            connection.execute(remove, {"wrong": wrong})
        page = connection.execute(rows.where(key > page[-1][0])).all()


def _username(keys: Table) -> Column[str]:
    """The column of the users' own table."""
    (reference,) = keys.c.username.foreign_keys
    return reference.column
