"""What it takes to hand a lock to somebody who waits for it, in units of a bare wake-up of that runtime.

Two actors and three exclusive locks. Each actor holds one lock, takes the next one and gives back the one before, in a
circle, with the other actor right ahead of it: so each step waits until the other has given back, and wakes the other.
Every lock can play this, whoever may release it, and nobody can be overtaken. The yardstick is the same game with what
the runtime offers for waking somebody, and nothing else: two actors that take turns in waking each other.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks import rivals
from benchmarks.forked import Shared, Workers, in_a_process
from rwlocks.cli._bench_contention import GRACE
from rwlocks.cli._bench_contestants import Contestant, compiled
from rwlocks.cli._bench_tables import Column, Figures, Unfit, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.settings import Settings
    from rwlocks.cli._bench_tables import Table

__all__ = ["play_threads", "tables"]

COLUMNS = (Column(figure="step", heading="us", scale=1e6, digits=2, ratio=True),)

CIRCLE = """\
def run(folder):
    {setup}
    locks = [{new} for _ in range(3)]
    {a_sync}def entrance(lock, folder):
        {handles}
        return lambda: {write}
    {a_sync}def actor(number, running, meet):
        doors = []
        for place, lock in enumerate(locks):
            doors.append({a_wait}entrance(lock, folder + "/" + str(place)))
        steps, place = 0, number
        held = doors[place]()
        {a_wait}held.__{a}enter__()
        {a_wait}meet()
        while running[0]:
            place = (place + 1) % 3
            following = doors[place]()
            {a_wait}following.__{a}enter__()
            {a_wait}held.__{a}exit__(None, None, None)
            held = following
            steps += 1
        {a_wait}held.__{a}exit__(None, None, None)
        return steps
    return actor
"""

WAKING = """\
def run(folder):
    {setup}
    bells = [{new}, {new}]
    {a_sync}def actor(number, running, meet):
        steps = 0
        {a_wait}meet()
        if number == 1:
            {read}
        while running[0]:
            {write}
            {read}
            steps += 1
        {write}
        return steps
    return actor
"""


def _bells(name: str, setup: str, new: str, ring: str, wait: str) -> Contestant:
    return Contestant(name=name, role="yardstick", setup=setup, new=new, read=wait, write=ring)


THREADS = _bells(
    "wake-up, threading.Lock",
    "from _thread import allocate_lock\ndef bell():\n    bell = allocate_lock()\n    bell.acquire()\n    return bell",
    "bell()",
    "bells[1 - number].release()",
    "bells[number].acquire()",
)
ASYNCIO = _bells(
    "wake-up, asyncio.Event",
    "from asyncio import Event",
    "Event()",
    "bells[1 - number].set()",
    "await bells[number].wait()\nbells[number].clear()",
)
TRIO = _bells(
    "wake-up, trio.Event",
    "from trio import Event",
    "Event()",
    "ringing, bells[number] = bells[1 - number], Event()\nringing.set()",
    "await bells[number].wait()",
)
PROCESSES = _bells(
    "wake-up, multiprocessing.Semaphore",
    "from multiprocessing import Semaphore",
    "Semaphore(0)",
    "bells[1 - number].release()",
    "bells[number].acquire()",
)


def play_threads(actor: Callable[..., int], seconds: float) -> float:
    """Seconds for each step, of two threads that count theirs."""
    running, steps = [True], list[int]()
    meeting = threading.Barrier(3)

    def play(number: int) -> None:
        steps.append(actor(number, running, meeting.wait))

    crew = [threading.Thread(target=play, args=(number,), daemon=True) for number in range(2)]
    for member in crew:
        member.start()
    meeting.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    running[0] = False
    for member in crew:
        member.join(GRACE)
    if len(steps) < len(crew):
        raise Unfit("hangs, or has failed")
    return (time.perf_counter() - began) / sum(steps)


def _asyncio(actor: Callable[..., Any], seconds: float) -> float:
    async def main() -> float:
        running = [True]
        crew = [asyncio.create_task(actor(number, running, lambda: asyncio.sleep(0))) for number in range(2)]
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        running[0] = False
        steps: list[int] = await asyncio.wait_for(asyncio.gather(*crew), GRACE)
        return (time.perf_counter() - began) / sum(steps)

    return asyncio.run(main())


def _trio(actor: Callable[..., Any], seconds: float) -> float:
    import trio

    async def main() -> float:
        running, steps = [True], list[int]()

        async def play(number: int) -> None:
            steps.append(await actor(number, running, trio.lowlevel.checkpoint))

        with trio.fail_after(seconds + GRACE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(play, 0)
                nursery.start_soon(play, 1)
                began = time.perf_counter()
                await trio.sleep(seconds)
                running[0] = False
        return (time.perf_counter() - began) / sum(steps)

    took: float = trio.run(main)
    return took


def _processes(contestant: Contestant, seconds: float, *, tell: Callable[[Figures], None], folder: str) -> None:
    actor = _actor(contestant, folder, a_sync=False)
    shared = Shared(2)

    def play(number: int) -> None:
        shared.put(number, [actor(number, shared.running, functools.partial(shared.meet, number))])

    with Workers() as workers:
        for number in range(2):
            workers.fork(functools.partial(play, number))
        began = shared.play(seconds)
        workers.join()
        took = time.perf_counter() - began
    tell({"step": took / sum(shared.get(number)[0] for number in range(2))})


def _actor(contestant: Contestant, folder: str, *, a_sync: bool) -> Callable[..., Any]:
    for place in range(3):
        Path(folder, str(place)).mkdir()
    template = CIRCLE if contestant.role in {"ours", "rival"} or contestant in PLAIN else WAKING
    a, a_def, a_wait = ("a", "async ", "await ") if a_sync else ("", "", "")
    actor: Callable[..., Any] = compiled(template, contestant, a=a, a_sync=a_def, a_wait=a_wait)(folder)
    return actor


PLAIN = {each[0] for each in (rivals.THREADS, rivals.ASYNCIO, rivals.TRIO, rivals.PROCESSES)}
RUNTIMES = {
    "threads": (THREADS, *rivals.THREADS),
    "asyncio": (ASYNCIO, *rivals.ASYNCIO),
    "trio": (TRIO, *rivals.TRIO),
    "processes": (PROCESSES, *rivals.PROCESSES),
}
GAMES: dict[str, Callable[..., float]] = {"threads": play_threads, "asyncio": _asyncio, "trio": _trio}


def _step(contestant: Contestant, runtime: str, seconds: float) -> Figures:
    if runtime == "processes":
        return in_a_process(_processes, contestant, seconds, limit=seconds + GRACE)
    with TemporaryDirectory() as folder:
        return {"step": GAMES[runtime](_actor(contestant, folder, a_sync=runtime != "threads"), seconds)}


def tables(given: Settings) -> Iterator[Table]:
    """One for each runtime."""
    for runtime, everybody in RUNTIMES.items():
        contestants = given.chosen(everybody)

        def measure(contestant: Contestant, runtime: str = runtime) -> Figures:
            return _step(contestant, runtime, given.scaled(0.2, 0.02))

        yield fill(
            f"handover/{runtime}",
            f"{runtime}: one hand-over to somebody who waits",
            COLUMNS,
            contestants,
            measure,
            rounds=given.rounds,
            seed=given.seed,
        )
