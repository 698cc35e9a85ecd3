"""Tasks of one event loop that fight for one lock, with one suspension inside each section."""

from __future__ import annotations

import asyncio
import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks import rivals
from rwlocks.cli._bench_contention import COLUMNS, WORK, Tally, judge, moves
from rwlocks.cli._bench_contestants import Contestant, compiled
from rwlocks.cli._bench_tables import Figures, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

    Actor = Callable[[int], Coroutine[Any, Any, None]]

__all__ = ["tables"]

# What a hand-over on asyncio costs at least: no modes, no cancellation, no owner, nobody else's loop.
_BARE = Contestant(
    name="bare future hand-off",
    role="reference",
    setup="""\
from asyncio import get_running_loop
from collections import deque

class Bare:
    def __init__(self):
        self.waiting, self.held = deque(), False

    async def __aenter__(self):
        if self.held:
            future = get_running_loop().create_future()
            self.waiting.append(future)
            await future
        self.held = True

    async def __aexit__(self, *_):
        if self.waiting:
            self.waiting.popleft().set_result(None)
        else:
            self.held = False""",
    new="Bare()",
    read="lock",
    write="lock",
)


async def _asyncio(actor: Actor, tasks: int, running: list[bool], seconds: float) -> None:
    crew = [asyncio.create_task(actor(number)) for number in range(tasks)]
    await asyncio.sleep(seconds)
    running[0] = False
    await asyncio.gather(*crew)


async def _trio(actor: Actor, tasks: int, running: list[bool], seconds: float) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        for number in range(tasks):
            nursery.start_soon(actor, number)
        await trio.sleep(seconds)
        running[0] = False


def _run_asyncio(*args: Any) -> None:
    asyncio.run(_asyncio(*args))


def _run_trio(*args: Any) -> None:
    import trio

    trio.run(_trio, *args)


RUNTIMES: dict[str, tuple[tuple[Contestant, ...], str, Callable[..., None]]] = {
    "asyncio": ((*rivals.ASYNCIO, _BARE, rivals.NOTHING), "from asyncio import sleep", _run_asyncio),
    "trio": ((*rivals.TRIO, rivals.NOTHING), "from trio import sleep", _run_trio),
}


def contend(contestant: Contestant, runtime: str, tasks: int, reads: float, seconds: float, seed: int) -> Figures:
    """Let tasks fight for ``seconds``. Raises Unfit if the lock does not exclude."""
    _, more_setup, start = RUNTIMES[runtime]
    with TemporaryDirectory() as folder:
        piece = compiled(WORK, contestant, more_setup=more_setup, a_sync="async ", inside="await sleep(0)")
        work: Callable[..., Coroutine[Any, Any, Tally]] = piece(folder)
        box, running = [0], [True]
        tallies: list[Tally] = []

        async def actor(number: int) -> None:
            mine = moves(number, tasks, reads, split=False, seed=seed)
            tallies.append(Tally(*await work(box, mine, running, time.perf_counter, ())))

        began = time.perf_counter()
        start(actor, tasks, running, seconds)
        took = time.perf_counter() - began
    return judge(contestant, tallies, took, box[0])


SCENES = {  # tasks, per cent of reads
    "asyncio": ((100, 0), (100, 50), (100, 90), (100, 100), (10, 50), (1000, 50)),
    "trio": ((100, 50), (100, 90)),
}


def tables(given: Settings) -> Iterator[Table]:
    """One for each runtime, number of tasks and share of reads."""
    for runtime, (everybody, *_) in RUNTIMES.items():
        contestants = given.chosen(everybody)
        for tasks, percent in given.scaled(SCENES[runtime], ((100, 50),)):

            def measure(
                contestant: Contestant, runtime: str = runtime, tasks: int = tasks, reads: float = percent / 100
            ) -> Figures:
                return contend(contestant, runtime, tasks, reads, given.scaled(0.2, 0.005), given.seed)

            yield fill(
                f"tasks/{runtime}/{tasks}/{percent}",
                f"{tasks} tasks on one {runtime} loop, {percent} % reads",
                COLUMNS,
                contestants,
                measure,
                rounds=given.rounds,
                seed=given.seed,
            )
