"""What the death of others means to the users of a `ProcessRWLock`: who gets in, who is told, and who repairs."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, get_args

import pytest
from _partners import ask, lock, partners
from _processes import RECOVERY, until

from rwlocks import DeadlockError, GuardStateError, LockEvent, Mode, ProcessRWLock, WriterDied, set_observer
from rwlocks._process import OnWriterDeath
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _partners import Partners

__all__ = ["lock", "partners"]

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE
ALL = [READ, UPGRADABLE, WRITE]


@pytest.fixture
def strict() -> Iterator[ProcessRWLock]:
    with ProcessRWLock(on_writer_death="raise") as lock:
        yield lock


def bereave(lock: ProcessRWLock, partners: Partners, mode: Mode = WRITE) -> None:
    """Somebody dies who holds it."""
    partners.holding(lock, mode).kill()


@pytest.mark.parametrize("mode", ALL)
def test_the_next_guard_knows_that_a_writer_died(mode: Mode, lock: ProcessRWLock, partners: Partners) -> None:
    bereave(lock, partners)
    with ask(lock, mode, RECOVERY) as guard:
        assert guard.recovered
        assert lock.recovered
        assert lock.statistics().deaths == 1
    other = partners.new(lock)
    assert other.do("recovered") is True
    lock.mark_consistent()
    assert other.do("recovered") is False
    with ask(lock, mode) as guard:
        assert not guard.recovered


@pytest.mark.parametrize("mode", [READ, UPGRADABLE])
@pytest.mark.parametrize("on_writer_death", get_args(OnWriterDeath))
def test_a_reader_takes_nothing_with_it(mode: Mode, on_writer_death: OnWriterDeath, partners: Partners) -> None:
    with ProcessRWLock(on_writer_death=on_writer_death) as lock:
        bereave(lock, partners, mode)
        with lock.write(RECOVERY) as guard:
            assert not guard.recovered
            assert not lock.recovered


def test_an_upgrader_that_only_waits_is_no_writer(strict: ProcessRWLock, partners: Partners) -> None:
    with strict.read():
        partner = partners.holding(strict, UPGRADABLE)
        partner.tell("upgrade")
        wait_until_parked(strict, 1)
        partner.kill()
    with strict.write(RECOVERY) as guard:
        assert not guard.recovered


def test_a_death_may_be_ignored(partners: Partners) -> None:
    with ProcessRWLock(on_writer_death="ignore") as lock:
        bereave(lock, partners)
        with lock.write(RECOVERY) as guard:
            assert not guard.recovered
            assert not lock.recovered


def test_only_a_repairer_gets_in(strict: ProcessRWLock, partners: Partners) -> None:
    bereave(strict, partners)
    for mode in ALL:
        guard = ask(strict, mode)
        with pytest.raises(WriterDied, match=r"write\(repair=True\), then call lock.mark_consistent"):
            guard.acquire(RECOVERY)
        with pytest.raises(WriterDied):
            guard.try_acquire()
        assert not guard.held
        assert not strict.acquirable(mode)
    with pytest.raises(WriterDied), strict.reader:
        pass
    assert isinstance(WriterDied(), RuntimeError)
    with strict.write(repair=True) as guard:
        assert guard.recovered
        strict.mark_consistent()
        guard.downgrade()
        with strict.read():
            pass
    with strict.write():
        assert not strict.recovered


def test_those_who_wait_already_are_told(strict: ProcessRWLock, partners: Partners) -> None:
    writer = partners.holding(strict, WRITE)
    waiters = [partners.new(strict) for _ in ALL]
    for waiter, mode in zip(waiters, ALL, strict=True):
        waiter.wait_for(mode)
    writer.kill()
    for waiter in waiters:
        assert isinstance(waiter.answer(), WriterDied)
    assert strict.statistics().waiters == ()


def test_tasks_who_wait_already_are_told(strict: ProcessRWLock, partners: Partners) -> None:
    writer = partners.holding(strict, WRITE)
    told: list[Mode] = []

    async def wait(mode: Mode) -> None:
        with pytest.raises(WriterDied):
            await ask(strict, mode)
        told.append(mode)

    async def main() -> None:
        tasks = [asyncio.create_task(wait(mode)) for mode in ALL]
        await wait_until_parked(strict, len(ALL))
        await asyncio.to_thread(writer.kill)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert sorted(told, key=ALL.index) == ALL


def test_a_repairer_waits_its_turn_among_repairers(strict: ProcessRWLock, partners: Partners) -> None:
    bereave(strict, partners)
    order: list[str] = []
    with strict.write(RECOVERY, repair=True):

        def repair() -> None:
            with strict.write(repair=True) as guard:
                order.append("second" if guard.recovered else "nothing left to repair")

        thread = threading.Thread(target=repair)
        thread.start()
        wait_until_parked(strict, 1)
        order.append("first")
        strict.mark_consistent()
    thread.join()
    assert order == ["first", "nothing left to repair"]


def test_the_next_name_starts_clean(tmp_path: Path, partners: Partners) -> None:
    path = tmp_path / "lock"
    with ProcessRWLock(path) as lock:
        bereave(lock, partners)
        lock.read(RECOVERY).acquire().release()
        ProcessRWLock.unlink(path)
        with ProcessRWLock(path) as new:
            assert (lock.recovered, new.recovered) == (True, False)


def test_an_abandoned_hold_is_known_to_other_processes(lock: ProcessRWLock, partners: Partners) -> None:
    partner = partners.holding(lock, WRITE)
    errors: list[DeadlockError] = []

    def wait() -> None:
        try:
            lock.read().acquire()
        except DeadlockError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until_parked(lock, 1)
    partner.do("abandon")
    thread.join()
    with pytest.raises(DeadlockError, match="the guard of that hold was dropped"):
        lock.read().acquire()
    (error,) = errors
    (holder,) = error.holders
    assert (holder.abandoned, holder.pid) == (True, partner.pid)
    with pytest.raises(GuardStateError, match=f"one of process {partner.pid}: it can be forgotten there"):
        lock.forget(holder)
    partner.kill()
    with lock.read(RECOVERY) as guard:
        assert guard.recovered


def test_an_abandoned_hold_is_forgotten_in_its_own_process(lock: ProcessRWLock, partners: Partners) -> None:
    guard = lock.write().acquire()
    with pytest.warns(match="a guard was dropped while it held"):
        del guard
    (holder,) = lock.statistics().holders
    assert (holder.abandoned, holder.pid) == (True, os.getpid())
    partner = partners.new(lock)
    with pytest.raises(DeadlockError):
        partner.do("acquire", READ)
    lock.forget(holder)
    assert partner.do("acquire", READ)


def test_a_death_is_an_event(lock: ProcessRWLock, partners: Partners) -> None:
    events: list[LockEvent] = []
    partner = partners.holding(lock, WRITE)
    set_observer(events.append)
    try:
        thread = threading.Thread(target=lambda: lock.read().acquire().release(), name="heir")
        thread.start()
        wait_until_parked(lock, 1)
        partner.kill()
        thread.join()
    finally:
        set_observer(None)
    assert [(e.kind, e.owner, e.mode) for e in events] == [
        ("wait", "heir", READ),
        ("repair", "heir", READ),
        ("grant", "heir", READ),
        ("release", "heir", READ),
    ]
    assert all(event.lock is lock for event in events)


def test_nobody_is_told_of_a_death_twice(lock: ProcessRWLock, partners: Partners) -> None:
    bereave(lock, partners)
    lock.read(RECOVERY).acquire().release()
    events: list[LockEvent] = []
    set_observer(events.append)
    try:
        with lock.write():
            thread = threading.Thread(target=lambda: lock.read().acquire().release())
            thread.start()
            wait_until_parked(lock, 1)
        thread.join()
    finally:
        set_observer(None)
    until(lambda: len(events) == 5)
    assert "repair" not in {event.kind for event in events}
