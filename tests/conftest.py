"""Fixtures of all tests: each test that asks for a database runs on each of them."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url
from sqlalchemy.orm import sessionmaker

from support import servers
from support.alembic_project import AlembicProject
from support.databases import Database, Databases, backend_of, fresh_database, named_urls
from support.models import SHAPES, Model, metadata_of
from userharbor_sqlalchemy import SQLAlchemyUserStore, User, metadata

os.environ["TZ"] = servers.TIME_ZONE
time.tzset()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("databases")
    group.addoption(
        "--db",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a database of setup.cfg, may be repeated: {', '.join(named_urls())}",
    )
    group.addoption(
        "--dburi",
        action="append",
        default=[],
        metavar="URL",
        help="any database; its userharbor tables are emptied",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what takes several servers, or other drivers and libraries, unless asked for.

    By its path, or by `-m` with its marker.
    """
    asked_for: str = config.getoption("markexpr") or ""
    markers = {
        "cluster": "cluster",
        "ecosystem": "ecosystem",
        "test_other_drivers.py": "drivers",
    }
    marker = markers.get(collection_path.name)
    return True if marker is not None and marker not in asked_for else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" not in metafunc.fixturenames:
        return
    urls = named_urls()
    default = urls.pop("default").split()
    names: list[str] = metafunc.config.getoption("--db") or []
    uris: list[str] = metafunc.config.getoption("--dburi") or []
    if unknown := [name for name in names if name not in urls]:
        raise pytest.UsageError(f"setup.cfg has no database {unknown[0]!r}, but {list(urls)}")
    asked_for = bool(names or uris)
    chosen = {name: urls[name] for name in names or ([] if uris else default)}
    chosen |= {uri: uri for uri in uris}
    if marker := metafunc.definition.get_closest_marker("backends"):
        chosen = {
            name: url for name, url in chosen.items() if backend_of(make_url(url)) in marker.args
        }
    metafunc.parametrize(
        "database", [(url, asked_for) for url in chosen.values()], ids=list(chosen), indirect=True
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and do not skip, a test of databases none of which was asked for."""
    without = [item for item in items if _has_no_database(item)]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if not _has_no_database(item)]


def _has_no_database(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("skip")
    return mark is not None and "empty parameter set" in mark.kwargs.get("reason", "")


_MISSING = pytest.StashKey[set[str]]()


@pytest.fixture(scope="session")
def databases(pytestconfig: pytest.Config) -> Iterator[Databases]:
    databases = Databases()
    pytestconfig.stash[_MISSING] = databases.missing
    yield databases
    databases.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once, and not for each test, which database the tests went without, and how to get it."""
    missing: set[str] = terminalreporter.config.stash.get(_MISSING, set())
    for database in sorted(missing):
        terminalreporter.write_line(f"SKIPPED, not installed: {database}")


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Database]:
    """A database with the built-in tables."""
    url, asked_for = request.param
    found = databases.url(url, asked_for)
    database = Database(found, databases.server(found))
    metadata.drop_all(database.main)
    metadata.create_all(database.main)
    yield database
    database.close()


@pytest.fixture
def db(database: Database) -> Iterator[Database]:
    """The database, its tables empty. Fails the test that leaves a connection checked out."""
    with database.main.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    yield database
    left = database.checked_out()
    database.dispose_engines()
    assert left == [], "a connection is still checked out"


@pytest.fixture
def fresh(database: Database, tmp_path: Path) -> Iterator[Database]:
    """An empty database of the test's own. Fails the test that leaves a connection checked out."""
    with fresh_database(database, tmp_path) as fresh:
        yield fresh
        left = fresh.checked_out()
        fresh.dispose_engines()
    assert left == [], "a connection is still checked out"


@pytest.fixture
def alembic(fresh: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AlembicProject:
    """Alembic for the database `fresh`, in a folder where `import models` finds the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "models", raising=False)
    return AlembicProject(fresh)


@pytest.fixture
def store(db: Database) -> SQLAlchemyUserStore[User]:
    """A store on the built-in tables."""
    return SQLAlchemyUserStore(sessionmaker(db.main))


@pytest.fixture
def user_store(store: SQLAlchemyUserStore[User]) -> SQLAlchemyUserStore[User]:
    """The name that the conformance suite asks for."""
    return store


@pytest.fixture(scope="module", params=list(SHAPES))
def model(request: pytest.FixtureRequest, database: Database) -> Iterator[Model]:
    """Each shape of user table that an application may have, with the store's tables."""
    model = SHAPES[request.param]()
    store = SQLAlchemyUserStore(sessionmaker(), user_model=model, table_prefix=f"{request.param}_")
    store.metadata.drop_all(database.main)
    store.metadata.create_all(database.main)
    yield model
    store.metadata.drop_all(database.main)


@pytest.fixture
def model_store(
    request: pytest.FixtureRequest, model: Model, db: Database
) -> SQLAlchemyUserStore[User]:
    """A store on `model`, its tables empty."""
    prefix = f"{request.node.callspec.params['model']}_"
    with db.main.begin() as connection:
        for table in reversed(metadata_of(model).sorted_tables):
            connection.execute(table.delete())
    return SQLAlchemyUserStore(sessionmaker(db.main), user_model=model, table_prefix=prefix)
