"""The rooms of docs/architecture.md are those of the imports."""

import grimp
from sybil import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from support.pages import DOCS

PACKAGE = "userharbor_sqlalchemy"


def test_rooms_and_their_modules_import_only_what_the_diagram_has_below_them() -> None:
    """A line of it is a room, and `>` a floor within. None imports the package itself."""
    page = Document((DOCS / "architecture.md").read_text(encoding="utf-8"), "architecture.md")
    (diagram,) = FencedCodeBlockLexer("text imports")(page)
    lines = [line.split() for line in str(diagram.lexemes["source"]).splitlines()]
    rooms = {room: " ".join(modules).split(">") for room, *modules in lines}

    imports = grimp.build_graph(PACKAGE, cache_dir=None)
    assert imports.find_modules_that_directly_import(PACKAGE) == set()
    for container, floors in [
        (PACKAGE, list(rooms)),
        *((f"{PACKAGE}.{room}", floors) for room, floors in rooms.items() if any(floors)),
    ]:
        layers = [grimp.Layer(*floor.split(), independent=True) for floor in floors]
        assert not imports.find_illegal_dependencies_for_layers(layers, containers={container})
        shown = {f"{container}.{module}" for floor in floors for module in floor.split()}
        assert shown == imports.find_children(container)
