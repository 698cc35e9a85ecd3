"""`RWLock`: one reader-writer lock for threads, asyncio and trio, all on the same object."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final, NoReturn, SupportsFloat, final, get_args

from rwlocks import _runtimes
from rwlocks._acquire import acquisition, block, suspend
from rwlocks._errors import LockTimeout
from rwlocks._guards import Guard, ReadGuard, UpgradableGuard, WriteGuard
from rwlocks._monitor import Interrupted, Monitor
from rwlocks._owners import current
from rwlocks._ports import AsyncBackend, Backend, SyncBackend
from rwlocks._ticket import State, Ticket
from rwlocks._types import BackendName, Checkpoint, Mode, PolicyName
from rwlocks.policies import Policy, policy_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks._stats import LockStatistics

__all__ = ["RWLock"]

_NOW: Final = 0.0  # a timeout that does not wait


@final
class RWLock:
    """A reader-writer lock for plain threads, any number of asyncio loops, and trio, at the same time.

    ``policy``: ``"fifo"``, ``"phase-fair"``, ``"reader-pref"``, ``"writer-pref"``, or an object of `rwlocks.policies`.
    ``name``: what messages and ``repr`` call it. ``checkpoint``: whether an async acquisition that need not wait yields to
    other tasks: ``"auto"`` follows each runtime's own custom, ``"always"``, ``"never"``. ``backend``: which
    runtimes may wait for it: ``"auto"`` (any), ``"threading"``, ``"asyncio"``, ``"anyio"``, the name of a registered
    one, or a `Backend`.

    It can be created anywhere and is never bound to a loop. It can be referenced weakly, but neither copied nor pickled.
    All methods may be called from any thread and any task.

    Raises:
        ValueError: an unknown policy, backend or checkpoint; the message names the known ones.
        TypeError: an argument of another type.
        BackendUnavailable: the backend needs a package that is not installed.
    """

    __slots__ = ("__weakref__", "_checkpoint", "_monitor", "_name", "_only", "_policy")

    def __init__(
        self,
        policy: PolicyName | Policy = "fifo",
        *,
        name: str | None = None,
        checkpoint: Checkpoint = "auto",
        backend: BackendName | str | Backend = "auto",
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"the name is {name!r}; give a str, or None")
        if checkpoint not in get_args(Checkpoint):
            known = ", ".join(map(repr, get_args(Checkpoint)))
            raise ValueError(f"unknown checkpoint {checkpoint!r}; the known ones are {known}")
        self._policy = policy_named(policy)
        self._name = name
        self._checkpoint = checkpoint
        self._only = None if backend == "auto" else _runtimes.backend_named(backend)
        self._monitor = Monitor(self._policy)

    @property
    def name(self) -> str | None:
        """The name given at creation."""
        return self._name

    @property
    def policy(self) -> Policy:
        """The rules of this lock."""
        return self._policy

    # -- guards ------------------------------------------------------------------------------------------------

    def read(self, timeout: SupportsFloat | None = None) -> ReadGuard:
        """A guard to share the lock with other readers. ``timeout`` is in seconds; None waits for ever, 0 tries once.

        Raises ValueError for NaN and TypeError for what is no number.
        """
        return ReadGuard(self, timeout)

    def write(self, timeout: SupportsFloat | None = None) -> WriteGuard:
        """A guard to have the lock alone. ``timeout`` as for `read`."""
        return WriteGuard(self, timeout)

    def upgradable(self, timeout: SupportsFloat | None = None) -> UpgradableGuard:
        """A guard to read now and perhaps write later; one at a time, beside any readers. ``timeout`` as for `read`."""
        return UpgradableGuard(self, timeout)

    # -- looking -----------------------------------------------------------------------------------------------

    def locked(self) -> Mode | None:
        """The strongest mode in which the lock is held, None (falsy) when it is free."""
        return self._monitor.locked()

    def statistics(self) -> LockStatistics:
        """One consistent snapshot: who holds, who waits, and totals. A grant shows before its waiter has woken."""
        return self._monitor.statistics()

    def __repr__(self) -> str:
        mode, waiting = self.locked(), self._monitor.parked()
        name = "" if self._name is None else f" {self._name!r}"
        state = "free" if mode is None else f"held for {mode.value}"
        return f"<RWLock{name} {self._policy.name}: {state}, {waiting} waiting>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an RWLock lives in one process and can be neither pickled nor copied; "
            "pass the object itself to threads and tasks"
        )

    # -- what guards ask for -----------------------------------------------------------------------------------

    def acquire_guard(self, guard: Guard, timeout: float | None) -> None:
        """Block the thread until the guard holds the lock."""
        if self._only is not None and (timeout is None or timeout > 0):
            self._blocking()
        task = _runtimes.current_task()
        ticket = Ticket(guard.wanted, current.thread, None if task is None else weakref.ref(task))
        if not self._monitor.enter(guard, ticket):
            self._block(ticket, timeout)

    async def acquire_guard_async(self, guard: Guard, timeout: float | None, *, again: bool) -> None:
        """Suspend the task until the guard holds the lock; ``again`` allows that this very task holds it already."""
        backend = self._suspending()
        ticket = _ticket_for(guard)
        if again and _holds(guard, ticket):
            return
        polite = backend.checkpoints if self._checkpoint == "auto" else self._checkpoint == "always"
        if polite:
            await backend.check_cancelled()
        if not self._monitor.enter(guard, ticket):
            await self._suspend(backend, ticket, timeout)
        if polite and not ticket.arrival:
            try:
                await backend.yield_once()
            except BaseException:
                self._monitor.tell(self._monitor.cancel, ticket)
                raise

    def try_guard(self, guard: Guard) -> bool:
        """Take the lock for the guard if that needs no waiting."""
        ticket = _ticket_for(guard)
        try:
            entered = self._monitor.enter(guard, ticket)
        except Interrupted:
            return False  # Asked from within a change of this lock: not now.
        if not entered:
            ticket.state = State.DONE
        return entered

    def release_guard(self, guard: Guard) -> None:
        """Give back what the guard holds."""
        self._monitor.leave(guard)

    def downgrade_guard(self, guard: Guard) -> None:
        """Make the guard a reader, or what it was before its upgrade."""
        self._monitor.downgrade(guard)

    # -- the slow path -----------------------------------------------------------------------------------------

    def _block(self, ticket: Ticket, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            self._monitor.ask(self._monitor.refuse, ticket)
            self._time_out(ticket, _NOW)
        backend = self._blocking()
        clock = self._monitor.clock
        started = clock()
        waiter = backend.new_sync_waiter(self._prepare(ticket, backend))
        ticket.waiter = waiter
        if not block(acquisition(self._monitor, ticket, timeout, clock), waiter):
            self._time_out(ticket, clock() - started)

    async def _suspend(self, backend: AsyncBackend, ticket: Ticket, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            self._monitor.ask(self._monitor.refuse, ticket)
            self._time_out(ticket, _NOW)
        started = backend.clock()
        waiter = backend.new_async_waiter(self._prepare(ticket, backend))
        ticket.waiter = waiter
        if not await suspend(acquisition(self._monitor, ticket, timeout, backend.clock), waiter):
            self._time_out(ticket, backend.clock() - started)

    def _prepare(self, ticket: Ticket, backend: Backend) -> Callable[[], None]:
        patience = self._policy.patience
        ticket.patience = backend.patience if patience is None else patience
        monitor = self._monitor
        return lambda: monitor.tell(monitor.undelivered, ticket)

    def _time_out(self, ticket: Ticket, waited: float) -> NoReturn:
        raise LockTimeout(self, ticket.mode, waited, self._monitor.holders())

    # -- runtimes ----------------------------------------------------------------------------------------------

    def _blocking(self) -> SyncBackend:
        if self._only is None:
            return _runtimes.blocking()
        if isinstance(self._only, SyncBackend):
            return self._only
        raise self._excluded("a thread")

    def _suspending(self) -> AsyncBackend:
        only = self._only
        if isinstance(only, AsyncBackend) and only.running():
            return only
        running = _runtimes.running()
        if running is None:
            raise RuntimeError(
                "no task of a known event loop runs here; use 'async with' inside asyncio or trio, and 'with' elsewhere"
            )
        if only is not None:
            raise self._excluded(f"a task of {running.name!r}")
        return running

    def _excluded(self, who: str) -> RuntimeError:
        assert self._only is not None
        return RuntimeError(
            f"{who} may not wait for {self!r}: it was made with backend={self._only.name!r}; "
            "make it with backend='auto' to let every runtime wait"
        )


def _ticket_for(guard: Guard) -> Ticket:
    task = _runtimes.current_task()
    return Ticket(guard.wanted, current.thread, None if task is None else weakref.ref(task))


def _holds(guard: Guard, asking: Ticket) -> bool:
    held = guard.ticket
    return held is not None and held.state is State.HELD and held.task is asking.task and held.thread is asking.thread
