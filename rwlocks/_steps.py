"""The steps of a wait, as the slow path takes them: engine events with their bookkeeping and their refusals.

Each runs under the mutex and returns whom to wake, also when it refuses: a refusal is left in ``ticket.refusal``, for
the caller to raise once the mutex has been left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final

from rwlocks import _contended, _deadlock, _events, _nesting
from rwlocks._errors import GuardStateError, NotHeldError
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode

if TYPE_CHECKING:
    from rwlocks._engine import Wakes
    from rwlocks._errors import DeadlockError
    from rwlocks._monitor import Monitor
    from rwlocks._ports import Waiter

__all__ = ["Entry", "Upgrade", "Wait"]

NEW: Final = State.NEW
WAITING: Final = State.WAITING
HELD: Final = State.HELD
DONE: Final = State.DONE


class Wait(Protocol):
    """What the slow path needs: one object per kind of wait and lock."""

    monitor: Monitor

    def begin(self, waiter: Waiter, ticket: Ticket, now: float) -> Wakes:
        """Ask, and queue with that waiter if it may be waited for."""
        ...

    def resume(self, ticket: Ticket, now: float) -> Wakes:
        """The waiter runs again: it learns of its grant, or claims what it was poked for."""
        ...

    def expire(self, ticket: Ticket, now: float) -> Wakes:
        """The waiter's time is up: it claims a last time, and withdraws only if that is refused."""
        ...

    def give_way(self, refusal: Exception, ticket: Ticket, now: float) -> Wakes:
        """The wait would never end: it claims a last time, and withdraws only if that is refused."""
        ...

    def cancel(self, ticket: Ticket, now: float) -> Wakes:
        """The waiter was cancelled or interrupted; a grant that was faster is passed on."""
        ...

    def outcome(self, ticket: Ticket) -> State:
        """WAITING, HELD once granted, DONE when there is nothing to wait for any more."""
        ...

    def wanted(self, ticket: Ticket) -> Mode:
        """What is waited for."""
        ...


class _Bookkeeping:
    __slots__ = ("monitor",)

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def _contend(self, ticket: Ticket, now: float) -> None:
        monitor = self.monitor
        if not monitor.charted:
            _contended.register(monitor)
        if monitor.deadlocks == "cycles":
            ticket.joined = next(_contended.numbers)
        monitor.totals.contended += 1
        if monitor.engine.contended == 1:
            monitor.observed_since = now

    def _settle(self, ticket: Ticket, now: float) -> None:
        """Its wait is over, one way or the other."""
        totals = self.monitor.totals
        totals.longest_wait = max(totals.longest_wait, now - ticket.wanted)
        # The waiter knows its ticket, for news that get lost: break the cycle, so that no collector is needed.
        ticket.waiter = _AWAKE

    def _announce(self, ticket: Ticket, wakes: Wakes) -> None:
        """What its owner has taken itself is told to the observer like what was handed to it."""
        if _events.observer is not None:
            ticket.waiter = _AWAKE
            ticket.granted = True
            wakes.append(ticket)


class Entry(_Bookkeeping):
    """Waiting for the lock."""

    __slots__ = ()

    def attempt(self, ticket: Ticket, now: float) -> Wakes:
        """The hard cases of a request that must not wait: nested, or with others waiting."""
        monitor = self.monitor
        if monitor.reentrant:
            head = _nesting.head_for(monitor.engine, ticket)
            if head is not None:
                _nesting.nest(monitor.engine, ticket, head)
                return []
        return monitor.engine.request(ticket, now, wait=False)

    def attempt_first(self, ticket: Ticket, now: float) -> Wakes:
        """`attempt`, for a request that may go on to wait: `begin` asks again, so what is unlikely is left to that."""
        if not self.monitor.reentrant and not self.monitor.engine.compatible(ticket.mode):
            return []
        return self._attempt_unless_strict(ticket, now)

    def probe(self, ticket: Ticket, now: float) -> Wakes:
        """Whether `attempt` would grant the request now, as ``ticket.granted``; the request is not made."""
        monitor = self.monitor
        wakes = monitor.engine.advance(now)
        if not monitor.engine.admits(ticket.mode):
            wakes += monitor.engine.settle()  # As `request` does: who can never run again holds up nobody.
        nested = monitor.reentrant and _nesting.head_for(monitor.engine, ticket) is not None
        ticket.granted = nested or monitor.engine.admits(ticket.mode)
        return wakes

    def refuse(self, ticket: Ticket, now: float) -> Wakes:
        """A request that had no time to wait was not let in at once."""
        self.monitor.totals.timeouts += 1
        ticket.state = DONE
        return []

    def strictly(self, ticket: Ticket) -> DeadlockError | None:
        """Why strict mode forbids the request, if it does."""
        return _deadlock.hopeless(self.monitor, ticket) if self._is_refused_by_strict(ticket) else None

    def count_round(self, ticket: Ticket, now: float) -> Wakes:
        """An acquisition of several locks starts over, because this request was refused."""
        self.monitor.totals.rounds += 1
        return []

    def begin(self, waiter: Waiter, ticket: Ticket, now: float) -> Wakes:
        monitor = self.monitor
        ticket.waiter = waiter
        wakes = self._attempt_unless_strict(ticket, now)
        if ticket.state is NEW:
            refusal = _deadlock.hopeless(monitor, ticket)
            if refusal is None:
                monitor.engine.queue_up(ticket, now)
                self._contend(ticket, now)
                if monitor.abandoned:
                    wakes.append(ticket)  # A guard may have been dropped since: the finaliser did not see this one.
            else:
                self._refuse(ticket, refusal)
        elif ticket.state is HELD:
            self._announce(ticket, wakes)
        return wakes

    def resume(self, ticket: Ticket, now: float) -> Wakes:
        engine = self.monitor.engine
        waited = ticket.state is WAITING
        wakes = engine.claim(ticket, now)
        if ticket.state is not WAITING:
            ticket.delivered = True
            if ticket.arrival:
                self._settle(ticket, now)
            if waited and ticket.state is HELD and ticket not in wakes:
                self._announce(ticket, wakes)
        elif self.monitor.abandoned:
            refusal = _deadlock.hopeless(self.monitor, ticket)
            if refusal is not None:
                self._settle(ticket, now)
                wakes += engine.withdraw(ticket, now)
                self._refuse(ticket, refusal)
                wakes += engine.first_in_line()  # For them it may be hopeless, too.
        return wakes

    def expire(self, ticket: Ticket, now: float) -> Wakes:
        wakes = self.resume(ticket, now)
        if ticket.state is WAITING:
            self.monitor.totals.timeouts += 1
            self._settle(ticket, now)
            wakes += self.monitor.engine.withdraw(ticket, now)
        return wakes

    def give_way(self, refusal: Exception, ticket: Ticket, now: float) -> Wakes:
        wakes = self.resume(ticket, now)
        if ticket.state is WAITING:
            self._settle(ticket, now)
            wakes += self.monitor.engine.withdraw(ticket, now)
            self._refuse(ticket, refusal)
        return wakes

    def cancel(self, ticket: Ticket, now: float) -> Wakes:
        if ticket.state is HELD and (ticket.inner or ticket.outer is not None):
            return self.monitor.release(ticket, now)
        if ticket.state is WAITING or ticket.state is HELD:
            self.monitor.totals.cancellations += 1
            if ticket.arrival:
                self._settle(ticket, now)
        return self.monitor.engine.withdraw(ticket, now)

    def outcome(self, ticket: Ticket) -> State:
        # Whoever has the guard may have released it before its waiter woke: it was granted all the same.
        return HELD if ticket.granted else ticket.state

    def wanted(self, ticket: Ticket) -> Mode:
        return ticket.mode

    def _attempt_unless_strict(self, ticket: Ticket, now: float) -> Wakes:
        return [] if self._is_refused_by_strict(ticket) else self.attempt(ticket, now)

    def _is_refused_by_strict(self, ticket: Ticket) -> bool:
        monitor = self.monitor
        return monitor.deadlocks == "strict" and not monitor.reentrant and ticket.owner in monitor.engine.holders

    def _refuse(self, ticket: Ticket, refusal: Exception | None) -> None:
        ticket.state = DONE
        ticket.refusal = refusal


class Upgrade(_Bookkeeping):
    """Waiting, as a holder, to become the writer."""

    __slots__ = ()

    def attempt(self, ticket: Ticket, now: float) -> Wakes:
        """Become the writer if that needs no waiting. Raises what `begin` raises."""
        self._check(ticket)
        wakes = self.monitor.engine.upgrade(ticket, now, wait=False)
        if self.outcome(ticket) is HELD:
            self._announce(ticket, wakes)
        return wakes

    def begin(self, waiter: Waiter, ticket: Ticket, now: float) -> Wakes:
        """Raises, before anything has changed, NotHeldError, GuardStateError and DeadlockError."""
        self._check(ticket)
        ticket.waiter = waiter
        wakes = self.monitor.engine.upgrade(ticket, now)
        if ticket is self.monitor.engine.upgrading:
            self._contend(ticket, now)
            if self.monitor.abandoned:
                wakes.append(ticket)  # A guard may have been dropped since: the finaliser did not see this one.
        else:
            self._announce(ticket, wakes)
        return wakes

    def refuse(self, ticket: Ticket, now: float) -> Wakes:
        """A request that had no time to wait was not granted at once."""
        self.monitor.totals.timeouts += 1
        return []

    def resume(self, ticket: Ticket, now: float) -> Wakes:
        outcome = self.outcome(ticket)
        if outcome is HELD:
            ticket.delivered = True
            self._settle(ticket, now)
        elif outcome is WAITING and self.monitor.abandoned:
            ticket.refusal = _deadlock.hopeless_upgrade(self.monitor, ticket)
            if ticket.refusal is not None:
                self._settle(ticket, now)
                wakes = self.monitor.engine.withdraw_upgrade(ticket, now)
                return wakes + self.monitor.engine.first_in_line()
        return []

    def expire(self, ticket: Ticket, now: float) -> Wakes:
        wakes = self.resume(ticket, now)
        if self.outcome(ticket) is WAITING:
            self.monitor.totals.timeouts += 1
            self._settle(ticket, now)
            wakes += self.monitor.engine.withdraw_upgrade(ticket, now)
        return wakes

    def give_way(self, refusal: Exception, ticket: Ticket, now: float) -> Wakes:
        wakes = self.resume(ticket, now)
        if self.outcome(ticket) is WAITING:
            ticket.refusal = refusal
            self._settle(ticket, now)
            wakes += self.monitor.engine.withdraw_upgrade(ticket, now)
        return wakes

    def cancel(self, ticket: Ticket, now: float) -> Wakes:
        if self.outcome(ticket) is DONE:
            return []
        self.monitor.totals.cancellations += 1
        self._settle(ticket, now)
        return self.monitor.engine.withdraw_upgrade(ticket, now)

    def end(self, ticket: Ticket, now: float) -> Wakes:
        """The upgrade is over: the hold becomes what it was, and the readers that a write held up come in."""
        return self.monitor.engine.downgrade(ticket, now) if self.outcome(ticket) is HELD else []

    def outcome(self, ticket: Ticket) -> State:
        if ticket is self.monitor.engine.upgrading:
            return WAITING
        return HELD if ticket.base is not None and ticket is self.monitor.engine.writer else DONE

    def wanted(self, ticket: Ticket) -> Mode:
        return Mode.WRITE

    def _check(self, ticket: Ticket) -> None:
        if ticket.state is not HELD:
            raise NotHeldError("this guard holds nothing that could be upgraded; acquire it first")
        if ticket is self.monitor.engine.upgrading:
            raise GuardStateError("an upgrade of this guard is being waited for already")
        if ticket.mode is Mode.WRITE:
            raise GuardStateError("this guard is the writer already; there is nothing to upgrade")
        hopeless = _deadlock.hopeless_upgrade(self.monitor, ticket)
        if hopeless is not None:
            raise hopeless


@final
class _Awake:
    """Stands in for a waiter that no longer waits; late wake-ups are welcome."""

    __slots__ = ()

    def lost(self) -> bool:
        return False

    def wake(self) -> bool:
        return True


_AWAKE: Final = _Awake()
