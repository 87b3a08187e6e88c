"""Errors of the database, without the values of rows that its driver quotes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.exc import DBAPIError, StatementError

from .backends import error_codes


def redacted(error: StatementError | UnicodeError) -> StatementError:
    """`error` anew, of the same class, with no value of a row in its text, parameters or `orig`.

    `hide_parameters` does not do it: the driver's own text quotes values.
    """
    if isinstance(error, UnicodeError):
        return StatementError("a value is not in the connection's character set", None, None, None)
    if not isinstance(error, DBAPIError):
        return StatementError(WITHHELD, error.statement, None, None, hide_parameters=True)
    anew = type(error)(
        error.statement,
        None,
        _driver_error(error.orig, error.params),
        hide_parameters=True,
        connection_invalidated=error.connection_invalidated,
        code=error.code,
    )
    if not _LOCK_WAITS.isdisjoint(error_codes(error)):
        anew.add_detail(
            "another transaction holds a lock; if it is that of a session of this thread, join"
            " it: store.transaction(session)"
        )
    return anew


# A lock was waited for too long: on PostgreSQL, on MySQL and MariaDB, on SQLite.
_LOCK_WAITS = {"55P03", 1205, "database is locked"}

WITHHELD = "the text is withheld, it may quote values"

# What databases and drivers say that quotes no value. Any other text may, and so may that which
# a trigger raises.
_QUOTES_NO_VALUE = re.compile(
    r"""
    no\ such\ (table|column):\ [\w.]+ | table\ [\w.]+\ has\ no\ column\ named\ \w+
    | (UNIQUE|NOT\ NULL|CHECK|FOREIGN\ KEY)\ constraint\ failed(:\ [\w.,\ ]+)?
    | database(\ table|\ schema)?\ is\ locked | unable\ to\ open\ database\ file
    | attempt\ to\ write\ a\ readonly\ database | disk\ I/O\ error | database\ or\ disk\ is\ full
    | (relation|column|schema)\ [\w."]+(\ of\ relation\ [\w."]+)?\ does\ not\ exist
    | duplicate\ key\ value\ violates\ unique\ constraint\ "[^"]+"
    | null\ value\ in\ column\ "[^"]+"(\ of\ relation\ "[^"]+")?\ violates\ not-null\ constraint
    | insert\ or\ update\ on\ table\ "[^"]+"\ violates\ foreign\ key\ constraint\ "[^"]+"
    | permission\ denied\ for\ (table|relation|schema)\ \w+ | deadlock\ detected
    | could\ not\ serialize\ access\ due\ to\ [\w\ /]+ | current\ transaction\ is\ aborted,.*
    | canceling\ statement\ due\ to\ [\w\ ]+ | terminating\ connection\ due\ to\ [\w\ ]+
    | (consuming\ input\ failed:\ )?server\ closed\ the\ connection\ unexpectedly
    | the\ connection\ is\ (closed|lost) | connection\ already\ closed
    | Table\ '[\w.]+'\ doesn't\ exist | Unknown\ column\ '[\w.]+'\ in\ '[\w\ ]+'
    | Duplicate\ entry\ for\ key\ '[^']+' | Column\ '\w+'\ cannot\ be\ null
    | Field\ '\w+'\ doesn't\ have\ a\ default\ value
    | Deadlock\ found\ when\ trying\ to\ get\ lock;\ try\ restarting\ transaction
    | Lock\ wait\ timeout\ exceeded;\ try\ restarting\ transaction
    | Record\ has\ changed\ since\ last\ read\ in\ table\ '\w+'
    | connection\ failed:\ .* | connection\ to\ server\ .* | failed\ to\ resolve\ host\ .*
    | Access\ denied\ for\ user\ .* | Unknown\ database\ .*
    | (Lost\ connection\ to|Can't\ connect\ to).*server.* | (MySQL\ )?[Ss]erver\ has\ gone\ away.*
    | WSREP\ has\ not\ yet\ prepared\ node\ for\ application\ use
    | Error\ while\ appending\ streaming\ replication\ fragment\(provider\ status:\ [\w\ ]+\)
    """,
    re.VERBOSE,
)
_QUOTED_DUPLICATE = re.compile(r"Duplicate entry '.*' for key", re.DOTALL)


def _driver_error(orig: BaseException | None, parameters: Any) -> BaseException:
    if orig is None:
        return Exception(WITHHELD)
    arguments = [
        argument if isinstance(argument, int) else _first_line(argument, parameters)
        for argument in orig.args
        if isinstance(argument, (int, str))
    ]
    try:
        return type(orig)(*arguments)
    except TypeError:
        return Exception(*arguments)


def _first_line(text: str, parameters: Any) -> str:
    # PostgreSQL's later lines are DETAIL and CONTEXT, which quote the row.
    first_line = next(iter(_QUOTED_DUPLICATE.sub("Duplicate entry for key", text).splitlines()), "")
    if not _QUOTES_NO_VALUE.fullmatch(first_line):
        return WITHHELD
    if any(len(value) > 3 and value in first_line for value in _strings(parameters)):
        return WITHHELD
    return first_line


def _strings(parameters: Any) -> Iterator[str]:
    if isinstance(parameters, str):
        yield parameters
    elif isinstance(parameters, Mapping):
        for value in parameters.values():
            yield from _strings(value)
    elif isinstance(parameters, (list, tuple)):
        for value in parameters:
            yield from _strings(value)
