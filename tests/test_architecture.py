"""The diagram of docs/architecture.md is that of the imports."""

import re

import grimp
from pages import DOCS
from sybil import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

PACKAGE = "userharbor_sqlalchemy"


def test_modules_import_from_the_layers_below_them_in_the_diagram() -> None:
    """A line of it is a layer. Each module stands in one, and none imports the package itself."""
    page = Document((DOCS / "architecture.md").read_text(encoding="utf-8"), "architecture.md")
    (diagram,) = FencedCodeBlockLexer("text imports")(page)
    lines = [re.findall(r"\w+", line) for line in str(diagram.lexemes["source"]).splitlines()]
    layers = [grimp.Layer(*modules, independent=True) for modules in lines if modules]

    imports = grimp.build_graph(PACKAGE, cache_dir=None)
    assert imports.find_illegal_dependencies_for_layers(layers, containers={PACKAGE}) == set()
    assert imports.find_modules_that_directly_import(PACKAGE) == set()
    shown = sorted(f"{PACKAGE}.{module}" for modules in lines for module in modules)
    assert shown == sorted(imports.find_children(PACKAGE))
