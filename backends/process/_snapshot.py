"""What can be seen of a segment at one instant, in words instead of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rwlocks._types import Mode  # noqa: TC001  named tuples are often inspected for the types of their fields
from rwlocks.backends.process import _segment
from rwlocks.backends.process._hold import HELD, MODES, PENDING, POKED, SPENT, STATE

if TYPE_CHECKING:
    from rwlocks.backends.process._fast import Record
    from rwlocks.backends.process._fast import Snapshot as Answer

__all__ = ["Counts", "Request", "Snapshot", "rank", "request_from", "snapshot_of"]


class Request(NamedTuple):
    """Somebody who holds the lock or waits for it. Times are in seconds."""

    mode: Mode
    pid: int
    thread: int
    """Its identifier in its own process."""
    age: float
    """Held or waited for; 0 for a hold that never met contention, which reads no clock."""
    held: bool
    pending: bool
    """Holds, and waits to become the writer."""
    granted: bool
    """Holds, and has not noticed so far."""
    poked: bool
    spent: bool
    arrival: int
    base: Mode | None
    """The mode to go back to, while it upgrades or is upgraded."""
    since: float
    """When it was granted, on the monotonic clock; 0 if no clock was read."""
    wanted: float
    """When it first had to queue, or asked for its upgrade, on the monotonic clock; 0 if it never had to."""
    patience: float
    abandoned: bool
    """Holds, and its process has said that nobody can release it."""
    token: int
    """Tells it from all other requests of this segment, ever; that of its `Hold`."""


class Counts(NamedTuple):
    """How many hold a lock in which mode, and wait for it."""

    readers: int
    upgradables: int
    writers: int
    waiting: int
    """Those in the queue and a pending upgrade."""


class Snapshot(NamedTuple):
    """One consistent look at everything. Totals are since the segment was made, over all processes."""

    requests: tuple[Request, ...]
    """Holders first, then waiters in order of arrival."""
    writer_died: bool
    writers_died: int
    acquisitions: int
    contended: int
    timeouts: int
    cancellations: int
    longest_wait: float
    repairs: int
    reaped: int


def snapshot_of(found: Answer, name: str) -> Snapshot:
    """What the native core answers, in words. Raises SegmentError for records that nobody writes."""
    now, died, epoch, acquisitions, contended, timeouts, cancelled, longest, repairs, reaped, records = found
    try:
        requests = sorted((request_from(record, now) for record in records), key=rank)
    except KeyError:
        raise _segment.damaged(name) from None
    return Snapshot(
        tuple(requests),
        bool(died),
        epoch,
        acquisitions,
        contended,
        timeouts,
        cancelled,
        longest / 1e9,
        repairs,
        reaped,
    )


def rank(request: Request) -> tuple[bool, int]:
    return not request.held, request.arrival


def request_from(record: Record, now: int) -> Request:
    word, pid, _slot, owner, arrival, wanted, patience, since, delivered, _bell, abandoned, token = record
    held = word & STATE == HELD
    pending = bool(word & PENDING)
    begun = wanted if pending or not held else since
    return Request(
        mode=MODES[word >> 2 & 3],
        pid=pid,
        thread=owner,
        age=max(now - begun, 0) / 1e9 if begun else 0.0,
        held=held,
        pending=pending,
        granted=held and not delivered,
        poked=bool(word & POKED),
        spent=bool(word & SPENT),
        arrival=arrival,
        base=MODES.get(word >> 4 & 3),
        since=since / 1e9,
        wanted=wanted / 1e9,
        patience=patience / 1e9,
        abandoned=held and abandoned,
        token=token,
    )
