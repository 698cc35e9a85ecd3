"""What locks and handles have in common, for threads and for coroutines. See `rwlocks.compat.readerwriterlock`."""

from __future__ import annotations

import threading
import time
from math import isnan
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from rwlocks import Mode, NotHeldError, ReadGuard, RWLock, WriteGuard

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks import Policy
    from rwlocks._types import PolicyName

__all__ = ["Guard", "Handle", "Lock", "check_timeout"]

Guard: TypeAlias = ReadGuard | WriteGuard


def check_timeout(timeout: float) -> float:
    """Seconds, 0 or more. Raises ValueError for others."""
    if isnan(timeout) or timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return timeout


class Handle:
    """One side of a lock, for whoever has this object: a guard for each of its holds."""

    _mode: ClassVar[Mode]

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._guards: list[Guard] = []

    def locked(self) -> bool:
        """Whether this very handle holds the lock."""
        return any(guard.held for guard in self._guards)

    def _pass_on(self, reader: Handle) -> bool:
        """Downgrade the guard of this handle, which becomes another's; False if it holds nothing."""
        for guard in self._guards:
            if isinstance(guard, WriteGuard) and guard.held:
                guard.downgrade()
                # In this order, so that an interruption in between leaves it in reach of both; only one can release it.
                reader._guards.append(guard)
                self._guards.remove(guard)
                return True
        return False

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} {self._mode.value} handle object of {self._lock!r} at {id(self):#x}>"


class Lock:
    """What the six classes have in common, here and for coroutines."""

    _policy: ClassVar[PolicyName]

    def __init__(
        self,
        lock_factory: Callable[[], object] | None = threading.Lock,
        time_source: Callable[[], float] = time.perf_counter,
        *,
        policy: PolicyName | Policy | None = None,
    ) -> None:
        self._lock = RWLock(self._policy if policy is None else policy)
        # A hold outlives its handle, as with the original, and a guard must not be lost while it holds.
        self._held: dict[Guard, None] = {}

    @property
    def native(self) -> RWLock:
        """The lock underneath, for all that this one cannot do."""
        return self._lock

    def new_guard(self, mode: Mode, timeout: float | None = None) -> Guard:
        """For an acquisition; internal."""
        return self._lock.read(timeout) if mode is Mode.READ else self._lock.write(timeout)

    def keep(self, guards: list[Guard], guard: Guard) -> None:
        """It holds, for the handle of those guards; internal."""
        self._held[guard] = None
        guards.append(guard)

    def forget(self, guards: list[Guard], guard: Guard) -> None:
        """Something has interrupted an acquisition, at whatever point: give back what it may have got; internal."""
        if guard in guards:
            guards.remove(guard)
        if guard.held:
            guard.release()
        self._held.pop(guard, None)

    def release_last(self, guards: list[Guard]) -> bool:
        """Release the last guard of a handle that holds; False if there is none; internal."""
        while guards:
            try:
                # Popped and not looked at, so that two threads do not release the same one.
                guard = guards.pop()
            except IndexError:
                return False
            try:
                guard.release()
            except NotHeldError:
                continue  # It ended without its handle: forgotten, or left behind by a fork.
            finally:
                self._held.pop(guard, None)
            return True
        return False

    def __del__(self) -> None:
        # Nobody can want the lock any more.
        for guard in vars(self).pop("_held", ()):
            if guard.held:
                guard.release()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._lock!r}>"
