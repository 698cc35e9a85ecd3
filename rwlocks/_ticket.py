"""One request, then one hold: what the engine keeps of somebody who wants or has the lock."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol, final

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


class Deliverable(Protocol):
    """Whom a ticket can be delivered to: `rwlocks._ports.Waiter`, as far as the engine and its caller need it."""

    def lost(self) -> bool:
        """Whether it can never run again, because its event loop was closed."""
        ...

    def wake(self) -> bool:
        """End its sleep; False if it can never run again. The engine itself never wakes anybody."""
        ...


@final
class Ticket:
    """One request, then one hold. ``thread`` and ``task`` say whose, the engine never looks at them."""

    __slots__ = (
        "arrival",
        "base",
        "delivered",
        "mode",
        "patience",
        "place",
        "poked",
        "since",
        "spent",
        "state",
        "task",
        "thread",
        "timer",
        "waiter",
        "wanted",
    )

    def __init__(self, mode: Mode, thread: Any = None, task: Any = None) -> None:
        self.mode = mode
        self.thread = thread
        self.task = task
        self.state = State.NEW
        self.arrival = 0
        """Rank among the waiters of this lock; 0 until it first had to queue, then kept for good."""
        self.since: float | None = None
        """When it was granted; None when that needed no clock."""
        self.base: Mode | None = None
        """The mode to go back to, while this hold upgrades or is upgraded."""
        self.delivered = True
        """False from a grant until the waiter has run and knows of it."""

    # From here on: set when the ticket first queues, or when its hold upgrades.
    wanted: float
    """When it first had to queue; ages and patience count from here."""
    patience: float
    waiter: Deliverable
    place: Place[Ticket]
    timer: Place[Ticket] | None
    spent: bool
    poked: bool
