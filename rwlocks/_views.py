"""`lock.reader` and `lock.writer`: one side of a lock that behaves exactly as a `threading.Lock` does.

For library code that takes any lock, `threading.Condition` first of all. Its holds have no owner, as there: any thread
or task may release them, and a second acquisition waits.
"""

from __future__ import annotations

from _thread import TIMEOUT_MAX
from math import isnan
from typing import TYPE_CHECKING, final

from rwlocks._errors import LockTimeout, NotHeldError
from rwlocks._owners import current
from rwlocks._ticket import State
from rwlocks._types import Mode

if TYPE_CHECKING:
    from types import TracebackType

    from rwlocks._core import LockCore
    from rwlocks._ticket import Ticket

__all__ = ["View"]


@final
class _Hold:
    """The seat of one acquisition; a view may have many at a time."""

    __slots__ = ("ticket",)

    def __init__(self) -> None:
        self.ticket: Ticket | None = None


@final
class View:
    """One side of a lock with the methods of `threading.Lock`: `RWLock.reader`, `RWLock.writer`."""

    __slots__ = ("__weakref__", "_core", "_holds", "_lock", "_mode")

    def __init__(self, lock: object, core: LockCore, mode: Mode) -> None:
        self._lock = lock
        self._core = core
        self._mode = mode
        # Appended and popped by any thread; both are atomic.
        self._holds: list[_Hold] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire, blocking the thread; returns whether that succeeded.

        ``timeout`` is in seconds; -1 waits for ever. Raises ValueError for a timeout without blocking and for other
        negative ones and NaN, OverflowError for more than `threading.TIMEOUT_MAX`.
        """
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if isnan(timeout) or (timeout < 0 and timeout != -1):
            raise ValueError("timeout value must be a non-negative number")
        if timeout > TIMEOUT_MAX:
            raise OverflowError("timeout value is too large")
        hold = _Hold()
        if not blocking:
            if not self._core.try_acquire_with(hold, self._ownerless()):
                return False
        else:
            try:
                self._core.acquire_with(hold, self._ownerless(), None if timeout == -1 else timeout)
            except LockTimeout:
                return False
        self._holds.append(hold)
        return True

    def release(self) -> None:
        """Give back one acquisition of this view. Raises NotHeldError (a RuntimeError) if it has none."""
        self._give_back(leaving=False)

    def _give_back(self, *, leaving: bool) -> None:
        while True:
            try:
                hold = self._holds.pop()
            except IndexError:
                raise NotHeldError(
                    f"release of unlocked {self!r}: it gives back only what was acquired through it"
                ) from None
            if leaving and hold.ticket is not None and hold.ticket.inherited:
                return  # The block was entered in the process that this one was forked from, and is left there, too.
            try:
                self._core.monitor.leave(hold)
            except NotHeldError:
                continue  # It ended without this view: forgotten, or left behind by a fork.
            return

    def locked(self) -> bool:
        """Whether this side of the lock is held, through this view or otherwise."""
        held = self._core.locked()
        return held is not None and (held is Mode.WRITE) == (self._mode is Mode.WRITE)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._give_back(leaving=True)

    async def __aenter__(self) -> bool:
        hold = _Hold()
        await self._core.acquire_async_with(self._core.suspending(), hold, self._ownerless(), None)
        self._holds.append(hold)
        return True

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._give_back(leaving=True)

    def _is_owned(self) -> bool:
        # What `threading.Condition` asks of its lock before a wait. Its own way, a test acquisition, is fooled by those
        # who hold the other side.
        self._core.locked()  # A forked child learns first what it still holds.
        return any(hold.ticket is not None and hold.ticket.state is State.HELD for hold in self._holds)

    def _at_fork_reinit(self) -> None:
        # What the standard library asks of its locks in a forked child: to be unlocked, whoever held them.
        while self._is_owned():
            self.release()
        self._holds.clear()

    def _ownerless(self) -> Ticket:
        ticket = self._core.new_ticket(self._mode, current.thread)
        ticket.owner = object()
        return ticket

    def __repr__(self) -> str:
        side = "writer" if self._mode is Mode.WRITE else "reader"
        state = "locked" if self._is_owned() else "unlocked"
        return f"<{state} {side} object of {self._lock!r} at {id(self):#x}>"
