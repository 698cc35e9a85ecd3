"""Reader-writer locks for threads, asyncio and trio: one object, one API, four fairness policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rwlocks import _variant

_variant.choose(__path__)

from rwlocks._errors import (
    AbandonedHoldWarning,
    BackendUnavailable,
    DeadlockError,
    GuardStateError,
    LockClosed,
    LockTimeout,
    NotHeldError,
    SegmentError,
    SegmentFull,
    UpgradeConflict,
    WriterDied,
)
from rwlocks._events import set_observer
from rwlocks._guards import ReadGuard, UpgradableGuard, Upgrade, WriteGuard
from rwlocks._lock import RWLock
from rwlocks._ports import AsyncBackend, Backend, SyncBackend
from rwlocks._stats import Holder, LockStatistics, Waiter
from rwlocks._types import Mode
from rwlocks.policies import Fifo, PhaseFair, Policy, ReaderPreference, WriterPreference

if TYPE_CHECKING:
    from rwlocks._all import AcquireAll, acquire_all
    from rwlocks._features import Features, features
    from rwlocks._graph import Deadlock, DeadlockLink, deadlocks
    from rwlocks._lock_event import LockEvent
    from rwlocks._process import ProcessRWLock
    from rwlocks._protocol import LockView, ReadWriteLock
    from rwlocks._views import View
    from rwlocks._watch import Watch

    __version__: str

__all__ = [
    "AbandonedHoldWarning",
    "AcquireAll",
    "AsyncBackend",
    "Backend",
    "BackendUnavailable",
    "Deadlock",
    "DeadlockError",
    "DeadlockLink",
    "Features",
    "Fifo",
    "GuardStateError",
    "Holder",
    "LockClosed",
    "LockEvent",
    "LockStatistics",
    "LockTimeout",
    "LockView",
    "Mode",
    "NotHeldError",
    "PhaseFair",
    "Policy",
    "ProcessRWLock",
    "RWLock",
    "ReadGuard",
    "ReadWriteLock",
    "ReaderPreference",
    "SegmentError",
    "SegmentFull",
    "SyncBackend",
    "UpgradableGuard",
    "Upgrade",
    "UpgradeConflict",
    "View",
    "Waiter",
    "Watch",
    "WriteGuard",
    "WriterDied",
    "WriterPreference",
    "acquire_all",
    "deadlocks",
    "features",
    "set_observer",
]

# What many programs never ask for is loaded when it is asked for: an import is to cost little.
_LATE = {
    "_all": ("AcquireAll", "acquire_all"),
    "_features": ("Features", "features"),
    "_graph": ("Deadlock", "DeadlockLink", "deadlocks"),
    "_lock_event": ("LockEvent",),
    "_process": ("ProcessRWLock",),
    "_protocol": ("LockView", "ReadWriteLock"),
    "_views": ("View",),
    "_watch": ("Watch",),
}

try:
    # Importing it makes new locks use it. Without it they are slower, and nothing else; `features` says why.
    from rwlocks import _compiled as _compiled
except BackendUnavailable:
    pass


if not TYPE_CHECKING:  # or every name would seem to be there

    def __getattr__(name: str) -> object:
        for module, names in _LATE.items():
            if name in names:
                from importlib import import_module

                value = globals()[name] = getattr(import_module(f"rwlocks.{module}"), name)
                return value
        if name == "__version__":
            from importlib.metadata import version

            return version("rwlocks")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
