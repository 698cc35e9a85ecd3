"""What the figures are meant to come to: the table of targets, as data, and the verdicts."""

from __future__ import annotations

import statistics
import sys
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Literal, NamedTuple

from rwlocks.cli._bench_tables import ratios

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rwlocks.cli._bench_tables import Table

__all__ = ["TARGETS", "Target", "Verdict", "judge"]

DEFAULT = "rwlocks fifo"
IMPATIENT = "rwlocks fifo, patience 1 ms"


class Target(NamedTuple):
    """A figure of one of ours is to be at most, or at least, so many times somebody else's."""

    row: str
    """The work, in the words of the table of targets."""
    tables: str
    """A pattern of the keys of tables; each that fits is judged."""
    figure: str
    to: str
    """``yardstick``; ``best rival``; the start of a label in the table; ``= KEY``: its own figure in another table;
    ``1 ms``, ``1``: the figure itself."""
    bound: Literal["<=", ">="]
    limit: float
    who: str = DEFAULT
    only: Literal["", "compiled", "without the GIL"] = ""
    """Where it counts; elsewhere the figure is only stated."""


class Verdict(NamedTuple):
    """What became of a target in one table."""

    target: Target
    table: str
    value: float
    to: str
    """Whom it was compared with."""
    met: bool | None
    """None where the target does not count."""

    def __str__(self) -> str:
        target = self.target
        unit = "" if self.to in {"1", "1 ms"} else f" x {self.to}"
        if self.to == "1 ms":
            unit = " ms"
        said = {True: "met", False: "MISSED", None: f"stated; counts only {target.only}"}[self.met]
        goal = f"{target.bound} {target.limit:g}"
        return f"{target.who}, {target.figure}: {self.value:.2f}{unit}, target {goal}: {said}"


# asyncio.Lock is cheaper on 3.11, which has no cheap way to look up the current task.
ON_ASYNCIO = 1.3 if sys.version_info < (3, 12) else 1.0

TARGETS = (
    *(
        Target(row, table, figure, "yardstick", "<=", limit)
        for row, table, limit in (
            ("threads: with, nobody waits", "pairs/threads/alone", 1.0),
            ("asyncio: async with, nobody waits", "pairs/asyncio/alone", ON_ASYNCIO),
            ("threads: the same beside a thread that computes", "pairs/threads/beside*", 1.5),
            ("asyncio: the same beside a thread that computes", "pairs/asyncio/beside*", 1.5),
            ("processes: with, nobody waits", "pairs/processes/alone", 1.0),
            ("processes: the same beside a thread that computes", "pairs/processes/beside*", 1.0),
        )
        for figure in ("read", "write")
    ),
    *(
        target
        for percent in (0, 50, 90)
        for row in ("8 threads, tiny sections",)
        for target in (
            Target(row, f"threads/8/{percent}", "rate", "yardstick", ">=", 3.0),
            Target(row, f"threads/8/{percent}", "rate", "best rival", ">=", 2.0),
            Target(row, f"threads/8/{percent}", "longest", "yardstick", "<=", 3.0),
            Target(row, f"threads/8/{percent}", "starved", "1", "<=", 0),
        )
    ),
    Target("8 threads, tiny sections", "threads/8/50/split", "starved", "1", "<=", 0),
    Target("8 threads, reads only", "threads/8/100", "rate", "yardstick", ">=", 1.0, only="compiled"),
    *(
        target
        for percent in (0, 50, 90)
        for target in (
            Target("100 tasks on one loop", f"tasks/asyncio/100/{percent}", "rate", "yardstick", ">=", 1.0),
            Target("100 tasks on one loop", f"tasks/asyncio/100/{percent}", "rate", "bare", ">=", 0.9),
        )
    ),
    *(
        Target("100 tasks on one loop", f"tasks/asyncio/100/{percent}", "rate", "best rival", ">=", 2.0, who=IMPATIENT)
        for percent in (50, 90)
    ),
    *(
        target
        for count in (2, 4)
        for percent in (0, 50, 90)
        for target in (
            Target("2-4 processes, tiny sections", f"processes/{count}/{percent}", "rate", "best rival", ">=", 2.0),
            Target("2-4 processes, tiny sections", f"processes/{count}/{percent}", "starved", "1", "<=", 0),
        )
    ),
    *(
        Target("hand-over to a waiter", f"handover/{runtime}", "step", "yardstick", "<=", 1.2)
        for runtime in ("threads", "asyncio", "trio", "processes")
    ),
    *(
        Target("100,000 waiters", "waiters/100000", phase, "= waiters/1000", "<=", 1.3)
        for phase in ("queue", "withdraw", "grant")
    ),
    Target("memory of an idle RWLock", "memory/asyncio", "new", "yardstick", "<=", 1.5, only="compiled"),
    Target("import rwlocks", "imports", "import", "yardstick", "<=", 2.0, who="rwlocks"),
    Target("2 threads read one lock", "sharing", "rate", "yardstick", ">=", 1.0, only="without the GIL"),
    *(Target("SIGKILL of the holder", "recovery", f"{victim}", "1 ms", "<=", 100.0) for victim in ("writer", "reader")),
)


def judge(tables: Mapping[str, Table], circumstances: set[str]) -> Iterator[Verdict]:
    """The verdicts on what was measured. ``circumstances``: which of the `Target.only` hold."""
    for target in TARGETS:
        for key, table in tables.items():
            if not fnmatch(key, target.tables) or not _values(table, target.who, target.figure):
                continue
            compared = _compare(target, table, tables)
            if compared is None:
                continue
            value, to = compared
            met = value <= target.limit if target.bound == "<=" else value >= target.limit
            yield Verdict(target, key, value, to, met if not target.only or target.only in circumstances else None)


def _compare(target: Target, table: Table, tables: Mapping[str, Table]) -> tuple[float, str] | None:
    """The figure in the unit of the target, and whom it is compared with; None where there is nobody."""
    mine, figure = target.who, target.figure
    if target.to == "1":
        return max(table.values(mine, figure)), "1"  # what must never happen
    if target.to == "1 ms":
        return max(table.values(mine, figure)) * 1e3, target.to
    if target.to.startswith("= "):
        other = tables.get(target.to[2:])
        if other is None or not _values(other, mine, figure):
            return None
        pairs = zip(table.values(mine, figure), other.values(mine, figure), strict=False)
        return statistics.median(ratios(pairs)), f"that of {other.key}"
    label = _other(target.to, table, figure)
    return None if label is None else (statistics.median(table.ratios(mine, figure, label)), label)


def _other(to: str, table: Table, figure: str) -> str | None:
    if to == "yardstick":
        return table.yardstick
    if to == "best rival":
        rivals = [label for label, role in table.roles.items() if role == "rival" and table.values(label, figure)]
        return max(rivals, key=lambda label: statistics.median(table.values(label, figure)), default=None)
    return next((label for label in table.results if label.startswith(to)), None)


def _values(table: Table, label: str, figure: str) -> list[float]:
    return table.values(label, figure) if label in table.results else []
