"""What can go wrong, each also the builtin exception that a user would catch.

Messages are lower case: the fact first, then the remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rwlocks._types import Mode

__all__ = [
    "AbandonedHoldWarning",
    "BackendUnavailable",
    "DeadlockError",
    "GuardStateError",
    "LockClosed",
    "LockTimeout",
    "NotHeldError",
    "SegmentError",
    "SegmentFull",
    "UpgradeConflict",
    "WriterDied",
]


class LockTimeout(TimeoutError):
    """The lock could not be had in time. The lock is as if the request had never been made.

    ``lock`` is the lock, ``mode`` the mode that was wanted, ``waited`` the time waited in seconds, and
    ``holders`` a tuple of `Holder` snapshots: who had the lock when time ran out.
    """

    def __init__(self, lock: Any, mode: Mode, waited: float, holders: Sequence[Any]) -> None:
        self.lock = lock
        self.mode = mode
        self.waited = waited
        self.holders = tuple(holders)
        held = ", ".join(f"{h.mode.value} by {h.owner}" for h in self.holders[:4])
        if len(self.holders) > 4:
            held += f" and {len(self.holders) - 4} more"
        blame = f"it is held for {held}" if held else "nobody holds it, but others are first in line"
        super().__init__(
            f"could not {mode.value}-lock {lock!r} within {waited:.3g} s: {blame}; "
            "wait longer, or find out there why it is kept"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A lock is not picklable; across a process boundary its description has to do.
        return _rebuild_timeout, (str(self), repr(self.lock), self.mode, self.waited, self.holders)


def _rebuild_timeout(message: str, lock: str, mode: Mode, waited: float, holders: tuple[Any, ...]) -> LockTimeout:
    error = LockTimeout.__new__(LockTimeout)
    TimeoutError.__init__(error, message)
    error.lock, error.mode, error.waited, error.holders = lock, mode, waited, holders
    return error


class NotHeldError(RuntimeError):
    """A guard was released, or its block left, although it holds nothing. Nothing was changed."""


class GuardStateError(RuntimeError):
    """A guard was asked for what its state does not allow, such as acquiring it twice. Nothing was changed."""


class DeadlockError(RuntimeError):
    """Waiting would never have ended, or would never end any more. Nothing was changed.

    ``lock`` is the lock and ``holders`` a tuple of `Holder` snapshots: the holds that stand in the way. ``cycle`` is
    the `Deadlock` if it is one of several owners, else None.
    """

    lock: Any = None
    cycle: Any = None
    holders: tuple[Any, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        # As for LockTimeout: other processes get a description of the lock.
        lock = None if self.lock is None else repr(self.lock)
        return _rebuild_deadlock, (type(self), self.args, lock, self.cycle, self.holders)


def _rebuild_deadlock(
    kind: type[DeadlockError], args: tuple[Any, ...], lock: str | None, cycle: Any, holders: tuple[Any, ...]
) -> DeadlockError:
    error = kind(*args)
    error.lock, error.cycle, error.holders = lock, cycle, holders
    return error


class UpgradeConflict(DeadlockError):
    """Somebody else is upgradable or upgrading: two readers that both wait to write would wait for each other."""


class AbandonedHoldWarning(RuntimeWarning):
    """A guard was dropped while it held its lock, which nobody can release any more."""


class LockClosed(RuntimeError):
    """The lock was closed in this process, before or while somebody waited for it."""


class WriterDied(RuntimeError):
    """A process died while it held the lock for writing: what it protects may be half written.

    ``lock.write(repair=True)`` gets in; ``lock.mark_consistent()`` ends this state.
    """


class SegmentError(OSError):
    """The shared memory of a process lock is foreign, damaged, of another layout, or not safe to use."""


class SegmentFull(SegmentError):
    """A table of a process lock is full, and nobody in it is dead; the message names the limit and who uses it."""


class BackendUnavailable(ImportError):
    """A known way of waiting cannot be used here; the message names what is missing and the remedy."""
