"""How long everybody waits, counted in phases: the bounds that the policies promise.

A phase lasts from one instant without holders to the next. A waiter counts the one in which it comes and every one that
begins while it waits. With patience 0, and as long as nobody upgrades or downgrades, the k-th in line waits

* fifo: one phase for each that is ahead of it, and the one in which it came;
* phase-fair: k read phases and k write phases, a plain reader one of each; where ``max_batch`` leaves it behind, one
  more of each for every batch ahead of it;
* reader-pref: a plain reader one write phase, and one read phase where an overdue writer held it up;
* writer-pref: a writer k of each; with ``max_consecutive_writers=n`` a plain reader one read phase and n + 1 write
  phases.

Everybody else may starve.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from rwlocks._types import Mode
from rwlocks.testing._oracle import RuleBroken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rwlocks.policies import Policy
    from rwlocks.testing._oracle import Oracle, Wait

__all__ = ["Phases"]


@dataclass(frozen=True, slots=True)
class _Waited:
    """The phases that one waiter has seen so far, and how many it may."""

    reads: int
    writes: int
    reads_at_most: float
    writes_at_most: float


@dataclass(frozen=True, slots=True)
class Phases:
    """What the waiters of one lock have seen."""

    waited: dict[int, _Waited] = field(default_factory=dict[int, _Waited])

    def after(self, before: Oracle, after: Oracle) -> Phases:
        """Count the phase that began between these two, if any. Raises RuleBroken when somebody waits too long."""
        holds = {hold.who: hold.mode for hold in after.holds}
        began = holds.keys().isdisjoint(hold.who for hold in before.holds)
        writing = Mode.WRITE in holds.values()
        waited: dict[int, _Waited] = {}
        for place, waiter in enumerate(after.queue):
            seen = self.waited.get(waiter.who)
            if seen is None:
                at_most = _bounds(after.policy, waiter.mode, after.queue[:place])
                waited[waiter.who] = _Waited(int(not writing), int(writing), *at_most)
            else:
                reads, writes = seen.reads + (began and not writing), seen.writes + (began and writing)
                waited[waiter.who] = _Waited(reads, writes, seen.reads_at_most, seen.writes_at_most)
        for seen in waited.values():
            if seen.reads > seen.reads_at_most or seen.writes > seen.writes_at_most:
                raise RuleBroken(f"the bound on waiting: {seen}")
        return Phases(waited)

    def key(self, oracle: Oracle) -> object:
        """What decides whether a bound can still be broken; hashable."""
        left: list[tuple[float, float]] = []
        for waiter in oracle.queue:
            seen = self.waited[waiter.who]
            left.append((seen.reads_at_most - seen.reads, seen.writes_at_most - seen.writes))
        return tuple(left)


def _bounds(policy: Policy, mode: Mode, ahead: Sequence[Wait]) -> tuple[float, float]:
    """How many read phases and how many write phases somebody who queues behind these may have to wait."""
    nth = 1 + sum(waiter.mode is mode for waiter in ahead)
    batches = 0 if policy.max_batch is None else sum(waiter.mode is Mode.READ for waiter in ahead) // policy.max_batch
    consecutive = policy.max_consecutive_writers
    bounds: dict[tuple[str, Mode], tuple[float, float]] = {
        ("phase-fair", Mode.READ): (1 + batches, 1 + batches),
        ("phase-fair", Mode.UPGRADABLE): (nth + batches, nth + batches),
        ("phase-fair", Mode.WRITE): (nth, nth),
        ("reader-pref", Mode.READ): (int(policy.max_writer_wait is not None), 1),
        ("writer-pref", Mode.READ): (inf, inf) if consecutive is None else (1, consecutive + 1),
        ("writer-pref", Mode.WRITE): (nth, nth),
    }
    if policy.name == "fifo":
        return 1 + len(ahead), 1 + len(ahead)
    return bounds.get((policy.name, mode), (inf, inf))
