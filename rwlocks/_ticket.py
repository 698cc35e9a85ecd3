"""One request, then one hold: what the engine keeps of somebody who wants or has the lock."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from rwlocks._line import Place
    from rwlocks._types import Mode

__all__ = ["Deliverable", "State", "Ticket"]


class State(enum.Enum):
    """The life of a ticket."""

    NEW = "new"
    WAITING = "waiting"
    HELD = "held"
    DONE = "done"
    """Released, withdrawn or refused. A ticket is never used again."""


NEW: Final = State.NEW  # looking a member up in its Enum is slow on 3.11


class Deliverable(Protocol):
    """Whom a ticket can be delivered to: `rwlocks._ports.Waiter`, as far as the engine and its caller need it."""

    def lost(self) -> bool:
        """Whether it can never run again, because its event loop was closed."""
        ...

    def wake(self) -> bool:
        """End its sleep; False if it can never run again. The engine itself never wakes anybody."""
        ...


class Ticket:
    """One request, then one hold.

    ``thread`` is the `ThreadIdentity` that asked and ``task`` a weak reference to its task, if there was one.
    ``owner`` is the one of them that counts, or an object of its own for a hold that is nobody's; the engine compares
    it and never looks inside.
    """

    __slots__ = (
        "abandoned",
        "arrival",
        "asked",
        "base",
        "beside",
        "blocks",
        "delivered",
        "detached",
        "granted",
        "inherited",
        "inner",
        "joined",
        "mode",
        "origin",
        "outer",
        "owner",
        "patience",
        "pid",
        "place",
        "poked",
        "refusal",
        "since",
        "spent",
        "state",
        "task",
        "thread",
        "timer",
        "waiter",
        "wanted",
    )

    # Set when the ticket first queues, or when its hold upgrades.
    wanted: float
    """When it first had to queue; ages and patience count from here."""
    patience: float
    waiter: Deliverable

    # Set when it first queues; None whenever it does not stand there.
    place: Place | None
    timer: Place | None

    def __init__(self, mode: Mode, thread: Any = None, task: Any = None) -> None:
        self.mode = mode
        self.thread = thread
        self.task = task
        self.owner = thread if task is None else task
        self.state: State = NEW
        self.arrival = 0
        """Rank among the waiters of this lock; 0 until it first had to queue, then kept for good."""
        self.asked: float | None = None
        """When it first asked for this lock, if that was before this request: an `acquire_all` asks again and again."""
        self.since: float | None = None
        """When it was granted; None when that needed no clock."""
        self.base: Mode | None = None
        """The mode to go back to, while this hold upgrades or is upgraded."""
        self.granted = False
        """Whether the wait ended with a grant that was not taken back, whatever became of the hold since."""
        self.delivered = True
        """False from a grant until the waiter has run and knows of it."""
        self.poked = False
        """Told that the lock is free, and has not yet come to claim it."""
        self.spent = False
        """Its patience is over: no newcomer may overtake it."""
        self.beside: Ticket | None = None
        """The next hold of the same owner."""
        self.abandoned = False
        """The guard of this hold was dropped: nobody can release it any more."""
        self.refusal: Exception | None = None
        """Why waiting would have been, or has become, hopeless."""
        self.joined = 0
        """Its number among all requests that look for circles of waiters when they begin to wait; else 0."""
        self.blocks = False
        """Whether its waiter blocks the whole thread."""
        self.outer: Ticket | None = None
        """The hold of the same owner that this one is nested in; only of a reentrant lock."""
        self.inner: tuple[Ticket, ...] = ()
        """The holds that are nested in this one."""
        self.detached = False
        """Its owner has given it up, so that somebody else can release it."""
        self.inherited = False
        """Whether it is that of the process from which this one was forked; only of a process lock."""
        self.pid: int | None = None
        """The process of its owner; only in a picture of a process lock."""
        self.origin: Any = None
        """A weak reference to what this ticket stands for, in a picture of a process lock."""
