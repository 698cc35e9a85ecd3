"""Locks whose handles behave as `threading.Lock` does. See `rwlocks.compat.readerwriterlock`."""

from __future__ import annotations

from _thread import TIMEOUT_MAX
from typing import TYPE_CHECKING, Final, Protocol, final, runtime_checkable

from rwlocks import Mode, NotHeldError
from rwlocks.compat._anybody import acquire
from rwlocks.compat.readerwriterlock._shared import Handle, Lock, check_timeout

if TYPE_CHECKING:
    from types import TracebackType

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


class _Handle(Handle):
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


@final
class _Reader(_Handle):
    _mode = Mode.READ


class _Writer(_Handle):
    _mode = Mode.WRITE


@final
class _WriterD(_Writer):
    def downgrade(self) -> _Reader:
        reader = _Reader(self._lock)
        if not self._pass_on(reader):
            raise NotHeldError(RELEASE_ERR_MSG)
        return reader


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
