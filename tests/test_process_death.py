"""Whoever dies, and whatever it was doing: the next in line is in soon, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _processes import RECOVERY, Cast, ProcessCore, config, take, until, waiting

from rwlocks._types import Mode
from rwlocks.backends.process._hold import Hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _processes import Actor

REPEATS = int(os.environ.get("RWLOCKS_TEST_DEATHS", "3"))
READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE


@pytest.fixture
def cast() -> Iterator[Cast]:
    cast = Cast(ProcessCore.make(config()))
    yield cast
    cast.end()
    until(lambda: not cast.core.snapshot().requests or take_and_give(cast))
    cast.core.close()


def take_and_give(cast: Cast) -> bool:
    cast.core.release(take(cast.core, WRITE))
    return False


def soon(actor: Actor, since: float) -> None:
    assert actor.done() is True
    assert time.monotonic() - since < RECOVERY


def reader(cast: Cast) -> list[Actor]:
    return [cast.holding(READ)]


def writer(cast: Cast) -> list[Actor]:
    return [cast.holding(WRITE)]


def waiter(cast: Cast) -> list[Actor]:
    holder = cast.holding(WRITE)
    first = cast.queued(WRITE)
    holder.tell("release")
    return [first]


def upgrader(cast: Cast) -> list[Actor]:
    cast.holding(READ)
    actor = cast.holding(UPGRADABLE)
    actor.tell("upgrade", 60)
    until(lambda: waiting(cast.core) == 1)
    return [actor, cast.actors[0]]


def upgraded(cast: Cast) -> list[Actor]:
    actor = cast.holding(UPGRADABLE)
    assert actor.do("upgrade", 60)
    return [actor]


def downgrader(cast: Cast) -> list[Actor]:
    actor = cast.holding(WRITE)
    actor.do("downgrade")
    return [actor]


def all_but_one(cast: Cast) -> list[Actor]:
    return [cast.holding(READ), cast.holding(READ), *(cast.queued(m) for m in (WRITE, READ, WRITE, UPGRADABLE))]


DYING: dict[str, Callable[[Cast], list[Actor]]] = {
    "a reader": reader,
    "a writer": writer,
    "a waiter that is granted": waiter,
    "a pending upgrader and a reader": upgrader,
    "an upgraded writer": upgraded,
    "a downgraded writer": downgrader,
    "all but one": all_but_one,
}
# Of several who die at once, one may be granted what another has left before it is quite dead itself.
EXPECTED = {"a reader": False, "a writer": True, "an upgraded writer": True, "a downgraded writer": False}


def kill_and_wait(cast: Cast, who: str, mode: Mode) -> None:
    dying = DYING[who](cast)
    survivor = cast.actor()
    survivor.ask(mode)
    until(lambda: survivor.answered() or waiting(cast.core))
    for actor in dying:
        actor.kill()
    soon(survivor, time.monotonic())
    if who in EXPECTED:
        assert cast.core.recovered() is EXPECTED[who]
    assert survivor.do("release") is None


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("who", DYING)
@pytest.mark.parametrize("mode", [READ, WRITE])
def test_the_next_one_is_in_soon(who: str, mode: Mode) -> None:
    for _ in range(REPEATS):
        cast = Cast(ProcessCore.make(config()))
        try:
            kill_and_wait(cast, who, mode)
        finally:
            cast.end()


def test_an_upgrader_that_waits_is_no_dead_writer(cast: Cast) -> None:
    others = cast.holding(READ)
    actor = cast.holding(UPGRADABLE)
    actor.tell("upgrade", 60)
    until(lambda: waiting(cast.core) == 1)
    actor.kill()
    actor.process.join()
    others.do("release")
    cast.core.release(take(cast.core, WRITE, timeout=RECOVERY))
    assert not cast.core.recovered()


def test_whoever_is_hasty_does_not_ask_who_is_dead(cast: Cast) -> None:
    actor, hold = cast.holding(WRITE), Hold()
    actor.kill()
    actor.process.join()
    assert not cast.core.enter(hold, READ, hasty=True)
    assert not cast.core.recovered()
    assert cast.core.enter(hold, READ)
    assert cast.core.recovered()
    cast.core.release(hold)
    cast.core.mark_consistent()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_long_wait_changes_nothing(cast: Cast) -> None:
    holder = cast.holding(WRITE)
    survivor = cast.queued(WRITE)
    time.sleep(1.5)
    holder.kill()
    soon(survivor, time.monotonic())


def test_a_holder_that_was_stopped_keeps_the_lock(cast: Cast) -> None:
    holder = cast.holding(WRITE)
    os.kill(holder.pid, signal.SIGSTOP)
    hurried = cast.actor()
    hurried.ask(READ, timeout=0.3)
    assert hurried.done() is False
    os.kill(holder.pid, signal.SIGCONT)
    assert holder.do("release") is None


def test_a_child_that_inherits_everything_does_not_keep_its_parent_alive(cast: Cast) -> None:
    pid = os.fork()
    if not pid:
        take(cast.core, WRITE)
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(3)  # the grandchild lives on, with whatever it inherited
        os._exit(0)
    os.waitpid(pid, 0)
    survivor = cast.actor()
    survivor.ask(WRITE)
    soon(survivor, time.monotonic())


def test_a_process_that_executes_another_program_is_gone(cast: Cast) -> None:
    pid = os.fork()
    if not pid:
        take(cast.core, WRITE)
        os.execv("/bin/sleep", ["sleep", "3"])
    until(lambda: len(cast.core.snapshot().requests) == 1)
    until(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes())
    cast.core.release(take(cast.core, WRITE, timeout=RECOVERY))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_an_exit_with_the_lock_held_is_a_death(cast: Cast) -> None:
    pid = os.fork()
    if not pid:
        take(cast.core, WRITE)
        os._exit(0)
    os.waitpid(pid, 0)
    cast.core.release(take(cast.core, READ, timeout=RECOVERY))
    assert cast.core.recovered()
    cast.core.mark_consistent()
    assert not cast.core.recovered()


def storm(core: ProcessCore, seed: int, done: float) -> None:
    dice = random.Random(seed)
    while time.monotonic() < done:
        mode = dice.choice([READ, READ, UPGRADABLE, WRITE])
        hold = take(core, mode, patience=dice.choice([0, 0.001]))
        if mode is not READ and dice.random() < 0.3:
            core.downgrade(hold)
        core.release(hold)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_storm_of_deaths_leaves_nothing_behind() -> None:
    core = ProcessCore.make(config("phase-fair", processes=16))
    done = time.monotonic() + 3
    pids: list[int] = []
    dice = random.Random(7)
    while time.monotonic() < done:
        while len(pids) < 5:
            pid = os.fork()
            if not pid:
                storm(core, os.getpid(), done + 5)
                os._exit(0)
            pids.append(pid)
        time.sleep(dice.random() * 0.02)
        victim = pids.pop(dice.randrange(len(pids)))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    core.release(take(core, WRITE, timeout=RECOVERY))
    assert core.snapshot().requests == ()
    core.close()
