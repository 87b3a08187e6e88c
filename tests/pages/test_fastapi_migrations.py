"""The FastAPI example's migrations, by Alembic's own commands as its documentation has them."""

from pathlib import Path

from sqlalchemy import inspect

from support.applications import Application, MailServer
from support.databases import Database


def test_the_migrations_make_what_the_models_say_and_can_be_undone(
    fresh: Database, tmp_path: Path
) -> None:
    """Alembic finds nothing to change afterwards, and undone they leave no table behind."""
    application = Application(fresh, MailServer(), tmp_path)
    application.alembic("upgrade", "head")
    assert "No new upgrade operations detected" in application.alembic("check")
    application.alembic("downgrade", "base")
    assert inspect(fresh.main).get_table_names() == ["alembic_version"]
