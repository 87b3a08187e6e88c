"""An application's use of Alembic: its command line, in a folder with the files of the docs."""

from pathlib import Path

from alembic.config import main
from databases import Database
from pages import files


class AlembicProject:
    """What `alembic init` makes in the current folder."""

    def __init__(self, database: Database) -> None:
        self.run("init", "migrations")
        url = database.url.render_as_string(hide_password=False).replace("%", "%%")
        ini = Path("alembic.ini")
        ini.write_text(ini.read_text().replace("driver://user:pass@localhost/dbname", url))

    def use(self, *paths: str) -> None:
        """Take these files of docs/alembic.md."""
        for path in map(Path, paths):
            folder = Path("migrations") if path.name == "env.py" else Path()
            (folder / path.name).write_text(files("alembic.md")[str(path)])

    def run(self, *arguments: str) -> None:
        """Run a command of Alembic's; `SystemExit` where it fails."""
        main(arguments)

    def revision(self, *arguments: str) -> Path:
        """Make a migration, and return its file."""
        versions = Path("migrations", "versions")
        before = set(versions.glob("*.py"))
        self.run("revision", "-m", "accounts", *arguments)
        (new,) = set(versions.glob("*.py")) - before
        return new
