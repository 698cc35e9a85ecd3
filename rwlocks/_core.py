"""What guards, views and many-lock acquisitions ask of a lock: to acquire, upgrade, release, for threads and tasks.

Here a wish meets its runtime: the fast path is tried, a waiter is made if that fails, and the slow path is driven by
blocking or suspending. What may be granted is decided elsewhere (`rwlocks._engine`, `rwlocks._steps`).
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, final

from rwlocks import _events, _fork, _runtimes, _snapshots
from rwlocks._acquire import Suspension, block
from rwlocks._errors import DeadlockError, GuardStateError, LockTimeout, NotHeldError
from rwlocks._monitor import Interrupted, Monitor
from rwlocks._owners import current, has_ended, owner_name
from rwlocks._ports import AsyncBackend, Backend, SyncBackend
from rwlocks._refusals import UPGRADE_PENDING
from rwlocks._steps import Entry, Upgrade
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks._engine import Wakes
    from rwlocks._monitor import Gate, Seat
    from rwlocks._steps import Wait
    from rwlocks._types import Checkpoint, Deadlocks
    from rwlocks._views import View
    from rwlocks.policies import Policy

    S = TypeVar("S", bound=Seat)

__all__ = ["LockCore", "Rules"]

_NOW: Final = 0.0  # a timeout that does not wait
HELD: Final = State.HELD
DONE: Final = State.DONE


@final
class Rules:
    """What a lock was made with."""

    __slots__ = ("checkpoint", "deadlocks", "name", "nesting", "only", "open_to_all", "policy", "reentrant")

    def __init__(
        self,
        policy: Policy,
        name: str | None,
        reentrant: bool,
        deadlocks: Deadlocks,
        checkpoint: Checkpoint,
        only: Backend | None,
    ) -> None:
        self.policy = policy
        self.name = name
        self.reentrant = reentrant
        self.deadlocks: Deadlocks = deadlocks
        self.checkpoint: Checkpoint = checkpoint
        self.only = only
        """The backend whose waiters alone it serves; None for any."""
        self.open_to_all = only is None and checkpoint != "always"
        """Whether any runtime may wait, each by its own custom: then a fast path need not ask for more."""
        self.nesting = reentrant or deadlocks == "strict"
        """Whether a request of somebody who holds the lock already is special."""


class LockCore:
    """The inside of one `RWLock`. Timeouts are in seconds; None waits for ever."""

    new_ticket = Ticket
    """What a request is made of."""

    __slots__ = (
        "_only_async",
        "_only_sync",
        "checkpoint",
        "entry",
        "lock",
        "monitor",
        "only",
        "policy",
        "upgrading",
        "views",
    )

    def __init__(self, lock: Any, rules: Rules, gate: Gate | None = None) -> None:
        self.lock = weakref.ref(lock)
        self.policy = rules.policy
        self.checkpoint = rules.checkpoint
        self.only = rules.only
        # Asked once, because a protocol takes its time to check an instance: 13 microseconds on 3.11.
        self._only_sync: SyncBackend | None = None
        self._only_async: AsyncBackend | None = None
        if rules.only is not None:
            self._only_sync = rules.only if isinstance(rules.only, SyncBackend) else None
            self._only_async = rules.only if isinstance(rules.only, AsyncBackend) else None
        self.monitor = Monitor(rules.policy, self.lock, reentrant=rules.reentrant, deadlocks=rules.deadlocks, gate=gate)
        self.entry = Entry(self.monitor)
        self.upgrading = Upgrade(self.monitor)
        self.views: dict[Mode, View] = {}

    # -- acquiring ---------------------------------------------------------------------------------------------

    def acquire(self, seat: Seat, mode: Mode, timeout: float | None) -> None:
        """Block the thread until the seat holds the lock."""
        self.acquire_with(seat, Ticket(mode, current.thread, _runtimes.reference_to_task()), timeout)

    def acquire_with(self, seat: Seat, ticket: Ticket, timeout: float | None) -> None:
        """`acquire` with a ticket made elsewhere."""
        if self.only is not None and (timeout is None or timeout > 0):
            self.blocking()
        if not self._enter(seat, ticket, timeout):
            self._block(self.entry, ticket, timeout)

    async def acquire_async(self, seat: S, mode: Mode, timeout: float | None, *, again: bool = False) -> S:
        """Suspend the task until the seat, which is returned, holds the lock.

        ``again`` allows that this very task holds it already.
        """
        backend = self.suspending(may_wait=timeout is None or timeout > 0)
        task = backend.current_task()
        ticket = Ticket(mode, current.thread, None if task is None else weakref.ref(task))
        del task  # As `reference_to_task`.
        if again and _holds(seat, ticket):
            return seat
        if self.polite(backend):
            await self._acquire_politely(backend, seat, ticket, timeout)
        elif not self._enter(seat, ticket, timeout):
            # As `_suspend`, but without one more coroutine: most tasks that wait come this way.
            started = 0.0 if timeout is None else backend.clock()
            if not await self._suspension(self.entry, backend, ticket, timeout):
                self._time_out(ticket, mode, backend.clock() - started)
        return seat

    async def acquire_async_with(
        self, backend: AsyncBackend, seat: Seat, ticket: Ticket, timeout: float | None
    ) -> None:
        """`acquire_async` with a ticket made elsewhere."""
        if self.polite(backend):
            await self._acquire_politely(backend, seat, ticket, timeout)
        elif not self._enter(seat, ticket, timeout):
            await self._suspend(self.entry, backend, ticket, timeout)

    async def _acquire_politely(self, backend: AsyncBackend, seat: Seat, ticket: Ticket, timeout: float | None) -> None:
        """With a checkpoint, also where nobody has to wait."""
        await backend.check_cancelled()
        if not self._enter(seat, ticket, timeout):
            await self._suspend(self.entry, backend, ticket, timeout)
        if not ticket.arrival:
            try:
                await backend.yield_once()
            except BaseException:
                self.monitor.tell(self.entry.cancel, ticket)
                if _events.observer is not None:
                    _events.tell("cancel", self.lock(), ticket, ticket.mode)
                raise

    def _enter(self, seat: Seat, ticket: Ticket, timeout: float | None) -> bool:
        """Whether the seat has got the lock at once; if not, it may wait."""
        patient = timeout is None or timeout > 0
        if self.monitor.enter(seat, ticket, self.entry.attempt_first if patient else self.entry.attempt):
            return True
        if not patient:
            self.time_out_at_once(ticket)
        return False

    def try_acquire(self, seat: Seat, mode: Mode) -> bool:
        """Take the lock for the seat if that needs no waiting."""
        return self.try_acquire_with(seat, Ticket(mode, current.thread, _runtimes.reference_to_task()))

    def try_acquire_with(self, seat: Seat, ticket: Ticket) -> bool:
        """`try_acquire` with a ticket made elsewhere."""
        try:
            entered = self.monitor.enter(seat, ticket, self.entry.attempt)
        except Interrupted:
            return False  # Asked from within a change of this lock: not now.
        if not entered:
            ticket.state = DONE
        return entered

    def locked(self) -> Mode | None:
        """The strongest mode held."""
        return self.monitor.look(lambda _now: self.monitor.engine.locked())

    def acquirable(self, mode: Mode) -> bool:
        """Whether a request of the caller would be let in at once."""
        ticket = Ticket(mode, current.thread, _runtimes.reference_to_task())
        try:
            return self.monitor.ask(self.entry.probe, ticket, self.entry.outcome) is HELD
        except Interrupted:
            return False

    # -- as one of several locks ---------------------------------------------------------------------------------

    def now(self) -> float:
        """The time by which this lock measures ages and the timeouts of threads, in seconds."""
        return self.monitor.clock()

    def refuse_nested(self, ticket: Ticket) -> None:
        """Raise DeadlockError if strict mode forbids this request, which may wait, whatever the policy says."""
        if self.monitor.engine.nesting:
            refusal = self.monitor.look(lambda _now: self.entry.strictly(ticket))
            if refusal is not None:
                raise refusal

    def turned_away(self, ticket: Ticket) -> None:
        """An acquisition of several locks starts over, because this request was refused."""
        self.monitor.tell(self.entry.count_round, ticket)

    # -- upgrading ---------------------------------------------------------------------------------------------

    def upgrade(self, seat: Seat, timeout: float | None) -> None:
        """Block the thread until the seat's hold is the writer's."""
        ticket = _held_ticket(seat, "upgrade")
        if timeout is None or timeout > 0:
            self._block(self.upgrading, ticket, timeout)
        else:
            self._upgrade_at_once(ticket)

    async def upgrade_async(self, seat: Seat, timeout: float | None) -> None:
        """Suspend the task until the seat's hold is the writer's."""
        ticket = _held_ticket(seat, "upgrade")
        if timeout is None or timeout > 0:
            await self._suspend(self.upgrading, self.suspending(), ticket, timeout)
        else:
            self._upgrade_at_once(ticket)

    def try_upgrade(self, seat: Seat) -> bool:
        """Make the seat's hold the writer's if that needs no waiting."""
        ticket = _held_ticket(seat, "upgrade")
        try:
            return self.monitor.ask(self.upgrading.attempt, ticket, self.upgrading.outcome) is HELD
        except (DeadlockError, Interrupted):
            return False

    def end_upgrade(self, ticket: Ticket) -> None:
        """The hold becomes what it was before its upgrade. Raises NotHeldError if the upgrade is not active."""
        if self.upgrading.outcome(ticket) is not HELD:
            raise NotHeldError("this upgrade is not active: it was ended before, or never granted")
        if _events.observer is not None:
            _events.tell("release", self.lock(), ticket, Mode.WRITE)
        self.monitor.tell(self.upgrading.end, ticket)

    def _upgrade_at_once(self, ticket: Ticket) -> None:
        try:
            upgraded = self.monitor.ask(self.upgrading.attempt, ticket, self.upgrading.outcome) is HELD
        except DeadlockError:
            upgraded = False  # A request that does not wait cannot deadlock: it is only late.
        if not upgraded:
            self.monitor.tell(self.upgrading.refuse, ticket)
            self._time_out(ticket, Mode.WRITE, _NOW)

    # -- holding -----------------------------------------------------------------------------------------------

    def detach(self, seat: Seat) -> None:
        """The hold becomes nobody's."""
        ticket = _held_ticket(seat, "detach")
        if ticket.inner or ticket.outer is not None:
            raise GuardStateError(
                "this hold is nested with others of its owner and cannot be detached; release those first"
            )
        if ticket is self.monitor.engine.upgrading:
            raise GuardStateError(UPGRADE_PENDING)
        self.monitor.tell(self._disown, ticket)

    def _disown(self, ticket: Ticket, now: float) -> Wakes:
        if ticket.state is HELD and not ticket.detached:
            self.monitor.engine.disown(ticket)
            ticket.detached = True
        return []

    def abandon(self, ticket: Ticket, finalizing: Callable[[], bool] = sys.is_finalizing) -> str:
        """The guard of a hold is gone; returns what to warn of, if anything. Takes no lock: the collector calls it."""
        lock = self.lock()
        if lock is None or finalizing():
            return ""  # Nobody is left who could wait for it.
        if not ticket.delivered:
            return ""  # Its waiter is being destroyed, too, and passes the grant on.
        if not _fork.survives(self.monitor, ticket):
            return ""  # It was the parent's.
        ticket.abandoned = True
        self.monitor.abandoned = True
        for first in self.monitor.engine.first_in_line():
            first.waiter.wake()
        return (
            f"a guard was dropped while it held {lock!r} for {ticket.mode.value} ({owner_name(ticket)}): nobody "
            "can release that hold any more; keep the guard, or use 'with'"
        )

    def forget(self, ticket: Ticket) -> None:
        """Drop a hold that nobody can release."""
        if ticket.state is not HELD:
            raise NotHeldError("that hold is gone already; there is nothing to forget")
        if not ticket.abandoned and not has_ended(ticket):
            raise GuardStateError(
                f"that hold is alive ({owner_name(ticket)}) and its guard can release it; only what was abandoned, or "
                "left by a task or thread that has ended, can be forgotten"
            )
        mode = ticket.mode
        if not self.monitor.look(lambda _now: ticket in self._everybody()):
            raise NotHeldError("that is no hold of this lock; give one from its own statistics().holders")
        self.monitor.tell(self._forget, ticket)
        if _events.observer is not None:
            _events.tell_release(self.lock(), ticket, mode)

    def _everybody(self) -> list[Ticket]:
        return [ticket for head in self.monitor.engine.held() for ticket in (head, *head.inner)]

    def _forget(self, ticket: Ticket, now: float) -> Wakes:
        monitor = self.monitor
        wakes = monitor.release(ticket, now)
        monitor.abandoned = False  # First, so that a guard which is dropped meanwhile sets it for good.
        if any(t.abandoned for t in self._everybody()):
            monitor.abandoned = True
        return wakes

    # -- the slow path -----------------------------------------------------------------------------------------

    def _block(self, wait: Wait, ticket: Ticket, timeout: float | None) -> None:
        backend = self.blocking()
        clock = self.monitor.clock
        started = clock()
        ticket.blocks = True
        waiter = backend.new_sync_waiter(self._prepare(ticket, backend))
        if not block(wait, ticket, waiter, timeout, clock):
            self._time_out(ticket, wait.wanted(ticket), clock() - started)

    async def _suspend(self, wait: Wait, backend: AsyncBackend, ticket: Ticket, timeout: float | None) -> None:
        started = backend.clock()
        if not await self._suspension(wait, backend, ticket, timeout):
            self._time_out(ticket, wait.wanted(ticket), backend.clock() - started)

    def _suspension(self, wait: Wait, backend: AsyncBackend, ticket: Ticket, timeout: float | None) -> Suspension:
        ticket.blocks = False
        waiter = backend.new_async_waiter(self._prepare(ticket, backend))
        return Suspension(wait, ticket, waiter, timeout, backend.clock)

    def _prepare(self, ticket: Ticket, backend: Backend) -> Callable[[], None]:
        patience = self.policy.patience
        ticket.patience = backend.patience if patience is None else patience
        monitor = self.monitor
        return lambda: monitor.tell(monitor.undelivered, ticket)

    def time_out_at_once(self, ticket: Ticket) -> NoReturn:
        """Raise LockTimeout for a request that had no time to wait."""
        self.monitor.tell(self.entry.refuse, ticket)
        self._time_out(ticket, ticket.mode, _NOW)

    def _time_out(self, ticket: Ticket, mode: Mode, waited: float) -> NoReturn:
        if _events.observer is not None:
            _events.tell("timeout", self.lock(), ticket, mode)
        holders = self.monitor.look(lambda now: _snapshots.holders(self.monitor, now))
        raise LockTimeout(self.lock(), mode, waited, holders)

    # -- runtimes ----------------------------------------------------------------------------------------------

    def suspending(self, may_wait: bool = True) -> AsyncBackend:
        """The runtime that runs here, if its tasks may wait for this lock, or need not."""
        only = self._only_async
        if only is not None and only.running():
            return only
        running = _runtimes.expect_running()
        if self.only is not None and may_wait:
            raise self._excluded(f"a task of {running.name!r}")
        return running

    def polite(self, backend: AsyncBackend) -> bool:
        """Whether a task of that runtime yields to others although it need not wait."""
        return backend.checkpoints if self.checkpoint == "auto" else self.checkpoint == "always"

    def blocking(self) -> SyncBackend:
        """The way in which threads wait for this lock, if they may."""
        if self.only is None:
            return _runtimes.blocking()
        if self._only_sync is not None:
            return self._only_sync
        raise self._excluded("a thread")

    def _excluded(self, who: str) -> RuntimeError:
        assert self.only is not None
        return RuntimeError(
            f"{who} may not wait for {self.lock()!r}: it was made with backend={self.only.name!r}; "
            "make it with backend='auto' to let every runtime wait"
        )


def _held_ticket(seat: Seat, verb: str) -> Ticket:
    ticket = seat.ticket
    if ticket is None or ticket.state is not HELD:
        raise NotHeldError(f"this guard holds nothing, so that there is nothing to {verb}; acquire it first")
    return ticket


def _holds(seat: Seat, asking: Ticket) -> bool:
    held = seat.ticket
    return held is not None and held.state is HELD and held.owner is asking.owner
