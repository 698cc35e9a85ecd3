"""Guards: one acquisition to be, then the token of its hold.

A guard has no logic of its own. It keeps the ticket of its acquisition and passes every wish on to its lock.
"""

from __future__ import annotations

import enum
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Final, SupportsFloat, final

from rwlocks._acquire import in_seconds
from rwlocks._errors import AbandonedHoldWarning, GuardStateError, NotHeldError
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType
    from typing import Self, TypeVar

    from rwlocks._core import LockCore

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Guard", "ReadGuard", "UpgradableGuard", "Upgrade", "WriteGuard"]


class _Default(enum.Enum):
    OWN_TIMEOUT = "the guard's own timeout"

    def __repr__(self) -> str:
        return "..."


OWN_TIMEOUT: Final = _Default.OWN_TIMEOUT


class Guard:
    """One acquisition of a lock, made by ``lock.read()``, ``lock.write()`` or ``lock.upgradable()``.

    Use it as ``with guard:`` in threads, ``async with guard:`` in asyncio and trio, or explicitly; or decorate a
    function with it. Once released it may be used again. Any thread or task that has a held guard may release it.

    Keep it as long as it holds: dropping a held guard does not release the lock (losing exclusion in silence would be
    worse than a hang), but warns with `AbandonedHoldWarning`, and whoever waits for that hold gets `DeadlockError`.
    """

    __slots__ = ("__weakref__", "_core", "_lock", "_timeout", "ticket")

    wanted: ClassVar[Mode]
    """The mode that this kind of guard acquires."""

    ticket: Ticket | None
    """The engine's record of the acquisition; internal."""

    def __init__(self, lock: object, core: LockCore, timeout: SupportsFloat | None = None) -> None:
        self.ticket = None  # First, so that the finaliser of a guard refused for its timeout finds it.
        self._lock = lock
        self._core = core
        self._timeout = None if timeout is None else in_seconds(timeout)

    @property
    def held(self) -> bool:
        """Whether this guard has the lock. True from the instant of the grant, before its waiter wakes."""
        ticket = self.ticket  # Looked at once: other threads may use the guard.
        return ticket is not None and ticket.state is State.HELD

    @property
    def mode(self) -> Mode:
        """The mode held now, or the one that an acquisition would ask for."""
        ticket = self.ticket
        return ticket.mode if ticket is not None and ticket.state is State.HELD else self.wanted

    @property
    def recovered(self) -> bool:
        """Whether a writer was cut off, so that the data may be half written; until ``lock.mark_consistent()``.

        Of an `RWLock` by a fork, of a `ProcessRWLock` by the death of its process.
        """
        return self._core.monitor.recovered

    def acquire(self, timeout: SupportsFloat | _Default | None = OWN_TIMEOUT) -> Self:
        """Wait for the lock, blocking the thread, and return this guard.

        ``timeout`` is in seconds of the monotonic clock and overrides the guard's own: None and infinity wait for
        ever, zero and less try once.

        Raises:
            LockTimeout: the lock could not be had in time.
            DeadlockError: waiting would never end, because it is the caller itself that has to release, or a hold was
                abandoned, or the caller blocks the event loop that has to release.
            GuardStateError: this guard holds the lock already, or waits for it.
            RuntimeError: the lock was made for other runtimes only (``backend=``).
        """
        self._core.acquire(self, self.wanted, self._seconds(timeout))
        return self

    def try_acquire(self) -> bool:
        """Take the lock if the policy lets a newcomer in now; never waits. For sync and async code alike.

        Raises GuardStateError if this guard holds the lock already, or waits for it.
        """
        return self._core.try_acquire(self, self.wanted)

    def release(self) -> None:
        """Give the lock back. Never waits; for sync and async code alike, from any thread, task or signal handler.

        Raises NotHeldError, and changes nothing, if this guard holds nothing.
        """
        self._core.monitor.leave(self)

    def detach(self) -> Self:
        """Make the hold nobody's, to be released elsewhere, and return this guard.

        From then on it counts neither as the caller's own, nor does leaving a block release it.
        Raises NotHeldError if this guard holds nothing, GuardStateError if the hold is nested in another.
        """
        self._core.detach(self)
        return self

    def __enter__(self) -> Self:
        self._core.acquire(self, self.wanted, self._timeout)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ticket = self.ticket
        if ticket is None or not ticket.detached:
            self._core.monitor.leave(self)

    def __aenter__(self) -> Coroutine[Any, Any, Self]:
        return self._core.acquire_async(self, self.wanted, self._timeout)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc_value, traceback)

    def __await__(self) -> Generator[object, None, Self]:
        """Wait for the lock, suspending the task; the result is this guard. If the task holds it already, at once."""
        return self._acquire_async().__await__()

    def _acquire_async(self) -> Coroutine[Any, Any, Self]:
        return self._core.acquire_async(self, self.wanted, self._timeout, again=True)

    def __call__(self, function: F) -> F:
        """Decorate a sync or async function or generator: each call acquires afresh, with this mode and timeout.

        A generator holds from its first step until it is exhausted or closed.
        """
        from rwlocks._decorate import decorate

        return decorate(function, lambda: type(self)(self._lock, self._core, self._timeout))

    def _seconds(self, timeout: SupportsFloat | _Default | None) -> float | None:
        return self._timeout if isinstance(timeout, _Default) else in_seconds(timeout)

    def __del__(self) -> None:
        ticket = self.ticket
        if ticket is not None:
            self._report_abandoned(ticket)

    def _report_abandoned(
        self, ticket: Ticket, warn: Callable[..., None] = warnings.warn, held: State = State.HELD
    ) -> None:
        # The collector may run this inside the mutex: no lock is taken. Defaults outlive the interpreter's modules.
        if ticket.state is held:
            message = self._core.abandon(ticket)
            if message:
                warn(message, AbandonedHoldWarning, source=self)

    def __reduce__(self) -> str:
        raise TypeError(
            "a guard cannot be pickled or copied: a hold belongs to one process; make a guard where it is used"
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


class _Downgradable(Guard):
    __slots__ = ()

    def downgrade(self) -> None:
        """Go on as a reader, or end an active upgrade. Never waits, never fails, and nobody can write in between.

        Raises NotHeldError if this guard holds nothing, and GuardStateError if it is a reader already.
        """
        self._core.monitor.downgrade(self)


class _CanUpgrade(Guard):
    __slots__ = ()

    def upgrade(self, timeout: SupportsFloat | None = None) -> Upgrade:
        """To become the writer, with no other writer in between: a context manager, sync and async, or explicit.

        ``timeout`` is in seconds; None waits for ever, 0 tries once. Nothing happens before it is entered or acquired.
        """
        return Upgrade(self, self._core, timeout)


@final
class ReadGuard(_CanUpgrade):
    """Shared with other readers and with one upgradable holder. Its `upgrade` is an attempt: see `UpgradeConflict`."""

    __slots__ = ()
    wanted = Mode.READ


@final
class WriteGuard(_Downgradable):
    """Shared with nobody."""

    __slots__ = ()
    wanted = Mode.WRITE


@final
class UpgradableGuard(_Downgradable, _CanUpgrade):
    """A reader that may become the writer. Shared with readers, one at a time. Its `upgrade` only waits for readers."""

    __slots__ = ()
    wanted = Mode.UPGRADABLE


@final
class Upgrade:
    """One atomic step from reader to writer, made by ``guard.upgrade()``; back to the mode it came from at its end.

    Use it as ``with``, ``async with``, ``await``, or explicitly. An upgrade that fails, times out or is cancelled
    leaves the guard exactly as it was.
    """

    __slots__ = ("__weakref__", "_core", "_guard", "_ticket", "_timeout")

    def __init__(self, guard: Guard, core: LockCore, timeout: SupportsFloat | None) -> None:
        self._guard = guard
        self._core = core
        self._timeout = in_seconds(timeout)
        self._ticket: Ticket | None = None

    @property
    def held(self) -> bool:
        """Whether the upgrade is active: the guard is the writer because of it."""
        ticket = self._ticket
        return (
            ticket is not None and ticket.state is State.HELD and ticket.base is not None and ticket.mode is Mode.WRITE
        )

    def acquire(self, timeout: SupportsFloat | _Default | None = OWN_TIMEOUT) -> Self:
        """Wait until all other readers have left, blocking the thread, and return this upgrade.

        Raises:
            LockTimeout: they did not leave in time.
            UpgradeConflict: another guard is upgradable or upgrading; only for plain readers.
            DeadlockError: the caller holds the lock through another guard, too, or would wait for itself otherwise.
            NotHeldError: the guard holds nothing. GuardStateError: it is the writer already, or waits to become it.
        """
        self._begin()
        seconds = self._timeout if isinstance(timeout, _Default) else in_seconds(timeout)
        self._core.upgrade(self._guard, seconds)
        self._ticket = self._guard.ticket
        return self

    def try_acquire(self) -> bool:
        """Become the writer if nobody else reads and no conflict is in the way; never waits."""
        self._begin()
        upgraded = self._core.try_upgrade(self._guard)
        if upgraded:
            self._ticket = self._guard.ticket
        return upgraded

    def release(self) -> None:
        """End the upgrade: back to the mode it came from. Raises NotHeldError if it is not active."""
        if self._ticket is None:
            raise NotHeldError("this upgrade is not active: it was ended before, or never granted")
        ticket, self._ticket = self._ticket, None
        self._core.end_upgrade(ticket)

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    async def __aenter__(self) -> Self:
        return await self._acquire_async()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def __await__(self) -> Generator[object, None, Self]:
        """Wait until all other readers have left, suspending the task; the result is this upgrade."""
        return self._acquire_async().__await__()

    async def _acquire_async(self) -> Self:
        self._begin()
        await self._core.upgrade_async(self._guard, self._timeout)
        self._ticket = self._guard.ticket
        return self

    def _begin(self) -> None:
        if self.held:
            raise GuardStateError("this upgrade is active already; end it first")

    def _leave(self) -> None:
        ticket = self._ticket
        if ticket is not None and ticket.inherited:
            self._ticket = None  # It is for the parent process to end it.
        elif ticket is not None and ticket.state is State.HELD and ticket.base is None:
            self._ticket = None  # A downgrade inside the block has ended the upgrade, and the hold goes on.
        else:
            self.release()

    def __repr__(self) -> str:
        return f"<Upgrade of {self._guard!r}: {'active' if self.held else 'not active'}>"
