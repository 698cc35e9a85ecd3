"""Processes that fight for one lock with tiny critical sections."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from benchmarks import rivals
from benchmarks.forked import Shared, Workers, in_a_process
from rwlocks.cli._bench_contention import COLUMNS, GRACE, WORK, Tally, judge, moves
from rwlocks.cli._bench_contestants import Contestant, compiled
from rwlocks.cli._bench_tables import Figures, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

__all__ = ["contend", "tables"]


def contend(contestant: Contestant, processes: int, reads: float, seconds: float, seed: int) -> Figures:
    """Let processes fight for ``seconds``. Raises Unfit if the lock does not exclude, or lets somebody hang."""
    return in_a_process(_fight, contestant, processes, reads, seconds, seed, limit=seconds + GRACE)


def _fight(
    contestant: Contestant,
    processes: int,
    reads: float,
    seconds: float,
    seed: int,
    *,
    tell: Callable[[Figures], None],
    folder: str,
) -> None:
    work: Callable[..., Tally] = compiled(WORK, contestant, more_setup="", a_sync="", inside="pass")(folder)
    shared = Shared(processes)

    def worker(number: int) -> None:
        mine = moves(number, processes, reads, split=False, seed=seed)
        shared.meet(number)
        shared.put(number, work(shared.box, mine, shared.running, time.perf_counter, ()))

    with Workers() as workers:
        for number in range(processes):
            workers.fork(functools.partial(worker, number))
        began = shared.play(seconds)
        workers.join()
        took = time.perf_counter() - began
    tallies = [
        Tally(round(reads), round(writes), *waits) for reads, writes, *waits in map(shared.get, range(processes))
    ]
    tell(judge(contestant, tallies, took, shared.box[0]))


SCENES = ((2, 0), (2, 50), (2, 90), (4, 0), (4, 50), (4, 90))  # processes, per cent of reads


def tables(given: Settings) -> Iterator[Table]:
    """One for each number of processes and share of reads."""
    contestants = given.chosen(rivals.PROCESSES)
    for processes, percent in given.scaled(SCENES, SCENES[-2:-1]):

        def measure(contestant: Contestant, processes: int = processes, reads: float = percent / 100) -> Figures:
            return contend(contestant, processes, reads, given.scaled(0.3, 0.02), given.seed)

        yield fill(
            f"processes/{processes}/{percent}",
            f"{processes} processes, {percent} % reads",
            COLUMNS,
            contestants,
            measure,
            rounds=given.rounds,
            seed=given.seed,
        )
