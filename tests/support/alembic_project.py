"""An application's use of Alembic: its command line, in a folder with the files of the docs."""

from pathlib import Path
from textwrap import indent

from alembic.config import main

from support.databases import Database
from support.pages import files


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

    def paste(self, name: str) -> None:
        """Make a migration of what docs/upgrading.md shows under this name."""
        migration = self.revision()
        text = migration.read_text()
        head = text[: text.index("\n", text.index("depends_on:"))]
        migration.write_text(f"{head}\n\n{files('upgrading.md')[name]}")

    def add_indexes(self) -> Path:
        """Generate the migration of docs/upgrading.md, and go up."""
        migration = self.revision("--autogenerate")
        before = indent(files("upgrading.md")["superseded_tokens.py"], "    ")
        begin = "def upgrade() -> None:\n"
        migration.write_text(migration.read_text().replace(begin, begin + before))
        self.run("upgrade", "head")
        return migration
