"""The engine behind its mutex: one critical section per event, and the wake-ups after it.

**Marking and waking are two things.** An event marks winners under the mutex; they are woken after it has been left, so
that no thread wakes only to bump into it, and no foreign code runs inside.

**Code that interrupts its own thread inside the mutex must not block on it.** The collector destroys a parked coroutine
there, a signal handler releases a guard there: a plain mutex would deadlock with itself. Hence the mutex is
re-entrant, and ``inside`` tells the intruder that the engine is between two states. What needs no answer (a release, a
withdrawal) is then *deferred*: the interrupted section applies it before it leaves. What needs one cannot be had.
``inside`` is cleared before the deferred are looked at, so that whoever comes later helps itself.

The same code may want another lock, whose section some other thread is in, itself interrupted by code that wants this
one: two that block so would wait for each other. So an intruder does not wait at a section that is taken but defers
there, too; and whoever leaves a section looks once more at what was deferred while it left.

**A fork copies the mutex, perhaps locked by a thread that the child does not have.** The fork generation is compared
before the mutex is touched; a child starts over with a new one (see `rwlocks._fork`).
"""

from __future__ import annotations

import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar, final

from rwlocks import _events, _fork, _nesting
from rwlocks._engine import Engine
from rwlocks._errors import GuardStateError, NotHeldError
from rwlocks._fork import last as _forks
from rwlocks._refusals import HOLDS_NOTHING, STILL_WAITING, UPGRADE_PENDING, seat_is_taken
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from rwlocks._engine import Wakes
    from rwlocks._types import Deadlocks
    from rwlocks.policies import Policy

__all__ = ["Gate", "Interrupted", "Monitor", "Mutex", "Seat", "Step", "Totals", "Watcher"]

WAITING: Final = State.WAITING
HELD: Final = State.HELD
DONE: Final = State.DONE

T = TypeVar("T")

Step: TypeAlias = "Callable[[Ticket, float], Wakes]"
"""One or more engine events for a ticket at a time, under the mutex."""


class Seat(Protocol):
    """What a guard is to the monitor: the place where the ticket of its acquisition is kept."""

    ticket: Ticket | None


class Mutex(Protocol):
    """What a `threading.RLock` offers."""

    def acquire(self, blocking: bool = True) -> bool: ...
    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class Gate(Mutex, Protocol):
    """The mutex of a compiled lock, which also knows those who stand at its gate."""

    def renewed(self) -> Mutex:
        """One that nobody has, for a child whose fork has left this one perhaps taken."""
        ...

    def forked(self) -> bool:
        """Whether there was a fork since the lock was made."""
        ...

    def interrupts_another(self) -> bool:
        """As `Monitor.interrupts_another`."""
        ...

    def strongest(self) -> Mode | None:
        """As `Monitor.strongest`."""
        ...


class Watcher(Protocol):
    """Somebody who wants to know when a mode can be had."""

    def start(self) -> bool:
        """Forget what was seen before, under the mutex; False if nobody waits for it any more."""
        ...

    def notice(self) -> bool:
        """Look, under the mutex; True once it has what it waits for."""
        ...

    def ring(self) -> None:
        """Tell those who wait, after the mutex has been left."""
        ...


class Totals:
    """What `statistics` counts beside the engine, changed under the mutex only."""

    __slots__ = ("cancellations", "contended", "longest_wait", "rounds", "timeouts")

    def __init__(self) -> None:
        self.contended = self.timeouts = self.cancellations = self.rounds = 0
        self.longest_wait = 0.0


class Monitor:
    """All access to one engine. Every method may be called from any thread."""

    __slots__ = (
        "__weakref__",
        "abandoned",
        "charted",
        "clock",
        "deadlocks",
        "deferred",
        "engine",
        "gate",
        "generation",
        "inside",
        "lock",
        "mutex",
        "observed_since",
        "recovered",
        "reentrant",
        "totals",
        "watchers",
    )

    def __init__(
        self,
        policy: Policy,
        lock: weakref.ref[Any],
        *,
        reentrant: bool = False,
        deadlocks: Deadlocks = "raise",
        gate: Gate | None = None,
    ) -> None:
        self.engine = Engine(policy)
        self.lock = lock
        self.reentrant = reentrant
        self.deadlocks: Deadlocks = deadlocks
        self.engine.nesting = reentrant or deadlocks == "strict"
        self.gate = gate
        self.mutex: Mutex = threading.RLock() if gate is None else gate
        self.inside = False
        self.deferred: list[tuple[Step, Ticket]] = []
        self.clock: Callable[[], float] = monotonic
        self.totals = Totals()
        self.observed_since: float | None = None
        """When the present contention began: every hold that read no clock is older."""
        self.abandoned = False
        """Whether some hold's guard was dropped; set by finalisers, which take no lock."""
        self.charted = False
        """Whether somebody had to wait so far, so that `rwlocks.deadlocks` looks here."""
        self.recovered = False
        """Whether a fork has cut off a writer."""
        self.generation = _BEFORE_THE_FORK if gate is not None and gate.forked() else _forks.generation
        self.watchers: dict[Watcher, None] = {}
        """Those who want to know when a mode can be had, and do not know yet."""

    def new_mutex(self) -> Mutex:
        """A mutex that nobody has, for a child, which a fork gives one that is perhaps taken."""
        return threading.RLock() if self.gate is None else self.gate.renewed()

    def try_mutex(self) -> bool:
        """Take the mutex if that needs no waiting; it is to be left as after a ``with``."""
        return self.mutex.acquire(blocking=False)

    def interrupts_another(self) -> bool:
        """Whether this code runs in the middle of another monitor's section. For rare cases: it searches the stack."""
        if self.gate is not None:
            return self.gate.interrupts_another()
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code in _SECTIONS:
                other: Monitor = frame.f_locals["self"]
                if other is not self and other.inside:
                    return True
            frame = frame.f_back
        return False

    def strongest(self) -> Mode | None:
        """The strongest mode held. Changes nothing, and can be called without the mutex."""
        return self.engine.locked() if self.gate is None else self.gate.strongest()

    # -- the fast path -----------------------------------------------------------------------------------------

    def enter(self, seat: Seat, ticket: Ticket, attempt: Step) -> bool:
        """Take the seat and, if the policy lets a newcomer in, the lock. ``attempt`` decides the hard cases.

        Raises GuardStateError if the seat is taken.
        """
        wakes: Wakes | None = None
        if self.generation != _forks.generation:
            _fork.recover(self)
        with self.mutex:
            if self.inside:
                raise Interrupted(_BUSY)
            self.inside = True
            try:
                seated = seat.ticket
                if seated is None or seated.state is DONE:
                    seated = None
                    seat.ticket = ticket
                    if not self.engine.enter(ticket, self.clock):
                        wakes = attempt(ticket, self.clock())
            finally:
                self.inside = False
            if self.deferred:
                wakes = (wakes or []) + self.apply_deferred()
            entered = ticket.state is HELD
            rung = self.notice() if self.watchers else None
        if wakes or rung or self.deferred:
            self._outside(wakes or [], rung or [])
        if seated is not None:
            raise seat_is_taken(seated.state, seated.mode)
        if _events.observer is not None and entered:
            _events.tell("grant", self.lock(), ticket, ticket.mode)
        return entered

    def leave(self, seat: Seat) -> None:
        """Release what the seat holds. Raises NotHeldError if that is nothing."""
        wakes: Wakes | None = None
        if self.generation != _forks.generation:
            _fork.recover(self)
        if self.inside and self.interrupts_another():
            ticket = self._releasable(seat)
            seat.ticket = None
            self._defer(self.release, ticket)
            return
        with self.mutex:
            ticket = self._releasable(seat)
            if self.inside:
                seat.ticket = None
                self.deferred.append((self.release, ticket))
                return
            mode = ticket.mode
            self.inside = True
            try:
                if self.reentrant or not self.engine.leave(ticket, self.clock):
                    wakes = self.release(ticket, self.clock())
            finally:
                self.inside = False
            if self.deferred:
                wakes = (wakes or []) + self.apply_deferred()
            rung = self.notice() if self.watchers else None
        if _events.observer is not None:
            _events.tell_release(self.lock(), ticket, mode)
        if wakes or rung or self.deferred:
            self._outside(wakes or [], rung or [])

    def _releasable(self, seat: Seat) -> Ticket:
        ticket = seat.ticket
        if ticket is None or ticket.state is not HELD:
            raise NotHeldError(_not_held(ticket))
        if ticket is self.engine.upgrading:
            raise GuardStateError(UPGRADE_PENDING)
        return ticket

    def downgrade(self, seat: Seat) -> None:
        """Make the seat a reader, or what it was before its upgrade.

        Raises NotHeldError if it holds nothing, GuardStateError if it reads already.
        """
        if self.generation != _forks.generation:
            _fork.recover(self)
        with self.mutex:
            ticket = seat.ticket
            if ticket is None or ticket.state is not HELD:
                raise NotHeldError("this guard holds nothing, so that there is nothing to downgrade; acquire it first")
            if ticket.mode is Mode.READ:
                raise GuardStateError("this guard reads already; there is nothing to downgrade")
            if ticket is self.engine.upgrading:
                raise GuardStateError(UPGRADE_PENDING)
            if self.inside:
                self.deferred.append((self.become_reader, ticket))
                return
            before, upgraded = ticket.mode, ticket.base is not None
            wakes = self._apply(self.become_reader, ticket)
            after = ticket.mode
            rung = self.notice() if self.watchers else []
        if _events.observer is not None:
            _events.tell("release", self.lock(), ticket, before)
            if not upgraded:
                _events.tell("grant", self.lock(), ticket, after)
        self._outside(wakes, rung)

    # -- everything else ---------------------------------------------------------------------------------------

    def ask(self, step: Step, ticket: Ticket, outcome: Callable[[Ticket], State]) -> State:
        """One event, and what has come of it. Raises RuntimeError if it interrupts this very mutex."""
        failure: BaseException | None = None
        if self.generation != _forks.generation:
            _fork.recover(self)
        with self.mutex:
            if self.inside:
                raise Interrupted(_BUSY)
            try:
                wakes = self._apply(step, ticket)
            except BaseException as error:  # noqa: BLE001  it is raised again, once nobody is left waiting for it
                wakes, failure = self._finish(), error
            state = outcome(ticket)
            rung = self.notice() if self.watchers else []
        self._outside(wakes, rung)
        if failure is not None:
            raise failure
        return state

    def tell(self, step: Step, ticket: Ticket) -> None:
        """One event whose outcome nobody needs; applied later if it interrupts this or another mutex."""
        if self.generation != _forks.generation:
            _fork.recover(self)
        if self.inside and self.interrupts_another():
            self._defer(step, ticket)
            return
        failure: BaseException | None = None
        with self.mutex:
            if self.inside:
                self.deferred.append((step, ticket))
                return
            try:
                wakes = self._apply(step, ticket)
            except BaseException as error:  # noqa: BLE001  as in `ask`
                wakes, failure = self._finish(), error
            rung = self.notice() if self.watchers else []
        self._outside(wakes, rung)
        if failure is not None:
            raise failure

    def _finish(self) -> Wakes:
        """What an event has left undone that was refused, or that a signal handler has cut short in a backend's code.

        Whom it was about to wake is not known any more: they are among these.
        """
        engine = self.engine
        wakes = engine.settle()
        return wakes + engine.first_in_line() + [t for t in engine.held() if not t.delivered and t not in wakes]

    def _defer(self, step: Step, ticket: Ticket) -> None:
        """Leave the event to the thread that is inside; if that has just left, nobody is in the way any more."""
        self.deferred.append((step, ticket))
        self._help()

    def _help(self) -> None:
        """Apply what was deferred while the section was being left, unless somebody is inside, who will."""
        while self.deferred and self.try_mutex():
            try:
                if self.inside:
                    return
                wakes = self.apply_deferred()
                rung = self.notice() if self.watchers else []
            finally:
                self.mutex.__exit__(None, None, None)
            self.wake(wakes)
            self.ring(rung)

    def _outside(self, wakes: Wakes, rung: list[Watcher]) -> None:
        """What is left to do when a section has been left."""
        self.wake(wakes)
        self.ring(rung)
        if self.deferred:
            self._help()

    def wake(self, tickets: Wakes) -> None:
        """Deliver; a waiter that can never run again is withdrawn, and the next one served."""
        if _events.observer is not None:
            _events.tell_grants(self.lock(), tickets)
        interruption: BaseException | None = None
        for ticket in tickets:
            delivered = False
            for _ in range(_TRIES):
                try:
                    delivered = ticket.waiter.wake()
                    break
                except BaseException as error:  # noqa: BLE001  out of a signal handler: first everybody is woken
                    interruption = error
            if not delivered:
                self.tell(self.undelivered, ticket)
        if interruption is not None:
            raise interruption

    def look(self, what: Callable[[float], T]) -> T:
        """Read in one section, so that an intruder's release waits until the reading is done.

        An intruder that looks itself is answered at once, and may see the change that it interrupts half done.
        """
        wakes: Wakes = []
        rung: list[Watcher] = []
        if self.generation != _forks.generation:
            _fork.recover(self)
        with self.mutex:
            if self.inside:
                return what(self.clock())
            self.inside = True
            try:
                seen = what(self.clock())
            finally:
                self.inside = False
            if self.deferred:
                wakes = self.apply_deferred()
                rung = self.notice() if self.watchers else []
        self._outside(wakes, rung)
        return seen

    def watch(self, watcher: Watcher) -> None:
        """Let it look now, and from now on after every change until it has what it waits for."""
        wakes: Wakes = []
        if self.generation != _forks.generation:
            _fork.recover(self)
        with self.mutex:
            # Listed first: whoever stops watching meanwhile takes it off after he has said so.
            self.watchers[watcher] = None
            if not watcher.start():
                self.watchers.pop(watcher, None)
            if self.inside:
                return  # The section that this interrupts looks for it before it leaves.
            self.inside = True
            try:
                # What a request would do first: see what is due, and who can never run again.
                wakes = self.engine.advance(self.clock()) + self.engine.settle()
            finally:
                self.inside = False
            if self.deferred:
                wakes += self.apply_deferred()
            rung = self.notice() if self.watchers else []
        self._outside(wakes, rung)

    def unwatch(self, watcher: Watcher) -> None:
        self.watchers.pop(watcher, None)

    def notice(self) -> list[Watcher]:
        """Under the mutex, after a change: those to `ring`. They have what they wait for and are no longer listed."""
        rung: list[Watcher] = []
        for watcher in list(self.watchers):
            if watcher.notice():
                # In place, so that nothing is lost when a finaliser or signal handler changes it meanwhile.
                self.watchers.pop(watcher, None)
                rung.append(watcher)
        return rung

    def ring(self, watchers: list[Watcher]) -> None:
        for watcher in watchers:
            watcher.ring()

    def catch_up(self) -> None:
        """In a child, learn what the fork has left, also if nobody has used the lock there so far."""
        if self.generation != _forks.generation:
            _fork.recover(self)

    def rouse(self) -> None:
        """Let everybody who waits look again: a manual clock was moved, or a hold was abandoned."""
        if self.generation != _forks.generation:
            _fork.recover(self)
        with self.mutex:
            waiting = self.engine.queue()
            if self.engine.upgrading is not None:
                waiting.append(self.engine.upgrading)
        for ticket in waiting:
            ticket.waiter.wake()

    def _apply(self, step: Step, ticket: Ticket) -> Wakes:
        self.inside = True
        try:
            wakes = step(ticket, self.clock())
        finally:
            self.inside = False
        return wakes + self.apply_deferred() if self.deferred else wakes

    def apply_deferred(self) -> Wakes:
        wakes: Wakes = []
        while self.deferred:
            step, ticket = self.deferred.pop(0)
            self.inside = True
            try:
                wakes += step(ticket, self.clock())
            finally:
                self.inside = False
        return wakes

    # -- steps that need no waiter -------------------------------------------------------------------------------

    def release(self, ticket: Ticket, now: float) -> Wakes:
        """The hold ends; what its owner took inside of it goes on. Something put off earlier may have ended it."""
        if ticket.state is not HELD:
            return []
        if ticket.inner or ticket.outer is not None:
            wakes = _nesting.release(self.engine, ticket, now)
            # The hold that is left may be one that was abandoned inside of this one.
            return wakes + self.engine.first_in_line() if self.abandoned else wakes
        return self.engine.release(ticket, now)

    def become_reader(self, ticket: Ticket, now: float) -> Wakes:
        """The writer goes on as a reader, or as what it was before its upgrade. May have been put off, as `release`."""
        if ticket.state is not HELD or ticket.mode is Mode.READ:
            return []
        if ticket.inner or ticket.outer is not None:
            return _nesting.downgrade(self.engine, ticket, now)
        return self.engine.downgrade(ticket, now)

    def undelivered(self, ticket: Ticket, now: float) -> Wakes:
        """The waiter's loop has ended with news for it under way."""
        if ticket.base is not None and not (ticket.delivered and ticket is self.engine.writer):
            return self.engine.withdraw_upgrade(ticket, now)
        if ticket.delivered and ticket.state is HELD:
            return []
        return self.engine.withdraw(ticket, now)


_BEFORE_THE_FORK: Final = -1  # a generation, of a lock that is older than its monitor

_TRIES: Final = 20  # to wake somebody while signals come in; a backend that fails more often is broken

_SECTIONS: Final = {
    method.__code__
    for method in (
        Monitor.enter,
        Monitor.leave,
        Monitor.downgrade,
        Monitor.ask,
        Monitor.tell,
        Monitor.look,
        Monitor.watch,
    )
}


@final
class Interrupted(RuntimeError):
    """Code that interrupted a change of the lock asked for something that needs an answer."""


_BUSY: Final = (
    "a signal handler or finaliser asked for the lock while the code it interrupted was changing that very lock; "
    "only release there, or move the work out of the handler"
)


def _not_held(ticket: Ticket | None) -> str:
    if ticket is not None and ticket.state is not DONE:
        return STILL_WAITING
    return HOLDS_NOTHING
