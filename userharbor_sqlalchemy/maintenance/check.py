"""A look at the database of a store: what is missing, what differs, what was left behind."""

from collections.abc import Iterator
from warnings import catch_warnings, simplefilter

from sqlalchemy import Connection
from sqlalchemy.exc import SAWarning

from ..engine.database import Database
from ..schema.tables import Tables
from ..schema.user_model import ATTRIBUTES, UserModel
from ..sql.users import Users
from .check_rows import token_findings, user_findings
from .check_schema import SchemaCheck, cost_of_transactions


def findings(database: Database, model: UserModel, users: Users, tables: Tables) -> Iterator[str]:
    """Each finding as a line that says what to do. Nothing is changed or locked."""
    wanted = {table: list(table.columns) for table in vars(tables).values() if table is not None}
    wanted[tables.users] = [model.columns[name] for name in ATTRIBUTES if name in model.columns]

    def look(connection: Connection) -> tuple[tuple[dict[str, list[str]], list[str]], str | None]:
        # SQLAlchemy warns of indexes that it can't reflect, those on expressions: not ours.
        with catch_warnings():
            simplefilter("ignore", SAWarning)
            return compared(SchemaCheck(connection)), cost_of_transactions(connection)

    def compared(schema: SchemaCheck) -> tuple[dict[str, list[str]], list[str]]:
        missing = {table.key: schema.missing(table, wanted[table]) for table in wanted}
        whole = [table for table in wanted if not missing[table.key]]
        differing = [line for table in whole for line in schema.differing(table, wanted[table])]
        return missing, differing

    (missing, differing), cost = database.read(look)
    for lines in missing.values():
        yield from lines
    yield from differing
    keys = tables.username_keys
    if not missing[tables.users.key] and (keys is None or not missing[keys.key]):
        yield from user_findings(database, model, users, keys)
    for table in (tables.sessions, tables.email_verifications, tables.password_resets):
        if not missing[table.key]:
            yield from token_findings(database, table, one_a_user=table is not tables.sessions)
    if cost is not None:
        yield f"engine: transaction() costs more than its statements: {cost}"
