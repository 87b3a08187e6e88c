"""Every method on engines made with each option that SQLAlchemy documents for their drivers."""

from typing import Any

import pytest
from sqlalchemy import AssertionPool, NullPool, QueuePool, event
from sqlalchemy.orm import sessionmaker

from support.calls import CALLS
from support.databases import Database
from userharbor_sqlalchemy import SQLAlchemyUserStore

ENGINE: list[dict[str, Any]] = [
    {"echo": True},
    {"echo_pool": "debug"},
    {"hide_parameters": True},
    {"insertmanyvalues_page_size": 1},
    {"label_length": 6},
    {"logging_name": "users"},
    {"max_identifier_length": 40},
    {"max_overflow": 0, "pool_size": 1},
    {"pool_logging_name": "users"},
    {"pool_pre_ping": True},
    {"pool_recycle": 1},
    {"pool_reset_on_return": "commit"},
    {"pool_reset_on_return": None},
    {"pool_timeout": 1},
    {"pool_use_lifo": True},
    {"poolclass": AssertionPool},
    {"poolclass": NullPool},
    {"poolclass": QueuePool},
    {"query_cache_size": 0},
    {"use_insertmanyvalues": False},
]
EXECUTION: list[dict[str, Any]] = [
    {"compiled_cache": None},
    {"insertmanyvalues_page_size": 1},
    {"logging_token": "users"},
    {"max_row_buffer": 10, "stream_results": True},
    {"no_parameters": True},
    {"preserve_rowcount": True},
    {"schema_translate_map": {"elsewhere": None}},
    {"stream_results": True},
    {"yield_per": 10},
]
DRIVERS: dict[str, list[dict[str, Any]]] = {
    "pysqlite": [
        {"connect_args": {"cached_statements": 0}},
        {"connect_args": {"check_same_thread": False}},
        {"connect_args": {"detect_types": 1}, "native_datetime": True},
        {"connect_args": {"isolation_level": "IMMEDIATE"}},
        {"connect_args": {"isolation_level": None}},
        {"connect_args": {"timeout": 1}},
        {"isolation_level": "READ UNCOMMITTED"},
    ],
    "psycopg": [
        {"client_encoding": "utf8"},
        {"connect_args": {"autocommit": True}},
        {"connect_args": {"options": "-c search_path=public"}},
        {"connect_args": {"prepare_threshold": 0}},
        {"connect_args": {"prepare_threshold": None}},
        {"execution_options": {"postgresql_deferrable": True}},
        {"execution_options": {"postgresql_readonly": False}},
        {"use_native_hstore": False},
    ],
    "psycopg2": [
        {"client_encoding": "utf8"},
        {"connect_args": {"options": "-c search_path=public"}},
        {"execution_options": {"postgresql_deferrable": True}},
        {"execution_options": {"postgresql_readonly": False}},
        {"executemany_mode": "values_plus_batch", "executemany_batch_page_size": 1},
        {"server_side_cursors": True},
        {"use_native_hstore": False},
    ],
    "pymysql": [
        {"connect_args": {"autocommit": True}},
        {"connect_args": {"charset": "utf8mb4"}},
        {"connect_args": {"client_flag": 0}},
        {"connect_args": {"init_command": "SET sql_mode = 'ANSI_QUOTES'"}},
        {"connect_args": {"sql_mode": ""}},
    ],
    "mysqldb": [
        {"connect_args": {"autocommit": True}},
        {"connect_args": {"charset": "utf8mb4", "use_unicode": True}},
        {"connect_args": {"init_command": "SET sql_mode = 'ANSI_QUOTES'"}},
    ],
}
LEVELS = ["AUTOCOMMIT", "SERIALIZABLE"]


def options_of(driver: str) -> list[dict[str, Any]]:
    return [
        *ENGINE,
        *({"execution_options": each} for each in EXECUTION),
        *({"isolation_level": each} for each in LEVELS),
        *({"execution_options": {"isolation_level": each}} for each in LEVELS),
        *DRIVERS[driver],
    ]


@pytest.mark.filterwarnings("ignore:The create_engine.server_side_cursors:DeprecationWarning")
def test_every_method_works_with_every_option(db: Database) -> None:
    """Whatever it is good for elsewhere; and the options are the application's still."""
    failed = []
    for options in options_of(db.main.driver):
        engine = db.engine(**options)
        left: list[Any] = []
        event.listen(engine, "checkin", lambda *_, left=left: left.append(None))
        store = SQLAlchemyUserStore(sessionmaker(engine))
        try:
            for _, call in CALLS:
                call(store, "jane")
            list(store.iter_users())
            store.purge_expired()
            assert left, "no connection was given back"
            assert engine.get_execution_options() == options.get("execution_options", {})
        except Exception as error:
            failed.append((options, error))
            with db.main.begin() as connection:
                for table in reversed(store.metadata.sorted_tables):
                    connection.execute(table.delete())
    assert failed == []
