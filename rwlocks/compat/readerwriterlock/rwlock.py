"""Locks whose handles behave as `threading.Lock` does. See `rwlocks.compat.readerwriterlock`.

A handle is a view of its own (`rwlocks._views`): its holds have no owner, and it gives back only what was acquired
through it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, final, runtime_checkable

from rwlocks import Mode, NotHeldError, RWLock
from rwlocks._views import View

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
    """One side of a lock, for whoever has this object."""

    _mode: ClassVar[Mode]

    def __init__(self, lock: RWLock) -> None:
        self._lock = lock
        self._view = View(lock, lock._core, self._mode)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._view.acquire(blocking, timeout)

    def release(self) -> None:
        try:
            self._view.release()
        except NotHeldError:
            raise NotHeldError(RELEASE_ERR_MSG) from None

    def locked(self) -> bool:
        return self._view._is_owned()

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
        return self._view._is_owned()  # `threading.Condition` asks its lock so.

    def _at_fork_reinit(self) -> None:
        self._view._at_fork_reinit()  # And so the standard library, in a forked child.

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} {self._mode.value} handle object of {self._lock!r} at {id(self):#x}>"


@final
class _Reader(_Handle):
    _mode = Mode.READ


class _Writer(_Handle):
    _mode = Mode.WRITE


@final
class _WriterD(_Writer):
    def downgrade(self) -> _Reader:
        reader = _Reader(self._lock)
        pass_on_as_reader(self._view, reader._view)
        return reader


def pass_on_as_reader(writer: View, reader: View) -> None:
    """Downgrade the hold of one view, which becomes the other's. Raises NotHeldError if there is none."""
    for hold in writer._holds:
        writer._core.monitor.downgrade(hold)
        # In this order, so that an interruption in between leaves it in reach of both; only one can release it.
        reader._holds.append(hold)
        writer._holds.remove(hold)
        return
    raise NotHeldError(RELEASE_ERR_MSG)


class _Lock:
    """What the six classes have in common."""

    _policy: ClassVar[PolicyName]

    def __init__(
        self,
        lock_factory: Callable[[], object] = threading.Lock,
        time_source: Callable[[], float] = time.perf_counter,
        *,
        policy: PolicyName | Policy | None = None,
    ) -> None:
        self._lock = RWLock(self._policy if policy is None else policy)

    @property
    def native(self) -> RWLock:
        """The lock underneath, for all that this one cannot do."""
        return self._lock

    def gen_rlock(self) -> _Reader:
        """A new handle to read."""
        return _Reader(self._lock)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._lock!r}>"


class _Plain(_Lock):
    def gen_wlock(self) -> _Writer:
        """A new handle to write."""
        return _Writer(self._lock)


class _Downgradable(_Lock):
    def gen_wlock(self) -> _WriterD:
        """A new handle to write and then, perhaps, to go on as a reader."""
        return _WriterD(self._lock)


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
