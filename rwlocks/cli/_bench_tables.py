"""Rounds, medians and tables: how figures are taken and shown, whatever they are figures of.

Machines differ, and one machine differs from minute to minute. So no figure stands alone: in each round everybody runs
once, in an order shuffled anew, and a ratio is always formed with the yardstick of the *same* round. What is shown is
the median of the rounds, and of ratios, in brackets, the least and the greatest.
"""

from __future__ import annotations

import random
import statistics
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rwlocks.cli._bench_contestants import Contestant

__all__ = ["Column", "Figures", "Table", "Unfit", "fill", "lines", "median_and_spread", "ratios", "run_rounds"]

Figures: TypeAlias = dict[str, float]
"""What one contestant did in one round, by the name of the figure; what it could not do is missing."""


class Unfit(RuntimeError):
    """A contestant that hangs, fails, or does not exclude."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """How a figure is shown."""

    figure: str
    heading: str
    scale: float = 1.0
    digits: int = 0
    ratio: bool = False
    """Whether the ratio to the yardstick stands beside it."""
    pick: Callable[[Sequence[float]], float] = statistics.median
    """What the rounds come to."""
    absent: str = "-"
    """What stands for a figure that nobody could take."""


@dataclass(kw_only=True)
class Table:
    """One question, answered by everybody. The yardstick is the first of the results."""

    key: str
    title: str
    columns: tuple[Column, ...]
    results: dict[str, list[Figures]]
    roles: Mapping[str, str]
    notes: list[str] = field(default_factory=list[str])

    @property
    def yardstick(self) -> str:
        """The label of the contestant that the others are compared with."""
        return next(iter(self.results))

    def values(self, label: str, figure: str) -> list[float]:
        """One value for each round in which it was taken."""
        return [figures[figure] for figures in self.results[label] if figure in figures]

    def ratios(self, label: str, figure: str, other: str) -> list[float]:
        """The one contestant's figure in units of the other's, for each round that has both."""
        pairs = zip(self.results[label], self.results[other], strict=True)
        return ratios((mine[figure], its[figure]) for mine, its in pairs if figure in mine and its.get(figure))


def run_rounds(
    contestants: Sequence[Contestant], measure: Callable[[Contestant], Figures], rounds: int, seed: int
) -> tuple[dict[str, list[Figures]], list[str]]:
    """``measure`` for everybody, ``rounds`` times: the results by label, one for each round, and who was unfit.

    Raises Unfit if that is one of ours, or a yardstick; a rival goes on without a figure for that round.
    """
    order = list(contestants)
    shuffle = random.Random(seed).shuffle
    results: dict[str, list[Figures]] = {contestant.label: [] for contestant in contestants}
    unfit: list[str] = []
    for number in range(1, rounds + 1):
        shuffle(order)
        for contestant in order:
            _progress(f"round {number} of {rounds}: {contestant.name}")
            try:
                figures = measure(contestant)
            except Unfit as error:
                if contestant.role != "rival":
                    raise
                unfit.append(f"{contestant.label}, round {number}: {error}")
                figures = {}
            results[contestant.label].append(figures)
    _progress("")
    return results, unfit


def fill(
    key: str,
    title: str,
    columns: tuple[Column, ...],
    contestants: Sequence[Contestant],
    measure: Callable[[Contestant], Figures],
    *,
    rounds: int,
    seed: int,
) -> Table:
    """The table of what everybody did."""
    results, unfit = run_rounds(contestants, measure, rounds, seed)
    roles = {contestant.label: contestant.role for contestant in contestants}
    return Table(
        key=key,
        title=f"{title}; {rounds} round{'s' * (rounds > 1)}",
        columns=columns,
        results=results,
        roles=roles,
        notes=unfit,
    )


def ratios(pairs: Iterable[tuple[float, float]]) -> list[float]:
    """The first of each pair in units of the second."""
    return [one / other for one, other in pairs]


def median_and_spread(values: Sequence[float], digits: int = 2) -> str:
    """``median (least-greatest)``."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else "-"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def lines(table: Table) -> list[str]:
    """The table as text: first column to the left, figures to the right."""
    heads = ["lock"]
    for column in table.columns:
        heads += [column.heading, "ratio"] if column.ratio else [column.heading]
    cells = [heads, *([label, *_row(table, label)] for label in table.results)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    rows = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]
    return ["", table.title, "", *rows, *(f"unfit: {note}" for note in table.notes)]


def _row(table: Table, label: str) -> list[str]:
    row: list[str] = []
    for column in table.columns:
        values = table.values(label, column.figure)
        row.append(f"{column.pick(values) * column.scale:,.{column.digits}f}" if values else column.absent)
        if column.ratio:
            row.append(median_and_spread(table.ratios(label, column.figure, table.yardstick)))
    return row


def _progress(text: str) -> None:
    """One line on the terminal, if there is one, that the next overwrites."""
    if sys.stderr.isatty():
        print(f"\r{text:70.70}\r", end="", file=sys.stderr, flush=True)
