"""Who is who: hostile texts, and texts that a collation may take for one, on each database."""

from collections.abc import Callable

import pytest
from sqlalchemy import MetaData
from userharbor.exceptions import (
    InvalidCredentialsError,
    InvalidEmailError,
    InvalidPasswordResetTokenError,
    InvalidPermissionError,
    InvalidRoleError,
    InvalidSessionTokenError,
    InvalidUsernameError,
    InvalidVerificationTokenError,
    PermissionAlreadyExistsError,
    RoleAlreadyExistsError,
    UnknownPermissionError,
    UnknownRoleError,
)

from support.databases import Database
from support.model_stores import created, store_on
from support.models import user_table
from support.samples import new_token, new_user
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]

HOSTILE = {
    "NUL": "adm\0in",
    "lone surrogate": "adm\ud800in",
    "5,000 characters": "x" * 5000,
    "empty": "",
    "emoji": "adm😀in",
    "right-to-left override": "adm\u202ein",
    "single quote": "adm'in",
    "double quote": 'adm"in',
    "percent": "adm%sin%(x)s%",
    "colon": "adm:name",
    "backslash": "adm\\'in\\",
    "trailing space": "admin ",
    "leading space": " admin",
    "trailing newline": "admin\n",
    "trailing tab": "admin\t",
    "SQL": "admin'; DROP TABLE userharbor_users; --",
    "accent": "ádmin",
    "combining accent": "a\u0301dmin",
    "upper case": "ADMIN",
    "dotless i": "admın",
    "dotted capital i": "ADMİN",
    "full width": "ａｄｍｉｎ",
    "sharp s": "adminß",
    "zero width": "adm\u200bin",
    "longest astral": "😀" * 100,
}
REFUSED = {"NUL", "lone surrogate", "5,000 characters", "trailing space"}

hostile = pytest.mark.parametrize("name", HOSTILE)

TABLES = {
    "users": "username",
    "email_verifications": "token_hash",
    "sessions": "token_hash",
    "password_resets": "token_hash",
    "roles": "role",
    "permissions": "permission",
    "user_roles": "role",
    "role_permissions": "permission",
}


@pytest.fixture
def admin(store: Store) -> Store:
    """A store where a user, the tokens, a role and a permission are all called "admin"."""
    store.create_user(new_user("admin", email="admin", verification_token_hash="admin"))
    store.add_session(new_token("admin", "admin"))
    store.set_password_reset(new_token("admin", "admin"))
    store.create_role("admin")
    store.create_permission("admin")
    store.grant_role_to_user("admin", "admin")
    store.grant_permission_to_role("admin", "admin")
    return store


def contents(db: Database) -> dict[str, list[tuple[object, ...]]]:
    return {table: sorted(db.read(f"SELECT * FROM userharbor_{table}")) for table in TABLES}


@hostile
def test_no_getter_takes_a_hostile_text_for_another(admin: Store, name: str) -> None:
    """Nothing is found, and nothing raised but what a missing user raises."""
    text = HOSTILE[name]
    same_user = text.casefold() == "admin"

    assert (admin.get_user_by_username(text) is not None) == same_user
    assert (admin.get_user_by_email(text) is not None) == (text.lower() == "admin")
    assert admin.get_user_roles(text) == ({"admin"} if same_user else set())
    assert admin.get_user_permissions(text) == ({"admin"} if same_user else set())
    assert admin.get_role_permissions(text) == set()
    assert not admin.role_exists(text)
    assert not admin.permission_exists(text)
    assert admin.get_session(text) is None
    assert admin.get_email_verification(text) is None
    assert admin.get_password_reset(text) is None
    with admin.transaction():
        assert admin.get_email_verification(text) is None
        assert admin.get_password_reset(text) is None
    if not same_user:
        with pytest.raises(KeyError):
            admin.get_password_hash(text)


@hostile
def test_no_write_takes_a_hostile_text_for_another(admin: Store, db: Database, name: str) -> None:
    """Removals, revocations and updates by a text that is not there change no row."""
    text = HOSTILE[name]
    before = contents(db)

    admin.remove_session(text)
    admin.remove_email_verification(text)
    admin.remove_password_reset(text)
    admin.refresh_session(text, new_token("x").expires_at.replace(year=2040))
    admin.delete_role(text)
    admin.delete_permission(text)
    admin.revoke_role_from_user("admin", text)
    admin.revoke_permission_from_role("admin", text)
    admin.revoke_permission_from_role(text, "admin")
    with pytest.raises(UnknownRoleError):
        admin.grant_role_to_user("admin", text)
    with pytest.raises(UnknownRoleError):
        admin.grant_permission_to_role(text, "admin")
    with pytest.raises(UnknownPermissionError):
        admin.grant_permission_to_role("admin", text)
    if text.casefold() != "admin":
        admin.delete_user(text)
        admin.set_user_verified(text)
        admin.remove_all_sessions(text)
        admin.remove_password_reset_for_user(text)
        admin.revoke_role_from_user(text, "admin")
        writes: list[Callable[[], None]] = [
            lambda: admin.set_password_hash(text, "new"),
            lambda: admin.grant_role_to_user(text, "admin"),
            lambda: admin.add_session(new_token("new", text)),
            lambda: admin.set_email_verification(new_token("new", text)),
            lambda: admin.set_password_reset(new_token("new", text)),
        ]
        for write in writes:
            with pytest.raises(KeyError) as raised:
                write()
            assert isinstance(raised.value, InvalidUsernameError)

    assert contents(db) == before


KINDS = [
    "username",
    "email",
    "verification at registration",
    "verification",
    "session",
    "reset",
    "role",
    "permission",
]


def creations(store: Store, text: str) -> dict[str, tuple[Callable[[], None], type, str]]:
    """Each way to store `text` as a key: the call, the core's error, and where it is to be read."""
    return {
        "username": (
            lambda: store.create_user(new_user(text, email="e", verification_token_hash="t")),
            InvalidUsernameError,
            "SELECT username FROM userharbor_users WHERE email = 'e'",
        ),
        "email": (
            lambda: store.create_user(new_user("jane", email=text)),
            InvalidEmailError,
            "SELECT email FROM userharbor_users WHERE username = 'jane'",
        ),
        "verification at registration": (
            lambda: store.create_user(new_user("jane", verification_token_hash=text)),
            InvalidVerificationTokenError,
            "SELECT token_hash FROM userharbor_email_verifications WHERE username = 'jane'",
        ),
        "verification": (
            lambda: store.set_email_verification(new_token(text, "joe")),
            InvalidVerificationTokenError,
            "SELECT token_hash FROM userharbor_email_verifications WHERE username = 'joe'",
        ),
        "session": (
            lambda: store.add_session(new_token(text, "joe")),
            InvalidSessionTokenError,
            "SELECT token_hash FROM userharbor_sessions WHERE username = 'joe'",
        ),
        "reset": (
            lambda: store.set_password_reset(new_token(text, "joe")),
            InvalidPasswordResetTokenError,
            "SELECT token_hash FROM userharbor_password_resets WHERE username = 'joe'",
        ),
        "role": (
            lambda: store.create_role(text),
            InvalidRoleError,
            "SELECT role FROM userharbor_roles WHERE role <> 'admin'",
        ),
        "permission": (
            lambda: store.create_permission(text),
            InvalidPermissionError,
            "SELECT permission FROM userharbor_permissions WHERE permission <> 'admin'",
        ),
    }


@hostile
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_text_is_stored_as_given_or_refused_by_the_cores_error(
    admin: Store, db: Database, name: str, kind: str
) -> None:
    """The same answer on each database, and nothing stored where it is refused."""
    text = HOSTILE[name]
    admin.create_user(new_user("joe", email="joe", verification_token_hash="joe"))
    create, error, where = creations(admin, text)[kind]
    before = contents(db)

    if name in REFUSED or (kind == "username" and text.casefold() == "admin"):
        with pytest.raises(error):
            create()
        assert contents(db) == before
    else:
        create()
        assert (text,) in db.read(where)


@hostile
def test_a_password_hash_is_stored_as_given_or_refused(
    admin: Store, db: Database, name: str
) -> None:
    """It is no key: a space at its end is kept."""
    text = HOSTILE[name]
    if name in REFUSED - {"trailing space"}:
        with pytest.raises(InvalidCredentialsError):
            admin.set_password_hash("admin", text)
        with pytest.raises(InvalidCredentialsError):
            admin.create_user(new_user(password_hash=text))
        assert db.count("userharbor_users") == 1
        assert admin.get_password_hash("admin") == "admin-password-hash"
    else:
        admin.set_password_hash("admin", text)
        assert admin.get_password_hash("admin") == text
        assert db.read("SELECT password_hash FROM userharbor_users") == [(text,)]


def test_a_key_longer_than_its_column_is_refused_though_the_name_is_not(store: Store) -> None:
    """Casefolding lengthens: "ß" becomes "ss"."""
    with pytest.raises(InvalidUsernameError):
        store.create_user(new_user("ß" * 200, email="e", verification_token_hash="t"))
    assert store.get_user_by_username("ß" * 200) is None


@pytest.mark.parametrize("length", [255, 256])
def test_the_longest_name_that_fits_is_stored(store: Store, db: Database, length: int) -> None:
    """Columns are measured in characters."""
    name = "ж" * length
    if length == 255:
        store.create_role(name)
        assert store.list_roles() == {name}
    else:
        with pytest.raises(InvalidRoleError):
            store.create_role(name)


def test_every_method_takes_a_username_in_any_casing(store: Store) -> None:
    """ "Straße" is "STRASSE", and "strasse"."""
    store.create_user(new_user("Straße", email="e@example.org"))
    store.create_role("admin")
    store.create_permission("users.read")
    store.grant_permission_to_role("admin", "users.read")

    store.set_user_verified("STRASSE")
    assert store.get_user_by_username("strasse") == User("Straße", "e@example.org", True)
    store.set_password_hash("STRASSE", "new")
    assert store.get_password_hash("strasse") == "new"
    store.grant_role_to_user("STRASSE", "admin")
    assert store.get_user_roles("strasse") == {"admin"}
    assert store.get_user_permissions("strasse") == {"users.read"}
    store.revoke_role_from_user("STRASSE", "admin")
    assert store.get_user_roles("strasse") == set()
    store.add_session(new_token("s", "STRASSE"))
    session = store.get_session("s")
    assert session is not None
    assert session.username == "Straße"
    store.remove_all_sessions("STRASSE")
    assert store.get_session("s") is None
    store.set_email_verification(new_token("v", "STRASSE"))
    assert store.get_email_verification("Straße-verification") is None
    assert store.get_email_verification("v") is not None
    store.set_password_reset(new_token("r", "STRASSE"))
    store.remove_password_reset_for_user("strasse")
    assert store.get_password_reset("r") is None
    with pytest.raises(InvalidUsernameError):
        store.create_user(new_user("STRASSE"))
    store.delete_user("STRASSE")
    assert store.get_user_by_username("Straße") is None


def test_names_and_hashes_that_differ_in_case_live_side_by_side(store: Store) -> None:
    """ "ADMIN" is not "admin"."""
    store.create_user(new_user())
    for name in ("admin", "ADMIN", "Ádmin"):
        store.create_role(name)
        store.create_permission(name)
        store.add_session(new_token(name))
        store.grant_permission_to_role(name, name)
    store.grant_role_to_user("jane", "ADMIN")

    assert store.list_roles() == {"admin", "ADMIN", "Ádmin"}
    assert store.get_user_roles("jane") == {"ADMIN"}
    assert store.get_user_permissions("jane") == {"ADMIN"}
    with pytest.raises(RoleAlreadyExistsError):
        store.create_role("ADMIN")
    with pytest.raises(PermissionAlreadyExistsError):
        store.create_permission("ADMIN")
    store.remove_session("ADMIN")
    store.delete_role("ADMIN")
    store.delete_permission("ADMIN")
    assert store.list_roles() == store.list_permissions() == {"admin", "Ádmin"}
    assert store.get_session("admin") is not None


def test_an_email_differs_from_one_with_an_accent(store: Store) -> None:
    """`jose@` never finds `josé@`, and each may register."""
    store.create_user(new_user("one", email="josé@x.org"))
    assert store.get_user_by_email("jose@x.org") is None
    store.create_user(new_user("two", email="jose@x.org"))

    found = [store.get_user_by_email(email) for email in ("josé@x.org", "jose@x.org")]
    assert [user and user.username for user in found] == ["one", "two"]


def test_an_email_is_found_as_it_was_stored_and_in_lower_case(store: Store) -> None:
    """The core lowers addresses since 0.8; before, it stored them as they were typed."""
    store.create_user(new_user("lower", email="jane@x.org"))
    store.create_user(new_user("typed", email="Jane@x.org"))

    for email, username in {
        "jane@x.org": "lower",
        "JANE@X.ORG": "lower",
        "Jane@x.org": "typed",
    }.items():
        user = store.get_user_by_email(email)
        assert user is not None
        assert user.username == username


@pytest.mark.backends("mysql")
@pytest.mark.parametrize(
    "options",
    [
        {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_unicode_ci"},
        {"mysql_default_charset": "latin1"},
        {},
    ],
)
def test_identity_is_exact_in_a_table_that_folds_accents(
    db: Database, options: dict[str, str]
) -> None:
    """Foreign keys take its collation; lookups and writes tell "josé" from "jose"."""
    table = user_table("app_users", MetaData(), mysql_engine="InnoDB", **options)
    store = store_on(db, table)
    with created(db, store.metadata):
        store.create_user(new_user("José", email="josé@x.org"))
        store.add_session(new_token("s", "José"))
        store.create_role("admin")
        store.grant_role_to_user("josé", "admin")

        for other in ("jose", "José ", "JOSE"):
            assert store.get_user_by_username(other) is None
            assert store.get_user_roles(other) == set()
            store.remove_all_sessions(other)
            store.revoke_role_from_user(other, "admin")
            store.delete_user(other)
            store.set_user_verified(other)
            with pytest.raises(KeyError):
                store.set_password_hash(other, "x")
            with pytest.raises(KeyError):
                store.add_session(new_token("t", other))
        assert store.get_user_by_email("jose@x.org") is None
        assert store.get_user_by_username("JOSÉ") == User("José", "josé@x.org", False)
        assert store.get_user_roles("JOSÉ") == {"admin"}
        assert store.get_session("s") is not None
