"""A process lock as an in-process lock would look in the same state.

Waits of this process depend on holds and requests of others, which only the segment knows. A *picture* is a snapshot
of it, put together as the engine and the tickets of a `rwlocks._monitor.Monitor`. So whatever looks at a lock without
changing it (statistics, the search for deadlocks, the rules of owners) exists once, and looks at a picture here.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, final

from rwlocks import _snapshots
from rwlocks._engine import Engine
from rwlocks._monitor import Monitor
from rwlocks._ticket import State, Ticket

if TYPE_CHECKING:
    import weakref

    from rwlocks._process_ticket import ProcessTicket, Roster
    from rwlocks._stats import LockStatistics
    from rwlocks._types import Deadlocks
    from rwlocks.backends.process._snapshot import Request, Snapshot
    from rwlocks.policies import Policy

__all__ = ["Elsewhere", "Picture"]


@final
class _Stranger:
    """A thread of another process, or one of this process that did not ask through a guard."""

    __slots__ = ("ident", "pid")

    def __init__(self, pid: int, ident: int) -> None:
        self.pid = pid
        self.ident = ident

    def ended(self) -> bool:
        """Never, as far as is known here: what the dead leave is dropped by those who wait for it."""
        return False

    def name(self) -> str:
        """What messages call it. Of another process one knows no names."""
        return f"process {self.pid}"


@final
class Elsewhere:
    """Stands in for a waiter: a picture wakes nobody."""

    __slots__ = ()

    def lost(self) -> bool:
        return False

    def wake(self) -> bool:
        return True


_ELSEWHERE = Elsewhere()


@final
class Picture:
    """One snapshot. ``monitor`` is for those who look at monitors; changing it changes no lock."""

    __slots__ = ("_snapshot", "monitor", "now")

    def __init__(
        self, snapshot: Snapshot, roster: Roster, policy: Policy, lock: weakref.ref[Any], deadlocks: Deadlocks
    ) -> None:
        self._snapshot = snapshot
        self.now = monotonic()
        self.monitor = Monitor(policy, lock, deadlocks=deadlocks)
        own = {ticket.known(): ticket for ticket in roster.everybody()}
        engine = self.monitor.engine = Engine(policy)
        engine.now = self.now
        for request in snapshot.requests:
            ticket = _drawn(request, own.get(request.token))
            if request.held:
                engine.adopt(ticket, pending=request.pending)
            else:
                engine.rejoin(ticket)
                ticket.poked = request.poked
            self.monitor.abandoned |= ticket.abandoned

    def statistics(self, rounds: int) -> LockStatistics:
        """The whole lock at that instant."""
        seen, totals = self._snapshot, self.monitor.totals
        self.monitor.engine.acquisitions = seen.acquisitions
        totals.contended, totals.timeouts, totals.cancellations = seen.contended, seen.timeouts, seen.cancellations
        totals.longest_wait, totals.rounds = seen.longest_wait, rounds
        return _snapshots.statistics(self.monitor, self.now)._replace(repairs=seen.repairs, deaths=seen.reaped)


def _drawn(request: Request, own: ProcessTicket | None) -> Ticket:
    """What an engine would know of that request. Those of this process are always the same object."""
    if own is None:
        ticket = Ticket(request.mode, _Stranger(request.pid, request.thread))
        ticket.pid = request.pid
    else:
        ticket = own.twin
    ticket.mode, ticket.base = request.mode, request.base
    ticket.state = State.HELD if request.held else State.WAITING
    ticket.arrival, ticket.wanted = request.arrival, request.wanted
    ticket.patience = 0.0 if request.spent else request.patience
    ticket.abandoned = request.abandoned
    ticket.delivered = not request.granted
    ticket.poked = request.poked
    ticket.waiter = _ELSEWHERE if own is None or own.waiter is None else own.waiter
    if request.since:
        ticket.since = request.since
    return ticket
