"""The names of prwlock 0.4.1, on `ProcessRWLock`: ``from rwlocks.compat import prwlock`` instead of ``import prwlock``.

    ==========================================  ======================================================================
    name                                        quirk that is kept
    ==========================================  ======================================================================
    ``RWLock()``                                no name: for this process, and for those that it is passed to
    ``policy=``, ``native``                     new: another policy than reader preference; the lock underneath
    ``acquire_read(timeout=None)``,             True, or False when the time was not enough
    ``acquire_write(timeout=None)``
    ``try_acquire_read()``,                     bool, at once
    ``try_acquire_write()``
    ``release()``                               the same call for both sides; ValueError if there is nothing to release
    ``reader_lock(timeout=None)``,              for ``with``, which gives None; ValueError when the time was not enough
    ``writer_lock(timeout=None)``
    ``nlocks``, ``pid``                         holds that were taken through this object; the process that made it
    OSError (EDEADLK)                           an acquisition without timeout that would wait for its own thread
    ``GenericLockContextManager``               ``lock``, ``method``, ``timeout``, ``locked``
    ``set_pthread_process_shared(n)``,          nothing is made of POSIX locks here; with another number than 0 or 1 no
    ``get_pthread_process_shared()``            lock can be made (OSError), as there
    pickle                                      gives a copy of the lock that counts its own holds, from zero
    ==========================================  ======================================================================

Of its defects are gone:

    ===  ==============================================================================================================
    P1   a timed acquisition succeeds when it has the lock; a negative timeout tries once
    P2   a read inside the own write says that it cannot be had
    P3   releasing too often is refused, and corrupts nothing
    P4   timeouts are those of the monotonic clock, and as long as they say
    P5   copies have every method
    P6   locks reach spawned processes, those of a fork server, and workers that are older than the lock
    P7   a worker may do any number of jobs with a lock
    P8   copies close nothing but their own
    P9   nothing that becomes of a copy, or of a child, frees the hold of another
    P10  a child, or a thread that does not write, cannot release the write of another
    P11  the death of a holder lets the next in line in
    P12  writers starve under readers without end only as long as nobody asks for another policy: ``policy="fifo"``
    P13  waiting answers signals, and if a handler raises nothing is held
    P14  no lock is another one, whatever the process
    P15  nothing here depends on sizes of C structures, on the numbers of descriptors, or on 32-bit clocks
    P16  ``native.locked()`` tells the state; a context manager can be entered again; `release` knows its mode
    ===  ==============================================================================================================

`release` gives back the last of the caller's own holds. Any thread may give back a read of another one, or what a
thread that has ended has left, as before. An acquisition with a timeout that waits for its own thread waits in vain,
and for as long as it was told to. An object that is dropped while it holds gives back what it has itself, as before,
and as a file does: with a ResourceWarning.
"""

from __future__ import annotations

import errno
import math
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from rwlocks import DeadlockError, Mode, ProcessRWLock
from rwlocks._acquire import in_seconds
from rwlocks._fork import last as _forks
from rwlocks._owners import current
from rwlocks.compat._anybody import acquire

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rwlocks import Policy, ReadGuard, WriteGuard
    from rwlocks._types import PolicyName

__all__ = ["RWLock", "get_pthread_process_shared", "set_pthread_process_shared"]

__version__ = "0.4.1"

# The original had no bounds of its own. A lock with these takes 0.6 MB of address space, used as far as it is needed.
MAX_PROCESSES: Final = 1024
MAX_HOLDS: Final = 4096


@final
class _Hold:
    """One acquisition, and who made it."""

    __slots__ = ("generation", "guard", "thread")

    def __init__(self, guard: ReadGuard | WriteGuard) -> None:
        self.guard = guard
        self.thread = current.thread
        self.generation = _forks.generation

    def is_here(self) -> bool:
        """Whether it is one of this process, and not of the one that this was forked from."""
        return self.generation == _forks.generation and self.guard.held


class RWLock:
    """A reader-writer lock for this process and all that it is passed to. For what is kept, see this module.

    Args:
        policy: who gets the lock when; as for `rwlocks.ProcessRWLock`.

    Raises OSError where `set_pthread_process_shared` was given an impossible number, and what `ProcessRWLock` raises.
    """

    def __init__(self, *, policy: PolicyName | Policy = "reader-pref") -> None:
        if _constant.value not in {0, 1}:
            raise OSError(errno.EINVAL, f"{_constant.value!r} is no value of PTHREAD_PROCESS_SHARED; give 1")
        self._begin(ProcessRWLock(None, policy, max_processes=MAX_PROCESSES, max_holds=MAX_HOLDS))

    def _begin(self, native: ProcessRWLock) -> None:
        self._native = native
        self._holds: list[_Hold] = []
        self.pid: int = os.getpid()

    @property
    def native(self) -> ProcessRWLock:
        """The lock underneath, for all that this one cannot do."""
        return self._native

    @property
    def nlocks(self) -> int:
        """How many holds this object has now, in this process. A forked child has none of its parent's."""
        return len(self._live())

    # -- acquiring -----------------------------------------------------------------------------------------------

    def acquire_read(self, timeout: float | None = None) -> bool:
        """Wait until the caller may read; whether that came true in time.

        ``timeout`` is in seconds of the monotonic clock; None waits for ever, zero and less try once. Raises OSError
        (EDEADLK) if the caller would wait for itself for ever, ValueError for NaN.
        """
        return self._acquire(self._native.read(), _seconds(timeout))

    def acquire_write(self, timeout: float | None = None) -> bool:
        """Wait until the caller may write; as `acquire_read`."""
        return self._acquire(self._native.write(), _seconds(timeout))

    def try_acquire_read(self) -> bool:
        """Read if that is possible at once."""
        return self._acquire(self._native.read(), 0)

    def try_acquire_write(self) -> bool:
        """Write if that is possible at once."""
        return self._acquire(self._native.write(), 0)

    def _acquire(self, guard: ReadGuard | WriteGuard, timeout: float | None) -> bool:
        hold = _Hold(guard)
        try:
            acquired = _in_time(guard, timeout)
            if acquired:
                self._holds.append(hold)
        except BaseException:
            # Interrupted at whatever point: as if it had never been asked for.
            if hold in self._holds:
                self._holds.remove(hold)
            if guard.held:
                guard.release()
            raise
        return acquired

    # -- releasing -----------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Give back the caller's last hold; if it has none, another thread's read, or what an ended thread has left.

        Raises ValueError if there is none of these.
        """
        hold = self._releasable()
        if hold is None:
            raise ValueError(f"{self!r} has nothing that this thread could release; release each acquisition once")
        hold.guard.release()
        self._holds.remove(hold)

    def _releasable(self) -> _Hold | None:
        others: _Hold | None = None
        for hold in reversed(self._holds):
            if hold.is_here():
                if hold.thread is current.thread:
                    return hold
                if others is None and (hold.guard.mode is Mode.READ or hold.thread.ended()):
                    others = hold
        return others

    def _live(self) -> list[_Hold]:
        return [hold for hold in self._holds if hold.is_here()]

    # -- blocks --------------------------------------------------------------------------------------------------

    def reader_lock(self, timeout: float | None = None) -> GenericLockContextManager:
        """``with lock.reader_lock():`` reads. Entering it raises ValueError when the time was not enough."""
        return GenericLockContextManager(self, "read", timeout)

    def writer_lock(self, timeout: float | None = None) -> GenericLockContextManager:
        """``with lock.writer_lock():`` writes. Entering it raises ValueError when the time was not enough."""
        return GenericLockContextManager(self, "write", timeout)

    # -- copies --------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"native": self._native}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin(state["native"])

    def __del__(
        self, finalizing: Callable[[], bool] = sys.is_finalizing, warn: Callable[..., None] = warnings.warn
    ) -> None:
        # Defaults outlive the interpreter's modules. There may be no holds yet if this could not be made.
        if finalizing() or not vars(self).get("_holds"):
            return
        live = self._live()
        for hold in live:
            hold.guard.release()
        if live:
            warn(f"{self!r} was dropped while it held {len(live)} times", ResourceWarning, source=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._native!r}>"


def _seconds(timeout: float | None) -> float | None:
    """As `in_seconds`, which takes its time to find out whether something is a number."""
    if timeout is None or (type(timeout) in {int, float} and abs(timeout) < math.inf):
        return timeout
    return in_seconds(timeout)


def _in_time(guard: ReadGuard | WriteGuard, timeout: float | None) -> bool:
    if timeout is not None:
        return guard.try_acquire() or (timeout > 0 and acquire(guard, timeout))
    try:
        guard.acquire()
    except DeadlockError as error:
        raise OSError(errno.EDEADLK, str(error)) from error
    return True


class _Lockable(Protocol):
    """What a `GenericLockContextManager` needs of a lock."""

    def acquire_read(self, timeout: float | None = None) -> bool: ...

    def acquire_write(self, timeout: float | None = None) -> bool: ...

    def release(self) -> None: ...


class GenericLockContextManager:
    """One side of a lock for ``with``; can be entered again, also inside of itself. ``method``: "read" or "write"."""

    def __init__(self, lock: _Lockable, method: str, timeout: float | None = None) -> None:
        if method not in {"read", "write"}:
            raise ValueError(f"unknown method {method!r}; the known ones are 'read' and 'write'")
        self.lock = lock
        self.method = method
        self.timeout = timeout
        self._entered: list[int] = []

    @property
    def locked(self) -> bool:
        """Whether it was entered and not left."""
        return bool(self._entered)

    def __enter__(self) -> None:
        acquire = self.lock.acquire_read if self.method == "read" else self.lock.acquire_write
        if not acquire(self.timeout):
            raise ValueError(f"{self.lock!r} could not be had to {self.method} within {self.timeout} s")
        self._entered.append(os.getpid())

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # In a forked child the hold is the parent's, and so is leaving the block.
        if self._entered.pop() == os.getpid():
            self.lock.release()


class _Constant:
    """What the C library calls PTHREAD_PROCESS_SHARED."""

    value = 1


_constant: Final = _Constant()


def set_pthread_process_shared(n_process: int) -> None:
    """Set a constant that the original needed on some platforms. Anything but 0 and 1 keeps locks from being made."""
    _constant.value = n_process


def get_pthread_process_shared() -> int:
    """The constant as it was set, 1 at first."""
    return _constant.value
