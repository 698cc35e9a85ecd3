"""What guards, views and many-lock acquisitions ask of a lock that processes share: the counterpart of `rwlocks._core`.

Who gets the lock is decided in the segment, and the native core knows how to wait for it. Added here is what means
something in one process only: whose request it is, which waits would never end, and who is told of what.
"""

from __future__ import annotations

import sys
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from rwlocks import _contended, _deadlock, _events, _runtimes, _snapshots
from rwlocks._errors import DeadlockError, GuardStateError, LockTimeout, NotHeldError, UpgradeConflict, WriterDied
from rwlocks._owners import current, has_ended, owner_name
from rwlocks._process_picture import Elsewhere
from rwlocks._process_ticket import ProcessTicket
from rwlocks._refusals import UPGRADE_PENDING
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from rwlocks._ports import AsyncBackend, Backend, SyncBackend
    from rwlocks._process_monitor import ProcessMonitor

__all__ = ["ProcessLockCore"]

HELD: Final = State.HELD


@final
class ProcessLockCore:
    """The inside of one `ProcessRWLock`. Timeouts are in seconds; None waits for ever.

    ``repairs``: whether it lets in although a writer has died. Of each lock there are two, otherwise alike.
    """

    __slots__ = ("_native", "_raises", "lock", "monitor")

    new_ticket = ProcessTicket
    """What a request is made of."""

    def __init__(self, monitor: ProcessMonitor, *, repairs: bool) -> None:
        self.monitor = monitor
        self.lock = monitor.lock
        self._native = monitor.native
        self._raises = monitor.native.config.on_writer_death == 1 and not repairs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProcessLockCore) and other._native.instance == self._native.instance

    def __hash__(self) -> int:
        return hash(self._native.instance)

    # -- acquiring ---------------------------------------------------------------------------------------------

    def acquire(self, seat: Any, mode: Mode, timeout: float | None) -> None:
        """Block the thread until the seat holds the lock."""
        ticket = ProcessTicket(mode, current.thread, _runtimes.reference_to_task())
        try:
            self.acquire_with(seat, ticket, timeout)
        except BaseException:
            self._take_back(ticket)
            raise

    def acquire_with(self, seat: Any, ticket: ProcessTicket, timeout: float | None) -> None:
        """`acquire` with a ticket made elsewhere."""
        patient = timeout is None or timeout > 0
        self.monitor.sit(seat, ticket)
        try:
            if not self._enter(ticket, may_wait=patient):
                if not patient:
                    self.time_out_at_once(ticket)
                self._block(ticket, timeout)
        except BaseException:
            self._take_back(ticket)
            raise

    async def acquire_async(self, seat: Any, mode: Mode, timeout: float | None, *, again: bool = False) -> Any:
        """Suspend the task until the seat, which is returned, holds the lock.

        ``again`` allows that this very task holds it already.
        """
        backend = self.suspending()
        task = backend.current_task()
        ticket = ProcessTicket(mode, current.thread, None if task is None else weakref.ref(task))
        del task  # As `reference_to_task`.
        held = seat.ticket
        if again and held is not None and held.state is HELD and held.owner is ticket.owner:
            return seat
        await self.acquire_async_with(backend, seat, ticket, timeout)
        return seat

    async def acquire_async_with(
        self, backend: AsyncBackend, seat: Any, ticket: ProcessTicket, timeout: float | None
    ) -> None:
        """`acquire_async` with a ticket made elsewhere."""
        patient = timeout is None or timeout > 0
        polite = self.polite(backend)
        if polite:
            await backend.check_cancelled()
        self.monitor.sit(seat, ticket)
        try:
            if self._enter(ticket, may_wait=patient):
                if polite:
                    await self._yield(backend, ticket)
            else:
                if not patient:
                    self.time_out_at_once(ticket)
                await self._suspend(backend, ticket, timeout)
        except BaseException:
            self._take_back(ticket)
            raise

    async def _yield(self, backend: AsyncBackend, ticket: ProcessTicket) -> None:
        try:
            await backend.yield_once()
        except BaseException:
            self._take_back(ticket)
            self.monitor.tell("cancel", ticket, ticket.wish)
            raise

    def _take_back(self, ticket: ProcessTicket) -> None:
        """Whatever ended the acquisition, perhaps an interrupt between two steps of it: the lock is as before.

        Nothing is left to do where the step itself has seen to that.
        """
        self._native.withdraw(ticket)
        self.monitor.roster.remove(ticket)

    def try_acquire(self, seat: Any, mode: Mode) -> bool:
        """Take the lock for the seat if that needs no waiting."""
        return self.try_acquire_with(seat, ProcessTicket(mode, current.thread, _runtimes.reference_to_task()))

    def try_acquire_with(self, seat: Any, ticket: ProcessTicket) -> bool:
        """`try_acquire` with a ticket made elsewhere."""
        self.monitor.sit(seat, ticket)
        entered = False
        try:
            entered = self._enter(ticket, may_wait=False)
        finally:
            if not entered:
                ticket.over = True
        return entered

    def locked(self) -> Mode | None:
        """The strongest mode held."""
        return self.monitor.locked()

    def acquirable(self, mode: Mode) -> bool:
        """Whether a request of the caller would be let in at once."""
        return not (self._raises and self._native.recovered()) and self._native.admits(mode)

    # -- as one of several locks ---------------------------------------------------------------------------------

    def now(self) -> float:
        """The time by which this lock measures ages and the timeouts of threads, in seconds."""
        return self.monitor.clock()

    def refuse_nested(self, ticket: ProcessTicket) -> None:
        """Raise DeadlockError if strict mode forbids this request, which may wait, whatever the policy says."""
        if self._is_refused_by_strict(ticket):
            raise self._nested(ticket)

    def turned_away(self, ticket: ProcessTicket) -> None:
        """An acquisition of several locks starts over, because this request was refused."""
        self.monitor.rounds += 1

    # -- upgrading ---------------------------------------------------------------------------------------------

    def upgrade(self, seat: Any, timeout: float | None) -> None:
        """Block the thread until the seat's hold is the writer's."""
        ticket = self._may_upgrade(seat)
        if timeout is not None and timeout <= 0:
            self._upgrade_at_once(ticket)
            return
        self._check_nested_upgrade(ticket)
        ticket.blocks = True
        started = monotonic()
        try:
            with _Upgrade(self, ticket) as wait:
                done = self._native.upgrade(ticket, timeout=timeout, look=wait.look)
            if not done:
                self._time_out(ticket, Mode.WRITE, monotonic() - started)
            self.monitor.tell("grant", ticket, Mode.WRITE)
        except BaseException:
            if ticket.upgrading or ticket.base is not None:  # An interrupt has come between two steps of it.
                self._native.withdraw_upgrade(ticket)
            raise

    async def upgrade_async(self, seat: Any, timeout: float | None) -> None:
        """Suspend the task until the seat's hold is the writer's."""
        ticket = self._may_upgrade(seat)
        if timeout is not None and timeout <= 0:
            self._upgrade_at_once(ticket)
            return
        self._check_nested_upgrade(ticket)
        backend = self.suspending()
        ticket.blocks = False
        started = backend.clock()
        with _Upgrade(self, ticket) as wait:
            done = await self._native.upgrade_async(ticket, timeout=timeout, backend=backend, look=wait.look)
        if not done:
            self._time_out(ticket, Mode.WRITE, backend.clock() - started)
        self.monitor.tell("grant", ticket, Mode.WRITE)

    def try_upgrade(self, seat: Any) -> bool:
        """Make the seat's hold the writer's if that needs no waiting."""
        ticket = self._may_upgrade(seat)
        try:
            self._check_nested_upgrade(ticket)
            upgraded = self._native.upgrade(ticket, timeout=0)
        except DeadlockError:
            return False
        if upgraded:
            self.monitor.tell("grant", ticket, Mode.WRITE)
        return upgraded

    def end_upgrade(self, ticket: ProcessTicket) -> None:
        """The hold becomes what it was before its upgrade. Raises NotHeldError if the upgrade is not active."""
        if ticket.state is not HELD or ticket.base is None or ticket.mode is not Mode.WRITE:
            raise NotHeldError("this upgrade is not active: it was ended before, or never granted")
        self._native.end_upgrade(ticket)
        self.monitor.tell("release", ticket, Mode.WRITE)

    def _may_upgrade(self, seat: Any) -> ProcessTicket:
        ticket = _held_ticket(seat, "upgrade")
        if ticket.upgrading:
            raise GuardStateError("an upgrade of this guard is being waited for already")
        if ticket.mode is Mode.WRITE:
            raise GuardStateError("this guard is the writer already; there is nothing to upgrade")
        return ticket

    def _check_nested_upgrade(self, ticket: ProcessTicket) -> None:
        refusal = self.hopeless_upgrade(ticket) if self.monitor.roster.holds_another(ticket) else None
        if refusal is not None:
            raise refusal

    def _upgrade_at_once(self, ticket: ProcessTicket) -> None:
        try:
            self._check_nested_upgrade(ticket)
            upgraded = self._native.upgrade(ticket, timeout=0)
        except DeadlockError:
            upgraded = False  # A request that does not wait cannot deadlock: it is only late.
        if not upgraded:
            self._native.refuse()
            self._time_out(ticket, Mode.WRITE, 0.0)
        self.monitor.tell("grant", ticket, Mode.WRITE)

    # -- holding -----------------------------------------------------------------------------------------------

    def detach(self, seat: Any) -> None:
        """The hold becomes nobody's."""
        ticket = _held_ticket(seat, "detach")
        if ticket.upgrading:
            raise GuardStateError(UPGRADE_PENDING)
        if not ticket.detached:
            ticket.detached = True
            self.monitor.roster.disown(ticket)

    def abandon(self, ticket: ProcessTicket, finalizing: Callable[[], bool] = sys.is_finalizing) -> str:
        """The guard of a hold is gone; returns what to warn of, if anything. Takes no lock: the collector calls it."""
        if finalizing() or not ticket.delivered:
            return ""  # The process is ending, or the waiter is being destroyed, too, and passes the grant on.
        ticket.abandoned = True
        self._native.abandon(ticket)
        lock = self.lock()
        name = self._native.name if lock is None else repr(lock)
        return (
            f"a guard was dropped while it held {name} for {ticket.mode.value} ({owner_name(ticket.twin)}): nobody "
            "can release that hold any more; keep the guard, or use 'with'"
        )

    def forget(self, hold: Ticket) -> None:
        """Drop a hold that nobody can release."""
        ticket: ProcessTicket | None = None if hold.origin is None else hold.origin()
        if ticket is None and hold.origin is None:
            raise GuardStateError(
                f"that hold is one of process {hold.pid}: it can be forgotten there, and ends with that process"
            )
        if ticket is None or ticket.state is not HELD:
            raise NotHeldError("that hold is gone already; there is nothing to forget")
        if not ticket.abandoned and not has_ended(hold):
            raise GuardStateError(
                f"that hold is alive ({owner_name(hold)}) and its guard can release it; only what was abandoned, or "
                "left by a task or thread that has ended, can be forgotten"
            )
        if not any(ticket is each for each in self.monitor.roster.everybody()):
            raise NotHeldError("that is no hold of this lock; give one from its own statistics().holders")
        self.monitor.leave(_Seat(ticket))

    # -- the slow path -----------------------------------------------------------------------------------------

    def _enter(self, ticket: ProcessTicket, *, may_wait: bool) -> bool:
        """Take the lock if the policy lets a newcomer in now; what strict mode refuses goes on to wait, and fails."""
        if may_wait and self.monitor.deadlocks == "strict" and self._is_refused_by_strict(ticket):
            return False
        mended = None if _events.observer is None else self._native.mended()
        # Nobody waits for an abandoned hold, unless its process is dead, too.
        entered = self._native.enter(ticket, ticket.wish, hasty=may_wait and not self._native.abandoned())
        if mended is not None:
            self.monitor.tell_repairs(ticket, mended)
        if not entered:
            if self._raises:
                self._check_writer()
            return False
        self._settle(ticket)
        return True

    def _settle(self, ticket: ProcessTicket) -> None:
        """It was granted."""
        roster = self.monitor.roster
        roster.add(ticket)
        if ticket.state is not HELD:
            roster.remove(ticket)  # Whoever has the guard was faster, and released it already.
        if self._raises and self._native.recovered():
            self._take_back(ticket)
            self._check_writer()
        if _events.observer is not None:
            self.monitor.tell("grant", ticket, ticket.wish)

    def _block(self, ticket: ProcessTicket, timeout: float | None) -> None:
        backend = self.blocking()
        ticket.blocks = True
        started = monotonic()
        with _Entry(self, ticket) as wait:
            patience = self._patience(backend)
            granted = self._native.acquire_in_line(
                ticket, ticket.wish, patience=patience, timeout=timeout, look=wait.look
            )
        if not granted:
            self._time_out(ticket, ticket.wish, monotonic() - started)
        self._settle(ticket)

    async def _suspend(self, backend: AsyncBackend, ticket: ProcessTicket, timeout: float | None) -> None:
        started = backend.clock()
        with _Entry(self, ticket) as wait:
            granted = await self._native.acquire_async(
                ticket,
                ticket.wish,
                patience=self._patience(backend),
                timeout=timeout,
                backend=backend,
                look=wait.look,
            )
        if not granted:
            self._time_out(ticket, ticket.wish, backend.clock() - started)
        self._settle(ticket)

    def _patience(self, backend: Backend) -> float:
        patience = self.monitor.policy.patience
        return backend.patience if patience is None else patience

    def why_give_up(self, ticket: ProcessTicket, *, first: bool) -> Exception | None:
        """Why a request, or an upgrade, should not begin to wait (``first``), or not go on."""
        if self._raises and self._native.recovered():
            return self._writer_died()
        if self._native.abandoned() or (first and ticket.blocks and _runtimes.loop_runs_here()):
            return self.hopeless_upgrade(ticket) if ticket.state is HELD else self._hopeless(ticket)
        return None

    def _is_refused_by_strict(self, ticket: ProcessTicket) -> bool:
        return self.monitor.deadlocks == "strict" and self.monitor.roster.holds(ticket.owner)

    def nested(self, ticket: ProcessTicket) -> DeadlockError | None:
        """Why the request must not wait: its owner holds the lock already."""
        return self._nested(ticket) if self.monitor.roster.holds(ticket.owner) else None

    def _nested(self, ticket: ProcessTicket) -> DeadlockError:
        return self._hopeless(ticket) or DeadlockError("the same owner holds the lock already; release that first")

    def _hopeless(self, ticket: ProcessTicket) -> DeadlockError | None:
        return self.monitor.draw(lambda picture: _deadlock.hopeless(picture.monitor, ticket.twin))

    def hopeless_upgrade(self, ticket: ProcessTicket) -> DeadlockError | None:
        """Why the hold must not wait to become the writer, if it must not."""
        return self.monitor.draw(lambda picture: _deadlock.hopeless_upgrade(picture.monitor, ticket.twin))

    def _check_writer(self) -> None:
        if self._native.recovered():
            raise self._writer_died()

    def _writer_died(self) -> WriterDied:
        return WriterDied(
            f"a process died while it held {self.lock()!r} for writing: the data may be half written; look after them "
            "under lock.write(repair=True), then call lock.mark_consistent()"
        )

    def time_out_at_once(self, ticket: ProcessTicket) -> NoReturn:
        """Raise LockTimeout for a request that had no time to wait."""
        self._native.refuse()
        self._time_out(ticket, ticket.wish, 0.0)

    def _time_out(self, ticket: ProcessTicket, mode: Mode, waited: float) -> NoReturn:
        self.monitor.tell("timeout", ticket, mode)
        holders = self.monitor.draw(lambda picture: _snapshots.holders(picture.monitor, picture.now))
        raise LockTimeout(self.lock(), mode, waited, holders)

    # -- runtimes ----------------------------------------------------------------------------------------------

    def suspending(self, *, may_wait: bool = True) -> AsyncBackend:
        """The runtime that runs here."""
        return _runtimes.expect_running()

    def polite(self, backend: AsyncBackend) -> bool:
        """Whether a task of that runtime yields to others although it need not wait."""
        return backend.checkpoints

    def blocking(self) -> SyncBackend:
        """The way in which threads wait for this lock."""
        return _runtimes.blocking()


@final
class _Seat:
    """For a ticket whose guard is gone."""

    __slots__ = ("ticket",)

    def __init__(self, ticket: ProcessTicket) -> None:
        self.ticket = ticket


class _Wait:
    """While a request may wait: asked again and again why it should, and told to the observer."""

    __slots__ = ("_begun", "_core", "_look_again", "_mended", "_mode", "_told", "ticket")

    def __init__(self, core: ProcessLockCore, ticket: ProcessTicket, mode: Mode) -> None:
        self.ticket = ticket
        self._core = core
        self._mode = mode
        self._begun = self._told = False
        self._look_again = 0.0
        ticket.waiter = Elsewhere()
        ticket.joined = next(_contended.numbers) if core.monitor.deadlocks == "cycles" else 0
        self._mended = core.monitor.native.mended()

    def look(self) -> Exception | None:
        """Why to give up, if there is a reason."""
        first, self._begun = not self._begun, True
        monitor: Any = self._core.monitor
        if not monitor.charted:
            _contended.register(monitor)
        refusal = self._core.why_give_up(self.ticket, first=first) or self._circle()
        if first and refusal is None:
            self._told = _events.observer is not None
            self._core.monitor.tell("wait", self.ticket, self._mode)
        return refusal

    def _circle(self) -> Exception | None:
        """Why to give way to others, if somebody is to look for circles of waiters."""
        now = monotonic()
        if not self.ticket.joined or now < self._look_again:
            return None
        self._look_again = now + _contended.LOOK_AGAIN
        from rwlocks import _graph

        monitor: Any = self._core.monitor
        return _graph.refusal(monitor, self.ticket.twin, self._mode)

    def __exit__(self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._core.monitor.settle(self.ticket)
        if self._told:
            self._core.monitor.tell_repairs(self.ticket, self._mended)
            if error is not None:
                self._core.monitor.tell("cancel", self.ticket, self._mode)


@final
class _Entry(_Wait):
    """While it may stand in the queue: listed for those who look."""

    __slots__ = ()

    def __init__(self, core: ProcessLockCore, ticket: ProcessTicket) -> None:
        super().__init__(core, ticket, ticket.wish)

    def __enter__(self) -> Self:
        ticket = self.ticket
        refusal = self._core.nested(ticket) or self._core.why_give_up(ticket, first=True)
        if refusal is not None:
            raise refusal  # Before it queues, which would show. What changes meanwhile is seen by the first look.
        if ticket.asked is not None:
            ticket.wanted = int(ticket.asked * 1e9)
        ticket.delivered = False
        self._core.monitor.roster.waiting[ticket] = None
        return self

    def __exit__(self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._core.monitor.roster.waiting.pop(self.ticket, None)
        self.ticket.delivered = True
        super().__exit__(exc_type, error, traceback)


@final
class _Upgrade(_Wait):
    """While a hold may wait to become the writer."""

    __slots__ = ()

    def __init__(self, core: ProcessLockCore, ticket: ProcessTicket) -> None:
        super().__init__(core, ticket, Mode.WRITE)

    def __enter__(self) -> Self:
        refusal = self._core.why_give_up(self.ticket, first=True)
        if refusal is not None:
            raise refusal
        return self

    def __exit__(self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        super().__exit__(exc_type, error, traceback)
        if isinstance(error, UpgradeConflict) and error.lock is None:
            # The native core knows that there is a rival; the picture tells who.
            named = self._core.hopeless_upgrade(self.ticket)
            if isinstance(named, UpgradeConflict):
                raise named from None


def _held_ticket(seat: Any, verb: str) -> ProcessTicket:
    ticket: ProcessTicket | None = seat.ticket
    if ticket is None or ticket.state is not HELD:
        raise NotHeldError(f"this guard holds nothing, so that there is nothing to {verb}; acquire it first")
    return ticket
