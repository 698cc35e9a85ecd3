"""Who has a lock, and how often: what makes the locks of this package re-entrant.

Only the first acquisition of an owner and its last release reach the lock underneath. That is how an owner can be what
the program says, and how a read that outlasts the write around it goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from rwlocks import DeadlockError, LockTimeout, Mode, NotHeldError
from rwlocks._owners import current
from rwlocks._ticket import State

if TYPE_CHECKING:
    from rwlocks import ProcessRWLock, RWLock

__all__ = ["Hold", "Holds"]


@final
class Hold:
    """What one owner has: the seat of one acquisition, and how often it was taken."""

    __slots__ = ("__weakref__", "reads", "ticket", "writes")

    def __init__(self, mode: Mode) -> None:
        self.reads = int(mode is Mode.READ)
        self.writes = int(mode is Mode.WRITE)
        self.ticket: Any = None

    @property
    def held(self) -> bool:
        """From the grant on. Never in a child for what its parent took of a lock between processes."""
        return self.ticket is not None and self.ticket.state is State.HELD

    def count(self, mode: Mode) -> int:
        """How often the owner took it in that mode."""
        return self.reads if mode is Mode.READ else self.writes

    def add(self, mode: Mode, number: int) -> None:
        """Take it once more, or once less."""
        if mode is Mode.READ:
            self.reads += number
        else:
            self.writes += number


@final
class Holds:
    """Those of one lock. Safe for threads: each owner touches its own alone."""

    __slots__ = ("__weakref__", "_core", "_of", "native")

    def __init__(self, native: RWLock | ProcessRWLock) -> None:
        self.native = native
        self._core: Any = native._core
        # An entry is made before the lock is asked for, and outlives its hold by an instant, so that whatever
        # interrupts in between leaves nothing that cannot be released.
        self._of: dict[object, Hold] = {}

    def wish(self, owner: object) -> Hold | None:
        """What the owner has or waits for."""
        return self._of.get(owner)

    def of(self, owner: object) -> Hold | None:
        """What the owner has."""
        hold = self._of.get(owner)
        return hold if hold is not None and hold.held else None

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
            self._core.monitor.leave(hold)
            self._of.pop(owner, None)
            return
        if mode is Mode.WRITE and hold.writes == 1:
            self._core.monitor.downgrade(hold)
        hold.add(mode, -1)

    def _enter(self, owner: object, mode: Mode, timeout: float | None) -> bool:
        hold = self._of[owner] = Hold(mode)
        try:
            # The thread is the owner and never its task: tasks of one thread have always shared these locks.
            self._core.acquire_with(hold, self._core.new_ticket(mode, current.thread), timeout)
        except BaseException as error:
            if hold.held:
                self._core.monitor.leave(hold)
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
