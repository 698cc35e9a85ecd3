"""The defects of the locks that this one replaces, each excluded by a test that has its number."""

from __future__ import annotations

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
import pytest
from _waits import LOOPS, POLICIES, Parked, lock_on, run, until

from rwlocks import LockTimeout, Mode, RWLock, WriterPreference
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from rwlocks._types import PolicyName

ADMITTED_AT_DOWNGRADE: Final[dict[str, int]] = {"reader-pref": 3, "writer-pref": 0, "fifo": 3, "phase-fair": 3}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_d1_a_reader_behind_a_cancelled_writer_goes_in_before_later_readers(loop: str, policy: PolicyName) -> None:
    """It slept on while others held, later readers overtook it, and a holder that waited for it never ended."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        first = lock.read()
        release_first = anyio.Event()
        scope = anyio.CancelScope()

        async def hold() -> None:
            async with first:
                await release_first.wait()

        async def write() -> None:
            with scope:
                async with lock.write():
                    raise AssertionError("it was cancelled")

        async def read() -> None:
            async with lock.read():
                release_first.set()  # the holder waits for this very reader

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until(lambda: first.held)
            tasks.start_soon(write)
            await wait_until_parked(lock, 1)
            tasks.start_soon(read)
            if policy != "reader-pref":
                await wait_until_parked(lock, 2)
            scope.cancel()
        assert lock.locked() is None

    run(loop, scenario)


@pytest.mark.parametrize("queued_writer", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_d2_a_downgrade_lets_the_queued_readers_in(loop: str, policy: PolicyName, queued_writer: bool) -> None:
    """They slept on while newcomers walked in."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.write()).detach()
        readers = [lock.read() for _ in range(3)]
        parked = [Parked(reader) for reader in readers]
        if queued_writer:
            parked.append(Parked(lock.write()))
        holder.downgrade()
        expected = ADMITTED_AT_DOWNGRADE[policy] if queued_writer else 3
        assert sum(reader.held for reader in readers) == expected
        assert lock.statistics().readers == expected + 1
        for one in parked:
            one.close()
        holder.release()
        assert lock.locked() is None

    run(loop, scenario)


@pytest.mark.parametrize("policy", ["fifo", "phase-fair", "reader-pref", WriterPreference(max_consecutive_writers=4)])
@pytest.mark.parametrize("loop", LOOPS)
def test_d3_alternating_writers_do_not_starve_a_reader(loop: str, policy: PolicyName | WriterPreference) -> None:
    """Two writers that took turns kept every reader out for ever."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        writes = [0]

        async def write() -> None:
            while True:
                async with lock.write():
                    writes[0] += 1
                    await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(write)
            await until(lambda: writes[0] > 10)
            for _ in range(20):
                before = writes[0]
                async with lock.read():
                    assert writes[0] - before <= 6
            tasks.cancel_scope.cancel()
        assert lock.locked() is None

    run(loop, scenario)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("loop", LOOPS)
def test_d5_a_coroutine_closed_between_its_grant_and_its_turn_leaks_no_hold(loop: str, mode: Mode) -> None:
    """Only CancelledError was handled: after GeneratorExit no writer got in ever again."""

    async def scenario() -> None:
        lock = lock_on(loop)
        holder = (await lock.write()).detach()
        guard = lock.read() if mode is Mode.READ else lock.write() if mode is Mode.WRITE else lock.upgradable()
        parked = Parked(guard)
        holder.release()
        assert guard.held
        parked.close()
        assert lock.locked() is None
        async with lock.write(timeout=0):
            assert lock.locked() is Mode.WRITE

    run(loop, scenario)


def test_d6_the_cost_of_a_reader_does_not_depend_on_how_many_read() -> None:
    """A list of owners made thousands of concurrent readers quadratic."""
    steps: dict[int, int] = {}
    for count in (1_000, 8_000):
        lock = RWLock()
        guards = [lock.read().acquire() for _ in range(count)]
        assert lock.statistics().readers == count
        for guard in guards[::-2] + guards[::2]:
            guard.release()
        assert lock.locked() is None
        steps[count] = lock._core.monitor.engine.steps()
    assert steps == {1_000: 0, 8_000: 0}, "whoever need not wait takes no step in the queue at all"


def test_d7_a_lock_can_be_kept_in_a_weak_dictionary() -> None:
    """`__slots__` without `__weakref__` broke the usual lock per key."""
    per_key: weakref.WeakValueDictionary[str, RWLock] = weakref.WeakValueDictionary()
    lock = per_key.setdefault("key", RWLock())
    assert per_key["key"] is lock
    del lock
    assert "key" not in per_key


def test_d8_try_timeout_holders_and_the_number_of_waiters_are_offered() -> None:
    """None of these questions could be asked."""
    lock = RWLock()
    with lock.write() as writer, ThreadPoolExecutor(1) as pool:
        assert writer.held
        assert not lock.read().try_acquire()
        with pytest.raises(LockTimeout) as error:
            pool.submit(lock.read().acquire, 0.001).result(30)
        assert [holder.mode for holder in error.value.holders] == [Mode.WRITE]
        reading = pool.submit(lock.read().acquire)
        wait_until_parked(lock, 1)
        assert lock.statistics().waiting_readers == 1
        writer.downgrade()
        reading.result(30).release()


@pytest.mark.parametrize("contended", [False, True])
def test_d9_a_lock_is_bound_to_no_loop(contended: bool) -> None:
    """A lock of a module, used in two runs one after the other, raised for ever."""
    lock = RWLock()

    async def use() -> None:
        async with lock.write():
            reading = asyncio.create_task(lock.read()._acquire_async()) if contended else None
            if contended:
                await wait_until_parked(lock, 1)
        if reading is not None:
            (await reading).release()

    for _ in range(3):
        asyncio.run(use())
    assert lock.locked() is None
    assert lock.statistics().contended == 3 * contended


@pytest.mark.parametrize("loop", LOOPS)
def test_d10_an_acquisition_has_a_true_result(loop: str) -> None:
    """It was None, so that ``if await lock.acquire():`` never ran."""

    async def scenario() -> None:
        lock = lock_on(loop)
        guard = lock.read()
        assert await guard is guard
        assert bool(guard)
        guard.release()

    run(loop, scenario)
    guard = RWLock().read()
    assert guard.acquire() is guard
    guard.release()
