"""The slow path of every wait, once: ask, park, learn of the grant or claim, time out, withdraw.

`parking` is a generator that leaves sleeping to its waiter. A thread's waiter blocks, so that the generator runs to its
end at once (`block`); what a task's waiter yields goes through to its event loop (`Suspension`). This is psycopg's way:
one engine of generators, many waiters. Cancellation and timeouts live here and nowhere else. Whatever is thrown in
while it is parked (a cancellation, KeyboardInterrupt, GeneratorExit) ends as if the request had never been made, and a
grant that was faster is passed on.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final, SupportsFloat, TypeAlias

from rwlocks import _contended, _events
from rwlocks._errors import DeadlockError, GuardStateError, NotHeldError
from rwlocks._ticket import State

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from rwlocks._ports import AsyncWaiter, SyncWaiter, Waiter
    from rwlocks._steps import Wait
    from rwlocks._ticket import Ticket

__all__ = ["Suspension", "block", "in_seconds"]

# Local names: looking a member up in its Enum is slow on 3.11.
WAITING: Final = State.WAITING
HELD: Final = State.HELD
DONE: Final = State.DONE

Parking: TypeAlias = "Generator[object, None, bool]"
"""Yields whatever the runtime's waiter yields; returns whether the wish was granted in time."""


def parking(
    wait: Wait,
    ticket: Ticket,
    waiter: Waiter,
    park: Callable[[float | None], Iterable[object]],
    timeout: float | None,
    clock: Callable[[], float],
) -> Parking:
    """Wait with a ticket and a waiter that is ready. False when ``timeout`` seconds of ``clock`` were not enough.

    ``park`` sleeps, for so many seconds at most (None: for ever), when what it returns is gone through.
    Raises what was left in ``ticket.refusal``.
    """
    monitor = wait.monitor
    deadline = None if timeout is None else clock() + timeout
    begun = expired = waited = False
    try:
        state = monitor.ask(partial(wait.begin, waiter), ticket, wait.outcome)
        begun = True
        state = _unless_in_circle(wait, ticket, state)
        if state is WAITING and _events.observer is not None:
            _events.tell("wait", monitor.lock(), ticket, wait.wanted(ticket))
        while state is WAITING:
            waited = True
            left = None if deadline is None else deadline - clock()
            expired = left is not None and left <= 0
            if not expired:
                yield from park(_until_next_look(ticket, left))
            state = monitor.ask(wait.expire if expired else wait.resume, ticket, wait.outcome)
            state = _unless_in_circle(wait, ticket, state)
    except BaseException as interruption:
        if not begun and isinstance(interruption, (GuardStateError, NotHeldError, DeadlockError)):
            raise  # Refused: nothing has changed. Later the same errors may come out of a signal handler.
        monitor.tell(wait.cancel, ticket)
        if _events.observer is not None:
            _events.tell("cancel", monitor.lock(), ticket, wait.wanted(ticket))
        raise
    if ticket.refusal is not None:
        if _events.observer is not None and waited:
            _events.tell("cancel", monitor.lock(), ticket, wait.wanted(ticket))
        refusal, ticket.refusal = ticket.refusal, None
        raise refusal
    if state is DONE and not expired:
        raise RuntimeError("the event loop was closed while its task waited; wait on a loop that runs")
    return state is HELD


def _until_next_look(ticket: Ticket, left: float | None) -> float | None:
    return min(left or _contended.LOOK_AGAIN, _contended.LOOK_AGAIN) if ticket.joined else left


def _unless_in_circle(wait: Wait, ticket: Ticket, state: State) -> State:
    """Give way if the request is the one that has closed a circle of waiters, and somebody is to look for that."""
    if state is not WAITING or not ticket.joined:
        return state
    from rwlocks import _graph

    refusal = _graph.refusal(wait.monitor, ticket, wait.wanted(ticket))
    if refusal is None:
        return WAITING
    return wait.monitor.ask(partial(wait.give_way, refusal), ticket, wait.outcome)


def block(wait: Wait, ticket: Ticket, waiter: SyncWaiter, timeout: float | None, clock: Callable[[], float]) -> bool:
    """`parking` in a thread."""

    def park(left: float | None) -> tuple[()]:
        waiter.park(left)
        return ()

    steps = parking(wait, ticket, waiter, park, timeout, clock)
    try:
        next(steps)
    except StopIteration as end:
        granted: bool = end.value
        return granted
    finally:
        # KeyboardInterrupt can also strike before the first step; the traceback would keep the request alive.
        steps.close()
    raise AssertionError("the waiter of a thread suspends nobody")


class Suspension:
    """`parking` in a task, which is to await this."""

    __slots__ = ("_steps",)

    def __init__(
        self, wait: Wait, ticket: Ticket, waiter: AsyncWaiter, timeout: float | None, clock: Callable[[], float]
    ) -> None:
        self._steps = parking(wait, ticket, waiter, lambda left: waiter.park(left).__await__(), timeout, clock)

    def __await__(self) -> Parking:
        return self._steps


def in_seconds(timeout: SupportsFloat | None) -> float | None:
    """A timeout as the slow path takes it: seconds, or None for no limit.

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
