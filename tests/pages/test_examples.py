"""The examples run, as a user would run them, and say what happened."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_quickstart_runs_and_says_what_the_tables_hold() -> None:
    """Jane is gone at its end; the role and the permission stay."""
    run = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "quickstart.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    for said in (
        "2. Jane is registered.",
        "verify your address with",
        "4. She is logged in, in lower case, as User(username='Jane', email='jane@example.org',"
        " verified=True).",
        "5. May she write articles? False",
        "And as an editor? True",
        "Is the old session valid? False",
        "9. Her account is deleted. Is there a Jane? None",
        "userharbor_users: 0",
        "userharbor_role_permissions: 1",
    ):
        assert said in run.stdout
