"""trio, and those asyncio programs that prefer it, by way of anyio: one `anyio.Event` per sleep.

Only the event is anyio's: its locks and semaphores have queues of their own, and lost wake-ups before 4.14. A wake-up
from another thread goes through the native loop, because anyio's own way across threads blocks its caller.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import anyio
import anyio.lowlevel

from rwlocks.backends._delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BACKEND"]


class _NativeLoop(Protocol):
    """What anyio does not offer: to look at the loop beneath it, from any thread."""

    def here(self) -> Any:
        """The loop that runs on this thread, or None."""
        ...

    def current_task(self) -> object | None: ...

    def task_name(self, task: object) -> str | None: ...

    def has_ended(self, task: object) -> bool: ...

    def soon(self, loop: Any, callback: Callable[[], None]) -> None:
        """Run the callback in that loop; callable from any thread. Raises RuntimeError if the loop has ended."""
        ...

    def behind_the_task(self, loop: Any, callback: Callable[[], None]) -> None: ...

    def ended(self, loop: Any) -> bool: ...

    def watch(self, fd: int, ready: Callable[[], None]) -> Callable[[], None]: ...

    async def wait(self, loop: Any, bell: anyio.Event, timeout: float) -> None:
        """Wait for the bell, for at most that many seconds."""


@final
class _Trio:
    def here(self) -> Any:
        from trio import lowlevel

        return lowlevel.current_trio_token() if lowlevel.in_trio_run() else None

    def current_task(self) -> object | None:
        from trio import lowlevel

        return lowlevel.current_task() if lowlevel.in_trio_task() else None

    def task_name(self, task: object) -> str | None:
        from trio.lowlevel import Task

        return task.name if isinstance(task, Task) else None

    def has_ended(self, task: object) -> bool:
        from trio.lowlevel import Task

        return isinstance(task, Task) and task.coro.cr_frame is None

    def soon(self, loop: Any, callback: Callable[[], None]) -> None:
        loop.run_sync_soon(callback)

    def behind_the_task(self, loop: Any, callback: Callable[[], None]) -> None:
        callback()  # A trio run never ends before its tasks, so that nothing is lost once it has rung.

    def ended(self, loop: Any) -> bool:
        return False  # Its tasks have ended before it.

    def watch(self, fd: int, ready: Callable[[], None]) -> Callable[[], None]:
        from trio import ClosedResourceError, lowlevel

        stopped = False

        async def look() -> None:
            try:
                while not stopped:  # Stopped before it began, the descriptor may be somebody else's by now.
                    await lowlevel.wait_readable(fd)
                    if not stopped:  # It may have been between the news and this step.
                        ready()
            except ClosedResourceError:
                pass

        def stop() -> None:
            nonlocal stopped
            stopped = True
            lowlevel.notify_closing(fd)

        lowlevel.spawn_system_task(look)
        return stop

    async def wait(self, loop: Any, bell: anyio.Event, timeout: float) -> None:
        with anyio.move_on_after(timeout):
            await bell.wait()


@final
class _Asyncio:
    def here(self) -> Any:
        import asyncio

        return asyncio._get_running_loop()

    def current_task(self) -> object | None:
        import asyncio

        loop = asyncio._get_running_loop()
        return None if loop is None else asyncio.current_task(loop)

    def task_name(self, task: object) -> str | None:
        import asyncio

        return task.get_name() if isinstance(task, asyncio.Task) else None

    def has_ended(self, task: object) -> bool:
        import asyncio

        return isinstance(task, asyncio.Task) and task.done()

    def soon(self, loop: Any, callback: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(callback)

    def behind_the_task(self, loop: Any, callback: Callable[[], None]) -> None:
        loop.call_soon(callback)

    def ended(self, loop: Any) -> bool:
        return bool(loop.is_closed())

    def watch(self, fd: int, ready: Callable[[], None]) -> Callable[[], None]:
        loop = self.here()
        loop.add_reader(fd, ready)

        def stop() -> None:
            if not loop.is_closed():
                loop.remove_reader(fd)

        return stop

    async def wait(self, loop: Any, bell: anyio.Event, timeout: float) -> None:
        # No cancel scope: it could not be left when the parked coroutine is destroyed from outside of its task.
        timer = loop.call_later(timeout, bell.set)
        try:
            await bell.wait()
        finally:
            timer.cancel()


# trio first: its guest mode runs inside another loop's callbacks.
_NATIVE: Final[dict[str, _NativeLoop]] = {"trio": _Trio(), "asyncio": _Asyncio()}


def _natives() -> list[_NativeLoop]:
    return [native for module, native in _NATIVE.items() if sys.modules.get(module) is not None]


@final
class EventWaiter:
    """Sets its bell, the event of a `park` under way, or lets the next one return at once."""

    __slots__ = ("_bell", "_loop", "_native", "_rung", "_undelivered")

    def __init__(self, native: _NativeLoop, undelivered: Callable[[], None]) -> None:
        self._native = native
        self._loop = native.here()
        self._bell: anyio.Event | None = None
        self._rung = False
        self._undelivered = undelivered

    def lost(self) -> bool:
        return self._native.ended(self._loop)

    def wake(self) -> bool:
        delivery = Delivery(self)
        try:
            if self._native.here() is self._loop and self._native.current_task() is not None:
                delivery()
            else:  # From elsewhere, or out of a signal handler while the loop sleeps.
                self._native.soon(self._loop, delivery)
        except RuntimeError:  # The loop has ended. The caller learns it now and need not be told again.
            delivery.arrive()
            return False
        return True

    def receive(self, delivery: Delivery) -> None:
        self._ring()
        self._native.behind_the_task(self._loop, delivery.arrive)

    def undelivered(self) -> None:
        self._undelivered()

    def _ring(self) -> None:
        self._rung = True
        if self._bell is not None:
            self._bell.set()

    async def park(self, timeout: float | None) -> None:
        if self._rung:
            await anyio.lowlevel.checkpoint()
        else:
            self._bell = anyio.Event()
            try:
                if timeout is None:
                    await self._bell.wait()
                else:
                    await self._native.wait(self._loop, self._bell, timeout)
            finally:
                self._bell = None
        self._rung = False


@final
class AnyioBackend:
    """trio and asyncio under anyio's rules: every acquisition is a checkpoint."""

    __slots__ = ()
    name = "anyio"
    patience = 0.0  # On one loop a hand-off costs nothing, and barging starves.
    checkpoints = True

    def running(self) -> bool:
        return self.current_task() is not None

    def current_task(self) -> object | None:
        for native in _natives():
            task = native.current_task()
            if task is not None:
                return task
        return None

    def loop_runs_here(self) -> bool:
        return any(native.here() is not None for native in _natives())

    def has_ended(self, task: object) -> bool:
        return any(native.has_ended(task) for native in _natives())

    def task_name(self, task: object) -> str | None:
        names = (native.task_name(task) for native in _natives())
        return next((name for name in names if name is not None), None)

    def clock(self) -> float:
        return anyio.current_time()

    def new_async_waiter(self, undelivered: Callable[[], None]) -> EventWaiter:
        return EventWaiter(self._native_loop(), undelivered)

    def loop(self) -> object:
        return self._native_loop().here()

    def watch(self, fd: int, ready: Callable[[], None]) -> Callable[[], None]:
        return self._native_loop().watch(fd, ready)

    def thread_marks(self) -> tuple[tuple[object, str], ...]:
        # asyncio's own backend speaks for asyncio.
        context: object = getattr(getattr(sys.modules.get("trio._core"), "_run", None), "GLOBAL_RUN_CONTEXT", None)
        return () if context is None else ((context, "runner"),)

    def _native_loop(self) -> _NativeLoop:
        return next(native for native in _natives() if native.current_task() is not None)

    async def check_cancelled(self) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()

    async def yield_once(self) -> None:
        await anyio.lowlevel.cancel_shielded_checkpoint()


BACKEND: Final = AnyioBackend()
