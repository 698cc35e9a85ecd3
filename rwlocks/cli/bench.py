"""``rwlocks bench``: what a lock of this library costs on this machine, compared with the plain locks of Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import rwlocks
from rwlocks._types import PolicyName
from rwlocks.cli._bench_contention import COLUMNS as CONTENTION
from rwlocks.cli._bench_contention import contend
from rwlocks.cli._bench_contestants import ASYNCIO, PROCESSES, THREADS, choose
from rwlocks.cli._bench_pairs import COLUMNS as PAIRS
from rwlocks.cli._bench_pairs import NEIGHBOURS, pair
from rwlocks.cli._bench_tables import Unfit, fill, lines
from rwlocks.cli._seconds import seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from rwlocks.cli._bench_contestants import Contestant
    from rwlocks.cli._bench_tables import Figures, Table

__all__ = ["HELP", "configure", "run"]

HELP: Final = "what these locks cost here, compared with the plain locks of Python, in a few seconds"

ROUNDS: Final = 3
CROWD: Final = 8
SHARES: Final = (0, 50, 90)  # per cent of reads
SECONDS: Final = 6.0
# Threads that fight need longer for a steady figure than an undisturbed pair.
PARTS: Final = {"alone": 1, "beside a thread that computes": 3, "contended": 6}
RUNTIMES: Final = {"threads": THREADS, "asyncio": ASYNCIO, "processes": PROCESSES}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the benchmark."""
    parser.epilog = "a ratio compares with the first row: of times, below 1 is better; of kops/s, above 1"
    parser.add_argument(
        "--policy", choices=["all", *get_args(PolicyName)], default="fifo", help="which locks (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=seconds("time to measure"),
        default=SECONDS,
        help="about how long for one policy (default: %(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, and return the exit code: 1 if a lock did not exclude, or let somebody hang."""
    here = rwlocks.features()
    print(f"rwlocks {here.version} on {here.interpreter}: {', '.join(map(str, here.parts))}")
    try:
        for table in _tables([] if options.policy == "all" else [options.policy], options.seconds):
            print("\n".join(lines(table)), flush=True)
    except Unfit as error:
        print(f"rwlocks bench: {error}")
        return 1
    return 0


def _tables(wanted: list[str], seconds: float) -> Iterator[Table]:
    part = _part(seconds)
    for runtime, everybody in RUNTIMES.items():
        contestants, missing = choose(everybody, wanted)
        if missing:
            print(f"\nnot measured: {', '.join(missing)}")
        if len(contestants) < 2:
            continue
        for neighbour in NEIGHBOURS:

            def pairs(contestant: Contestant, runtime: str = runtime, neighbour: str = neighbour) -> Figures:
                return pair(contestant, runtime, neighbour, part * PARTS[neighbour])

            title = f"{runtime}: one acquisition and release, {neighbour}"
            yield fill(title, title, PAIRS, contestants, pairs, rounds=ROUNDS, seed=0)
    contestants, _ = choose(THREADS, wanted)
    for percent in SHARES:

        def fight(contestant: Contestant, reads: float = percent / 100) -> Figures:
            return contend(contestant, CROWD, reads, part * PARTS["contended"], seed=0)

        title = f"{CROWD} threads fight for one lock, {percent} % reads"
        yield fill(title, title, CONTENTION, contestants, fight, rounds=ROUNDS, seed=0)


def _part(seconds: float) -> float:
    """Seconds of the shortest measurement, when two contestants are to take so long in all."""
    pairs = len(RUNTIMES) * 2 * sum(PARTS[neighbour] for neighbour in NEIGHBOURS)
    return seconds / (ROUNDS * 2 * (pairs + len(SHARES) * PARTS["contended"]))
