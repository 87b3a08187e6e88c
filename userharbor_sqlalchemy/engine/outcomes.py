"""What has become of a call, or of a block, that is refused in the end."""

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError, StatementError

from .backends import backend_of


def told(
    refusal: StatementError,
    dialect: Dialect,
    *,
    attempts: int = 1,
    in_transaction: bool,
    may_be_stored: bool,
) -> StatementError:
    """`refusal`, which says in one line what has become of it, where that is known.

    `may_be_stored` if a lost connection leaves that open.
    """
    if not isinstance(refusal, DBAPIError):
        return refusal
    backend, is_lost = backend_of(dialect), refusal.connection_invalidated
    is_gone = is_lost or backend.gave_up(refusal)
    if is_lost and may_be_stored:
        refusal.add_detail("the connection was lost: whether this took effect is unknown")
    elif is_gone and in_transaction:
        refusal.add_detail("nothing of its transaction takes effect; begin that again")
    elif is_gone or backend.takes_no_writes(refusal) or backend.waited(refusal):
        tried = "once" if attempts == 1 else f"{attempts} times"
        refusal.add_detail(f"tried {tried}, without effect")
    if backend.waited(refusal):
        refusal.add_detail(
            "another transaction holds a lock; if it is that of a session of this thread, join"
            " it: store.transaction(session); if it is that of a block in which another task of"
            " this thread awaits something, have the block in a thread: await store.run(...)"
        )
    return refusal
