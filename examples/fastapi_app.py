"""Accounts in a FastAPI application: mail, migrations, permissions, expired tokens purged.

How to start it stands in README.md, beside this file.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from alembic import command
from alembic.config import Config
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import String, create_engine, event, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from userharbor import UserHarbor
from userharbor.exceptions import RoleAlreadyExistsError
from userharbor_fastapi import UserHarborFastAPI
from userharbor_fastapi.schemas import MessageResponse, RegisterRequest
from userharbor_smtp import SMTPEmailSender

from userharbor_sqlalchemy import SQLAlchemyUserStore, User, register_user_model

if "SECRET_KEY" not in os.environ:
    raise SystemExit(
        "SECRET_KEY is not set; python -c 'import secrets; print(secrets.token_hex())' makes one"
    )
SECRET_KEY = os.environ["SECRET_KEY"]
DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite:///fastapi_app.db")
SMTP_HOST = os.environ.get("SMTP_HOST", "localhost")
SMTP_PORT = int(os.environ.get("SMTP_PORT", "1025"))
MAIL_FROM = os.environ.get("MAIL_FROM", "accounts@example.org")
PURGE_SECONDS = float(os.environ.get("PURGE_SECONDS", "3600"))

logger = logging.getLogger(__name__)


# The database: the application's own table of users, and the store's tables beside it.


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
    pen_name: Mapped[str] = mapped_column(String(100), default="")


engine = create_engine(DATABASE_URL)
if engine.dialect.name == "sqlite":

    @event.listens_for(engine, "connect")
    def enforce_foreign_keys(connection: Any, _: object) -> None:
        """SQLite leaves them off, and would keep the rows of a user deleted directly."""
        connection.execute("PRAGMA foreign_keys = ON")


new_session = sessionmaker(engine)
store = SQLAlchemyUserStore(new_session, user_model=Member)


# The accounts: mail goes out encrypted, except to a server on this machine.

smtp_is_local = SMTP_HOST in ("localhost", "127.0.0.1")
harbor = UserHarbor(
    secret_key=SECRET_KEY,
    store=store,
    email_sender=SMTPEmailSender(
        host=SMTP_HOST,
        port=SMTP_PORT,
        username=os.environ.get("SMTP_USERNAME"),
        password=os.environ.get("SMTP_PASSWORD"),
        from_email=MAIL_FROM,
        use_starttls=not smtp_is_local,
        allow_insecure=smtp_is_local,
    ),
)


class Accounts(UserHarborFastAPI[User]):
    def register(self, request: RegisterRequest) -> MessageResponse:
        # UserHarbor lets a line break at the end of an address pass, which breaks the mail.
        request.email = request.email.strip()
        return super().register(request)


accounts = Accounts(harbor)
CurrentUser = Annotated[User, Depends(accounts.current_user)]


# What goes on from the start of the application to its end.


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    command.upgrade(Config(Path(__file__).with_name("alembic.ini")), "head")
    create_roles()
    purging = asyncio.create_task(purge_expired_tokens())
    yield
    purging.cancel()
    engine.dispose()


def create_roles() -> None:
    with suppress(RoleAlreadyExistsError), store.transaction():
        harbor.roles.create("author")
        harbor.permissions.create("authors.read")
        harbor.roles.grant_permission("author", "authors.read")


async def purge_expired_tokens() -> None:
    while True:
        try:
            await asyncio.to_thread(store.purge_expired)
        except SQLAlchemyError:
            logger.exception("Expired tokens stay until the next purge")
        await asyncio.sleep(PURGE_SECONDS)


app = FastAPI(title="Authors", lifespan=lifespan)
app.include_router(accounts.router, prefix="/auth", tags=["auth"])
accounts.register_exception_handlers(app)


# The application's own routes.


@app.get("/")
def index() -> dict[str, str]:
    """Where to go on."""
    return {"routes": "/docs"}


class Author(BaseModel):
    pen_name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]


@app.put("/author")
def become_author(author: Author, user: CurrentUser) -> Author:
    """Take a pen name, and with it the role: both or neither."""
    with new_session.begin() as session:
        session.execute(
            update(Member).where(Member.username == user.username).values(pen_name=author.pen_name)
        )
        with store.transaction(session):
            harbor.grant_role(user.username, "author")
    return author


@app.get("/authors", dependencies=[Depends(accounts.require_permission("authors.read"))])
def authors() -> list[str]:
    """The pen names of all authors."""
    with new_session() as session:
        names = select(Member.pen_name).where(Member.pen_name != "").order_by(Member.pen_name)
        return list(session.scalars(names))


# What a request may meet that is no error of the application's.


@app.exception_handler(RequestValidationError)
async def invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    # Without the input, which FastAPI's own handler repeats: it may be a password, or a value
    # that no JSON can hold.
    detail = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    return JSONResponse({"detail": detail}, status_code=422)


@app.exception_handler(UnicodeEncodeError)
async def not_unicode(request: Request, error: UnicodeEncodeError) -> JSONResponse:
    # JSON can spell half of a character, "\ud800", which UserHarbor then can't hash.
    return JSONResponse({"detail": "A text is not Unicode"}, status_code=422)


@app.exception_handler(OSError)
async def no_mail(request: Request, error: OSError) -> JSONResponse:
    # Mail is the last that UserHarbor does: what was asked for is done. smtplib's errors are
    # OSErrors, and so is what a network raises.
    logger.error("A mail could not be sent", exc_info=error)
    return JSONResponse({"detail": "The mail about this could not be sent"}, status_code=503)
