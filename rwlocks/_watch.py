"""Watching a lock without taking it: an event that is set when a mode can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsFloat, final

from rwlocks import _runtimes
from rwlocks._acquire import in_seconds
from rwlocks._errors import GuardStateError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType
    from typing import Self

    from rwlocks._core import LockCore
    from rwlocks._ports import Waiter
    from rwlocks._types import Mode

__all__ = ["Watch"]


@final
class Watch:
    """Set on entry if the mode can be had, and again whenever it becomes so; only its user clears it. Advice only.

    Made by `RWLock.watch`; a context manager, sync and async, that watches until its block is left. Nobody takes part
    in the queue by watching, and a watch that is set costs the lock nothing. For any number of threads and tasks.
    """

    __slots__ = ("_core", "_could", "_mode", "_set", "_sleepers", "_watching")

    def __init__(self, core: LockCore, mode: Mode) -> None:
        self._core = core
        self._mode = mode
        self._set = False
        self._could = False
        self._watching = False
        self._sleepers: set[Waiter] = set()

    def is_set(self) -> bool:
        """Whether the mode could be had at some time since the last `clear`."""
        return self._set

    def clear(self) -> None:
        """Watch for the next time that the mode can be had again after it could not."""
        self._set = False
        if self._watching:
            self._look_out(could=True)

    def wait(self, timeout: SupportsFloat | None = None) -> bool:
        """Block the thread until set, for at most ``timeout`` seconds (None: for ever); returns whether it is set."""
        clock = self._core.monitor.clock
        seconds = in_seconds(timeout)
        deadline = None if seconds is None else clock() + seconds
        waiter = _runtimes.blocking().new_sync_waiter(_nothing)
        self._sleepers.add(waiter)
        try:
            while not self._set:
                left = None if deadline is None else deadline - clock()
                if left is not None and left <= 0:
                    break
                waiter.park(left)
        finally:
            self._sleepers.discard(waiter)
        return self._set

    def __await__(self) -> Generator[object, None, None]:
        """Suspend the task until set."""
        return self._wait_async().__await__()

    async def _wait_async(self) -> None:
        backend = self._core.suspending()
        waiter = backend.new_async_waiter(_nothing)
        self._sleepers.add(waiter)
        try:
            while not self._set:
                await waiter.park(None)
        finally:
            self._sleepers.discard(waiter)

    def __enter__(self) -> Self:
        if self._watching:
            raise GuardStateError("this watch is entered already; make another with lock.watch(mode)")
        self._watching = True
        self._look_out(could=False)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watching = False
        self._core.monitor.unwatch(self)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc_value, traceback)

    # -- what the monitor asks, under its mutex -------------------------------------------------------------------

    def notice(self) -> bool:
        """Compare with the last look; True if the mode can be had now and could not before."""
        could, self._could = self._could, self._core.monitor.engine.admits(self._mode)
        self._set = self._set or (self._could and not could)
        return self._could and not could

    def ring(self) -> None:
        """Wake those who wait; after the mutex has been left."""
        for waiter in tuple(self._sleepers):
            waiter.wake()

    def _look_out(self, *, could: bool) -> None:
        self._could = could
        self._core.monitor.watch(self)


def _nothing() -> None:
    """A wake-up that gets lost with its loop is nobody else's business here."""
