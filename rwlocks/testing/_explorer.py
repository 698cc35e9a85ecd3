"""An exhaustive explorer: every reachable state of a small world, every event in it, engine against oracle.

From the empty lock it walks breadth first, so that the path it reports for a broken rule is a shortest one. States
are merged as `rwlocks.testing._world` says. After every event it checks, besides the engine's own invariants and its
equality with the oracle in holders, queue, pokes and whom it wakes in which order:

1. *Exclusion.* 2. *Closure:* whoever the policy would admit now is granted or, a young writer, has its own poke under
way. 3. *Patience:* no newcomer overtakes a waiter whose patience is spent. 4. *Order:* the one among waiters is the
policy's. 5. *Withdrawal:* a request that is withdrawn at once leaves no trace; withdrawn later, it leaves what the
oracle says. 6. *Bounds* on waiting, where asked for.

Points 1 to 4 follow from the oracle. They are stated a second time, coarser, so that no mistake in it goes unseen.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rwlocks._engine import Engine
from rwlocks._ticket import State
from rwlocks._types import Mode
from rwlocks.testing._oracle import RuleBroken
from rwlocks.testing._world import Act, Event, World, expect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rwlocks.policies import Policy
    from rwlocks.testing._oracle import Oracle

__all__ = ["Report", "explore", "step"]

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE


@dataclass(frozen=True, slots=True)
class Report:
    """What an exploration has seen: distinct states, events checked in them, and the longest shortest path."""

    states: int
    events: int
    depth: int


def explore(
    policy: Policy,
    *,
    actors: int = 4,
    patience: Sequence[float] = (0.0,),
    losses: bool = False,
    phases: bool = False,
    engine: Callable[[Policy], Engine] = Engine,
) -> Report:
    """Visit every state that ``actors`` actors can bring a lock with this policy into, and check every event in it.

    ``patience``: the seconds from which each request may choose. ``losses``: actors may die and lose their event loop.
    ``phases``: only requests, releases and withdrawals happen, and the waiting bounds of the policy are
    checked; for patience 0. ``engine`` makes the machine to be judged.

    Raises RuleBroken with a shortest path from the empty lock.
    """
    start = World(policy, actors, tuple(patience), losses=losses, phases=phases, engine=engine(policy))
    parents: dict[object, tuple[object, Event] | None] = {start.key(): None}
    level: list[tuple[object, World]] = [(start.key(), start)]
    events = depth = 0
    while level:
        depth += 1
        following: list[tuple[object, World]] = []
        for key, world in level:
            for event in world.events():
                events += 1
                try:
                    after = step(world, event)
                except Exception as error:
                    rule = error.rule if isinstance(error, RuleBroken) else f"{type(error).__name__}: {error}"
                    raise RuleBroken(rule, [*_path(key, parents), event]) from error
                reached = after.key()
                if reached not in parents:
                    parents[reached] = key, event
                    following.append((reached, after))
        level = following
    return Report(len(parents), events, depth - 1)


def step(world: World, event: Event) -> World:
    """The world after this event, with every rule checked. Raises RuleBroken, or AssertionError for an invariant."""
    after = world.after(event)
    if event.act not in (Act.LEARN, Act.LOSE, Act.TICK):
        _check_rules(world, event, after)
    if event.act is Act.REQUEST:
        _check_withdrawal_leaves_no_trace(world, event, after)
    return after


def _path(key: object, parents: dict[object, tuple[object, Event] | None]) -> list[Event]:
    path: list[Event] = []
    while (step := parents[key]) is not None:
        key, event = step
        path.append(event)
    return path[::-1]


# -- rules -----------------------------------------------------------------------------------------------------


def _check_rules(before: World, event: Event, after: World) -> None:
    _check_exclusion(after)
    _check_closure(after)
    _check_overtaking(before, event, after)
    _check_order_among_waiters(before, event, after)


def _check_exclusion(world: World) -> None:
    modes = [ticket.mode for ticket in world.engine.held()]
    if WRITE in modes and len(modes) > 1:
        raise RuleBroken("a writer shares with nobody")
    if modes.count(UPGRADABLE) > 1:
        raise RuleBroken("an upgradable holder shares with readers only")


def _check_closure(world: World) -> None:
    """Whoever the policy would admit now is granted or, a young writer, has its own poke under way."""
    if not world.losses:
        expect("nobody who may enter is left waiting", world.oracle.overlooked(), [])
    for ticket in world.engine.queue():
        if ticket.poked and ticket.mode is not WRITE:
            raise RuleBroken("only a writer is ever poked")


def _check_overtaking(before: World, event: Event, after: World) -> None:
    """A newcomer that entered found nobody spent who is ranked ahead of it."""
    ticket = after.tickets.get(event.who)
    if event.act not in (Act.REQUEST, Act.TRY) or ticket is None or ticket.state is not State.HELD:
        return
    now = before.now
    still = {waiter.thread for waiter in after.engine.queue()}
    for waiter in before.oracle.queue:
        spent = now >= waiter.since + waiter.patience
        if waiter.who in still and spent and not waiter.lost and _goes_first(after.oracle, waiter.mode, ticket.mode):
            raise RuleBroken("no newcomer overtakes a waiter whose patience is spent")


def _goes_first(oracle: Oracle, waiting: Mode, arriving: Mode) -> bool:
    """Whether these two compete and the policy prefers the one who waits: a cruder reading than the oracle's."""
    name = oracle.policy.name
    if waiting is WRITE:
        return arriving is WRITE or name in ("writer-pref", "fifo", "phase-fair")
    return waiting is arriving or (arriving is WRITE and name != "writer-pref")


def _check_order_among_waiters(before: World, event: Event, after: World) -> None:
    """Nobody enters before one who wants the same mode and came earlier; under fifo, before any that conflicts."""
    fifo = after.oracle.policy.name == "fifo"
    still = {waiter.thread for waiter in after.engine.queue()}
    entered = {ticket.thread for ticket in after.engine.held()} - {event.who}
    for earlier, later in itertools.combinations(before.oracle.queue, 2):
        comparable = earlier.mode is later.mode or (fifo and WRITE in (earlier.mode, later.mode))
        if comparable and earlier.who in still and later.who in entered and not earlier.lost:
            raise RuleBroken("the order among waiters is the policy's")


def _check_withdrawal_leaves_no_trace(before: World, event: Event, after: World) -> None:
    """Whoever withdraws at once leaves the lock as it was, unless its request was the event that noticed news."""
    noticed, oracle = before.engine.now, before.oracle
    news = any(noticed < deadline <= before.now for deadline in oracle.deadlines())
    if news or any(person.lost for person in oracle.people()):
        return
    undone = after.after(Event(Act.WITHDRAW, event.who))
    undone.phases = before.phases
    expect("a request withdrawn at once leaves no trace", undone.key(), before.key())
