"""A guard that is dropped while it holds: a warning, an error for whoever waits, and a way out."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import pytest
from _waits import LOOPS, POLICIES, lock_on, request, run

import rwlocks
from rwlocks import AbandonedHoldWarning, DeadlockError, Fifo, GuardStateError, Mode, NotHeldError, RWLock, _runtimes
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Generator

    from rwlocks._types import PolicyName

MODES: Final = tuple(Mode)
SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging
HERE: Final = Path(rwlocks.__file__).resolve().parents[1]


@contextmanager
def warned(number: int = 1) -> Generator[list[str]]:
    """The texts of the warnings that come inside."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
        gc.collect()
    assert all(warning.category is AbandonedHoldWarning for warning in caught)
    texts += [str(warning.message) for warning in caught]
    assert len(texts) == number


def drop(lock: RWLock, mode: Mode) -> None:
    with warned():
        request(lock, mode).acquire()


def forget_all(lock: RWLock) -> None:
    for holder in lock.statistics().holders:
        assert holder.abandoned
        lock.forget(holder)


@pytest.mark.parametrize("mode", MODES)
def test_it_is_not_released_and_the_warning_names_lock_mode_and_owner(mode: Mode) -> None:
    lock = RWLock(name="cache")
    with warned() as texts:
        request(lock, mode).acquire()
    assert "'cache'" in texts[0]
    assert mode.value in texts[0]
    assert threading.current_thread().name in texts[0]
    assert lock.locked() is mode
    (holder,) = lock.statistics().holders
    assert holder.abandoned
    lock.forget(holder)
    assert lock.locked() is None
    with pytest.raises(NotHeldError):
        lock.forget(holder)
    with lock.write():
        pass


@pytest.mark.parametrize("loop", LOOPS)
def test_a_task_that_ends_while_it_holds_blocks_nobody_for_ever(loop: str) -> None:
    async def scenario() -> None:
        import anyio

        lock = lock_on(loop)

        async def careless() -> None:
            guard = await lock.write()
            assert guard.held

        with warned():
            async with anyio.create_task_group() as group:
                group.start_soon(careless)
        assert [holder.abandoned for holder in lock.statistics().holders] == [True]
        for mode in MODES:
            with pytest.raises(DeadlockError, match="dropped"):
                await request(lock, mode)
        forget_all(lock)
        async with lock.write():
            pass

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mode", MODES)
def test_those_who_wait_already_are_told(policy: PolicyName, mode: Mode) -> None:
    lock = RWLock(policy)
    guards = [request(lock, mode).acquire()]
    blocked = [each for each in MODES if mode is Mode.WRITE or each is Mode.WRITE]
    with ThreadPoolExecutor(2 * len(blocked)) as pool:
        waiting = [pool.submit(request(lock, each).acquire) for each in 2 * blocked]
        wait_until_parked(lock, len(waiting))
        with warned():
            guards.clear()
        for future in waiting:
            with pytest.raises(DeadlockError, match="dropped") as raised:
                future.result(SOON)
            assert [holder.abandoned for holder in raised.value.holders] == [True]
    assert lock.statistics().waiters == ()
    forget_all(lock)
    assert lock.locked() is None


def test_readers_behind_a_writer_that_gives_up_come_in() -> None:
    lock = RWLock(Fifo(patience=0))
    guards = [lock.read().acquire()]
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lock.write().acquire)
        wait_until_parked(lock, 1)
        reading = pool.submit(lock.read().acquire)
        wait_until_parked(lock, 2)
        with warned():
            guards.clear()
        with pytest.raises(DeadlockError):
            writing.result(SOON)
        reading.result(SOON).release()
    forget_all(lock)


def test_a_pending_upgrade_that_waits_for_it_is_told_and_reverted() -> None:
    lock = RWLock()
    readers = [lock.read().acquire()]
    with ThreadPoolExecutor(1) as pool:
        guard = pool.submit(lock.upgradable().acquire).result(SOON)
        upgrading = pool.submit(guard.upgrade().acquire)
        wait_until_parked(lock, 1)
        with warned():
            readers.clear()
        with pytest.raises(DeadlockError, match="dropped"):
            upgrading.result(SOON)
        assert guard.mode is Mode.UPGRADABLE
        guard.release()
    forget_all(lock)
    assert lock.locked() is None


def test_a_nested_hold_that_was_dropped_is_told_once_it_stands_in_the_way() -> None:
    lock = RWLock(reentrant=True)
    outer = lock.write().acquire()
    drop(lock, Mode.READ)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock.write().acquire)
        wait_until_parked(lock, 1)
        outer.release()
        with pytest.raises(DeadlockError, match="dropped"):
            waiting.result(SOON)
    forget_all(lock)
    assert lock.locked() is None


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_finaliser_takes_no_lock(in_thread: bool) -> None:
    """It runs inside the mutex, of this thread and, worse, of another."""
    lock = RWLock()
    guards = [lock.read().acquire()]
    usual: Any = lock._core.monitor.clock

    def clock() -> float:
        if guards and lock._core.monitor.inside:
            if in_thread:
                other = threading.Thread(target=guards.clear)
                other.start()
                other.join(SOON)
                assert not other.is_alive(), "it waits for the mutex"
            else:
                guards.clear()
        return monotonic()

    with warned():
        lock._core.monitor.clock = clock
        lock.statistics()
    lock._core.monitor.clock = usual
    forget_all(lock)
    assert lock.locked() is None


def test_one_that_is_dropped_while_a_waiter_queues_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = RWLock()
    guards = [lock.read().acquire()]
    usual = _runtimes.loop_runs_here
    asking, dropped = threading.Event(), threading.Event()

    def loop_runs_here() -> bool:
        asking.set()  # when the request has been found not to be hopeless, and does not queue yet
        assert dropped.wait(SOON)
        return usual()

    monkeypatch.setattr(_runtimes, "loop_runs_here", loop_runs_here)
    with warned(), ThreadPoolExecutor(1) as pool:
        request = pool.submit(lock.write(timeout=SOON).acquire)
        assert asking.wait(SOON)
        guards.clear()  # By their maker: without the GIL a finaliser is left to that thread.
        dropped.set()
        with pytest.raises(DeadlockError, match="dropped"):
            request.result(2 * SOON)
    forget_all(lock)


def test_garbage_in_cycles_and_detached_guards_count_and_views_do_not() -> None:
    lock = RWLock()
    with warned(2):
        cycle: list[object] = [lock.read().acquire()]
        cycle.append(cycle)
        del cycle
        lock.read().acquire().detach()
    forget_all(lock)
    view: Any = RWLock()
    with warned(0):
        view.writer.acquire()
        del view


def test_a_live_hold_and_one_of_another_lock_cannot_be_forgotten() -> None:
    lock, other = RWLock(), RWLock()
    with lock.read() as guard:
        (holder,) = lock.statistics().holders
        with pytest.raises(GuardStateError, match="alive"):
            lock.forget(holder)
        assert guard.held
    drop(lock, Mode.WRITE)
    (holder,) = lock.statistics().holders
    with pytest.raises(NotHeldError, match="no hold of this lock"):
        other.forget(holder)
    assert lock.locked() is Mode.WRITE
    lock.forget(holder)


def test_a_hold_whose_thread_has_ended_can_be_forgotten_while_its_guard_lives() -> None:
    lock = RWLock()
    guard = lock.write()
    thread = threading.Thread(target=guard.acquire)
    thread.start()
    thread.join(SOON)
    (holder,) = lock.statistics().holders
    assert not holder.abandoned
    lock.forget(holder)
    assert not guard.held
    with pytest.raises(NotHeldError):
        guard.release()


def test_a_block_whose_detached_guard_was_released_elsewhere_is_left_in_peace() -> None:
    lock = RWLock()
    with lock.write() as guard, ThreadPoolExecutor(1) as pool:
        pool.submit(guard.detach().release).result(SOON)
        assert lock.locked() is None

    async def main() -> None:
        async with lock.write() as guard:
            guard.detach().release()

    asyncio.run(main())
    with pytest.raises(NotHeldError), guard:
        guard.release()


def run_script(script: str, *options: str) -> str:
    """What it writes to standard error."""
    program = f"import sys; sys.path.insert(0, {str(HERE)!r})\n{script}"
    child = subprocess.run(
        [sys.executable, *options, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert child.returncode == 0, child.stderr
    return child.stderr


def test_nothing_is_reported_while_the_interpreter_finalises() -> None:
    script = "from rwlocks import RWLock\nlock = RWLock()\nguard = lock.write().acquire()\nsys.keep = [guard, lock]\n"
    assert not run_script(script)
    assert not run_script("from rwlocks import RWLock\nguard = RWLock().read().acquire()\n")


def test_where_tracemalloc_runs_the_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "careless.py"
    path.write_text("from rwlocks import RWLock\nlock = RWLock()\n\n\nlock.write().acquire()\n", encoding="utf-8")
    seen = run_script(f"import runpy; runpy.run_path({str(path)!r})", "-X", "tracemalloc=5")
    assert "AbandonedHoldWarning" in seen
    assert f'File "{path}", lineno 5' in seen
