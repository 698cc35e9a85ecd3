"""The memory that the demo's processes share: the data that their lock protects, and what each of them has to report.

It is plain memory with no protection of its own. Each worker writes its own row; the data are written under the lock,
and by whoever a broken lock lets in. Who is killed in the middle of a write leaves the two halves of the counter apart,
which nobody may find who was not told that a writer has died.
"""

from __future__ import annotations

import enum
import mmap
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Board", "Note"]


class Note(enum.IntEnum):
    """What a worker notes in its row. Times are nanoseconds of the monotonic clock, which all processes share."""

    GRANTED = 0
    GIVEN_UP = 1
    LONGEST_READ_WAIT = 2
    LONGEST_WRITE_WAIT = 3
    LAST_GRANT = 4
    WRITES = 5
    REPAIRS = 6
    VIOLATIONS = 7


HEADER: Final = 3
"""Words: whether it is over, and the two halves of the counter."""
WORD: Final = 8
TOLD: Final = 256
"""Bytes for what the first violation of a worker was."""


@final
class Board:
    """Inherited by children that are forked."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        words = HEADER + workers * len(Note)
        self._texts = words * WORD
        self._memory = mmap.mmap(-1, self._texts + workers * TOLD)
        self._bytes = memoryview(self._memory)
        self._words = self._bytes[: self._texts].cast("q")
        self.cells = self._words[1:HEADER]
        """The counter's."""

    @property
    def over(self) -> bool:
        """Whether the workers are to leave."""
        return bool(self._words[0])

    def end(self) -> None:
        """Let the workers leave."""
        self._words[0] = 1

    def get(self, worker: int, note: Note) -> int:
        """From the row of that worker."""
        return self._words[HEADER + worker * len(Note) + note]

    def put(self, worker: int, note: Note, value: int) -> None:
        """Into its row."""
        self._words[HEADER + worker * len(Note) + note] = value

    def add(self, worker: int, note: Note) -> None:
        """Count one more."""
        self.put(worker, note, self.get(worker, note) + 1)

    def column(self, note: Note) -> Iterator[int]:
        """From all rows."""
        return (self.get(worker, note) for worker in range(self._workers))

    def tell(self, worker: int, what: str) -> None:
        """Note a violation. The first one in words, the others are only counted."""
        if self.get(worker, Note.VIOLATIONS) == 0:
            text = what.encode()[:TOLD]
            start = self._texts + worker * TOLD
            self._bytes[start : start + len(text)] = text
        self.add(worker, Note.VIOLATIONS)

    def told(self) -> Iterator[str]:
        """What has been told, all of it."""
        for worker in range(self._workers):
            count = self.get(worker, Note.VIOLATIONS)
            if count:
                start = self._texts + worker * TOLD
                first = bytes(self._bytes[start : start + TOLD]).rstrip(b"\0").decode(errors="replace")
                yield first + (f", and {count - 1:,} more of it" if count > 1 else "")
