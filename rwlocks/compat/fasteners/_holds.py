"""Who has a lock, and how often: what makes the locks of this package re-entrant.

Only the first acquisition of an owner and its last release reach the lock underneath. That is how an owner can be what
the program says, and how a read that outlasts the write around it goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from rwlocks import DeadlockError, LockTimeout, Mode, NotHeldError, WriteGuard
from rwlocks._fork import last as _forks

if TYPE_CHECKING:
    from rwlocks import ProcessRWLock, ReadGuard, RWLock

__all__ = ["Hold", "Holds"]


@final
class Hold:
    """What one owner has: the guard of one acquisition, and how often it was taken."""

    __slots__ = ("generation", "guard", "reads", "wish", "writes")

    def __init__(self, guard: ReadGuard | WriteGuard, wish: Mode) -> None:
        self.guard = guard
        self.wish = wish
        self.reads = self.writes = 0
        self.generation = _forks.generation

    def count(self, mode: Mode) -> int:
        """How often the owner took it in that mode; 0 as long as it waits."""
        return self.reads if mode is Mode.READ else self.writes

    def add(self, mode: Mode, number: int) -> None:
        """Take it once more, or once less."""
        if mode is Mode.READ:
            self.reads += number
        else:
            self.writes += number


@final
class Holds:
    """Those of one lock. Safe for threads: each owner touches its own alone.

    ``inherits``: whether a forked child has what the forking thread had, as with locks that are not between processes.
    """

    __slots__ = ("__weakref__", "_inherits", "_of", "native")

    def __init__(self, native: RWLock | ProcessRWLock, *, inherits: bool) -> None:
        self.native = native
        self._inherits = inherits
        self._of: dict[object, Hold] = {}

    def wish(self, owner: object) -> Hold | None:
        """What the owner has or waits for."""
        hold = self._of.get(owner)
        if hold is None or self._inherits or hold.generation == _forks.generation:
            return hold
        return None

    def of(self, owner: object) -> Hold | None:
        """What the owner has."""
        hold = self.wish(owner)
        return hold if hold is not None and (hold.reads or hold.writes) else None

    def take(self, owner: object, mode: Mode, timeout: float | None = None) -> bool:
        """Acquire; whether ``timeout``, in seconds, was enough. None waits for ever, 0 tries once.

        Raises DeadlockError if the owner reads and wants to write, or would wait for itself otherwise.
        """
        hold = self.of(owner)
        if hold is None:
            return self._enter(owner, mode, timeout)
        if mode is Mode.WRITE and not hold.writes:
            raise self._refusal(owner)
        hold.add(mode, 1)
        return True

    def give_back(self, owner: object, mode: Mode) -> None:
        """Release once; whoever has given back its last write and reads still goes on as a reader.

        Raises NotHeldError if the owner does not have it in that mode.
        """
        hold = self.of(owner)
        if hold is None or not hold.count(mode):
            raise NotHeldError(
                f"{owner} does not {mode.value}; release what was acquired, once, by whoever acquired it"
            )
        if hold.reads + hold.writes == 1:
            hold.guard.release()
            self._of.pop(owner, None)
            return
        if mode is Mode.WRITE and hold.writes == 1:
            assert isinstance(hold.guard, WriteGuard)
            hold.guard.downgrade()
        hold.add(mode, -1)

    def _enter(self, owner: object, mode: Mode, timeout: float | None) -> bool:
        guard = self.native.read() if mode is Mode.READ else self.native.write()
        hold = self._of[owner] = Hold(guard, mode)
        try:
            if timeout is None:
                guard.acquire()
            elif not guard.try_acquire():
                guard.acquire(timeout)
            hold.add(mode, 1)
        except BaseException as error:
            # Interrupted at whatever point: as if it had never been asked for.
            if guard.held:
                guard.release()
            self._of.pop(owner, None)
            if isinstance(error, LockTimeout):
                return False
            raise
        return True

    def _refusal(self, owner: object) -> DeadlockError:
        error = DeadlockError(
            f"{owner} reads and would wait for itself to write; release the read first, or acquire to write from the "
            "start"
        )
        error.lock, error.holders = self.native, self.native.statistics().holders
        return error

    def __del__(self) -> None:
        # Nobody can want what its objects had: they are gone, and what they had was theirs.
        for hold in self._of.values():
            if hold.guard.held:
                hold.guard.release()
