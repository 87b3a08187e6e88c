"""Drawings of what was measured, the same to the byte for the same figures."""

from importlib import import_module
from pathlib import Path
from typing import Any

from .methods import CORE
from .report import Results, sections, suffix
from .stores import OLD, OURS

# Not installed where types are checked: only drawing takes it.
matplotlib: Any = import_module("matplotlib")
pyplot: Any = import_module("matplotlib.pyplot")

COLOURS = {OURS: "#2563a8", OLD: "#c8792b"}
OTHER = "#999999"


def draw(results: Results, folder: Path) -> None:
    """One SVG for each section that was measured; its name is that of the table, with hyphens."""
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "userharbor-sqlalchemy", "svg.fonttype": "none"}
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawing in {
        "methods": _bars,
        "flows": _bars,
        "latency 2 ms": _bars,
        "flows 2 ms": _bars,
        "floor": _times,
        "others": _times,
        "asynchronous": _times,
        "threads": _threads,
        "growth": _growth,
    }.items():
        found = sections(results, name)
        if found:
            figure = drawing(found)
            path = folder / f"{(name + suffix(results)).replace(' ', '-')}.svg"
            figure.savefig(path, metadata={"Date": None})
            pyplot.close(figure)


def _panels(found: dict[str, Any], height: float, title: str) -> tuple[Any, list[Any]]:
    figure, axes = pyplot.subplots(
        1, len(found), figsize=(4 * len(found), height), squeeze=False, layout="constrained"
    )
    figure.suptitle(title)
    for panel, database in zip(axes[0], found, strict=True):
        panel.set_title(database)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, list(axes[0])


def _bars(found: dict[str, Any]) -> Any:
    """How many times longer 0.7.0 takes, for each row; the line from quartile to quartile."""
    rows = list(next(iter(found.values()))["rows"])
    figure, panels = _panels(found, 0.8 + 0.22 * len(rows), f"Time of {OLD} as multiple of ours")
    for panel, section in zip(panels, found.values(), strict=True):
        ratios = [section["rows"][row][OLD]["ratio"] for row in rows]
        middles = [middle for _, middle, _ in ratios]
        spread = [
            [middle - low for low, middle, _ in ratios],
            [high - middle for _, middle, high in ratios],
        ]
        panel.barh(rows, middles, xerr=spread, color=COLOURS[OURS], ecolor="#888888")
        panel.axvline(1, color="black", linewidth=0.8)
    _name_once(panels)
    return figure


def _name_once(panels: list[Any]) -> None:
    """Bars from above, named at the left only."""
    for panel in panels:
        panel.invert_yaxis()
        panel.margins(y=0.01)
        panel.tick_params(labelleft=panel is panels[0])


def _times(found: dict[str, Any]) -> Any:
    """Microseconds of each contender, for each row."""
    rows = next(iter(found.values()))["rows"].values()
    height = 0.8 + 0.22 * sum(len(contenders) for contenders in rows)
    figure, panels = _panels(found, height, "Microseconds a call")
    for panel, section in zip(panels, found.values(), strict=True):
        bars = {
            f"{row}: {contender}": (taken["microseconds"][1], _colour(contender))
            for row, contenders in section["rows"].items()
            for contender, taken in contenders.items()
        }
        heights, colours = zip(*bars.values(), strict=True)
        panel.barh(list(bars), heights, color=colours)
    _name_once(panels)
    return figure


def _colour(contender: str) -> str:
    return COLOURS[OURS] if contender.startswith(OURS) else COLOURS.get(contender, OTHER)


def _threads(found: dict[str, Any]) -> Any:
    """Reads a second of all threads together."""
    figure, panels = _panels(found, 3, "Reads a second by threads on one engine")
    for panel, section in zip(panels, found.values(), strict=True):
        for one in (CORE, *COLOURS):
            reads = [
                1e6 / contenders[one]["microseconds"][1] for contenders in section["rows"].values()
            ]
            colour = COLOURS.get(one, OTHER)
            panel.plot(list(section["rows"]), reads, marker="o", color=colour, label=one)
        panel.set_ylim(bottom=0)
    panels[0].legend(frameon=False)
    return figure


def _growth(found: dict[str, Any]) -> Any:
    """Microseconds a call by rows in the tables."""
    figure, panels = _panels(found, 3, "Microseconds a call by users and sessions stored")
    for panel, section in zip(panels, found.values(), strict=True):
        for row, contenders in section["rows"].items():
            times = [taken["microseconds"][1] for taken in contenders.values()]
            panel.plot(list(contenders), times, marker="o", label=row)
        panel.set_ylim(bottom=0)
    panels[0].legend(frameon=False, fontsize="small")
    return figure
