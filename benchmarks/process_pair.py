"""One acquisition and its release of a lock between processes, while nobody else wants it.

Once with nothing beside it, and once with a thread that computes: whoever lets go of the interpreter's lock has to win
it back then. That is why what never blocks goes through a door that keeps it.
"""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from harness import describe_machine, median_and_spread, options, print_table, ratios, run_rounds

from rwlocks._types import Mode
from rwlocks.backends.process._core import Hold, ProcessCore
from rwlocks.backends.process._doors import lib
from rwlocks.backends.process._segment import NO_BOUND, Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS = 20


class Pair(NamedTuple):
    """A way to take a lock and give it back, that many times."""

    name: str
    work: Callable[[range], None]

    @property
    def label(self) -> str:
        return self.name


def pairs() -> Iterator[Pair]:
    """The yardstick first."""
    mutex = multiprocessing.Lock()
    core = ProcessCore.make(Config(64, 1024, 0, 2, 2, NO_BOUND, NO_BOUND, NO_BOUND))
    context = core.ready()

    def yardstick(times: range) -> None:
        acquire, release = mutex.acquire, mutex.release
        for _ in times:
            acquire()
            release()

    def door(times: range) -> None:
        enter, release = context.enter, context.release
        for _ in times:
            release(enter(1))

    def sleeping_door(times: range) -> None:
        enter, release, address = context.enter, lib.native_release, context.address
        for _ in times:
            release(address, enter(1))

    def python(times: range) -> None:
        hold, mode = Hold(), Mode.READ
        for _ in times:
            core.enter(hold, mode)
            core.release(hold)

    yield Pair("multiprocessing.Lock", yardstick)
    yield Pair("rwlocks, the door that keeps the GIL", door)
    yield Pair("rwlocks, released by the sleeping door", sleeping_door)
    yield Pair("rwlocks, ProcessCore", python)


def average(pair: Pair, times: range) -> float:
    """Seconds for one acquisition and release, on average: what the neighbour takes is not always taken."""
    began = time.perf_counter()
    for _ in range(RUNS):
        pair.work(times)
    return (time.perf_counter() - began) / len(times) / RUNS


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print one table for each neighbourhood."""
    parser = options("One acquisition and its release of a lock between processes.")
    parser.add_argument("--pairs", type=int, default=2000, help=f"acquisitions in each of {RUNS} runs of a round")
    given = parser.parse_args(arguments)
    everybody = [pair for pair in pairs() if not given.only or any(word in pair.label for word in given.only)]
    print(describe_machine())
    for busy in (False, True):
        done = threading.Event()
        thread = threading.Thread(target=compute, args=(done,))
        if busy:
            thread.start()
        try:
            results = run_rounds(everybody, lambda pair: average(pair, range(given.pairs)), given.rounds, given.seed)
        finally:
            done.set()
            if busy:
                thread.join()
        beside = "beside a thread that computes" if busy else "with nothing beside it"
        report(f"one acquisition and release, {beside}, {given.rounds} rounds", results)


def compute(done: threading.Event) -> None:
    """Keep the interpreter busy."""
    while not done.is_set():
        for _ in range(10_000):
            pass


def report(title: str, results: dict[str, list[float]]) -> None:
    """One row for each, compared with the first."""
    yardstick = next(iter(results.values()))
    rows = [
        [label, f"{statistics.median(times) * 1e9:.0f}", median_and_spread(ratios(times, yardstick))]
        for label, times in results.items()
    ]
    print_table(title, ["lock", "ns", "ratio"], rows)


if __name__ == "__main__":
    main()
