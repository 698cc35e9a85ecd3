"""The figures as pictures: small SVG files, the same for the same figures. Needs matplotlib, of the extra ``bench``."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import re
import statistics
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.patience import PATIENCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from rwlocks.cli._bench_tables import Table

__all__ = ["draw"]

STYLE = {
    "svg.fonttype": "none",  # text stays text: small, and searchable
    "svg.hashsalt": "rwlocks",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": 6.5,
    "lines.markersize": 3,
}
COLOURS = {"ours": ("C0", "C1", "C2", "C3", "C4"), "rival": ("C5", "C6", "C7", "C8", "C9", "tan", "slategrey")}
LOOKS: dict[str, dict[str, Any]] = {
    "yardstick": {"color": "black", "linestyle": "--"},
    "reference": {"color": "black", "linestyle": ":"},
    "ours": {"linewidth": 2.2},
    "rival": {"linewidth": 0.9},
}


class Line(NamedTuple):
    """One contestant, or one scene, over what varies."""

    label: str
    points: Sequence[tuple[float, float]]
    look: dict[str, Any]


class Panel(NamedTuple):
    """One coordinate system."""

    title: str
    x: str
    y: str
    lines: list[Line]
    log_x: bool = False
    log_y: bool = True
    ticks: Sequence[str] = ()


def draw(tables: Sequence[Table], folder: Path, name: str) -> None:
    """Draw what the tables have figures for, as ``NAME-PICTURE.svg``. Says so where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed (pip install 'rwlocks[bench]')", file=sys.stderr)
        return
    known = {table.key: table for table in tables}
    with _matplotlib().rc_context(STYLE):
        _pairs(known, folder / f"{name}-pairs.svg")
        for picture, panels in (("contention", _contention), ("waiters", _waiters), ("patience", _patience)):
            drawn = [panel for panel in panels(known) if panel.lines]
            if drawn:
                _panels(drawn, folder / f"{name}-{picture}.svg")


def _matplotlib(module: str = "matplotlib") -> Any:
    """Untyped: it has more types than our checkers should look at."""
    return importlib.import_module(module)


# -- what is drawn ------------------------------------------------------------------------------------------------


def _contention(tables: dict[str, Table]) -> Iterator[Panel]:
    scenes = {"threads/8": "8 threads", "tasks/asyncio/100": "100 asyncio tasks", "processes/4": "4 processes"}
    for start, title in scenes.items():
        over = {float(k.rpartition("/")[2]): table for k, table in tables.items() if re.fullmatch(rf"{start}/\d+", k)}
        yield Panel(title, "% reads", "thousand acquisitions / s", list(_lines(over, "rate", 1e-3)))
        yield Panel(title, "% reads", "longest wait, ms", list(_lines(over, "longest", 1e3)))


def _waiters(tables: dict[str, Table]) -> Iterator[Panel]:
    over = {float(key.partition("/")[2]): table for key, table in tables.items() if key.startswith("waiters/")}
    for phase in ("queue", "withdraw", "grant"):
        yield Panel(f"to {phase}", "tasks that wait", "us for each", list(_lines(over, phase, 1e6)), log_x=True)


def _patience(tables: dict[str, Table]) -> Iterator[Panel]:
    ticks = [f"{patience:g}" for patience in PATIENCES]
    for kind, actors in (("threads", 8), ("processes", 4)):
        over = {key.rpartition("/")[2]: table for key, table in tables.items() if key.startswith(f"patience/{kind}/")}
        for figure, y, scale in (("rate", "thousand acquisitions / s", 1e-3), ("longest", "longest wait, ms", 1e3)):
            lines = [
                line for place, share in enumerate(over) for line in _patient(over[share], share, place, figure, scale)
            ]
            yield Panel(f"{actors} {kind}", "patience, ms", y, lines, log_y=figure == "longest", ticks=ticks)


def _patient(table: Table, share: str, place: int, figure: str, scale: float) -> Iterator[Line]:
    measured = [(x, f"{patience:g} ms") for x, patience in enumerate(PATIENCES) if f"{patience:g} ms" in table.results]
    if not measured:
        return
    points = [(x, statistics.median(table.values(label, figure)) * scale) for x, label in measured]
    yield Line(f"{share} % reads", points, {"color": f"C{place}", "linewidth": 2.2})
    plain = statistics.median(table.values(table.yardstick, figure)) * scale
    ends = [(0.0, plain), (len(PATIENCES) - 1.0, plain)]
    yield Line(f"{table.yardstick}, {share} % reads", ends, {"color": f"C{place}", "linestyle": ":", "marker": ""})


def _lines(over: dict[float, Table], figure: str, scale: float) -> Iterator[Line]:
    """One line for each contestant that has that figure in one of these tables."""
    roles = {label: role for table in over.values() for label, role in table.roles.items()}
    colours = {role: itertools.cycle(several) for role, several in COLOURS.items()}
    for label, role in roles.items():
        look = LOOKS[role] | ({"color": next(colours[role])} if role in colours else {})
        points = [
            (x, statistics.median(table.values(label, figure)) * scale)
            for x, table in sorted(over.items())
            if label in table.results and table.values(label, figure)
        ]
        if points:
            yield Line(label, points, look)


# -- how it is drawn ----------------------------------------------------------------------------------------------


def _panels(panels: Sequence[Panel], path: Path) -> None:
    """In rows of panels about the same lines, with one legend for each row."""
    columns = 3 if len(panels) % 2 else 2
    rows = len(panels) // columns
    figure = _matplotlib("matplotlib.figure").Figure(figsize=(4 * columns + 1.6, 2.9 * rows), layout="constrained")
    for place, (axes, panel) in enumerate(zip(figure.subplots(rows, columns, squeeze=False).flat, panels, strict=True)):
        for line in panel.lines:
            axes.plot(*zip(*line.points, strict=True), label=line.label, **{"marker": "o", **line.look})
        axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        if panel.log_x:
            _logarithmic(axes.xaxis, (x for line in panel.lines for x, _ in line.points))
        if panel.log_y:
            _logarithmic(axes.yaxis, (y for line in panel.lines for _, y in line.points))
        if panel.ticks:
            axes.set_xticks(range(len(panel.ticks)), panel.ticks)
        if place % columns == columns - 1:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def _logarithmic(axis: Any, values: Iterable[float]) -> None:
    """With ticks that are read as numbers, not as powers."""
    known = [value for value in values if value > 0]
    least, greatest = min(known) * 0.8, max(known) * 1.25
    between = [
        each * 10.0**power for power in range(-4, 8) for each in (1, 2, 5) if least <= each * 10.0**power <= greatest
    ]
    ticks = between if len(between) < 9 else [tick for tick in between if f"{tick:e}".startswith("1.")]
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (least, greatest)})
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.axes.minorticks_off()


def _pairs(tables: dict[str, Table], path: Path) -> None:
    """Ratios to the yardstick, for each runtime undisturbed."""
    shown = {key.split("/")[1]: table for key, table in tables.items() if re.fullmatch(r"pairs/\w+/alone", key)}
    if not shown:
        return
    rows = -(-len(shown) // 2)
    figure = _matplotlib("matplotlib.figure").Figure(figsize=(9.6, 2.6 * rows), layout="constrained")
    for axes, (runtime, table) in zip(figure.subplots(rows, 2, squeeze=False).flat, shown.items(), strict=False):
        labels = [label for label in table.results if table.values(label, "read")][::-1]
        drawn: list[float] = []
        for mode, marker in (("read", "o"), ("write", "D")):
            ratios = [statistics.median(table.ratios(label, mode, table.yardstick)) for label in labels]
            axes.plot(ratios, range(len(labels)), marker, label=mode, markersize=4, fillstyle="none")
            drawn += ratios
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel=f"times {table.yardstick}, the less the better", title=runtime)
        _logarithmic(axes.xaxis, drawn)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.legend()
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
