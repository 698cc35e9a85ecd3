"""The demo without a terminal or without rich: lines of ASCII, and the words that both views share."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Final, Protocol, final

from rwlocks.cli._demo_verdict import timeline
from rwlocks.policies import policy_named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from rwlocks.cli._demo_raid import Death
    from rwlocks.cli._demo_verdict import Instant, Summary, Verdict
    from rwlocks.cli._demo_workload import Crew, Glimpse, Round

__all__ = ["COLUMNS", "Plain", "View", "cells", "company", "conclusion", "epitaph", "rules"]

STEP: Final = 0.0005  # seconds between two columns of a timeline
WIDTH: Final = 64  # columns of a timeline
SHOWN: Final = 8  # violations that are told in full

COLUMNS: Final = ("policy", "ops/s", "longest read wait", "longest write wait", "gave up", "violations")


class View(Protocol):
    """How the demo shows itself. Entered before the first round, left after the last or when interrupted."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def look(self, glimpse: Glimpse) -> None:
        """One of many instants of the round that goes on."""
        ...

    def report(self, rounds: Sequence[Round], verdict: Verdict) -> None:
        """What happened, after the last round."""
        ...


@final
class Plain:
    """A line when something begins, the report at the end."""

    def __init__(self, crew: Crew, seed: int) -> None:
        self._crew, self._seed = crew, seed
        self._policy: str | None = None
        self._deaths = 0

    def __enter__(self) -> Self:
        print(f"rwlocks demo, seed {self._seed}: one RWLock for {company(self._crew)}", flush=True)
        if self._crew.processes:
            print(f"and one ProcessRWLock for {len(self._crew.processes)} processes, some of which are killed")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def look(self, glimpse: Glimpse) -> None:
        if glimpse.policy != self._policy:
            self._policy = glimpse.policy
            print(f"  {glimpse.policy}: {glimpse.seconds:.1f} s ...", flush=True)
        for death in glimpse.deaths[self._deaths :]:
            print(f"    {epitaph(death)}", flush=True)
        self._deaths = len(glimpse.deaths)

    def report(self, rounds: Sequence[Round], verdict: Verdict) -> None:
        print(f"\nThe busiest {WIDTH * STEP * 1000:.0f} ms of each round, {STEP * 1000:g} ms to a column:")
        print("1-9 readers inside or waiting (+: more), W the writer inside, . nobody")
        for each in rounds:
            print(f"\n{each.policy}: {rules(each.policy)}")
            for label, row in _rows(timeline(each, WIDTH, STEP)):
                print(f"  {label:<13} {row}".rstrip())
        print()
        table = [COLUMNS, *map(cells, verdict.summaries)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for policy, *numbers in table:
            print("  ".join([policy.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])]))
        print()
        for line in conclusion(verdict, self._crew):
            print(line)


def _rows(instants: Sequence[Instant]) -> list[tuple[str, str]]:
    def digit(n: int, none: str = " ") -> str:
        return (none if n == 0 else str(n)) if n < 10 else "+"

    return [
        ("inside", "".join("W" if now.writers else digit(now.readers, ".") for now in instants)),
        ("readers wait", "".join(digit(now.waiting_readers) for now in instants)),
        ("writers wait", "".join(digit(now.waiting_writers) for now in instants)),
    ]


def company(crew: Crew) -> str:
    """Who works, in words."""
    asyncio_tasks, trio_tasks = (sum(map(len, loops)) for loops in (crew.asyncio_loops, crew.trio_loops))
    groups = [f"{len(crew.threads)} threads", f"{asyncio_tasks} asyncio tasks"]
    if trio_tasks:
        groups.append(f"{trio_tasks} trio tasks")
    return ", ".join(groups[:-1]) + f" and {groups[-1]}"


def rules(policy: str) -> str:
    """What the policy says, in words."""
    data = policy_named(policy)
    return f"when a write ends, {data.after_write.value}; while reads go on, {data.while_reading.value}"


def cells(summary: Summary) -> tuple[str, ...]:
    """One line of the table under `COLUMNS`."""
    return (
        summary.policy,
        f"{summary.throughput:,.0f}",
        f"{summary.reader_wait * 1000:.0f} ms",
        f"{summary.writer_wait * 1000:.0f} ms",
        f"{summary.given_up:,}",
        f"{summary.violations:,}",
    )


def epitaph(death: Death) -> str:
    """How one worker died, and how the others went on."""
    if death.recovery is None:
        return f"{death.worker} killed while {death.doing}; nobody got in after it"
    return f"{death.worker} killed while {death.doing}; the next got in {death.recovery * 1000:.1f} ms later"


def casualties(verdict: Verdict) -> list[str]:
    """All deaths in words, if there were any."""
    if not verdict.deaths:
        return []
    doing = Counter(death.doing for death in verdict.deaths)
    lines = [f"{len(verdict.deaths)} killed: " + ", ".join(f"{count} {what}" for what, count in doing.most_common())]
    if verdict.recoveries:
        lines.append(
            f"after {len(verdict.recoveries)} of these deaths another one got in, "
            f"{median(verdict.recoveries) * 1000:.1f} ms later (median), {verdict.recoveries[-1] * 1000:.1f} ms at most"
        )
    return lines


def conclusion(verdict: Verdict, crew: Crew) -> list[str]:
    """The verdict in words."""
    if not verdict.violations:
        workers = len(crew.names) + len(crew.processes)
        return [
            f"no violations: {verdict.granted:,} acquisitions by {workers} workers, each one checked",
            *casualties(verdict),
        ]
    hidden = len(verdict.violations) - SHOWN
    return [
        f"{len(verdict.violations):,} VIOLATIONS in {verdict.granted:,} acquisitions: this lock cannot be trusted",
        *(f"  {each}" for each in verdict.violations[:SHOWN]),
        *([f"  and {hidden:,} more"] if hidden > 0 else []),
        *casualties(verdict),
    ]
