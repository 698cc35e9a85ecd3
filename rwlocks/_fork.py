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
    from rwlocks._monitor import Monitor

__all__ = ["last", "recover"]


class _Fork:
    """The latest fork, as seen by the child: how many there were, and who forked."""

    def __init__(self) -> None:
        self.generation = 0
        self.mutex = threading.Lock()
        self.forker: ThreadIdentity | None = None


last = _Fork()


def recover(monitor: Monitor) -> None:
    """Make the monitor this process's own. Any thread of the child may come first; the others wait for it."""
    with last.mutex:
        if monitor.generation == last.generation:
            return
        monitor.mutex = threading.RLock()
        monitor.inside = False
        monitor.deferred.clear()
        _renew(monitor)
        monitor.generation = last.generation


def _renew(monitor: Monitor) -> None:
    old = monitor.engine
    new = Engine(old.policy)
    new.nesting, new.now = old.nesting, old.now
    new.acquisitions, new.arrivals = old.acquisitions, old.arrivals
    for ticket in old.held():
        if ticket.thread is last.forker:
            new.adopt(ticket, pending=ticket is old.upgrading)
        else:
            monitor.recovered |= ticket.mode is Mode.WRITE
            for gone in (ticket, *ticket.inner):
                gone.state = State.DONE
    for ticket in old.queue():
        if ticket.thread is last.forker:
            new.rejoin(ticket)
        else:
            ticket.state = State.DONE
    monitor.engine = new
    monitor.wake(new.settle())


def _in_child() -> None:
    last.mutex = threading.Lock()
    last.forker = current.thread
    last.forker.ident = threading.get_ident()
    last.generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
