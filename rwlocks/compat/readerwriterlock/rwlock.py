"""Locks whose handles behave as `threading.Lock` does. See `rwlocks.compat.readerwriterlock`."""

from __future__ import annotations

import threading
import time
from _thread import TIMEOUT_MAX
from math import isnan
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, TypeAlias, final, runtime_checkable

from rwlocks import Mode, NotHeldError, ReadGuard, RWLock, WriteGuard
from rwlocks.compat._anybody import acquire

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rwlocks import Policy
    from rwlocks._types import PolicyName

__all__ = [
    "RELEASE_ERR_CLS",
    "RELEASE_ERR_MSG",
    "Lockable",
    "LockableD",
    "RWLockFair",
    "RWLockFairD",
    "RWLockRead",
    "RWLockReadD",
    "RWLockWrite",
    "RWLockWriteD",
    "RWLockable",
    "RWLockableD",
]

Guard: TypeAlias = ReadGuard | WriteGuard

RELEASE_ERR_CLS: Final = RuntimeError
"""What releasing a free handle raises: a `NotHeldError`, which is one."""

RELEASE_ERR_MSG: Final = "release unlocked lock"
"""Its text, which is that of `threading.Lock`."""


@runtime_checkable
class Lockable(Protocol):
    """A handle."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire, blocking the thread; whether that succeeded. ``timeout`` is in seconds, -1 waits for ever.

        Raises ValueError for a timeout without blocking, for other negative ones and for NaN, OverflowError for
        more than `threading.TIMEOUT_MAX`.
        """
        ...

    def release(self) -> None:
        """Give back one acquisition of this handle, from any thread. Raises `RELEASE_ERR_CLS` if it has none."""
        ...

    def locked(self) -> bool:
        """Whether this very handle holds the lock."""
        ...

    def __enter__(self) -> bool: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None: ...


@runtime_checkable
class LockableD(Lockable, Protocol):
    """A writer's handle of a ``D`` class."""

    def downgrade(self) -> Lockable:
        """Go on as a reader, with no writer in between: the reader's handle. This one is free from then on.

        Never waits. Raises `RELEASE_ERR_CLS` if this handle holds nothing.
        """
        ...


@runtime_checkable
class RWLockable(Protocol):
    """A lock."""

    def gen_rlock(self) -> Lockable:
        """A new handle to read."""
        ...

    def gen_wlock(self) -> Lockable:
        """A new handle to write."""
        ...


@runtime_checkable
class RWLockableD(Protocol):
    """A lock whose writers can go on as readers."""

    def gen_rlock(self) -> Lockable:
        """A new handle to read."""
        ...

    def gen_wlock(self) -> LockableD:
        """A new handle to write."""
        ...


class _Handle:
    """One side of a lock, for whoever has this object: a guard for each of its holds."""

    _mode: ClassVar[Mode]

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._guards: list[Guard] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if timeout == -1:
            return self._acquire(None) if blocking else self._acquire(0)
        if not blocking:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout > TIMEOUT_MAX:
            raise OverflowError("timeout value is too large")
        return self._acquire(check_timeout(timeout))

    def _acquire(self, timeout: float | None) -> bool:
        guard = self._lock.new_guard(self._mode)
        try:
            acquired = guard.try_acquire() if timeout == 0 else acquire(guard, timeout)
            if acquired:
                self._lock.keep(self._guards, guard)
        except BaseException:
            self._lock.forget(self._guards, guard)
            raise
        return acquired

    def release(self) -> None:
        if not self._lock.release_last(self._guards):
            raise NotHeldError(RELEASE_ERR_MSG)

    def locked(self) -> bool:
        return any(guard.held for guard in self._guards)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None:
        self.release()
        return None

    def _is_owned(self) -> bool:
        return self.locked()  # `threading.Condition` asks its lock so.

    def _at_fork_reinit(self) -> None:
        while self._lock.release_last(self._guards):  # And so the standard library, in a forked child.
            pass

    def __repr__(self) -> str:
        return described(self, self._mode)


@final
class _Reader(_Handle):
    _mode = Mode.READ


class _Writer(_Handle):
    _mode = Mode.WRITE


@final
class _WriterD(_Writer):
    def downgrade(self) -> _Reader:
        reader = _Reader(self._lock)
        if not pass_on_as_reader(self._guards, reader._guards):
            raise NotHeldError(RELEASE_ERR_MSG)
        return reader


# -- what handles of both kinds need -----------------------------------------------------------------------------------


def check_timeout(timeout: float) -> float:
    """Seconds, 0 or more. Raises ValueError for others."""
    if isnan(timeout) or timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return timeout


def pass_on_as_reader(writer: list[Guard], reader: list[Guard]) -> bool:
    """Downgrade the guard of one handle, which becomes another's; False if it holds nothing."""
    for guard in writer:
        if isinstance(guard, WriteGuard) and guard.held:
            guard.downgrade()
            # In this order, so that an interruption in between leaves it in reach of both; only one can release it.
            reader.append(guard)
            writer.remove(guard)
            return True
    return False


class _Described(Protocol):
    _lock: Lock

    def locked(self) -> bool: ...


def described(handle: _Described, mode: Mode) -> str:
    """What a handle shows of itself, in the form of `threading.Lock`."""
    state = "locked" if handle.locked() else "unlocked"
    return f"<{state} {mode.value} handle object of {handle._lock!r} at {id(handle):#x}>"


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


class _Lock(Lock):
    def gen_rlock(self) -> _Reader:
        """A new handle to read."""
        return _Reader(self)


class _Plain(_Lock):
    def gen_wlock(self) -> _Writer:
        """A new handle to write."""
        return _Writer(self)


class _Downgradable(_Lock):
    def gen_wlock(self) -> _WriterD:
        """A new handle to write and then, perhaps, to go on as a reader."""
        return _WriterD(self)


class RWLockRead(_Plain):
    """Readers first: writers may starve."""

    _policy = "reader-pref"


class RWLockWrite(_Plain):
    """Writers first: readers may starve."""

    _policy = "writer-pref"


class RWLockFair(_Plain):
    """By arrival: nobody starves."""

    _policy = "fifo"


class RWLockReadD(_Downgradable):
    """`RWLockRead`, whose writers can go on as readers."""

    _policy = "reader-pref"


class RWLockWriteD(_Downgradable):
    """`RWLockWrite`, whose writers can go on as readers."""

    _policy = "writer-pref"


class RWLockFairD(_Downgradable):
    """`RWLockFair`, whose writers can go on as readers."""

    _policy = "fifo"
