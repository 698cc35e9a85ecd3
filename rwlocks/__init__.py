"""Reader-writer locks for threads, asyncio and trio: one object, one API, four fairness policies."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from rwlocks import _variant

_variant.choose(__path__)

from rwlocks._all import AcquireAll, acquire_all
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
from rwlocks._events import LockEvent, set_observer
from rwlocks._features import Features, features
from rwlocks._graph import Deadlock, DeadlockLink, deadlocks
from rwlocks._guards import ReadGuard, UpgradableGuard, Upgrade, WriteGuard
from rwlocks._lock import RWLock
from rwlocks._ports import AsyncBackend, Backend, SyncBackend
from rwlocks._protocol import LockView, ReadWriteLock
from rwlocks._stats import Holder, LockStatistics, Waiter
from rwlocks._types import Mode
from rwlocks._views import View
from rwlocks._watch import Watch
from rwlocks.policies import Fifo, PhaseFair, Policy, ReaderPreference, WriterPreference

if TYPE_CHECKING:
    from typing import Any

    from rwlocks._process import ProcessRWLock

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

try:
    # Importing it makes new locks use it. Without it they are slower, and nothing else; `features` says why.
    from rwlocks import _compiled as _compiled
except BackendUnavailable:
    pass


def __getattr__(name: str) -> Any:
    if name == "ProcessRWLock":
        # Found by name, so that programs without processes load nothing of it.
        lock = import_module("rwlocks._process").ProcessRWLock
        globals()[name] = lock
        return lock
    if name == "__version__":
        from importlib.metadata import version

        return version("rwlocks")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
