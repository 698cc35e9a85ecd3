"""What a waiter costs when very many wait: to queue, to be withdrawn in random order, to be granted.

A good queue costs the same for each waiter however many there are. Tasks of asyncio, for nobody has 100,000 threads.
Each measurement has a process of its own, which is ended when time is up: some rivals are quadratic.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from typing import TYPE_CHECKING, Any

from benchmarks import rivals
from benchmarks.forked import in_a_process
from rwlocks.cli._bench_contestants import Contestant, compiled
from rwlocks.cli._bench_tables import Column, Figures, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

__all__ = ["PHASES", "tables"]

WORK = """\
def run(folder):
    {setup}
    lock = {new}
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
COLUMNS = tuple(Column(figure=phase, heading=f"{phase} us", scale=1e6, digits=2, absent="too long") for phase in PHASES)


async def _fight(
    hold: Callable[..., Any], read: Callable[..., Any], waiters: int, seed: int, tell: Callable[[Figures], None]
) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    holder = asyncio.create_task(hold(entered, leave))
    await entered.wait()

    async def queue() -> tuple[list[asyncio.Task[None]], float]:
        began = time.perf_counter()
        tasks = [asyncio.create_task(read()) for _ in range(waiters)]
        # Twice: a lock that yields before it queues is one turn late.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return tasks, (time.perf_counter() - began) / waiters

    tasks, first = await queue()
    tell({"queue": first})
    random.Random(seed).shuffle(tasks)
    began = time.perf_counter()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    tell({"withdraw": (time.perf_counter() - began) / waiters})
    tasks, second = await queue()
    tell({"queue": min(first, second)})
    began = time.perf_counter()
    leave.set()
    await asyncio.wait([holder, *tasks])
    tell({"grant": (time.perf_counter() - began) / waiters})


def _measure(contestant: Contestant, waiters: int, seed: int, *, tell: Callable[[Figures], None], folder: str) -> None:
    hold, read = compiled(WORK, contestant)(folder)
    gc.disable()  # as timeit does: the collector looks at every task again and again, whatever the lock does
    asyncio.run(_fight(hold, read, waiters, seed, tell))


def tables(given: Settings) -> Iterator[Table]:
    """One for each number of waiters; whom a smaller number took too long is not asked again."""
    slow: set[str] = set()
    for waiters in given.scaled((1_000, 10_000, 100_000), (10,)):

        def measure(contestant: Contestant, waiters: int = waiters) -> Figures:
            if contestant.label in slow:
                return {}
            figures = in_a_process(
                _measure, contestant, waiters, given.seed, limit=given.scaled(12.0, 4.0), partial=True
            )
            if len(figures) < len(PHASES):
                slow.add(contestant.label)
            return figures

        yield fill(
            f"waiters/{waiters}",
            f"{waiters:,} tasks wait: microseconds for each",
            COLUMNS,
            given.chosen(rivals.ASYNCIO),
            measure,
            rounds=min(given.rounds, 3),
            seed=given.seed,
        )
