"""One acquisition and its release, while nobody else wants the lock, alone and beside a thread that computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import rivals
from rwlocks.cli._bench_pairs import COLUMNS, NEIGHBOURS, pair
from rwlocks.cli._bench_tables import Figures, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_contestants import Contestant
    from rwlocks.cli._bench_tables import Table

__all__ = ["tables"]

RUNTIMES = {"threads": rivals.THREADS, "asyncio": rivals.ASYNCIO, "trio": rivals.TRIO, "processes": rivals.PROCESSES}


def tables(given: Settings) -> Iterator[Table]:
    """One for each runtime and neighbour."""
    for runtime, everybody in RUNTIMES.items():
        contestants = given.chosen(everybody)
        for neighbour in NEIGHBOURS:
            seconds = given.scaled(0.03 if neighbour == "alone" else 0.15, 0.002)

            def measure(
                contestant: Contestant, runtime: str = runtime, neighbour: str = neighbour, seconds: float = seconds
            ) -> Figures:
                return pair(contestant, runtime, neighbour, seconds)

            yield fill(
                f"pairs/{runtime}/{neighbour}",
                f"{runtime}: one acquisition and release, {neighbour}",
                COLUMNS,
                contestants,
                measure,
                rounds=given.rounds,
                seed=given.seed,
            )
