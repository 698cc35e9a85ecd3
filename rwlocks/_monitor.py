"""The engine behind its mutex: one critical section per event, and the wake-ups after it.

**Marking and waking are two things.** An event marks winners under the mutex; they are woken after it has been left, so that
no thread is woken only to bump into it, and no foreign code runs inside.

**Code that interrupts its own thread inside the mutex must not block on it.** The collector destroys a parked coroutine
there, a signal handler releases a guard there: a plain mutex would deadlock with itself. Hence the mutex is re-entrant,
and ``inside`` tells the intruder that the engine is between two states. What needs no answer (a release, a withdrawal)
is then *deferred*: the interrupted section applies it before it leaves. What needs one cannot be had.
``inside`` is cleared before the deferred are looked at, so that whoever comes later helps itself.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, final

from rwlocks import _runtimes
from rwlocks._engine import Engine
from rwlocks._errors import GuardStateError, NotHeldError
from rwlocks._stats import Holder, LockStatistics, Waiter
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks._engine import Wakes
    from rwlocks.policies import Policy

__all__ = ["Interrupted", "Monitor", "Seat"]

WAITING: Final = State.WAITING
HELD: Final = State.HELD
DONE: Final = State.DONE


T = TypeVar("T")


class Seat(Protocol):
    """What a guard is to the monitor: the place where the ticket of its acquisition is kept."""

    ticket: Ticket | None


@final
class Monitor:
    """All access to one engine. Every method may be called from any thread."""

    __slots__ = (
        "__weakref__",
        "cancellations",
        "clock",
        "contended",
        "deferred",
        "engine",
        "inside",
        "longest_wait",
        "mutex",
        "observed_since",
        "timeouts",
    )

    def __init__(self, policy: Policy) -> None:
        self.engine = Engine(policy)
        self.mutex = threading.RLock()
        self.inside = False
        self.deferred: list[tuple[Callable[[Ticket, float], Wakes], Ticket]] = []
        self.clock: Callable[[], float] = monotonic
        self.contended = 0
        self.timeouts = 0
        self.cancellations = 0
        self.longest_wait = 0.0
        self.observed_since: float | None = None

    # -- the fast path -----------------------------------------------------------------------------------------

    def enter(self, seat: Seat, ticket: Ticket) -> bool:
        """Take the seat and, if the policy lets a newcomer in, the lock.

        Raises GuardStateError if the seat is taken.
        """
        wakes: Wakes | None = None
        with self.mutex:
            if self.inside:
                raise Interrupted(_BUSY)
            self.inside = True
            try:
                seated = seat.ticket
                entered = False
                if seated is None or seated.state is DONE:
                    seated = None
                    seat.ticket = ticket
                    entered = self.engine.enter(ticket, self.clock)
                    if not entered:
                        wakes = self.engine.request(ticket, self.clock(), wait=False)
                        entered = ticket.state is HELD
            finally:
                self.inside = False
            if self.deferred:
                wakes = (wakes or []) + self._apply_deferred()
        if wakes:
            self.wake(wakes)
        if seated is not None:
            raise _seat_is_taken(seated)
        return entered

    def leave(self, seat: Seat) -> None:
        """Release what the seat holds. Raises NotHeldError if that is nothing."""
        wakes: Wakes | None = None
        with self.mutex:
            ticket = seat.ticket
            if ticket is None or ticket.state is not HELD:
                raise NotHeldError(_not_held(ticket))
            if ticket is self.engine.upgrading:
                raise GuardStateError("an upgrade of this guard is being waited for; cancel that first")
            if self.inside:
                seat.ticket = None
                self.deferred.append((self.release, ticket))
                return
            self.inside = True
            try:
                seat.ticket = None
                if not self.engine.leave(ticket, self.clock):
                    wakes = self.engine.release(ticket, self.clock())
            finally:
                self.inside = False
            if self.deferred:
                wakes = (wakes or []) + self._apply_deferred()
        if wakes:
            self.wake(wakes)

    def downgrade(self, seat: Seat) -> None:
        """Make the seat a reader, or what it was before its upgrade.

        Raises NotHeldError if it holds nothing, GuardStateError if it reads already.
        """
        with self.mutex:
            ticket = seat.ticket
            if ticket is None or ticket.state is not HELD:
                raise NotHeldError("this guard holds nothing, so that there is nothing to downgrade; acquire it first")
            if ticket.mode is Mode.READ:
                raise GuardStateError("this guard reads already; there is nothing to downgrade")
            if self.inside:
                self.deferred.append((self.become_reader, ticket))
                return
            wakes = self._apply(self.become_reader, ticket)
        self.wake(wakes)

    # -- everything else ---------------------------------------------------------------------------------------

    def ask(self, step: Callable[[Ticket, float], Wakes], ticket: Ticket) -> State:
        """One event, and what has become of its ticket. Raises RuntimeError if it interrupts this very mutex."""
        with self.mutex:
            if self.inside:
                raise Interrupted(_BUSY)
            wakes = self._apply(step, ticket)
            state = ticket.state
        self.wake(wakes)
        return state

    def tell(self, step: Callable[[Ticket, float], Wakes], ticket: Ticket) -> None:
        """One event whose outcome nobody needs; applied later if it interrupts this very mutex."""
        with self.mutex:
            if self.inside:
                self.deferred.append((step, ticket))
                return
            wakes = self._apply(step, ticket)
        self.wake(wakes)

    def wake(self, tickets: Wakes) -> None:
        """Deliver; a waiter that can never run again is withdrawn, and the next one served."""
        for ticket in tickets:
            if not ticket.waiter.wake():
                self.tell(self.undelivered, ticket)

    def rouse(self) -> None:
        """Let everybody who waits look at the clock again: a manual one was moved."""
        with self.mutex:
            waiting = self.engine.queue()
        for ticket in waiting:
            ticket.waiter.wake()

    def _apply(self, step: Callable[[Ticket, float], Wakes], ticket: Ticket) -> Wakes:
        self.inside = True
        try:
            wakes = step(ticket, self.clock())
        finally:
            self.inside = False
        return wakes + self._apply_deferred() if self.deferred else wakes

    def _apply_deferred(self) -> Wakes:
        wakes: Wakes = []
        while self.deferred:
            step, ticket = self.deferred.pop(0)
            self.inside = True
            try:
                wakes += step(ticket, self.clock())
            finally:
                self.inside = False
        return wakes

    # -- steps: engine events with their bookkeeping -------------------------------------------------------------

    def queue(self, ticket: Ticket, now: float) -> Wakes:
        """Ask for the lock and wait for it."""
        wakes = self.engine.request(ticket, now)
        if ticket.state is WAITING:
            self._contend(now)
        return wakes

    def release(self, ticket: Ticket, now: float) -> Wakes:
        """A release that was put off; what was put off before it may have ended the hold."""
        return self.engine.release(ticket, now) if ticket.state is HELD else []

    def become_reader(self, ticket: Ticket, now: float) -> Wakes:
        """A downgrade that may have been put off, as `release`."""
        return self.engine.downgrade(ticket, now) if ticket.state is HELD and ticket.mode is not Mode.READ else []

    def refuse(self, ticket: Ticket, now: float) -> Wakes:
        """A request that had no time to wait was not let in at once."""
        self.timeouts += 1
        ticket.state = DONE
        return []

    def resume(self, ticket: Ticket, now: float) -> Wakes:
        """The waiter runs again: it learns of its grant, or claims what it was poked for."""
        wakes = self.engine.claim(ticket, now)
        if ticket.state is not WAITING:
            ticket.delivered = True
            self._settle(ticket, now)
        return wakes

    def expire(self, ticket: Ticket, now: float) -> Wakes:
        """The waiter's time is up: it claims a last time, and withdraws only if that is refused."""
        wakes = self.resume(ticket, now)
        if ticket.state is WAITING:
            self.timeouts += 1
            self._settle(ticket, now)
            wakes += self.engine.withdraw(ticket, now)
        return wakes

    def cancel(self, ticket: Ticket, now: float) -> Wakes:
        """The waiter was cancelled or interrupted; a grant that was faster is passed on."""
        if ticket.state is WAITING or ticket.state is HELD:
            self.cancellations += 1
            self._settle(ticket, now)
        return self.engine.withdraw(ticket, now)

    def undelivered(self, ticket: Ticket, now: float) -> Wakes:
        """The waiter's loop has ended with news for it under way."""
        if ticket.delivered and ticket.state is HELD:
            return []
        return self.engine.withdraw(ticket, now)

    def _contend(self, now: float) -> None:
        self.contended += 1
        if self.engine.contended == 1:
            self.observed_since = now

    def _settle(self, ticket: Ticket, now: float) -> None:
        """Its wait is over, one way or the other."""
        if ticket.arrival:
            self.longest_wait = max(self.longest_wait, now - ticket.wanted)
        # The waiter knows its ticket, for news that get lost: break the cycle, so that no collector is needed.
        ticket.waiter = _AWAKE

    # -- looking -----------------------------------------------------------------------------------------------

    def locked(self) -> Mode | None:
        with self.mutex:
            return self.engine.locked()

    def parked(self) -> int:
        """How many wait, a pending upgrade included."""
        return self.engine.contended

    def holders(self) -> tuple[Holder, ...]:
        return self._look(self._holders)

    def statistics(self) -> LockStatistics:
        return self._look(self._statistics)

    def _look(self, what: Callable[[float], T]) -> T:
        """Read in one section, so that an intruder's release waits until the reading is done.

        An intruder that looks itself is answered at once, and may see the change that it interrupts half done.
        """
        wakes: Wakes = []
        with self.mutex:
            if self.inside:
                return what(self.clock())
            self.inside = True
            try:
                seen = what(self.clock())
            finally:
                self.inside = False
            if self.deferred:
                wakes = self._apply_deferred()
        self.wake(wakes)
        return seen

    def _holders(self, now: float) -> tuple[Holder, ...]:
        return tuple(self._holder(ticket, now) for ticket in tuple(self.engine.holders))

    def _statistics(self, now: float) -> LockStatistics:
        engine = self.engine
        upgrading = engine.upgrading
        pending = () if upgrading is None else (self._waiter(upgrading, Mode.WRITE, now),)
        return LockStatistics(
            mode=engine.locked(),
            readers=engine.readers,
            upgradables=int(engine.upgradable is not None),
            writers=int(engine.writer is not None),
            waiting_readers=engine.waiting[Mode.READ].length,
            waiting_upgradables=engine.waiting[Mode.UPGRADABLE].length,
            waiting_writers=engine.waiting[Mode.WRITE].length,
            pending_upgrades=len(pending),
            holders=self._holders(now),
            waiters=pending + tuple(self._waiter(t, t.mode, now) for t in engine.queue()),
            acquisitions=engine.acquisitions,
            contended=self.contended,
            timeouts=self.timeouts,
            cancellations=self.cancellations,
            longest_wait=self.longest_wait,
        )

    def _holder(self, ticket: Ticket, now: float) -> Holder:
        if ticket.since is None:
            # Its acquisition read no clock, so that nobody waited then: it is older than the present contention.
            since = self.observed_since if self.engine.contended else None
            ticket.since = now if since is None else since
        return Holder(ticket.mode, _owner_name(ticket), ticket.thread.ident, now - ticket.since, not ticket.delivered)

    def _waiter(self, ticket: Ticket, mode: Mode, now: float) -> Waiter:
        pending = ticket is self.engine.upgrading
        return Waiter(
            mode,
            _owner_name(ticket),
            ticket.thread.ident,
            now - ticket.wanted,
            granted=False,
            poked=not pending and ticket.poked,
            spent=pending or now - ticket.wanted >= ticket.patience,
        )


@final
class Interrupted(RuntimeError):
    """Code that interrupted a change of the lock asked for something that needs an answer."""


_BUSY: Final = (
    "a signal handler or finaliser asked for the lock while the code it interrupted was changing that very lock; "
    "only release there, or move the work out of the handler"
)


@final
class _Awake:
    """Stands in for a waiter that no longer waits; late wake-ups are welcome."""

    __slots__ = ()

    def lost(self) -> bool:
        return False

    def wake(self) -> bool:
        return True


_AWAKE: Final = _Awake()


def _owner_name(ticket: Ticket) -> str:
    if ticket.task is None:
        name: str = ticket.thread.name()
        return name
    task = ticket.task()
    return "a task that has ended" if task is None else _runtimes.task_name(task)


def _seat_is_taken(ticket: Ticket) -> GuardStateError:
    if ticket.state is HELD:
        return GuardStateError(
            f"this guard holds the lock already ({ticket.mode.value}); release it first, or make another guard"
        )
    return GuardStateError("this guard is waiting for the lock already; make another guard")


def _not_held(ticket: Ticket | None) -> str:
    if ticket is not None and ticket.state is not DONE:
        return "this guard is still waiting for the lock; it can be released once it holds it"
    return "this guard holds nothing: it was released before, or never acquired; release each acquisition once"
