"""The rules of the lock, read literally: a slow second opinion on who gets the lock, independent of the engine.

Nothing here is shared with `rwlocks._engine`: no code, no tables, no cleverness. There is one list of holds and one
list of waiters in order of arrival; every question is answered by walking them. Of a policy only its name and its
bounds are read. The rules that this page follows:

1. *Modes.* Readers share with readers and with one upgradable holder; upgradable with readers only; a writer with
   nothing. An upgradable holder that waits to become the writer is a pending upgrade.
2. *One event.* First apply whatever is due at its time, then the event itself, then serve whoever may enter now:
   after an event nothing is left undone (closure).
3. *Newcomers.* A newcomer enters if it is compatible with the holders, no upgrade is pending, and every waiter that the
   policy ranks ahead of it is younger than that waiter's own patience.
4. *Waiters.* In the order of the policy, each that conflicts with no holder and with no earlier waiter left behind.
   A writer that is young while nothing is held is only poked; everybody else is handed the lock.
5. *Bounds.* ``max_batch``: a step admits that many plain readers; those left over, and whoever arrived behind them to
   read, wait until the lock is free or a write was granted. ``max_consecutive_writers``: after that many write grants
   made while somebody waited to read, the next write-unlock lets the readers in. ``max_writer_wait``: while a writer
   has waited that long, the lock is phase-fair.
6. *Downgrade* admits what a write-unlock would admit if that is readers.

Whoever is *lost* (its event loop was closed) is dropped when it stands in front of those who want the same mode:
by a request that must queue, and by every closure.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rwlocks.policies import Policy
    from rwlocks.testing._world import Event

__all__ = ["Group", "Hold", "Oracle", "RuleBroken", "Wait"]

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE

_SHARING = {(READ, READ), (READ, UPGRADABLE), (UPGRADABLE, READ)}


class RuleBroken(AssertionError):
    """The engine broke a rule. ``path``: the events from the empty lock that show it; the last one breaks it."""

    def __init__(self, rule: str, path: Sequence[Event] = ()) -> None:
        self.rule = rule
        self.path = tuple(path)
        steps = "".join(f"\n  {number}. {event}" for number, event in enumerate(self.path, 1))
        super().__init__(f"{rule}; shown by:{steps}" if steps else rule)


class Group(NamedTuple):
    """Whom one step of an answer wakes, in order: all ``granted`` the lock, or one writer poked."""

    granted: bool
    who: tuple[int, ...]


@dataclass(slots=True)
class Hold:
    """One actor that has the lock."""

    who: int
    mode: Mode
    delivered: bool = True
    """Whether the actor knows that it holds what it holds."""
    base: Mode | None = None
    """The mode to go back to, while an upgrade is pending or active."""
    pending: bool = False
    counted: bool = False
    """Whether this was a write grant made while somebody waited to read."""
    lost: bool = False

    def copy(self) -> Hold:
        """An equal hold with a life of its own."""
        return Hold(self.who, self.mode, self.delivered, self.base, self.pending, self.counted, self.lost)


@dataclass(slots=True)
class Wait:
    """One actor in the queue. Times are in seconds."""

    who: int
    mode: Mode
    since: float
    patience: float
    spent: bool = False
    poked: bool = False
    held_back: bool = False
    """Left over by a full batch."""
    lost: bool = False

    def copy(self) -> Wait:
        """An equal waiter with a life of its own."""
        return Wait(self.who, self.mode, self.since, self.patience, self.spent, self.poked, self.held_back, self.lost)


class Oracle:
    """What the rules say about one lock: the holds, the queue, and whom the last event woke (``answer``).

    Every event takes the actor, a number, and the time of the event in seconds. Times never decrease, and an actor has
    at most one request or hold at a time.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.now = -inf
        self.holds: list[Hold] = []
        self.queue: list[Wait] = []
        self.writes_in_a_row = 0
        self.answer: list[Group] = []

    # -- events ------------------------------------------------------------------------------------------------

    def request(self, who: int, mode: Mode, patience: float, now: float, *, wait: bool = True) -> None:
        """Enter as a newcomer, or join the end of the queue, or (not ``wait``) go away."""
        self._begin(now)
        if not self.admits(mode) and self._drop_lost():
            self._serve()
        if self.admits(mode):
            self._hold(who, mode, delivered=True)
        elif wait:
            self.queue.append(Wait(who, mode, now, patience, spent=patience <= 0))

    def claim(self, who: int, now: float) -> None:
        """A writer takes the lock for which it was poked, if nothing is held and it is still the first."""
        self._begin(now)
        waiter = self._waiting(who)
        if waiter is not None:
            waiter.poked = False
            if not self.holds and waiter is self._first(WRITE):
                self._grant(waiter)

    def learn(self, who: int) -> None:
        """The actor has heard of its grant."""
        for hold in self.holds:
            hold.delivered |= hold.who == who

    def withdraw(self, who: int, now: float) -> None:
        """The request was never made; a write grant that raced is not counted either."""
        self._begin(now)
        for hold in self.holds:
            if hold.who == who and hold.counted:
                self.writes_in_a_row -= 1
        self._remove(who)
        self._serve()

    def release(self, who: int, now: float) -> None:
        """Let go of the lock."""
        self._begin(now)
        wrote = self._holding(who).mode is WRITE
        self._remove(who)
        self._serve(write_ended=wrote)

    def downgrade(self, who: int, now: float) -> None:
        """Write to read, or to what was upgraded; upgradable to read."""
        self._begin(now)
        self._revert(self._holding(who), READ)
        self._serve(write_ended=True)

    def upgrade(self, who: int, now: float, *, wait: bool = True) -> None:
        """Become the writer when nobody else holds, else (``wait``) a pending upgrade."""
        self._begin(now)
        hold = self._holding(who)
        if len(self.holds) == 1:
            hold.base = hold.mode
            self._write(hold)
        elif wait:
            hold.base, hold.mode, hold.pending = hold.mode, UPGRADABLE, True

    def withdraw_upgrade(self, who: int, now: float) -> None:
        """The upgrade was never asked for."""
        self._begin(now)
        hold = self._holding(who)
        self._revert(hold, hold.mode)
        self._serve()

    def owner_died(self, who: list[int], now: float) -> None:
        """All that these actors hold and ask for ends at once."""
        self._begin(now)
        wrote = any(hold.mode is WRITE and hold.who in who for hold in self.holds)
        for one in who:
            self._remove(one)
        self._serve(write_ended=wrote)

    def lose(self, who: int) -> None:
        """The actor can never run again. That is no event: nobody is told."""
        for person in self.people():
            person.lost |= person.who == who

    # -- newcomers ---------------------------------------------------------------------------------------------

    def admits(self, mode: Mode) -> bool:
        """Whether a newcomer may enter now."""
        compatible = all((hold.mode, mode) in _SHARING and not hold.pending for hold in self.holds)
        return compatible and not self.spent_ahead_of(mode)

    def spent_ahead_of(self, mode: Mode) -> list[Wait]:
        """The waiters that the policy ranks ahead of a newcomer and that it may overtake no more."""
        return [waiter for waiter in self.queue if waiter.spent and self._ranks_ahead(waiter.mode, mode)]

    def _ranks_ahead(self, waiting: Mode, arriving: Mode) -> bool:
        if arriving is WRITE:
            # "An arriving writer is admitted iff nobody is ranked ahead of it."
            return waiting is WRITE or self._rules() != "writer-pref"
        if waiting is WRITE:
            return self._rules() != "reader-pref"
        # Those who want to read go in order of arrival, but a queued upgradable never holds back a plain reader.
        return waiting is READ or arriving is UPGRADABLE

    def _rules(self) -> str:
        """The name of the policy by which the lock behaves now."""
        limit = self.policy.max_writer_wait
        overdue = limit is not None and any(
            waiter.mode is WRITE and self.now - waiter.since >= limit for waiter in self.queue
        )
        return "phase-fair" if overdue else self.policy.name

    # -- waiters -----------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        """What is due at this time: patience that ends, and with it the lock for a writer that was only poked."""
        self.now = now
        self.answer = []
        ended = [waiter for waiter in self.queue if not waiter.spent and now >= waiter.since + waiter.patience]
        for waiter in ended:
            waiter.spent = True
        if ended and not self.holds:
            self._serve()

    def _serve(self, *, write_ended: bool = False) -> None:
        self._drop_lost()
        if not self.holds:
            self._end_holding_back()
        upgrader = next((hold for hold in self.holds if hold.pending), None)
        if upgrader is None:
            self._admit(self._order(write_ended))
        elif len(self.holds) == 1:
            self._write(upgrader)
            upgrader.delivered = False
            self.answer.append(Group(True, (upgrader.who,)))
        self._restart_count()

    def _order(self, write_ended: bool) -> list[Wait]:
        """In which order the policy looks at the waiters: its row in the table."""
        readers = [waiter for waiter in self.queue if waiter.mode is not WRITE]
        first_writer = [waiter for waiter in self.queue if waiter.mode is WRITE][:1]
        limit = self.policy.max_consecutive_writers
        match self._rules():
            case "reader-pref":
                return readers + first_writer
            case "writer-pref" if write_ended and limit is not None and self.writes_in_a_row >= limit:
                return readers + first_writer
            case "writer-pref":
                return first_writer or readers
            case "phase-fair" if write_ended:
                return readers + first_writer
            case "phase-fair":
                return first_writer or readers
            case _:
                return list(self.queue)

    def _admit(self, order: list[Wait]) -> None:
        """Each that conflicts with no holder and no earlier waiter left behind; readers up to the size of a batch."""
        batch: list[Wait] = []
        left_behind: list[Wait] = []
        full = stopped = False
        for waiter in order:
            if self._conflicts(waiter, left_behind):
                left_behind.append(waiter)
            elif stopped:
                waiter.held_back |= full and waiter.mode is READ
                left_behind.append(waiter)
            elif waiter.lost:
                self.queue.remove(waiter)
            elif waiter.mode is WRITE:
                self._offer(waiter)
                left_behind.append(waiter)
            else:
                full = waiter.mode is READ and sum(w.mode is READ for w in batch) == self.policy.max_batch
                stopped = waiter.held_back = full or waiter.held_back
                (left_behind if stopped else batch).append(waiter)
                if not stopped:
                    self._grant(waiter)
        if batch:
            self.answer.append(Group(True, tuple(waiter.who for waiter in batch)))

    def _conflicts(self, waiter: Wait, left_behind: list[Wait]) -> bool:
        modes = [hold.mode for hold in self.holds] + [other.mode for other in left_behind]
        return any((mode, waiter.mode) not in _SHARING for mode in modes)

    def _offer(self, writer: Wait) -> None:
        if writer.spent:
            self._grant(writer)
            self.answer.append(Group(True, (writer.who,)))
        elif not writer.poked:
            writer.poked = True
            self.answer.append(Group(False, (writer.who,)))

    def _drop_lost(self) -> bool:
        before = len(self.queue)
        for mode in Mode:
            while (first := self._first(mode)) is not None and first.lost:
                self.queue.remove(first)
        upgraders = [hold for hold in self.holds if hold.pending and hold.lost]
        for hold in upgraders:
            self._revert(hold, hold.mode)
        return len(self.queue) < before or bool(upgraders)

    # -- small steps -------------------------------------------------------------------------------------------

    def _grant(self, waiter: Wait) -> None:
        self.queue.remove(waiter)
        self._hold(waiter.who, waiter.mode, delivered=False, lost=waiter.lost)

    def _hold(self, who: int, mode: Mode, *, delivered: bool, lost: bool = False) -> None:
        hold = Hold(who, mode, delivered, lost=lost)
        self.holds.append(hold)
        if mode is WRITE:
            hold.counted = self._somebody_waits_to_read()
            self.writes_in_a_row += hold.counted
            self._write(hold)
            self._restart_count()

    def _write(self, hold: Hold) -> None:
        hold.mode, hold.pending = WRITE, False
        self._end_holding_back()

    def _revert(self, hold: Hold, otherwise: Mode) -> None:
        hold.mode, hold.base, hold.pending = hold.base or otherwise, None, False

    def _remove(self, who: int) -> None:
        self.holds = [hold for hold in self.holds if hold.who != who]
        self.queue = [waiter for waiter in self.queue if waiter.who != who]

    def _end_holding_back(self) -> None:
        for waiter in self.queue:
            waiter.held_back = False

    def _restart_count(self) -> None:
        if not self._somebody_waits_to_read():
            self.writes_in_a_row = 0
            for hold in self.holds:
                hold.counted = False

    def _somebody_waits_to_read(self) -> bool:
        return any(waiter.mode is not WRITE for waiter in self.queue)

    def _first(self, mode: Mode) -> Wait | None:
        return next((waiter for waiter in self.queue if waiter.mode is mode), None)

    def _waiting(self, who: int) -> Wait | None:
        return next((waiter for waiter in self.queue if waiter.who == who), None)

    def _holding(self, who: int) -> Hold:
        return next(hold for hold in self.holds if hold.who == who)

    # -- looking -----------------------------------------------------------------------------------------------

    def people(self) -> list[Hold | Wait]:
        """Everybody who holds or waits."""
        return [*self.holds, *self.queue]

    def woken(self) -> list[int]:
        """Whom the last event woke, in order."""
        return [who for group in self.answer for who in group.who]

    def overlooked(self) -> list[int]:
        """Who may enter now and was told nothing: nobody, after an event."""
        closed = self.copy()
        closed.answer = []
        closed._serve()
        return closed.woken()

    def deadlines(self) -> list[float]:
        """When, in seconds, somebody's patience ends or a writer becomes overdue; only what lies ahead."""
        limit = self.policy.max_writer_wait
        times = [waiter.since + waiter.patience for waiter in self.queue if not waiter.spent]
        if limit is not None:
            times += [waiter.since + limit for waiter in self.queue if waiter.mode is WRITE]
        return times

    def copy(self) -> Oracle:
        """An equal oracle with a life of its own."""
        twin = Oracle(self.policy)
        twin.now = self.now
        twin.holds = [hold.copy() for hold in self.holds]
        twin.queue = [waiter.copy() for waiter in self.queue]
        twin.writes_in_a_row = self.writes_in_a_row
        twin.answer = self.answer
        return twin
