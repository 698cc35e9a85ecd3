"""Snapshots of a lock: frozen, consistent, safe to keep."""

# Annotations are values here: of a string, a named tuple would make a reference, which takes a compiler to import.
from typing import Any, NamedTuple

from rwlocks._types import Mode

__all__ = ["Holder", "LockStatistics", "Waiter"]


class Holder(NamedTuple):
    """Somebody who has the lock."""

    mode: Mode
    owner: str
    """Name of the task, or of the thread if there is none."""
    thread: int
    """Identifier of the thread, as `threading.get_ident` gives it."""
    age: float
    """Seconds held; a lower bound if nobody had to wait so far, because an undisputed acquisition reads no clock."""
    abandoned: bool
    """The guard was dropped, so that nobody can release this hold; `RWLock.forget` can drop it."""
    granted: bool
    """True from the grant until the owner has resumed; a busy event loop may take its time."""
    hold: object
    """Tells this hold from all others; for `RWLock.forget`. None in a copy from another process."""
    pid: int | None = None
    """Process of the owner; None for a lock that lives in one process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Holder, (*self[:-2], None, self.pid)

    def __repr__(self) -> str:
        flags = ", abandoned" * self.abandoned + ", granted, not resumed" * self.granted
        return f"<Holder {self.mode.value} by {self.owner}, for {self.age:.3g} s{flags}>"


class Waiter(NamedTuple):
    """Somebody who waits for the lock, or a holder who waits to become the writer."""

    mode: Mode
    """The mode that is wanted."""
    owner: str
    """Name of the task, or of the thread if there is none."""
    thread: int
    """Identifier of the thread, as `threading.get_ident` gives it."""
    age: float
    """Seconds since it first asked."""
    granted: bool
    """Always False: whoever has been granted is a `Holder`. Here so that both can be filtered alike."""
    poked: bool
    """Told that the lock is free, and on its way to claim it."""
    spent: bool
    """Its patience has ended: no newcomer may overtake it any more."""
    pid: int | None = None
    """Process of the owner; None for a lock that lives in one process."""


class LockStatistics(NamedTuple):
    """One consistent snapshot of a lock. Counts are of this instant, totals since the lock was made."""

    mode: Mode | None
    """The strongest mode held, None when the lock is free."""
    readers: int
    upgradables: int
    writers: int
    waiting_readers: int
    waiting_upgradables: int
    waiting_writers: int
    """Queued writers; a pending upgrade is not in the queue and shows in ``pending_upgrades``."""
    pending_upgrades: int
    holders: tuple[Holder, ...]
    """In order of acquisition."""
    waiters: tuple[Waiter, ...]
    """In order of arrival; a pending upgrade comes first."""
    acquisitions: int
    """Total of requests that got the lock."""
    contended: int
    """Total of requests that had to queue."""
    timeouts: int
    """Total of requests that gave up because their time had run out."""
    cancellations: int
    """Total of requests that were cancelled or interrupted while they waited."""
    longest_wait: float
    """Seconds that the longest wait has taken so far, whether it was granted or given up."""
    rounds: int
    """Total of rounds in which an `acquire_all` was refused here, gave all back and queued here; of a process lock,
    those of this process."""
    repairs: int = 0
    """Total of deaths in the middle of a change, which was then mended; only of a process lock."""
    deaths: int = 0
    """Total of processes found dead with holds or requests, which were then dropped; only of a process lock."""
