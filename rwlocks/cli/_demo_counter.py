"""The data that the demo's lock protects, made so that it betrays every lock that fails to.

The visits are generators that yield where they want to be suspended, for so many seconds. Threads and tasks drive
the same ones, and a test can interleave them by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias

    Visit: TypeAlias = Generator[float, None, None]

__all__ = ["Cells", "Counter"]


class Cells(Protocol):
    """Where numbers lie: a list, or memory that processes share."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


@final
class Counter:
    """A number kept twice. Only the lock makes the two halves change as one: in here there is no other protection."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells: Cells = [0, 0] if cells is None else cells
        self.candidate: str | None = None
        self.violations: list[str] = []

    @property
    def first(self) -> int:
        """The half that a writer changes at once."""
        return self._cells[0]

    @property
    def second(self) -> int:
        """The half that it changes in the end."""
        return self._cells[1]

    def read(self, who: str, pause: float, *, warned: bool = False) -> Visit:
        """Look, sleep, look again: both halves must be equal, and stay as they are.

        ``warned``: the lock has said that a writer may have died half way.
        """
        seen = self.first, self.second
        if seen[0] != seen[1] and not warned:
            self._violation(f"{who} read half a write")
        yield pause
        if (self.first, self.second) != seen:
            self._violation(f"somebody wrote while {who} read")

    def reserve(self, who: str, pause: float) -> Visit:
        """Read as the only candidate for the next write."""
        if self.candidate is not None:
            self._violation(f"{who} and {self.candidate} were upgradable at once")
        self.candidate = who
        yield from self.read(who, pause)
        self.candidate = None

    def write(self, who: str, pause: float) -> Visit:
        """Add one to the first half, sleep, add one to the second."""
        before = self.first
        if before != self.second:
            self._violation(f"{who} found a write half done")
        self._cells[0] = before + 1
        yield pause
        if (self.first, self.second) != (before + 1, before):
            self._violation(f"somebody wrote while {who} wrote")
        self._cells[1] = before + 1

    def repair(self) -> None:
        """Finish the write of somebody who died half way."""
        self._cells[1] = self.first

    def _violation(self, what: str) -> None:
        self.violations.append(what)
