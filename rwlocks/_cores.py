"""Which core a `RWLock` has: the compiled one where that was built and serves, the pure one everywhere else.

The compiled core is a fast path in front of the pure one (``csrc/gate.h``), in subclasses of the pure types, so that nothing
but speed depends on it. It is never missing in silence: `why_not` says the reason, and `rwlocks doctor` shows it.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from rwlocks import _events, _runtimes
from rwlocks._acquire import in_seconds
from rwlocks._guards import ReadGuard, UpgradableGuard, WriteGuard
from rwlocks._lock import RWLock
from rwlocks._monitor import Monitor
from rwlocks._owners import current
from rwlocks._ports import MarkingBackend
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.policies import Order

if TYPE_CHECKING:
    from types import ModuleType

    from rwlocks._ports import AsyncBackend

__all__ = ["compiled", "why_not"]

compiled: type[RWLock] | None = None
"""The compiled kind of `RWLock`, if it is in use."""

why_not: str | None = None
"""Why it is not, with a remedy."""


def _load() -> ModuleType:
    if os.environ.get("RWLOCKS_NO_NATIVE", "") not in {"", "0"}:
        raise ImportError("RWLOCKS_NO_NATIVE is set; unset it")
    if threading.local.__module__ != "_thread":
        raise ImportError("threading was patched, so that a thread is not one of the operating system's; unpatch it")
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise ImportError("it relies on the interpreter's lock, which is off here; turn it on (PYTHON_GIL=1)")
    from rwlocks import _compiled

    return _compiled


def _install(core: ModuleType) -> type[RWLock]:
    monitor, (*_guards, lock) = core.install(
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

    def notice(backends: tuple[AsyncBackend, ...]) -> None:
        others = [backend for backend in backends if backend.name != "asyncio"]
        if all(isinstance(backend, MarkingBackend) for backend in others):
            core.marks(tuple(mark for b in others if isinstance(b, MarkingBackend) for mark in b.thread_marks()))
        else:
            core.marks(None)

    _runtimes.when_noticed.append(notice)
    _events.when_observed.append(core.observe)
    compiled_lock: type[RWLock] = lock
    compiled_lock.monitor_type = monitor
    return compiled_lock


try:
    compiled = RWLock.implementation = _install(_load())
except ImportError as error:
    why_not = str(error)
