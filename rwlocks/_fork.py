"""What a fork leaves of an in-process lock.

The child has one thread. In it survive the holds of the thread that forked, of its current task and of the tasks of
the loop that it runs, and so do the requests of those tasks; everybody else is gone, and with them whatever they held
or waited for. If one of them was writing, its data may be half written: the lock is *recovered* until somebody
says that the data are fine (`RWLock.mark_consistent`).

The state that was copied may be one that no event leaves behind, because another thread was in the middle of one. So
it is not repaired but made anew from the tickets that survive.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from rwlocks._engine import Engine
from rwlocks._owners import ThreadIdentity, current
from rwlocks._ticket import State
from rwlocks._types import Mode

if TYPE_CHECKING:
    from rwlocks._engine import Wakes
    from rwlocks._monitor import Monitor, Watcher
    from rwlocks._ticket import Ticket

__all__ = ["last", "recover", "survives"]


class _Fork:
    """The latest fork, as seen by the child: how many there were, and who forked."""

    def __init__(self) -> None:
        self.generation = 0
        self.pid = os.getpid()
        # Re-entrant: the collector and signal handlers come in the midst of a recovery, too.
        self.mutex = threading.RLock()
        self.forker: ThreadIdentity | None = None


last = _Fork()


def recover(monitor: Monitor) -> None:
    """Make the monitor this process's own. Any thread of the child may come first; the others wait for it."""
    wakes: Wakes = []
    rung: list[Watcher] = []
    with last.mutex:
        if monitor.generation == last.generation or _goes_on_below(monitor):
            return
        mutex = monitor.new_mutex()
        with mutex:
            # From here on others wait for the mutex, and what interrupts this is put off: a section is under way.
            monitor.mutex, monitor.inside, monitor.generation = mutex, True, last.generation
            try:
                wakes = _renew(monitor)
            finally:
                monitor.inside = False
            wakes += monitor.apply_deferred()
            rung = monitor.notice()
    monitor.wake(wakes)
    monitor.ring(rung)


def survives(monitor: Monitor, ticket: Ticket) -> bool:
    """Whether a hold is somebody's in this process, also in the midst of a fork and before the recovery."""
    if os.getpid() != last.pid:
        return ticket.thread is current.thread
    return monitor.generation == last.generation or ticket.thread is last.forker


def _goes_on_below(monitor: Monitor) -> bool:
    """Whether the very thread that forked did so inside the mutex, in a signal handler, and is still in there."""
    owned: bool = getattr(monitor.mutex, "_is_owned", bool)()
    return monitor.inside and owned


def _renew(monitor: Monitor) -> Wakes:
    old = monitor.engine
    new = Engine(old.policy)
    new.nesting, new.now = old.nesting, old.now
    new.acquisitions, new.arrivals = old.acquisitions, old.arrivals
    new.held_back, new.writes_in_a_row = old.held_back, old.writes_in_a_row
    adopted: list[Ticket] = []
    for ticket in old.held():
        if ticket.thread is last.forker:
            # Not `old.upgrading`, which another thread may have been about to clear.
            new.adopt(ticket, pending=ticket.base is not None and ticket.mode is not Mode.WRITE)
            adopted.append(ticket)
        else:
            monitor.recovered |= ticket.mode is Mode.WRITE
            for gone in (ticket, *ticket.inner):
                gone.state = State.DONE
    for ticket in old.queue():
        if ticket.thread is not last.forker:
            ticket.state = State.DONE
        elif ticket not in adopted:
            new.rejoin(ticket)
    monitor.engine = new
    monitor.abandoned = any(t.abandoned for head in adopted for t in (head, *head.inner))
    # Whoever was granted the lock by another thread may still have to be woken by it: in vain, now.
    return new.settle() + [ticket for ticket in adopted if not ticket.delivered]


def _in_child() -> None:
    last.mutex = threading.RLock()
    last.forker = current.thread
    last.forker.ident = threading.get_ident()
    last.pid = os.getpid()
    last.generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
