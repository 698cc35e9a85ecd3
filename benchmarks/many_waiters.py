"""What a waiter costs when very many wait: to queue, to be withdrawn in random order, to be granted.

A good queue costs the same for each waiter however many there are; the last columns compare the greatest number with
the least. Tasks of asyncio, for nobody has 100,000 threads. Each measurement has a process of its own, which is ended
when its patience runs out: some rivals are quadratic.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import random
import statistics
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from contestants import ASYNCIO, choose
from harness import compiled, describe_machine, options, print_table, run_rounds

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from contestants import Contestant

WORK = """\
def run():
    {setup}
    async def hold(entered, leave):
        {handles}
        async with {write}:
            entered.set()
            await leave.wait()
    async def read():
        {handles}
        async with {read}:
            pass
    return hold, read
"""

PHASES = ("queue", "withdraw", "grant")

Costs: TypeAlias = dict[int, dict[str, float]]
"""Seconds for each waiter, by the number of waiters and by phase; a phase that took too long is missing."""


async def _fight(hold: Callable[..., Any], read: Callable[..., Any], waiters: int, seed: int, pipe: Connection) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    holder = asyncio.create_task(hold(entered, leave))
    await entered.wait()

    async def queue() -> list[asyncio.Task[None]]:
        began = time.perf_counter()
        tasks = [asyncio.create_task(read()) for _ in range(waiters)]
        # Twice: a lock that yields before it queues is one turn late.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pipe.send(("queue", (time.perf_counter() - began) / waiters))
        return tasks

    tasks = await queue()
    random.Random(seed).shuffle(tasks)
    began = time.perf_counter()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    pipe.send(("withdraw", (time.perf_counter() - began) / waiters))
    tasks = await queue()
    began = time.perf_counter()
    leave.set()
    await asyncio.wait([holder, *tasks])
    pipe.send(("grant", (time.perf_counter() - began) / waiters))


def _child(contestant: Contestant, waiters: int, seed: int, pipe: Connection) -> None:
    hold, read = compiled(WORK, contestant)()
    gc.disable()  # as timeit does: the collector looks at every task again and again, whatever the lock does
    asyncio.run(_fight(hold, read, waiters, seed, pipe))
    pipe.close()


def measure(contestant: Contestant, waiters: int, seed: int, limit: float) -> dict[str, float]:
    """The phases that were done within ``limit`` seconds."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(contestant, waiters, seed, theirs), daemon=True)
    process.start()
    theirs.close()
    deadline = time.monotonic() + limit
    costs: dict[str, list[float]] = {}
    try:
        while ours.poll(max(0.0, deadline - time.monotonic())):
            phase, cost = ours.recv()
            costs.setdefault(phase, []).append(cost)
    except EOFError:
        process.join()
    else:
        process.kill()
        process.join()
    return {phase: min(values) for phase, values in costs.items()}


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the cost of one waiter for each number of waiters."""
    parser = options("What a waiter costs when very many wait.")
    parser.add_argument("--waiters", type=int, nargs="+", default=[1000, 10_000, 100_000], help="how many wait")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for each measurement")
    parser.set_defaults(rounds=3)
    given = parser.parse_args(arguments)
    print(describe_machine())
    numbers = sorted(given.waiters)

    def once(contestant: Contestant) -> Costs:
        costs: Costs = {}
        for waiters in numbers:
            costs[waiters] = measure(contestant, waiters, given.seed, given.limit)
            if len(costs[waiters]) < len(PHASES):
                break  # more would take even longer
        return costs

    results = run_rounds(choose(ASYNCIO, given.only), once, given.rounds, given.seed)
    for phase in PHASES:
        rows: list[list[str]] = []
        for label, outcomes in results.items():
            medians = [_median(outcomes, waiters, phase) for waiters in numbers]
            first, last = medians[0], medians[-1]
            growth = "-" if first is None or last is None else f"{last / first:.2f}"
            rows.append([label, *("too long" if m is None else f"{m * 1e6:.2f}" for m in medians), growth])
        columns = ["lock", *(f"{waiters:,}" for waiters in numbers), "growth"]
        print_table(f"{phase}: microseconds for each waiter, {given.rounds} rounds", columns, rows)


def _median(outcomes: list[Costs], waiters: int, phase: str) -> float | None:
    values = [outcome[waiters][phase] for outcome in outcomes if phase in outcome.get(waiters, {})]
    return statistics.median(values) if values else None


if __name__ == "__main__":
    main()
