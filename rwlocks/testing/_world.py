"""A small world: one lock, an engine and an oracle that are told the same events, and actors who may do anything.

An actor asks in any mode, goes away at every point (also when a grant is on its way), times out, claims, upgrades,
downgrades, dies, loses its event loop. `World.after` leaves the world as it is and gives the one that an event leads
to, so that a search may try every event in every state.

**Equal worlds.** Two worlds have the same future when the snapshot of the engine *and* that of the oracle are equal,
whoever the actors are: they are interchangeable, so each is named by its place in the queue, or by its rank among the
holders. An engine that forgot something which the oracle remembers is thus never taken for an equal one.

**Time** is abstract: it stands still during events and jumps, as an event of its own, to the next instant at which
somebody's patience ends or a writer becomes overdue. The engine is not told; it finds out at its next event, as in
life. Patience is a whole number of seconds plus a microsecond for each arrival before, in powers of two: no two waiters
of one patience become spent at once, and all sums are exact.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from rwlocks._engine import Engine
from rwlocks._line import Line
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.testing._oracle import Oracle, RuleBroken
from rwlocks.testing._phases import Phases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rwlocks._engine import Wakes
    from rwlocks.policies import Policy
    from rwlocks.testing._oracle import Hold

__all__ = ["Act", "Event", "World", "expect"]

READ, WRITE = Mode.READ, Mode.WRITE

_INSTANT: Final = 2.0**-20
"""Seconds by which the patience of each arrival differs from that of the one before."""


class Act(enum.Enum):
    """What can happen in a world; the value is how a path says it."""

    REQUEST = "asks to"
    TRY = "tries without waiting to"
    CLAIM = "wakes and claims"
    EXPIRE = "times out"
    WITHDRAW = "withdraws"
    LEARN = "learns of its grant"
    RELEASE = "releases"
    DOWNGRADE = "downgrades"
    UPGRADE = "upgrades"
    TRY_UPGRADE = "tries without waiting to upgrade"
    WITHDRAW_UPGRADE = "withdraws its upgrade"
    DIE = "dies"
    LOSE = "loses its event loop"
    TICK = "time passes until somebody's patience ends or a writer is overdue"


class Event(NamedTuple):
    """One act of one actor, a number from 0; mode and patience (seconds) belong to a request."""

    act: Act
    who: int = 0
    mode: Mode | None = None
    patience: float = 0.0

    def __str__(self) -> str:
        if self.act is Act.TICK:
            return str(self.act.value)
        wish = "" if self.mode is None else f" {self.mode.value}"
        patience = f", patience {self.patience:g} s" if self.act is Act.REQUEST and self.patience else ""
        return f"{chr(ord('A') + self.who)} {self.act.value}{wish}{patience}"


@final
class World:
    """One lock, its oracle and the actors. `after` gives the world that an event leads to and leaves this one alone."""

    __slots__ = ("actors", "arrivals", "engine", "losses", "now", "oracle", "patience", "phases", "tickets")

    def __init__(
        self,
        policy: Policy,
        actors: int,
        patience: tuple[float, ...] = (0.0,),
        *,
        losses: bool = False,
        phases: bool = False,
        engine: Engine | None = None,
    ) -> None:
        self.actors = actors
        self.patience = patience
        self.losses = losses
        self.now = 0.0
        self.arrivals = 0
        self.engine = Engine(policy) if engine is None else engine
        self.oracle = Oracle(policy)
        self.tickets: dict[int, Ticket] = {}
        self.phases = Phases() if phases else None

    def events(self) -> Iterator[Event]:
        """Everything that can happen now, once for each group of interchangeable actors."""
        newcomer = next((who for who in range(self.actors) if who not in self.tickets), None)
        if newcomer is not None:
            yield from self._arrivals_of(newcomer)
        for waiter in self.oracle.queue:
            yield from self._events_of_waiter(waiter.who, waiter.mode, lost=waiter.lost)
        alike: set[object] = set()
        for hold in self.oracle.holds:
            if _rank(hold) not in alike:
                alike.add(_rank(hold))
                yield from self._events_of_holder(hold)
        if any(deadline > self.now for deadline in self.oracle.deadlines()):
            yield Event(Act.TICK)

    def _arrivals_of(self, who: int) -> Iterator[Event]:
        for mode in Mode:
            for patience in self.patience:
                yield Event(Act.REQUEST, who, mode, patience)
            if self.phases is None:
                yield Event(Act.TRY, who, mode)

    def _events_of_waiter(self, who: int, mode: Mode, *, lost: bool) -> Iterator[Event]:
        yield Event(Act.WITHDRAW, who)
        if mode is WRITE and not lost and self.phases is None:
            # To a reader, who is never poked, a timeout is a withdrawal.
            yield Event(Act.CLAIM, who)
            yield Event(Act.EXPIRE, who)
        if self.losses:
            yield Event(Act.DIE, who)
            if not lost:
                yield Event(Act.LOSE, who)

    def _events_of_holder(self, hold: Hold) -> Iterator[Event]:
        who = hold.who
        if self.phases is not None:
            # A grant that is withdrawn before it was delivered is no phase that anybody would count.
            yield Event(Act.RELEASE, who)
            return
        if self.losses:
            yield Event(Act.DIE, who)
            if not hold.lost and (hold.pending or not hold.delivered):
                yield Event(Act.LOSE, who)
        if hold.pending or not hold.delivered:
            yield Event(Act.WITHDRAW if hold.base is None else Act.WITHDRAW_UPGRADE, who)
            if not hold.pending and not hold.lost:
                yield Event(Act.LEARN, who)
            return
        yield Event(Act.RELEASE, who)
        if not hold.lost:
            yield from self._changes_of_mode(hold)

    def _changes_of_mode(self, hold: Hold) -> Iterator[Event]:
        if hold.mode is not READ:
            yield Event(Act.DOWNGRADE, hold.who)
        others = [other for other in self.oracle.holds if other is not hold]
        if hold.mode is not WRITE and all(other.mode is READ for other in others):
            yield Event(Act.UPGRADE, hold.who)
            if others:
                yield Event(Act.TRY_UPGRADE, hold.who)

    def after(self, event: Event) -> World:
        """The world after this event.

        Raises RuleBroken if the engine and the oracle disagree, and AssertionError for an invariant of the engine.
        """
        world = self._copy()
        if event.act is Act.TICK:
            world.now = min(deadline for deadline in self.oracle.deadlines() if deadline > self.now)
            return world
        wakes = _STEPS[event.act](world, event)
        woken = [ticket.thread for ticket in wakes]
        world.tickets = {who: t for who, t in world.tickets.items() if t.state in (State.WAITING, State.HELD)}
        world.engine.check_invariants()
        _compare(world, woken)
        if world.phases is not None:
            world.phases = world.phases.after(self.oracle, world.oracle)
        return world

    def key(self) -> tuple[object, ...]:
        """Equal for worlds with the same future, whoever the actors are; hashable."""
        oracle = self.oracle
        holds = sorted(oracle.holds, key=_rank)
        for name, who in enumerate([waiter.who for waiter in oracle.queue] + [hold.who for hold in holds]):
            self.tickets[who].task = name
        return (
            self.engine.snapshot(),
            tuple(_rank(hold) for hold in holds),
            tuple(
                (w.mode, w.spent, w.since + w.patience <= self.now, w.poked, w.held_back, w.lost) for w in oracle.queue
            ),
            self._writes_in_a_row(),
            self._clock(),
            None if self.phases is None else self.phases.key(self.oracle),
        )

    def _writes_in_a_row(self) -> int:
        limit = self.oracle.policy.max_consecutive_writers
        # Beyond the limit one more makes no difference; the one that may still be taken back does.
        return 0 if limit is None else min(self.oracle.writes_in_a_row, limit + 1)

    def _clock(self) -> object:
        """How long until what: needed where overdue writers and several kinds of patience race."""
        if self.oracle.policy.max_writer_wait is None and len(set(self.patience) - {0.0}) <= 1:
            return None
        left = [max(deadline - self.now, 0.0) for deadline in self.oracle.deadlines()]
        return tuple(round(seconds, 3) for seconds in left), tuple(sorted(range(len(left)), key=left.__getitem__))

    def _copy(self) -> World:
        twin = object.__new__(World)
        twin.actors, twin.patience, twin.losses = self.actors, self.patience, self.losses
        twin.now, twin.arrivals = self.now, self.arrivals
        twin.oracle = self.oracle.copy()
        twin.engine, twin.tickets = _copied(self.engine, self.tickets)
        twin.phases = self.phases
        return twin


def _rank(hold: Hold) -> tuple[object, ...]:
    base = "" if hold.base is None else hold.base.value
    return hold.mode.value, base, hold.pending, hold.delivered, hold.counted, hold.lost


# -- the engine and the oracle ----------------------------------------------------------------------------------


def expect(rule: str, found: object, expected: object) -> None:
    """Raise RuleBroken unless these are equal."""
    if found != expected:
        raise RuleBroken(f"{rule}: found {found!r}, expected {expected!r}")


def _compare(world: World, woken: list[int]) -> None:
    engine, oracle = world.engine, world.oracle
    expect("whom an event wakes, in order", woken, oracle.woken())
    expect(
        "who holds what",
        {t.thread: (t.mode, t.base, t.delivered, t is engine.upgrading) for t in engine.held()},
        {h.who: (h.mode, h.base, h.delivered, h.pending) for h in oracle.holds},
    )
    expect(
        "who waits for what, in order, and is poked",
        [(t.thread, t.mode, t.poked) for t in engine.queue()],
        [(w.who, w.mode, w.poked) for w in oracle.queue],
    )


# -- events, told to the engine and to the oracle ----------------------------------------------------------------


class _Sleeper:
    """Whom a ticket would be delivered to."""

    def __init__(self, *, gone: bool) -> None:
        self._gone = gone

    def lost(self) -> bool:
        return self._gone

    def wake(self) -> bool:
        return not self._gone


_ASLEEP: Final = _Sleeper(gone=False)
_GONE: Final = _Sleeper(gone=True)


def _ticket(world: World, event: Event) -> Ticket:
    assert event.mode is not None
    world.arrivals += 1
    ticket = Ticket(event.mode, thread=event.who)
    ticket.waiter = _ASLEEP
    ticket.patience = event.patience + (_INSTANT * world.arrivals if event.patience else 0.0)
    world.tickets[event.who] = ticket
    return ticket


def _request(world: World, event: Event) -> Wakes:
    ticket = _ticket(world, event)
    world.oracle.request(event.who, ticket.mode, ticket.patience, world.now)
    if world.engine.enter(ticket, lambda: world.now):
        return []
    return world.engine.request(ticket, world.now)


def _try(world: World, event: Event) -> Wakes:
    ticket = _ticket(world, event)
    world.oracle.request(event.who, ticket.mode, ticket.patience, world.now, wait=False)
    return world.engine.request(ticket, world.now, wait=False)


def _claim(world: World, event: Event) -> Wakes:
    ticket = world.tickets[event.who]
    world.oracle.claim(event.who, world.now)
    wakes = world.engine.claim(ticket, world.now)
    if ticket.state is State.HELD:
        ticket.delivered = True
        world.oracle.learn(event.who)
    return wakes


def _expire(world: World, event: Event) -> Wakes:
    wakes = _claim(world, event)
    if world.tickets[event.who].state is State.WAITING:
        answer = world.oracle.answer
        wakes += _withdraw(world, event)
        world.oracle.answer = answer + world.oracle.answer
    return wakes


def _withdraw(world: World, event: Event) -> Wakes:
    world.oracle.withdraw(event.who, world.now)
    return world.engine.withdraw(world.tickets[event.who], world.now)


def _learn(world: World, event: Event) -> Wakes:
    world.oracle.learn(event.who)
    world.oracle.answer = []
    world.tickets[event.who].delivered = True
    return []


def _release(world: World, event: Event) -> Wakes:
    ticket = world.tickets[event.who]
    world.oracle.release(event.who, world.now)
    return [] if world.engine.leave(ticket, lambda: world.now) else world.engine.release(ticket, world.now)


def _downgrade(world: World, event: Event) -> Wakes:
    world.oracle.downgrade(event.who, world.now)
    return world.engine.downgrade(world.tickets[event.who], world.now)


def _upgrade(world: World, event: Event) -> Wakes:
    world.oracle.upgrade(event.who, world.now, wait=event.act is Act.UPGRADE)
    return world.engine.upgrade(world.tickets[event.who], world.now, wait=event.act is Act.UPGRADE)


def _withdraw_upgrade(world: World, event: Event) -> Wakes:
    world.oracle.withdraw_upgrade(event.who, world.now)
    ticket = world.tickets[event.who]
    wakes = world.engine.withdraw_upgrade(ticket, world.now)
    # Whoever withdraws runs, and so knows what it holds.
    ticket.delivered = True
    world.oracle.learn(event.who)
    return wakes


def _die(world: World, event: Event) -> Wakes:
    world.oracle.owner_died([event.who], world.now)
    return world.engine.owner_died([world.tickets[event.who]], world.now)


def _lose(world: World, event: Event) -> Wakes:
    world.oracle.lose(event.who)
    world.oracle.answer = []
    world.tickets[event.who].waiter = _GONE
    return []


_STEPS: Final[dict[Act, Callable[[World, Event], Wakes]]] = {
    Act.REQUEST: _request,
    Act.TRY: _try,
    Act.CLAIM: _claim,
    Act.EXPIRE: _expire,
    Act.WITHDRAW: _withdraw,
    Act.LEARN: _learn,
    Act.RELEASE: _release,
    Act.DOWNGRADE: _downgrade,
    Act.UPGRADE: _upgrade,
    Act.TRY_UPGRADE: _upgrade,
    Act.WITHDRAW_UPGRADE: _withdraw_upgrade,
    Act.DIE: _die,
    Act.LOSE: _lose,
}


# -- copies ----------------------------------------------------------------------------------------------------


def _copied(engine: Engine, tickets: dict[int, Ticket]) -> tuple[Engine, dict[int, Ticket]]:
    """An equal engine with tickets and lines of its own; a tenth of the time that `copy.deepcopy` takes."""
    places: dict[object, Any] = {None: None}
    twins: dict[Any, Ticket] = {ticket: _copied_ticket(ticket) for ticket in tickets.values()}

    def twin_of(value: Any) -> Any:
        kind: Any = value.__class__
        if kind is Ticket:
            return twins[value]
        return _copied_line(value, twins, places) if kind is Line else value

    twin = type(engine)(engine.policy)
    for name in type(engine).__slots__:
        value: Any = getattr(engine, name)
        kind: Any = value.__class__
        if kind is dict:
            value = {twins.get(key, key): twin_of(item) for key, item in value.items()}
        setattr(twin, name, twin_of(value))
    for ticket, its_twin in twins.items():
        if ticket.state is State.WAITING:
            its_twin.place, its_twin.timer = places[ticket.place], places[ticket.timer]
    return twin, {who: twins[ticket] for who, ticket in tickets.items()}


_BORN: Final = ("base", "delivered", "granted", "owner", "patience", "since", "state", "waiter")
_LIVED: Final = (*_BORN, "arrival", "poked", "spent", "wanted")


def _copied_ticket(ticket: Ticket) -> Ticket:
    twin = Ticket(ticket.mode, ticket.thread, ticket.task)
    for name in _LIVED if ticket.arrival else _BORN:
        setattr(twin, name, getattr(ticket, name))
    return twin


def _copied_line(line: Line, twins: dict[Ticket, Ticket], places: dict[object, Any]) -> Line:
    twin: Line = Line()
    place = line.head
    while place is not None:
        places[place] = twin.join(twins[place.who], place.key)
        place = place.after
    twin.steps = line.steps
    return twin
