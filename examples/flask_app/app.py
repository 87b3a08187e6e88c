"""Accounts in a Flask application: pages, a cookie, mail with links, migrations, the command line.

How to start it stands in docs/frameworks.md.
"""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from flask import Flask, flash, g, redirect, render_template, request, session, url_for
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect, FlaskForm
from sqlalchemy import Engine, String, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from userharbor import UserHarbor
from userharbor.exceptions import UserHarborError
from userharbor.security import hash_token
from userharbor_smtp import SMTPEmailSender
from werkzeug.wrappers import Response
from wtforms import EmailField, PasswordField, StringField
from wtforms.validators import InputRequired

from userharbor_sqlalchemy import SQLAlchemyUserStore, register_user_model

if "SECRET_KEY" not in os.environ:
    raise SystemExit(
        "SECRET_KEY is not set; python -c 'import secrets; print(secrets.token_hex())' makes one"
    )
SECRET_KEY = os.environ["SECRET_KEY"]
BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:5000")
FOLDER = Path(__file__).parent


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


@register_user_model
class Member(db.Model):  # type: ignore[name-defined,misc]
    __tablename__ = "members"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(255), unique=True)
    username_key: Mapped[str] = mapped_column(String(255), unique=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    password_hash: Mapped[str] = mapped_column(String(512))
    verified: Mapped[bool]


store = SQLAlchemyUserStore(db.session, user_model=Member)


class LinkSender(SMTPEmailSender):
    """Sends links to this application; its texts are in the folder mail/."""

    def send_verification(self, username: str, email: str, verification_token: str) -> None:
        super().send_verification(username, email, f"{BASE_URL}/verify?token={verification_token}")

    def send_password_reset(self, username: str, email: str, reset_token: str) -> None:
        super().send_password_reset(username, email, f"{BASE_URL}/reset?token={reset_token}")


smtp_host = os.environ.get("SMTP_HOST", "localhost")
harbor = UserHarbor(
    secret_key=SECRET_KEY,
    store=store,
    email_sender=LinkSender(
        host=smtp_host,
        port=int(os.environ.get("SMTP_PORT", "1025")),
        from_email="accounts@example.org",
        template_dir=FOLDER / "mail",
        use_starttls=smtp_host not in ("localhost", "127.0.0.1"),
        allow_insecure=smtp_host in ("localhost", "127.0.0.1"),
    ),
)

app = Flask(__name__)
app.config.update(
    SECRET_KEY=SECRET_KEY,
    SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///members.db"),
    SESSION_COOKIE_SAMESITE="Lax",
    SESSION_COOKIE_SECURE=BASE_URL.startswith("https:"),
)
db.init_app(app)
Migrate(app, db, str(FOLDER / "migrations"))
CSRFProtect(app)


@event.listens_for(Engine, "connect")
def enforce_foreign_keys(connection: Any, _: object) -> None:
    """SQLite leaves them off."""
    if "sqlite3" in type(connection).__module__:
        connection.execute("PRAGMA foreign_keys = ON")


# Who asks.


@app.before_request
def find_user() -> None:
    g.user = None
    if "token" in session:
        try:
            g.user = harbor.get_current_user(session["token"])
        except UserHarborError:
            session.clear()


@app.after_request
def keep_to_ourselves(response: Response) -> Response:
    # A link in a mail has a token in it, which no other site is to be told.
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    response.headers["Cache-Control"] = "no-store"
    return response


View = Callable[..., Any]


def logged_in(view: View) -> View:
    @wraps(view)
    def only_then(*args: Any, **kwargs: Any) -> Any:
        if g.user is None:
            flash("Log in first.")
            return redirect(url_for("log_in"))
        return view(*args, **kwargs)

    return only_then


# The forms. What a browser fills in is said by `autocomplete`.


def text(label: str, autocomplete: str, kind: Any = StringField) -> Any:
    return kind(label, [InputRequired()], render_kw={"autocomplete": autocomplete})


def password(label: str, autocomplete: str = "current-password") -> Any:
    return text(label, autocomplete, PasswordField)


class Registration(FlaskForm):  # type: ignore[misc]
    username = text("Username", "username")
    email = text("E-mail", "email", EmailField)
    password = password("Password", "new-password")


class Login(FlaskForm):  # type: ignore[misc]
    username = text("Username", "username")
    password = password("Password")


class Forgotten(FlaskForm):  # type: ignore[misc]
    email = text("E-mail", "email", EmailField)


class NewPassword(FlaskForm):  # type: ignore[misc]
    password = password("New password", "new-password")


class ChangedPassword(FlaskForm):  # type: ignore[misc]
    old = password("Old password")
    new = password("New password", "new-password")


class Goodbye(FlaskForm):  # type: ignore[misc]
    password = password("Password")


def shown(form: FlaskForm, title: str, button: str, **more: Any) -> str:
    return render_template("form.html", form=form, title=title, button=button, **more)


def done(form: FlaskForm, call: Callable[..., Any], *arguments: Any) -> Any:
    """What `call` returns, True for nothing; None if the form, or UserHarbor, refuses."""
    if not form.validate_on_submit():
        return None
    try:
        return call(*arguments) or True
    except UserHarborError as error:
        flash(f"{error}.", "error")
        return None


# The pages.


@app.get("/")
def index() -> str:
    return render_template("index.html")


@app.route("/register", methods=["GET", "POST"])
def register() -> Any:
    form = Registration()
    data = (form.username.data, form.email.data, form.password.data)
    if done(form, harbor.register, *data):
        # The same for an address that has an account: nobody learns who is registered.
        flash("Open the link in the mail that we have sent you.")
        return redirect(url_for("index"))
    hint = "At least eight characters, with letters of both cases, a digit and another sign."
    return shown(form, "Register", "Register", hint=hint)


@app.route("/verify", methods=["GET", "POST"])
def verify() -> Any:
    # A button, since mail servers open links by themselves.
    form = FlaskForm()
    if done(form, harbor.verify_email, request.args.get("token", "")):
        flash("Your address is verified. Log in.")
        return redirect(url_for("log_in"))
    return shown(form, "Verify your address", "Verify")


@app.route("/login", methods=["GET", "POST"])
def log_in() -> Any:
    form = Login()
    if token := done(form, harbor.login, form.username.data, form.password.data):
        session.clear()
        session["token"] = token
        return redirect(url_for("account"))
    return shown(form, "Log in", "Log in", forgotten=True)


@app.post("/logout")
@logged_in
def log_out() -> Response:
    harbor.logout(session.pop("token"))
    return redirect(url_for("index"))


@app.route("/forgotten", methods=["GET", "POST"])
def forgotten() -> Any:
    form = Forgotten()
    if done(form, harbor.send_password_reset, form.email.data):
        flash("If there is an account of this address, a mail is on its way.")
        return redirect(url_for("index"))
    return shown(form, "Forgotten your password?", "Send a link")


@app.route("/reset", methods=["GET", "POST"])
def reset() -> Any:
    form = NewPassword()
    token = request.args.get("token", "")
    if done(form, harbor.reset_password, form.password.data, token):
        flash("Log in with your new password.")
        return redirect(url_for("log_in"))
    return shown(form, "Choose a new password", "Save")


@app.get("/account")
@logged_in
def account() -> str:
    sessions = store.list_sessions(g.user.username)
    return render_template("account.html", sessions=sessions, empty=FlaskForm())


@app.post("/account/sessions")
@logged_in
def end_other_sessions() -> Response:
    this = hash_token(session["token"], SECRET_KEY)
    count = store.remove_other_sessions(g.user.username, this)
    flash(f"Ended {count} other session{'s' if count != 1 else ''}.")
    return redirect(url_for("account"))


@app.route("/account/password", methods=["GET", "POST"])
@logged_in
def change_password() -> Any:
    form = ChangedPassword()
    if done(form, harbor.change_password, form.old.data, form.new.data, session["token"]):
        session.clear()
        flash("Log in with your new password.")
        return redirect(url_for("log_in"))
    return shown(form, "Change your password", "Save")


@app.route("/account/delete", methods=["GET", "POST"])
@logged_in
def delete_account() -> Any:
    form = Goodbye()
    if done(form, harbor.delete_account, form.password.data, session["token"]):
        session.clear()
        flash("Your account is deleted.")
        return redirect(url_for("index"))
    return shown(form, "Delete your account", "Delete", hint="This can't be undone.")


# The command line: `flask --app app accounts purge`, by cron.

accounts = click.Group("accounts", help="Look after the accounts.")
app.cli.add_command(accounts)


@accounts.command()
def purge() -> None:
    """Remove expired tokens."""
    with app.app_context():
        click.echo(f"removed: {store.purge_expired()}")


@accounts.command()
def check() -> None:
    """Report what is wrong with the database."""
    with app.app_context():
        for finding in store.check():
            click.echo(finding)
