"""What can be seen of a lock: turns tickets into the frozen records of `rwlocks._stats`, under the mutex."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rwlocks._owners import owner_name
from rwlocks._stats import Holder, LockStatistics, Waiter
from rwlocks._types import Mode

if TYPE_CHECKING:
    from rwlocks._monitor import Monitor
    from rwlocks._ticket import Ticket

__all__ = ["holder", "holders", "statistics"]


def statistics(monitor: Monitor, now: float) -> LockStatistics:
    """The whole lock at this instant."""
    engine, totals = monitor.engine, monitor.totals
    upgrading = engine.upgrading
    pending = () if upgrading is None else (_waiter(monitor, upgrading, Mode.WRITE, now),)
    return LockStatistics(
        mode=engine.locked(),
        readers=engine.readers,
        upgradables=int(engine.upgradable is not None),
        writers=int(engine.writer is not None),
        waiting_readers=engine.waiting[Mode.READ].length,
        waiting_upgradables=engine.waiting[Mode.UPGRADABLE].length,
        waiting_writers=engine.waiting[Mode.WRITE].length,
        pending_upgrades=len(pending),
        holders=holders(monitor, now),
        waiters=pending + tuple(_waiter(monitor, t, t.mode, now) for t in engine.queue()),
        acquisitions=engine.acquisitions,
        contended=totals.contended,
        timeouts=totals.timeouts,
        cancellations=totals.cancellations,
        longest_wait=totals.longest_wait,
        rounds=totals.rounds,
    )


def holders(monitor: Monitor, now: float) -> tuple[Holder, ...]:
    """Everybody who holds, nested holds behind the one they are in."""
    return tuple(holder(monitor, t, now) for head in monitor.engine.held() for t in (head, *head.inner))


def holder(monitor: Monitor, ticket: Ticket, now: float) -> Holder:
    """One hold."""
    if ticket.since is None:
        # Its acquisition read no clock, so that nobody waited then: it is older than the present contention.
        since = monitor.observed_since if monitor.engine.contended else None
        ticket.since = now if since is None else since
    return Holder(
        ticket.mode,
        owner_name(ticket),
        ticket.thread.ident,
        now - ticket.since,
        abandoned=ticket.abandoned,
        granted=not ticket.delivered,
        hold=ticket,
        pid=ticket.pid,
    )


def _waiter(monitor: Monitor, ticket: Ticket, mode: Mode, now: float) -> Waiter:
    pending = ticket is monitor.engine.upgrading
    return Waiter(
        mode,
        owner_name(ticket),
        ticket.thread.ident,
        now - ticket.wanted,
        granted=False,
        poked=not pending and ticket.poked,
        spent=pending or now - ticket.wanted >= ticket.patience,
        pid=ticket.pid,
    )
