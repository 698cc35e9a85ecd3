"""Who gets the lock, and when: a pure state machine. No clock, no thread, no loop, no I/O.

Events come in (a request, a claim, a release, ...), each with its time; the answer is the list of tickets to wake.
Whoever is *granted* the lock holds it from that instant on: waking it is mere delivery, and a late, lost or doubled
wake-up can change latency but never who holds what. That one rule removes the usual lock bugs by construction.

**Modes.** READ shares with READ and with one UPGRADABLE; UPGRADABLE with READ only; WRITE with nothing. A holder that
wants to become the writer is a *pending upgrade*: it goes before the queue and blocks every admission until the
other readers have left.

**Policies** are two `Order`s (see `rwlocks.policies`). The whole of every policy is `_horizon`: in each situation it
answers "which of the waiting readers are due before the first waiting writer?" with an arrival number. Readers that
arrived before the horizon go in, in order; a writer goes in when nothing at all is held then.

**Closure.** Every event ends with `_serve`, which leaves nothing undone: afterwards everyone whom the policy would
admit is granted, or is a young writer with its own poke under way. An event begins with `advance`: first what is due
at its time, then the event itself.

**Patience.** Strict hand-off makes a convoy between threads, so a waiter lets *newcomers* overtake it while it is
young, that is, for its patience. Nothing else bends: the order among waiters is the policy's, and nobody is overtaken
once its patience is spent. Hence *hand or poke*: a young writer that is due while nothing is held is only poked (the
lock stays free, it keeps its place, wakes and claims); everybody else is handed the lock. Ages turn into one bit per
waiter (young or spent) in `advance`, and the admission test only counts spent ones: O(1).

**Bounds.** A batch cut short by ``max_batch`` leaves the rest of it *held back* until the lock is free again. They are
the readers with an arrival number up to `held_back`, so that any number of them costs nothing. The one upgradable
that may join a batch is not counted in it.

**Cost.** Every queue operation is O(1): one sorted line of waiters per mode, and one of the young by the time at which
their patience ends.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

from rwlocks._line import Line
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.policies import Order, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks._line import Place

__all__ = ["Engine", "Wakes"]

# Local names: looking a member up in its Enum is slow on 3.11, and this is the hot path.
READ: Final = Mode.READ
UPGRADABLE: Final = Mode.UPGRADABLE
WRITE: Final = Mode.WRITE
WAITING: Final = State.WAITING
HELD: Final = State.HELD
DONE: Final = State.DONE
READERS_FIRST: Final = Order.READERS_FIRST
WRITERS_FIRST: Final = Order.WRITERS_FIRST


Wakes = list[Ticket]


class Engine:
    """The state of one lock. Every event method takes the time of the event and returns the tickets to wake.

    Obligation of the caller: one event at a time, times that never decrease, and a `wake()` for every ticket returned.
    """

    __slots__ = (
        "acquisitions",
        "arrivals",
        "contended",
        "held_back",
        "holders",
        "nesting",
        "now",
        "policy",
        "readers",
        "spent",
        "upgradable",
        "upgrading",
        "waiting",
        "writer",
        "writes_in_a_row",
        "young",
    )

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.now = -inf
        self.holders: dict[Any, Ticket] = {}
        """By owner, in order of acquisition; the further holds of an owner hang on the last (``beside``)."""
        self.nesting = False
        """Whether a request of somebody who holds the lock already is special, and `enter` leaves it to others."""
        self.readers = 0
        self.upgradable: Ticket | None = None
        self.upgrading: Ticket | None = None
        self.writer: Ticket | None = None
        self.waiting: dict[Mode, Line] = {mode: Line() for mode in Mode}
        self.young: Line = Line()
        self.spent = dict.fromkeys(Mode, 0)
        self.contended = 0
        """How many wait: those in the queue and a pending upgrade. While it is 0, all policies agree."""
        self.acquisitions = 0
        self.arrivals = 0
        self.held_back = 0
        self.writes_in_a_row = 0

    # -- events ------------------------------------------------------------------------------------------------

    def enter(self, ticket: Ticket, clock: Callable[[], float]) -> bool:
        """`request` for the two cases that need no policy: nobody waits, or everybody who waits is young.

        False: not decided, nothing changed. All policies agree here, so that an undisputed acquisition pays for no
        fairness and reads no clock; written out in one piece because it is the hot path.
        """
        if self.contended:
            place = self.young.head
            if place is None or self.young.length != self.contended or (now := clock()) >= place.key:
                return False
        else:
            now = None
        holders, owner, mode = self.holders, ticket.owner, ticket.mode
        other = holders.get(owner)
        if self.writer is not None or (other is not None and self.nesting):
            return False
        if mode is READ:
            self.readers += 1
        elif self.upgradable is not None:
            return False
        elif mode is UPGRADABLE:
            self.upgradable = ticket
        elif self.readers:
            return False
        else:
            if self.policy.max_consecutive_writers is not None:
                self._count_write()
            self.writer = ticket
            self.held_back = 0
        if other is not None:
            ticket.beside = other
        ticket.state = HELD
        ticket.since = now
        holders[owner] = ticket
        self.acquisitions += 1
        return True

    def leave(self, ticket: Ticket, clock: Callable[[], float]) -> bool:
        """`release` for the two cases that need no policy: nobody waits, or only young writers and the first is poked.

        False: not decided, nothing changed.
        """
        if self.contended:
            line, young = self.waiting[WRITE], self.young
            first, soonest = line.head, young.head
            if first is None or soonest is None or not first.who.poked or first.who.waiter.lost():
                return False
            if not line.length == young.length == self.contended or clock() >= soonest.key:
                return False
        if self.writer is ticket:
            self.writer = None
        elif self.upgradable is ticket:
            self.upgradable = None
        else:
            self.readers -= 1
        ticket.state = DONE
        if ticket.beside is None and self.holders[ticket.owner] is ticket:
            del self.holders[ticket.owner]
        else:
            self._unlist(ticket)
        return True

    def request(self, ticket: Ticket, now: float, wait: bool = True) -> Wakes:
        """Grant the request, or queue it (``wait``), or leave it new: see ``ticket.state``."""
        wakes = self.advance(now)
        if not self.admits(ticket.mode) and self._forget_lost():
            wakes += self._serve()
        if self.admits(ticket.mode):
            ticket.since = now
            self._hold(ticket)
        elif wait:
            self._join(ticket, now)
        return wakes

    def queue_up(self, ticket: Ticket, now: float) -> None:
        """Wait, after a `request` that was not granted at the same time."""
        self._join(ticket, now)

    def claim(self, ticket: Ticket, now: float) -> Wakes:
        """A waiter asks for what it was poked for; a timeout asks a last time. See ``ticket.state``."""
        wakes = self.advance(now)
        if ticket.state is WAITING:
            ticket.poked = False
            if self._free() and self._first(WRITE) is ticket:
                self._grant(ticket)
        return wakes

    def withdraw(self, ticket: Ticket, now: float) -> Wakes:
        """The request was never made: give up the place in the queue, or a grant that was faster."""
        wakes = self.advance(now)
        if ticket.state is WAITING:
            self._leave(ticket)
        elif ticket.state is HELD:
            self.acquisitions -= 1
            if ticket is self.writer and self.writes_in_a_row:
                self.writes_in_a_row -= 1
            self._drop(ticket)
        ticket.state = DONE
        ticket.granted = False
        return wakes + self._serve()

    def release(self, ticket: Ticket, now: float) -> Wakes:
        wakes = self.advance(now)
        wrote = ticket is self.writer
        self._drop(ticket)
        return wakes + self._serve(after_write=wrote)

    def downgrade(self, ticket: Ticket, now: float) -> Wakes:
        """WRITE to READ, or to what was upgraded; UPGRADABLE to READ; then the readers that the end of a write lets in.

        Those that a full batch held back stay so, if the lock was not written.
        """
        wakes = self.advance(now)
        self._end_pending(ticket)
        self._become(ticket, ticket.base or READ)
        ticket.base = None
        return wakes + self._serve(after_write=True)

    def upgrade(self, ticket: Ticket, now: float, wait: bool = True) -> Wakes:
        """A reader or upgradable holder becomes the writer, or a pending upgrade (``wait``): see ``ticket.mode``.

        Obligation: nobody else is upgradable or upgrading.
        """
        wakes = self.advance(now)
        base = ticket.mode
        self._become(ticket, UPGRADABLE)
        if not self.readers:
            self._become(ticket, WRITE)
        elif wait:
            self.upgrading = ticket
            self.contended += 1
            ticket.wanted = now
        else:
            self._become(ticket, base)
            return wakes
        ticket.base = base
        return wakes

    def withdraw_upgrade(self, ticket: Ticket, now: float) -> Wakes:
        """The upgrade was never asked for: the hold is what it was, also if the grant was faster."""
        wakes = self.advance(now)
        self._revert(ticket)
        return wakes + self._serve()

    def owner_died(self, tickets: list[Ticket], now: float) -> Wakes:
        """All of these holds and requests end at once, as one event."""
        wakes = self.advance(now)
        wrote = self.writer in tickets
        for ticket in tickets:
            if ticket.state is WAITING:
                self._leave(ticket)
            elif ticket.state is HELD:
                self._drop(ticket)
            ticket.state = DONE
        return wakes + self._serve(after_write=wrote)

    # -- the policy, on one screen --------------------------------------------------------------------------------

    def _horizon(self, after_write: bool) -> float:
        """Waiting readers that arrived before this number go before the first waiting writer."""
        writer = self.waiting[WRITE].head
        order = self.order(after_write)
        if writer is None or order is READERS_FIRST:
            return inf
        return -inf if order is WRITERS_FIRST else writer.key

    def order(self, after_write: bool) -> Order:
        """Who goes first: when a write ends, or while reads go on."""
        policy = self.policy
        if not after_write:
            # An overdue writer makes reader preference phase-fair: the orders differ here only.
            return WRITERS_FIRST if self._overdue() else policy.while_reading
        if policy.max_consecutive_writers is not None:
            if self.writes_in_a_row >= policy.max_consecutive_writers:
                return READERS_FIRST
        return policy.after_write

    def _overdue(self) -> bool:
        limit = self.policy.max_writer_wait
        if limit is None:
            return False
        writer = self._first(WRITE)
        return writer is not None and self.now - writer.wanted >= limit

    def admits(self, mode: Mode) -> bool:
        """Whether a newcomer may enter: nobody who is ranked ahead of it has spent its patience."""
        if self.upgrading is not None or not self.compatible(mode):
            return False
        spent = self.spent
        if mode is WRITE:
            readers_ahead = self.policy.after_write is not WRITERS_FIRST
            return not spent[WRITE] and not (readers_ahead and (spent[READ] or spent[UPGRADABLE]))
        # A waiting upgradable holds back other upgradables only, never a plain reader.
        if spent[READ] or (mode is UPGRADABLE and spent[UPGRADABLE]):
            return False
        return not spent[WRITE] or self.order(after_write=False) is READERS_FIRST

    def compatible(self, mode: Mode) -> bool:
        """Whether those who hold the lock now let somebody in that mode in, whatever the policy says."""
        if self.writer is not None:
            return False
        return mode is READ or (self.upgradable is None and (mode is UPGRADABLE or not self.readers))

    # -- closure -----------------------------------------------------------------------------------------------

    def advance(self, now: float) -> Wakes:
        """What is due at this time: patience that ends, and with it the lock for a writer that was only poked."""
        self.now = now
        aged = False
        while (place := self.young.head) is not None and place.key <= now:
            self._spend(place.who, place)
            aged = True
        return self._serve() if aged and self._free() else []

    def _serve(self, after_write: bool = False) -> Wakes:
        wakes: Wakes = []
        self._forget_lost()
        if self._free():
            self.held_back = 0
        if self.upgrading is not None:
            self._finish_upgrade(wakes)
        elif self.writer is None:
            self._admit_readers(self._horizon(after_write), wakes)
            if self._free():
                self._offer_to_writer(wakes)
        self._restart_count()
        return wakes

    def _finish_upgrade(self, wakes: Wakes) -> None:
        ticket = self.upgrading
        if ticket is not None and not self.readers:
            self._end_pending(ticket)
            self._become(ticket, WRITE)
            ticket.delivered = False
            wakes.append(ticket)

    def _admit_readers(self, horizon: float, wakes: Wakes) -> None:
        batch = 0
        while (ticket := self._next_reader(horizon)) is not None:
            if ticket.waiter.lost():
                self._forget(ticket)
                continue
            if ticket.mode is READ:
                if batch == self.policy.max_batch:
                    self.held_back = int(min(horizon - 1, self.arrivals))
                    continue
                batch += 1
            self._grant(ticket)
            wakes.append(ticket)

    def _next_reader(self, horizon: float) -> Ticket | None:
        """The earliest waiting reader or upgradable that may go in; one that is held back stops those behind it."""
        reader = self.waiting[READ].head
        if reader is not None and (reader.key <= self.held_back or reader.key >= horizon):
            horizon = min(horizon, reader.key)
            reader = None
        upgradable = self.waiting[UPGRADABLE].head if self.upgradable is None else None
        if upgradable is not None and upgradable.key < horizon:
            if reader is None or upgradable.key < reader.key:
                reader = upgradable
        return None if reader is None else reader.who

    def _offer_to_writer(self, wakes: Wakes) -> None:
        ticket = self._first(WRITE)
        if ticket is None:
            return
        if ticket.spent:
            self._grant(ticket)
            wakes.append(ticket)
        elif not ticket.poked:
            ticket.poked = True
            wakes.append(ticket)

    def _forget_lost(self) -> bool:
        """Drop whoever stands in front of a line and can never run again, so that it holds up nobody."""
        dropped = False
        for line in self.waiting.values():
            while (place := line.head) is not None and place.who.waiter.lost():
                self._forget(place.who)
                dropped = True
        ticket = self.upgrading
        if ticket is not None and ticket.waiter.lost():
            self._revert(ticket)
            dropped = True
        return dropped

    # -- small steps -------------------------------------------------------------------------------------------

    def _free(self) -> bool:
        return not self.readers and self.upgradable is None and self.writer is None

    def _first(self, mode: Mode) -> Ticket | None:
        place = self.waiting[mode].head
        return None if place is None else place.who

    def _join(self, ticket: Ticket, now: float) -> None:
        if not ticket.arrival:
            self.arrivals += 1
            ticket.arrival = self.arrivals
            ticket.wanted = now if ticket.asked is None else ticket.asked
        ticket.state = WAITING
        ticket.poked = ticket.spent = False
        ticket.place = self.waiting[ticket.mode].join(ticket, ticket.arrival)
        ticket.timer = self.young.join(ticket, ticket.wanted + ticket.patience)
        self.contended += 1
        if ticket.timer.key <= now:
            self._spend(ticket, ticket.timer)

    def _spend(self, ticket: Ticket, timer: Place) -> None:
        self.young.leave(timer)
        ticket.timer = None
        ticket.spent = True
        self.spent[ticket.mode] += 1

    def _leave(self, ticket: Ticket) -> None:
        assert ticket.place is not None
        self.waiting[ticket.mode].leave(ticket.place)
        if ticket.timer is None:
            self.spent[ticket.mode] -= 1
        else:
            self.young.leave(ticket.timer)
        # A ticket and its places know each other: whoever has left must not need the collector to be freed.
        ticket.place = ticket.timer = None
        self.contended -= 1

    def _forget(self, ticket: Ticket) -> None:
        self._leave(ticket)
        ticket.state = DONE

    def _grant(self, ticket: Ticket) -> None:
        self._leave(ticket)
        ticket.since = self.now
        ticket.delivered = False
        ticket.granted = True
        self._hold(ticket)

    def _hold(self, ticket: Ticket) -> None:
        ticket.state = HELD
        self._list(ticket)
        self.acquisitions += 1
        self._take_role(ticket)
        if ticket.mode is WRITE:
            self._count_write()

    def _drop(self, ticket: Ticket) -> None:
        self._end_pending(ticket)
        self._leave_role(ticket)
        self._unlist(ticket)
        ticket.state = DONE

    def _list(self, ticket: Ticket) -> None:
        ticket.beside = self.holders.get(ticket.owner)
        self.holders[ticket.owner] = ticket

    def _unlist(self, ticket: Ticket) -> None:
        holder = self.holders[ticket.owner]
        if holder is not ticket:
            while holder.beside is not ticket:
                assert holder.beside is not None
                holder = holder.beside
            holder.beside = ticket.beside
        elif ticket.beside is None:
            del self.holders[ticket.owner]
        else:
            self.holders[ticket.owner] = ticket.beside
        ticket.beside = None

    def _become(self, ticket: Ticket, mode: Mode) -> None:
        self._leave_role(ticket)
        ticket.mode = mode
        self._take_role(ticket)

    def _take_role(self, ticket: Ticket) -> None:
        if ticket.mode is READ:
            self.readers += 1
        elif ticket.mode is UPGRADABLE:
            self.upgradable = ticket
        else:
            self.writer = ticket
            self.held_back = 0

    def _leave_role(self, ticket: Ticket) -> None:
        if ticket.mode is READ:
            self.readers -= 1
        elif ticket.mode is UPGRADABLE:
            self.upgradable = None
        else:
            self.writer = None

    def _end_pending(self, ticket: Ticket) -> None:
        if self.upgrading is ticket:
            self.upgrading = None
            self.contended -= 1

    def _revert(self, ticket: Ticket) -> None:
        if ticket.base is not None:
            self._end_pending(ticket)
            self._become(ticket, ticket.base)
            ticket.base = None

    def _count_write(self) -> None:
        self.writes_in_a_row += 1
        self._restart_count()

    def _restart_count(self) -> None:
        """Writes count only while a reader waits."""
        if not self.waiting[READ].length and not self.waiting[UPGRADABLE].length:
            self.writes_in_a_row = 0

    # -- owners ------------------------------------------------------------------------------------------------

    def disown(self, ticket: Ticket) -> None:
        """From now on the hold is nobody's."""
        self._unlist(ticket)
        ticket.owner = object()
        self._list(ticket)

    def adopt(self, ticket: Ticket, *, pending: bool) -> None:
        """Take over a holder, and perhaps its pending upgrade, of an engine that is no more."""
        ticket.beside = None
        self._list(ticket)
        self._take_role(ticket)
        if pending:
            self.upgrading = ticket
            self.contended += 1

    def rejoin(self, ticket: Ticket) -> None:
        """Take over a waiter of an engine that is no more, in its old place."""
        self._join(ticket, self.now)

    def settle(self) -> Wakes:
        """Serve whoever is due after a take-over."""
        return self._serve()

    def pass_on(self, ticket: Ticket, heir: Ticket) -> None:
        """The heir, of the same owner, takes the place of a holder, in the same mode; the ticket holds nothing then."""
        self._leave_role(ticket)
        self._unlist(ticket)
        heir.mode = ticket.mode
        self._take_role(heir)
        self._list(heir)

    # -- looking -----------------------------------------------------------------------------------------------

    def held(self) -> list[Ticket]:
        """All who hold, owners in order of their acquisition."""
        tickets: list[Ticket] = []
        for holder in self.holders.values():
            tickets += reversed(self.held_by(holder.owner))
        return tickets

    def held_by(self, owner: object) -> list[Ticket]:
        """What an owner holds, the latest first; O(1) for somebody who holds nothing."""
        tickets: list[Ticket] = []
        ticket = self.holders.get(owner)
        while ticket is not None:
            tickets.append(ticket)
            ticket = ticket.beside
        return tickets

    def locked(self) -> Mode | None:
        """The strongest mode held."""
        if self.writer is not None:
            return WRITE
        if self.upgradable is not None:
            return UPGRADABLE
        return READ if self.readers else None

    def first_in_line(self) -> list[Ticket]:
        """A pending upgrade and the first waiter of each mode. Changes nothing, and can be called without the mutex."""
        firsts = [self.upgrading, *(self._first(mode) for mode in Mode)]
        return [ticket for ticket in firsts if ticket is not None]

    def queue(self) -> list[Ticket]:
        """Those who wait in the queue, in order of arrival."""
        tickets = [ticket for line in self.waiting.values() for ticket in line.everybody()]
        return sorted(tickets, key=lambda ticket: ticket.arrival)

    def steps(self) -> int:
        """Moves made in the queue so far: what grows must be the waiters, never the moves for each."""
        return self.young.steps + sum(line.steps for line in self.waiting.values())

    def snapshot(self) -> tuple[object, ...]:
        """All that decides the future, hashable; arrival numbers and times are reduced to order and to young or spent.

        ``task`` stands for the ticket in it: give each a distinct hashable one.
        """
        queue, limit = self.queue(), self.policy.max_consecutive_writers
        return (
            frozenset((t.task, t.mode, t.base, t.delivered) for t in self.held()),
            tuple((t.task, t.mode, t.spent, t.poked, t.waiter.lost()) for t in queue),
            None if self.upgrading is None else self.upgrading.task,
            sum(t.mode is READ and t.arrival <= self.held_back for t in queue),
            # Beyond the bound one more decides nothing, but the last one may still be taken back.
            0 if limit is None else min(self.writes_in_a_row, limit + 1),
            self._overdue(),
        )

    def check_invariants(self) -> None:
        """Raise AssertionError unless the state is one that the rules allow."""
        held = self.held()
        roles = [ticket.mode for ticket in held]
        assert self.readers == roles.count(READ), "readers are counted wrongly"
        assert roles.count(UPGRADABLE) == (self.upgradable is not None) <= 1, "two are upgradable"
        assert roles.count(WRITE) == (self.writer is not None) <= 1, "there are two writers"
        assert self.writer is None or len(roles) == 1, "a writer is not alone"
        assert self.upgrading is None or self.upgrading is self.upgradable, "the upgrader is no reader"
        assert all(ticket.state is HELD for ticket in held), "a holder does not hold"
        queue = self.queue()
        assert all(ticket.state is WAITING for ticket in queue), "one in the queue does not wait"
        assert len({ticket.arrival for ticket in queue}) == len(queue), "two have one place"
        assert self.contended == len(queue) + (self.upgrading is not None), "waiters are counted wrongly"
        for mode, line in self.waiting.items():
            people = line.everybody()
            assert len(people) == line.length, "a line has lost somebody"
            assert self.spent[mode] == sum(t.spent for t in people), "the spent are counted wrongly"
        assert self.young.length == sum(not t.spent for t in queue), "the young are counted wrongly"
        first = self._first(WRITE)
        assert not (queue and self._free()) or (first is not None and first.poked and not first.spent), (
            "the lock is free, and nobody who waits is on the way to it"
        )
