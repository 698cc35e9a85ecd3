"""asyncio: one future per sleep, woken from any thread."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future, current_task, get_running_loop
from typing import TYPE_CHECKING, Final

from rwlocks.backends._delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["BACKEND"]

_running_loop: Final = asyncio._get_running_loop  # documented, and the one that does not raise


class FutureWaiter:
    """Rings its bell, the future of the last `park`; if that is over, the next one returns at once."""

    __slots__ = ("_bell", "_loop", "_rung", "_undelivered")

    def __init__(self, loop: AbstractEventLoop, undelivered: Callable[[], None]) -> None:
        self._loop = loop
        self._bell: Future[None] | None = None
        self._rung = False
        self._undelivered = undelivered

    def lost(self) -> bool:
        return self._loop.is_closed()

    def wake(self) -> bool:
        delivery = Delivery(self)
        try:
            if _running_loop() is self._loop:
                delivery()
            else:
                self._loop.call_soon_threadsafe(delivery)
        except RuntimeError:  # The loop is closed. The caller learns it now and need not be told again.
            delivery.arrive()
            return False
        return True

    def ring(self) -> None:
        if self._bell is None or self._bell.done():
            self._rung = True
        else:
            self._bell.set_result(None)

    def undelivered(self) -> None:
        self._undelivered()

    def behind_the_task(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def park(self, timeout: float | None) -> Awaitable[None]:
        self._bell = bell = self._loop.create_future()
        if self._rung:
            self._rung = False
            bell.set_result(None)
        return bell if timeout is None else self._ring_after(timeout, bell)

    async def _ring_after(self, timeout: float, bell: Future[None]) -> None:
        timer = self._loop.call_later(timeout, self.ring)
        try:
            await bell
        finally:
            timer.cancel()


class AsyncioBackend:
    """Every asyncio event loop, uvloop included. Any number of them may wait for one lock at the same time."""

    __slots__ = ()
    name = "asyncio"
    patience = 0.0  # On one loop a hand-off costs nothing, and barging starves.
    checkpoints = False  # As asyncio.Lock: an acquisition that need not wait does not yield.

    def running(self) -> bool:
        return self.current_task() is not None

    def loop_runs_here(self) -> bool:
        return _running_loop() is not None

    def current_task(self) -> object | None:
        loop = _running_loop()
        return None if loop is None else current_task(loop)

    def task_name(self, task: object) -> str | None:
        return task.get_name() if isinstance(task, asyncio.Task) else None

    def has_ended(self, task: object) -> bool:
        return isinstance(task, asyncio.Task) and task.done()

    def clock(self) -> float:
        return get_running_loop().time()

    def new_async_waiter(self, undelivered: Callable[[], None]) -> FutureWaiter:
        return FutureWaiter(get_running_loop(), undelivered)

    def loop(self) -> AbstractEventLoop:
        return get_running_loop()

    def watch(self, fd: int, ready: Callable[[], None]) -> Callable[[], None]:
        loop = get_running_loop()
        loop.add_reader(fd, ready)

        def stop() -> None:
            if not loop.is_closed():
                loop.remove_reader(fd)

        return stop

    async def check_cancelled(self) -> None:
        """Nothing: asyncio delivers a cancellation at the next suspension and nowhere else."""

    async def yield_once(self) -> None:
        await asyncio.sleep(0)


BACKEND: Final = AsyncioBackend()
