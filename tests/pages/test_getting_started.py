"""The path of docs/getting-started.md that leads through files and Alembic's command line."""

import subprocess
import sys
from pathlib import Path

from support.pages import files


def test_a_model_and_its_migrations_are_made_as_the_page_says(tmp_path: Path) -> None:
    """In an empty folder, by copying: Alembic makes the tables, and the application runs."""
    page = files("getting-started.md")
    for name in ("models.py", "app.py"):
        (tmp_path / name).write_text(page[name])

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "alembic", "init", "migrations")
    replace(tmp_path / "alembic.ini", "driver://user:pass@localhost/dbname", "sqlite:///app.db")
    env = page["migrations/env.py"]
    replace(tmp_path / "migrations" / "env.py", "target_metadata = None\n", env)
    run("-m", "alembic", "revision", "--autogenerate", "-m", "accounts")
    run("-m", "alembic", "upgrade", "head")
    run("-m", "alembic", "check")
    assert run("-W", "error", "app.py") == "users: 0\n"


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
