"""The figures as pictures: small SVG files, the same for the same figures. Needs matplotlib, of the extra ``bench``."""

from __future__ import annotations

import importlib
import importlib.util
import re
import statistics
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.patience import PATIENCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rwlocks.cli._bench_tables import Table

__all__ = ["draw"]

DEFAULT = "rwlocks fifo"
STYLE = {
    "svg.fonttype": "none",  # text stays text: small, and searchable
    "svg.hashsalt": "rwlocks",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


class Line(NamedTuple):
    """One contestant, or one scene, over what varies."""

    label: str
    points: Sequence[tuple[float, float]]
    ours: bool
    yardstick: bool


class Panel(NamedTuple):
    """One coordinate system."""

    title: str
    x: str
    y: str
    lines: list[Line]
    log_x: bool = False
    log_y: bool = False


def draw(tables: Sequence[Table], folder: Path, name: str) -> None:
    """Draw what the tables have figures for, as ``NAME-PICTURE.svg``. Says so where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed (pip install 'rwlocks[bench]')", file=sys.stderr)
        return
    with _matplotlib().rc_context(STYLE):
        _draw({table.key: table for table in tables}, folder, name)


def _matplotlib(module: str = "matplotlib") -> Any:
    """Untyped: what it can draw on is more than our checkers should look at."""
    return importlib.import_module(module)


def _draw(known: dict[str, Table], folder: Path, name: str) -> None:
    _pairs(known, folder / f"{name}-pairs.svg")
    for picture, panels in (
        ("contention", _contention(known)),
        ("waiters", _waiters(known)),
        ("patience", _patience(known)),
    ):
        drawn = [panel for panel in panels if panel.lines]
        if drawn:
            _panels(drawn, folder / f"{name}-{picture}.svg")


def _contention(tables: dict[str, Table]) -> Iterator[Panel]:
    scenes = {"threads/8": "8 threads", "tasks/asyncio/100": "100 asyncio tasks", "processes/4": "4 processes"}
    for start, title in scenes.items():
        over = {
            float(key.rpartition("/")[2]): table for key, table in tables.items() if re.fullmatch(rf"{start}/\d+", key)
        }
        yield Panel(title, "% reads", "thousand acquisitions / s", _lines(over, "rate", 1e-3), log_y=True)
        yield Panel(title, "% reads", "longest wait, ms", _lines(over, "longest", 1e3), log_y=True)


def _waiters(tables: dict[str, Table]) -> Iterator[Panel]:
    over = {float(key.partition("/")[2]): table for key, table in tables.items() if key.startswith("waiters/")}
    for phase in ("queue", "withdraw", "grant"):
        lines = _lines(over, phase, 1e6)
        yield Panel(f"to {phase}", "tasks that wait", "us for each", lines, log_x=True, log_y=True)


def _patience(tables: dict[str, Table]) -> Iterator[Panel]:
    for kind, actors in (("threads", 8), ("processes", 4)):
        shown = {key: table for key, table in tables.items() if key.startswith(f"patience/{kind}/")}
        for figure, y, scale in (("rate", "thousand acquisitions / s", 1e-3), ("longest", "longest wait, ms", 1e3)):
            lines = [
                line
                for key, table in shown.items()
                for line in _over_patience(table, key.rpartition("/")[2], figure, scale)
            ]
            yield Panel(f"{actors} {kind}", "patience, ms", y, lines, log_y=figure == "longest")


def _over_patience(table: Table, percent: str, figure: str, scale: float) -> Iterator[Line]:
    label = f"{percent} % reads"
    measured = [(x, f"{patience:g} ms") for x, patience in enumerate(PATIENCES) if f"{patience:g} ms" in table.results]
    points = [(x, statistics.median(table.values(patience, figure)) * scale) for x, patience in measured]
    if not points:
        return
    yield Line(label, points, ours=True, yardstick=False)
    plain = statistics.median(table.values(table.yardstick, figure)) * scale
    yield Line(f"{table.yardstick}, {label}", [(0, plain), (len(PATIENCES) - 1, plain)], ours=False, yardstick=True)


def _lines(over: dict[float, Table], figure: str, scale: float) -> list[Line]:
    """One line for each contestant that has that figure in these tables."""
    labels = list(dict.fromkeys(label for table in over.values() for label in table.results))
    lines: list[Line] = []
    for label in labels:
        points = [
            (x, statistics.median(table.values(label, figure)) * scale)
            for x, table in sorted(over.items())
            if label in table.results and table.values(label, figure)
        ]
        roles = {table.roles[label] for table in over.values() if label in table.roles}
        if points:
            lines.append(Line(label, points, ours="ours" in roles, yardstick="yardstick" in roles))
    return lines


def _panels(panels: Sequence[Panel], path: Path) -> None:
    columns = 2 if len(panels) % 3 else 3
    rows = -(-len(panels) // columns)
    figure = _matplotlib("matplotlib.figure").Figure(figsize=(4.6 * columns, 3.1 * rows), layout="constrained")
    for axes, panel in zip(figure.subplots(rows, columns, squeeze=False).flat, panels, strict=False):
        for line in panel.lines:
            _plot(axes, line)
        axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
        if panel.log_x:
            axes.set_xscale("log")
        if panel.log_y:
            axes.set_yscale("log")
        if panel.x.startswith("patience"):
            axes.set_xticks(range(len(PATIENCES)), [f"{patience:g}" for patience in PATIENCES])
        axes.minorticks_off()
        axes.legend(fontsize=5.5, ncols=2)
    _save(figure, path)


def _plot(axes: Any, line: Line) -> None:
    x, y = zip(*line.points, strict=True)
    style = {"color": "black", "linestyle": "--"} if line.yardstick and not line.label.endswith("reads") else {}
    if line.yardstick and line.label.endswith("reads"):
        style = {"linestyle": ":"}
    axes.plot(x, y, label=line.label, marker="o", markersize=3, linewidth=2 if line.ours else 0.9, **style)


def _pairs(tables: dict[str, Table], path: Path) -> None:
    """Ratios as bars, for each runtime undisturbed."""
    shown = {key: table for key, table in tables.items() if re.fullmatch(r"pairs/\w+/alone", key)}
    if not shown:
        return
    figure = _matplotlib("matplotlib.figure").Figure(figsize=(9.2, 1.0 + 1.6 * len(shown)), layout="constrained")
    rows = -(-len(shown) // 2)
    for axes, (key, table) in zip(figure.subplots(rows, 2, squeeze=False).flat, shown.items(), strict=False):
        labels = [label for label in table.results if table.values(label, "read")][::-1]
        for shift, mode in ((0.2, "read"), (-0.2, "write")):
            places = [place + shift for place in range(len(labels))]
            heights = [statistics.median(table.ratios(label, mode, table.yardstick)) for label in labels]
            axes.barh(places, heights, height=0.38, label=mode)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xscale="log", xlabel=f"times {table.yardstick}", title=key.split("/")[1])
        axes.minorticks_off()
        axes.axvline(1, color="black", linewidth=0.8)
        axes.legend(fontsize=6)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
