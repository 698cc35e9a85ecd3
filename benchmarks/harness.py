"""What the benchmarks share: rounds in which everybody takes part, medians with their spread, and one kind of table.

Machines differ, and one machine differs from minute to minute. So no figure stands alone: in each round everybody runs
once, in an order shuffled anew, and a ratio is always formed with the yardstick of the *same* round.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import random
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from contestants import Contestant

__all__ = [
    "compiled",
    "describe_machine",
    "jain",
    "median_and_spread",
    "options",
    "print_table",
    "ratios",
    "run_rounds",
]


if importlib.util.find_spec("rwlocks") is None:  # not installed: the checkout is what there is to measure
    sys.path.append(str(Path(__file__).resolve().parents[1]))


class Labelled(Protocol):
    """Who takes part: a name while it runs, a label in the table."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...


C = TypeVar("C", bound=Labelled)
R = TypeVar("R")


def options(purpose: str) -> argparse.ArgumentParser:
    """A command line with what every benchmark understands."""
    parser = argparse.ArgumentParser(description=purpose, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often everybody runs")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="contestants whose name contains a word")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which they run, and of the mix of modes")
    return parser


def describe_machine() -> str:
    """What the figures depend on, in one line."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"


def compiled(template: str, contestant: Contestant, **more: str) -> Callable[..., Any]:
    """The function ``run`` of the template, written out for this contestant; each call of it makes a new lock."""
    indented = contestant.setup.replace("\n", "\n    ")
    handles = contestant.handles
    source = template.format(setup=indented, handles=handles, read=contestant.read, write=contestant.write, **more)
    names: dict[str, Callable[..., Any]] = {}
    exec(compile(source, f"<{contestant.name}>", "exec"), names)  # noqa: S102  as timeit does, with text of our own
    return names["run"]


def run_rounds(contestants: Sequence[C], measure: Callable[[C], R], rounds: int, seed: int) -> dict[str, list[R]]:
    """``measure`` for everybody, ``rounds`` times; the results by label, one for each round."""
    order = list(contestants)
    shuffle = random.Random(seed).shuffle
    results: dict[str, list[R]] = {contestant.label: [] for contestant in contestants}
    for number in range(1, rounds + 1):
        shuffle(order)
        for contestant in order:
            if sys.stderr.isatty():
                print(f"\rround {number} of {rounds}: {contestant.name:30}", end="", file=sys.stderr)
            results[contestant.label].append(measure(contestant))
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    return results


def ratios(mine: Iterable[float], yardstick: Iterable[float]) -> list[float]:
    """One ratio for each round."""
    return [one / other for one, other in zip(mine, yardstick, strict=True)]


def median_and_spread(values: Sequence[float], digits: int = 2) -> str:
    """``median (least-greatest)``."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index: 1 when all have the same, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """First column to the left, figures to the right."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    print(f"\n{title}\n")
    for cells in (columns, ["-" * width for width in widths], *rows):
        padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        padded[0] = cells[0].ljust(widths[0])
        print("  ".join(padded).rstrip())
