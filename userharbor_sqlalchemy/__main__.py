"""`python -m userharbor_sqlalchemy`: what an operator does to a store from a shell or by cron."""

import argparse
import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from typing import Any, TextIO, get_args

from sqlalchemy import URL, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import sessionmaker

from .engine.database import LARGEST_PAGE
from .engine.loops import in_greenlet
from .errors import UsernamesCollideError
from .maintenance.findings import FindingCode
from .maintenance.purge import Purged
from .store import SQLAlchemyUserStore

DONE, FOUND, MISUSED, FAILED, INTERRUPTED = 0, 1, 2, 3, 130

VARIABLE = "USERHARBOR_STORE"

DESCRIPTION = "Look after the database of a UserHarbor store."

EPILOG = f"""\
STORE is what your application uses, as MODULE:NAME (myapp.accounts:store), or the URL of a
database with the built-in tables (sqlite:///users.db). Without it, {VARIABLE} of the
environment says which; other users of the machine can read a URL on a command line.

exit codes: {DONE} done, nothing found; {FOUND} something was found that needs you;
{MISUSED} wrong arguments; {FAILED} the database refused or is out of reach, or your application
failed; {INTERRUPTED} interrupted"""


def main(arguments: list[str] | None = None) -> int:
    """Do what `arguments` (by default, the command line) say; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        store = _store(options.store, may_make_file=options.command is create_tables)

        def work() -> int:
            try:
                return int(options.command(store, options))
            finally:
                store.bind.engine.dispose()

        return asyncio.run(in_greenlet(work)) if store.bind.dialect.is_async else work()
    except Misused as error:
        parser.error(str(error))
    except UsernamesCollideError as error:
        return _fail(FOUND, str(error))
    except SQLAlchemyError as error:
        reason = error.orig if isinstance(error, DBAPIError) and error.orig else error
        return _fail(FAILED, max(map(str, reason.args), key=len, default=str(reason)))
    except BrokenPipeError:  # of `check | head`, say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FOUND
    except KeyboardInterrupt as error:
        said = ["interrupted", *error.args, "run it again for the rest"]
        return _fail(INTERRUPTED, "; ".join(map(str, said)))
    except (Exception, SystemExit) as error:  # the application's
        return _fail(FAILED, f"{type(error).__name__}: {error}")


class Misused(Exception):
    """The arguments can't be what was meant; the text says why."""


def purge(store: SQLAlchemyUserStore[Any], options: argparse.Namespace) -> int:
    """Remove expired tokens, and users who never verified if you say for how long."""
    size, unverified = options.batch_size, options.unverified

    def purge_users(progress: Progress) -> int:
        return store.purge_unverified(
            older_than=timedelta(days=unverified), batch_size=size, progress=progress
        )

    def purge_tokens(progress: Progress) -> Purged:
        return store.purge_expired(
            before=_ago(options.expired_for),
            # By the others, the users are known who let theirs expire.
            verifications_before=None if unverified is None else _ago(unverified),
            batch_size=size,
            progress=progress,
        )

    if unverified is not None:
        print(f"removed: unverified users {_purged(purge_users)}")
    print(f"removed: {_purged(purge_tokens)}")
    return DONE


def _ago(days: float) -> datetime | None:
    return datetime.now(timezone.utc) - timedelta(days=days) if days else None


def _purged(work: Callable[["Progress"], int | Purged]) -> int | Purged:
    progress, is_done = Progress(sys.stderr), False
    try:
        purged = work(progress)
        is_done = True
    except (ValueError, OverflowError) as error:
        raise Misused(str(error)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise KeyboardInterrupt(f"removed so far: {progress.purged}") from None
    finally:
        progress.end(full=is_done)
    return purged


def export(store: SQLAlchemyUserStore[Any], options: argparse.Namespace) -> int:
    """Print all that is stored about one user, as JSON without secrets."""
    try:
        print(json.dumps(store.export_user(options.username), ensure_ascii=False, indent=2))
    except KeyError:
        return _fail(FOUND, "there is no such user")
    return DONE


def sync_username_keys(store: SQLAlchemyUserStore[Any], options: argparse.Namespace) -> int:
    """Let users whom the application added be found in any casing."""
    print(f"users given a key: {store.sync_username_keys()}")
    return DONE


def create_tables(store: SQLAlchemyUserStore[Any], options: argparse.Namespace) -> int:
    """Make the tables that are missing."""
    made: list[str] = []

    def note(*_: object, tables: Iterable[Table], **__: object) -> None:
        made.extend(table.fullname for table in tables)

    event.listen(store.metadata, "after_create", note, once=True)
    store.metadata.create_all(store.bind)
    print(f"made {', '.join(made)}" if made else "no table was missing")
    return DONE


def check(store: SQLAlchemyUserStore[Any], options: argparse.Namespace) -> int:
    """Report what is wrong, a line each; change nothing."""
    code = DONE
    for finding in store.check():
        if finding.code not in options.ignore:
            print(json.dumps(asdict(finding)) if options.json else finding, flush=True)
            code = FOUND
    if code == DONE and not options.json:
        print("nothing found")
    return code


class Version(argparse.Action):
    """Says which version is installed; asked for no sooner, since some bundles don't have it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print("userharbor-sqlalchemy", version("userharbor-sqlalchemy"))
        parser.exit()


class Progress:
    """Shows how far a purge is: a bar on a terminal, else a line now and then."""

    WIDTH = 30

    def __init__(self, stream: TextIO, *, every: float | None = None) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._every = every if every is not None else 0.1 if self._is_terminal else 10.0
        self._last = time.monotonic()
        self._is_shown = False
        self.purged: int | Purged = Purged()

    def __call__(self, looked_at: int, total: int, purged: int | Purged) -> None:
        self.purged = purged
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            # Tokens that are added meanwhile are looked at as well.
            self._show(min(1.0, looked_at / total) if total else 1.0, total)

    def end(self, *, full: bool) -> None:
        """Leave the bar, `full` or as it was shown last, on a line of its own."""
        if self._is_terminal and full:
            self._bar(1.0)
        if self._is_terminal and self._is_shown:
            self._stream.write("\n")

    def _show(self, share: float, total: int) -> None:
        if self._is_terminal:
            self._bar(share)
        else:
            self._stream.write(f"{share:.0%} of {total} tokens looked at\n")
        self._stream.flush()

    def _bar(self, share: float) -> None:
        self._is_shown = True
        bar = ("#" * round(self.WIDTH * share)).ljust(self.WIDTH, ".")
        self._stream.write(f"\r[{bar}] {share:4.0%}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m userharbor_sqlalchemy",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (purge, sync_username_keys, create_tables, check, export):
        one = commands.add_parser(
            command.__name__.replace("_", "-"),
            help=command.__doc__,
            description=command.__doc__,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument(
            "store",
            metavar="STORE",
            nargs="?",
            default=os.environ.get(VARIABLE, ""),
            help=f"MODULE:NAME, or the URL of a database (default: {VARIABLE} of the environment)",
        )
        one.set_defaults(command=command)
        if command is export:
            one.add_argument(
                "--username", required=True, metavar="NAME", help="the user, in any casing"
            )
        if command is check:
            one.add_argument(
                "--json", action="store_true", help="print each finding as a line of JSON"
            )
            one.add_argument(
                "--ignore",
                action="append",
                default=[],
                choices=get_args(FindingCode),
                metavar="CODE",
                help=f"leave out what has this code: {', '.join(get_args(FindingCode))}",
            )
        if command is purge:
            one.add_argument(
                "--expired-for",
                type=float,
                default=0.0,
                metavar="DAYS",
                help="remove only what expired at least so long ago (default: all that expired)",
            )
            one.add_argument(
                "--unverified",
                type=float,
                metavar="DAYS",
                help="also remove users whose e-mail verification expired so long ago",
            )
            one.add_argument(
                "--batch-size",
                type=int,
                default=1000,
                metavar="ROWS",
                help=f"look at so many at a time, up to {LARGEST_PAGE} (default: 1000)",
            )
    return parser


def _store(target: str, *, may_make_file: bool) -> SQLAlchemyUserStore[Any]:
    if not target:
        raise Misused(f"there is no STORE, nor {VARIABLE} in the environment")
    store = _made(target) if "://" in target else _imported(target)
    if (path := _missing_file(store.bind.engine.url)) and not may_make_file:
        raise Misused(f"there is no file {path}; create-tables makes one")
    return store


def _made(target: str) -> SQLAlchemyUserStore[Any]:
    try:
        url = make_url(target)
        return SQLAlchemyUserStore(sessionmaker(_engine(url)))
    except (NoSuchModuleError, ImportError) as error:
        raise Misused(f"can't use this URL: {error}") from None
    except (ArgumentError, ValueError):
        # Its text may quote the password, the more so as that is often what is misspelled.
        raise Misused("can't use this URL: SQLAlchemy can't parse it") from None


def _imported(target: str) -> SQLAlchemyUserStore[Any]:
    module, _, name = target.partition(":")
    if not module or not name:
        raise Misused("STORE is neither MODULE:NAME nor a database URL")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # Not if the module is there, and fails for want of another one.
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise Misused(str(error)) from None
    if not hasattr(found, name):
        raise Misused(f"{module} has no {name}")
    store = getattr(found, name)
    if not isinstance(store, SQLAlchemyUserStore):
        raise Misused(f"{name} of {module} is not a SQLAlchemyUserStore")
    return store


def _missing_file(url: URL) -> str | None:
    """The path of SQLite's database file, if it is not there and connecting would make it."""
    path = (url.database or "").removeprefix("file:").partition("?")[0]
    in_memory = path in ("", ":memory:") or url.query.get("mode") == "memory"
    if url.get_backend_name() != "sqlite" or in_memory or os.path.exists(path):
        return None
    return path


def _engine(url: URL) -> Engine:
    """An engine as the documentation recommends it, in which `check` finds nothing."""
    if url.get_backend_name() in ("mysql", "mariadb"):
        return create_engine(url, isolation_level="READ COMMITTED")
    engine = create_engine(url)
    if url.get_backend_name() == "sqlite":

        @event.listens_for(engine, "connect")
        def enforce_foreign_keys(connection: Any, _: object) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

    return engine


def _fail(code: int, message: str) -> int:
    """Say why in one line; return the exit code."""
    print("error:", message.partition("\n")[0], file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
