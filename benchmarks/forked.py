"""A process of its own for a measurement, and workers that it forks.

The parent may have run threads; a process that forks should not. And what hangs there can be ended from here.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import signal
import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from rwlocks.cli._bench_tables import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from rwlocks.cli._bench_tables import Figures

__all__ = ["Shared", "Workers", "in_a_process"]


def in_a_process(measure: Callable[..., None], *args: object, limit: float, partial: bool = False) -> Figures:
    """What ``measure(*args, tell=..., folder=...)`` tells from a fresh process, with an empty folder.

    ``tell`` takes figures, and may be called more than once. After ``limit`` seconds the process is ended: then what
    it has told is the result if ``partial``, else Unfit is raised; as it is when the process fails, or raises it.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    figures: Figures = {}
    with TemporaryDirectory() as folder:
        process = context.Process(target=_child, args=(there, measure, args, folder))
        process.start()
        there.close()
        try:
            _listen(here, figures, time.monotonic() + limit)
            process.join(limit)
        except TimeoutError:
            if not partial:
                raise Unfit(f"hangs for {limit:g} s") from None
        finally:
            if process.is_alive():
                _end(process)
            here.close()
    return figures


def _listen(pipe: Connection, figures: Figures, deadline: float) -> None:
    while pipe.poll(max(0.0, deadline - time.monotonic())):
        try:
            message: Figures | Unfit | None = pipe.recv()
        except EOFError:
            raise Unfit("has failed, see above") from None
        if message is None:
            return
        if isinstance(message, Unfit):
            raise message
        figures.update(message)
    raise TimeoutError


def _child(pipe: Connection, measure: Callable[..., None], args: tuple[object, ...], folder: str) -> None:
    os.setsid()  # so that whatever it forks can be ended with it
    try:
        measure(*args, tell=pipe.send, folder=folder)
    except Unfit as error:
        pipe.send(error)
    else:
        pipe.send(None)


def _end(process: BaseProcess) -> None:
    """End a process that never would, with all that it has forked."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):  # it has not come to make its group
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


class Shared:
    """Memory that a process shares with the workers that it forks: a counter, the signal to go on, a few results."""

    def __init__(self, workers: int) -> None:
        numbers = memoryview(mmap.mmap(-1, 2 * mmap.PAGESIZE))
        self.box = numbers[:8].cast("q")
        # Away from the counter, which is written all the time.
        self.running = numbers[128:136].cast("q")
        self._ready = numbers[256 : 256 + workers]
        self._results = numbers[mmap.PAGESIZE :].cast("d")

    def meet(self, number: int) -> None:
        """In a worker: wait for the start."""
        self._ready[number] = 1
        while not self.running[0]:
            time.sleep(0.001)

    def play(self, seconds: float) -> float:
        """In the parent: start the workers when all are there, tell them to end, and return when they began."""
        while not all(self._ready):
            time.sleep(0.001)
        self.running[0] = 1
        began = time.perf_counter()
        time.sleep(seconds)
        self.running[0] = 0
        return began

    def put(self, number: int, result: Sequence[float]) -> None:
        """In a worker: up to four numbers."""
        for place, value in enumerate(result):
            self._results[4 * number + place] = value

    def get(self, number: int) -> Sequence[float]:
        """In the parent: what that worker has put, and zeros."""
        return self._results[4 * number : 4 * number + 4].tolist()


class Workers:
    """Forked children that share the parent's memory maps and locks, and are ended with the block."""

    def __init__(self) -> None:
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def fork(self, work: Callable[[], object]) -> int:
        """Run ``work`` in a child, which ends when it returns; its process id."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        self._pids.append(pid)
        return pid

    def join(self) -> None:
        """Wait until all have ended. Raises Unfit if one of them has failed."""
        codes = [os.waitstatus_to_exitcode(os.waitpid(self._pids.pop(), 0)[1]) for _ in range(len(self._pids))]
        if any(codes):
            raise Unfit(f"{sum(map(bool, codes))} processes have failed")
