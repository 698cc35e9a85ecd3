"""The Python engine and the C core, driven together: every event goes to both, and both have to answer alike."""

from __future__ import annotations

import ctypes
from itertools import count
from math import inf
from typing import TYPE_CHECKING

from rwlocks._engine import Engine
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.policies import Order

if TYPE_CHECKING:
    from pathlib import Path

    from rwlocks.policies import Policy

__all__ = ["Library", "Sleeper", "Twins"]

NIL = 2**32 - 1
NO_BOUND = 2**64 - 1
FOREVER = 2**63 - 1
MODES = {Mode.READ: 1, Mode.UPGRADABLE: 2, Mode.WRITE: 3}
NAMES: dict[int, Mode | None] = {0: None, **{number: mode for mode, number in MODES.items()}}
ORDERS = {Order.READERS_FIRST: 0, Order.WRITERS_FIRST: 1, Order.ARRIVAL: 2}
CLAIM, WITHDRAW, RELEASE, DOWNGRADE, UPGRADE, UPGRADE_NOW, WITHDRAW_UPGRADE = range(7)
LEAVE, LOSE, DELIVER = range(7, 10)
WAITING, HELD = 1, 2
PENDING, POKED, SPENT, LOST = 0x40, 0x80, 0x100, 0x200

u32, u64, i64 = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int64


class CPolicy(ctypes.Structure):
    _fields_ = (
        ("after_write", u32),
        ("while_reading", u32),
        ("max_batch", u64),
        ("max_consecutive_writers", u64),
        ("max_writer_wait", u64),
    )


class CLine(ctypes.Structure):
    _fields_ = (("head", u32), ("tail", u32), ("length", u32), ("spent", u32))


class CState(ctypes.Structure):
    _fields_ = (
        ("gate", u32),
        ("passes", u32),
        ("dirty", u32),
        ("line", ctypes.c_uint8 * 52),
        ("now", i64),
        ("arrivals", u64),
        ("serials", u64),
        ("held_back", u64),
        ("writes_in_a_row", u64),
        ("writer_died", u32),
        ("epoch", u32),
        ("line_too", ctypes.c_uint8 * 16),
        ("readers", u32),
        ("upgradable", u32),
        ("upgrading", u32),
        ("writer", u32),
        ("contended", u32),
        ("free", u32),
        ("waiting", CLine * 3),
        ("young", CLine),
    )


class CRecord(ctypes.Structure):
    _fields_ = (
        ("word", u32),
        ("grant", u32),
        ("slot", u32),
        ("generation", u32),
        ("serial", u64),
        ("arrival", u64),
        ("wanted", i64),
        ("patience", i64),
        ("since", i64),
        ("owner", u64),
        ("links", u32 * 4),
        ("bell", u32),
        ("delivered", u32),
        ("reserved", u32 * 10),
    )


class Library:
    """The core, compiled for tests."""

    def __init__(self, path: Path) -> None:
        self.lib = ctypes.CDLL(str(path))
        self.lib.twin_new.restype = ctypes.c_void_p
        self.lib.twin_state.restype = ctypes.POINTER(CState)
        self.lib.twin_records.restype = ctypes.POINTER(CRecord)
        for name in ("free", "state", "records", "recount_agrees", "revive"):
            getattr(self.lib, f"twin_{name}").argtypes = [ctypes.c_void_p]
        self.lib.twin_recount_agrees.restype = ctypes.c_bool
        self.lib.twin_event.argtypes = [ctypes.c_void_p, ctypes.c_int, i64, u32, *[ctypes.c_void_p] * 2]
        self.lib.twin_died.argtypes = [ctypes.c_void_p, i64, u32, ctypes.c_void_p]
        self.lib.twin_request.argtypes = [
            *(ctypes.c_void_p, i64, u32, u32, i64, u64, i64, ctypes.c_bool),
            *[ctypes.c_void_p] * 3,
        ]
        self.lib.twin_enter.argtypes = [ctypes.c_void_p, i64, u32, u32, *[ctypes.c_void_p] * 3]


def nanoseconds(seconds: float) -> int:
    return FOREVER if seconds == inf else int(seconds)


def bound(value: float | None) -> int:
    return NO_BOUND if value is None else int(value)


class Sleeper:
    """The waiter of a ticket; a test may say that it is lost."""

    def __init__(self) -> None:
        self.gone = False

    def lost(self) -> bool:
        return self.gone

    def wake(self) -> bool:
        return not self.gone


class Twins:
    """One lock, twice. Times are whole numbers; one of them is a second here and a nanosecond there."""

    def __init__(self, library: Library, policy: Policy, max_holds: int = 24) -> None:
        self.lib = library.lib
        self.engine = Engine(policy)
        given = CPolicy(
            ORDERS[policy.after_write],
            ORDERS[policy.while_reading],
            bound(policy.max_batch),
            bound(policy.max_consecutive_writers),
            bound(policy.max_writer_wait),
        )
        self.twin = self.lib.twin_new(ctypes.byref(given), max_holds)
        self.max_holds = max_holds
        self.state = self.lib.twin_state(self.twin).contents
        self.records = self.lib.twin_records(self.twin)
        self.tickets: dict[Ticket, int] = {}
        """Every ticket that waits or holds, with its record."""
        self.slots: dict[Ticket, int] = {}
        self.now = 1  # 0 is "no time" to the core
        self._numbers = count()
        self._wakes = (u32 * 4096)()
        self._index = u32()
        self._answer = ctypes.c_int()

    def close(self) -> None:
        self.lib.twin_free(self.twin)

    # -- events: each goes to both ------------------------------------------------------------------------------

    def request(
        self, mode: Mode, patience: float, slot: int = 0, *, wait: bool = True, like: Ticket | None = None
    ) -> Ticket:
        """``like``: a ticket withdrawn before, whose first arrival the new one keeps."""
        ticket = Ticket(mode, object())
        ticket.task = next(self._numbers)
        ticket.patience = patience
        ticket.waiter = Sleeper()
        arrival = wanted = 0
        if like is not None and like.arrival:
            arrival, wanted = like.arrival, int(like.wanted)
            ticket.arrival, ticket.wanted = arrival, wanted
        wakes = self.engine.request(ticket, self.now, wait=wait)
        made = self.lib.twin_request(
            *(self.twin, self.now, slot, MODES[mode], nanoseconds(patience), arrival, wanted, wait),
            *(ctypes.byref(self._index), ctypes.byref(self._answer), self._wakes),
        )
        expected = {State.HELD: 1, State.WAITING: 2}.get(ticket.state, 0)
        assert self._answer.value == expected, (ticket.state, self._answer.value)
        if expected:
            self.tickets[ticket] = self._index.value
            self.slots[ticket] = slot
        self._compare(wakes, made)
        return ticket

    def enter(self, mode: Mode, slot: int = 0) -> None:
        """The engine's short cut, and the core's; either may leave the decision to a full request."""
        ticket = Ticket(mode, object())
        ticket.task = next(self._numbers)
        ticket.waiter = Sleeper()
        contended = self.engine.contended
        entered = self.engine.enter(ticket, self._clock)
        if not entered and contended:
            return
        made = self.lib.twin_enter(
            *(self.twin, self.now, slot, MODES[mode]),
            *(ctypes.byref(self._index), ctypes.byref(self._answer), self._wakes),
        )
        assert bool(self._answer.value) is entered
        if entered:
            self.tickets[ticket] = self._index.value
            self.slots[ticket] = slot
        self._compare([], made)

    def leave(self, ticket: Ticket) -> None:
        """As `enter`: what the engine's short cut decides, the core decides alike."""
        if self.engine.leave(ticket, self._clock):
            self._compare([], self._event(LEAVE, ticket))

    def _clock(self) -> float:
        return self.now

    def claim(self, ticket: Ticket) -> None:
        wakes = self.engine.claim(ticket, self.now)
        self._compare(wakes, self._event(CLAIM, ticket))

    def withdraw(self, ticket: Ticket) -> None:
        wakes = self.engine.withdraw(ticket, self.now)
        self._compare(wakes, self._event(WITHDRAW, ticket))

    def release(self, ticket: Ticket) -> None:
        wakes = self.engine.release(ticket, self.now)
        self._compare(wakes, self._event(RELEASE, ticket))

    def downgrade(self, ticket: Ticket) -> None:
        wakes = self.engine.downgrade(ticket, self.now)
        self._compare(wakes, self._event(DOWNGRADE, ticket))

    def upgrade(self, ticket: Ticket, *, wait: bool = True) -> None:
        engine = self.engine
        if engine.upgrading is not None or (engine.upgradable is not None and engine.upgradable is not ticket):
            # The engine leaves this to its caller; across processes only the core can see it.
            made = self._event(UPGRADE if wait else UPGRADE_NOW, ticket)
            assert self._answer.value == 3
            self._compare(self.engine.advance(self.now), made)
            return
        ticket.waiter = Sleeper()
        wakes = self.engine.upgrade(ticket, self.now, wait=wait)
        made = self._event(UPGRADE if wait else UPGRADE_NOW, ticket)
        expected = 1 if ticket.mode is Mode.WRITE else 2 if ticket is self.engine.upgrading else 0
        assert self._answer.value == expected
        self._compare(wakes, made)

    def withdraw_upgrade(self, ticket: Ticket) -> None:
        wakes = self.engine.withdraw_upgrade(ticket, self.now)
        self._compare(wakes, self._event(WITHDRAW_UPGRADE, ticket))

    def lose(self, ticket: Ticket) -> None:
        assert isinstance(ticket.waiter, Sleeper)
        ticket.waiter.gone = True
        self._compare([], self._event(LOSE, ticket))

    def deliver(self, ticket: Ticket) -> None:
        ticket.delivered = True
        self._compare([], self._event(DELIVER, ticket))

    def die(self, slot: int) -> None:
        """The process of that slot dies, and somebody notices."""
        theirs = [ticket for ticket in self.tickets if self.slots[ticket] == slot]
        for ticket in theirs:
            assert isinstance(ticket.waiter, Sleeper)
            ticket.waiter.gone = True
        wrote = self.engine.writer in theirs
        epoch = self.state.epoch
        wakes = self.engine.owner_died(theirs, self.now)
        made = self.lib.twin_died(self.twin, self.now, slot, self._wakes)
        self._compare(wakes, made)
        assert self.state.epoch == epoch + wrote

    def revive(self) -> None:
        """New processes have taken the places of the dead."""
        self.lib.twin_revive(self.twin)

    # -- comparing ----------------------------------------------------------------------------------------------

    def _event(self, what: int, ticket: Ticket) -> int:
        made: int = self.lib.twin_event(
            self.twin, what, self.now, self.tickets[ticket], ctypes.byref(self._answer), self._wakes
        )
        return made

    def _compare(self, wakes: list[Ticket], made: int) -> None:
        assert made >= 0, "the core met nonsense"
        woken = [self._wakes[i] for i in range(made)]
        assert woken == [self.tickets[ticket] for ticket in wakes], "others are woken"
        live = {State.WAITING, State.HELD}
        for ticket in [each for each in self.tickets if each.state not in live]:
            assert self.records[self.tickets.pop(ticket)].word == 0 or self._reused(ticket)
            del self.slots[ticket]
        self._compare_records()
        self._compare_counts()
        assert self.lib.twin_recount_agrees(self.twin), "a recount finds something else"

    def _reused(self, ticket: Ticket) -> bool:
        return any(each is not ticket for each in self.tickets)

    def _compare_records(self) -> None:
        records = {i: self.records[i] for i in range(self.max_holds) if self.records[i].word}
        assert set(records) == set(self.tickets.values())
        for ticket, index in self.tickets.items():
            record, word = records[index], records[index].word
            assert NAMES[word >> 2 & 3] is ticket.mode
            assert NAMES[word >> 4 & 3] is ticket.base
            if ticket.state is State.WAITING:
                assert word & 3 == WAITING
                assert bool(word & POKED) is ticket.poked
                assert bool(word & SPENT) is ticket.spent
                assert (record.arrival, record.wanted) == (ticket.arrival, ticket.wanted)
            else:
                assert word & 3 == HELD
                assert bool(record.delivered) is ticket.delivered
                assert record.since == (ticket.since or 0)
                assert bool(word & PENDING) is (ticket is self.engine.upgrading)

    def _compare_counts(self) -> None:
        state, engine = self.state, self.engine
        assert state.readers == engine.readers
        assert state.upgradable == self._index_of(engine.upgradable)
        assert state.upgrading == self._index_of(engine.upgrading)
        assert state.writer == self._index_of(engine.writer)
        assert state.contended == engine.contended
        assert state.arrivals == engine.arrivals
        assert self._held_back(state.held_back) == self._held_back(engine.held_back)
        if engine.policy.max_consecutive_writers is not None:
            assert state.writes_in_a_row == engine.writes_in_a_row
        for mode, line in engine.waiting.items():
            theirs = state.waiting[MODES[mode] - 1]
            assert (theirs.length, theirs.spent) == (line.length, engine.spent[mode])
            assert self._walk(theirs.head, 0) == [self.tickets[t] for t in line.everybody()]
        assert self._walk(state.young.head, 2) == [self.tickets[t] for t in engine.young.everybody()]

    def _index_of(self, ticket: Ticket | None) -> int:
        return NIL if ticket is None else self.tickets[ticket]

    def _held_back(self, arrival: int) -> int:
        """How many readers that number holds back; it is reset with the next free lock, if not before."""
        queue = self.engine.waiting[Mode.READ].everybody()
        return 0 if self.engine.writer is not None else sum(t.arrival <= arrival for t in queue)

    def _walk(self, index: int, kind: int) -> list[int]:
        found: list[int] = []
        while index != NIL:
            found.append(index)
            index = self.records[index].links[kind + 1]
        return found
