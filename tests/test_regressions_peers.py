"""The defects that most rivals have: a withdrawn writer strands the readers behind it, an interrupt kills the lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import anyio
import pytest
from _waits import LOOPS, POLICIES, PURE_LOOPS, Interrupt, fails_in_no_child, jump, lock_on, request, run, until

from rwlocks import LockTimeout, Mode, RWLock
from rwlocks.testing import ManualClock, wait_until_parked, wait_until_spent

if TYPE_CHECKING:
    from rwlocks._types import PolicyName

READERS: Final = 3
SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging


def parked_behind_a_writer(policy: PolicyName) -> int:
    """How many of the readers a queued writer keeps out."""
    return 0 if policy == "reader-pref" else READERS


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_finding_2_cancel_a_queued_writer_and_the_readers_behind_it_go_in_at_once(
    loop: str, policy: PolicyName
) -> None:
    """Six of seven peers leave them asleep while another reader holds."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.read()).detach()
        readers = [lock.read() for _ in range(READERS)]
        writer = lock.write()
        scope = anyio.CancelScope()
        seen: list[bool] = []

        async def write() -> None:
            with scope:
                try:
                    await writer
                finally:
                    seen.extend(reader.held for reader in readers)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await wait_until_parked(lock, 1)
            for reader in readers:
                tasks.start_soon(reader._acquire_async)
            stuck = parked_behind_a_writer(policy)
            await until(lambda: lock.statistics().waiting_readers + lock.statistics().readers == READERS + 1)
            assert lock.statistics().waiting_readers == stuck
            scope.cancel()
        assert seen == [True] * READERS
        assert not writer.held
        for guard in (holder, *readers):
            guard.release()
        assert lock.locked() is None

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", PURE_LOOPS)
def test_finding_2_time_out_a_queued_writer_and_the_readers_behind_it_go_in_at_once(
    loop: str, policy: PolicyName
) -> None:
    """The same defect by way of the writer's own timeout."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.read()).detach()
        readers = [lock.read() for _ in range(READERS)]
        writer = lock.write(timeout=3600)
        seen: list[bool] = []

        async def write() -> None:
            with pytest.raises(LockTimeout):
                await writer
            seen.extend(reader.held for reader in readers)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await wait_until_parked(lock, 1)
            for reader in readers:
                tasks.start_soon(reader._acquire_async)
            await until(lambda: lock.statistics().waiting_readers + lock.statistics().readers == READERS + 1)
            jump(3601)
        assert seen == [True] * READERS
        for guard in (holder, *readers):
            guard.release()
        assert lock.locked() is None

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
def test_finding_2_time_out_a_queued_writer_and_the_threads_behind_it_go_in_at_once(policy: PolicyName) -> None:
    """The same defect among threads."""
    clock, lock = ManualClock(), RWLock(policy)
    clock.drives(lock)
    holder = lock.read().acquire().detach()
    readers = [lock.read() for _ in range(READERS)]

    def write() -> list[bool]:
        with pytest.raises(LockTimeout):
            lock.write().acquire(timeout=5)
        return [reader.held for reader in readers]

    with ThreadPoolExecutor(READERS + 1) as pool:
        writing = pool.submit(write)
        wait_until_parked(lock, 1)
        clock.advance(0.01)  # from now on nobody may overtake the writer
        reading = [pool.submit(reader.acquire, SOON) for reader in readers]
        if parked_behind_a_writer(policy):
            wait_until_parked(lock, READERS + 1)
        else:
            for future in reading:
                future.result(30)
        clock.advance(5)
        assert writing.result(30) == [True] * READERS
        for future in reading:
            future.result(30)
    for guard in (holder, *readers):
        guard.release()
    assert lock.locked() is None


def interrupt_every_kind_of_waiter() -> None:
    """In the main thread of a child, where SIGINT goes."""
    for policy in POLICIES:
        for mode in Mode:
            interrupt, lock = Interrupt(), RWLock(policy)
            holder = lock.write().acquire().detach()
            before = lock._core.monitor.engine.snapshot()
            with ThreadPoolExecutor(1) as pool:
                striking = pool.submit(strike_when_parked, interrupt, lock)
                try:
                    request(lock, mode).acquire()
                except KeyboardInterrupt:
                    assert lock._core.monitor.engine.snapshot() == before
                else:
                    raise AssertionError("it got in beside a writer")
                striking.result(30)
            assert lock.statistics().cancellations == 1
            holder.release()
            for other in Mode:
                guard = request(lock, other)
                assert guard.try_acquire(), f"{policy}: nobody gets in after an interrupted {mode}"
                guard.release()


def strike_when_parked(interrupt: Interrupt, lock: RWLock) -> None:
    wait_until_parked(lock, 1)
    interrupt.strike()


def test_finding_3_interrupting_a_waiter_leaves_the_lock_as_it_was() -> None:
    """In the two best-known thread locks the interrupted waiter stays in the queue for good."""
    fails_in_no_child(interrupt_every_kind_of_waiter)


def interrupt_writers_that_have_readers_behind_them() -> None:
    for policy in POLICIES:
        interrupt_a_writer_that_has_a_reader_behind_it(policy)


def interrupt_a_writer_that_has_a_reader_behind_it(policy: PolicyName) -> None:
    interrupt, lock = Interrupt(), RWLock(policy)
    holder, reader = lock.read().acquire().detach(), lock.read()

    def follow() -> None:
        wait_until_parked(lock, 1)
        wait_until_spent(lock)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(reader.acquire, SOON)
            if parked_behind_a_writer(policy):
                wait_until_parked(lock, 2)
            else:
                reading.result(30)
            interrupt.strike()
            reading.result(30)

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow)
        try:
            lock.write().acquire()
        except KeyboardInterrupt:
            assert reader.held
        else:
            raise AssertionError("it got in beside a reader")
        following.result(30)
    reader.release()
    holder.release()
    assert lock.locked() is None


def test_findings_2_and_3_interrupt_a_queued_writer_and_the_readers_behind_it_go_in_at_once() -> None:
    """An interrupt is a withdrawal like any other."""
    fails_in_no_child(interrupt_writers_that_have_readers_behind_them)
