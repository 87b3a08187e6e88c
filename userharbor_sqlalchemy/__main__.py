"""`python -m userharbor_sqlalchemy`: what an operator does to a store from a shell or by cron."""

import argparse
import importlib
import os
import sys
import time
from datetime import datetime, timedelta, timezone
from typing import Any, TextIO

from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import sessionmaker

from .dialects import engine_options, missing_file
from .errors import UsernamesCollideError
from .maintenance import LARGEST_BATCH, Purged
from .store import SQLAlchemyUserStore

DONE, FOUND, MISUSED, FAILED, INTERRUPTED = 0, 1, 2, 3, 130

DESCRIPTION = """\
Look after the database of a UserHarbor store.

STORE is what your application uses, as MODULE:NAME (myapp.accounts:store), or the URL of a
database with the built-in tables (sqlite:///users.db)."""

EPILOG = f"""\
exit codes: {DONE} done, nothing found; {FOUND} something was found that needs you;
{MISUSED} wrong arguments; {FAILED} the database refused or is out of reach;
{INTERRUPTED} interrupted"""


def main(arguments: list[str] | None = None) -> int:
    """Do what `arguments` (by default, the command line) say; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        store = _store(options.store, may_make_file=options.command is create_tables)
        try:
            return int(options.command(store, options))
        finally:
            store.bind.engine.dispose()
    except Misused as error:
        parser.error(str(error))
    except UsernamesCollideError as error:
        return _fail(FOUND, str(error))
    except SQLAlchemyError as error:
        reason = error.orig if isinstance(error, DBAPIError) and error.orig else error
        return _fail(FAILED, str(reason.args[-1]).partition("\n")[0])
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, "interrupted; run it again for the rest")


class Misused(Exception):
    """The arguments can't be what was meant; the text says why."""


def purge(store: SQLAlchemyUserStore[Any], options: argparse.Namespace) -> int:
    """Remove expired tokens."""
    before = datetime.now(timezone.utc) - options.expired_for
    purged = store.purge_expired(
        before=before, batch_size=options.batch_size, progress=Progress(sys.stderr)
    )
    print(f"removed: {purged}")
    return DONE


def sync_username_keys(store: SQLAlchemyUserStore[Any], options: argparse.Namespace) -> int:
    """Let users whom the application added be found in any casing."""
    print(f"users given a key: {store.sync_username_keys()}")
    return DONE


def create_tables(store: SQLAlchemyUserStore[Any], options: argparse.Namespace) -> int:
    """Make the tables that are missing."""
    inspector = inspect(store.bind)
    missing = [
        table.fullname
        for table in store.metadata.sorted_tables
        if not inspector.has_table(table.name, table.schema)
    ]
    store.metadata.create_all(store.bind)
    print(f"made {', '.join(missing)}" if missing else "no table was missing")
    return DONE


def check(store: SQLAlchemyUserStore[Any], options: argparse.Namespace) -> int:
    """Report what is wrong, a line each; change nothing."""
    code = DONE
    for finding in store.check():
        print(finding, flush=True)
        code = FOUND
    return code


class Progress:
    """Shows how far a purge is: a bar on a terminal, else a line now and then."""

    WIDTH = 30

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._every = 0.1 if self._is_terminal else 10.0
        self._last = time.monotonic()

    def __call__(self, looked_at: int, total: int, purged: Purged) -> None:
        done = looked_at >= total
        if time.monotonic() - self._last < self._every and not (done and self._is_terminal):
            return
        self._last = time.monotonic()
        share = min(1.0, looked_at / total) if total else 1.0
        if self._is_terminal:
            bar = ("#" * round(self.WIDTH * share)).ljust(self.WIDTH, ".")
            self._stream.write(f"\r[{bar}] {share:4.0%} of {total} tokens")
        self._stream.write("\n" if done or not self._is_terminal else "")
        self._stream.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m userharbor_sqlalchemy",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (purge, sync_username_keys, create_tables, check):
        one = commands.add_parser(
            command.__name__.replace("_", "-"), help=command.__doc__, description=command.__doc__
        )
        one.add_argument("store", metavar="STORE", help="MODULE:NAME, or the URL of a database")
        one.set_defaults(command=command)
        if command is purge:
            one.add_argument(
                "--expired-for",
                type=_days,
                default=timedelta(),
                metavar="DAYS",
                help="remove only what expired at least so long ago (default: all that expired)",
            )
            one.add_argument(
                "--batch-size",
                type=_batch_size,
                default=1000,
                metavar="ROWS",
                help=f"look at so many at a time, up to {LARGEST_BATCH} (default: 1000)",
            )
    return parser


def _days(argument: str) -> timedelta:
    days = float(argument)
    if not 0 <= days <= 36_500:
        raise argparse.ArgumentTypeError(f"{argument} is not from 0 to 36500 days")
    return timedelta(days=days)


def _batch_size(argument: str) -> int:
    rows = int(argument)
    if not 1 <= rows <= LARGEST_BATCH:
        raise argparse.ArgumentTypeError(f"{argument} is not from 1 to {LARGEST_BATCH} rows")
    return rows


def _store(target: str, *, may_make_file: bool) -> SQLAlchemyUserStore[Any]:
    if "://" not in target:
        return _imported(target)
    try:
        url = make_url(target)
        engine = create_engine(url, **engine_options(url))
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise Misused(f"no database URL: {error}") from None
    if (path := missing_file(url)) and not may_make_file:
        raise Misused(f"there is no file {path}; create-tables makes one")
    return SQLAlchemyUserStore(sessionmaker(engine))


def _imported(target: str) -> SQLAlchemyUserStore[Any]:
    module, _, name = target.partition(":")
    if not module or not name:
        raise Misused(f"{target} is neither MODULE:NAME nor a database URL")
    sys.path.insert(0, os.getcwd())
    try:
        store = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Misused(f"{target}: {error}") from None
    if not isinstance(store, SQLAlchemyUserStore):
        raise Misused(f"{target} is not a SQLAlchemyUserStore")
    return store


def _fail(code: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
