"""Which variant of this package runs: the compiled one where it was built and serves, or plain Python.

The modules of the slow path exist twice: as source, and compiled from that very source into the folder ``compiled``,
which is put in front of this one before any of them is imported. Compiled code runs no bytecode, so that no signal
handler can raise in the midst of it: an acquisition is entered or given back, a release done, whoever is due woken.

An interpreter that was built to do without its lock has the fast path in C, in front of the slow path as plain Python:
what Cython makes of it relies on that lock.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableSequence

__all__ = ["choose", "plain_because", "prefer_compiled", "slow_path_because"]

plain_because: str | None = None
"""Why plain Python runs, with the remedy; None when the compiled variant does."""

slow_path_because: str | None = None
"""Why at least the slow path runs as plain Python; None when all that can be compiled is."""

_REMEDY = (
    "with a C compiler at hand, run "
    "'pip install --force-reinstall --no-cache-dir --no-binary rwlocks rwlocks' (in a checkout: 'pip install -e .')"
)


def choose(package_path: MutableSequence[str]) -> None:
    """Decide, once and before anything else is imported."""
    global plain_because, slow_path_because  # noqa: PLW0603  the decision
    plain_because = slow_path_because = _obstacle()
    if plain_because is None and "t" in getattr(sys, "abiflags", ""):
        slow_path_because = "compiled it would rely on the interpreter's lock, and this one was built to do without"
    prefer_compiled(package_path)


def prefer_compiled(package_path: MutableSequence[str], *package: str) -> None:
    """Let a package, ours or one in it, find its compiled modules first, if they are to run."""
    if slow_path_because is None:
        package_path.insert(0, os.path.join(os.path.dirname(__file__), "compiled", *package))  # noqa: PTH118, PTH120  pathlib is slow to load


def _obstacle() -> str | None:
    for variable, value in (("RWLOCKS_NO_NATIVE", "0"), ("RWLOCKS_CORE", "c")):
        if os.environ.get(variable, "") not in {"", value}:
            return f"{variable} asks for plain Python; unset it"
    if threading.local.__module__ != "_thread":
        return "threading was patched, and compiled code knows the system's threads only; import rwlocks before that"
    try:
        __import__("rwlocks._fastpath")
    except ImportError as error:
        if "interpreter" in str(error):
            return f"compiled code serves the main interpreter only ({error}); use locks there, or take plain ones"
        return f"the compiled code cannot be loaded here ({error}); {_REMEDY}"
    return None
