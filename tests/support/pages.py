"""The files that a page of the docs shows: its blocks whose info string ends in a path."""

from pathlib import Path

from sybil import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

DOCS = Path(__file__).parents[2] / "docs"


def files(page: str) -> dict[str, str]:
    """The text of each block that begins with "```python " and a path, by that path."""
    document = Document((DOCS / page).read_text(encoding="utf-8"), page)
    return {
        region.lexemes["language"].removeprefix("python "): str(region.lexemes["source"])
        for region in FencedCodeBlockLexer("python .+")(document)
    }
