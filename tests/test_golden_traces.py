"""Who gets the lock, in which order: the same table for every runtime, and for requests of one lock from all of them.

A *situation* is a list of steps: ``W1`` asks to write and stays (R reads, U is upgradable), ``-W1`` releases, ``vW1``
downgrades, ``xW1`` withdraws. It opens with whoever holds first. Once all steps are done, each group that
holds the lock is released, until the lock is free.

A *course* is what must come of it, in order: ``+R2`` is let in at its arrival, ``-W0: R2 R3`` are granted in that one
step, and ``R2 R3`` alone are granted in one step, when the group before them has left. Whatever is not there must not
happen.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from _actors import MIXED, STAGES, Crew

from rwlocks import Fifo, Mode, PhaseFair, ReaderPreference, RWLock, WriterPreference
from rwlocks.testing import wait_until_parked, wait_until_spent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _actors import Stage, Way

    from rwlocks import LockStatistics, Policy

MODES: Final = {"R": Mode.READ, "U": Mode.UPGRADABLE, "W": Mode.WRITE}
POLICIES: Final[dict[str, Callable[[float | None], Policy]]] = {
    "reader-pref": lambda patience: ReaderPreference(patience=patience),
    "writer-pref": lambda patience: WriterPreference(patience=patience),
    "fifo": lambda patience: Fifo(patience=patience),
    "phase-fair": lambda patience: PhaseFair(patience=patience),
    "fifo, max_batch=2": lambda patience: Fifo(max_batch=2, patience=patience),
    "phase-fair, max_batch=2": lambda patience: PhaseFair(max_batch=2, patience=patience),
    "writer-pref, max_consecutive_writers=1": lambda patience: WriterPreference(1, patience=patience),
}

SITUATIONS: Final[dict[str, dict[str, str]]] = {
    "W0 W1 R2 R3 W4 R5 W6 -W0": {
        "reader-pref": "-W0: R2 R3 R5, W1, W4, W6",
        "writer-pref": "-W0: W1, W4, W6, R2 R3 R5",
        "fifo": "-W0: W1, R2 R3, W4, R5, W6",
        "phase-fair": "-W0: R2 R3 R5, W1, W4, W6",
    },
    "R0 W1 R2 R3 W4 R5 W6 -R0": {
        "reader-pref": "+R2, +R3, +R5, W1, W4, W6",
        "writer-pref": "-R0: W1, W4, W6, R2 R3 R5",
        "fifo": "-R0: W1, R2 R3, W4, R5, W6",
        "phase-fair": "-R0: W1, R2 R3 R5, W4, W6",
    },
    "R0 R1 W2 R3 xW2": {
        "reader-pref": "+R1, +R3",
        "writer-pref": "+R1, xW2: R3",
        "fifo": "+R1, xW2: R3",
        "phase-fair": "+R1, xW2: R3",
    },
    "W0 R1 W2 R3 vW0 -W0": {
        "reader-pref": "vW0: R1 R3, W2",
        "writer-pref": "-W0: W2, R1 R3",
        "fifo": "vW0: R1, W2, R3",
        "phase-fair": "vW0: R1 R3, W2",
    },
    "R0 U1 U2 R3 W4 -U1 -R0 -R3": {
        "reader-pref": "+U1, +R3, -U1: U2, W4",
        "writer-pref": "+U1, +R3, -R3: W4, U2",
        "fifo": "+U1, +R3, -U1: U2, W4",
        "phase-fair": "+U1, +R3, -R3: W4, U2",
    },
    "W0 R1 R2 R3 W4 -W0": {
        "fifo, max_batch=2": "-W0: R1 R2, R3, W4",
        "phase-fair, max_batch=2": "-W0: R1 R2, W4, R3",
    },
    "W0 R1 W2 W3 R4 -W0": {
        "writer-pref, max_consecutive_writers=1": "-W0: W2, R1 R4, W3",
    },
}


class Trace(NamedTuple):
    """One row of the table under one policy, read."""

    policy: str
    steps: list[str]
    granted_in: dict[str, set[str]]
    groups: list[set[str]]

    @classmethod
    def read(cls, situation: str, policy: str, course: str) -> Trace:
        steps = situation.split()
        granted_in = {step: set[str]() for step in steps}
        granted_in[steps[0]] = {steps[0]}
        groups: list[set[str]] = []
        for event in course.split(", "):
            step, _, names = event.rpartition(": ")
            if event.startswith("+"):
                granted_in[event[1:]] = {event[1:]}
            elif step:
                granted_in[step] = set(names.split())
            else:
                groups.append(set(names.split()))
        assert granted_in.keys() == set(steps), "the course names a step that is not in the situation"
        return cls(policy, steps, granted_in, groups)

    @property
    def withdraws(self) -> bool:
        return any(step.startswith("x") for step in self.steps)


TRACES: Final = [
    Trace.read(situation, policy, course)
    for situation, courses in SITUATIONS.items()
    for policy, course in courses.items()
]


class Player:
    """Plays one trace, and holds it against what the lock shows."""

    def __init__(self, crew: Crew, lock: RWLock, trace: Trace, *, by: Way, in_patience: bool) -> None:
        self._crew = crew
        self._lock = lock
        self._trace = trace
        self._by: Way = by
        self._in_patience = in_patience
        self._holding: set[str] = set()
        self._waiting: set[str] = set()

    def play(self) -> None:
        for step in self._trace.steps:
            self._wait_for_patience()
            self._show(step, self._do(step), self._trace.granted_in[step])
        for group in self._trace.groups:
            self._release_group(group)
        self._release_group(set())
        self._check(self._lock.statistics())
        assert not self._waiting, f"{self._waiting} never got the lock"
        assert self._lock.locked() is None

    def _do(self, step: str) -> LockStatistics:
        if step in self._crew.actors or step[0] in MODES:
            return self._arrive(step)
        name = step[1:]
        actor = self._crew.actors[name]
        if step[0] == "-":
            self._holding.remove(name)
            return actor.release()
        if step[0] == "v":
            return actor.downgrade()
        self._waiting.remove(name)
        return actor.withdraw(self._by if self._by in actor.ways else actor.ways[0])

    def _arrive(self, name: str) -> LockStatistics:
        will_withdraw = f"x{name}" in self._trace.steps
        actor = self._crew.enter(name, self._lock, MODES[name[0]], may_time_out=will_withdraw)
        self._waiting.add(name)
        if name in self._trace.granted_in[name]:
            return actor.ended("granted")
        wait_until_parked(self._lock, len(self._waiting))
        return self._lock.statistics()

    def _release_group(self, follow: set[str]) -> None:
        """Release all who hold the lock; with the last of them, and not before, those who ``follow`` are granted."""
        for name in sorted(self._holding):
            self._wait_for_patience()
            self._holding.remove(name)
            seen = self._crew.actors[name].release()
            self._show(f"-{name}", seen, set() if self._holding else follow)

    def _show(self, step: str, seen: LockStatistics, granted: set[str]) -> None:
        """Right after the step the lock shows the grants; then the actors come to know of them."""
        assert granted <= self._waiting, f"{granted - self._waiting} do not wait"
        self._holding |= granted
        self._waiting -= granted
        self._check(seen, step)
        for name in granted:
            self._crew.actors[name].ended("granted")
        assert not any(holder.granted for holder in self._lock.statistics().holders), "a grant is not delivered"

    def _check(self, seen: LockStatistics, step: str = "the end") -> None:
        assert {holder.owner for holder in seen.holders} == self._holding, f"holders after {step}"
        assert {waiter.owner for waiter in seen.waiters} == self._waiting, f"waiters after {step}"
        assert len(seen.holders) == len(self._holding)
        assert len(seen.waiters) == len(self._waiting)

    def _wait_for_patience(self) -> None:
        if self._in_patience:
            wait_until_spent(self._lock)


def troupes() -> Iterator[tuple[str, tuple[type[Stage], ...]]]:
    yield from ((name, (stage,)) for name, stage in STAGES.items())
    for turn in range(len(MIXED)):
        yield f"mixed-{turn}", MIXED[turn:] + MIXED[:turn]


class Scene(NamedTuple):
    """One trace on one troupe."""

    trace: Trace
    stages: tuple[type[Stage], ...]
    by: Way
    patience: float | None


def scenes() -> Iterator[tuple[str, Scene]]:
    patience: list[tuple[str, float | None]] = [("strict", 0.0), ("default patience", None)]
    for trace, (troupe, stages), (label, seconds) in itertools.product(TRACES, troupes(), patience):
        ways: set[Way] = {way for stage in stages for way in stage.ways} if trace.withdraws else {"cancel"}
        for way in sorted(ways):
            names = [troupe, trace.policy, " ".join(trace.steps), label, *([way] if trace.withdraws else [])]
            yield " | ".join(names), Scene(trace, stages, way, seconds)


SCENES: Final = dict(scenes())


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_golden_trace(scene: Scene) -> None:
    backends = {stage.backend for stage in scene.stages}
    backend = backends.pop() if len(backends) == 1 else "auto"
    lock = RWLock(POLICIES[scene.trace.policy](scene.patience), backend=backend)
    with Crew(*scene.stages) as crew:
        crew.drive(lock)
        Player(crew, lock, scene.trace, by=scene.by, in_patience=scene.patience is None).play()
