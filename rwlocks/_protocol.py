"""What every lock of this package offers, so that code can take any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType

    from rwlocks._guards import ReadGuard, UpgradableGuard, WriteGuard
    from rwlocks._stats import Holder, LockStatistics
    from rwlocks._types import Mode
    from rwlocks._watch import Watch

__all__ = ["LockView", "ReadWriteLock"]


class LockView(Protocol):
    """One side of a lock, with the methods of `threading.Lock`; also for ``async with``."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire; returns whether that succeeded. ``timeout`` is in seconds; -1 waits for ever."""
        ...

    def release(self) -> None:
        """Give back one acquisition of this view. Raises NotHeldError if it has none."""
        ...

    def locked(self) -> bool:
        """Whether this side of the lock is held by anybody."""
        ...

    def __enter__(self) -> bool: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def __aenter__(self) -> bool: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class ReadWriteLock(Protocol):
    """A reader-writer lock of whatever kind: annotate with this what takes any.

    See `RWLock` for what each method does. ``timeout`` is in seconds; None waits for ever, 0 tries once.
    """

    def read(self, timeout: float | None = None) -> ReadGuard:
        """A guard to share the lock with other readers."""
        ...

    def write(self, timeout: float | None = None) -> WriteGuard:
        """A guard to have the lock alone."""
        ...

    def upgradable(self, timeout: float | None = None) -> UpgradableGuard:
        """A guard to read now and perhaps write later."""
        ...

    @property
    def name(self) -> str | None:
        """The name given at creation."""
        ...

    @property
    def reader(self) -> LockView:
        """The reading side, behaving as a `threading.Lock` does."""
        ...

    @property
    def writer(self) -> LockView:
        """The writing side, behaving as a `threading.Lock` does."""
        ...

    def locked(self) -> Mode | None:
        """The strongest mode in which the lock is held, None (falsy) when it is free."""
        ...

    def statistics(self) -> LockStatistics:
        """One consistent snapshot."""
        ...

    def acquirable(self, mode: Mode) -> bool:
        """Whether the policy would let the caller in now, in that mode."""
        ...

    def watch(self, mode: Mode) -> Watch:
        """To be told when that mode can be had."""
        ...

    def forget(self, holder: Holder) -> None:
        """Drop a hold that nobody can release any more."""
        ...

    def mark_consistent(self) -> None:
        """Say that the data are fine again after a writer was cut off."""
        ...
