"""The slow path of every acquisition, once: queue, park, learn of the grant or claim, time out, withdraw.

`acquisition` is a generator that yields "park me, for at most this many seconds" and never sleeps itself; `block` drives
it for threads and `suspend` for tasks (psycopg's way: one engine of generators, many waiters). Cancellation and
timeouts live here and nowhere else. Whatever is thrown in while it is parked (a cancellation, KeyboardInterrupt, GeneratorExit)
ends as if the request had never been made, and a grant that was faster is passed on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, SupportsFloat, TypeAlias

from rwlocks._ticket import State

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rwlocks._monitor import Monitor
    from rwlocks._ports import AsyncWaiter, SyncWaiter
    from rwlocks._ticket import Ticket

__all__ = ["Parking", "acquisition", "block", "in_seconds", "suspend"]

Parking: TypeAlias = "Generator[float | None, None, bool]"
"""Yields how long to park at most, in seconds (None: for ever); returns whether the lock was granted in time."""


def acquisition(monitor: Monitor, ticket: Ticket, timeout: float | None, clock: Callable[[], float]) -> Parking:
    """Acquire with a ticket whose waiter is ready. False when ``timeout`` seconds of ``clock`` were not enough."""
    deadline = None if timeout is None else clock() + timeout
    try:
        state = monitor.ask(monitor.queue, ticket)
        while state is State.WAITING:
            left = None if deadline is None else deadline - clock()
            if left is not None and left <= 0:
                return monitor.ask(monitor.expire, ticket) is State.HELD or ticket.granted
            yield left
            state = monitor.ask(monitor.resume, ticket)
    except BaseException:
        monitor.tell(monitor.cancel, ticket)
        raise
    # Whoever has the guard may have released it already, before its waiter woke: it was granted all the same.
    if state is State.DONE and not ticket.granted:
        raise RuntimeError("the event loop was closed while its task waited for the lock; wait on a loop that runs")
    return True


def block(parking: Parking, waiter: SyncWaiter) -> bool:
    """Drive for a thread."""
    try:
        timeout = next(parking)
        while True:
            try:
                waiter.park(timeout)
            except BaseException as interruption:  # noqa: BLE001  it is raised again, once it has been undone
                timeout = parking.throw(interruption)
            else:
                timeout = next(parking)
    except StopIteration as end:
        granted: bool = end.value
        return granted
    finally:
        # KeyboardInterrupt can also strike between the park and the step; the traceback would keep the request alive.
        parking.close()


async def suspend(parking: Parking, waiter: AsyncWaiter) -> bool:
    """Drive for a task."""
    try:
        timeout = next(parking)
        while True:
            try:
                await waiter.park(timeout)
            except BaseException as interruption:  # noqa: BLE001  it is raised again, once it has been undone
                timeout = parking.throw(interruption)
            else:
                timeout = next(parking)
    except StopIteration as end:
        granted: bool = end.value
        return granted


def in_seconds(timeout: SupportsFloat | None) -> float | None:
    """A timeout as the generator takes it: seconds, or None for no limit.

    Raises ValueError for NaN and TypeError for what is no number.
    """
    if timeout is None:
        return None
    if isinstance(timeout, (bool, str)) or not isinstance(timeout, SupportsFloat):
        raise TypeError(f"the timeout is {timeout!r}; give seconds as a number, or None to wait for ever")
    seconds = float(timeout)
    if math.isnan(seconds):
        raise ValueError("the timeout is not a number (NaN); give seconds, or None to wait for ever")
    return None if seconds == math.inf else seconds
