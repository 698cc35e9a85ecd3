"""What patience buys: throughput and longest wait, for patiences from none to 20 ms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import processes
from rwlocks.cli._bench_contention import COLUMNS, contend
from rwlocks.cli._bench_contestants import Contestant, ours, plain
from rwlocks.cli._bench_tables import Figures, fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

__all__ = ["PATIENCES", "tables"]

PATIENCES = (0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # milliseconds


def _contestants(yardstick: str, lock: str, patiences: Sequence[float]) -> tuple[Contestant, ...]:
    def patient(patience: float) -> Contestant:
        policy = f"policies.Fifo(patience={patience / 1000})"
        return replace(ours("", lock.format(policy=policy)), name=f"{patience:g} ms", role="reference")

    return (plain(yardstick), *map(patient, patiences))


def tables(given: Settings) -> Iterator[Table]:
    """One for each share of reads, between threads and between processes."""
    seconds = given.scaled(0.3, 0.02)
    patiences = given.scaled(PATIENCES, PATIENCES[::4])
    threads = _contestants("threading.Lock", "RWLock({policy})", patiences)
    between_processes = _contestants("multiprocessing.Lock", "ProcessRWLock(None, {policy})", patiences)
    for kind, actors, contestants in (("threads", 8, threads), ("processes", 4, between_processes)):
        chosen = given.chosen(contestants, whole=True)
        for percent in given.scaled((0, 50, 90), (50,)):

            def measure(
                contestant: Contestant, kind: str = kind, actors: int = actors, reads: float = percent / 100
            ) -> Figures:
                if kind == "threads":
                    return contend(contestant, actors, reads, seconds, seed=given.seed)
                return processes.contend(contestant, actors, reads, seconds, given.seed)

            yield fill(
                f"patience/{kind}/{percent}",
                f"{actors} {kind}, {percent} % reads, fifo with that patience",
                COLUMNS,
                chosen,
                measure,
                rounds=given.rounds,
                seed=given.seed,
            )
