"""`python -m benchmarks.instructions [NAME …]`: the machine instructions of a read.

Counted by valgrind; the same each time, where seconds are not. What the server does isn't in them.
"""

import os
import re
import subprocess
import sys
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

from support.samples import new_token, new_user
from userharbor_sqlalchemy import metadata

from .backends import NAMES, Backend, started
from .methods import CORE, QUERIES, by_core
from .stores import OLD, OURS, stores

FEW, MANY = 100, 300
"""Calls, so that what precedes them is in both counts."""


def count(backend: Backend, contender: str, method: str, calls: int) -> int:
    """The instructions of a process that makes so many calls."""
    with TemporaryDirectory() as folder:
        url = backend.url.render_as_string(hide_password=False)
        counted = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        called = [backend.name, url, contender, method, str(calls)]
        run = subprocess.run(
            [*counted, sys.executable, "-m", "benchmarks.instructions", *called],
            capture_output=True,
            check=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    found = re.search(r"Collected : (\d+)", run.stderr)
    assert found is not None
    return int(found[1])


def call(name: str, url: str, contender: str, method: str, calls: int) -> None:
    """Make the calls that are counted."""
    backend = Backend(name, make_url(url))
    engines = [backend.engine(), backend.engine()]
    if contender == CORE:
        read = by_core(engines[0], QUERIES[method])
    else:
        read = getattr(stores(*engines)[contender], method)
    for _ in range(calls):
        read("jane")


def main() -> None:
    """Print, for each database that is named, thousands of instructions, and how many of Core's."""
    for name in sys.argv[1:] or NAMES:
        with started(name) as backend:
            engine = backend.engine()
            metadata.create_all(engine)
            ours = stores(engine, engine)[OURS]
            ours.create_user(new_user("jane"))
            ours.add_session(new_token("jane"))
            engine.dispose()
            for method in QUERIES:
                counts = {
                    contender: (
                        count(backend, contender, method, MANY)
                        - count(backend, contender, method, FEW)
                    )
                    / (MANY - FEW)
                    for contender in (CORE, OURS, OLD)
                }
                each = ", ".join(
                    f"{contender} {number / 1000:.0f} ({number / counts[CORE]:.2f}×)"
                    for contender, number in counts.items()
                )
                print(f"{name}: {method}: {each}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 6:
        name, url, contender, method, calls = sys.argv[1:]
        call(name, url, contender, method, int(calls))
    else:
        main()
