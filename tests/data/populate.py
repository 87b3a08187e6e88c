"""Fills the database of a URL by the store of the userharbor_sqlalchemy that is installed.

make_old_databases.py runs it with old ones.
"""

import sys
from datetime import datetime, timedelta, timezone

from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker
from userharbor.interfaces import CreateUserRequest, UserToken

from userharbor_sqlalchemy import SQLAlchemyUserStore

EXPIRES_AT = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)

engine = create_engine(sys.argv[1])
store = SQLAlchemyUserStore(sessionmaker(engine))
store.metadata.create_all(engine)

for username in ("Jane", "Straße", "josé", "Joe"):
    email = f"{username}@Example.org"
    request = CreateUserRequest(
        username, email, f"hash of {username}", f"{username}-verification", EXPIRES_AT
    )
    store.create_user(request)
    store.add_session(UserToken(username, f"{username}-session", EXPIRES_AT))
for username in ("Jane", "Straße", "josé"):
    store.set_user_verified(username)
    store.remove_email_verification(f"{username}-verification")

store.add_session(UserToken("Jane", "Jane-naive", datetime(2031, 1, 1)))
store.set_password_reset(UserToken("Jane", "Jane-reset", EXPIRES_AT))
store.set_password_reset(UserToken("josé", "josé-superseded", EXPIRES_AT))
# Two requests at once leave two live tokens of one user.
with engine.begin() as connection:
    connection.execute(
        text("INSERT INTO userharbor_password_resets VALUES (:token_hash, :username, :expires_at)"),
        {
            "token_hash": "josé-reset",
            "username": "josé",
            "expires_at": str(EXPIRES_AT.replace(tzinfo=None) + timedelta(seconds=1)),
        },
    )

for role in ("admin", "Gäste"):
    store.create_role(role)
for permission in ("articles.read", "articles.write"):
    store.create_permission(permission)
    store.grant_permission_to_role("admin", permission)
store.grant_permission_to_role("Gäste", "articles.read")
for username, role in (("Jane", "admin"), ("Jane", "Gäste"), ("Straße", "Gäste")):
    store.grant_role_to_user(username, role)
