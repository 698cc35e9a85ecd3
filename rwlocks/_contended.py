"""Which locks somebody has had to wait for, and in which order: what `rwlocks._graph` looks at.

It stands apart because every lock that is disputed needs it, and the graph itself only who asks for circles.
"""

from __future__ import annotations

import weakref
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rwlocks._monitor import Monitor

__all__ = ["LOOK_AGAIN", "monitors", "numbers", "register"]

LOOK_AGAIN: Final = 1.0  # seconds

numbers: Final = count(1)
"""In the order in which requests begin to wait, over all locks."""

# A plain set and not a WeakSet, whose iteration fails when another thread adds to it.
monitors: Final[set[weakref.ref[Monitor]]] = set()


def register(monitor: Monitor) -> None:
    """From now on the lock is looked at. Called under its mutex when somebody first waits for it."""
    monitor.charted = True
    monitors.add(weakref.ref(monitor, monitors.discard))
