"""What failed even in the best locks of other languages: one test for each that applies within a process."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import pytest
from _waits import LOOPS, POLICIES, Parked, is_free, later, lock_on, request, run, switching_all_the_time, until

from rwlocks import LockTimeout, Mode, RWLock
from rwlocks.policies import policy_named
from rwlocks.testing import ManualClock, wait_until_parked

if TYPE_CHECKING:
    from rwlocks._types import PolicyName

SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_parking_lot_101_a_parked_upgradable_never_blocks_plain_readers(loop: str, policy: PolicyName) -> None:
    """It waits for the other upgradable only, which is no reason to keep readers out."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.upgradable()).detach()
        parked = [Parked(lock.upgradable()) for _ in range(2)]
        readers = [lock.read() for _ in range(3)]
        for reader in readers:
            assert reader.try_acquire()
        async with lock.read(timeout=0):
            assert lock.statistics().readers == 4
        assert lock.statistics().waiting_upgradables == 2
        for one in parked:
            one.close()
        for guard in (holder, *readers):
            guard.release()
        assert lock.locked() is None

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_parking_lot_0_12_4_a_parked_upgradable_is_woken_by_the_end_of_a_write(loop: str, policy: PolicyName) -> None:
    """Only readers and writers were looked for."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.write()).detach()
        guard, other = lock.upgradable(), lock.upgradable()
        parked = [Parked(guard), Parked(other)]
        holder.release()
        assert guard.held
        assert not other.held
        for one in parked:
            one.close()
        assert lock.locked() is None

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
def test_parking_lot_0_12_4_no_trace_of_a_writer_is_left_after_its_timeout(policy: PolicyName) -> None:
    """A stale "writer is parked" bit kept readers out of a lock that only readers had."""
    clock = ManualClock()
    lock = RWLock(type(policy_named(policy))(patience=0))
    clock.drives(lock)
    holder = lock.read().acquire().detach()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            writing = pool.submit(lock.write().acquire, 5)
            wait_until_parked(lock, 1)
            clock.advance(5)
            with pytest.raises(LockTimeout):
                writing.result(30)
            reader = lock.read()
            assert reader.try_acquire()
            reader.release()
    holder.release()
    assert is_free(lock)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_tokio_1699_a_dropped_pending_writer_keeps_nothing(loop: str, policy: PolicyName) -> None:
    """Its share of the permits was gone for good."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holders = [(await lock.read()).detach() for _ in range(3)]
        before = lock._core.monitor.engine.snapshot()
        for _ in range(5):
            writer = Parked(lock.write())
            writer.close()
            assert lock._core.monitor.engine.snapshot() == before
        for guard in holders:
            guard.release()
        async with lock.write(timeout=0):
            assert lock.locked() is Mode.WRITE

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
def test_tokio_6450_a_grant_to_a_task_that_nobody_runs_is_seen_and_goes_on_when_its_loop_is_closed(
    policy: PolicyName,
) -> None:
    """A future that was granted the lock and never polled stalled everybody, and nothing showed it."""
    lock = RWLock(policy)
    loop = asyncio.new_event_loop()
    holder, guard = lock.write().acquire().detach(), lock.write()
    task = loop.create_task(guard._acquire_async(), name="never run again")
    loop.call_soon(loop.stop)
    loop.run_forever()
    holder.release()
    (seen,) = lock.statistics().holders
    assert seen.granted
    assert seen.owner == "never run again"
    assert seen.age >= 0
    loop.close()
    assert lock.locked() is None
    with lock.write(timeout=0):
        pass
    cast("Any", task)._log_destroy_pending = False
    cast("Any", task).get_coro().close()


def test_async_lock_91_a_busy_loop_keeps_its_grant_and_a_late_one_still_gets_it() -> None:
    """A loop that works on something else is slow, not lost."""

    async def scenario() -> None:
        lock = RWLock()
        holder = (await lock.write()).detach()
        guard = lock.write()
        waiting = asyncio.create_task(guard._acquire_async())
        await wait_until_parked(lock, 1)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(holder.release).result(30)  # this loop stands still meanwhile
            assert lock.statistics().holders[0].granted
            assert not pool.submit(lock.read().try_acquire).result(30)
        assert (await waiting).held
        guard.release()

    asyncio.run(scenario())


@pytest.mark.parametrize("loop", ["asyncio", *later(["trio", "anyio", "uvloop"])])
@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_jdk_8386085_many_short_timeouts_leave_no_phantom(loop: str, count: int) -> None:
    """Cleaning a queue up while thousands time out at once went round in circles; 8191483 left dead nodes in it."""

    async def scenario() -> None:
        lock = lock_on(loop)
        holder = (await lock.write()).detach()
        steps = lock._core.monitor.engine.steps()
        ended = [0]

        async def want(number: int) -> None:
            try:
                async with request(lock, list(Mode)[number % 3], timeout=0.001 * (1 + number % 5)):
                    raise AssertionError("the lock was never free")
            except LockTimeout:
                ended[0] += 1

        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(want, number)
        assert ended == [count]
        seen = lock.statistics()
        assert seen.timeouts == count
        assert seen.waiters == ()
        assert lock._core.monitor.engine.steps() - steps <= 8 * count
        lock._core.monitor.engine.check_invariants()
        holder.release()
        assert is_free(lock)

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
def test_folly_2015_no_wake_up_is_lost_among_three_or_four_writers(policy: PolicyName) -> None:
    """A count of waiters that wrapped round lost one, with exactly so many."""
    for writers in (3, 4):
        lock = RWLock(policy)
        total = [0]

        def work(lock: RWLock = lock, total: list[int] = total) -> None:
            for _ in range(300):
                with lock.write(timeout=SOON):
                    total[0] += 1

        with switching_all_the_time(), ThreadPoolExecutor(writers) as pool:
            for future in [pool.submit(work) for _ in range(writers)]:
                future.result(60)
        assert total == [300 * writers]
        assert lock.statistics().waiters == ()


@pytest.mark.parametrize("policy", POLICIES)
def test_glibc_no_reader_sleeps_for_ever_on_a_stale_look_at_the_lock(policy: PolicyName) -> None:
    """A reader that had seen the writer leave went to sleep on what it had seen before."""
    lock = RWLock(policy)
    stop = threading.Event()
    value = [0, 0]

    def write() -> None:
        while not stop.is_set():
            with lock.write(timeout=SOON):
                value[0] += 1
                value[1] += 1

    def read() -> None:
        for _ in range(200):
            with lock.read(timeout=SOON):
                assert value[0] == value[1]

    with switching_all_the_time(), ThreadPoolExecutor(5) as pool:
        writing = pool.submit(write)
        reading = [pool.submit(read) for _ in range(4)]
        try:
            if policy != "writer-pref":  # there a lone writer that comes again at once may keep readers waiting
                for future in reading:
                    future.result(60)
        finally:
            stop.set()
        for future in (writing, *reading):
            future.result(60)
    assert lock.locked() is None


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_glibc_25847_a_wake_up_meant_for_one_is_not_stolen_by_a_newcomer(loop: str, policy: PolicyName) -> None:
    """Whoever was granted the lock has it, though a newcomer asks before the granted one has run."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.write()).detach()
        guard = lock.write()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guard._acquire_async)
            await wait_until_parked(lock, 1)
            holder.release()
            assert not lock.write().try_acquire()
            assert not lock.read().try_acquire()
            await until(lambda: not lock.statistics().holders[0].granted)
        guard.release()
        assert lock.locked() is None

    run(loop, scenario)
