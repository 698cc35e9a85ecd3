"""The words that every part of rwlocks shares."""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

__all__ = ["BackendName", "Checkpoint", "Deadlocks", "Mode", "PolicyName"]

PolicyName: TypeAlias = Literal["reader-pref", "writer-pref", "fifo", "phase-fair"]
BackendName: TypeAlias = Literal["auto", "threading", "asyncio", "anyio"]
Deadlocks: TypeAlias = Literal["raise", "strict", "cycles"]
Checkpoint: TypeAlias = Literal["auto", "always", "never"]


class Mode(enum.Enum):
    """How a lock is held or wanted. Every member is truthy, so that ``if lock.locked():`` works."""

    READ = "read"
    """Shared with other readers and with one upgradable holder."""

    UPGRADABLE = "upgradable"
    """A reader that may become the writer; shared with readers, one at a time."""

    WRITE = "write"
    """Shared with nobody."""

    # The hash that Enum inherits is Python code, and modes are looked up in dicts on every contended step.
    __hash__ = object.__hash__
