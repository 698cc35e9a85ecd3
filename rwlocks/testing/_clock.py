"""A clock that only moves when it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rwlocks._lock import RWLock

__all__ = ["ManualClock"]


class ManualClock:
    """Time for locks under test: patience, ages and the timeouts of threads follow it once it `drives` a lock.

    Tasks go on to measure their timeouts by the clock of their own loop; trio has a `trio.testing.MockClock` for that.

        clock = ManualClock()
        clock.drives(lock)
        clock.advance(0.001)        # from now on the waiters of one millisecond ago are spent
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._locks: list[RWLock] = []

    def __call__(self) -> float:
        """The time, in seconds."""
        return self._now

    def drives(self, lock: RWLock) -> None:
        """Make the lock read this clock. Do it before anybody waits: times of two clocks do not compare."""
        lock._core.monitor.clock = self
        self._locks.append(lock)

    def advance(self, seconds: float) -> None:
        """Move on, and let all who wait look at the time again. Raises ValueError when asked to go back."""
        if seconds < 0:
            raise ValueError(f"cannot move by {seconds!r} s: the time of a lock never goes back")
        self._now += seconds
        for lock in self._locks:
            lock._core.monitor.rouse()
