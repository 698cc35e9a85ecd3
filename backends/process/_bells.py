"""How other processes wake the tasks of an event loop: one FIFO for each loop that waits for a lock.

Whoever grants something to a task of that loop writes a byte into it. It says only "look": which tasks have news stands
in the segment, so that a byte too many, too few or too late changes nothing but latency.
"""

from __future__ import annotations

import errno
import glob
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from rwlocks.backends.process._places import NAMELESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks._ports import AsyncWaiter, WatchingBackend

__all__ = ["Bell", "Bells", "Listener"]

_TIME_TO_OPEN: Final = 60.0
"""Seconds after which whoever made a bell has it open, or was killed."""


@final
class Listener:
    """One task that waits: how to wake it, whether there are news for it, and what to do if it can never run again."""

    __slots__ = ("lost", "news", "waiter")

    def __init__(self, waiter: AsyncWaiter, news: Callable[[], bool], lost: Callable[[], None]) -> None:
        self.waiter = waiter
        self.news = news
        self.lost = lost


@final
class Bell:
    """The FIFO of one loop. Open for reading and writing, so that it never runs dry and never blocks."""

    __slots__ = ("_fd", "_path", "_stop", "listeners", "number")

    def __init__(self, path: str, number: int, mode: int, backend: WatchingBackend) -> None:
        self.number = number
        self.listeners: set[Listener] = set()
        self._path = path
        os.mkfifo(path, 0o600)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            os.fchmod(self._fd, mode & 0o666)
            self._stop = backend.watch(self._fd, self.ring)
        except BaseException:
            Path(path).unlink()
            raise

    def ring(self) -> None:
        """Somebody rang: wake the tasks that have news."""
        try:
            os.read(self._fd, 4096)
        except BlockingIOError:
            pass
        for listener in list(self.listeners):
            if listener.news():
                listener.waiter.wake()

    def close(self) -> None:
        """Nobody listens any more."""
        try:
            self._stop()
        except RuntimeError:
            pass  # The loop has ended, and stopped watching with it.
        self.abandon()

    def abandon(self, *, unlink: bool = True) -> None:
        """Close it without the loop, which may have ended, or be the parent's of a forked child."""
        os.close(self._fd)
        if unlink:
            Path(self._path).unlink(missing_ok=True)


@final
class Bells:
    """The bells of one lock in this process: each loop has one while one of its tasks waits."""

    __slots__ = ("_bells", "_made", "_making", "_mode", "_prefix")

    def __init__(self, prefix: str, mode: int) -> None:
        self._prefix = prefix
        self._mode = mode
        self._made = 0
        self._making = threading.RLock()
        self._bells: dict[object, Bell] = {}

    def join(self, place: tuple[int, int], backend: WatchingBackend, listener: Listener) -> Bell | None:
        """Listen at the bell of the running loop. None if there can be none; then only time tells."""
        loop = backend.loop()
        bell = self._bells.get(loop)
        if bell is None:
            # One at a time: the first takes what others have left away, and must not take what a second has just made.
            with self._making:
                bell = self._make(place, backend)
            if bell is None:
                return None
            self._bells[loop] = bell
        bell.listeners.add(listener)
        return bell

    def leave(self, bell: Bell, listener: Listener) -> None:
        """The task does not wait any more. The last one of a loop takes the bell away."""
        bell.listeners.discard(listener)
        if bell.listeners:
            return
        for loop, known in list(self._bells.items()):
            if known is bell:
                del self._bells[loop]
                bell.close()

    def forked(self) -> None:
        """In a forked child: the loops and their bells are the parent's."""
        for bell in self._bells.values():
            bell.abandon(unlink=False)
        self._bells.clear()
        self._making = threading.RLock()

    def sweep(self) -> list[Listener]:
        """Those whose loop was closed while they waited; nobody will run them again."""
        return [
            listener
            for bell in list(self._bells.values())
            for listener in list(bell.listeners)
            if listener.waiter.lost()
        ]

    def _make(self, place: tuple[int, int], backend: WatchingBackend) -> Bell | None:
        if not self._prefix:
            return None
        slot, generation = place
        if not self._made:
            self._remove_stale(slot)
        self._made += 1
        path = f"{self._prefix}{slot:x}-{generation:x}-{self._made:x}"
        try:
            return Bell(path, self._made, self._mode, backend)
        except OSError:  # A full or read-only directory; the timer does it all then.
            return None

    def _remove_stale(self, slot: int) -> None:
        """What earlier processes in this slot, which was proven free, have left."""
        prefix = Path(f"{self._prefix}{slot:x}-")
        for path in prefix.parent.glob(f"{glob.escape(prefix.name)}*"):
            path.unlink(missing_ok=True)
        if prefix.name.startswith(NAMELESS):
            # A lock without a name takes its own with it, so that nobody else would ever look for them.
            for path in prefix.parent.glob(f"{NAMELESS}*"):
                if _is_deserted(path):
                    path.unlink(missing_ok=True)


def _is_deserted(path: Path) -> bool:
    """Whether nobody has that bell open, and whoever made it has had the time to."""
    try:
        if time.time() - path.lstat().st_mtime < _TIME_TO_OPEN:
            return False
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW))
    except OSError as error:
        return error.errno == errno.ENXIO
    return False
