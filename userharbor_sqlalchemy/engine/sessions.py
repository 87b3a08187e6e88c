"""What the application's sessions are asked for: their bind, and the connection of one to join.

One to join is flushed. Sessions are otherwise left alone: none is begun, committed or closed.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Union

from sqlalchemy import Connection, Delete, Engine, Table, delete, false, select
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import Mapper, Session, scoped_session, sessionmaker

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

SessionFactory = Callable[[], Union[Session, "AsyncSession"]]
Bind = Engine | Connection
Joined = Union[
    Session,
    scoped_session[Any],
    Connection,
    "AsyncSession",
    "async_scoped_session[Any]",
    "AsyncConnection",
]
"""What a block may join."""


class Sessions:
    """The application's sessions, asked with a statement on its user table.

    One that routes statements takes every write, and every lock, to the primary: those are
    asked for with `no_op`, a DELETE that matches no row.
    """

    def __init__(self, factory: SessionFactory, mapper: Mapper[Any] | None, table: Table) -> None:
        maker, made = _maker(factory)
        # In a thread, there is no task whose session it would be.
        self._factory: SessionFactory = maker if _is_async(made) else factory
        self._common = _common_arguments(factory)
        self._mapper = mapper
        self._reading = select(table)
        self.no_op: Delete = delete(table).where(false())

    def bind(self, *, reads: bool = False, of: Session | scoped_session[Any] | None = None) -> Bind:
        """The bind of a session, for a write or a lock unless it `reads`; `of` a given one."""
        if of is None and (common := _bind_in(self._common)):
            return common
        clause = self._reading if reads else self.no_op
        session = of or _sync_side(self._factory())
        return session.get_bind(self._mapper, clause=clause)

    def connection_of(self, session: Session) -> Connection:
        """The connection that `session` writes on; it begins a transaction if it is in none."""
        return session.connection(bind_arguments={"mapper": self._mapper, "clause": self.no_op})

    @contextmanager
    def savepoint(self, session: Session) -> Iterator[None]:
        """A savepoint that `session` knows of; at its end, what is pending is flushed.

        Of its objects, what happened within is undone with it.
        """
        nested = session.begin_nested()
        try:
            # Not before it is asked for the connection, it sets a savepoint on it.
            self.connection_of(session)
            yield
            if not session.is_active:
                raise InvalidRequestError(
                    "the session could not flush inside this transaction() block, and the block"
                    " went on; all of it is rolled back"
                )
            nested.commit()
        except BaseException:
            # It may be gone, or have been ended within; that is not what went wrong.
            with suppress(DBAPIError, InvalidRequestError):
                nested.rollback()
            raise


def flush(session: Session) -> None:
    """Flush, unless `session` does so already.

    As `begin_nested()` does; it sets no savepoint before it is asked for a connection.
    """
    session.begin_nested().close()


def joinable_session_or_connection(
    joined: Joined | None,
) -> Session | scoped_session[Any] | Connection | None:
    """What is to be joined, or the sync side of it."""
    if isinstance(joined, (Session, scoped_session, Connection)) or joined is None:
        return joined
    other: Any = joined
    if hasattr(other, "sync_connection"):
        connection: Connection | None = other.sync_connection
        if connection is None:
            raise InvalidRequestError("the AsyncConnection to join is not started: await it first")
        return connection
    session: AsyncSession = other if hasattr(other, "sync_session") else other()
    return session.sync_session


def check_factory(factory: object) -> None:
    """`TypeError` for what makes no session, as far as that is seen without calling it."""
    maker, made = _maker(factory)
    makes_others = isinstance(made, type) and not (issubclass(made, Session) or _is_async(made))
    if not callable(factory) or makes_others or _is_generator_or_async(maker):
        raise TypeError(
            f"session_factory makes no Session; it is {_described(factory)}. The right call is"
            " SQLAlchemyUserStore(sessionmaker(engine)), or async_sessionmaker(async_engine)"
        )


def _maker(factory: object) -> tuple[Any, Any]:
    """What makes the sessions, of a scoped one's too, and their class, as far as that is known."""
    # Looked up statically: what a proxy stands for need not be there yet.
    maker = inspect.getattr_static(factory, "session_factory", factory)
    made = maker if isinstance(maker, type) else inspect.getattr_static(maker, "class_", None)
    return maker, made


def _is_async(made: object) -> bool:
    return isinstance(made, type) and hasattr(made, "sync_session_class")


def _is_generator_or_async(factory: object) -> bool:
    return inspect.isroutine(factory) and (
        inspect.isgeneratorfunction(factory)
        or inspect.iscoroutinefunction(factory)
        or inspect.isasyncgenfunction(factory)
    )


def _described(factory: object) -> str:
    """What it is. Not its `repr()`: a URL has a password in it."""
    if isinstance(factory, type):
        return f"the class {factory.__name__}"
    return f"of the type {type(factory).__name__}"


def _sync_side(session: "Session | AsyncSession") -> Session:
    return session if isinstance(session, Session) else session.sync_session


def common_bind(factory: object) -> Bind | None:
    """The bind that every session of `factory` has, where that is known without making one."""
    return _bind_in(_common_arguments(factory))


def _common_arguments(factory: object) -> dict[str, Any] | None:
    """What `factory` gives each session, where its bind is nothing else's decision.

    Making a session just to ask it would be a tenth of the time of a read.
    """
    if (
        type(factory) is sessionmaker
        and factory.class_.get_bind is Session.get_bind
        and factory.class_.__init__ is Session.__init__
    ):
        return factory.kw
    return None


def _bind_in(arguments: dict[str, Any] | None) -> Bind | None:
    """The bind among them, which `configure()` may change."""
    return None if arguments is None or arguments.get("binds") else arguments["bind"]
