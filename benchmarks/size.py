"""`python -m benchmarks.size`: the disk that a session and a user take, indexes included."""

from hashlib import sha256

from sqlalchemy import Engine, Table, insert, text
from sqlalchemy.orm import sessionmaker

from support.samples import EXPIRES_AT
from userharbor_sqlalchemy import SQLAlchemyUserStore

from .backends import NAMES, Backend, started

ROWS = 100_000
SIZES = {
    "sqlite": "SELECT sum(pgsize) FROM dbstat WHERE name = :table OR name IN"
    " (SELECT name FROM sqlite_master WHERE tbl_name = :table)",
    "postgresql": "SELECT pg_total_relation_size(CAST(:table AS regclass))",
    "mysql": "SELECT data_length + index_length FROM information_schema.tables"
    " WHERE table_schema = database() AND table_name = :table",
}


def bytes_of(engine: Engine, table: Table) -> int:
    """What the table takes, each page of it and of its indexes."""
    with engine.connect() as connection:
        if engine.name == "mysql":
            connection.exec_driver_sql(f"ANALYZE TABLE {table.name}")
        return int(connection.execute(text(SIZES[engine.name]), {"table": table.name}).scalar_one())


def measure(backend: Backend) -> None:
    """Store users as UserHarbor does, each with a session, in no order."""
    engine = backend.engine()
    store = SQLAlchemyUserStore(sessionmaker(engine))
    store.metadata.create_all(engine)
    users, sessions = (store.metadata.tables[f"userharbor_{t}"] for t in ("users", "sessions"))
    names = [f"jane.doe.{sha256(str(n).encode()).hexdigest()[:6]}{n}" for n in range(ROWS)]
    with engine.begin() as connection:
        for start in range(0, ROWS, 1000):
            some = names[start : start + 1000]
            connection.execute(
                insert(users),
                [
                    {
                        "username": name,
                        "username_key": name,
                        "email": f"{name}@example.org",
                        "password_hash": "$argon2id$v=19$m=65536,t=3,p=4$" + "x" * 66,
                        "verified": True,
                    }
                    for name in some
                ],
            )
            connection.execute(
                insert(sessions),
                [
                    {
                        "token_hash": sha256(name.encode()).hexdigest(),
                        "username": name,
                        "expires_at": EXPIRES_AT,
                    }
                    for name in some
                ],
            )
    for table in (sessions, users):
        print(f"{backend.name}: {table.name}: {bytes_of(engine, table) // ROWS} bytes a row")
    engine.dispose()


for each in NAMES:
    with started(each) as backend:
        measure(backend)
