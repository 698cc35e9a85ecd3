"""The compiled core of `RWLock`: put in place, or the reason why there is none.

It is a fast path in front of the pure core (``csrc/gate.h``), in subclasses of the pure types, so that nothing but
speed depends on it. Importing this module makes new locks use it, or raises BackendUnavailable; then they are pure.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from rwlocks import _events, _runtimes
from rwlocks._acquire import in_seconds
from rwlocks._errors import BackendUnavailable
from rwlocks._guards import ReadGuard, UpgradableGuard, WriteGuard
from rwlocks._lock import RWLock
from rwlocks._monitor import Monitor
from rwlocks._owners import current
from rwlocks._ports import MarkingBackend
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.policies import Order

if TYPE_CHECKING:
    from rwlocks._ports import AsyncBackend

__all__ = ["ABOUT", "compiled_lock"]

if os.environ.get("RWLOCKS_NO_NATIVE", "") not in {"", "0"}:
    raise BackendUnavailable("RWLock runs without its compiled core, because RWLOCKS_NO_NATIVE is set; unset it")
if threading.local.__module__ != "_thread":
    raise BackendUnavailable(
        "RWLock runs without its compiled core, which knows threads of the operating system only, and threading was "
        "patched; import rwlocks before it is patched, if locks are for real threads"
    )
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    raise BackendUnavailable(
        "RWLock runs without its compiled core, which relies on the interpreter's lock; run with PYTHON_GIL=1"
    )
try:
    from rwlocks._fastpath import install, marks, observe
except ImportError as error:
    raise BackendUnavailable(
        f"RWLock runs without its compiled core, which cannot be loaded here ({error}); with a C compiler at hand, run "
        "'pip install --force-reinstall --no-cache-dir --no-binary rwlocks rwlocks' (in a checkout: 'pip install -e .')"
    ) from error

ABOUT: Final = "a fast path for whatever needs no policy, in front of the engine in Python"

_monitor, (*_guards, compiled_lock) = install(
    monitor=Monitor,
    ticket=Ticket,
    held=State.HELD,
    arrival=Order.ARRIVAL,
    modes=(Mode.READ, Mode.UPGRADABLE, Mode.WRITE),
    guards=(ReadGuard, UpgradableGuard, WriteGuard),
    lock=RWLock,
    current=current,
    current_task=_runtimes.current_task,
    in_seconds=in_seconds,
)


def _notice(backends: tuple[AsyncBackend, ...]) -> None:
    others = [backend for backend in backends if backend.name != "asyncio"]
    marking = [backend for backend in others if isinstance(backend, MarkingBackend)]
    marks(tuple(mark for b in marking for mark in b.thread_marks()) if len(marking) == len(others) else None)


compiled_lock.monitor_type = _monitor
RWLock.implementation = compiled_lock
_runtimes.when_noticed.append(_notice)
_events.when_observed.append(observe)
