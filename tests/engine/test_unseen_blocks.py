"""Blocks that are entered where no call can see them, as in a context that a framework copies."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from support.databases import Database
from support.samples import new_user
from support.transactions import Abort, usernames
from userharbor_sqlalchemy import SQLAlchemyUserStore, User

Store = SQLAlchemyUserStore[User]
Place = Callable[[Callable[[], object]], None]


def here(call: Callable[[], object]) -> None:
    call()


def in_a_copied_context(call: Callable[[], object]) -> None:
    contextvars.copy_context().run(call)


def in_a_thread(call: Callable[[], object]) -> None:
    """As a pool of threads does it: in a copy of the context, too."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    thread.start()
    thread.join()
    for error in raised:
        raise error


@pytest.fixture(autouse=True)
def _threads(db: Database) -> None:
    if db.is_memory:
        pytest.skip("in memory, each thread has a database of its own")


@pytest.mark.parametrize(
    ("enter", "leave"),
    [
        (in_a_copied_context, in_a_copied_context),
        (in_a_copied_context, here),
        (in_a_thread, in_a_thread),
        (in_a_thread, here),
        (here, in_a_thread),
    ],
)
@pytest.mark.parametrize("joined", [False, True], ids=["own", "joined"])
def test_a_block_that_no_call_has_seen_is_refused(
    store: Store, db: Database, enter: Place, leave: Place, joined: bool
) -> None:
    """The calls between took effect one by one; the block must not end as if it held them."""
    with Session(db.main) as session:
        block = store.transaction(session) if joined else store.transaction()
        enter(block.__enter__)
        with pytest.raises(InvalidRequestError, match="same function as its calls"):
            leave(lambda: block.__exit__(None, None, None))
    store.create_user(new_user())
    assert usernames(db) == ["jane"]


def test_a_sync_dependency_is_told_that_its_block_held_nothing(store: Store) -> None:
    """A generator, each part of which a framework runs in a thread, and the endpoint in another."""

    @contextmanager
    def dependency() -> Iterator[None]:
        with store.transaction():
            yield

    block = dependency()
    in_a_thread(block.__enter__)
    in_a_thread(store.list_roles)
    with pytest.raises(InvalidRequestError, match="async"):
        in_a_thread(lambda: block.__exit__(None, None, None))


def test_an_async_dependency_holds_its_calls(store: Store, db: Database) -> None:
    """It is entered and left in the task that makes the calls; so may it be with none."""

    @asynccontextmanager
    async def dependency() -> AsyncIterator[None]:
        with store.transaction():
            yield

    async def request(*names: str) -> None:
        async with dependency():
            for name in names:
                store.create_user(new_user(name))
            assert usernames(db) == []

    asyncio.run(request())
    asyncio.run(request("jane", "joe"))
    assert usernames(db) == ["jane", "joe"]


def test_an_empty_block_is_as_good_as_any(store: Store) -> None:
    """In one thread and context: alone, within another, with another store's within."""
    with store.transaction():
        pass
    with store.transaction(), store.transaction():
        pass

    def block() -> None:
        with store.transaction():
            pass

    in_a_thread(block)


@pytest.mark.parametrize("leave", [in_a_copied_context, in_a_thread])
@pytest.mark.parametrize("within", ["call", "block"])
def test_a_block_with_calls_may_be_left_elsewhere(
    store: Store, db: Database, leave: Place, within: str
) -> None:
    """What ran in it commits; a block within it is such a call too."""

    block = store.transaction()

    def enter() -> None:
        block.__enter__()
        if within == "call":
            store.create_user(new_user())
        else:
            with store.transaction():
                pass

    in_a_copied_context(enter)
    leave(lambda: block.__exit__(None, None, None))
    assert usernames(db) == (["jane"] if within == "call" else [])


@pytest.mark.parametrize("leave", [in_a_copied_context, in_a_thread])
def test_the_error_of_an_unseen_block_is_its_own(store: Store, leave: Place) -> None:
    """What went wrong in it comes first."""
    block = store.transaction()
    in_a_copied_context(block.__enter__)

    def fail() -> None:
        error = Abort()
        if not block.__exit__(Abort, error, None):
            raise error

    with pytest.raises(Abort):
        leave(fail)
