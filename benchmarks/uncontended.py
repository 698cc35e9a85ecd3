"""One acquisition and its release, while nobody else wants the lock: what everybody pays every time.

The loop around it is measured, too, for all alike. Of each round the fastest of many short runs counts: a disturbance
only ever adds time.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

import anyio
from contestants import ASYNCIO, THREADS, TRIO, choose
from harness import compiled, describe_machine, median_and_spread, options, print_table, ratios, run_rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from contestants import Contestant

WORK = """\
def run():
    {setup}
    {a_sync}def work(runs, pairs, clock):
        {handles}
        best = float("inf")
        for _ in runs:
            began = clock()
            for _ in pairs:
                {a_sync}with {enter}:
                    pass
            best = min(best, clock() - began)
        return best
    return work
"""

RUNS = 20


def _call(work: Callable[..., float], *args: object) -> float:
    return work(*args)


def _in_asyncio(work: Callable[..., Coroutine[object, object, float]], *args: object) -> float:
    return asyncio.run(work(*args))


def _in_trio(work: Callable[..., Coroutine[object, object, float]], *args: object) -> float:
    return anyio.run(work, *args, backend="trio")


RUNTIMES: dict[str, tuple[tuple[Contestant, ...], str, Callable[..., float]]] = {
    "threads": (THREADS, "", _call),
    "asyncio": (ASYNCIO, "async ", _in_asyncio),
    "trio": (TRIO, "async ", _in_trio),
}


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print one table for each runtime."""
    parser = options("One acquisition and its release, while nobody else wants the lock.")
    parser.add_argument("--runtimes", nargs="+", default=list(RUNTIMES), choices=RUNTIMES, help="where to run")
    parser.add_argument("--pairs", type=int, default=1000, help=f"acquisitions in each of {RUNS} runs of a round")
    given = parser.parse_args(arguments)
    print(describe_machine())
    for runtime in given.runtimes:
        everybody, a_sync, start = RUNTIMES[runtime]
        contestants = choose(everybody, given.only)
        if everybody[0] not in contestants:
            continue

        def once(contestant: Contestant, a_sync: str = a_sync, start: Callable[..., float] = start) -> dict[str, float]:
            best: dict[str, float] = {}
            for mode in ("read", "write"):
                enter = contestant.read if mode == "read" else contestant.write
                work = compiled(WORK, contestant, a_sync=a_sync, enter=enter)()
                best[mode] = start(work, range(RUNS), range(given.pairs), time.perf_counter) / given.pairs
            return best

        results = run_rounds(contestants, once, given.rounds, given.seed)
        _report(f"{runtime}: one acquisition and release, {given.rounds} rounds", results)


def _report(title: str, results: dict[str, list[dict[str, float]]]) -> None:
    yardstick = next(iter(results.values()))
    rows: list[list[str]] = []
    for label, outcomes in results.items():
        row = [label]
        for mode in ("read", "write"):
            times = [outcome[mode] for outcome in outcomes]
            row.append(f"{statistics.median(times) * 1e9:.0f}")
            row.append(median_and_spread(ratios(times, [outcome[mode] for outcome in yardstick])))
        rows.append(row)
    print_table(title, ["lock", "read ns", "ratio", "write ns", "ratio"], rows)


if __name__ == "__main__":
    main()
