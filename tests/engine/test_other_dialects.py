"""Databases that the tests do not run on: what can be said without one is that SQL compiles."""

from typing import Any

import pytest
from sqlalchemy import Dialect, event, make_url
from sqlalchemy.orm import sessionmaker
from sqlalchemy.schema import CreateIndex, CreateTable

from support.calls import CALLS
from support.databases import Database
from support.models import documented
from userharbor_sqlalchemy import SQLAlchemyUserStore

DIALECTS = [make_url(url).get_dialect()() for url in ("oracle://", "mssql://")]


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("model", [None, documented], ids=["built-in", "own model"])
def test_statements_compile_for_oracle_and_sql_server(
    fresh: Database, dialect: Dialect, model: Any
) -> None:
    """Each table and index, and what each method issues, alone and in a block.

    Without the unique indexes, whose ON CONFLICT only PostgreSQL and SQLite are told.
    """
    issued: list[Any] = []

    def note(_: object, statement: Any, *rest: object) -> None:
        issued.append(statement)

    engine = fresh.engine()
    store = SQLAlchemyUserStore(sessionmaker(engine), model and model())
    store.metadata.create_all(engine)
    with engine.begin() as connection:
        for kind in ("email_verifications", "password_resets"):
            connection.exec_driver_sql(f"DROP INDEX uq_userharbor_{kind}_username")
    event.listen(engine, "after_execute", note)
    for _, call in CALLS:
        call(store, "jane")
    with store.transaction():
        for _, call in CALLS:
            call(store, "jane")
    store.purge_expired()
    assert len(issued) > 2 * len(CALLS)

    for table in store.metadata.sorted_tables:
        issued += [CreateTable(table), *map(CreateIndex, table.indexes)]
    for statement in issued:
        assert str(statement.compile(dialect=dialect))
