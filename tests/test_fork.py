"""What a fork leaves of an in-process lock: the forking thread's holds, and a lock that anybody can use at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from _waits import POLICIES, switching_all_the_time

from rwlocks import DeadlockError, Fifo, LockTimeout, Mode, NotHeldError, ReadGuard, RWLock, _fork
from rwlocks._engine import Engine
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks._types import PolicyName
    from rwlocks.policies import Policy

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging
HANGS: Final = 20  # seconds until a child is killed


def in_child(what: Callable[[], object]) -> None:
    """Run it in a forked child; fails when it raises there, or hangs."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(HANGS)
            what()
            code = 0
        except BaseException:  # noqa: BLE001 - the child must not go on as a second test run
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the child has failed or was killed: see standard error"


def is_usable(lock: RWLock) -> None:
    """By the forking thread and by new ones, with and without waiting."""
    assert lock.locked() is None
    assert lock.statistics().waiters == ()
    with lock.upgradable() as guard, guard.upgrade(), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock.read().acquire, SOON)
        wait_until_parked(lock, 1)
        guard.downgrade()
        waiting.result(SOON).release()
    assert lock.locked() is None
    lock._core.monitor.engine.check_invariants()


@pytest.mark.parametrize("policy", POLICIES)
def test_the_holds_of_the_forking_thread_survive(policy: PolicyName) -> None:
    lock = RWLock(policy)
    with lock.write() as guard:

        def child() -> None:
            assert guard.held
            assert lock.locked() is Mode.WRITE
            assert not guard.recovered
            with pytest.raises(DeadlockError):
                lock.read().acquire()
            guard.release()
            is_usable(lock)

        in_child(child)
        assert guard.held
    is_usable(lock)


@pytest.mark.parametrize("mode", ["read", "upgradable", "write"])
def test_the_holds_of_other_threads_are_gone_and_a_writer_leaves_the_lock_recovered(mode: str) -> None:
    lock = RWLock()
    with ThreadPoolExecutor(1) as pool:
        guard = pool.submit(getattr(lock, mode)().acquire).result(SOON)

        def child() -> None:
            fresh = lock.write()
            assert fresh.try_acquire()
            assert not guard.held
            assert fresh.recovered is (mode == "write")
            assert lock.recovered is (mode == "write")
            with pytest.raises(NotHeldError):
                guard.release()
            lock.mark_consistent()
            assert not fresh.recovered
            fresh.release()
            is_usable(lock)

        in_child(child)
        assert guard.held
        assert not guard.recovered
        guard.release()
    is_usable(lock)


def test_a_pending_upgrade_of_another_thread_is_gone_and_has_written_nothing() -> None:
    lock = RWLock()
    with ThreadPoolExecutor(1) as pool:
        reader = lock.read().acquire()
        guard = pool.submit(lock.upgradable().acquire).result(SOON)
        upgrading = pool.submit(guard.upgrade(SOON).acquire)
        wait_until_parked(lock, 1)

        def child() -> None:
            assert reader.held
            assert not lock.recovered
            assert lock.statistics().pending_upgrades == 0
            with reader.upgrade():
                assert lock.locked() is Mode.WRITE
            reader.release()
            is_usable(lock)

        in_child(child)
        reader.release()
        upgrading.result(SOON).release()
        guard.release()
    is_usable(lock)


def test_waiters_of_other_threads_are_gone() -> None:
    lock = RWLock(Fifo(patience=0))
    with ThreadPoolExecutor(3) as pool:
        holder = lock.read().acquire()
        waiting = [pool.submit(guard.acquire, SOON) for guard in (lock.write(), lock.upgradable())]
        wait_until_parked(lock, 2)

        def child() -> None:
            assert holder.held
            assert lock.statistics().waiters == ()
            assert lock.acquirable(Mode.READ)
            holder.release()
            is_usable(lock)

        in_child(child)
        holder.release()
        for future in waiting:
            future.result(SOON).release()
    is_usable(lock)


def test_tasks_of_the_loop_that_the_forking_thread_runs_keep_their_holds() -> None:
    lock = RWLock()

    async def other(held: asyncio.Event, end: asyncio.Event) -> None:
        async with lock.read():
            held.set()
            await end.wait()

    async def main() -> None:
        held, end = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(other(held, end))
        await held.wait()
        async with lock.read() as guard:
            in_child(lambda: child(guard.release))
        end.set()
        await task

    def child(release: Callable[[], None]) -> None:
        assert lock.statistics().readers == 2
        release()
        assert lock.statistics().readers == 1
        assert not lock.write().try_acquire()

    asyncio.run(main())
    is_usable(lock)


def test_the_current_task_of_trio_keeps_its_hold() -> None:
    lock = RWLock()

    async def main() -> None:
        async with lock.write() as guard:
            in_child(lambda: child(guard.release))

    def child(release: Callable[[], None]) -> None:
        assert lock.locked() is Mode.WRITE
        release()
        is_usable(lock)

    trio.run(main)
    is_usable(lock)


def test_views_hand_out_no_holds_of_threads_that_are_gone() -> None:
    lock = RWLock()
    with ThreadPoolExecutor(1) as pool:
        lock.reader.acquire()
        pool.submit(lock.reader.acquire).result(SOON)

        def child() -> None:
            lock.reader.release()
            assert lock.locked() is None
            with pytest.raises(NotHeldError):
                lock.reader.release()
            view: Any = lock.writer
            condition = threading.Condition(view)
            with condition:
                condition.notify_all()
            is_usable(lock)

        in_child(child)
        lock.reader.release()
        lock.reader.release()
    is_usable(lock)


def test_a_watch_of_the_forking_thread_learns_that_the_holder_is_gone() -> None:
    lock = RWLock()

    def child(wait: Callable[[float], bool]) -> None:
        assert wait(SOON)
        is_usable(lock)

    with ThreadPoolExecutor(1) as pool:
        guard = pool.submit(lock.write().acquire).result(SOON)
        with lock.watch(Mode.READ) as watch:
            in_child(lambda: child(watch.wait))
            assert not watch.is_set()
        guard.release()


def test_forks_in_forks() -> None:
    lock, untouched = RWLock(), RWLock()
    with lock.read() as guard, untouched.read() as other:

        def child() -> None:
            with ThreadPoolExecutor(1) as pool:
                foreign = pool.submit(lock.read().acquire).result(SOON)

                def grandchild() -> None:
                    assert lock.statistics().readers == untouched.statistics().readers == 1
                    assert guard.held
                    assert not foreign.held
                    guard.release()
                    other.release()
                    is_usable(lock)
                    is_usable(untouched)

                in_child(grandchild)
                foreign.release()

        in_child(child)


def test_a_fork_while_another_thread_is_inside_the_mutex() -> None:
    """In every section that it can be in, as far as the lock reads its clock there."""
    sections: list[Callable[[RWLock], object]] = [
        lambda lock: lock.write().acquire(timeout=0),
        lambda lock: lock.statistics(),
        lambda lock: lock.read().try_acquire(),
    ]
    for section in sections:
        lock = RWLock(Fifo(patience=0))
        inside, go = threading.Event(), threading.Event()
        parent = os.getpid()

        def clock(inside: threading.Event = inside, go: threading.Event = go, parent: int = parent) -> float:
            if os.getpid() == parent and threading.current_thread() is not threading.main_thread():
                inside.set()
                assert go.wait(SOON)
            return monotonic()

        with ThreadPoolExecutor(2) as pool:
            holder = lock.write().acquire()
            waiting = pool.submit(lock.write().acquire, SOON)
            wait_until_parked(lock, 1)
            lock._core.monitor.clock = clock
            busy = pool.submit(section, lock)
            assert inside.wait(SOON)

            def child(holder: Callable[[], None] = holder.release, lock: RWLock = lock) -> None:
                holder()
                is_usable(lock)

            in_child(child)
            go.set()
            try:
                busy.result(SOON)
            except LockTimeout:
                pass
            holder.release()
            waiting.result(SOON).release()


def release_and_use(guard: ReadGuard, lock: RWLock) -> None:
    guard.release()
    is_usable(lock)


@pytest.mark.parametrize("policy", POLICIES)
def test_forks_in_a_storm(policy: PolicyName) -> None:
    lock, stop = RWLock(policy), threading.Event()

    def work() -> int:
        rounds = 0
        while not stop.is_set():
            with lock.write():
                rounds += 1
            with lock.upgradable() as guard, guard.upgrade():
                lock.statistics()
            with lock.read():
                pass
        return rounds

    with switching_all_the_time(), ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work) for _ in range(3)]
        try:
            for n in range(20):
                if n % 2:
                    in_child(lambda: is_usable(lock))
                else:
                    with lock.read() as guard:
                        in_child(lambda: release_and_use(guard, lock))
        finally:
            stop.set()
        assert all(future.result(SOON) for future in working)
    is_usable(lock)


def test_what_interrupts_a_recovery_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finaliser that releases a guard in the midst of it finds a section under way, not a mutex of its own thread."""
    lock = RWLock()
    first, second = lock.read().acquire(), lock.read().acquire()

    def child() -> None:
        struck: list[bool] = []

        def engine(policy: Policy) -> Engine:
            struck.append(True)
            second.release()
            assert not second.held
            return Engine(policy)

        monkeypatch.setattr(_fork, "Engine", engine)
        assert lock.statistics().readers == 1
        assert struck
        first.release()
        is_usable(lock)

    in_child(child)
    first.release()
    second.release()


def test_guards_of_gone_threads_are_no_abandoned_holds_of_the_child(recwarn: pytest.WarningsRecorder) -> None:
    lock = RWLock()
    with ThreadPoolExecutor(1) as pool:
        guards = [pool.submit(lock.write().acquire).result(SOON)]

        def child() -> None:
            guards.clear()
            assert not [warning for warning in recwarn if "dropped" in str(warning.message)]
            is_usable(lock)

        in_child(child)
        guards.pop().release()
