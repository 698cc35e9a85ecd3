"""The two doors to the native core of process locks, which is one core compiled twice.

A call through cffi always lets go of the interpreter's lock, and has to win it back. Alone that costs little; beside a
thread that computes it costs a time slice. That is why what never blocks goes through a door that keeps it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rwlocks.cli._bench_contestants import PROCESSES, Contestant
from rwlocks.cli._bench_pairs import NEIGHBOURS, average
from rwlocks.cli._bench_tables import Column, Figures, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

__all__ = ["tables"]

COLUMNS = (Column(figure="pair", heading="ns", scale=1e9, ratio=True),)

_MUTEX, _LOCK, *_ = PROCESSES


def _door(name: str, handles: str, body: str) -> Contestant:
    return replace(_LOCK, name=name, role="reference", handles=handles, read=body)


EVERYBODY = (
    replace(_MUTEX, handles="acquire, release = lock.acquire, lock.release", read="acquire()\nrelease()"),
    _door(
        "the door that keeps the GIL",
        "context = lock._native.ready()\nenter, release = context.enter, context.release",
        "release(enter(1, False))",
    ),
    _door(
        "released by the sleeping door",
        """\
from rwlocks.backends.process._doors import lib
context = lock._native.ready()
enter, release, address = context.enter, lib.native_release, context.address""",
        "release(address, enter(1, False))",
    ),
    _door(
        "ProcessCore",
        """\
from rwlocks._types import Mode
from rwlocks.backends.process._hold import Hold
core, hold, mode = lock._native, Hold(), Mode.READ""",
        "core.enter(hold, mode)\ncore.release(hold)",
    ),
    _door("ProcessRWLock", "pass", "with lock.read():\n    pass"),
)


def tables(given: Settings) -> Iterator[Table]:
    """One for each neighbour."""
    contestants = given.chosen(EVERYBODY, whole=True)
    for neighbour in NEIGHBOURS:
        seconds = given.scaled(0.03 if neighbour == "alone" else 0.15, 0.002)

        def measure(contestant: Contestant, neighbour: str = neighbour, seconds: float = seconds) -> Figures:
            return {"pair": average(contestant, "processes", neighbour, contestant.read, seconds)}

        yield fill(
            f"doors/{neighbour}",
            f"a pair through each door, {neighbour}",
            COLUMNS,
            contestants,
            measure,
            rounds=given.rounds,
            seed=given.seed,
        )
