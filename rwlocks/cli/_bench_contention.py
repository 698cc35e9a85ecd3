"""Threads that fight for one lock with tiny critical sections; and the loop, which tasks and processes use as well.

A section is ``box[0] += 1`` for a writer and ``box[0]`` for a reader, and one reading of the clock, which ends the
measurement of this very wait. Every wait is measured. Between two sections nothing happens unless asked for.

What the yardstick does decides every ratio, and `threading.Lock` lives in two worlds (docs/performance.md says why).
Out of a convoy it hardly ever leaves the running thread: fast, and the others starve for hundreds of milliseconds. In
a convoy a good part of all acquisitions are switches of threads. The figure "switches" tells which world it was:
voluntary context switches of the process for each acquisition.
"""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

from rwlocks.cli._bench_contestants import compiled
from rwlocks.cli._bench_tables import Column, Figures, Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rwlocks.cli._bench_contestants import Contestant

__all__ = ["COLUMNS", "SWITCHES", "WORK", "Tally", "contend", "jain", "judge", "moves", "switches"]

COLUMNS: Final = (
    Column(figure="rate", heading="kops/s", scale=1e-3, ratio=True),
    Column(figure="longest", heading="longest ms", scale=1e3, digits=1, ratio=True),
    Column(figure="longest read", heading="reads ms", scale=1e3, digits=1),
    Column(figure="longest write", heading="writes ms", scale=1e3, digits=1),
    Column(figure="Jain", heading="Jain", digits=3),
    Column(figure="starved", heading="starved", pick=max),
)
SWITCHES: Final = Column(figure="switches", heading="switches", digits=2)

WORK: Final = """\
def run(folder):
    {setup}
    {more_setup}
    lock = {new}
    {a_sync}def work(box, moves, running, clock, between):
        {handles}
        reads = writes = 0
        longest_read = longest_write = 0.0
        for reading in moves:
            if reading:
                began = clock()
                {a_sync}with {read}:
                    waited = clock() - began
                    box[0]
                    {inside}
                reads += 1
                if waited > longest_read:
                    longest_read = waited
            else:
                began = clock()
                {a_sync}with {write}:
                    waited = clock() - began
                    box[0] += 1
                    {inside}
                writes += 1
                if waited > longest_write:
                    longest_write = waited
            for _ in between:
                pass
            if not running[0]:
                break
        return reads, writes, longest_read, longest_write
    return work
"""

STARVED: Final = 0.1  # of the share that would be fair
GRACE: Final = 10.0  # seconds to come home


class Tally(NamedTuple):
    """What one actor did. Waits are in seconds."""

    reads: int
    writes: int
    longest_read: float
    longest_write: float

    @property
    def acquisitions(self) -> int:
        """Both."""
        return self.reads + self.writes


def contend(
    contestant: Contestant,
    threads: int,
    reads: float,
    seconds: float,
    *,
    seed: int,
    between: int = 0,
    split: bool = False,
) -> Figures:
    """Let threads fight for ``seconds``. Raises Unfit if the lock does not exclude, or lets somebody hang.

    ``between`` is how often an empty loop turns between two sections.
    """
    with TemporaryDirectory() as folder:
        work: Callable[..., Tally] = compiled(WORK, contestant, more_setup="", a_sync="", inside="pass")(folder)
        box, running = [0], [True]
        tallies: list[Tally] = []
        start = threading.Barrier(threads + 1)

        def thread(number: int) -> None:
            mine = moves(number, threads, reads, split=split, seed=seed)
            start.wait()
            tallies.append(Tally(*work(box, mine, running, time.perf_counter, range(between))))

        crew = [threading.Thread(target=thread, args=(n,), daemon=True) for n in range(threads)]
        for member in crew:
            member.start()
        start.wait()
        began, switched = time.perf_counter(), switches()
        time.sleep(seconds)
        running[0] = False
        for member in crew:
            member.join(GRACE)
        took, switched = time.perf_counter() - began, switches() - switched
    if len(tallies) < threads:
        raise Unfit(f"{threads - len(tallies)} threads hang, or have failed")
    acquisitions = sum(tally.acquisitions for tally in tallies)
    return {**judge(contestant, tallies, took, box[0]), "switches": switched / acquisitions}


def judge(contestant: Contestant, tallies: Sequence[Tally], took: float, written: int) -> Figures:
    """What it came to. Raises Unfit unless ``written``, what the writers counted in the box, is what they say.

    Jain's index is 1 when all have the same, 1/n when one has everything. Starved is who has less than a tenth of the
    share that would be fair.
    """
    if contestant.excludes and sum(tally.writes for tally in tallies) != written:
        raise Unfit("two writers were inside at once")
    counts = [tally.acquisitions for tally in tallies]
    longest_read = max(tally.longest_read for tally in tallies)
    longest_write = max(tally.longest_write for tally in tallies)
    return {
        "rate": sum(counts) / took,
        "longest": max(longest_read, longest_write),
        "longest read": longest_read,
        "longest write": longest_write,
        "Jain": jain(counts),
        "starved": sum(count < STARVED * sum(counts) / len(counts) for count in counts),
    }


def moves(number: int, actors: int, reads: float, *, split: bool, seed: int) -> Iterator[bool]:
    """True to read. Mixed: the same chance at every move; split: some actors only read, the others only write."""
    if split:
        return itertools.repeat(number < round(actors * reads))
    chance = random.Random(seed * actors + number)
    return itertools.cycle([chance.random() < reads for _ in range(997)])


def switches() -> int:
    """How often this process has given up the processor of its own accord; always 0 where nobody counts it."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index: 1 when all have the same, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0
