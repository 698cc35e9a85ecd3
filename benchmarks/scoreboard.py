"""``python -m benchmarks.scoreboard``: the verdicts of the runs that are kept, as the table of docs/performance.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["scoreboard"]

RESULTS: Final = Path(__file__).with_name("results")


class _Row(NamedTuple):
    """One target, over all tables that it was judged in."""

    work: str
    figure: str
    target: str


def scoreboard(folder: Path = RESULTS) -> str:
    """One row for each target, one column for each run; the figures in the order of the tables, misses in bold."""
    columns = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["verdicts"] for path in sorted(folder.glob("*.json"))
    }
    cells: dict[_Row, dict[str, list[str]]] = {}
    for name, verdicts in columns.items():
        for verdict in verdicts:
            cells.setdefault(_row(verdict), {}).setdefault(name, []).append(_value(verdict))
    order = list(dict.fromkeys(row.work for row in cells))
    heads = ["work", "figure", "target", *(name.replace("-", " ") for name in columns)]
    rows = [heads, ["---"] * len(heads)]
    rows += [
        [*row, *("; ".join(cells[row].get(name, ["-"])) for name in columns)]
        for row in sorted(cells, key=lambda row: order.index(row.work))
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(verdict: dict[str, Any]) -> _Row:
    unit = {
        "yardstick": f" x {verdict['to']}",
        "best rival": " x the best rival",
        "1": "",
        "1 ms": " ms",
    }.get(verdict["unit"], f" x {verdict['to']}")
    who = verdict["who"].removeprefix("rwlocks ")
    figure = verdict["figure"] + ("" if who in {"fifo", "rwlocks"} else f" ({who})")
    return _Row(verdict["work"], figure, verdict["target"] + unit)


def _value(verdict: dict[str, Any]) -> str:
    value = f"{verdict['value']:.3g}"
    return {True: value, False: f"**{value}**", None: f"({value})"}[verdict["met"]]


if __name__ == "__main__":
    print(scoreboard(), end="")
