"""Actors: one script, played on any runtime.

An actor makes one request of a lock on the runtime of its *stage* (a plain thread, a loop of asyncio, a run of trio),
keeps the hold and then obeys orders from the test's thread, which waits for each answer. Its name is that of its
thread or task, so that ``statistics()`` tells by name who holds and who waits.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import ExitStack
from queue import SimpleQueue
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias

import anyio
import pytest
import trio
import trio.testing

from rwlocks import DeadlockError, LockTimeout, Mode, ReadGuard, RWLock, UpgradableGuard, Upgrade, WriteGuard
from rwlocks.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import TracebackType
    from typing import Any, Self

    from rwlocks import LockStatistics

__all__ = [
    "MIXED",
    "STAGES",
    "Actor",
    "AnyGuard",
    "AsyncioStage",
    "Crew",
    "EagerStage",
    "JumpingClock",
    "LoopStage",
    "Outcome",
    "TrioStage",
    "Way",
    "guard_for",
]

PATIENCE_OF_TESTS: Final = 15.0  # seconds until a test gives a runtime up
LATER: Final = 3600.0  # seconds that a request may wait, unless the clock jumps
JUMP: Final = 2 * LATER

Way: TypeAlias = Literal["cancel", "timeout"]
Outcome: TypeAlias = Literal["granted", "cancelled", "timed out", "refused"]
AnyGuard: TypeAlias = ReadGuard | UpgradableGuard | WriteGuard
Order: TypeAlias = "tuple[Callable[[], LockStatistics], Future[LockStatistics]] | Upgrade"


def guard_for(lock: RWLock, mode: Mode, timeout: float | None = None) -> AnyGuard:
    if mode is Mode.READ:
        return lock.read(timeout)
    return lock.write(timeout) if mode is Mode.WRITE else lock.upgradable(timeout)


class JumpingClock(ManualClock):
    """The monotonic clock, which can be put forward: time goes by, and a timeout runs out when the test says so."""

    def __call__(self) -> float:
        return time.monotonic() + super().__call__()


class Actor:
    """One request, then one hold, which may ask to be upgraded. All methods are for the test's thread."""

    ways: tuple[Way, ...]
    """How its request can be ended from outside."""

    def __init__(self, name: str, lock: RWLock, mode: Mode, timeout: float | None = None) -> None:
        self.name = name
        self.lock = lock
        self.guard = guard_for(lock, mode, timeout)
        self.outcome: Future[tuple[Outcome, LockStatistics]] = Future()

    def ended(self, outcome: Outcome) -> LockStatistics:
        """Wait until the request, or else the upgrade, has ended so; what the actor saw of the lock right then."""
        how, statistics = self.outcome.result(PATIENCE_OF_TESTS)
        assert how == outcome, f"{self.name} was {how}, not {outcome}"
        return statistics

    def release(self) -> LockStatistics:
        """Let the actor release, and leave; what it saw of the lock when `release` had returned."""
        return self._order(self._release)

    def downgrade(self) -> LockStatistics:
        return self._order(self._downgrade)

    def upgrade(self, timeout: float | None = None) -> None:
        """Let the actor ask to become the writer; how that ends is its next outcome."""
        assert not isinstance(self.guard, WriteGuard)
        self.outcome = Future()
        self.post(self.guard.upgrade(timeout))

    def withdraw(self, way: Way) -> LockStatistics:
        """End the request, or the upgrade, from outside; what the actor saw of the lock when its wait had raised."""
        raise NotImplementedError

    def post(self, order: Order) -> None:
        raise NotImplementedError

    def _order(self, what: Callable[[], LockStatistics]) -> LockStatistics:
        answer: Future[LockStatistics] = Future()
        self.post((what, answer))
        return answer.result(PATIENCE_OF_TESTS)

    def _release(self) -> LockStatistics:
        self.guard.release()
        return self.lock.statistics()

    def _downgrade(self) -> LockStatistics:
        assert not isinstance(self.guard, ReadGuard)
        self.guard.downgrade()
        return self.lock.statistics()

    def _report(self, outcome: Outcome) -> None:
        self.outcome.set_result((outcome, self.lock.statistics()))

    def _obey(self, order: tuple[Callable[[], LockStatistics], Future[LockStatistics]]) -> bool:
        """Whether the actor still holds the lock afterwards."""
        what, answer = order
        try:
            answer.set_result(what())
        except BaseException as error:
            answer.set_exception(error)
            raise
        return self.guard.held


class ThreadActor(Actor):
    """Lives in a thread of its own."""

    ways = ("timeout",)

    def __init__(self, name: str, lock: RWLock, mode: Mode, timeout: float | None, clock: JumpingClock) -> None:
        super().__init__(name, lock, mode, timeout)
        self._clock = clock
        self._orders: SimpleQueue[Order] = SimpleQueue()
        self.thread = threading.Thread(target=self._live, name=name, daemon=True)
        self.thread.start()

    def post(self, order: Order) -> None:
        self._orders.put(order)

    def withdraw(self, way: Way) -> LockStatistics:
        assert way == "timeout", "nothing cancels a thread"
        if not isinstance(self.lock, RWLock):
            pytest.skip("time in shared memory cannot be put forward")
        self._clock.advance(JUMP)
        return self.ended("timed out")

    def _live(self) -> None:
        try:
            self.guard.acquire()
        except LockTimeout:
            self._report("timed out")
            return
        except BaseException as error:
            self.outcome.set_exception(error)
            raise
        self._report("granted")
        holds = True
        while holds:
            order = self._orders.get(timeout=PATIENCE_OF_TESTS)
            if isinstance(order, Upgrade):
                self._become_writer(order)
            else:
                holds = self._obey(order)

    def _become_writer(self, upgrade: Upgrade) -> None:
        try:
            upgrade.acquire()
        except LockTimeout:
            self._report("timed out")
        except DeadlockError:
            self._report("refused")
        else:
            self._report("granted")


class TaskActor(Actor):
    """Lives in a task of a loop. Whatever is its own is touched in the loop's thread alone."""

    def __init__(self, name: str, lock: RWLock, mode: Mode, timeout: float | None, stage: LoopStage) -> None:
        super().__init__(name, lock, mode, timeout)
        self._stage = stage
        self.ways = stage.ways
        self._orders: deque[Order] = deque()
        self._bell: anyio.Event | None = None
        self.cancel: Callable[[], object] | None = None
        stage.start(self.live, name, self._on_start)

    def _on_start(self, cancel: Callable[[], object]) -> None:
        self.cancel = cancel

    def post(self, order: Order) -> None:
        self._stage.soon(lambda: self._hear(order))

    def withdraw(self, way: Way) -> LockStatistics:
        if way == "timeout":
            self._stage.jump(JUMP)
            return self.ended("timed out")
        assert self.cancel is not None
        self._stage.soon(self.cancel)
        return self.ended("cancelled")

    async def live(self) -> None:
        try:
            await self.guard
        except LockTimeout:
            self._report("timed out")
            return
        except (asyncio.CancelledError, trio.Cancelled):
            self._report("cancelled")
            raise
        except BaseException as error:
            self.outcome.set_exception(error)
            raise
        self._report("granted")
        holds = True
        while holds:
            order = await self._next_order()
            if isinstance(order, Upgrade):
                await self._become_writer(order)
            else:
                holds = self._obey(order)

    async def _become_writer(self, upgrade: Upgrade) -> None:
        """Cancelled by a scope of its own, so that the actor lives on."""
        outcome: Outcome = "cancelled"
        with anyio.CancelScope() as scope:
            self.cancel = scope.cancel
            try:
                await upgrade
            except LockTimeout:
                outcome = "timed out"
            except DeadlockError:
                outcome = "refused"
            else:
                outcome = "granted"
        self._report(outcome)

    def _hear(self, order: Order) -> None:
        self._orders.append(order)
        if self._bell is not None:
            self._bell.set()

    async def _next_order(self) -> Order:
        while not self._orders:
            self._bell = anyio.Event()
            await self._bell.wait()
        return self._orders.popleft()


class Stage:
    """Where actors live. Leaving it waits until they have left, and raises what they have raised."""

    ways: ClassVar[tuple[Way, ...]]
    """How a request can be ended from outside here."""
    backend: ClassVar[str] = "auto"
    """What a lock is made with that is to be waited for here alone."""

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(self, *_: object) -> None:
        raise NotImplementedError

    def enter(self, name: str, lock: RWLock, mode: Mode, timeout: float | None, clock: JumpingClock) -> Actor:
        raise NotImplementedError


class ThreadStage(Stage):
    """A plain thread per actor."""

    ways = ("timeout",)

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_OF_TESTS)
            assert not thread.is_alive(), f"{thread.name} is stuck"

    def enter(self, name: str, lock: RWLock, mode: Mode, timeout: float | None, clock: JumpingClock) -> Actor:
        actor = ThreadActor(name, lock, mode, timeout, clock)
        self._threads.append(actor.thread)
        return actor


class LoopStage(Stage):
    """An event loop in a thread of its own. Everything but `_start` and `_main` may be called from any thread."""

    ways: ClassVar[tuple[Way, ...]] = ("cancel", "timeout")

    def __init__(self) -> None:
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._play, name=type(self).__name__, daemon=True)
        self.errors: list[BaseException] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(PATIENCE_OF_TESTS)
        return self

    def __exit__(self, *_: object) -> None:
        self.soon(self._end)
        self._thread.join(PATIENCE_OF_TESTS)
        assert not self._thread.is_alive(), f"tasks of {type(self).__name__} are stuck"
        for error in self.errors:
            raise error

    def enter(self, name: str, lock: RWLock, mode: Mode, timeout: float | None, clock: JumpingClock) -> Actor:
        return TaskActor(name, lock, mode, timeout, self)

    def start(
        self,
        body: Callable[[], Coroutine[Any, Any, None]],
        name: str,
        on_start: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        """Start a task from any thread; ``on_start`` is given what cancels it, to be called in the loop."""
        self.soon(lambda: self._start(body, name, on_start))

    def soon(self, callback: Callable[[], object]) -> None:
        """Run the callback in the loop; callable from any thread."""
        raise NotImplementedError

    def jump(self, seconds: float) -> None:
        """Put the loop's clock forward."""
        raise NotImplementedError

    def _play(self) -> None:
        raise NotImplementedError

    def _start(
        self,
        body: Callable[[], Coroutine[Any, Any, None]],
        name: str,
        on_start: Callable[[Callable[[], object]], object] | None,
    ) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


class JumpingLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, with a clock that can be put forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class AsyncioStage(LoopStage):
    """A loop of asyncio, with tasks that start lazily."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._done: asyncio.Event

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return JumpingLoop()

    def new_task(self, body: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._loop.create_task(body, name=name)

    def soon(self, callback: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(callback)

    def jump(self, seconds: float) -> None:
        self.soon(lambda: self._put_forward(seconds))

    def _put_forward(self, seconds: float) -> None:
        assert isinstance(self._loop, JumpingLoop)
        self._loop.ahead += seconds

    def _play(self) -> None:
        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._ready.set_result(None)
        await self._done.wait()
        if self._tasks:
            await asyncio.wait(self._tasks)
        # The callbacks of the last tasks are still to come.
        await asyncio.sleep(0)

    def _start(
        self,
        body: Callable[[], Coroutine[Any, Any, None]],
        name: str,
        on_start: Callable[[Callable[[], object]], object] | None,
    ) -> None:
        task = self.new_task(body(), name)
        if on_start is not None:
            on_start(task.cancel)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    def _end(self) -> None:
        self._done.set()


class EagerStage(AsyncioStage):
    """A loop of asyncio whose tasks run their first step at once, inside ``create_task``."""

    def new_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_loop()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    def new_task(self, body: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if sys.version_info >= (3, 12):
            # Not by `create_task`, which gives the name when the first step is over.
            task = asyncio.Task(body, loop=self._loop, name=name, eager_start=True)
        else:
            task = super().new_task(body, name)
        return task


class AnyioStage(AsyncioStage):
    """A loop of asyncio whose tasks wait by way of anyio."""

    backend = "anyio"


class UvloopStage(AsyncioStage):
    """uvloop. Its clock is libuv's and cannot be moved."""

    ways = ("cancel",)

    def new_loop(self) -> asyncio.AbstractEventLoop:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop


class TrioStage(LoopStage):
    """A run of trio."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = trio.testing.MockClock(rate=1.0)
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery
        self._done: trio.Event

    def soon(self, callback: Callable[[], object]) -> None:
        self._token.run_sync_soon(callback)

    def jump(self, seconds: float) -> None:
        self.soon(lambda: self._clock.jump(seconds))

    def _play(self) -> None:
        trio.run(self._main, clock=self._clock)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._done = trio.Event()
        async with trio.open_nursery() as self._nursery:
            self._ready.set_result(None)
            await self._done.wait()

    def _start(
        self,
        body: Callable[[], Coroutine[Any, Any, None]],
        name: str,
        on_start: Callable[[Callable[[], object]], object] | None,
    ) -> None:
        scope = trio.CancelScope()
        if on_start is not None:
            on_start(scope.cancel)
        self._nursery.start_soon(self._within, scope, body, name=name)

    async def _within(self, scope: trio.CancelScope, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with scope:
            try:
                await body()
            except Exception as error:  # noqa: BLE001 - raised when the stage is left; the other tasks go on
                self.errors.append(error)

    def _end(self) -> None:
        self._done.set()


def _stages() -> Iterator[tuple[str, type[Stage]]]:
    yield "threads", ThreadStage
    yield "asyncio", AsyncioStage
    yield "asyncio-anyio", AnyioStage
    if sys.version_info >= (3, 12):
        yield "asyncio-eager", EagerStage
    if importlib.util.find_spec("uvloop") is not None:
        yield "uvloop", UvloopStage
    yield "trio", TrioStage


STAGES: Final = dict(_stages())
MIXED: Final[tuple[type[Stage], ...]] = (ThreadStage, AsyncioStage, TrioStage, AsyncioStage)


class Crew:
    """Actors by name, spread over stages in turn, on one lock."""

    def __init__(self, *stages: type[Stage]) -> None:
        self._stages = [stage() for stage in stages]
        self._open = ExitStack()
        self._clock = JumpingClock()
        self.actors: dict[str, Actor] = {}

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for stage in self._stages:
                opening.enter_context(stage)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        if exc_type is not None:
            self._send_home()
        self._open.__exit__(exc_type, exc_value, traceback)

    def drive(self, lock: RWLock) -> None:
        """Let the timeouts of this crew's threads follow a clock that can jump."""
        self._clock.drives(lock)

    def enter(self, name: str, lock: RWLock, mode: Mode, *, may_time_out: bool = False) -> Actor:
        """A new actor makes its request; on which stage depends on how many were there before it."""
        stage = self._stages[len(self.actors) % len(self._stages)]
        actor = stage.enter(name, lock, mode, LATER if may_time_out else None, self._clock)
        self.actors[name] = actor
        return actor

    def _send_home(self) -> None:
        """After a failure: end every hold, so that the actors who wait get theirs and can be sent home, too."""
        left = list(self.actors.values())
        deadline = time.monotonic() + PATIENCE_OF_TESTS
        while left and time.monotonic() < deadline:
            for actor in [each for each in left if each.outcome.done()]:
                left.remove(actor)
                if actor.guard.held:
                    actor.release()
            time.sleep(0.001)
