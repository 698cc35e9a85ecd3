"""What `rwlocks migrate` knows by name: the libraries, their modules, and what `rwlocks.compat` has of them."""

from __future__ import annotations

import functools
import importlib
from typing import Final, NamedTuple

__all__ = ["COMPAT", "LIBRARIES", "MODULES", "Finding", "compat_of", "library_of", "offers"]

COMPAT: Final = "rwlocks.compat"

MODULES: Final = frozenset(
    {
        "aiorwlock",
        "asyncio_multilock",
        "fasteners",
        "fasteners.lock",
        "fasteners.process_lock",
        "prwlock",
        "readerwriterlock",
        "readerwriterlock.rwlock",
        "readerwriterlock.rwlock_async",
    }
)
"""The modules of the libraries that `rwlocks.compat` has under the same names."""

LIBRARIES: Final = frozenset(module.partition(".")[0] for module in MODULES)


class Finding(NamedTuple):
    """Something that was left as it was."""

    line: int
    why: str


def library_of(module: str) -> str | None:
    """The library that a dotted name belongs to, if it is one of those."""
    root = module.partition(".")[0]
    return root if root in LIBRARIES else None


def compat_of(module: str) -> str:
    """The module of `rwlocks.compat` for one of `MODULES`."""
    return f"{COMPAT}.{module}"


@functools.cache
def offers(module: str, name: str) -> bool:
    """Whether the compat module for one of `MODULES` has that name. It is asked itself: no list could be as right."""
    try:
        return hasattr(importlib.import_module(compat_of(module)), name)
    except ImportError:
        return False
