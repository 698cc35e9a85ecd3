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
    """One request, then one hold. ``thread`` and ``task`` say whose, the engine never looks at them.

    The defaults stand in the class and the instance has no slots, because most tickets live and die with the three
    attributes of ``__init__`` and a state: that makes an undisputed acquisition a tenth cheaper.
    """

    state: State = State.NEW
    arrival: int = 0
    """Rank among the waiters of this lock; 0 until it first had to queue, then kept for good."""
    since: float | None = None
    """When it was granted; None when that needed no clock."""
    base: Mode | None = None
    """The mode to go back to, while this hold upgrades or is upgraded."""
    granted: bool = False
    """Whether the wait ended with a grant that was not taken back, whatever others have done with the hold since."""
    delivered: bool = True
    """False from a grant until the waiter has run and knows of it."""
    poked: bool = False
    """Told that the lock is free, and has not yet come to claim it."""
    spent: bool = False
    """Its patience is over: no newcomer may overtake it."""

    # Set when the ticket first queues, or when its hold upgrades.
    wanted: float
    """When it first had to queue; ages and patience count from here."""
    patience: float
    waiter: Deliverable

    # Set while it stands in the queue.
    place: Place[Ticket]
    timer: Place[Ticket] | None

    def __init__(self, mode: Mode, thread: Any = None, task: Any = None) -> None:
        self.mode = mode
        self.thread = thread
        self.task = task
