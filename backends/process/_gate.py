"""Whether a gate that stays shut will ever open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from rwlocks.backends.process import _segment

if TYPE_CHECKING:
    from rwlocks.backends.process._fast import Context

__all__ = ["GateWatch"]

STUCK: Final = 100
"""So many looks at a gate that never opens, and whose owner runs, are proof that the memory was scribbled over."""


@final
class GateWatch:
    """Notices a gate that will never open, because its word was scribbled over.

    A process that was stopped inside the gate may take its time; one that runs is through in a microsecond.
    """

    __slots__ = ("_name", "_passes", "_same")

    def __init__(self, name: str) -> None:
        self._name = name
        self._passes = -1
        self._same = 0

    def look(self, context: Context) -> None:
        passes, owner = context.gate()
        if not owner or passes != self._passes:
            self._passes, self._same = passes, 0
            return
        self._same += 1
        if self._same >= STUCK and not _stopped(owner):
            raise _segment.damaged(self._name)


def _stopped(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return status.rpartition(")")[2].split()[0] in {"T", "t"}
    except OSError:
        return False
