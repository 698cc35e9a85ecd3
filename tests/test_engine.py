"""The engine against the golden traces, on random walks through big worlds, and the cost of its queues."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Final

import pytest
from _twins import Sleeper
from hypothesis import given, settings
from hypothesis import strategies as st
from test_golden_traces import MODES, POLICIES, SITUATIONS, Trace

from rwlocks._engine import Engine
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.policies import Fifo, Order, PhaseFair, ReaderPreference, WriterPreference
from rwlocks.testing._explorer import step
from rwlocks.testing._world import Act, Event, World

if TYPE_CHECKING:
    from rwlocks.policies import Policy

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE

# Beyond the steps that guards offer: ``^U1`` asks to upgrade, and ``vU1`` ends that.
UPGRADE: Final = "R0 U1 ^U1 R2 W3 -R0 vU1 -U1"
COURSES: Final = {
    **SITUATIONS,
    UPGRADE: {
        "reader-pref": "+U1, -R0: U1, vU1: R2, W3",
        "writer-pref": "+U1, -R0: U1, -U1: W3, R2",
        "fifo": "+U1, -R0: U1, vU1: R2, W3",
        "phase-fair": "+U1, -R0: U1, vU1: R2, W3",
    },
}
TRACES: Final = {
    f"{policy} | {situation}": Trace.read(situation, policy, course)
    for situation, courses in COURSES.items()
    for policy, course in courses.items()
}
ACTS: Final = {"-": Act.RELEASE, "v": Act.DOWNGRADE, "x": Act.WITHDRAW, "^": Act.UPGRADE}


class Player:
    """Plays a trace in a world, where the oracle watches every step."""

    def __init__(self, trace: Trace, patience: float) -> None:
        self.trace = trace
        self.patience = patience
        self.names = [name for name in trace.steps if name[0] in MODES]
        self.world = World(POLICIES[trace.policy](None), len(self.names), (patience,))

    def play(self) -> None:
        for move in self.trace.steps:
            assert self.do(move) == self.trace.granted_in[move], f"whom {move} lets in"
        for group in [*self.trace.groups, set[str]()]:
            leaving = sorted(self.holding())
            for name in leaving:
                assert self.do(f"-{name}") == (group if name == leaving[-1] else set()), f"whom {name} lets in"
        assert not self.world.tickets, "somebody is left"

    def do(self, move: str) -> set[str]:
        """Make a move, later than everybody's patience; who holds more than before?"""
        self.pass_time()
        before = self.holding()
        if move in self.names:
            event = Event(Act.REQUEST, self.names.index(move), MODES[move[0]], self.patience)
        else:
            event = Event(ACTS[move[0]], self.names.index(move[1:]))
        self.world = step(self.world, event)
        granted = self.holding() - before
        for name in granted:
            self.world = step(self.world, Event(Act.LEARN, self.names.index(name)))
        return granted

    def pass_time(self) -> None:
        while any(deadline > self.world.now for deadline in self.world.oracle.deadlines()):
            self.world = step(self.world, Event(Act.TICK))

    def holding(self) -> set[str]:
        engine = self.world.engine
        return {self.names[ticket.thread] for ticket in engine.held() if ticket is not engine.upgrading}


@pytest.mark.parametrize("patience", [0.0, 1.0], ids=["strict", "later than the patience"])
@pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES)
def test_golden_trace(trace: Trace, patience: float) -> None:
    Player(trace, patience).play()


# -- random walks ------------------------------------------------------------------------------------------------

POLICY: Final[st.SearchStrategy[Policy]] = st.one_of(
    st.builds(ReaderPreference, st.sampled_from([None, 0.5, 1.5, 4.0])),
    st.builds(WriterPreference, st.sampled_from([None, 1, 2, 3])),
    st.builds(Fifo, st.sampled_from([None, 1, 2, 3])),
    st.builds(PhaseFair, st.sampled_from([None, 1, 2, 3])),
)
PATIENCE: Final = st.sampled_from([(0.0,), (1.0,), (0.0, 1.0), (1.0, 3.0), (0.0, 1.0, 3.0)])


@settings(max_examples=400, deadline=None)
@given(policy=POLICY, actors=st.integers(6, 8), patience=PATIENCE, losses=st.booleans(), data=st.data())
def test_random_walks_through_big_worlds(
    policy: Policy, actors: int, patience: tuple[float, ...], losses: bool, data: st.DataObject
) -> None:
    world = World(policy, actors, patience, losses=losses)
    for choice in data.draw(st.lists(st.integers(0, 255), min_size=30, max_size=80)):
        events = list(world.events())
        world = step(world, events[choice % len(events)])


@pytest.mark.parametrize("seed", range(4))
def test_long_walks_come_back_to_the_empty_lock(seed: int) -> None:
    """However tangled it was: when everybody has gone, the lock is as new."""
    chance = random.Random(seed)
    policies = [ReaderPreference(1.5), WriterPreference(2), Fifo(2), PhaseFair(2)]
    for policy in policies:
        world = World(policy, 8, (0.0, 1.0), losses=True)
        empty = world.key()
        for _ in range(400):
            world = step(world, chance.choice(list(world.events())))
        while world.tickets:
            world = step(world, Event(Act.DIE, chance.choice(list(world.tickets))))
        assert world.key() == empty


# -- as if it had never been asked ---------------------------------------------------------------------------------


def arrived(policy: Policy, modes: tuple[Mode, ...], leaving: int | None = None) -> World:
    """They ask one after the other, then one of them withdraws, and everybody learns of what it was granted."""
    world = World(policy, len(modes))
    for who, mode in enumerate(modes):
        world = step(world, Event(Act.REQUEST, who, mode))
    if leaving is not None:
        world = step(world, Event(Act.WITHDRAW, leaving))
    for hold in world.oracle.holds:
        world = step(world, Event(Act.LEARN, hold.who))
    return world


@pytest.mark.parametrize("later", [0, 1, 2])
@pytest.mark.parametrize("policy", [ReaderPreference(), WriterPreference(), Fifo(), PhaseFair()], ids=repr)
def test_a_withdrawn_waiter_might_as_well_not_have_asked(policy: Policy, later: int) -> None:
    """Whoever came after it stands where it would stand without it.

    With one exception: under writer-pref and phase-fair any waiting writer stops the readers who wait, so that those
    whom the withdrawn writer had stopped stay behind another one, also if it came after them.
    """
    compared = 0
    for modes in itertools.product(Mode, repeat=3 + later):
        before, after = modes[:2], modes[3:]
        if policy.while_reading is Order.WRITERS_FIRST and WRITE in after[1:]:
            continue
        if arrived(policy, modes[:3]).tickets[2].state is State.WAITING:
            compared += 1
            assert arrived(policy, modes, leaving=2).key() == arrived(policy, before + after).key(), modes
    assert compared >= 5


# -- single points -------------------------------------------------------------------------------------------------


def asking(mode: Mode, patience: float = 0.0) -> Ticket:
    ticket = Ticket(mode)
    ticket.patience = patience
    ticket.waiter = Sleeper()
    return ticket


def test_all_holds_and_requests_of_the_dead_end_as_one_event() -> None:
    engine = Engine(Fifo())
    held, writer, reader, behind = asking(READ), asking(WRITE), asking(READ), asking(READ)
    for ticket in (held, writer, reader, behind):
        engine.request(ticket, 0.0)
    assert engine.owner_died([held, writer, reader], 1.0) == [behind]
    assert engine.held() == [behind]
    engine.check_invariants()


def test_withdrawing_twice_changes_nothing() -> None:
    engine = Engine(Fifo())
    held, waiting = asking(WRITE), asking(READ)
    engine.request(held, 0.0)
    engine.request(waiting, 0.0)
    assert engine.withdraw(waiting, 0.0) == []
    assert engine.withdraw(waiting, 0.0) == []
    assert engine.contended == 0
    engine.check_invariants()


def test_a_poked_writer_whose_loop_was_closed_is_passed_over_when_a_newcomer_leaves() -> None:
    engine = Engine(Fifo())
    held, poked, barging, behind = asking(READ), asking(WRITE, 10), asking(WRITE), asking(WRITE, 10)
    engine.request(held, 0.0)
    engine.request(poked, 0.0)
    assert engine.release(held, 1.0) == [poked]
    assert engine.enter(barging, lambda: 2.0)
    engine.request(behind, 2.0)
    poked.waiter = Sleeper()
    poked.waiter.gone = True
    assert not engine.leave(barging, lambda: 3.0)
    assert engine.release(barging, 3.0) == [behind]
    assert poked.state is State.DONE


# -- cost ----------------------------------------------------------------------------------------------------------


def queue_up(engine: Engine, waiters: int, modes: list[Mode], patience: float) -> list[Ticket]:
    """A writer holds, and behind it waits a crowd whose modes take turns."""
    assert engine.enter(asking(WRITE), lambda: 0.0)
    crowd = [asking(modes[place % len(modes)], patience) for place in range(waiters)]
    for place, ticket in enumerate(crowd):
        engine.request(ticket, float(place))
    assert engine.contended == waiters
    return crowd


@pytest.mark.parametrize("patience", [0.0, 1e9], ids=["spent", "young"])
@pytest.mark.parametrize("waiters", [10_000, 100_000])
def test_withdrawals_in_random_order_cost_the_same_each(waiters: int, patience: float) -> None:
    engine = Engine(PhaseFair())
    crowd = queue_up(engine, waiters, [READ, WRITE, UPGRADABLE], patience)
    random.Random(waiters).shuffle(crowd)
    for ticket in crowd:
        engine.withdraw(ticket, float(waiters))
    assert engine.contended == 0
    # Each joins and leaves the line of its mode and the line of the young.
    assert engine.steps() == 4 * waiters


@pytest.mark.parametrize("policy", [Fifo(), Fifo(max_batch=1), PhaseFair(max_batch=100)], ids=repr)
@pytest.mark.parametrize("readers", [1_000, 10_000])
def test_readers_who_acquire_cost_the_same_each(readers: int, policy: Policy) -> None:
    engine = Engine(policy)
    crowd = queue_up(engine, readers, [READ], 0.0)
    last = engine.held()[0]
    group = engine.release(last, float(readers))
    seen = 0
    while group:
        seen += len(group)
        group = [woken for ticket in group for woken in engine.release(ticket, float(readers))]
    assert seen == len(crowd)
    assert engine.steps() == 4 * readers
    assert engine.locked() is None


def test_readers_who_need_not_wait_make_no_step_at_all() -> None:
    engine = Engine(Fifo())
    crowd = [asking(READ) for _ in range(10_000)]
    assert all(engine.enter(ticket, lambda: 0.0) for ticket in crowd)
    assert all(engine.leave(ticket, lambda: 0.0) for ticket in crowd)
    assert engine.steps() == 0
    assert engine.locked() is None
