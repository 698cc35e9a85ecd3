"""A look at a lock from outside, by somebody who does not use it and may not even be allowed to write there.

Nothing is attached, mapped, locked or written: the file is copied, and the copy is read. Whether anything happened
while it was copied shows in the gate's word and its count of passes, and then the copy is taken again. If the gate
stays shut, since its owner was stopped or died there, or is never quiet, the last copy has to do, and says so.
"""

from __future__ import annotations

import errno
import os
import stat
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, NamedTuple

from rwlocks.backends.process import _segment
from rwlocks.backends.process._doors import fast
from rwlocks.backends.process._places import unsafe
from rwlocks.backends.process._snapshot import Request, Snapshot, rank, request_from, snapshot_of

if TYPE_CHECKING:
    from pathlib import Path

    from rwlocks.backends.process._fast import Copied
    from rwlocks.backends.process._segment import Config

__all__ = ["Look", "Seen", "look"]

_PATIENCE: Final = 0.25
"""Seconds in which to find the gate open. Where three processes did nothing but lock, one copy in twenty was whole."""
_PAUSE: Final = 0.0005
_HEAD: Final = 4096
"""What comes before the tables; see csrc/layout.h."""
_DEAD, _HERE = 0, 1
_LARGEST: Final = fast.size(4000, 65535)


class Seen(NamedTuple):
    """Somebody who holds the lock or waits for it."""

    request: Request
    alive: bool
    """False if its process is dead, and nobody has come by since who would have noticed."""
    here: bool
    """Whether its pid means the same in this process: both are in the same pid namespace."""


class Look(NamedTuple):
    """What could be seen of a lock."""

    path: Path
    config: Config
    snapshot: Snapshot
    seen: tuple[Seen, ...]
    """The requests of the snapshot, in the same order."""
    processes: tuple[int, ...]
    """The pids of all who have it open, idle ones included."""
    whole: bool
    """Whether it is consistent: nothing changed while it was copied."""
    gate: int
    """If it is not: the pid of who was inside the gate at last, 0 if nobody was."""


def look(path: Path) -> Look:
    """What is there now. Changes nothing, and waits for nobody.

    Raises FileNotFoundError or PermissionError, and SegmentError for what is no lock, a damaged one, or one from before
    the last boot.
    """
    fd = _opened(path)
    try:
        header, whole, gate, answer, lives, processes = _copied(fd, path)
    finally:
        os.close(fd)
    snapshot = snapshot_of(answer, str(path))
    seen = [
        Seen(request_from(record, answer[0]), alive=life != _DEAD, here=life == _HERE)
        for record, life in zip(answer[-1], lives, strict=True)
    ]
    seen.sort(key=lambda each: rank(each.request))
    config = _segment.config_from(header)
    return Look(path, config, snapshot, tuple(seen), tuple(processes), whole, 0 if whole else gate)


def _opened(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise unsafe(path, "is a symbolic link", "give the path it leads to, if you trust it") from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise unsafe(path, "is no regular file", "remove it, or use another name")
    return fd


def _copied(fd: int, path: Path) -> Copied:
    """A copy that is whole, or the last one."""
    deadline = monotonic() + _PATIENCE
    while True:
        # One byte more than the largest there can be, so that a larger file does not pass for one.
        image = os.pread(fd, min(os.fstat(fd).st_size, _LARGEST + 1), 0)
        found = fast.look(image, os.pread(fd, _HEAD, 0), fd, _segment._boot_id())
        if isinstance(found, int):
            raise _segment._refused(path, found)
        if found[1] or monotonic() > deadline:
            return found
        sleep(_PAUSE)
