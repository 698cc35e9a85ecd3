"""Which locks `rwlocks migrate --native` makes native, and how they are used when they are used plainly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rwlocks.cli._migrate_names import COMPAT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DECORATORS", "MODES", "PLANS", "Plan"]


class Plan(NamedTuple):
    """How one class of lock is used plainly, and what it is natively."""

    native: str
    """The lock that grants in the same order to the same owners, as code."""
    sides: Mapping[str, str]
    """The attributes that stand in a ``with``, and the native method for each; "" if the argument says it."""
    is_async: bool = False
    """``async with``."""
    called: bool = True
    """The attribute is called; it is not the context manager itself."""
    awaited: bool = False
    """And then awaited."""
    options: frozenset[str] = frozenset()
    """Keyword arguments that have no counterpart and need none."""


_AIORWLOCK: Final = Plan(
    'rwlocks.RWLock("writer-pref", reentrant=True)',
    {"reader": "read", "reader_lock": "read", "writer": "write", "writer_lock": "write"},
    is_async=True,
    called=False,
    options=frozenset({"fast"}),
)
_FASTENERS: Final = Plan('rwlocks.RWLock("writer-pref", reentrant=True)', {"read_lock": "read", "write_lock": "write"})
_MULTILOCK: Final = Plan('rwlocks.RWLock("reader-pref")', {"context": ""}, is_async=True)
_PRWLOCK: Final = Plan('rwlocks.ProcessRWLock(policy="reader-pref")', {"reader_lock": "read", "writer_lock": "write"})
_HANDLES: Final = {"gen_rlock": "read", "gen_wlock": "write"}
_CLASSES: Final = {
    "RWLockRead": "reader-pref",
    "RWLockReadD": "reader-pref",
    "RWLockWrite": "writer-pref",
    "RWLockWriteD": "writer-pref",
    "RWLockFair": "fifo",
    "RWLockFairD": "fifo",
}

PLANS: Final[Mapping[str, Plan]] = {
    f"{COMPAT}.{name}": plan
    for name, plan in {
        "aiorwlock.RWLock": _AIORWLOCK,
        "asyncio_multilock.MultiLock": _MULTILOCK,
        "fasteners.ReaderWriterLock": _FASTENERS,
        "fasteners.lock.ReaderWriterLock": _FASTENERS,
        "prwlock.RWLock": _PRWLOCK,
        **{
            f"readerwriterlock.rwlock.{name}": Plan(f'rwlocks.RWLock("{policy}")', _HANDLES)
            for name, policy in _CLASSES.items()
        },
        **{
            f"readerwriterlock.rwlock_async.{name}": Plan(
                f'rwlocks.RWLock("{policy}")', _HANDLES, is_async=True, awaited=True
            )
            for name, policy in _CLASSES.items()
        },
    }.items()
}
"""By the full name of the class."""

MODES: Final = {
    f"{COMPAT}.asyncio_multilock.MultiLockType.SHARED": "read",
    f"{COMPAT}.asyncio_multilock.MultiLockType.EXCLUSIVE": "write",
}
DECORATORS: Final = {
    f"{COMPAT}.fasteners.{module}{name}"
    for module in ("", "lock.")
    for name in ("locked", "read_locked", "write_locked")
}
"""They find ``self._lock`` by its name."""
