"""What is particular to the compiled variant: holds that the engine has not heard of; and when plain Python runs.

That both variants behave alike is shown by the rest of the suite, which runs over each of them.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from rwlocks import AbandonedHoldWarning, LockEvent, Mode, RWLock, _variant, set_observer
from rwlocks._core import LockCore
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from rwlocks import ReadGuard, UpgradableGuard, WriteGuard

    AnyGuard = ReadGuard | UpgradableGuard | WriteGuard

compiled_only = pytest.mark.skipif(_variant.plain_because is not None, reason="there is no gate in plain Python")
WAYS = [Mode.READ, Mode.UPGRADABLE, Mode.WRITE]


def guard_of(lock: RWLock, mode: Mode) -> AnyGuard:
    if mode is Mode.READ:
        return lock.read()
    return lock.write() if mode is Mode.WRITE else lock.upgradable()


def holders(lock: RWLock) -> int:
    """How many the engine knows of, without a look through the mutex, which would tell it of all."""
    return len(lock._core.monitor.engine.held())


@compiled_only
@pytest.mark.parametrize("mode", WAYS)
def test_an_undisputed_hold_stands_at_the_gate_until_somebody_looks(mode: Mode) -> None:
    lock = RWLock()
    with guard_of(lock, mode) as guard:
        assert holders(lock) == 0
        assert (guard.held, guard.mode) == (True, mode)
        assert f"held for {mode.value}" in repr(lock)
        assert holders(lock) == 0, "what a guard and a repr say needs no mutex"
        (holder,) = lock.statistics().holders
        assert (holder.mode, holder.thread) == (mode, threading.get_ident())
        assert holders(lock) == 1
    assert lock.locked() is None
    assert lock.statistics().acquisitions == 1


@pytest.mark.parametrize("mode", WAYS)
def test_a_hold_that_somebody_has_looked_at_is_released_by_any_thread(mode: Mode) -> None:
    lock = RWLock()
    guard = guard_of(lock, mode).acquire()
    assert guard.held
    assert guard.mode is mode
    with ThreadPoolExecutor(1) as pool:
        pool.submit(guard.release).result(30)
    assert lock.locked() is None


@compiled_only
@pytest.mark.parametrize("timeout", [None, 0, 5, 0.5, float("inf"), -1])
def test_a_timeout_costs_nothing_where_nobody_waits(timeout: float | None) -> None:
    lock = RWLock()
    with lock.read(timeout):
        guards = lock.read().acquire(timeout), lock.read().acquire(timeout=timeout)
        assert holders(lock) == 0
    for guard in guards:
        guard.release()


@compiled_only
def test_a_guard_that_had_to_wait_takes_the_fast_path_again() -> None:
    lock = RWLock()
    guard, holder = lock.write(), lock.write().acquire().detach()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(guard.acquire)
        wait_until_parked(lock, 1)
        holder.release()
        waiting.result(30).release()
    with guard:
        assert holders(lock) == 0


@pytest.mark.parametrize("mode", WAYS)
def test_a_dropped_guard_of_an_undisputed_hold_warns_and_keeps_the_lock(mode: Mode) -> None:
    lock = RWLock()
    with pytest.warns(AbandonedHoldWarning):
        guard_of(lock, mode).acquire()
    (holder,) = lock.statistics().holders
    assert (holder.mode, holder.abandoned) == (mode, True)
    lock.forget(holder)
    assert lock.locked() is None


def test_a_dropped_guard_in_a_circle_of_references_warns_when_it_is_collected() -> None:
    lock = RWLock()
    circle: list[Any] = [lock.write().acquire()]
    circle.append(circle)
    del circle
    with pytest.warns(AbandonedHoldWarning):
        gc.collect()
    lock.forget(lock.statistics().holders[0])


def test_an_observer_hears_of_the_release_of_a_hold_that_is_older_than_itself() -> None:
    lock, heard = RWLock(), list[LockEvent]()
    with lock.read():
        set_observer(heard.append)
    try:
        with lock.write():
            pass
    finally:
        set_observer(None)
    assert [(event.kind, event.mode) for event in heard] == [
        ("release", Mode.READ),
        ("grant", Mode.WRITE),
        ("release", Mode.WRITE),
    ]


def test_a_watcher_is_told_when_an_undisputed_hold_ends() -> None:
    lock = RWLock()
    guard = lock.write().acquire()
    with lock.watch(Mode.READ) as watch:
        assert not watch.is_set()
        guard.release()
        assert watch.is_set()


def test_the_owner_of_an_undisputed_hold_is_its_task() -> None:
    lock = RWLock()

    async def hold() -> None:
        async with lock.read() as guard:
            assert guard.held
            assert lock.statistics().holders[0].owner == "the task"
        with lock.write():
            assert lock.statistics().holders[0].owner == "the task"

    async def main() -> None:
        await asyncio.create_task(hold(), name="the task")

    asyncio.run(main())


def test_an_undisputed_hold_of_another_thread_ends_with_a_fork() -> None:
    lock = RWLock()
    held, end = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.write():
            held.set()
            end.wait(30)

    with ThreadPoolExecutor(1) as pool, lock_is_kept_from_waiting(end):
        pool.submit(hold)
        held.wait(30)
        child = os.fork()
        if not child:
            with lock.read() as guard:
                os._exit(0 if guard.recovered else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class lock_is_kept_from_waiting:  # noqa: N801  read as a clause
    """Lets the thread go, whatever happens in the block."""

    def __init__(self, end: threading.Event) -> None:
        self._end = end

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._end.set()


def plain(code: str, **environment: str) -> str:
    """What a program of its own says of why plain Python runs."""
    program = f"{code}\nimport rwlocks\nwith rwlocks.RWLock().read(): print(rwlocks._variant.plain_because)"
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


@pytest.mark.parametrize("variable", ["RWLOCKS_CORE=py", "RWLOCKS_NO_NATIVE=1"])
def test_the_environment_can_ask_for_plain_python(variable: str) -> None:
    name, _, value = variable.partition("=")
    assert "asks for plain Python; unset it" in plain("", **{"RWLOCKS_CORE": "", name: value})


def test_patched_threads_are_none_that_compiled_code_could_know() -> None:
    patched = "import threading\nclass local: pass\nthreading.local = local"
    assert "threading was patched" in plain(patched, RWLOCKS_CORE="")


@compiled_only
def test_another_interpreter_of_the_process_runs_plain_python() -> None:
    module = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    interpreters = pytest.importorskip(module)
    other = interpreters.create()
    try:
        failure = interpreters.run_string(
            other,
            f"import sys\nsys.path[:] = {sys.path}\n"  # the package that is tested, not one that lies in this folder
            "import rwlocks\n"
            "assert 'serves the main interpreter only' in rwlocks._variant.plain_because\n"
            "with rwlocks.RWLock().write(): pass",
        )
        assert failure is None, failure
    finally:
        interpreters.destroy(other)


def test_the_signature_of_the_class_is_that_of_its_constructor() -> None:
    assert list(inspect.signature(RWLock).parameters) == ["policy", "name", "reentrant", "checkpoint", "backend"]


@compiled_only
def test_a_lock_that_nobody_fights_for_has_neither_mutex_nor_engine() -> None:
    lock = RWLock()
    with lock.read(), lock.read(timeout=5):
        assert not lock.write().held
    assert lock.policy.name == "fifo"
    assert not any(isinstance(part, LockCore) for part in gc.get_referents(lock))
    assert lock.statistics().acquisitions == 2
    assert [type(part) for part in gc.get_referents(lock) if isinstance(part, LockCore)] == [LockCore]


def test_all_who_look_first_at_the_same_time_see_the_same_lock() -> None:
    for _ in range(200):
        lock = RWLock()
        guard = lock.write().acquire()
        together = threading.Barrier(4)

        def look(lock: RWLock = lock, together: threading.Barrier = together) -> tuple[object, bool]:
            together.wait(30)
            return lock._core, lock.read().try_acquire()

        with ThreadPoolExecutor(4) as pool:
            seen = [each.result(30) for each in [pool.submit(look) for _ in range(4)]]
        assert seen == [(lock._core, False)] * 4
        guard.release()
        assert lock.locked() is None


def test_news_under_way_may_outlive_their_lock() -> None:
    lock = RWLock()
    guard = lock.write().acquire()
    core, mutex = lock._core, lock._core.monitor.mutex
    guard.release()
    del lock, guard
    gc.collect()
    assert core.lock() is None
    with mutex:
        assert core.monitor.engine.locked() is None


@compiled_only
def test_a_lock_is_initialised_once() -> None:
    lock = RWLock()
    with pytest.raises(RuntimeError, match="initialised before; make another one"):
        lock.__init__()
    raw = RWLock.__new__(type(lock))
    for use in (raw.read, raw.locked):
        with pytest.raises(RuntimeError, match="never initialised; call its __init__"):
            use()
