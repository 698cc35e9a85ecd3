"""How long a lock is lost when a process that holds it is ended by SIGKILL: until the next one in line is in."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from benchmarks import rivals
from benchmarks.forked import Shared, Workers, in_a_process
from rwlocks.cli._bench_contestants import Contestant, compiled
from rwlocks.cli._bench_tables import Column, Figures, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

__all__ = ["tables"]

COLUMNS = tuple(
    Column(figure=figure, heading=f"{figure} dies: ms", scale=1e3, digits=1, pick=max, absent="never")
    for figure in ("writer", "reader")
)

WORK = """\
def run(folder):
    {setup}
    lock = {new}
    def hold(entered):
        {handles}
        with {held}:
            entered()
    def wait(entered):
        {handles}
        with {write}:
            entered()
    return hold, wait
"""

PARKING = 0.2  # seconds: a rival cannot be asked who waits
LOST = 1.0  # seconds without anybody: the lock counts as lost


def _measure(contestant: Contestant, victim: str, lost: float, *, tell: Callable[[Figures], None], folder: str) -> None:
    held = contestant.write if victim == "writer" else contestant.read
    hold, wait = compiled(WORK, contestant, held=held)(folder)
    shared = Shared(2)

    def victim_enters() -> None:
        shared.box[0] = 1
        signal.pause()

    def next_enters() -> None:
        shared.put(1, [time.monotonic()])
        os._exit(0)

    with Workers() as workers:
        doomed = workers.fork(lambda: hold(victim_enters))
        while not shared.box[0]:
            time.sleep(0.001)
        workers.fork(lambda: wait(next_enters))
        time.sleep(PARKING)
        killed = time.monotonic()
        os.kill(doomed, signal.SIGKILL)
        while not shared.get(1)[0] and time.monotonic() < killed + lost:
            time.sleep(0.001)
        if entered := shared.get(1)[0]:
            tell({victim: entered - killed})


def tables(given: Settings) -> Iterator[Table]:
    """One; the longest of all rounds counts."""
    lost = given.scaled(LOST, LOST / 2)

    def measure(contestant: Contestant) -> Figures:
        figures: Figures = {}
        for victim in ("writer", "reader"):
            figures |= in_a_process(_measure, contestant, victim, lost, limit=10.0)
        return figures

    yield fill(
        "recovery",
        f"SIGKILL of the holder: until the next one is in, the longest time; never: not within {lost:g} s",
        COLUMNS,
        given.chosen(rivals.PROCESSES),
        measure,
        rounds=given.rounds,
        seed=given.seed,
    )
