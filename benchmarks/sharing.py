"""Threads that read one lock at once and do nothing else: what remains of two processors without an interpreter's lock.

The yardstick is a plain method that all of them call on one object: what the interpreter itself makes of sharing.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import rivals
from benchmarks.handover import play_threads
from rwlocks.cli._bench_contestants import Contestant, compiled
from rwlocks.cli._bench_tables import Column, Figures, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

__all__ = ["tables"]

COLUMNS = (Column(figure="rate", heading="kops/s", scale=1e-3, ratio=True),)

WORK = """\
def run(folder):
    {setup}
    lock = {new}
    def actor(number, running, meet):
        {handles}
        steps = 0
        meet()
        while running[0]:
            {step}
            steps += 1
        return steps
    return actor
"""

METHOD = Contestant(
    name="a method of one object",
    role="yardstick",
    setup="class Shared:\n    def method(self):\n        pass",
    new="Shared()",
    read="",
    write="",
)
# Only those with modes: readers of a plain lock do not share it.
EVERYBODY = (METHOD, *rivals.THREADS[1:])


def _measure(contestant: Contestant, seconds: float) -> Figures:
    step = "lock.method()" if contestant is METHOD else f"with {contestant.read}:\n    pass"
    with TemporaryDirectory() as folder:
        actor = compiled(WORK, contestant, step=step)(folder)
        return {"rate": 1 / play_threads(actor, seconds)}


def tables(given: Settings) -> Iterator[Table]:
    """One."""
    yield fill(
        "sharing",
        "2 threads read one lock over and over",
        COLUMNS,
        given.chosen(EVERYBODY),
        lambda contestant: _measure(contestant, given.scaled(0.2, 0.01)),
        rounds=given.rounds,
        seed=given.seed,
    )
