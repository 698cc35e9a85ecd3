"""Holds of a `ProcessRWLock` that no Python object knows of: they stand at the door, and everybody sees them.

The plain variant has none of them; there the same tests show that nothing depends on it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from _partners import ask, in_child, lock, partners

from rwlocks import (
    AbandonedHoldWarning,
    DeadlockError,
    GuardStateError,
    LockEvent,
    Mode,
    NotHeldError,
    ProcessRWLock,
    RWLock,
    WriterDied,
    set_observer,
)
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _partners import Partners

__all__ = ["lock", "partners"]

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE
MODES = [READ, UPGRADABLE, WRITE]


@pytest.fixture
def standing(core: str) -> Callable[[ProcessRWLock, int], bool]:
    """Whether so many of those who hold the lock are no tickets; none of them, in the plain variant."""

    def stand(lock: ProcessRWLock, number: int) -> bool:
        roster: Any = lock._core.monitor.roster
        counts = lock._native.counts()
        holders = counts.readers + counts.upgradables + counts.writers
        return holders - len(roster._first) - len(roster._more) == (number if core == "c" else 0)

    return stand


@pytest.mark.parametrize("mode", MODES)
def test_an_undisputed_hold_stands_at_the_door_until_somebody_looks(
    lock: ProcessRWLock, standing: Callable[[ProcessRWLock, int], bool], mode: Mode
) -> None:
    with ask(lock, mode):
        assert standing(lock, 1)
        assert lock.locked() is mode
        assert mode.value in repr(lock)
        assert standing(lock, 1)  # neither of them is a look at who it is
        (holder,) = lock.statistics().holders
        assert (holder.mode, holder.owner) == (mode, threading.current_thread().name)
        assert standing(lock, 0)
        assert lock.statistics().holders[0].hold is holder.hold
    assert lock.locked() is None
    assert not lock.statistics().holders


@pytest.mark.parametrize("mode", MODES)
def test_other_processes_see_it(
    lock: ProcessRWLock, standing: Callable[[ProcessRWLock, int], bool], partners: Partners, mode: Mode
) -> None:
    partner = partners.new(lock)
    with ask(lock, mode):
        (holder,) = partner.do("statistics").holders
        assert (holder.mode, holder.pid) == (mode, os.getpid())
        assert standing(lock, 1)
        assert partner.do("try_acquire", READ) == (mode is not WRITE)
        assert not partner.do("try_acquire", WRITE)


def test_each_way_of_asking_a_guard_makes_a_ticket_of_its_hold_alone(
    lock: ProcessRWLock, standing: Callable[[ProcessRWLock, int], bool]
) -> None:
    looks: list[Callable[[Any], object]] = [
        lambda guard: guard.held,
        lambda guard: guard.mode,
        repr,
        lambda guard: guard.ticket,
        lambda guard: guard.detach(),
    ]
    with lock.read():
        for look in looks:
            guard = lock.read().acquire()
            assert standing(lock, 2)
            look(guard)
            assert standing(lock, 1)
            guard.release()
            assert standing(lock, 1)
            with pytest.raises(NotHeldError):
                guard.release()
    assert lock.locked() is None


def test_an_upgrade_and_a_downgrade_begin_where_it_stands(lock: ProcessRWLock) -> None:
    with lock.upgradable() as guard:
        with guard.upgrade():
            assert lock.locked() is WRITE
        assert lock.locked() is UPGRADABLE
    with lock.write() as writer:
        writer.downgrade()
        assert lock.locked() is READ
    assert lock.locked() is None


def test_a_guard_whose_hold_was_looked_at_stands_there_the_next_time(
    lock: ProcessRWLock, standing: Callable[[ProcessRWLock, int], bool]
) -> None:
    guard = lock.read()
    for _ in range(3):
        with guard:
            assert standing(lock, 1)
            assert guard.held
            assert standing(lock, 0)
        assert not guard.held


def test_a_guard_that_holds_cannot_be_entered_again(lock: ProcessRWLock) -> None:
    guard = lock.read()
    with guard:
        with pytest.raises(GuardStateError, match="holds the lock already"), guard:
            pass
        with pytest.raises(GuardStateError, match="holds the lock already"):
            guard.try_acquire()
        assert lock.statistics().holders
    assert lock.locked() is None


def test_a_guard_that_two_threads_enter_at_once_is_refused_to_one(lock: ProcessRWLock) -> None:
    guard = lock.read()
    ticket = guard.ticket
    guard.acquire()
    with pytest.raises(GuardStateError, match="holds the lock already"):
        lock._core.monitor.sit(guard, ticket)  # who found it free, and was overtaken
    assert guard.held
    guard.release()


def test_a_nested_request_that_would_wait_is_refused(lock: ProcessRWLock) -> None:
    with lock.read():
        with pytest.raises(DeadlockError, match=r"the same owner holds it already \(read by"), lock.write():
            pass
        with lock.read():
            pass
    assert lock.locked() is None


def test_strict_mode_sees_it(lock: ProcessRWLock) -> None:
    with lock.read():
        strict: Any = str(b"strict", "ascii")  # not the same object as the name
        lock.deadlocks = strict
        with pytest.raises(DeadlockError), lock.read():
            pass
        lock.deadlocks = "cycles"
        with lock.read():
            pass


def test_an_owner_with_two_holds_upgrades_neither(lock: ProcessRWLock) -> None:
    with lock.read(), lock.read() as guard, pytest.raises(DeadlockError):
        guard.upgrade().acquire()
    assert lock.locked() is None


def test_one_that_is_dropped_warns_and_can_be_forgotten(lock: ProcessRWLock) -> None:
    with pytest.warns(AbandonedHoldWarning, match=rf"for write \({threading.current_thread().name}\)"):
        lock.write().acquire()
    (holder,) = lock.statistics().holders
    assert holder.abandoned
    with ThreadPoolExecutor(1) as pool, pytest.raises(DeadlockError, match="dropped"):
        pool.submit(lock.read().acquire).result()
    lock.forget(holder)
    with lock.write():
        pass


def test_a_forked_child_leaves_the_block_in_silence_and_releases_nothing(lock: ProcessRWLock) -> None:
    outer = lock.read().acquire()
    with lock.read():
        pid = os.fork()
    if not pid:
        code = 1
        try:
            with pytest.raises(NotHeldError, match="that of the process from which this one was forked"):
                outer.release()
            with lock.read() as guard:
                assert guard.held
            assert not lock.write().try_acquire()  # the parent reads
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert lock.locked() is READ
    outer.release()
    with lock.write():
        pass


def test_a_forked_child_stands_there_like_its_parent(lock: ProcessRWLock, core: str) -> None:
    def child() -> None:
        with lock.read():
            pass  # the first use attaches the child, which no fast path does
        with lock.read():
            roster: Any = lock._core.monitor.roster
            assert bool(roster._first) == (core == "py")

    with lock.read():
        in_child(child)
        assert [holder.pid for holder in lock.statistics().holders] == [os.getpid()]


def test_a_lock_cannot_be_closed_while_somebody_stands_there() -> None:
    lock = ProcessRWLock()
    with lock.read():
        with pytest.raises(GuardStateError, match="holds the lock"):
            lock.close()
        assert lock.locked() is READ
    lock.close()


def test_two_objects_for_one_lock_have_one_roster(
    tmp_path: Path, standing: Callable[[ProcessRWLock, int], bool]
) -> None:
    with ProcessRWLock(tmp_path / "one") as lock, ProcessRWLock(tmp_path / "one") as other:
        with lock.read(), other.read():
            assert standing(lock, 2)
            assert len(other.statistics().holders) == 2
            assert standing(lock, 0)
        assert lock.locked() is None


def test_a_lock_from_a_pickle_has_a_door_of_its_own(
    tmp_path: Path, standing: Callable[[ProcessRWLock, int], bool]
) -> None:
    with ProcessRWLock(tmp_path / "one") as lock:
        pickled = pickle.dumps(lock)
    with pickle.loads(pickled) as copy, copy.write():
        assert standing(copy, 1)


def test_threads_and_tasks_are_told_apart(lock: ProcessRWLock, standing: Callable[[ProcessRWLock, int], bool]) -> None:
    async def scenario() -> None:
        task = asyncio.current_task()
        assert task is not None
        async with lock.read():
            assert standing(lock, 2)
            with lock.read():
                assert standing(lock, 3)
                names = [holder.owner for holder in lock.statistics().holders]
                assert sorted(names) == sorted([threading.current_thread().name, *2 * [task.get_name()]])
            with pytest.raises(DeadlockError):
                await lock.write()

    with lock.read():
        asyncio.run(scenario())
    assert lock.locked() is None


@pytest.mark.parametrize("kind", [RWLock, ProcessRWLock])
def test_a_task_that_is_no_more_is_still_an_owner(kind: type[RWLock | ProcessRWLock]) -> None:
    async def enter() -> None:
        await guard.__aenter__()

    async def scenario() -> None:
        await asyncio.create_task(enter())

    lock = kind()
    guard = lock.read()
    asyncio.run(scenario())
    gc.collect()
    (holder,) = lock.statistics().holders
    assert holder.owner == "a task that has ended"
    guard.release()
    assert lock.locked() is None


def test_an_observer_hears_of_the_end_of_what_stood_there_before(lock: ProcessRWLock) -> None:
    events: list[LockEvent] = []
    guard = lock.read().acquire()
    set_observer(events.append)
    try:
        guard.release()
        with lock.write():
            pass
    finally:
        set_observer(None)
    assert [(event.kind, event.mode) for event in events] == [("release", READ), ("grant", WRITE), ("release", WRITE)]


def test_nobody_stands_there_where_the_death_of_a_writer_is_an_error(partners: Partners) -> None:
    with ProcessRWLock(on_writer_death="raise") as lock:
        partners.holding(lock, WRITE).kill()
        for _ in range(2):
            with pytest.raises(WriterDied), lock.read():
                pass
        with lock.write(repair=True):
            lock.mark_consistent()
        with lock.write(1, repair=False) as guard:
            assert not guard.recovered


def test_those_who_wait_for_it_come_in_when_it_ends(lock: ProcessRWLock, partners: Partners) -> None:
    partner = partners.new(lock)
    with lock.read():
        partner.wait_for(WRITE)
    assert partner.answer() is True
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(lock.read().acquire)
        wait_until_parked(lock, 1)
        partner.do("release")
        reader.result().release()


@pytest.mark.parametrize("mode", MODES)
def test_a_timeout_is_given_as_to_the_pure_methods(lock: ProcessRWLock, mode: Mode) -> None:
    method: Any = {READ: lock.read, UPGRADABLE: lock.upgradable, WRITE: lock.write}[mode]
    for guard in (method(1), method(timeout=0), method(None)):
        assert guard.acquire() is guard
        assert guard.mode is mode
        guard.release()
    with pytest.raises(ValueError, match="not a number"):
        method(float("nan"))
    for positional, named in (((1, 2), {}), ((), {"never": 1}), ((1,), {"timeout": 1})):
        with pytest.raises(TypeError):
            method(*positional, **named)
