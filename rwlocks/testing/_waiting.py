"""Waiting for states instead of sleeping: so-and-so many are parked, everybody's patience is spent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from rwlocks import _runtimes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from rwlocks._stats import LockStatistics

__all__ = ["wait_until_parked", "wait_until_spent"]

_PAUSE = 0.0005  # seconds between two looks at the lock


class Observable(Protocol):
    """A lock that can be looked at."""

    def statistics(self) -> LockStatistics: ...


def wait_until_parked(lock: Observable, n: int, *, timeout: float = 30.0) -> Awaitable[None]:
    """Wait until at least ``n`` requests are parked on the lock, or, for ``n=0``, until none is.

    In a thread, call it: it blocks. In a task of asyncio or trio, await it: the loop goes on. Requests of other
    threads, loops and (for a process lock) processes count, and so does a pending upgrade.

    Raises TimeoutError, with the state of the lock, after ``timeout`` seconds.
    """
    return _until(
        lock,
        lambda now: len(now.waiters) >= n if n else not now.waiters,
        f"{n} parked" if n else "nobody parked",
        timeout,
    )


def wait_until_spent(lock: Observable, *, timeout: float = 30.0) -> Awaitable[None]:
    """Wait until the patience of everybody who waits now is spent, so that no newcomer may overtake them.

    Called in a thread and awaited in a task, as `wait_until_parked`. Raises TimeoutError after ``timeout`` seconds.
    """
    return _until(lock, lambda now: all(w.spent for w in now.waiters), "everybody's patience spent", timeout)


def _until(lock: Observable, reached: Callable[[LockStatistics], bool], what: str, timeout: float) -> Awaitable[None]:
    deadline = time.monotonic() + timeout

    def look() -> bool:
        if reached(lock.statistics()):
            return True
        if time.monotonic() > deadline:
            raise TimeoutError(f"{lock!r} has not come to {what} within {timeout} s: {lock.statistics()!r}")
        return False

    if _runtimes.running() is not None:
        return _look_and_yield(look)
    while not look():
        time.sleep(_PAUSE)
    return _Reached()


async def _look_and_yield(look: Callable[[], bool]) -> None:
    import anyio

    while not look():  # noqa: ASYNC110  a lock tells nobody that somebody has parked
        await anyio.sleep(_PAUSE)


class _Reached:
    """What a blocking call returns, so that awaiting it is harmless."""

    def __await__(self) -> Generator[object, None, None]:
        return
        yield
