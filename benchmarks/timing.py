"""Timing things that are to be compared: in turns, so that what slows one slows the others."""

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import geometric_mean, median, quantiles
from time import perf_counter
from typing import Any

Step = tuple[str, Mapping[str, Callable[[str], object]]]


@dataclass
class Section:
    """Rows of contenders, and what each took in each round, in seconds a call."""

    base: str
    """The contender that the others are compared with."""
    rows: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, contender: str, seconds: float) -> None:
        """Note what a call took, of all calls of a round."""
        self.rows.setdefault(row, {}).setdefault(contender, []).append(seconds)

    def summary(self) -> dict[str, Any]:
        """The median, between the quartiles: of microseconds, and of ratios to the base.

        A ratio is one round's. Above 1, the contender took longer than the base.
        """
        rows = {
            row: {
                contender: {
                    "microseconds": _quartiles([second * 1e6 for second in seconds]),
                    "ratio": _quartiles(
                        [one / base for one, base in zip(seconds, taken[self.base], strict=True)]
                    ),
                }
                for contender, seconds in taken.items()
            }
            for row, taken in self.rows.items()
        }
        return {"base": self.base, "rows": rows}


def _quartiles(values: list[float]) -> list[float]:
    low, _, high = quantiles(values, n=4) if len(values) > 1 else values * 3
    return [float(f"{value:.4g}") for value in (low, median(values), high)]


def mean_ratio(section: Mapping[str, Any], contender: str, rows: Iterable[str]) -> float:
    """The geometric mean of the median ratios of some rows."""
    return geometric_mean(section["rows"][row][contender]["ratio"][1] for row in rows)


def in_turns(steps: Sequence[Step], base: str, rounds: int, calls: int) -> Section:
    """Do the steps in their order, each contender so many calls at a time, round by round.

    A call is given a name that no other is given, of this contender's and round's own, but
    the same in each step. The first round is not counted.
    """
    section = Section(base, {row: {one: [] for one in contenders} for row, contenders in steps})
    for number in range(rounds + 1):
        gc.collect()
        for row, contenders in steps:
            order = list(contenders)
            turn = number % len(order)
            for contender in order[turn:] + order[:turn]:
                call = contenders[contender]
                names = [f"{contender}_{number}_{one}" for one in range(calls)]
                started = perf_counter()
                for name in names:
                    call(name)
                seconds = (perf_counter() - started) / calls
                if number > 0:
                    section.add(row, contender, seconds)
    return section
