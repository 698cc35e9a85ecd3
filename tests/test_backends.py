"""The built-in backends keep the contract, the contract catches who does not, and strangers can register."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import math
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import pytest
import trio
from _programs import ENVIRONMENT

from rwlocks import LockTimeout, RWLock, _runtimes
from rwlocks.backends import _anyio as anyio_backend
from rwlocks.backends import _asyncio as asyncio_backend
from rwlocks.backends import _threads as threads_backend
from rwlocks.testing import _contract, wait_until_parked
from rwlocks.testing._contract import AsyncBackendContract, SyncBackendContract

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from rwlocks import AsyncBackend
    from rwlocks._ports import AsyncWaiter
    from rwlocks.testing._contract import SteppedLoop

T = TypeVar("T")

UNTIL_STUCK: Final = 15.0  # seconds

has_uvloop = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")


# -- the contract --------------------------------------------------------------------------------------------------


class TestThreads(SyncBackendContract):
    backend = threads_backend.BACKEND


class SteppedAsyncio:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: list[asyncio.Task[object]] = []

    def start(self, main: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._tasks.append(self._loop.create_task(main()))

    def run_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + UNTIL_STUCK
        while not reached():
            assert time.monotonic() < deadline, "what the loop was to do did not happen"
            self._loop.run_until_complete(asyncio.sleep(0.0005))

    def run_last(self, callback: Callable[[], object]) -> None:
        def last() -> None:
            callback()
            raise SystemExit  # ends the loop at once; `stop` would go on with what is ready

        self._loop.call_soon(last)
        with pytest.raises(SystemExit):
            self._loop.run_forever()

    def close(self) -> None:
        self._loop.close()


class TestAsyncio(AsyncBackendContract):
    backend: ClassVar[AsyncBackend] = asyncio_backend.BACKEND

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop()

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(main())

    def timers(self) -> int:
        timers: list[asyncio.TimerHandle] = getattr(asyncio.get_running_loop(), "_scheduled", [])
        return sum(not timer.cancelled() for timer in timers)

    def stepped_loop(self) -> SteppedLoop | None:
        return SteppedAsyncio(self.new_loop())


class TestAsyncioCancelledNatively(TestAsyncio):
    async def cancel(self, body: Callable[[], Coroutine[Any, Any, object]], *, once: Callable[[], bool]) -> bool:
        task = asyncio.create_task(body())
        while not once():  # noqa: ASYNC110 - any condition will do
            await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        return task.cancelled()


class TestEagerAsyncio(TestAsyncio):
    def new_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_loop()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop


@has_uvloop
class TestUvloop(TestAsyncio):
    def new_loop(self) -> asyncio.AbstractEventLoop:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop


class TestAnyioOnAsyncio(TestAsyncio):
    backend = anyio_backend.BACKEND


@has_uvloop
class TestAnyioOnUvloop(TestUvloop):
    backend = anyio_backend.BACKEND


class TestTrio(AsyncBackendContract):
    backend = anyio_backend.BACKEND

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return trio.run(main)

    def timers(self) -> int:
        return int(math.isfinite(trio.lowlevel.current_statistics().seconds_to_next_deadline))


# -- who breaks it is caught ---------------------------------------------------------------------------------------


class ToyWaiter:
    def __init__(self) -> None:
        self._bell = threading.Event()

    def lost(self) -> bool:
        return False

    def wake(self) -> bool:
        self._bell.set()
        return True

    def park(self, timeout: float | None) -> None:
        self._bell.wait(timeout if timeout is None else min(timeout, threading.TIMEOUT_MAX))
        self._bell.clear()


class ToyBackend:
    """What a stranger might write for a runtime of threads."""

    name = "toy"
    patience = 0.0
    waiters = 0

    def new_sync_waiter(self, undelivered: Callable[[], None]) -> ToyWaiter:
        self.waiters += 1
        return ToyWaiter()


class TestToy(SyncBackendContract):
    backend = ToyBackend()


class Spinning(ToyWaiter):
    def park(self, timeout: float | None) -> None:
        time.sleep(0)


class Touchy(ToyWaiter):
    def wake(self) -> bool:
        if self._bell.is_set():
            raise RuntimeError("it was rung already")
        return super().wake()


class Deaf(ToyWaiter):
    def park(self, timeout: float | None) -> None:
        self._bell.clear()
        super().park(2.0 if timeout is None else timeout)


class Overflowing(ToyWaiter):
    def park(self, timeout: float | None) -> None:
        self._bell.wait(timeout)


class Forgetful(ToyWaiter):
    def wake(self) -> bool:
        super().wake()
        return False


@pytest.mark.parametrize(
    ("waiter", "caught_by"),
    [
        (Spinning, "test_a_park_uses_a_wake_up"),
        (Touchy, "test_many_wakes_are_as_good_as_one"),
        (Deaf, "test_a_wake_before_the_park_ends_it"),
        (Overflowing, "test_a_long_timeout_is_a_timeout"),
        (Forgetful, "test_a_wake_before_the_park_ends_it"),
    ],
)
def test_the_contract_catches_a_bad_backend_of_threads(
    waiter: type[ToyWaiter], caught_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bad(ToyBackend):
        def new_sync_waiter(self, undelivered: Callable[[], None]) -> ToyWaiter:
            return waiter()

    class Contract(SyncBackendContract):
        backend = Bad()

    monkeypatch.setattr(_contract, "FOR_EVER", 0.5)
    with pytest.raises((AssertionError, RuntimeError, OverflowError)):
        getattr(Contract(), caught_by)()


class FutureWaiter:
    """A correct waiter of asyncio, as the port asks for it, to be spoilt."""

    def __init__(self, undelivered: Callable[[], None]) -> None:
        self.undelivered = undelivered
        self._loop = asyncio.get_running_loop()
        self._bell = asyncio.Event()

    def lost(self) -> bool:
        return self._loop.is_closed()

    def wake(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._bell.set)
        except RuntimeError:
            return False
        return True

    async def park(self, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._bell.wait()
        except TimeoutError:
            pass
        self._bell.clear()


class LeavesTimers(FutureWaiter):
    async def park(self, timeout: float | None) -> None:
        if timeout is not None:
            self._loop.call_later(timeout, self._bell.set)
        await super().park(None)


class SaysNothing(FutureWaiter):
    """Has no way of telling that an accepted wake-up was dropped."""


class ClaimsDelivery(FutureWaiter):
    def wake(self) -> bool:
        super().wake()
        return True


class SwallowsCancellation(FutureWaiter):
    async def park(self, timeout: float | None) -> None:
        try:
            await super().park(timeout)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            raise RuntimeError("interrupted") from None


class CriesWolf(FutureWaiter):
    async def park(self, timeout: float | None) -> None:
        await super().park(timeout)
        self.undelivered()


class NeverLost(FutureWaiter):
    def lost(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("waiter", "caught_by"),
    [
        (LeavesTimers, "test_a_cancellation_ends_the_sleep_and_leaves_nothing"),
        (LeavesTimers, "test_a_wake_after_the_timeout_counts_for_the_next_park"),
        (SaysNothing, "test_a_wake_up_on_its_way_into_a_closing_loop_is_returned"),
        (SaysNothing, "test_a_wake_up_that_was_heard_but_not_followed_is_returned"),
        (ClaimsDelivery, "test_a_wake_after_the_end_of_the_loop_says_so"),
        (SwallowsCancellation, "test_a_cancellation_ends_the_sleep_and_leaves_nothing"),
        (CriesWolf, "test_a_wake_from_another_task_ends_it"),
        (NeverLost, "test_a_loop_closed_under_its_sleeper_loses_it"),
    ],
)
def test_the_contract_catches_a_bad_backend_of_asyncio(waiter: type[FutureWaiter], caught_by: str) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        getattr(contract_for(waiter), caught_by)()


@pytest.mark.parametrize("name", [name for name in vars(AsyncBackendContract) if name.startswith("test_a_park")])
def test_the_one_that_is_spoilt_was_good_before(name: str) -> None:
    getattr(contract_for(FutureWaiter), name)()


def contract_for(waiter: type[FutureWaiter]) -> AsyncBackendContract:
    class Bad(OneTask):
        def new_async_waiter(self, undelivered: Callable[[], None]) -> AsyncWaiter:
            return waiter(undelivered)

    class Contract(TestAsyncioCancelledNatively):
        backend = Bad()

    return Contract()


class OneTask:
    """asyncio's backend by other means, for `contract_for` to override."""

    name = "toy-loop"
    patience = 0.0
    checkpoints = False

    def running(self) -> bool:
        return asyncio_backend.BACKEND.running()

    def current_task(self) -> object | None:
        return asyncio_backend.BACKEND.current_task()

    def task_name(self, task: object) -> str | None:
        return asyncio_backend.BACKEND.task_name(task)

    def loop_runs_here(self) -> bool:
        return asyncio_backend.BACKEND.loop_runs_here()

    def has_ended(self, task: object) -> bool:
        return asyncio_backend.BACKEND.has_ended(task)

    def clock(self) -> float:
        return asyncio_backend.BACKEND.clock()

    def new_async_waiter(self, undelivered: Callable[[], None]) -> AsyncWaiter:
        return asyncio_backend.BACKEND.new_async_waiter(undelivered)

    async def check_cancelled(self) -> None:
        await asyncio_backend.BACKEND.check_cancelled()

    async def yield_once(self) -> None:
        await asyncio_backend.BACKEND.yield_once()


# -- registration --------------------------------------------------------------------------------------------------

TOY_MODULE: Final = """
import threading


class Waiter:
    def __init__(self):
        self.bell = threading.Event()

    def lost(self):
        return False

    def wake(self):
        self.bell.set()
        return True

    def park(self, timeout):
        self.bell.wait(timeout)
        self.bell.clear()


class Backend:
    name = "stranger"
    patience = 0.0
    made = 0

    def new_sync_waiter(self, undelivered):
        self.made += 1
        return Waiter()


BACKEND = Backend()
"""

METADATA: Final = "Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n"
ENTRY_POINTS: Final = """
[rwlocks.backends]
stranger = strangers_backend:BACKEND
nonsense = strangers_backend:TOO_MUCH
"""


@pytest.fixture
def unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_later(monkeypatch)


def forget_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test registers is forgotten afterwards."""
    monkeypatch.setattr(_runtimes, "_loaded", dict(_runtimes._loaded))
    monkeypatch.setattr(_runtimes, "_with_tasks", _runtimes._with_tasks)


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with a backend of its own."""
    forget_later(monkeypatch)
    info = tmp_path / "strangers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    (tmp_path / "strangers_backend.py").write_text(TOY_MODULE + "TOO_MUCH = 42\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "strangers_backend", raising=False)


def hand_over(lock: RWLock) -> None:
    """Make a thread wait for the lock, and let it in."""
    guard = lock.write()
    assert guard.try_acquire()
    entered = threading.Event()

    def wait() -> None:
        with lock.read():
            entered.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    wait_until_parked(lock, 1)
    assert not entered.is_set()
    guard.release()
    assert entered.wait(UNTIL_STUCK)
    thread.join(UNTIL_STUCK)


@pytest.mark.usefixtures("strangers")
def test_a_backend_registers_by_entry_point() -> None:
    lock = RWLock(backend="stranger")
    hand_over(lock)
    backend: Any = importlib.import_module("strangers_backend").BACKEND
    assert backend.made == 1


@pytest.mark.usefixtures("strangers")
def test_a_registered_name_is_among_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown backend 'strange'.*'auto', 'threading'.*'stranger'"):
        RWLock(backend="strange")


@pytest.mark.usefixtures("strangers")
def test_an_entry_point_that_is_no_backend_is_refused() -> None:
    with pytest.raises(TypeError, match=r"entry point 'nonsense'.*42"):
        RWLock(backend="nonsense")


@pytest.mark.usefixtures("unregistered")
def test_a_backend_can_be_given_as_an_object() -> None:
    backend = ToyBackend()
    hand_over(RWLock(backend=backend))
    assert backend.waiters == 1


@pytest.mark.usefixtures("unregistered")
def test_a_loop_backend_given_as_an_object_names_the_tasks() -> None:
    lock = RWLock(backend=OneTask())

    async def main() -> str:
        async with lock.write():
            return lock.statistics().holders[0].owner

    with asyncio.Runner() as runner:
        task_name = runner.run(named(main, "the one"))
    assert task_name == "the one"


async def named(body: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
    task = asyncio.current_task()
    assert task is not None
    task.set_name(name)
    return await body()


WITHOUT_ANYIO = """
import sys
sys.modules["anyio"] = None
import rwlocks
try:
    rwlocks.RWLock(backend="anyio")
except rwlocks.BackendUnavailable as error:
    print(error)
"""


def test_a_backend_whose_library_is_missing_says_what_to_install() -> None:
    program = [sys.executable, "-c", WITHOUT_ANYIO]
    done = subprocess.run(program, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=60)
    assert re.search("'anyio' needs 'anyio'.*pip install anyio", done.stdout)


# -- a lock for some runtimes only ---------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "anyio"])
@pytest.mark.parametrize("contended", [False, True])
def test_a_lock_of_a_loop_refuses_a_thread_that_may_wait(backend: str, contended: bool) -> None:
    lock = RWLock(backend=backend, name=backend)
    holder = lock.write()
    if contended:
        assert holder.try_acquire()
    before = lock.statistics().acquisitions
    for guard in (lock.read(), lock.write(), lock.upgradable(1)):
        with pytest.raises(RuntimeError, match=f"a thread may not wait for .*backend='{backend}'.*'auto'"):
            guard.acquire()
        with pytest.raises(RuntimeError, match="a thread may not wait"), guard:
            pass
        with pytest.raises(RuntimeError, match="a thread may not wait"):
            guard.acquire(timeout=0.1)
        assert not guard.held
    assert lock.statistics().acquisitions == before
    assert lock.statistics().waiters == ()
    if contended:
        holder.release()


@pytest.mark.parametrize("backend", ["asyncio", "anyio"])
def test_a_lock_of_a_loop_lets_a_thread_try(backend: str) -> None:
    lock = RWLock(backend=backend)
    for timeout in (0, -1):
        with lock.write(timeout), pytest.raises(LockTimeout):
            lock.read().acquire(timeout=timeout)
    guard = lock.write()
    assert guard.try_acquire()
    assert not lock.read().try_acquire()
    guard.release()


@pytest.mark.parametrize("contended", [False, True])
@pytest.mark.parametrize(("backend", "runtime"), [("threading", "asyncio"), ("threading", "trio"), ("asyncio", "trio")])
def test_a_lock_refuses_the_tasks_of_others(backend: str, runtime: str, contended: bool) -> None:
    lock = RWLock(backend=backend)
    holder = lock.write()
    if contended:
        assert holder.try_acquire()
    before = lock.statistics().acquisitions

    async def main() -> None:
        for guard in (lock.read(), lock.write(1)):
            with pytest.raises(RuntimeError, match=f"a task of .* may not wait for .*backend='{backend}'.*'auto'"):
                await guard
            with pytest.raises(RuntimeError, match="may not wait"):
                async with guard:
                    pass
            assert not guard.held

    run_on(runtime, main)
    assert lock.statistics().acquisitions == before
    assert lock.statistics().waiters == ()
    if contended:
        holder.release()


@pytest.mark.parametrize(("backend", "runtime"), [("threading", "asyncio"), ("threading", "trio"), ("asyncio", "trio")])
def test_a_lock_lets_the_tasks_of_others_try(backend: str, runtime: str) -> None:
    lock = RWLock(backend=backend)

    async def main() -> None:
        for timeout in (0, -1):
            async with lock.write(timeout):
                with pytest.raises(LockTimeout):
                    await lock.read(timeout)
        guard = lock.write()
        assert guard.try_acquire()
        assert not lock.read().try_acquire()
        guard.release()

    run_on(runtime, main)
    assert lock.locked() is None
    assert lock.statistics().timeouts == 2


@pytest.mark.parametrize(("backend", "runtime"), [("asyncio", "asyncio"), ("anyio", "asyncio"), ("anyio", "trio")])
def test_a_lock_takes_the_tasks_it_was_made_for(backend: str, runtime: str) -> None:
    lock = RWLock(backend=backend)

    async def main() -> None:
        async with lock.write():
            pass

    run_on(runtime, main)
    assert lock.statistics().acquisitions == 1


def run_on(runtime: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    if runtime == "trio":
        trio.run(main)
    else:
        with asyncio.Runner() as runner:
            runner.run(main())
