"""Accounts in a FastAPI application on an async engine: a cookie, mail, one transaction for both.

How to start it stands in docs/async.md.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import ForeignKey, String, event, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from userharbor import UserHarbor
from userharbor.exceptions import (
    InvalidCredentialsError,
    InvalidSessionTokenError,
    UnverifiedUserError,
    UserHarborError,
)
from userharbor_smtp import SMTPEmailSender

from userharbor_sqlalchemy import SQLAlchemyUserStore, User, register_user_model

if "SECRET_KEY" not in os.environ:
    raise SystemExit(
        "SECRET_KEY is not set; python -c 'import secrets; print(secrets.token_hex())' makes one"
    )
SECRET_KEY = os.environ["SECRET_KEY"]
DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///async_app.db?timeout=30")
SMTP_HOST = os.environ.get("SMTP_HOST", "localhost")
SMTP_PORT = int(os.environ.get("SMTP_PORT", "1025"))
# A browser sends a secure cookie by HTTPS only, and to localhost.
COOKIE: dict[str, Any] = {"key": "session", "httponly": True, "samesite": "lax", "secure": True}


class Base(DeclarativeBase):
    pass


@register_user_model
class Member(Base):
    __tablename__ = "members"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(255), unique=True)
    username_key: Mapped[str] = mapped_column(String(255), unique=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    password_hash: Mapped[str] = mapped_column(String(512))
    verified: Mapped[bool]


class Profile(Base):
    __tablename__ = "profiles"

    member_id: Mapped[int] = mapped_column(
        ForeignKey(Member.id, ondelete="CASCADE"), primary_key=True
    )
    motto: Mapped[str] = mapped_column(String(200))


engine = create_async_engine(DATABASE_URL)
if engine.dialect.name == "sqlite":

    @event.listens_for(engine.sync_engine, "connect")
    def enforce_foreign_keys(connection: Any, _: object) -> None:
        """SQLite leaves them off, and would keep the profile of a member who is gone."""
        connection.execute("PRAGMA foreign_keys = ON")


new_session = async_sessionmaker(engine)
store = SQLAlchemyUserStore(new_session, user_model=Member)
sender = SMTPEmailSender(
    host=SMTP_HOST,
    port=SMTP_PORT,
    from_email="accounts@example.org",
    use_starttls=SMTP_HOST not in ("localhost", "127.0.0.1"),
    allow_insecure=SMTP_HOST in ("localhost", "127.0.0.1"),
)
harbor = UserHarbor(SECRET_KEY, store, sender)


class Outbox:
    """Keeps mail back until the transaction that it is about is committed."""

    def __init__(self) -> None:
        self._mails: list[tuple[str, tuple[str, ...]]] = []

    def __getattr__(self, kind: str) -> Callable[..., None]:
        return lambda *mail: self._mails.append((kind, mail))

    def send(self) -> None:
        for kind, mail in self._mails:
            getattr(sender, kind)(*mail)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    purging = asyncio.create_task(purge_hourly())
    yield
    purging.cancel()
    await engine.dispose()


async def purge_hourly() -> None:
    while True:
        await store.run(store.purge_expired)
        await asyncio.sleep(3600)


app = FastAPI(title="Members", lifespan=lifespan)


async def open_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


Database = Annotated[AsyncSession, Depends(open_session)]


async def session_token(request: Request) -> str:
    token = request.cookies.get(COOKIE["key"])
    if token is None:
        raise HTTPException(401, "Log in first")
    return token


Token = Annotated[str, Depends(session_token)]


async def current_user(session: Database, token: Token) -> User:
    # It reads, and hashes no password: SQLAlchemy's own way is the quicker one.
    return await session.run_sync(lambda _: harbor.get_current_user(token))


CurrentUser = Annotated[User, Depends(current_user)]


class Registration(BaseModel):
    username: str
    email: str
    password: str
    motto: str = ""


class Login(BaseModel):
    username: str
    password: str


@app.get("/")
async def index(session: Database) -> list[str]:
    """The mottos of all members."""
    return list(await session.scalars(select(Profile.motto).order_by(Profile.member_id)))


@app.post("/register", status_code=201)
async def register(form: Registration, session: Database) -> None:
    """An account and its profile: both or neither."""
    outbox: Any = Outbox()
    accounts = UserHarbor(SECRET_KEY, store, outbox)

    def register_member() -> None:
        with store.transaction(session):
            accounts.register(form.username, form.email, form.password)

    async with session.begin():
        await store.run(register_member)
        by_name = select(Member.id).where(Member.username == form.username)
        member_id = await session.scalar(by_name)
        # The core says nothing of an address that has an account, and stores none.
        if member_id is not None:
            session.add(Profile(member_id=member_id, motto=form.motto))
    await asyncio.to_thread(outbox.send)


@app.post("/verify")
async def verify(token: str) -> None:
    await store.run(harbor.verify_email, token)


@app.post("/login")
async def log_in(form: Login, response: Response) -> None:
    response.set_cookie(value=await store.run(harbor.login, form.username, form.password), **COOKIE)


@app.get("/me")
async def me(user: CurrentUser) -> User:
    return user


@app.post("/logout")
async def log_out(token: Token, response: Response) -> None:
    await store.run(harbor.logout, token)
    response.delete_cookie(**COOKIE)


@app.delete("/account")
async def delete_account(password: str, token: Token, response: Response) -> None:
    await store.run(harbor.delete_account, password, token)
    response.delete_cookie(**COOKIE)


STATUS = {InvalidCredentialsError: 401, InvalidSessionTokenError: 401, UnverifiedUserError: 403}


@app.exception_handler(UserHarborError)
async def refused(request: Request, error: UserHarborError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=STATUS.get(type(error), 400))
