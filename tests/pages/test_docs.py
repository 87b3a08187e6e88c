"""Every Python block of the README and the docs runs, from the top of its page to the end.

Links from one page of docs/ to another are Sphinx's to check: `tox run -e docs`.
"""

import re
from pathlib import Path

import pytest
from sqlalchemy.orm import sessionmaker
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from userharbor_sqlalchemy import SQLAlchemyUserStore

ROOT = Path(__file__).parents[2]
OUTSIDE = [*sorted(ROOT.glob("*.md")), ROOT / "examples" / "README.md"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a reader would paste them, one after the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    if page.name == "frameworks.md":
        pytest.importorskip("flask_sqlalchemy")
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(page)
    document.namespace["__name__"] = "__main__"
    for example in document:
        example.evaluate()


@pytest.mark.parametrize("page", OUTSIDE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_outside_of_docs_lead_somewhere(page: Path) -> None:
    """To a file of this repository, or to another host."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_links_to_nothing_beside_it() -> None:
    """It is read on PyPI, too, where nothing is beside it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((?!https:)[^)]*\)", text) == []


def test_the_reference_has_all_that_a_store_has() -> None:
    """Sphinx fails where a name is not there; here none is left out."""
    reference = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"SQLAlchemyUserStore\.(\w+)$", reference, re.MULTILINE)
    public = [name for name in dir(SQLAlchemyUserStore(sessionmaker())) if name[0] != "_"]
    assert sorted(named) == public
