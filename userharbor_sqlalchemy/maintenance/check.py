"""A look at the database of a store: what is missing, what differs, what was left behind."""

from collections.abc import Iterator
from warnings import catch_warnings, simplefilter

from sqlalchemy import Connection, Table
from sqlalchemy.exc import SAWarning

from ..engine.database import Database
from ..schema.tables import Tables
from ..schema.user_model import ATTRIBUTES, UserModel
from ..sql.users import Users
from .check_rows import left_findings, token_findings, user_findings
from .check_schema import SchemaCheck, engine_findings
from .findings import Finding


def check(database: Database, model: UserModel, users: Users, tables: Tables) -> Iterator[Finding]:
    """Each finding. Nothing is changed or locked."""
    wanted = {table: list(table.columns) for table in vars(tables).values() if table is not None}
    wanted[tables.users] = [model.columns[name] for name in ATTRIBUTES if name in model.columns]

    def look(connection: Connection) -> tuple[dict[Table, list[Finding]], list[Finding]]:
        # SQLAlchemy warns of indexes that it can't reflect, those on expressions: not ours.
        with catch_warnings():
            simplefilter("ignore", SAWarning)
            schema = SchemaCheck(connection)
            missing = {table: schema.missing(table, wanted[table]) for table in wanted}
            whole = [table for table in wanted if not missing[table]]
            differing = [one for table in whole for one in schema.differing(table, wanted[table])]
            if not missing[tables.users] and any(missing[each] for each in tables.of_users()):
                differing += schema.unsaid(model.columns["username"])
            return missing, [*differing, *engine_findings(connection)]

    missing, others = database.read(look)
    for found in missing.values():
        yield from found
    yield from others
    keys = tables.username_keys
    if not missing[tables.users] and (keys is None or not missing[keys]):
        yield from user_findings(database, model, users, keys)
    if not missing[tables.users]:
        for table in tables.of_users():
            if not missing[table]:
                yield from left_findings(database, users, table)
    for table in (tables.sessions, tables.email_verifications, tables.password_resets):
        if not missing[table]:
            yield from token_findings(database, table, one_a_user=table is not tables.sessions)
