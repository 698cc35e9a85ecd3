"""Every reachable state of small worlds obeys the rules, and the explorer finds what breaks them.

The worlds of a plain run take half a minute on one core; the biggest ones are marked slow.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

import rwlocks
from rwlocks import _engine
from rwlocks.policies import Fifo, PhaseFair, ReaderPreference, WriterPreference
from rwlocks.testing._explorer import explore
from rwlocks.testing._oracle import RuleBroken
from rwlocks.testing._world import Act

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks.policies import Policy

PLAIN: Final[list[Policy]] = [ReaderPreference(), WriterPreference(), Fifo(), PhaseFair()]
BOUNDED: Final[list[Policy]] = [
    ReaderPreference(max_writer_wait=2),
    WriterPreference(max_consecutive_writers=1),
    WriterPreference(max_consecutive_writers=2),
    Fifo(max_batch=1),
    Fifo(max_batch=2),
    PhaseFair(max_batch=1),
    PhaseFair(max_batch=2),
]
# A writer is overdue before, or after, its patience of one second is over.
HASTY: Final = ReaderPreference(max_writer_wait=0.5)


class Space(NamedTuple):
    """What an exploration covers, and how many states it must see, lest it pass because it looked at nothing."""

    actors: int
    patience: tuple[float, ...]
    losses: bool
    phases: bool
    at_least: int


STRICT: Final = Space(4, (0.0,), losses=False, phases=False, at_least=400)
MIXED: Final = Space(3, (0.0, 1.0), losses=False, phases=False, at_least=800)
LOSSES: Final = Space(3, (0.0,), losses=True, phases=False, at_least=800)
WAITING_BOUNDS: Final = Space(4, (0.0,), losses=False, phases=True, at_least=150)
YOUNG: Final = Space(4, (1.0,), losses=False, phases=False, at_least=3000)
MIXED_LOSSES: Final = Space(3, (0.0, 1.0), losses=True, phases=False, at_least=5000)


def check(policy: Policy, space: Space) -> None:
    report = explore(policy, actors=space.actors, patience=space.patience, losses=space.losses, phases=space.phases)
    assert report.states >= space.at_least


BOUNDED_LATER = [pytest.param(policy, marks=pytest.mark.slow) for policy in BOUNDED]


@pytest.mark.parametrize("policy", [*PLAIN, *BOUNDED, HASTY], ids=repr)
def test_four_actors_without_patience(policy: Policy) -> None:
    check(policy, STRICT)


@pytest.mark.parametrize("policy", [*PLAIN, HASTY, *BOUNDED_LATER], ids=repr)
def test_three_actors_each_with_patience_or_without(policy: Policy) -> None:
    check(policy, MIXED)


@pytest.mark.parametrize("policy", [*PLAIN, *BOUNDED_LATER], ids=repr)
def test_three_actors_who_die_or_lose_their_loop(policy: Policy) -> None:
    check(policy, LOSSES)


@pytest.mark.parametrize("policy", [*PLAIN, *BOUNDED_LATER], ids=repr)
def test_how_many_phases_four_actors_wait(policy: Policy) -> None:
    check(policy, WAITING_BOUNDS)


@pytest.mark.slow
@pytest.mark.parametrize("policy", [*PLAIN, *BOUNDED], ids=repr)
def test_four_actors_whose_patience_runs_out(policy: Policy) -> None:
    check(policy, YOUNG)


@pytest.mark.slow
@pytest.mark.parametrize("policy", PLAIN, ids=repr)
def test_three_actors_with_patience_or_without_who_die_or_lose_their_loop(policy: Policy) -> None:
    check(policy, MIXED_LOSSES)


# -- what the explorer is worth -----------------------------------------------------------------------------------


class Mutant(NamedTuple):
    """A mistake that somebody could make in the engine, and the policies and worlds that have to show it."""

    original: str
    mistake: str
    policies: list[Policy]
    space: Space = MIXED


MUTANTS: Final = {
    "withdrawal serves nobody": Mutant(
        "        ticket.granted = False\n        return wakes + self._serve()",
        "        ticket.granted = False\n        return wakes",
        PLAIN,
    ),
    "withdrawal of a grant leaves the hold": Mutant(
        "                self.writes_in_a_row -= 1\n            self._drop(ticket)\n",
        "                self.writes_in_a_row -= 1\n",
        PLAIN,
    ),
    "withdrawal counts as the end of a write": Mutant(
        "        ticket.granted = False\n        return wakes + self._serve()",
        "        ticket.granted = False\n        return wakes + self._serve(after_write=True)",
        [PhaseFair()],
    ),
    "a withdrawn write grant stays counted": Mutant(
        "                self.writes_in_a_row -= 1\n",
        "                pass\n",
        [WriterPreference(max_consecutive_writers=1)],
    ),
    "a withdrawn waiter stays young": Mutant(
        "        else:\n            self.young.leave(ticket.timer)\n",
        "",
        PLAIN,
    ),
    "a withdrawn waiter stays spent": Mutant(
        "            self.spent[ticket.mode] -= 1\n",
        "            pass\n",
        PLAIN,
    ),
    "release serves nobody": Mutant(
        "        return wakes + self._serve(after_write=wrote)\n\n    def downgrade",
        "        return wakes\n\n    def downgrade",
        PLAIN,
    ),
    "the end of a write is taken for that of a read": Mutant(
        "        return wakes + self._serve(after_write=wrote)\n\n    def downgrade",
        "        return wakes + self._serve()\n\n    def downgrade",
        [PhaseFair()],
    ),
    "a write begins beside readers": Mutant("(mode is UPGRADABLE or not self.readers)", "True", PLAIN),
    "a read begins beside a writer": Mutant(
        "        if self.writer is not None:\n            return False\n        return mode is READ",
        "        return mode is READ",
        PLAIN,
    ),
    "two are upgradable": Mutant(
        "self.waiting[UPGRADABLE].head if self.upgradable is None else None",
        "self.waiting[UPGRADABLE].head",
        PLAIN,
    ),
    "the short way in forgets that somebody is upgradable": Mutant(
        "        elif self.upgradable is not None:\n            return False\n        elif mode is UPGRADABLE:\n",
        "        elif mode is UPGRADABLE:\n",
        PLAIN,
    ),
    "the short way in overtakes the spent": Mutant("self.young.length != self.contended or ", "", PLAIN),
    "the short way in does not look at the clock": Mutant(
        " or (now := clock()) >= place.key", " or (now := clock()) < 0", PLAIN
    ),
    "the short way in does not count a write": Mutant(
        "                self._count_write()\n            self.writer = ticket",
        "                pass\n            self.writer = ticket",
        [WriterPreference(max_consecutive_writers=1)],
    ),
    "the short way out forgets readers who wait": Mutant(
        "            if not line.length == young.length == self.contended or clock() >= soonest.key:\n",
        "            if not young.length == self.contended or clock() >= soonest.key:\n",
        PLAIN,
    ),
    "the short way out pokes nobody": Mutant("soonest is None or not first.who.poked or", "soonest is None or", PLAIN),
    "the short way out does not look at the clock": Mutant(" or clock() >= soonest.key", "", PLAIN),
    "the short way out waits for the dead": Mutant(" or first.who.waiter.lost()", "", [Fifo()], MIXED_LOSSES),
    "a poke is lost": Mutant(
        "            ticket.poked = True\n            wakes.append(ticket)\n",
        "            ticket.poked = True\n",
        PLAIN,
    ),
    "a failed claim stays poked": Mutant(
        "            ticket.poked = False\n            if self._free()", "            if self._free()", PLAIN
    ),
    "any writer may claim": Mutant(
        "if self._free() and self._first(WRITE) is ticket:", "if self._free() and ticket.mode is WRITE:", PLAIN
    ),
    "a claim is granted whoever holds": Mutant(
        "if self._free() and self._first(WRITE) is ticket:", "if self._first(WRITE) is ticket:", PLAIN
    ),
    "a spent writer is only poked": Mutant(
        "        if ticket.spent:\n            self._grant(ticket)",
        "        if False:\n            self._grant(ticket)",
        PLAIN,
    ),
    "a young writer is handed the lock": Mutant(
        "        if ticket.spent:\n            self._grant(ticket)",
        "        if True:\n            self._grant(ticket)",
        PLAIN,
    ),
    "spent writers are ignored": Mutant(
        "return not spent[WRITE] or self.order(after_write=False) is READERS_FIRST", "return True", PLAIN
    ),
    "spent readers are ignored by readers": Mutant(
        "if spent[READ] or (mode is UPGRADABLE and spent[UPGRADABLE]):",
        "if mode is UPGRADABLE and spent[UPGRADABLE]:",
        [Fifo(max_batch=1)],
        STRICT,
    ),
    "a queued upgradable holds back readers": Mutant(
        "if spent[READ] or (mode is UPGRADABLE and spent[UPGRADABLE]):",
        "if spent[READ] or spent[UPGRADABLE]:",
        PLAIN,
    ),
    "writers overtake readers": Mutant(
        "readers_ahead and (spent[READ] or spent[UPGRADABLE])", "False", [Fifo(), PhaseFair()]
    ),
    "patience never ends": Mutant("(place := self.young.head) is not None and place.key <= now", "False", PLAIN),
    "patience that ends hands nothing over": Mutant(
        "return self._serve() if aged and self._free() else []", "return []", PLAIN
    ),
    "patience is forgotten by whoever has none": Mutant(
        "        if ticket.timer.key <= now:\n", "        if ticket.timer.key < now:\n", PLAIN
    ),
    "the last comes first": Mutant(
        "self.waiting[ticket.mode].join(ticket, ticket.arrival)",
        "self.waiting[ticket.mode].join(ticket, -ticket.arrival)",
        PLAIN,
    ),
    "fifo lets readers pass writers": Mutant(
        "return -inf if order is WRITERS_FIRST else writer.key",
        "return -inf if order is WRITERS_FIRST else inf",
        [Fifo()],
    ),
    "fifo lets writers pass readers": Mutant(
        "return -inf if order is WRITERS_FIRST else writer.key", "return -inf", [Fifo()]
    ),
    "an upgrade does not wait for the readers": Mutant(
        "        self._become(ticket, UPGRADABLE)\n        if not self.readers:\n",
        "        self._become(ticket, UPGRADABLE)\n        if True:\n",
        PLAIN,
    ),
    "an upgrade lets readers in half-way": Mutant(
        "if self.upgrading is not None or not self.compatible(mode):", "if not self.compatible(mode):", PLAIN
    ),
    "an upgrade stands behind the queue": Mutant(
        "        if self.upgrading is not None:\n            self._finish_upgrade(wakes)\n",
        "        if self.upgrading is not None and self.contended == 1:\n            self._finish_upgrade(wakes)\n",
        PLAIN,
    ),
    "an upgrade is granted before the last reader left": Mutant(
        "if ticket is not None and not self.readers:", "if ticket is not None:", PLAIN
    ),
    "an upgrade that is withdrawn stays pending": Mutant(
        "            self._end_pending(ticket)\n            self._become(ticket, ticket.base)\n",
        "            self._become(ticket, ticket.base)\n",
        PLAIN,
    ),
    "an upgrade that is withdrawn leaves a reader upgradable": Mutant(
        "            self._become(ticket, ticket.base)\n", "            self._become(ticket, UPGRADABLE)\n", PLAIN
    ),
    "an upgrade that is withdrawn serves nobody": Mutant(
        "        self._revert(ticket)\n        return wakes + self._serve()",
        "        self._revert(ticket)\n        return wakes",
        PLAIN,
    ),
    "an upgrade that is refused leaves a reader upgradable": Mutant(
        "            self._become(ticket, base)\n", "            pass\n", PLAIN
    ),
    "a downgrade is not the end of a write": Mutant(
        "        ticket.base = None\n        return wakes + self._serve(after_write=True)",
        "        ticket.base = None\n        return wakes + self._serve()",
        [PhaseFair()],
    ),
    "a downgrade forgets what was upgraded": Mutant(
        "self._become(ticket, ticket.base or READ)", "self._become(ticket, READ)", PLAIN
    ),
    "a batch has no end": Mutant("if batch == self.policy.max_batch:", "if False:", [Fifo(max_batch=1)], STRICT),
    "upgradables fill a batch": Mutant(
        "                batch += 1\n            self._grant(ticket)",
        "                pass\n            batch += 1\n            self._grant(ticket)",
        [Fifo(max_batch=1), Fifo(max_batch=2)],
        STRICT,
    ),
    "who is held back is forgotten": Mutant(
        "                    self.held_back = int(min(horizon - 1, self.arrivals))\n                    continue\n",
        "                    break\n",
        [Fifo(max_batch=1)],
        STRICT,
    ),
    "who is held back is so for ever": Mutant(
        "        if self._free():\n            self.held_back = 0\n", "", [Fifo(max_batch=1)], STRICT
    ),
    "an upgrade does not end the holding back": Mutant(
        "            self.writer = ticket\n            self.held_back = 0\n\n    def _leave_role",
        "            self.writer = ticket\n\n    def _leave_role",
        [Fifo(max_batch=1), PhaseFair(max_batch=1)],
        STRICT,
    ),
    "whoever arrives later is held back, too": Mutant(
        "int(min(horizon - 1, self.arrivals))", "10**9", [Fifo(max_batch=1), PhaseFair(max_batch=1)], STRICT
    ),
    "writes in a row are not counted": Mutant(
        "        self.writes_in_a_row += 1\n", "", [WriterPreference(max_consecutive_writers=1)]
    ),
    "writes in a row are counted while nobody waits to read": Mutant(
        "        self.writes_in_a_row += 1\n        self._restart_count()\n",
        "        self.writes_in_a_row += 1\n",
        [WriterPreference(max_consecutive_writers=1)],
    ),
    "writes in a row are counted for ever": Mutant(
        "            self.writes_in_a_row = 0\n\n",
        "            pass\n\n",
        [WriterPreference(max_consecutive_writers=1)],
    ),
    "writes in a row stop one late": Mutant(
        "self.writes_in_a_row >= policy.max_consecutive_writers",
        "self.writes_in_a_row > policy.max_consecutive_writers",
        [WriterPreference(max_consecutive_writers=1)],
    ),
    "an overdue writer is ignored": Mutant(
        "WRITERS_FIRST if self._overdue() else policy.while_reading",
        "policy.while_reading",
        [ReaderPreference(max_writer_wait=2)],
    ),
    "a writer is overdue one instant late": Mutant(
        "self.now - writer.wanted >= limit", "self.now - writer.wanted > limit", [ReaderPreference(max_writer_wait=2)]
    ),
    "the dead hold up the living": Mutant(
        "            while (place := line.head) is not None and place.who.waiter.lost():",
        "            while (place := line.head) is not None and False:",
        PLAIN,
        LOSSES,
    ),
    "the dead are granted the lock": Mutant(
        "            if ticket.waiter.lost():\n                self._forget(ticket)\n                continue\n",
        "",
        PLAIN,
        LOSSES,
    ),
    "a dead upgrader holds up the living": Mutant(
        "        if ticket is not None and ticket.waiter.lost():\n",
        "        if False and ticket is not None and ticket.waiter.lost():\n",
        PLAIN,
        LOSSES,
    ),
    "a newcomer waits behind the dead": Mutant(
        "        if not self.admits(ticket.mode) and self._forget_lost():\n            wakes += self._serve()\n",
        "",
        PLAIN,
        LOSSES,
    ),
    "whoever waited behind the dead is not served": Mutant(
        "self._forget_lost():\n            wakes += self._serve()\n",
        "self._forget_lost():\n            pass\n",
        [Fifo()],
        Space(4, (0.0,), losses=True, phases=False, at_least=0),
    ),
    "what the dead held stays held": Mutant(
        "            elif ticket.state is HELD:\n                self._drop(ticket)\n            ticket.state = DONE\n",
        "            ticket.state = DONE\n",
        PLAIN,
        LOSSES,
    ),
    "the death of a writer is no end of a write": Mutant(
        "        wrote = self.writer in tickets\n", "        wrote = False\n", [PhaseFair()], LOSSES
    ),
}


def mutated(mutant: Mutant) -> Callable[[Policy], _engine.Engine]:
    source = Path(rwlocks.__file__).with_name("_engine.py").read_text(encoding="utf-8")
    assert source.count(mutant.original) == 1, "the engine reads differently now; make the mistake anew"
    module: Any = types.ModuleType("rwlocks._mutant")
    exec(compile(source.replace(mutant.original, mutant.mistake), "mutant", "exec"), module.__dict__)
    engine: Callable[[Policy], _engine.Engine] = module.Engine
    return engine


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_every_mistake_is_found(mutant: Mutant) -> None:
    space, engine = mutant.space, mutated(mutant)
    found: list[RuleBroken] = []
    for policy in mutant.policies:
        try:
            explore(policy, actors=space.actors, patience=space.patience, losses=space.losses, engine=engine)
        except RuleBroken as broken:
            found.append(broken)
            break
    assert found, "the mistake went unnoticed"
    assert found[0].path, "the report shows no path"


def test_a_report_shows_a_shortest_path() -> None:
    engine = mutated(MUTANTS["withdrawal serves nobody"])
    with pytest.raises(RuleBroken) as caught:
        explore(Fifo(), engine=engine)
    acts = [event.act for event in caught.value.path]
    assert acts == [Act.REQUEST, Act.REQUEST, Act.REQUEST, Act.WITHDRAW]
    assert str(caught.value).endswith("B withdraws")
    assert "2. B asks to write" in str(caught.value)


def test_an_error_of_the_engine_is_reported_with_its_path() -> None:
    def engine(policy: Policy) -> _engine.Engine:
        broken = _engine.Engine(policy)
        broken.readers = 1
        return broken

    with pytest.raises(RuleBroken, match="readers are counted wrongly") as caught:
        explore(Fifo(), engine=engine)
    assert len(caught.value.path) == 1
