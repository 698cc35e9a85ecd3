"""Watching a lock without taking it: an event that is set when a mode can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, SupportsFloat

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


class Watch:
    """Set on entry if the mode can be had, and again whenever it becomes so; only its user clears it. Advice only.

    Made by ``lock.watch(mode)``; a context manager, sync and async, that watches until its block is left. Nobody takes
    part in the queue by watching, and a watch that is set costs the lock nothing. For any number of threads and tasks.
    """

    __slots__ = ("_assumed", "_core", "_could", "_mode", "_set", "_sleepers", "_watching")

    nap: ClassVar[float | None] = None
    """Seconds after which whoever waits looks again; None if he is always told."""

    def __init__(self, core: LockCore, mode: Mode) -> None:
        self._core = core
        self._mode = mode
        self._set = False
        self._assumed = self._could = False
        self._watching = False
        self._sleepers: set[Waiter] = set()

    def is_set(self) -> bool:
        """Whether the mode could be had at some time since the last `clear`."""
        if not self._set and self._watching:
            self._look()
        return self._set

    def clear(self) -> None:
        """Watch for the next time that the mode can be had again after it could not."""
        self._set = False
        if self._watching:
            self._begin(could=True)

    def wait(self, timeout: SupportsFloat | None = None) -> bool:
        """Block the thread until set, for at most ``timeout`` seconds (None: for ever); returns whether it is set.

        Raises GuardStateError if nobody watches: the block was not entered, or is left meanwhile.
        """
        clock = self._core.now
        seconds = in_seconds(timeout)
        deadline = None if seconds is None else clock() + seconds
        waiter = self._core.blocking().new_sync_waiter(_nothing)
        self._sleepers.add(waiter)
        try:
            while not self.is_set():
                self._check_watching()
                left = None if deadline is None else deadline - clock()
                if left is not None and left <= 0:
                    break
                waiter.park(left if self.nap is None else min(left or self.nap, self.nap))
        finally:
            self._sleepers.discard(waiter)
        return self._set

    def __await__(self) -> Generator[object, None, None]:
        """Suspend the task until set. Raises GuardStateError if nobody watches, as `wait`."""
        return self._wait_async().__await__()

    async def _wait_async(self) -> None:
        backend = self._core.suspending()
        polite = self._core.polite(backend)
        if polite:
            await backend.check_cancelled()
        waiter = backend.new_async_waiter(_nothing)
        self._sleepers.add(waiter)
        try:
            while not self.is_set():
                self._check_watching()
                await waiter.park(self.nap)
                polite = False
        finally:
            self._sleepers.discard(waiter)
        if polite:
            await backend.yield_once()

    def _check_watching(self) -> None:
        if not self._watching:
            raise GuardStateError("nobody watches the lock here any more, or yet; wait inside 'with lock.watch(mode)'")

    def __enter__(self) -> Self:
        if self._watching:
            raise GuardStateError("this watch is entered already; make another with lock.watch(mode)")
        self._watching = True
        self._begin(could=False)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watching = False
        self._end()
        self.ring()

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

    def start(self) -> bool:
        """Begin with what is assumed; False once the block has been left."""
        self._could = self._assumed
        return self._watching

    def notice(self) -> bool:
        """Compare with the last look; True if the mode can be had now and could not before."""
        could, self._could = self._could, self._core.monitor.engine.admits(self._mode)
        became = self._could and not could
        if became:
            self._set = True
        return became

    def ring(self) -> None:
        """Wake those who wait; after the mutex has been left."""
        for waiter in self._sleepers.copy():
            if not waiter.wake():
                self._sleepers.discard(waiter)

    # -- how it comes to know ---------------------------------------------------------------------------------------

    def _begin(self, *, could: bool) -> None:
        self._assumed = could
        self._core.monitor.watch(self)

    def _end(self) -> None:
        self._core.monitor.unwatch(self)

    def _look(self) -> None:
        self._core.monitor.catch_up()


def _nothing() -> None:
    """A wake-up that gets lost with its loop is nobody else's business here."""
