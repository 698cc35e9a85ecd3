"""What is compiled of `ProcessRWLock` in front of the native core, put in place where the compiled variant runs.

It is a fast path for acquisitions that nobody disputes (``csrc/door.h``), in subclasses of the pure types, so that
nothing but speed depends on it. Importing this module loads the native core, and is left to the first lock.
"""

from __future__ import annotations

from typing import Final

from rwlocks import ProcessRWLock, _variant
from rwlocks._process_monitor import ProcessMonitor
from rwlocks._process_ticket import ProcessTicket, Roster
from rwlocks.backends.process import _doors
from rwlocks.backends.process._core import ProcessCore

__all__ = ["implementation"]


def _install() -> type[ProcessRWLock] | None:
    if _variant.plain_because is not None:
        return None
    from rwlocks._compiled import install_door  # with the guards of a compiled `RWLock`, which these locks have, too

    lock, Roster.implementation = install_door(
        lock=ProcessRWLock,
        roster=Roster,
        ticket=ProcessTicket,
        monitor=ProcessMonitor,
        native=ProcessCore,
        undisputed=_doors.fast.UNDISPUTED,
    )
    return lock


implementation: Final = _install()
"""The compiled subclass that new locks are made of, if there is one."""
