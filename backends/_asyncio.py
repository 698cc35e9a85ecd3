"""asyncio: a waiter is itself what its task awaits, and is woken from any thread.

A task asks little of what it awaits: not an `asyncio.Future`, but what `asyncio.isfuture` looks for, and the methods
below. So there is no future for each sleep, and what wakes the task knows whether it got there: see `Arrival`.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, CancelledError, current_task, get_running_loop
from typing import TYPE_CHECKING, Any, Final

from rwlocks.backends._delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from contextvars import Context
    from typing import Self

__all__ = ["BACKEND"]

_running_loop: Final = asyncio._get_running_loop  # documented, and the one that does not raise


class Arrival(Delivery):
    """What a task is woken with, as if it were the future: it is on its way until the task asks for its result."""

    __slots__ = ()

    def result(self) -> None:
        self.arrive()
        waiter: Any = self._recipient
        waiter.result()


class FutureWaiter:
    """Awaited, it suspends the task until it rings. If it rang before that, it does not suspend.

    Only `wake` and `lost` are for other threads than the loop's.
    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_loop", "_rung", "_undelivered", "_wakeup")

    def __init__(self, loop: AbstractEventLoop, undelivered: Callable[[], None]) -> None:
        self._loop = loop
        self._undelivered = undelivered
        self._rung = False
        self._asyncio_future_blocking = False
        """Part of the protocol: set as this is handed to the task, and cleared by the task to say that it waits."""
        self._wakeup: Callable[[Arrival], object] | None = None
        """Of the task, from when it is suspended until it is about to run."""
        self._context: Context | None = None
        self._cancelled: tuple[object, ...] | None = None
        """What the cancellation says; not the exception, whose traceback would know this in turn."""

    # -- for the lock -----------------------------------------------------------------------------------------------

    def lost(self) -> bool:
        return self._loop.is_closed()

    def wake(self) -> bool:
        if _running_loop() is self._loop and current_task(self._loop) is not None:
            self._ring()
            return True
        # From elsewhere, or out of a signal handler while the loop sleeps, which only a call from elsewhere ends.
        delivery = Delivery(self)
        try:
            self._loop.call_soon_threadsafe(delivery)
        except RuntimeError:  # The loop is closed. The caller learns it now and need not be told again.
            delivery.arrive()
            return False
        return True

    def park(self, timeout: float | None) -> Awaitable[None]:
        return self if timeout is None else self._ring_after(timeout)

    async def _ring_after(self, timeout: float) -> None:
        timer = self._loop.call_later(timeout, self._ring)
        try:
            await self
        finally:
            timer.cancel()

    # -- for what is under way ----------------------------------------------------------------------------------------

    def receive(self, delivery: Delivery) -> None:
        self._ring()
        delivery.arrive()

    def undelivered(self) -> None:
        self._undelivered()

    def _ring(self) -> None:
        wakeup = self._wakeup
        if wakeup is None:  # It is awake or about to be; then there is an arrival under way.
            self._rung = True
        else:
            self._wakeup = None
            self._loop.call_soon(wakeup, Arrival(self), context=self._context)

    # -- for the task -----------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, None]:
        self._asyncio_future_blocking = not self._rung
        self._rung = False
        return self  # type: ignore[return-value] # pyright: ignore[reportReturnType]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Self:
        if self._asyncio_future_blocking:
            return self
        raise StopIteration

    def get_loop(self) -> AbstractEventLoop:
        return self._loop

    def add_done_callback(self, wakeup: Callable[[Arrival], object], *, context: Context | None = None) -> None:
        self._wakeup = wakeup
        self._context = context

    def cancel(self, msg: object = None) -> bool:
        if self._wakeup is None:
            return False
        self._cancelled = () if msg is None else (msg,)
        self._ring()
        return True

    def result(self) -> None:
        if self._cancelled is not None:
            raise CancelledError(*self._cancelled)


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
