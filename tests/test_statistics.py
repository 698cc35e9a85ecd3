"""`statistics()`: one consistent snapshot, exact counts, and a cost per waiter that does not grow."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
import trio
from _waits import LOOPS, POLICIES, Parked, holds, later, lock_on, request, run, until

from rwlocks import AbandonedHoldWarning, Fifo, LockTimeout, Mode, RWLock
from rwlocks.policies import policy_named
from rwlocks.testing import ManualClock, wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from _waits import AnyGuard

    from rwlocks._types import PolicyName

MODES: Final = tuple(Mode)
SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging
FEW: Final = 1_000
MANY: Final = 10_000


def test_a_new_lock_has_done_nothing() -> None:
    seen = RWLock().statistics()
    assert seen.mode is None
    assert (seen.readers, seen.upgradables, seen.writers) == (0, 0, 0)
    assert (seen.waiting_readers, seen.waiting_upgradables, seen.waiting_writers, seen.pending_upgrades) == (0, 0, 0, 0)
    assert (seen.holders, seen.waiters) == ((), ())
    assert (seen.acquisitions, seen.contended, seen.timeouts, seen.cancellations) == (0, 0, 0, 0)
    assert seen.longest_wait == 0.0


@pytest.mark.parametrize("loop", LOOPS)
def test_holders_and_waiters_are_counted_by_mode_and_listed_in_order(loop: str) -> None:
    async def scenario() -> None:
        lock = lock_on(loop, "fifo")
        first = (await lock.read()).detach()
        second = (await lock.upgradable()).detach()
        third = (await lock.read()).detach()
        seen = lock.statistics()
        assert seen.mode is Mode.UPGRADABLE
        assert (seen.readers, seen.upgradables, seen.writers) == (2, 1, 0)
        assert [holder.mode for holder in seen.holders] == [Mode.READ, Mode.UPGRADABLE, Mode.READ]
        parked = [Parked(request(lock, mode)) for mode in (Mode.WRITE, Mode.READ, Mode.UPGRADABLE, Mode.READ)]
        seen = lock.statistics()
        assert (seen.waiting_readers, seen.waiting_upgradables, seen.waiting_writers) == (2, 1, 1)
        assert [waiter.mode for waiter in seen.waiters] == [Mode.WRITE, Mode.READ, Mode.UPGRADABLE, Mode.READ]
        assert seen.contended == 4
        for one in parked:
            one.close()
        for guard in (first, second, third):
            guard.release()
        seen = lock.statistics()
        assert (seen.mode, seen.holders, seen.waiters) == (None, (), ())
        assert (seen.acquisitions, seen.contended, seen.cancellations) == (3, 4, 4)

    run(loop, scenario)


def test_owners_are_called_what_their_users_call_them() -> None:
    lock = RWLock()
    names: list[str] = []
    idents: list[int] = []

    def in_thread() -> None:
        with lock.read():
            names.append(lock.statistics().holders[-1].owner)
            idents.append(lock.statistics().holders[-1].thread)

    thread = threading.Thread(target=in_thread, name="a thread")
    thread.start()
    ident = thread.ident
    thread.join()

    async def in_task() -> None:
        async with lock.read():
            names.append(lock.statistics().holders[-1].owner)

    async def on_asyncio() -> None:
        await asyncio.create_task(in_task(), name="a task of asyncio")

    async def on_trio() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_task, name="a task of trio")

    asyncio.run(on_asyncio())
    trio.run(on_trio)
    assert names == ["a thread", "a task of asyncio", "a task of trio"]
    assert idents == [ident]


def test_waiters_have_names_too() -> None:
    lock = RWLock(Fifo(patience=0))
    holder = lock.write().acquire().detach()
    threads = [threading.Thread(target=in_and_out, args=(lock,), name=f"number {number}") for number in range(3)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        wait_until_parked(lock, number)
    seen = lock.statistics()
    assert [waiter.owner for waiter in seen.waiters] == ["number 0", "number 1", "number 2"]
    assert [waiter.thread for waiter in seen.waiters] == [thread.ident for thread in threads]
    assert all(waiter.spent and not waiter.poked and not waiter.granted for waiter in seen.waiters)
    holder.release()
    for thread in threads:
        thread.join(SOON)
    assert lock.locked() is None


def in_and_out(lock: RWLock) -> None:
    with lock.write(SOON):
        pass


def test_the_name_of_an_owner_that_has_ended_says_so() -> None:
    lock = RWLock()

    guards = [lock.read(), lock.read()]

    async def scenario() -> None:
        await asyncio.create_task(guards[0]._acquire_async(), name="gone")
        gc.collect()

    asyncio.run(scenario())
    thread = threading.Thread(target=guards[1].acquire, name="also gone")
    thread.start()
    thread.join()
    gc.collect()
    owners = [holder.owner for holder in lock.statistics().holders]
    assert owners == ["a task that has ended", f"thread {thread.ident} (ended)"]
    for guard in guards:
        guard.release()


def test_ages_count_from_the_grant_and_from_the_first_request() -> None:
    clock, lock = ManualClock(100.0), RWLock(Fifo(patience=0))
    clock.drives(lock)
    holder = lock.write().acquire().detach()
    with ThreadPoolExecutor(2) as pool:
        reader, writer = lock.read(), lock.write()
        reading = pool.submit(reader.acquire)
        wait_until_parked(lock, 1)
        clock.advance(3)
        writing = pool.submit(writer.acquire)
        wait_until_parked(lock, 2)
        clock.advance(2)
        seen = lock.statistics()
        assert [waiter.age for waiter in seen.waiters] == [5, 2]
        assert [held.age for held in seen.holders] == [5], "a lower bound: nobody had read a clock before"
        holder.release()
        clock.advance(4)
        assert [held.age for held in lock.statistics().holders] == [4]
        reading.result(30).release()
        writing.result(30).release()
    seen = lock.statistics()
    assert 6 <= seen.longest_wait <= 9, "from the request until the waiter runs again"
    assert seen.contended == 2


def test_the_age_of_a_hold_that_met_no_contention_is_a_lower_bound() -> None:
    """No clock is read on the fast path: its age counts from the first time that anybody asked."""
    clock, lock = ManualClock(), RWLock()
    clock.drives(lock)
    with lock.write():
        clock.advance(10)
        assert lock.statistics().holders[0].age == 0
        clock.advance(3)
        assert lock.statistics().holders[0].age == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_grant_is_visible_when_the_release_returns(loop: str, policy: PolicyName, mode: Mode) -> None:
    """Before its waiter wakes, and marked as granted until then."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.write()).detach()
        guard = request(lock, mode)
        parked = Parked(guard)
        holder.release()
        assert holds(guard)
        assert guard.mode is mode
        (held,) = lock.statistics().holders
        assert held.granted
        assert held.mode is mode
        assert lock.locked() is mode
        assert lock.statistics().waiters == ()
        parked.close()
        assert not holds(guard)
        async with request(lock, mode):
            assert not lock.statistics().holders[0].granted

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_grant_to_a_thread_is_visible_when_the_release_returns(policy: PolicyName) -> None:
    lock = RWLock(type(policy_named(policy))(patience=0))
    holder, guard = lock.write().acquire().detach(), lock.write()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(guard.acquire, SOON)
        wait_until_parked(lock, 1)
        holder.release()
        assert guard.held
        writing.result(30).release()


def test_a_young_writer_is_poked_and_shows_it() -> None:
    """The lock is free, the writer on its way to it."""

    async def scenario() -> None:
        lock = RWLock(Fifo(patience=3600))
        holder = (await lock.write()).detach()
        guard = lock.write()
        waiting = asyncio.create_task(guard._acquire_async())
        await wait_until_parked(lock, 1)
        (waiter,) = lock.statistics().waiters
        assert not waiter.poked
        assert not waiter.spent
        holder.release()
        (waiter,) = lock.statistics().waiters
        assert waiter.poked
        assert lock.locked() is None
        (await waiting).release()

    asyncio.run(scenario())


def test_totals_count_each_request_once() -> None:
    lock = RWLock()
    with lock.write(), ThreadPoolExecutor(1) as pool:
        for timeout in (0, -1, 0.001):
            with pytest.raises(LockTimeout):
                pool.submit(lock.read().acquire, timeout).result(30)
        assert pool.submit(lock.read().try_acquire).result(30) is False
    seen = lock.statistics()
    assert (seen.acquisitions, seen.contended, seen.timeouts, seen.cancellations) == (1, 1, 3, 0)


def test_a_snapshot_does_not_change() -> None:
    lock = RWLock()
    with lock.read():
        seen = lock.statistics()
    assert seen.readers == len(seen.holders) == 1
    with pytest.raises(AttributeError):
        cast("Any", seen).readers = 2


def test_snapshots_are_consistent_while_everything_moves() -> None:
    lock = RWLock("phase-fair")
    stop = threading.Event()

    def work(seed: int) -> None:
        random = Random(seed)
        while not stop.is_set():
            with request(lock, random.choice(MODES)):
                pass

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, seed) for seed in range(4)]
        for _ in range(500):
            seen = lock.statistics()
            modes = [holder.mode for holder in seen.holders]
            assert seen.readers == modes.count(Mode.READ)
            assert seen.upgradables == modes.count(Mode.UPGRADABLE) <= 1
            assert seen.writers == modes.count(Mode.WRITE) <= 1
            assert not seen.writers or len(modes) == 1
            waiting = [waiter.mode for waiter in seen.waiters]
            assert seen.waiting_readers == waiting.count(Mode.READ)
            assert seen.waiting_writers == waiting.count(Mode.WRITE)
            assert seen.waiting_upgradables == waiting.count(Mode.UPGRADABLE)
            assert seen.mode is max(modes, key=MODES.index, default=None)
        stop.set()
        for future in working:
            future.result(30)


@pytest.mark.parametrize("mode", MODES)
def test_a_hold_does_not_keep_its_guard_alive(mode: Mode) -> None:
    lock = RWLock()
    guard = request(lock, mode).acquire()
    alive = weakref.ref(guard)
    with pytest.warns(AbandonedHoldWarning, match="was dropped"):
        del guard
    assert alive() is None, "and no collector is needed for that"
    assert lock.locked() is mode, "the hold itself is not given up in silence"


def test_a_waiter_that_got_the_lock_leaves_no_cycle() -> None:
    async def scenario() -> None:
        lock = RWLock()
        holder = (await lock.write()).detach()
        guard = lock.write()
        waiting = asyncio.create_task(guard._acquire_async())
        await wait_until_parked(lock, 1)
        holder.release()
        (await waiting).release()
        alive = weakref.ref(guard), weakref.ref(lock), weakref.ref(waiting)
        del guard, lock, waiting, holder
        await asyncio.sleep(0)
        assert [reference() for reference in alive] == [None, None, None]

    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


def wait_in_a_thread(lock: RWLock, guard: AnyGuard, then: Callable[[], object]) -> None:
    """Not in an executor, whose futures and their exceptions know each other."""

    def wait() -> None:
        with suppress(LockTimeout), guard:
            pass

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until_parked(lock, 1)
    then()
    thread.join()


async def enter(guard: AnyGuard) -> None:
    with suppress(LockTimeout):
        async with guard:
            pass


def wait_in_asyncio(lock: RWLock, guard: AnyGuard, then: Callable[[], object], *, cancelled: bool = False) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(enter(guard))
        await wait_until_parked(lock, 1)
        if cancelled:
            task.cancel()
        then()
        await asyncio.wait([task])

    asyncio.run(scenario())


def wait_in_trio(lock: RWLock, guard: AnyGuard, then: Callable[[], object], *, cancelled: bool = False) -> None:
    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter, guard)
            await wait_until_parked(lock, 1)
            if cancelled:
                nursery.cancel_scope.cancel()
            then()

    trio.run(scenario)


WAYS: Final[dict[str, Callable[[RWLock, AnyGuard, Callable[[], object]], None]]] = {
    "threads": wait_in_a_thread,
    "asyncio": wait_in_asyncio,
    "asyncio, cancelled": partial(wait_in_asyncio, cancelled=True),
    "trio": wait_in_trio,
    "trio, cancelled": partial(wait_in_trio, cancelled=True),
}


@pytest.mark.parametrize("ends", ["granted", "too late"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_no_wait_leaves_anything_of_ours_to_the_collector(way: str, mode: Mode, ends: str) -> None:
    """Many servers run without the collector, or freeze what they have."""

    def once() -> None:
        lock = RWLock()
        holder = lock.write().acquire().detach()
        if ends == "granted":
            WAYS[way](lock, request(lock, mode), holder.release)
        else:
            WAYS[way](lock, request(lock, mode, timeout=0.01), lambda: None)
            holder.release()

    once()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        once()
        gc.collect()
        ours = [each for each in gc.garbage if type(each).__module__.partition(".")[0] == "rwlocks"]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert ours == []


# -- how many steps of the queue a waiter costs --------------------------------------------------------------------


async def withdraw_in_random_order(lock: RWLock, count: int) -> None:
    holder = (await lock.write()).detach()
    random = Random(count)
    modes = random.choices(MODES, k=count)
    tasks = [asyncio.create_task(request(lock, mode)._acquire_async()) for mode in modes]
    await until(lambda: lock._core.monitor.engine.contended == count)
    random.shuffle(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert lock.statistics().cancellations == count
    holder.release()


async def read_all_at_once(lock: RWLock, count: int) -> None:
    holder = (await lock.write()).detach()
    guards = [lock.read() for _ in range(count)]
    tasks = [asyncio.create_task(guard._acquire_async()) for guard in guards]
    await until(lambda: lock._core.monitor.engine.contended == count)
    holder.release()
    assert lock.statistics().readers == count
    await asyncio.wait(tasks)
    for guard in guards:
        guard.release()


async def write_one_by_one(lock: RWLock, count: int) -> None:
    holder = (await lock.write()).detach()

    async def write() -> None:
        async with lock.write():
            pass

    tasks = [asyncio.create_task(write()) for _ in range(count)]
    await until(lambda: lock._core.monitor.engine.contended == count)
    holder.release()
    await asyncio.wait(tasks)


@pytest.mark.parametrize("work", [withdraw_in_random_order, read_all_at_once, write_one_by_one])
@pytest.mark.parametrize("policy", ["fifo", *later(POLICIES, besides="fifo")])
def test_the_steps_of_the_queue_per_waiter_do_not_grow(
    policy: PolicyName, work: Callable[[RWLock, int], Coroutine[Any, Any, None]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Counted in moves along the links of the queue, as times depend on the machine."""
    per_waiter: dict[int, float] = {}
    for count in (FEW, MANY):
        lock = RWLock(policy)
        started = time.perf_counter()
        asyncio.run(work(lock, count))
        seconds = time.perf_counter() - started
        assert lock.statistics().waiters == ()
        assert lock.locked() is None
        per_waiter[count] = lock._core.monitor.engine.steps() / count
        cost = f"{per_waiter[count]:.1f} steps and {seconds / count * 1e6:.0f} us for each of {count}"
        with capsys.disabled():
            sys.stdout.write(f"\n{policy}, {work.__name__}: {cost}\n")
    assert per_waiter[MANY] <= per_waiter[FEW] * 1.01
    assert per_waiter[FEW] <= 8
