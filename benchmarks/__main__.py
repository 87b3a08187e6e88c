"""`python -m benchmarks`: measures, and prints tables of what was measured."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import report
from .backends import NAMES, Backend, started
from .flows import flows
from .growth import SIZES, growth
from .latency import latency
from .methods import methods
from .others import others
from .pauses import pauses
from .settings import settings
from .threads import threads
from .timing import Section

Measurement = Callable[[Backend, int], dict[str, Section]]

MEASUREMENTS: dict[str, Measurement] = {
    measure.__name__: measure
    for measure in (methods, flows, others, pauses, threads, latency, growth, settings)
}
QUICK_ROUNDS = 3


def main() -> None:
    arguments = _arguments()
    if arguments.replay:
        results = json.loads(arguments.replay.read_text())
    else:
        databases = {name: _measured(name, arguments) for name in arguments.db or NAMES}
        results = {"of": _of(), "databases": databases}
    for name, table in report.tables(results).items():
        print(f"## {name}\n\n{table}\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(results) + "\n")
    for page in arguments.page:
        report.fill_in(page, results)
    if arguments.plots:
        from .plots import draw

        draw(results, arguments.plots)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--db", choices=NAMES, action="append", help="may be repeated; all by default")
    add("--only", choices=MEASUREMENTS, action="append", help="may be repeated; all by default")
    add("--rounds", type=int, default=30, help="more are more exact (default: %(default)s)")
    add("--quick", action="store_true", help="a few rounds, and little growth: to see that it runs")
    add("--json", type=Path, metavar="FILE", help="write what was measured to FILE")
    add("--replay", type=Path, metavar="FILE", help="measure nothing, and read FILE instead")
    add("--plots", type=Path, metavar="FOLDER", help="draw into FOLDER (takes matplotlib)")
    add(
        "--page",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="put the tables into their places in FILE; may be repeated",
    )
    return parser.parse_args()


def _of() -> dict[str, str]:
    packages = ("userharbor-sqlalchemy", "userharbor", "SQLAlchemy", "psycopg", "PyMySQL")
    return {
        "Python": _python(),
        **{package: version(package) for package in packages},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
    }


def _python() -> str:
    """The version of this Python, and whether it ran threads at once.

    Asked for after measuring: a module that is not made for it brings the lock back.
    """
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    return platform.python_version() + ("" if has_lock else f" {report.FREE_THREADED}")


def _measured(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    rounds = QUICK_ROUNDS if arguments.quick else arguments.rounds
    measurements = dict(MEASUREMENTS)
    if arguments.quick:
        measurements["growth"] = partial(growth, sizes=SIZES[:2])
    sections: dict[str, Any] = {}
    with started(name) as backend:
        for only in arguments.only or measurements:
            print(f"{name}: {only}", file=sys.stderr)
            for section, measured in measurements[only](backend, rounds).items():
                sections[section] = measured.summary()
    return {"version": backend.version, **sections}


main()
