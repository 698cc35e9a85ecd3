"""Guards: one acquisition to be, then the token of its hold.

A guard has no logic of its own. It keeps the ticket of its acquisition and passes every wish on to its lock.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, SupportsFloat, final

from rwlocks._acquire import in_seconds
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType
    from typing import Self


__all__ = ["Guard", "GuardedLock", "ReadGuard", "UpgradableGuard", "WriteGuard"]


class _Default(enum.Enum):
    OWN_TIMEOUT = "the guard's own timeout"

    def __repr__(self) -> str:
        return "..."


OWN_TIMEOUT: Final = _Default.OWN_TIMEOUT


class GuardedLock(Protocol):
    """What a lock does for its guards. Timeouts are in seconds, None waits for ever."""

    def acquire_guard(self, guard: Guard, timeout: float | None) -> None: ...

    async def acquire_guard_async(self, guard: Guard, timeout: float | None, *, again: bool) -> None: ...

    def try_guard(self, guard: Guard) -> bool: ...

    def release_guard(self, guard: Guard) -> None: ...

    def downgrade_guard(self, guard: Guard) -> None: ...


class Guard:
    """One acquisition of a lock, made by ``lock.read()``, ``lock.write()`` or ``lock.upgradable()``.

    Use it as ``with guard:`` in threads, ``async with guard:`` in asyncio and trio, or explicitly. Once released it may be
    used again. Any thread or task that has a held guard may release it.
    """

    __slots__ = ("__weakref__", "_lock", "_timeout", "ticket")

    wanted: ClassVar[Mode]
    """The mode that this kind of guard acquires."""

    ticket: Ticket | None
    """The engine's record of the acquisition; internal."""

    def __init__(self, lock: GuardedLock, timeout: SupportsFloat | None = None) -> None:
        self._lock = lock
        self._timeout = None if timeout is None else in_seconds(timeout)
        self.ticket = None

    @property
    def held(self) -> bool:
        """Whether this guard has the lock. True from the instant of the grant, before its waiter wakes."""
        return self.ticket is not None and self.ticket.state is State.HELD

    @property
    def mode(self) -> Mode:
        """The mode held now, or the one that an acquisition would ask for."""
        ticket = self.ticket
        return ticket.mode if ticket is not None and ticket.state is State.HELD else self.wanted

    def acquire(self, timeout: SupportsFloat | None | _Default = OWN_TIMEOUT) -> Self:
        """Wait for the lock, blocking the thread, and return this guard.

        ``timeout`` is in seconds of the monotonic clock and overrides the guard's own: None and infinity wait for ever, zero
        and less try once.

        Raises:
            LockTimeout: the lock could not be had in time.
            GuardStateError: this guard holds the lock already, or waits for it.
            RuntimeError: the lock was made for other runtimes only (``backend=``).
        """
        self._lock.acquire_guard(self, self._seconds(timeout))
        return self

    def try_acquire(self) -> bool:
        """Take the lock if the policy lets a newcomer in now; never waits. For sync and async code alike.

        Raises GuardStateError if this guard holds the lock already, or waits for it.
        """
        return self._lock.try_guard(self)

    def release(self) -> None:
        """Give the lock back. Never waits; for sync and async code alike, from any thread or task.

        Raises NotHeldError, and changes nothing, if this guard holds nothing.
        """
        self._lock.release_guard(self)

    def __enter__(self) -> Self:
        self._lock.acquire_guard(self, self._timeout)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release_guard(self)

    async def __aenter__(self) -> Self:
        await self._lock.acquire_guard_async(self, self._timeout, again=False)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release_guard(self)

    def __await__(self) -> Generator[object, None, Self]:
        """Wait for the lock, suspending the task; the result is this guard. If the task holds it already, at once."""
        return self._acquire_async().__await__()

    async def _acquire_async(self) -> Self:
        await self._lock.acquire_guard_async(self, self._timeout, again=True)
        return self

    def _seconds(self, timeout: SupportsFloat | None | _Default) -> float | None:
        return self._timeout if isinstance(timeout, _Default) else in_seconds(timeout)

    def __reduce__(self) -> str:
        raise TypeError(
            "a guard cannot be pickled or copied: a hold belongs to one process; make a guard where it is needed"
        )

    def __repr__(self) -> str:
        ticket = self.ticket
        if ticket is None or ticket.state is State.DONE:
            state = "not held"
        elif ticket.state is State.HELD:
            state = f"held for {ticket.mode.value}"
        else:
            state = "waiting"
        return f"<{type(self).__name__} of {self._lock!r}: {state}>"


@final
class ReadGuard(Guard):
    """Shared with other readers and with one upgradable holder."""

    __slots__ = ()
    wanted = Mode.READ


class _Downgradable(Guard):
    __slots__ = ()

    def downgrade(self) -> None:
        """Go on as a reader. Never waits, never fails, and nobody can write in between; readers may come in at once.

        Raises NotHeldError if this guard holds nothing, and GuardStateError if it is a reader already.
        """
        self._lock.downgrade_guard(self)


@final
class WriteGuard(_Downgradable):
    """Shared with nobody."""

    __slots__ = ()
    wanted = Mode.WRITE


@final
class UpgradableGuard(_Downgradable):
    """A reader that may become the writer. Shared with readers, one at a time."""

    __slots__ = ()
    wanted = Mode.UPGRADABLE
