"""Reader-writer locks for threads, asyncio and trio: one object, one API, four fairness policies."""

from __future__ import annotations

from rwlocks._all import AcquireAll, acquire_all
from rwlocks._errors import (
    AbandonedHoldWarning,
    BackendUnavailable,
    DeadlockError,
    GuardStateError,
    LockTimeout,
    NotHeldError,
    UpgradeConflict,
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
    "LockEvent",
    "LockStatistics",
    "LockTimeout",
    "LockView",
    "Mode",
    "NotHeldError",
    "PhaseFair",
    "Policy",
    "RWLock",
    "ReadGuard",
    "ReadWriteLock",
    "ReaderPreference",
    "SyncBackend",
    "UpgradableGuard",
    "Upgrade",
    "UpgradeConflict",
    "View",
    "Waiter",
    "Watch",
    "WriteGuard",
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


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("rwlocks")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
