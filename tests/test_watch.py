"""`watch` and `acquirable`: to be told when a mode can be had, without taking part."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from _waits import LOOPS, POLICIES, Parked, lock_on, run, until

from rwlocks import Fifo, GuardStateError, Mode, RWLock, Watch
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from rwlocks._types import PolicyName

MODES: Final = tuple(Mode)
SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging


def is_set(watch: Watch) -> bool:
    return watch.is_set()


def watchers(lock: RWLock) -> int:
    return len(lock._core.monitor.watchers)


def wait_until_asleep(watch: Watch, n: int) -> None:
    while len(watch._sleepers) < n:
        threading.Event().wait(0.0005)


@pytest.mark.parametrize("mode", MODES)
def test_it_is_set_on_entry_if_the_mode_can_be_had_and_then_costs_nothing(mode: Mode) -> None:
    lock = RWLock()
    with lock.watch(mode) as watch:
        assert is_set(watch)
        assert watch.wait(0)
        assert watchers(lock) == 0
        with lock.write():
            assert is_set(watch), "the lock never clears it"
        assert watchers(lock) == 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mode", MODES)
def test_it_is_set_whenever_the_mode_can_be_had_again(policy: PolicyName, mode: Mode) -> None:
    lock = RWLock(policy)
    guard = lock.write().acquire()
    with lock.watch(mode) as watch:
        for _ in range(3):
            assert not is_set(watch)
            assert not watch.wait(0)
            assert not lock.acquirable(mode)
            assert watchers(lock) == 1
            guard.release()
            assert is_set(watch)
            assert lock.acquirable(mode)
            assert watchers(lock) == 0
            watch.clear()
            assert not is_set(watch), "it could be had all the time"
            guard.acquire()
    assert watchers(lock) == 0
    guard.release()


def test_each_change_is_noticed() -> None:
    lock = RWLock(Fifo(patience=0))
    with lock.upgradable() as guard:
        with lock.watch(Mode.READ) as watch:
            watch.clear()
            with guard.upgrade():
                assert not is_set(watch)
            assert is_set(watch)
        with lock.watch(Mode.UPGRADABLE) as watch:
            assert not is_set(watch)
            guard.downgrade()
            assert is_set(watch)
    with lock.write() as writer, lock.watch(Mode.READ) as watch:
        assert not is_set(watch)
        writer.downgrade()
        assert is_set(watch)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_withdrawn_writer_is_noticed(loop: str) -> None:
    async def scenario() -> None:
        lock = lock_on(loop)
        holder = (await lock.read()).detach()
        parked = Parked(lock.write())
        async with lock.watch(Mode.READ) as watch:
            assert not is_set(watch)
            assert not lock.acquirable(Mode.READ)
            parked.close()
            await watch
            assert is_set(watch)
        holder.release()

    run(loop, scenario)


def test_a_writer_whose_loop_was_closed_holds_up_no_watch() -> None:
    lock = RWLock(Fifo(patience=0))
    holder = lock.read().acquire()
    loop = asyncio.new_event_loop()

    async def wait() -> None:
        await lock.write()

    task: Any = loop.create_task(wait())
    loop.call_soon(loop.stop)
    loop.run_forever()
    wait_until_parked(lock, 1)
    assert not lock.acquirable(Mode.READ)
    loop.close()
    assert lock.acquirable(Mode.READ)
    with lock.watch(Mode.READ) as watch:
        assert is_set(watch)
    holder.release()
    task.get_coro().close()
    task._log_destroy_pending = False


def test_threads_and_tasks_wait_for_one_watch() -> None:
    lock = RWLock()
    guard = lock.write().acquire()

    async def wait(watch: Watch) -> None:
        await watch

    with lock.watch(Mode.READ) as watch, ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(watch.wait), pool.submit(watch.wait, SOON)]
        tasks = [pool.submit(asyncio.run, wait(watch)), pool.submit(trio.run, wait, watch)]
        wait_until_asleep(watch, 4)
        guard.release()
        assert [future.result(SOON) for future in threads] == [True, True]
        for future in tasks:
            future.result(SOON)
        assert not watch._sleepers


def test_nobody_is_woken_for_nothing() -> None:
    """Releases and grants that do not make the mode available ring no bell, and one that does rings each once."""
    lock = RWLock()
    first, second = lock.read().acquire(), lock.read().acquire()
    rings: list[int] = []

    class Bell:
        def wake(self) -> bool:
            rings.append(1)
            return True

        def lost(self) -> bool:
            return False

    with lock.watch(Mode.WRITE) as watch:
        watch._sleepers.add(Bell())
        for _ in range(10):
            with lock.reader:
                pass
        first.release()
        assert not rings
        second.release()
        assert rings == [1]
        for _ in range(10):
            lock.write().acquire().release()
        assert rings == [1], "it is set already"
        watch._sleepers.clear()


def test_a_wait_ends_when_the_block_is_left() -> None:
    lock = RWLock()
    guard = lock.write().acquire()
    with ThreadPoolExecutor(1) as pool:
        with lock.watch(Mode.READ) as watch:
            waiting = pool.submit(watch.wait)
            wait_until_asleep(watch, 1)
        with pytest.raises(GuardStateError, match="nobody watches"):
            waiting.result(SOON)
    with pytest.raises(GuardStateError):
        lock.watch(Mode.READ).wait()
    with lock.watch(Mode.READ) as watch, pytest.raises(GuardStateError, match="entered already"):
        watch.__enter__()
    guard.release()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancelled_wait_leaves_nothing(loop: str) -> None:
    async def scenario() -> None:
        import anyio

        lock = lock_on(loop)
        guard = (await lock.write()).detach()
        async with lock.watch(Mode.READ) as watch:

            async def wait() -> None:
                await watch

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await until(lambda: len(watch._sleepers) == 1)
                group.cancel_scope.cancel()
            assert not watch._sleepers
        assert watchers(lock) == 0
        guard.release()

    run(loop, scenario)


def test_what_is_released_by_an_interruption_is_noticed_in_every_section() -> None:
    lock = RWLock()
    guard = lock.write().acquire()
    usual = lock._core.monitor.clock

    def clock() -> float:
        if guard.held:
            guard.release()
        return usual()

    with lock.watch(Mode.WRITE) as watch:
        assert not is_set(watch)
        lock._core.monitor.clock = clock
        lock.statistics()
        assert is_set(watch)
    assert lock.locked() is None


def test_a_try_follows_what_acquirable_says_for_nested_requests() -> None:
    lock = RWLock(reentrant=True)
    with lock.write():
        assert all(lock.acquirable(mode) for mode in MODES)
        with ThreadPoolExecutor(1) as pool:
            assert not any(pool.submit(lock.acquirable, mode).result(SOON) for mode in MODES)
