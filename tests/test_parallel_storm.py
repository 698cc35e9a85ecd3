"""Threads that run at once, on as many processors as there are: on one lock, with one guard, with locks just made.

With the interpreter's lock these are storms like others. Without it every step of one thread meets every step of
another, in the fast path first of all; so what is counted here is kept right by nothing but the lock under test.
"""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest
from _waits import fails_in_no_child, request

from rwlocks import (
    AbandonedHoldWarning,
    GuardStateError,
    LockTimeout,
    Mode,
    NotHeldError,
    ProcessRWLock,
    RWLock,
    features,
    set_observer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from _actors import AnyGuard

THREADS: Final = 6
UNTIL_STUCK: Final = 30.0  # seconds for the last ones to come through
LENGTHS: Final = [0.2, pytest.param(5.0, marks=pytest.mark.slow)]  # seconds

NATIVE: Final = pytest.mark.skipif(
    not all(part.compiled for part in features().parts if part.serves == "ProcessRWLock"),
    reason="built without the native core",
)
KINDS: Final = ["threads", pytest.param("processes", marks=NATIVE)]


def made(kind: str) -> Any:
    return RWLock() if kind == "threads" else ProcessRWLock(max_holds=256)


def play(seconds: float, *parts: Callable[[Random], object]) -> None:
    """Each part over and over in a thread of its own, until time is up or one of them fails."""
    over = threading.Event()
    failures: list[BaseException] = []

    def perform(part: Callable[[Random], object], chance: Random) -> None:
        try:
            while not over.is_set():
                part(chance)
        except BaseException as failure:  # noqa: BLE001  it is raised again
            failures.append(failure)
            over.set()

    threads = [
        threading.Thread(target=perform, args=(part, Random(number)), daemon=True) for number, part in enumerate(parts)
    ]
    for thread in threads:
        thread.start()
    over.wait(seconds)
    over.set()
    for thread in threads:
        thread.join(UNTIL_STUCK)
    if failures:
        raise failures[0]
    assert not any(thread.is_alive() for thread in threads), "somebody waits in vain"


def assert_is_free(lock: Any) -> None:
    seen = lock.statistics()
    assert (seen.holders, seen.waiters) == ((), ())
    with lock.write(timeout=UNTIL_STUCK):
        assert lock.locked() is Mode.WRITE


# -- one lock --------------------------------------------------------------------------------------------------------


class Ledger:
    """Two numbers that only a writer may find different, and who wrote how often."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.numbers = [0, 0]
        self.written: list[int] = []

    def write(self, chance: Random) -> None:
        self.numbers[0] += 1
        if chance.random() < 0.1:
            assert self.lock.locked() is Mode.WRITE
        self.numbers[1] += 1

    def read(self) -> None:
        assert self.numbers[0] == self.numbers[1], f"read while it was written: {self.numbers}"

    def actor(self) -> Callable[[Random], None]:
        mine = len(self.written)
        self.written.append(0)

        def visit(chance: Random) -> None:
            for _ in range(30):
                self.written[mine] += self._visit(chance)

        return visit

    def _visit(self, chance: Random) -> bool:
        lock, way = self.lock, chance.random()
        if way < 0.55:
            with lock.read() as guard:
                self.read()
                assert way > 0.1 or guard.held
            return False
        if way < 0.75:
            with lock.write():
                self.write(chance)
            return True
        if way < 0.9:
            with lock.upgradable() as guard:
                self.read()
                if way < 0.8:
                    with guard.upgrade():
                        self.write(chance)
            return way < 0.8
        return self._try_to_write(chance)

    def _try_to_write(self, chance: Random) -> bool:
        try:
            with self.lock.write(timeout=chance.choice([0, 0.0005])):
                self.write(chance)
        except LockTimeout:
            return False
        return True

    def look(self, chance: Random) -> None:
        holders = self.lock.statistics().holders
        writes = [holder for holder in holders if holder.mode is Mode.WRITE]
        assert not writes or len(holders) == 1, f"a writer is not alone: {holders}"
        assert "RWLock" in repr(self.lock)
        time.sleep(0.0005)


def visit_one_lock(kind: str, seconds: float) -> None:
    ledger = Ledger(made(kind))
    play(seconds, *(ledger.actor() for _ in range(THREADS)), ledger.look)
    assert ledger.numbers == [sum(ledger.written)] * 2
    assert sum(ledger.written) > 0
    assert_is_free(ledger.lock)


@pytest.mark.parametrize("seconds", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_reads_what_is_half_written(kind: str, seconds: float) -> None:
    fails_in_no_child(partial(visit_one_lock, kind, seconds), within=2 * UNTIL_STUCK + seconds)


def visit_under_observation() -> None:
    ledger, heard = Ledger(RWLock()), [0]

    def hear(_: object) -> None:
        heard[0] += 1

    def observe(_: Random) -> None:
        set_observer(hear)
        time.sleep(0.001)
        set_observer(None)
        time.sleep(0.001)

    play(0.2, *(ledger.actor() for _ in range(THREADS)), observe)
    assert heard[0] > 0
    assert ledger.numbers == [sum(ledger.written)] * 2
    assert_is_free(ledger.lock)


def test_an_observer_may_come_and_go() -> None:
    fails_in_no_child(visit_under_observation)


def visit_from_tasks() -> None:
    ledger = Ledger(RWLock())

    async def visit(chance: Random) -> int:
        written = 0
        for _ in range(30):
            async with ledger.lock.read():
                ledger.read()
            async with ledger.lock.write():
                ledger.write(chance)
                written += 1
        return written

    async def visit_together(chance: Random) -> int:
        return sum(await asyncio.gather(*(visit(chance) for _ in range(3))))

    written: list[int] = []

    def loop(chance: Random) -> None:
        written.append(asyncio.run(visit_together(chance)))

    mine = ledger.actor()
    play(0.2, loop, loop, loop, mine)
    assert ledger.numbers == [sum(written) + sum(ledger.written)] * 2
    assert_is_free(ledger.lock)


def test_loops_in_several_threads_share_a_lock() -> None:
    fails_in_no_child(visit_from_tasks)


# -- one guard -------------------------------------------------------------------------------------------------------


def is_acquired(guard: AnyGuard, chance: Random) -> bool:
    try:
        if chance.random() < 0.5:
            return guard.try_acquire()
        guard.acquire(chance.choice([0, 0.001]))
    except (GuardStateError, LockTimeout):
        return False
    return True


def is_released(guard: AnyGuard) -> bool:
    try:
        guard.release()
    except (NotHeldError, GuardStateError):
        return False
    return True


def quarrel_over_one_guard(kind: str, mode: Mode, seconds: float) -> None:
    lock = made(kind)
    guard: AnyGuard = request(lock, mode)
    acquired, released = [0] * THREADS, [0] * THREADS

    def quarrel(number: int, chance: Random) -> None:
        for _ in range(30):
            if chance.random() < 0.5:
                acquired[number] += is_acquired(guard, chance)
            else:
                released[number] += is_released(guard)
        assert guard.mode is mode
        assert "Guard" in repr(guard)

    def come_between(chance: Random) -> None:
        other = request(lock, Mode.WRITE if chance.random() < 0.1 else Mode.READ)
        if is_acquired(other, chance):
            other.release()
        lock.statistics()
        time.sleep(0.0005)

    play(seconds, *(partial(quarrel, number) for number in range(THREADS)), come_between)
    assert sum(acquired) > 0
    assert sum(acquired) - sum(released) == guard.held
    if guard.held:
        guard.release()
    assert_is_free(lock)


@pytest.mark.parametrize("seconds", LENGTHS)
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", KINDS)
def test_one_guard_is_held_as_often_as_it_was_acquired_and_not_released(kind: str, mode: Mode, seconds: float) -> None:
    fails_in_no_child(partial(quarrel_over_one_guard, kind, mode, seconds), within=2 * UNTIL_STUCK + seconds)


# -- beginnings and ends ---------------------------------------------------------------------------------------------


def meet_at_new_locks() -> None:
    """What a lock makes only for the first who needs it is made once."""
    rounds = 100
    locks = [RWLock() for _ in range(rounds)]
    together = threading.Barrier(THREADS)

    def meet(number: int) -> None:
        for lock in locks:
            together.wait(UNTIL_STUCK)
            with lock.write() if number % 2 else lock.read():
                assert lock.locked()

    threads = [threading.Thread(target=meet, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * UNTIL_STUCK)
    for lock in locks:
        assert lock.statistics().acquisitions == THREADS
        assert_is_free(lock)


def test_a_lock_has_one_core_whoever_comes_first() -> None:
    fails_in_no_child(meet_at_new_locks, within=90)


def drop_holds() -> None:
    """Guards that are destroyed while others make tickets of them."""
    warnings.simplefilter("ignore", AbandonedHoldWarning)
    lock, dropped = RWLock(), [0] * THREADS

    def drop(number: int, chance: Random) -> None:
        lock.read().acquire()
        dropped[number] += 1
        time.sleep(0.0001 * chance.random())

    def look(_: Random) -> None:
        for holder in lock.statistics().holders:
            assert holder.mode is Mode.READ

    play(0.2, *(partial(drop, number) for number in range(THREADS)), look)
    holders = lock.statistics().holders
    assert len(holders) == sum(dropped) > 0
    for holder in holders:
        lock.forget(holder)
    assert_is_free(lock)


def test_no_hold_is_lost_with_its_guard() -> None:
    fails_in_no_child(drop_holds, within=90)
