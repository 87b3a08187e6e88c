"""Errors of the database, without the values of rows that its driver quotes."""

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError, StatementError

from .backends import CODES, backend_of, error_codes


def redacted(error: StatementError | UnicodeError, dialect: Dialect) -> StatementError:
    """A copy of `error`, of its class, with no value of a row in its text, parameters or `orig`.

    `hide_parameters` does not do it: the driver's own text quotes values. What the application's
    own code raised is the cause and the `orig`, as it was.
    """
    if isinstance(error, UnicodeError):
        return StatementError("a value is not in the connection's character set", None, None, None)
    if not isinstance(error, DBAPIError):
        # So SQLAlchemy before 2.1 has what the database refused to a default of a column.
        if isinstance(error.orig, StatementError):
            return redacted(error.orig, dialect)
        own = StatementError(error.args[0], error.statement, None, error.orig, code=error.code)
        own.__cause__ = error.orig
        return own
    return type(error)(
        error.statement,
        None,
        _driver_error(error, dialect),
        connection_invalidated=error.connection_invalidated,
        code=error.code,
    )


WITHHELD = "the text is withheld, it may quote values"

# Of PostgreSQL's report, what psycopg's `diag` and pg8000's letters keep.
_REPORTED = {"sqlstate", "schema_name", "table_name", "column_name", "constraint_name", *"Cstcn"}

# From the first quotation mark to the last, or to the last before the name of a key or column.
_MARK = "['\"«»„“”]"
_VALUES = re.compile(f"'.*'(?= for (?:key|column) )|{_MARK}(?:.*{_MARK}|.*)", re.DOTALL)


def _driver_error(error: DBAPIError, dialect: Dialect) -> BaseException:
    orig: Any = error.orig
    # Of asyncpg, SQLAlchemy has an error of its own, and the driver's is the cause.
    holders = [(it, name) for it in (orig.__cause__, orig) for name in (*CODES, *_REPORTED)]
    kept = {name: getattr(it, name) for it, name in holders if hasattr(it, name)}
    said = [it if it in kept.values() else _without_values(it, error, dialect) for it in orig.args]
    if hasattr(orig, "msg"):
        kept["msg"] = _without_values(orig.msg, error, dialect)
    if hasattr(orig, "diag"):
        names = [name for name in dir(orig.diag) if not name.startswith("_")]
        report = {name: getattr(orig.diag, name) if name in _REPORTED else None for name in names}
        kept["diag"] = SimpleNamespace(**report)
    return _made(type(orig), said, kept)


def _made(kind: type, arguments: list[Any], attributes: dict[str, Any]) -> BaseException:
    """An error of a driver's class that has these arguments and attributes, and no others."""
    again = (_made, (kind, arguments, attributes))
    unset = {it: None for it in dir(kind) if isinstance(getattr(kind, it), property)}
    given = {"__module__": kind.__module__, "__str__": Exception.__str__, **attributes}
    only = type(kind.__name__, (kind,), {**unset, **given, "__reduce__": lambda self: again})
    made: BaseException = only.__new__(only, *arguments)
    return made


def _without_values(said: Any, error: DBAPIError, dialect: Dialect) -> Any:
    if isinstance(said, dict):
        text = _without_values(said.get("M"), error, dialect)
        return {it: said[it] for it in said if it in _REPORTED} | {"M": text}
    if not isinstance(said, str):
        return said if isinstance(said, int) else None
    said = re.sub(r"^<class '[\w.]+'>: ", "", said)  # asyncpg's error, in SQLAlchemy 2.0's
    backend, codes = backend_of(dialect), [repr(code) for code in error_codes(error)]
    if any(re.fullmatch(backend.raised, code) for code in codes):
        return WITHHELD
    if any(re.fullmatch(backend.quoting, code) for code in codes):
        said = _VALUES.sub("…", said, count=1)
    values = sorted(_strings(error.params), key=len, reverse=True)
    is_known = any(re.fullmatch(backend.known, code) for code in codes)
    if not (is_known or error.connection_invalidated):
        return WITHHELD if any(value[:4] in said for value in values) else said
    # PostgreSQL's later lines are DETAIL and CONTEXT, which quote the row.
    said = said.partition("\n")[0]
    for value in values:
        said = said.replace(value, "…")
    return said


def _strings(parameters: Any) -> list[str]:
    """The texts among `parameters`, without those of a few letters, which are in any text."""
    if isinstance(parameters, Mapping):
        parameters = list(parameters.values())
    if isinstance(parameters, (list, tuple)):
        return [text for each in parameters for text in _strings(each)]
    return [parameters] if isinstance(parameters, str) and len(parameters) > 3 else []
