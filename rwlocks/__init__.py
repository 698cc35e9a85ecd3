"""Reader-writer locks for threads, asyncio and trio: one object, one API, four fairness policies."""

from __future__ import annotations

from rwlocks._errors import BackendUnavailable, GuardStateError, LockTimeout, NotHeldError
from rwlocks._guards import ReadGuard, UpgradableGuard, WriteGuard
from rwlocks._lock import RWLock
from rwlocks._ports import AsyncBackend, Backend, SyncBackend
from rwlocks._stats import Holder, LockStatistics, Waiter
from rwlocks._types import Mode
from rwlocks.policies import Fifo, PhaseFair, Policy, ReaderPreference, WriterPreference

__all__ = [
    "AsyncBackend",
    "Backend",
    "BackendUnavailable",
    "Fifo",
    "GuardStateError",
    "Holder",
    "LockStatistics",
    "LockTimeout",
    "Mode",
    "NotHeldError",
    "PhaseFair",
    "Policy",
    "RWLock",
    "ReadGuard",
    "ReaderPreference",
    "SyncBackend",
    "UpgradableGuard",
    "Waiter",
    "WriteGuard",
    "WriterPreference",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("rwlocks")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
