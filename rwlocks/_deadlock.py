"""What a request waits for, and whether that can ever end.

The rules: whoever holds a lock never waits for it, since it would wait for itself, or close a circle through
others. A blocking wait on the thread of an event loop must not depend on a task of that loop, which could not run
meanwhile. And nobody waits for a hold whose guard is gone. Holds that are nobody's (detached, taken through a view,
left by a task or thread that has ended) never count: somebody else may release them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwlocks import _runtimes, _snapshots
from rwlocks._errors import DeadlockError, UpgradeConflict
from rwlocks._owners import has_ended, owner_name
from rwlocks._ticket import State
from rwlocks._types import Mode
from rwlocks.policies import Order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rwlocks._engine import Engine
    from rwlocks._monitor import Monitor
    from rwlocks._ticket import Ticket

__all__ = ["blockers", "hopeless", "hopeless_upgrade", "is_nobodys", "obstacles"]

READ: Final = Mode.READ
UPGRADABLE: Final = Mode.UPGRADABLE
WRITE: Final = Mode.WRITE


def blockers(engine: Engine, ticket: Ticket) -> list[Ticket]:
    """Holds and requests that must end before the request can be granted, directly or through the queue."""
    if ticket is engine.upgrading or ticket in engine.held():
        return [holder for holder in engine.held() if holder is not ticket]
    ahead = _ahead_of_all([ticket], engine)
    modes = {t.mode for t in (ticket, *ahead)}
    found = [holder for holder in engine.held() if any(_conflict(mode, holder.mode) for mode in modes)]
    if engine.upgrading is not None:
        # It waits for every other holder, and everybody waits for it.
        return [*engine.held(), *ahead]
    return found + ahead


def obstacles(engine: Engine, ticket: Ticket) -> list[Ticket]:
    """The nearest of the `blockers`: what excludes the request itself, and those that are served before it."""
    if ticket is engine.upgrading or ticket in engine.held():
        return [holder for holder in engine.held() if holder is not ticket]
    pending = engine.upgrading
    excluding = [holder for holder in engine.held() if holder is pending or _conflict(ticket.mode, holder.mode)]
    return [*excluding, *_ahead(ticket, engine.queue(), engine)]


def _ahead_of_all(tickets: list[Ticket], engine: Engine) -> list[Ticket]:
    queue = engine.queue()
    ahead: list[Ticket] = []
    while tickets:
        for other in _ahead(tickets.pop(), queue, engine):
            if other not in ahead:
                ahead.append(other)
                tickets.append(other)
    return ahead


def _ahead(ticket: Ticket, queue: list[Ticket], engine: Engine) -> Iterable[Ticket]:
    """The waiters that the policy serves before this one."""
    earlier = [t for t in queue if t is not ticket and (not ticket.arrival or t.arrival < ticket.arrival)]
    writers = [t for t in earlier if t.mode is WRITE]
    upgradables = [t for t in earlier if t.mode is UPGRADABLE]
    after_write, reading = engine.policy.after_write, engine.order(after_write=False)
    if ticket.mode is WRITE:
        if reading is Order.ARRIVAL:
            return earlier
        # Waiting readers come before a writer if the next to end is a write, or if another writer is before it.
        readers_first = after_write is Order.READERS_FIRST and (engine.writer is not None or bool(writers))
        return [t for t in queue if t.mode is not WRITE] + writers if readers_first else writers
    held_up = upgradables if ticket.mode is UPGRADABLE else []
    if reading is Order.ARRIVAL:
        return writers + held_up
    if reading is Order.READERS_FIRST or (engine.writer is not None and after_write is Order.READERS_FIRST):
        return held_up
    first_writers = [t for t in queue if t.mode is WRITE]
    return (first_writers if after_write is Order.WRITERS_FIRST else first_writers[:1]) + held_up


def _conflict(wanted: Mode, held: Mode) -> bool:
    if wanted is READ:
        return held is WRITE
    return held is not READ or wanted is WRITE


# -- reasons not to wait -----------------------------------------------------------------------------------------


def hopeless(monitor: Monitor, ticket: Ticket) -> DeadlockError | None:
    """Why the request must not wait, if it must not."""
    own = monitor.engine.held_by(ticket.owner)
    if own:
        return _error(
            monitor,
            ticket,
            own,
            "the same owner holds it already",
            "release that first, take lock.upgradable() and upgrade(), or make the lock with reentrant=True"
            if hasattr(monitor.lock(), "reentrant")
            else "release that first, or take lock.upgradable() and upgrade()",
        )
    if monitor.abandoned or (ticket.blocks and _runtimes.loop_runs_here()):
        return _blocked_for_good(monitor, ticket, blockers(monitor.engine, ticket))
    return None


def hopeless_upgrade(monitor: Monitor, ticket: Ticket) -> DeadlockError | None:
    """Why the hold must not wait to become the writer, if it must not."""
    engine = monitor.engine
    others = [t for t in engine.held_by(ticket.owner) if t is not ticket] + list(ticket.inner)
    if others or ticket.outer is not None:
        return _error(
            monitor, ticket, others, "the same owner holds it through another guard, too", "release that one first"
        )
    rival = engine.upgradable
    if rival is not None and rival is not ticket:
        return _error(
            monitor,
            ticket,
            [rival],
            "somebody else is upgradable or upgrading, and two readers cannot both wait to write",
            "release and take lock.write(), or begin with lock.upgradable()",
            UpgradeConflict,
        )
    return _blocked_for_good(monitor, ticket, [t for t in engine.held() if t is not ticket])


def _blocked_for_good(monitor: Monitor, ticket: Ticket, blocking: list[Ticket]) -> DeadlockError | None:
    # Those ahead in the queue that such a hold keeps out give up themselves, and this request may then come in.
    wanted = WRITE if ticket.state is State.HELD else ticket.mode
    dropped = [t for t in blocking if t.abandoned and t.state is State.HELD and _conflict(wanted, t.mode)]
    if dropped:
        return _error(
            monitor,
            ticket,
            dropped,
            "the guard of that hold was dropped, so that nobody can release it",
            "keep each guard until it is released; after a look at the data, lock.forget(holder) drops the hold",
        )
    if not ticket.blocks or not _runtimes.loop_runs_here():
        return None
    here = [t for t in blocking if t.thread is ticket.thread and not has_ended(t) and not is_nobodys(t)]
    if here:
        return _error(
            monitor,
            ticket,
            here,
            "a blocking wait on this thread would stop the event loop that has to end it",
            "use 'async with' or 'await' in tasks",
        )
    return None


def is_nobodys(ticket: Ticket) -> bool:
    """Whether the hold was detached or taken through a view."""
    return ticket.owner is not ticket.thread and ticket.owner is not ticket.task


def _error(
    monitor: Monitor,
    ticket: Ticket,
    blocking: list[Ticket],
    fact: str,
    remedy: str,
    kind: type[DeadlockError] = DeadlockError,
) -> DeadlockError:
    wanted = WRITE if ticket in monitor.engine.held() else ticket.mode
    lock = monitor.lock()
    now = monitor.clock()
    holders = tuple(_snapshots.holder(monitor, t, now) for t in blocking if t in monitor.engine.held())
    held = ", ".join(f"{t.mode.value} by {owner_name(t)}" for t in blocking)
    error = kind(
        f"{owner_name(ticket)} would wait for ever to {wanted.value}-lock {lock!r}: {fact}"
        + (f" ({held})" if held else "")
        + f"; {remedy}"
    )
    error.lock, error.holders = lock, holders
    return error
