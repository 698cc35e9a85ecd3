"""The golden traces, each actor a process of its own, and nobody starved.

A grant stands in the segment as soon as the event that made it is over, so that nothing has to be waited for but the
requests: what a step grants is what the segment says right after it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from _processes import FORK, MODES, Cast, ProcessCore, config, take, until, waiting
from test_golden_traces import POLICIES, TRACES

from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event

    from _processes import Actor
    from test_golden_traces import Trace

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE


class Stage:
    """Actors by name, and what the segment says of them."""

    def __init__(self, core: ProcessCore) -> None:
        self.core = core
        self.cast = Cast(core)
        self.actors: dict[str, Actor] = {}
        self.holding: set[str] = set()
        self.waiting: set[str] = set()

    def arrive(self, name: str) -> None:
        actor = self.actors[name] = self.cast.actor()
        before = len(self.core.snapshot().requests)
        actor.ask(MODES[name[0]])
        until(lambda: len(self.core.snapshot().requests) > before or actor.answered())
        self.waiting.add(name)

    def do(self, step: str) -> None:
        name = step[1:]
        actor = self.actors[name]
        if step[0] == "x":
            actor.interrupt()
            assert actor.done() == "interrupted"
            self.waiting.remove(name)
        else:
            actor.do({"-": "release", "v": "downgrade"}[step[0]])
            self.holding -= {name} if step[0] == "-" else set()

    def show(self, step: str, granted: set[str]) -> None:
        assert granted <= self.waiting
        self.holding |= granted
        self.waiting -= granted
        requests = self.core.snapshot().requests
        names = {actor.pid: name for name, actor in self.actors.items()}
        assert {names[r.pid] for r in requests if r.held} == self.holding, f"holders after {step}"
        assert {names[r.pid] for r in requests if not r.held} == self.waiting, f"waiters after {step}"
        for name in granted:
            assert self.actors[name].done() is True

    def release_group(self, follow: set[str]) -> None:
        for name in sorted(self.holding):
            self.do(f"-{name}")
            self.show(f"-{name}", set() if self.holding else follow)

    def end(self) -> None:
        self.cast.end()
        self.core.close()


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(ProcessCore.make(config(request.param)))
    yield stage
    stage.end()


def label(trace: Trace) -> str:
    return f"{trace.policy} | {' '.join(trace.steps)}"


@pytest.mark.parametrize(
    ("stage", "trace"), [(POLICIES[t.policy](0), t) for t in TRACES], indirect=["stage"], ids=map(label, TRACES)
)
def test_golden_trace(stage: Stage, trace: Trace) -> None:
    for step in trace.steps:
        if step[0] in MODES:
            before = set(stage.actors)
            stage.arrive(step)
            assert set(stage.actors) - before == {step}
        else:
            stage.do(step)
        stage.show(step, trace.granted_in[step])
    for group in trace.groups:
        stage.release_group(group)
    stage.release_group(set())
    assert not stage.waiting


@pytest.mark.parametrize(
    ("stage", "after"),
    [("reader-pref", ["R2"]), ("writer-pref", []), ("fifo", ["R2"]), ("phase-fair", ["R2"])],
    indirect=["stage"],
)
def test_golden_trace_of_an_upgrade(stage: Stage, after: list[str]) -> None:
    for name in ("R0", "U1"):
        stage.arrive(name)
        stage.show(name, {name})
    upgrader = stage.actors["U1"]
    upgrader.tell("upgrade", 60)
    until(lambda: waiting(stage.core) == 1)
    for name in ("R2", "W3"):
        stage.arrive(name)
        stage.show(name, set())
    stage.do("-R0")
    assert upgrader.done() is True
    stage.show("-R0", set())
    upgrader.do("end_upgrade")
    stage.show("the end of the upgrade", set(after))
    stage.do("-U1")
    if after:
        stage.show("-U1", set())
        stage.release_group({"W3"})
    else:
        stage.show("-U1", {"W3"})
        stage.release_group({"R2"})
    stage.release_group(set())


def overlap(core: ProcessCore, mode: Mode, done: Event) -> None:
    while not done.is_set():
        hold = take(core, mode, timeout=60)
        time.sleep(0.02)
        core.release(hold)


def acquired_more(core: ProcessCore, before: int) -> bool:
    return core.snapshot().acquisitions > before


def starve(policy: str, busy: Mode, hungry: Mode) -> None:
    core = ProcessCore.make(config(policy))
    done = FORK.Event()
    others = [FORK.Process(target=overlap, args=(core, busy, done)) for _ in range(2)]
    try:
        for other in others:
            before = core.snapshot().acquisitions
            other.start()
            until(partial(acquired_more, core, before))
        for _ in range(3):
            core.release(take(core, hungry, timeout=2))
    finally:
        done.set()
        for other in others:
            other.join()
    core.close()


@pytest.mark.parametrize("policy", ["fifo", "phase-fair", "writer-pref"])
def test_two_overlapping_readers_do_not_starve_a_writer(policy: str) -> None:
    starve(policy, READ, WRITE)


@pytest.mark.parametrize("policy", ["fifo", "phase-fair", "reader-pref"])
def test_two_alternating_writers_do_not_starve_a_reader(policy: str) -> None:
    starve(policy, WRITE, READ)
