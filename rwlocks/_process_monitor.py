"""One segment as guards see it: seats, holds with their owners, and what can be looked at.

The counterpart of `rwlocks._monitor` for a lock that other processes share. There is no mutex here: every change is one
call of the native core, which no other Python code of this process can interrupt.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from rwlocks import _events
from rwlocks._arguments import deadlocks_preset
from rwlocks._engine import Engine
from rwlocks._errors import GuardStateError, LockClosed, NotHeldError, SegmentError
from rwlocks._fork import last as _forks
from rwlocks._process_picture import Picture
from rwlocks._process_ticket import roster_of
from rwlocks._refusals import HOLDS_NOTHING, STILL_WAITING, UPGRADE_PENDING, seat_is_taken
from rwlocks._ticket import State
from rwlocks._types import Mode

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable

    from rwlocks._lock_event import EventKind
    from rwlocks._process_ticket import ProcessTicket
    from rwlocks._stats import LockStatistics
    from rwlocks._types import Deadlocks
    from rwlocks.backends.process._core import ProcessCore
    from rwlocks.policies import Policy

__all__ = ["ProcessMonitor"]

T = TypeVar("T")

DONE: Final = State.DONE
WAITING: Final = State.WAITING
_TURN: Final = 1.0  # seconds after which a thread looks without waiting for another that looks


@final
class ProcessMonitor:
    """All access of this object to one segment. Every method may be called from any thread."""

    __slots__ = (
        "__weakref__",
        "_looks",
        "_sitting",
        "_told",
        "charted",
        "clock",
        "deadlocks",
        "lock",
        "native",
        "policy",
        "roster",
        "rounds",
    )

    observed_since = None
    """The segment knows since when somebody waits; see `rwlocks._snapshots`."""

    def __init__(self, native: ProcessCore, policy: Policy, lock: weakref.ref[Any]) -> None:
        self.native = native
        self.policy = policy
        self.lock = lock
        self.deadlocks: Deadlocks = deadlocks_preset()
        self.roster = roster_of(native.instance)
        self.charted = False
        """Whether somebody of this process had to wait so far, so that `rwlocks.deadlocks` looks here."""
        self._looks: dict[int, Engine] = {}
        self.clock: Callable[[], float] = monotonic
        self.rounds = 0
        """Of `acquire_all`, refused here."""
        self._told = 0
        self._sitting: dict[tuple[int, int], ProcessTicket] = {}

    # -- seats -------------------------------------------------------------------------------------------------

    def sit(self, seat: Any, ticket: ProcessTicket) -> None:
        """Take the seat. Raises GuardStateError if it is taken."""
        # Whoever else wants this seat at this moment finds the ticket here; not in a forked child, where whoever was
        # about to sit down does not exist.
        key = id(seat), _forks.generation
        if self._sitting.setdefault(key, ticket) is not ticket:
            raise seat_is_taken(WAITING, Mode.READ)
        try:
            seated: ProcessTicket | None = seat.ticket
            if seated is not None and seated.state is not DONE:
                raise seat_is_taken(seated.state, seated.mode)
            seat.ticket = ticket
        finally:
            del self._sitting[key]

    def leave(self, seat: Any) -> None:
        """Release what the seat holds. Raises NotHeldError if that is nothing."""
        ticket: ProcessTicket | None = seat.ticket
        if ticket is None:
            raise NotHeldError(HOLDS_NOTHING)
        observed = None if _events.observer is None else (ticket.mode, ticket.base)
        try:
            self.native.release(ticket)
        except NotHeldError:
            raise self._why_not(ticket) from None
        self.roster.remove(ticket)
        self.settle(ticket)
        if observed is not None:
            self._tell_release(ticket, *observed)

    def downgrade(self, seat: Any) -> None:
        """Make the seat a reader, or what it was before its upgrade.

        Raises NotHeldError if it holds nothing, GuardStateError if it reads already.
        """
        ticket: ProcessTicket | None = seat.ticket
        if ticket is None or ticket.state is not State.HELD:
            raise NotHeldError("this guard holds nothing, so that there is nothing to downgrade; acquire it first")
        before, upgraded = ticket.mode, ticket.base is not None
        if ticket.upgrading:
            raise GuardStateError(UPGRADE_PENDING)
        if before is Mode.READ:
            raise GuardStateError("this guard reads already; there is nothing to downgrade")
        self.native.downgrade(ticket)
        if _events.observer is not None:
            self.tell("release", ticket, before)
            if not upgraded:
                self.tell("grant", ticket, ticket.mode)

    def _why_not(self, ticket: ProcessTicket) -> Exception:
        if ticket.inherited:
            return NotHeldError(
                "this hold is that of the process from which this one was forked; it is released there, and this "
                "process acquires its own"
            )
        if ticket.upgrading:
            return GuardStateError(UPGRADE_PENDING)
        if ticket.state is WAITING or ticket.state is State.NEW:
            return NotHeldError(STILL_WAITING)
        return NotHeldError(HOLDS_NOTHING)

    def _tell_release(self, ticket: ProcessTicket, mode: Mode, base: Mode | None) -> None:
        self.tell("release", ticket, mode)
        if base is not None:
            self.tell("release", ticket, base)

    def tell(self, kind: EventKind, ticket: ProcessTicket, mode: Mode) -> None:
        """Pass an event on to the observer, if there is one."""
        if _events.observer is not None:
            _events.tell(kind, self.lock(), ticket.twin, mode)

    def tell_repairs(self, ticket: ProcessTicket, before: int) -> None:
        """Tell the observer of what this process has mended since then; of each once."""
        mended = self.native.mended()
        if mended < self._told:
            self._told = 0  # This process was forked, and has mended nothing before.
        for _ in range(max(before, self._told), mended):
            self._told = mended
            self.tell("repair", ticket, ticket.wish)

    # -- looking -----------------------------------------------------------------------------------------------

    @property
    def recovered(self) -> bool:
        """Whether a writer has died, and nobody has marked the data consistent since."""
        return self.native.recovered()

    def draw(self, what: Callable[[Picture], T]) -> T:
        """Draw a picture of all who hold and wait, in all processes, and look at it.

        Raises SegmentError and LockClosed.
        """

        def look() -> T:
            return what(Picture(self.native.snapshot(), self.roster, self.policy, self.lock, self.deadlocks))

        return self._in_turn(look)

    def settle(self, ticket: ProcessTicket) -> None:
        """A wait or a hold has ended."""
        if ticket.is_known:
            self._in_turn(ticket.settle)

    def _in_turn(self, what: Callable[[], T]) -> T:
        # The twins of our tickets are in all pictures, so that one thread at a time may look at them or change them.
        # But a finaliser or a signal handler may do that to another lock in the midst of this, and one there to this.
        turn, mine = self.roster.turn, False
        try:
            mine = turn.acquire(timeout=_TURN)
            return what()
        finally:
            if mine:
                turn.release()

    @property
    def engine(self) -> Engine:
        """What an in-process engine would be now, or at the `look` that is under way. Changing it changes nothing."""
        return self._looks.get(threading.get_ident()) or self._draw_or_nothing(lambda engine, _now: engine)

    def look(self, what: Callable[[float], T]) -> T:
        """Call it with the time of a snapshot, which is what `engine` shows meanwhile."""

        def shown(engine: Engine, now: float) -> T:
            me = threading.get_ident()
            before = self._looks.get(me)
            self._looks[me] = engine
            try:
                return what(now)
            finally:
                if before is None:
                    self._looks.pop(me, None)
                else:
                    self._looks[me] = before

        return self._draw_or_nothing(shown)

    def _draw_or_nothing(self, what: Callable[[Engine, float], T]) -> T:
        drawn = False

        def look(picture: Picture) -> T:
            nonlocal drawn
            drawn = True
            return what(picture.monitor.engine, picture.now)

        try:
            return self.draw(look)
        except (LockClosed, SegmentError):
            if drawn:
                raise
            return what(Engine(self.policy), self.clock())  # Nobody waits for a lock that is closed or damaged.

    def statistics(self) -> LockStatistics:
        """One consistent snapshot."""
        return self.draw(lambda picture: picture.statistics(self.rounds))

    def locked(self) -> Mode | None:
        """The strongest mode held."""
        counts = self.native.counts()
        if counts.writers:
            return Mode.WRITE
        if counts.upgradables:
            return Mode.UPGRADABLE
        return Mode.READ if counts.readers else None

    def describe(self) -> str:
        """What `repr` says of the state. Never raises: warnings and errors are worded with it."""
        if self.native.closed:
            return "closed"
        try:
            mode, waiting = self.locked(), self.native.counts().waiting
        except (OSError, RuntimeError) as error:
            return "damaged" if isinstance(error, SegmentError) else "closed"
        return f"{'free' if mode is None else f'held for {mode.value}'}, {waiting} waiting"
