"""The compiled core of `RWLock`: put in place, or the reason why there is none.

It is a fast path in front of the pure core (``csrc/gate.h``), in subclasses of the pure types, so that nothing but
speed depends on it. Importing this module makes new locks use it, or raises BackendUnavailable; then they are pure.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from rwlocks import _events, _runtimes, _variant
from rwlocks._acquire import in_seconds
from rwlocks._core import LockCore
from rwlocks._engine import Engine
from rwlocks._errors import BackendUnavailable
from rwlocks._guards import ReadGuard, UpgradableGuard, WriteGuard
from rwlocks._line import Line, Place
from rwlocks._lock import RWLock
from rwlocks._monitor import Monitor
from rwlocks._owners import current
from rwlocks._ports import MarkingBackend
from rwlocks._refusals import seat_is_taken
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.policies import Order

if TYPE_CHECKING:
    from rwlocks._ports import AsyncBackend

__all__ = ["ABOUT", "compiled_lock", "install_door"]

if _variant.plain_because is not None:
    raise BackendUnavailable(f"RWLock runs as plain Python: {_variant.plain_because}")

from rwlocks._fastpath import forked, install, install_door, marks, observe

ABOUT: Final = "a fast path for whatever needs no policy, in front of the engine, which is " + (
    "compiled from its Python source"
    if _variant.slow_path_because is None
    else f"plain Python: {_variant.slow_path_because}"
)
"""How it was built, for `rwlocks.features`."""


*_guards, compiled_lock = install(
    core=LockCore,
    classes=(Monitor, Engine, Line, Place, Ticket),
    held=State.HELD,
    done=State.DONE,
    arrival=Order.ARRIVAL,
    modes=(Mode.READ, Mode.UPGRADABLE, Mode.WRITE),
    guards=(ReadGuard, UpgradableGuard, WriteGuard),
    lock=RWLock,
    current=current,
    current_task=_runtimes.current_task,
    in_seconds=in_seconds,
    seat_is_taken=seat_is_taken,
)


def _notice(backends: tuple[AsyncBackend, ...]) -> None:
    others = [backend for backend in backends if backend.name != "asyncio"]
    marking = [backend for backend in others if isinstance(backend, MarkingBackend)]
    marks(tuple(mark for b in marking for mark in b.thread_marks()) if len(marking) == len(others) else None)


RWLock.implementation = compiled_lock
_runtimes.when_noticed.append(_notice)
_events.when_observed.append(observe)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forked)
