"""Columns whose type makes something else of a text: what is stored, and what methods find."""

from typing import Any

import pytest
from sqlalchemy import Boolean, Column, ColumnElement, Integer, MetaData, String, Table, func
from sqlalchemy.orm import Session, registry, sessionmaker
from sqlalchemy.types import TypeDecorator, TypeEngine
from userharbor.exceptions import InvalidEmailError, InvalidUsernameError

from support.databases import Database
from support.models import BYTEWISE, Turned
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User


class Lowered(TypeDecorator[str]):
    """Stored in lower case."""

    impl = String(255)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and value.lower()


class Marked(TypeDecorator[str]):
    """Stored with a mark that is no part of the text."""

    impl = String(255)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and f"v1:{value}"

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return value and value.removeprefix("v1:")


class TurnedBySql(TypeDecorator[str]):
    """Converted by the database."""

    impl = String(255)
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> ColumnElement[str]:
        return func.replace(bindparam, "a", "4", type_=self)

    def column_expression(self, column: Any) -> ColumnElement[str]:
        return func.replace(column, "4", "a", type_=self)


TYPES = [Lowered(), Marked(), Turned(), TurnedBySql()]


def table_of(column_type: TypeEngine[str], *more: Column[Any]) -> Table:
    """A user table whose texts are of one type."""
    return Table(
        "members",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("username", column_type, nullable=False, unique=True),
        Column("email", column_type, nullable=False, unique=True),
        Column("password_hash", column_type, nullable=False),
        Column("verified", Boolean, nullable=False),
        *more,
        **BYTEWISE,
    )


@pytest.mark.parametrize("has_key", [True, False], ids=["its own key", "a table of keys"])
@pytest.mark.parametrize("column_type", TYPES, ids=lambda it: type(it).__name__)
def test_every_method_finds_what_the_type_has_stored(
    column_type: TypeEngine[str], has_key: bool, fresh: Database
) -> None:
    """In its conditions as in its rows: by name, key and address, and in its tokens and roles."""
    key = [Column("username_key", column_type, unique=True)] if has_key else []
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), table_of(column_type, *key))
    store.metadata.create_all(fresh.main)
    store.create_user(new_user("ana", password_hash="a hash"))
    store.create_user(new_user("jane"))

    assert store.get_user_by_username("ANA") == User("ana", "ana@example.org", False)
    assert store.get_user_by_email("ANA@example.org") == User("ana", "ana@example.org", False)
    assert store.get_password_hash("Ana") == "a hash"
    store.set_password_hash("Ana", "another hash")
    assert store.get_password_hash("ana") == "another hash"
    store.set_user_verified("ANA")
    assert [user.verified for user in store.iter_users() if user.username == "ana"] == [True]
    assert [user.username for user in store.iter_users(page_size=1)].count("jane") == 1

    store.add_session(new_token("s", "Ana"))
    store.set_password_reset(new_token("r", "Ana"))
    store.set_email_verification(new_token("e", "Ana"))
    assert store.get_session("s") == new_token("s", "ana")
    assert store.list_sessions("ANA") == [new_token("s", "ana")]
    with store.transaction():
        assert store.get_password_reset("r") == new_token("r", "ana")
        assert store.get_email_verification("e") == new_token("e", "ana")
    assert store.remove_other_sessions("ANA", "another") == 1
    store.create_role("a role")
    store.create_permission("a right")
    store.grant_permission_to_role("a role", "a right")
    store.grant_role_to_user("Ana", "a role")
    assert store.get_user_roles("ANA") == {"a role"}
    assert store.get_user_permissions("ANA") == {"a right"}
    store.revoke_role_from_user("ANA", "a role")
    assert store.get_user_roles("ana") == set()

    with pytest.raises(InvalidUsernameError):
        store.create_user(new_user("ANA", email="other", verification_token_hash="other"))
    with pytest.raises(InvalidEmailError):
        taken = {"email": "ana@example.org", "verification_token_hash": "other"}
        store.create_user(new_user("other", **taken))
    assert [finding for finding in store.check() if finding.table == "members"] == []
    store.delete_user("ANA")
    assert store.get_user_by_username("ana") is None
    assert fresh.count("members") == 1
    assert fresh.count("userharbor_password_resets") == 0


@pytest.mark.parametrize("column_type", TYPES, ids=lambda it: type(it).__name__)
def test_users_whom_the_orm_stores_are_the_same_to_the_store(
    column_type: TypeEngine[str], fresh: Database
) -> None:
    """Both write through the type; a sync gives each a key."""

    class Member:
        pass

    table = table_of(column_type)
    registry(metadata=table.metadata).map_imperatively(Member, table)
    store = SQLAlchemyUserStore(sessionmaker(fresh.main), Member)
    store.metadata.create_all(fresh.main)
    with Session(fresh.main) as session:
        for name in ("ana", "bert", "carla"):
            member: Any = Member()
            member.username, member.email = name, f"{name}@x.org"
            member.password_hash, member.verified = "hash", True
            session.add(member)
        session.commit()
    assert store.get_user_by_username("ana") == User("ana", "ana@x.org", True)
    assert store.sync_username_keys() == 3
    assert store.sync_username_keys() == 0
    assert store.get_user_by_username("CARLA") == User("carla", "carla@x.org", True)
    assert {user.username for user in store.iter_users(page_size=2)} == {"ana", "bert", "carla"}
