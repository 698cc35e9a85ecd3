"""Acquiring as locks without owners do: who holds already waits like anybody else, and another thread may relieve it.

Guards are asked first, which are fast and know their owner. Only where the owner would wait for itself, and gets
`DeadlockError` for that, does it ask again as nobody.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from rwlocks import DeadlockError, LockTimeout
from rwlocks._owners import current

if TYPE_CHECKING:
    from rwlocks import ReadGuard, WriteGuard

__all__ = ["acquire", "acquire_async"]


def acquire(guard: ReadGuard | WriteGuard, timeout: float | None) -> bool:
    """Whether the guard got the lock within so many seconds; None waits for ever.

    Raises DeadlockError where no thread could give relief: the hold that is in the way is that of a task which the
    caller keeps from running, or one that was abandoned.
    """
    began = 0.0 if timeout is None else monotonic()
    try:
        if timeout is None:
            guard.acquire()
        elif not guard.try_acquire():
            guard.acquire(timeout)
    except LockTimeout:
        return False
    except DeadlockError:
        pass
    else:
        return True
    try:
        guard._core.acquire_with(guard, _of_nobody(guard), _left(timeout, began))
    except LockTimeout:
        return False
    return True


async def acquire_async(guard: ReadGuard | WriteGuard, timeout: float | None) -> bool:
    """`acquire`, suspending the task. The guard is made with that very timeout."""
    began = 0.0 if timeout is None else monotonic()
    try:
        await guard
    except LockTimeout:
        return False
    except DeadlockError:
        pass
    else:
        return True
    core = guard._core
    try:
        await core.acquire_async_with(core.suspending(), guard, _of_nobody(guard), _left(timeout, began))
    except LockTimeout:
        return False
    return True


def _of_nobody(guard: ReadGuard | WriteGuard) -> Any:
    ticket = guard._core.new_ticket(guard.wanted, current.thread)
    ticket.owner = object()
    return ticket


def _left(timeout: float | None, began: float) -> float | None:
    return None if timeout is None else timeout - (monotonic() - began)
