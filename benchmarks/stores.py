"""What is measured: this store, and that of userharbor-sqlalchemy 0.7.0 beside it."""

import importlib.util
import subprocess
import sys
from functools import cache
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import sessionmaker
from userharbor.interfaces import UserStore

from userharbor_sqlalchemy import SQLAlchemyUserStore

from . import ROOT

OURS, OLD = "ours", "0.7.0"
FOLDER = ROOT / "build" / f"userharbor-sqlalchemy-{OLD}"


def stores(ours: Engine, old: Engine) -> dict[str, UserStore[Any]]:
    """Both, each on an engine of its own, so that neither has what the other's driver prepared."""
    return {
        OURS: SQLAlchemyUserStore(sessionmaker(ours)),
        OLD: _old_class()(sessionmaker(old)),
    }


@cache
def _old_class() -> Any:
    """The class of 0.7.0, which bears our import name: installed aside, and loaded as another."""
    package = FOLDER / "userharbor_sqlalchemy"
    if not package.exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        install += ["--target", str(FOLDER), f"userharbor-sqlalchemy=={OLD}"]
        subprocess.run(install, check=True)
    spec = importlib.util.spec_from_file_location(
        "userharbor_sqlalchemy_old",
        package / "__init__.py",
        submodule_search_locations=[str(package)],
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.SQLAlchemyUserStore
