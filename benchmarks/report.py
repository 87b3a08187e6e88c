"""What was measured, as tables in Markdown: for a terminal, and for pages of the docs."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .stores import OLD, OURS
from .timing import mean_ratio

Results = Mapping[str, Any]

LABELS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}

FREE_THREADED = "free-threaded"
"""How the name of a Python ends that runs threads at once."""


def tables(results: Results) -> dict[str, str]:
    """The tables of what was measured, by what they show.

    The names of those that were measured without Python's lock say so.
    """
    measured = dict.fromkeys(name for each in results["databases"].values() for name in each)
    found = {name: sections(results, name) for name in measured if name != "version"}
    made = {"versions": _versions(results), "means": _means(found), "latency": _latency(found)}
    made |= {name: _table(name, each) for name, each in found.items()}
    return {name + suffix(results): table for name, table in made.items()}


def suffix(results: Results) -> str:
    """What to add to names, so that the results of a free-threaded Python stand beside others."""
    return f" {FREE_THREADED}" if results["of"]["Python"].endswith(FREE_THREADED) else ""


def fill_in(page: Path, results: Results) -> None:
    """Put each table between `<!-- table: NAME -->` and `<!-- end -->` of a page."""
    made = tables(results)

    def filled(place: re.Match[str]) -> str:
        table = made.get(place[2])
        return place[0] if table is None else f"{place[1]}\n{table}\n\n{place[3]}"

    places = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
    page.write_text(places.sub(filled, page.read_text()))


def sections(results: Results, name: str) -> dict[str, Any]:
    """The section of this name by database, of those that have it."""
    return {
        LABELS[database]: measured[name]
        for database, measured in results["databases"].items()
        if name in measured
    }


def _versions(results: Results) -> str:
    servers = {LABELS[name]: measured["version"] for name, measured in results["databases"].items()}
    return "\n".join([*_head("", ""), *(_row(*each) for each in (results["of"] | servers).items())])


def _table(name: str, found: dict[str, Any]) -> str:
    if name == "messages":
        return _by_database(found, _messages)
    if name in ("others", "threads") or any(section["base"] != OURS for section in found.values()):
        return _by_contender(found)
    table = _by_database(found, _times_faster)
    means = [f"**{_mean(section):.2f}×**" for section in found.values()]
    return "\n".join([table, _row("**geometric mean**", *means)])


def _means(found: dict[str, dict[str, Any]]) -> str:
    """The geometric means of all methods, and of all flows."""
    rows = {name: each for name, each in found.items() if name in ("methods", "flows")}
    return _of_sections(rows, lambda section: f"{_mean(section):.1f}×")


def _latency(found: dict[str, dict[str, Any]]) -> str:
    """The means by round-trip time, and what gains least or loses."""
    rows = {
        name.replace("latency", "methods"): each
        for name, each in found.items()
        if name.endswith(" ms")
    }
    return _of_sections(rows, lambda section: f"{_mean(section):.2f}× (least: {_least(section)})")


def _of_sections(rows: dict[str, dict[str, Any]], cell: Callable[[Any], str]) -> str:
    databases = dict.fromkeys(database for each in rows.values() for database in each)
    body = [
        _row(name, *(cell(each[database]) if database in each else "" for database in databases))
        for name, each in rows.items()
    ]
    return "\n".join([*_head("", *databases), *body])


def _least(section: Any) -> str:
    """The row with the smallest ratio, and that."""
    ratios = {row: taken[OLD]["ratio"][1] for row, taken in section["rows"].items()}
    row = min(ratios, key=ratios.__getitem__)
    return f"{row} {ratios[row]:.2f}×"


def _mean(section: Any) -> float:
    """The geometric mean over the rows. Not of a block, which costs what is in it."""
    rows = [row for row in section["rows"] if row != "transaction"]
    return mean_ratio(section, OLD, rows)


def _by_database(found: dict[str, Any], cell: Callable[[Any], str]) -> str:
    methods = dict.fromkeys(row for section in found.values() for row in section["rows"])
    body = [
        _row(method, *(cell(section["rows"][method]) for section in found.values()))
        for method in methods
    ]
    return "\n".join([*_head("", *found), *body])


def _by_contender(found: dict[str, Any]) -> str:
    """For sections that compare others than the two stores, or others beside them."""
    contenders = dict.fromkeys(
        contender
        for section in found.values()
        for taken in section["rows"].values()
        for contender in taken
    )
    body = [
        _row(
            database,
            row,
            *(_times_longer(taken[one], one == section["base"]) for one in contenders),
        )
        for database, section in found.items()
        for row, taken in section["rows"].items()
    ]
    return "\n".join([*_head("", "", *contenders), *body])


def _times_faster(taken: Any) -> str:
    low, ratio, high = taken[OLD]["ratio"]
    return f"{_microseconds(taken[OURS])}, {ratio:.2f}× ({low:.2f}–{high:.2f})"


def _times_longer(taken: Any, is_base: bool) -> str:
    low, ratio, high = taken["ratio"]
    times = "" if is_base else f", {ratio:.2f}× ({low:.2f}–{high:.2f})"
    return _microseconds(taken) + times


def _messages(taken: Any) -> str:
    return " / ".join(f"{taken[name]['microseconds'][1]:.0f}" for name in (OURS, OLD))


def _microseconds(taken: Any) -> str:
    return f"{taken['microseconds'][1]:.0f} µs"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*("---" for _ in cells))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
