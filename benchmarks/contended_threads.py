"""Threads that fight for one lock with tiny critical sections.

A section is ``box["n"] += 1`` for a writer and ``box["n"]`` for a reader, and one reading of the clock, which ends the
measurement of this very wait. Between two sections a thread does nothing but count. Every wait is measured.

What the yardstick does decides every ratio, and `threading.Lock` lives in two worlds (README.md says why). Out of a
convoy it hardly ever leaves the running thread: fast, and the others starve for hundreds of milliseconds. In a convoy
a good part of all acquisitions are switches of threads. The column "switches" tells which world it was: voluntary
context switches of the process for each acquisition.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contestants import THREADS, choose
from harness import compiled, describe_machine, jain, median_and_spread, options, print_table, ratios, run_rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contestants import Contestant

WORK = """\
def run():
    {setup}
    def work(box, moves, running, clock, pause):
        {handles}
        reads = writes = 0
        longest_read = longest_write = 0.0
        for reading in moves:
            if reading:
                began = clock()
                with {read}:
                    waited = clock() - began
                    box["n"]
                reads += 1
                if waited > longest_read:
                    longest_read = waited
            else:
                began = clock()
                with {write}:
                    waited = clock() - began
                    box["n"] += 1
                writes += 1
                if waited > longest_write:
                    longest_write = waited
            for _ in pause:
                pass
            if not running:
                break
        return reads, writes, longest_read, longest_write
    return work
"""

STARVED = 0.1  # of the share that would be fair


@dataclass(frozen=True)
class Outcome:
    """One contestant in one round. Waits are in seconds."""

    rate: float
    longest: float
    longest_read: float
    longest_write: float
    jain: float
    starved: int
    switches: float


def measure(
    contestant: Contestant, threads: int, reads: float, seconds: float, *, between: int, split: bool, seed: int
) -> Outcome:
    """Let them fight for ``seconds``. Raises RuntimeError if the lock does not exclude, or lets somebody hang."""
    work: Callable[..., tuple[int, int, float, float]] = compiled(WORK, contestant)()
    box = {"n": 0}
    running = [True]
    tallies: list[tuple[int, int, float, float]] = []
    start = threading.Barrier(threads + 1)

    def thread(number: int) -> None:
        moves = _moves(number, threads, reads, split=split, seed=seed)
        start.wait()
        tallies.append(work(box, moves, running, time.perf_counter, range(between)))

    crew = [threading.Thread(target=thread, args=(n,), daemon=True) for n in range(threads)]
    for member in crew:
        member.start()
    start.wait()
    began, switches = time.perf_counter(), _switches()
    time.sleep(seconds)
    running.clear()
    for member in crew:
        member.join(10)
    took, switches = time.perf_counter() - began, _switches() - switches
    if len(tallies) < threads:
        raise RuntimeError(f"{contestant.label}: {threads - len(tallies)} threads hang, or have failed")
    if sum(tally[1] for tally in tallies) != box["n"]:
        raise RuntimeError(f"{contestant.label}: two writers were inside at once")
    counts = [tally[0] + tally[1] for tally in tallies]
    fair = sum(counts) / threads
    longest_read, longest_write = max(tally[2] for tally in tallies), max(tally[3] for tally in tallies)
    return Outcome(
        rate=sum(counts) / took,
        longest=max(longest_read, longest_write),
        longest_read=longest_read,
        longest_write=longest_write,
        jain=jain(counts),
        starved=sum(count < STARVED * fair for count in counts),
        switches=switches / sum(counts),
    )


def _switches() -> int:
    """How often the process has given up the processor of its own accord; always 0 where nobody counts it."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def _moves(number: int, threads: int, reads: float, *, split: bool, seed: int) -> Iterator[bool]:
    """True to read. Mixed: the same chance at every move; split: some threads only read, the others only write."""
    if split:
        return itertools.repeat(number < round(threads * reads))
    chance = random.Random(seed * threads + number)
    return itertools.cycle([chance.random() < reads for _ in range(997)])


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print one table for each share of reads."""
    parser = options("Threads that fight for one lock with tiny critical sections.")
    parser.add_argument("--threads", type=int, default=8, help="how many fight")
    parser.add_argument("--reads", type=float, nargs="+", default=[0, 50, 90, 100], metavar="%", help="shares of reads")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contestant in each round")
    parser.add_argument("--between", type=int, default=0, help="turns of an empty loop between two sections")
    parser.add_argument("--split", action="store_true", help="each thread only reads or only writes, not both in turn")
    given = parser.parse_args(arguments)
    print(describe_machine())
    contestants = choose(THREADS, given.only)
    for percent in given.reads:

        def once(contestant: Contestant, share: float = percent / 100) -> Outcome:
            return measure(
                contestant,
                given.threads,
                share,
                given.seconds,
                between=given.between,
                split=given.split,
                seed=given.seed,
            )

        title = f"{given.threads} threads, {percent:g} % reads, {given.rounds} rounds of {given.seconds:g} s"
        _report(title, run_rounds(contestants, once, given.rounds, given.seed))


def _report(title: str, results: dict[str, list[Outcome]]) -> None:
    yardstick = next(iter(results.values()))

    def column(outcomes: list[Outcome], figure: Callable[[Outcome], float]) -> list[float]:
        return [figure(outcome) for outcome in outcomes]

    rows: list[list[str]] = []
    for label, outcomes in results.items():
        rates, waits = column(outcomes, lambda o: o.rate), column(outcomes, lambda o: o.longest)
        rows.append(
            [
                label,
                f"{statistics.median(rates) / 1000:.0f}",
                median_and_spread(ratios(rates, column(yardstick, lambda o: o.rate))),
                f"{statistics.median(waits) * 1000:.1f}",
                median_and_spread(ratios(waits, column(yardstick, lambda o: o.longest))),
                f"{statistics.median(column(outcomes, lambda o: o.longest_read)) * 1000:.1f}",
                f"{statistics.median(column(outcomes, lambda o: o.longest_write)) * 1000:.1f}",
                f"{statistics.median(column(outcomes, lambda o: o.jain)):.3f}",
                f"{max(outcome.starved for outcome in outcomes)}",
                f"{statistics.median(column(outcomes, lambda o: o.switches)):.2f}",
            ]
        )
    columns = ["lock", "kops/s", "ratio", "longest ms", "ratio", "reads ms", "writes ms", "Jain", "starved", "switches"]
    print_table(title, columns, rows)


if __name__ == "__main__":
    main()
