"""The Python engine and the C core give the same answer to every event, whatever came before."""

from __future__ import annotations

import random

import pytest
from _compile import CORE, compiled
from _twins import Library, Twins
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.policies import Fifo, PhaseFair, Policy, ReaderPreference, WriterPreference

POLICIES: list[Policy] = [
    ReaderPreference(),
    ReaderPreference(max_writer_wait=3),
    WriterPreference(),
    WriterPreference(max_consecutive_writers=1),
    WriterPreference(max_consecutive_writers=2),
    Fifo(),
    Fifo(max_batch=1),
    Fifo(max_batch=2),
    PhaseFair(),
    PhaseFair(max_batch=2),
]
MODES = [Mode.READ, Mode.READ, Mode.READ, Mode.WRITE, Mode.WRITE, Mode.UPGRADABLE]
PATIENCE = [0.0, 0.0, 0.0, 2.0, 5.0, float("inf")]
PROCESSES = 5
MOST = 20


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    path = tmp_path_factory.mktemp("twin") / "twin.so"
    return Library(compiled(path, *CORE, "twin.c", flags=("-shared", "-fPIC")))


class Play:
    """Turns bytes into events that are allowed in the state in which they come."""

    def __init__(self, twins: Twins, script: bytes) -> None:
        self.twins = twins
        self._script = iter(script)
        self.retired: Ticket | None = None

    def _next(self) -> int:
        return next(self._script)

    def run(self) -> None:
        try:
            while True:
                self.step()
        except StopIteration:
            pass

    def step(self) -> None:
        twins = self.twins
        what = self._next()
        twins.now += (what >> 6) * (what >> 6)
        what &= 63
        if what < 24:
            self.ask(what)
            return
        if what < 27:
            self.die()
            return
        tickets = list(twins.tickets)
        if not tickets:
            return
        ticket = tickets[self._next() % len(tickets)]
        if ticket.state is State.WAITING:
            self.waiter(ticket, what)
        elif ticket is twins.engine.upgrading:
            self.upgrader(ticket, what)
        else:
            self.holder(ticket, what)

    def ask(self, what: int) -> None:
        twins = self.twins
        if len(twins.tickets) >= MOST:
            return
        how = self._next()
        mode, patience, slot = MODES[how % 6], PATIENCE[how // 6 % 6], how % PROCESSES
        if what < 3:
            twins.enter(mode, slot)
        elif what < 5 and self.retired is not None:
            like, self.retired = self.retired, None
            twins.request(like.mode, like.patience, slot, like=like)
        else:
            twins.request(mode, patience, slot, wait=what > 7)

    def die(self) -> None:
        """A process dies with all it has, or is found dead only when its turn comes."""
        self.twins.die(self._next() % PROCESSES)
        self.twins.revive()

    def waiter(self, ticket: Ticket, what: int) -> None:
        if what < 42:
            self.twins.claim(ticket)
        elif what < 62:
            self.twins.withdraw(ticket)
            self.retired = ticket
        else:
            self.twins.lose(ticket)

    def upgrader(self, ticket: Ticket, what: int) -> None:
        if what < 40:
            self.twins.withdraw_upgrade(ticket)
        elif what < 50:
            self.twins.release(ticket)
        elif what < 60:
            self.twins.downgrade(ticket)
        else:
            self.twins.lose(ticket)

    def holder(self, ticket: Ticket, what: int) -> None:
        twins = self.twins
        if what < 30:
            twins.leave(ticket)
        elif what < 42:
            twins.release(ticket)
        elif what < 45:
            twins.withdraw(ticket)
        elif what < 48:
            twins.deliver(ticket)
        elif ticket.mode is Mode.WRITE and what >= 56 and ticket.base is not None:
            twins.withdraw_upgrade(ticket)
        elif ticket.mode is Mode.WRITE or what < 54:
            if ticket.mode is not Mode.READ:
                twins.downgrade(ticket)
        else:
            twins.upgrade(ticket, wait=what < 62)


def play(library: Library, policy: Policy, script: bytes) -> None:
    twins = Twins(library, policy)
    try:
        Play(twins, script).run()
    finally:
        twins.close()


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.binary(min_size=20, max_size=160))
def test_twins_agree(library: Library, policy: Policy, script: bytes) -> None:
    play(library, policy, script)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_twins_agree_on_ten_thousand_sequences_each(library: Library, policy: Policy) -> None:
    dice = random.Random(repr(policy))
    for _ in range(10_000):
        play(library, policy, dice.randbytes(dice.randrange(20, 160)))
