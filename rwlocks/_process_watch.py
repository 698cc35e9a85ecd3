"""Watching a lock that other processes share: nobody tells of their changes, so one looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from rwlocks._watch import Watch

if TYPE_CHECKING:
    from rwlocks._process_core import ProcessLockCore

__all__ = ["ProcessWatch"]


@final
class ProcessWatch(Watch):
    """A `Watch` that looks when it is asked, and a hundred times a second while somebody waits for it.

    What comes and goes between two looks is not seen: a lock that becomes free for a moment, say.
    """

    __slots__ = ()
    nap = 0.01
    _core: ProcessLockCore  # type: ignore[assignment]

    def _begin(self, *, could: bool) -> None:
        self._could = could
        self._look()

    def _end(self) -> None:
        pass

    def _look(self) -> None:
        could, self._could = self._could, self._core.acquirable(self._mode)
        if self._could and not could:
            self._set = True
