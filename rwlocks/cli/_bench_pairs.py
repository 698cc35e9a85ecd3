"""One acquisition and its release, while nobody else wants the lock: what everybody pays every time.

The loop around it is measured, too, for all alike. Undisturbed, the fastest of many short runs counts, because a
disturbance only ever adds time. Beside a thread that computes, the average counts: what the neighbour takes is taken
now and then, and whoever lets go of the interpreter's lock has to win it back each time.
"""

from __future__ import annotations

import functools
import threading
import time
from contextlib import nullcontext
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from rwlocks.cli._bench_contestants import compiled
from rwlocks.cli._bench_tables import Column

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from rwlocks.cli._bench_contestants import Contestant
    from rwlocks.cli._bench_tables import Figures

__all__ = ["COLUMNS", "NEIGHBOURS", "RUNTIMES", "average", "block", "pair", "repeat"]

COLUMNS: Final = tuple(Column(figure=mode, heading=f"{mode} ns", scale=1e9, ratio=True) for mode in ("read", "write"))

WORK: Final = """\
def run(folder):
    {setup}
    lock = {new}
    {a_sync}def work(pairs, seconds, clock):
        {handles}
        times = []
        end = clock() + seconds
        while len(times) < 3 or clock() < end:
            began = clock()
            for _ in pairs:
                {body}
            times.append(clock() - began)
        return times
    return work
"""

SHORT: Final = 0.0005  # seconds of a run: less than a time slice, and many times the clock's resolution


def _call(work: Callable[..., Any], *args: object) -> Any:
    return work(*args)


def _in_asyncio(work: Callable[..., Any], *args: object) -> Any:
    import asyncio

    return asyncio.run(work(*args))


def _in_trio(work: Callable[..., Any], *args: object) -> Any:
    import trio

    return trio.run(work, *args)


RUNTIMES: Final[dict[str, tuple[str, Callable[..., Any]]]] = {
    "threads": ("", _call),
    "asyncio": ("async ", _in_asyncio),
    "trio": ("async ", _in_trio),
    "processes": ("", _call),
}


class _Computing:
    """A thread that keeps the interpreter busy."""

    def __init__(self) -> None:
        self._done = False
        self._thread = threading.Thread(target=self._compute, daemon=True)

    def _compute(self) -> None:
        while not self._done:
            for _ in range(10_000):
                pass

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done = True
        self._thread.join()


NEIGHBOURS: Final[dict[str, Callable[[], AbstractContextManager[None]]]] = {
    "alone": nullcontext,
    "beside a thread that computes": _Computing,
}


def pair(contestant: Contestant, runtime: str, neighbour: str, seconds: float) -> Figures:
    """Seconds for one acquisition and its release, by mode. Each mode is measured for ``seconds``."""
    return {
        mode: average(contestant, runtime, neighbour, block(contestant, runtime, mode), seconds)
        for mode in ("read", "write")
    }


def block(contestant: Contestant, runtime: str, mode: str) -> str:
    """The pair as its users write it, with nothing inside."""
    a_sync, _ = RUNTIMES[runtime]
    return f"{a_sync}with {getattr(contestant, mode)}:\n    pass"


def average(contestant: Contestant, runtime: str, neighbour: str, body: str, seconds: float) -> float:
    """Seconds for ``body`` once, measured for ``seconds``."""
    length = _length(contestant, runtime, body)
    with TemporaryDirectory() as folder, NEIGHBOURS[neighbour]():
        times = repeat(contestant, runtime, body, folder, length, seconds)
    return (min(times) if neighbour == "alone" else sum(times) / len(times)) / length


@functools.cache
def _length(contestant: Contestant, runtime: str, body: str) -> int:
    """The pairs of a short run. Found out undisturbed, and once, so that it is the same beside any neighbour."""
    length = 1
    with TemporaryDirectory() as folder:
        while min(repeat(contestant, runtime, body, folder, length, 0.0)) < SHORT:
            length *= 2
    return length


def repeat(contestant: Contestant, runtime: str, body: str, folder: str, length: int, seconds: float) -> list[float]:
    """Seconds of each run of ``length`` times ``body``: three runs, and more until ``seconds`` are over."""
    a_sync, start = RUNTIMES[runtime]
    work = compiled(WORK, contestant, a_sync=a_sync, body=body)(folder)
    times: list[float] = start(work, range(length), seconds, time.perf_counter)
    return times
