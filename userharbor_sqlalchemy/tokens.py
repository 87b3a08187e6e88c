"""Sessions, e-mail verifications and password resets: `userharbor.interfaces.TokenStore`.

All three are one kind of table, whose statements stand in token_table.py.
"""

from datetime import datetime

from userharbor.exceptions import (
    InvalidPasswordResetTokenError,
    InvalidSessionTokenError,
    InvalidVerificationTokenError,
)
from userharbor.interfaces import UserToken

from .connections import Connections
from .errors import ResetTokenTakenError, SessionTokenTakenError, VerificationTokenTakenError
from .tables import Tables
from .token_table import TokenTable
from .users import Users


class TokenMethods:
    """The protocol's methods on tokens. Token hashes are told apart byte for byte."""

    def __init__(
        self, connections: Connections, users: Users, verifications: TokenTable, tables: Tables
    ) -> None:
        self._email_verifications = verifications
        self._sessions = TokenTable(
            connections, users, tables.sessions, InvalidSessionTokenError, SessionTokenTakenError
        )
        self._password_resets = TokenTable(
            connections,
            users,
            tables.password_resets,
            InvalidPasswordResetTokenError,
            ResetTokenTakenError,
        )

    def get_email_verification(self, token_hash: str) -> UserToken | None:
        """Return the e-mail verification, expired or not, or None.

        `expires_at` is naive UTC, to the microsecond. Within `transaction()` the row and
        its user's are locked, and no other transaction gets the token until the block ends.
        """
        return self._email_verifications.get_to_spend(token_hash)

    def set_email_verification(self, verification: UserToken) -> None:
        """Store the user's only e-mail verification; those before it are gone.

        A naive `expires_at` is UTC. `UnknownUserError` (a `KeyError`) if there is no such
        user, `InvalidVerificationTokenError` if the hash is taken or can't be stored.
        """
        self._email_verifications.replace(verification)

    def remove_email_verification(self, token_hash: str) -> None:
        """Remove the e-mail verification if it is there."""
        self._email_verifications.remove(token_hash)

    def get_session(self, token_hash: str) -> UserToken | None:
        """Return the session, expired or not, or None. `expires_at` is naive UTC."""
        return self._sessions.get(token_hash)

    def add_session(self, session: UserToken) -> None:
        """Store a session beside the user's others.

        A naive `expires_at` is UTC. `UnknownUserError` (a `KeyError`) if there is no such
        user, `InvalidSessionTokenError` if the hash is taken or can't be stored.
        """
        self._sessions.add(session)

    def remove_session(self, token_hash: str) -> None:
        """Remove the session if it is there."""
        self._sessions.remove(token_hash)

    def remove_all_sessions(self, username: str) -> None:
        """Remove all sessions of the user, if there are any."""
        self._sessions.remove_of_user(username)

    def refresh_session(self, token_hash: str, new_expires_at: datetime) -> None:
        """Let the session expire at `new_expires_at` (naive: UTC) if it is still there."""
        self._sessions.refresh(token_hash, new_expires_at)

    def get_password_reset(self, token_hash: str) -> UserToken | None:
        """Return the password reset, expired or not, or None.

        `expires_at` is naive UTC, to the microsecond. Within `transaction()` the row and
        its user's are locked, and no other transaction gets the token until the block ends.
        """
        return self._password_resets.get_to_spend(token_hash)

    def set_password_reset(self, reset: UserToken) -> None:
        """Store the user's only password reset; those before it are gone.

        A naive `expires_at` is UTC. `UnknownUserError` (a `KeyError`) if there is no such
        user, `InvalidPasswordResetTokenError` if the hash is taken or can't be stored.
        """
        self._password_resets.replace(reset)

    def remove_password_reset(self, token_hash: str) -> None:
        """Remove the password reset if it is there."""
        self._password_resets.remove(token_hash)

    def remove_password_reset_for_user(self, username: str) -> None:
        """Remove the user's password reset if there is one."""
        self._password_resets.remove_of_user(username)


def verification_table(connections: Connections, users: Users, tables: Tables) -> TokenTable:
    """The table of e-mail verifications, one of which is stored with each account."""
    return TokenTable(
        connections,
        users,
        tables.email_verifications,
        InvalidVerificationTokenError,
        VerificationTokenTakenError,
    )
