"""A loop that was closed with a grant in flight, or with a waiter parked, holds up nobody."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
import trio
import uvloop
from _waits import POLICIES, holds, request

from rwlocks import Fifo, Mode, RWLock
from rwlocks import _runtimes as runtimes
from rwlocks.policies import policy_named
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from _waits import AnyGuard

    from rwlocks._types import PolicyName

MODES: Final = tuple(Mode)
SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging
NEW_LOOP: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop),
}
KINDS: Final = tuple(NEW_LOOP)


class Doomed:
    """A loop that runs by hand, and whose tasks stay referenced, so that closing it destroys none of them."""

    def __init__(self, kind: str) -> None:
        self.loop = NEW_LOOP[kind]()
        self.stops_late = kind == "uvloop"
        self.tasks: list[asyncio.Task[Any]] = []

    def park(self, *guards: AnyGuard) -> None:
        for guard in guards:
            self.tasks.append(self.loop.create_task(guard._acquire_async()))
        self.turn()

    def turn(self, what: Callable[[], object] | None = None) -> None:
        """One iteration, or a few: what was ready is run, then this, and nothing of what it makes ready."""

        def last() -> None:
            self.loop.stop()
            if what is None:
                return
            if self.stops_late:  # uvloop goes on for one more iteration
                self.loop.call_soon(what)
            else:
                what()

        self.loop.call_soon(last)
        self.loop.run_forever()

    def close(self) -> None:
        self.loop.close()


@contextmanager
def doomed(kind: str) -> Generator[Doomed]:
    loop = Doomed(kind)
    try:
        yield loop
    finally:
        loop.close()
        for task in loop.tasks:
            if not task.done():
                cast("Any", task)._log_destroy_pending = False
                cast("Coroutine[Any, Any, Any]", task.get_coro()).close()


def strict(policy: PolicyName) -> RWLock:
    """Threads are handed the lock as tasks are, so that a test can look right after the event."""
    return RWLock(type(policy_named(policy))(patience=0))


@pytest.mark.parametrize("from_within", [True, False], ids=["from the loop", "from another thread"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_grant_in_flight_goes_on_to_whoever_is_parked_behind_it(
    kind: str, policy: PolicyName, mode: Mode, from_within: bool
) -> None:
    lock = strict(policy)
    with doomed(kind) as loop, ThreadPoolExecutor(1) as pool:
        holder = lock.write().acquire().detach()
        lost, behind = request(lock, mode), lock.write()
        loop.park(lost)
        following = pool.submit(behind.acquire, SOON)
        wait_until_parked(lock, 2)
        if from_within:
            loop.turn(holder.release)
        else:
            holder.release()  # the loop accepts the news, and never runs again
        if not lost.held:
            assert policy == "writer-pref"
            assert mode is not Mode.WRITE
            behind.release()
        loop.close()
        assert not lost.held
        if following.result(30).held:
            behind.release()
        assert lock.locked() is None
        assert lock.statistics().waiters == ()
        lock._core.monitor.engine.check_invariants()


@pytest.mark.parametrize("kind", KINDS)
def test_a_grant_to_many_readers_of_one_closed_loop_goes_on_to_the_writer(kind: str) -> None:
    lock = strict("fifo")
    with doomed(kind) as loop, ThreadPoolExecutor(1) as pool:
        holder = lock.write().acquire().detach()
        readers = [lock.read() for _ in range(5)]
        loop.park(*readers)
        writing = pool.submit(lock.write().acquire, SOON)
        wait_until_parked(lock, 6)
        loop.turn(holder.release)
        assert lock.statistics().readers == 5
        loop.close()
        writing.result(30).release()
        assert lock.statistics().acquisitions == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_grant_crosses_any_number_of_closed_loops(kind: str) -> None:
    """Each loop is closed with the grant in flight that the one before it had passed on."""
    lock = strict("fifo")
    with doomed(kind) as first, doomed(kind) as second, doomed(kind) as third, ThreadPoolExecutor(1) as pool:
        holder = lock.write().acquire().detach()
        guards = [lock.write() for _ in range(3)]
        loops = [first, second, third]
        for loop, guard in zip(loops, guards, strict=True):
            loop.park(guard)
        reading = pool.submit(lock.read().acquire, SOON)
        wait_until_parked(lock, 4)
        holder.release()
        for loop, guard in zip(loops, guards, strict=True):
            assert guard.held
            loop.close()
            assert not guard.held
        reading.result(30).release()
        assert lock.locked() is None


@pytest.mark.parametrize("kind", KINDS)
def test_two_requests_of_one_closed_loop_are_both_passed_over(kind: str) -> None:
    lock = strict("fifo")
    with doomed(kind) as loop, ThreadPoolExecutor(1) as pool:
        holder = lock.write().acquire().detach()
        loop.park(lock.write(), lock.write(), lock.read())
        reading = pool.submit(lock.read().acquire, SOON)
        wait_until_parked(lock, 4)
        loop.turn(holder.release)
        loop.close()
        reading.result(30).release()
        assert lock.statistics().waiters == ()


@pytest.mark.parametrize("awake_by", ["timeout", "cancellation"])
@pytest.mark.parametrize("backend", ["asyncio", "anyio"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_grant_to_a_task_that_is_awake_already_is_not_lost_with_its_loop(
    kind: str, backend: str, awake_by: str
) -> None:
    """Its timeout or cancellation wakes it, the grant comes, and the loop is closed before it has run."""
    lock = RWLock(Fifo(patience=0), backend=backend)
    with doomed(kind) as loop:
        holder, lost, behind = lock.write(), lock.write(timeout=60), lock.write()
        assert holder.try_acquire()
        loop.park(lost)
        ticket = lost.ticket
        assert ticket is not None
        with doomed(kind) as other:
            other.park(behind)

            def wake_then_grant() -> None:
                if awake_by == "timeout":
                    cast("Any", ticket.waiter)._ring()
                else:
                    loop.tasks[0].cancel()
                holder.release()

            loop.turn(wake_then_grant)
            assert holds(lost)
            loop.close()
            assert not holds(lost)
            other.loop.run_until_complete(other.tasks[0])
            assert behind.held
            behind.release()
    assert lock.locked() is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_poke_in_flight_goes_on_too(kind: str) -> None:
    """A young writer is only poked: the lock is free, and nobody behind it may sleep on."""
    lock = RWLock(Fifo(patience=3600))
    with doomed(kind) as loop, ThreadPoolExecutor(1) as pool:
        holder = lock.write().acquire().detach()
        loop.park(lock.write())
        writing = pool.submit(lock.write().acquire, SOON)
        wait_until_parked(lock, 2)
        loop.turn(holder.release)
        assert lock.locked() is None
        assert lock.statistics().waiters[0].poked
        loop.close()
        writing.result(30).release()
        assert lock.statistics().waiters == ()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_next_closure_drops_the_parked_waiter_of_a_closed_loop(kind: str, policy: PolicyName, mode: Mode) -> None:
    lock = strict(policy)
    with doomed(kind) as loop:
        holder = lock.write().acquire().detach()
        loop.park(request(lock, mode))
        loop.close()
        holder.release()
        assert lock.locked() is None
        assert lock.statistics().waiters == ()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_next_request_drops_the_parked_writer_of_a_closed_loop(kind: str, policy: PolicyName) -> None:
    lock = strict(policy)
    with doomed(kind) as loop:
        with lock.read():
            loop.park(lock.write())
            loop.close()
            reader = lock.read()
            assert reader.try_acquire(), "nobody is left to wait behind"
            reader.release()
        assert lock.locked() is None


def test_the_task_of_a_loop_that_is_closed_under_it_is_told() -> None:
    """Should the loop be closed by force and the task driven on all the same, it learns that it has no lock."""
    lock = RWLock()
    loop = asyncio.new_event_loop()
    holder = lock.write().acquire().detach()
    guard = lock.write()

    coroutine = guard._acquire_async()

    async def park() -> Any:
        return coroutine.send(None)

    awaited = loop.run_until_complete(park())
    assert asyncio.isfuture(awaited)
    loop.close()
    holder.release()
    assert lock.statistics().waiters == ()
    awaited._asyncio_future_blocking = False  # as a task does that takes it for what it waits for
    with pytest.raises(RuntimeError, match="loop was closed"):
        coroutine.send(None)
    assert lock.locked() is None
    assert not guard.held


module_level: Final = RWLock(name="module level")


async def _contend_on_the_module_level() -> None:
    holder = await module_level.write()
    reading = asyncio.create_task(module_level.read()._acquire_async())
    await wait_until_parked(module_level, 1)
    holder.release()
    (await reading).release()


def test_one_lock_serves_two_runs_of_asyncio_one_of_trio_and_one_of_uvloop() -> None:
    asyncio.run(_contend_on_the_module_level())
    asyncio.run(_contend_on_the_module_level())

    async def on_trio() -> None:
        async with trio.open_nursery() as nursery:
            holder = await module_level.write()
            reader = module_level.read()
            nursery.start_soon(reader._acquire_async)
            await wait_until_parked(module_level, 1)
            holder.release()
        reader.release()

    trio.run(on_trio)
    with asyncio.Runner(loop_factory=NEW_LOOP["uvloop"]) as runner:
        runner.run(_contend_on_the_module_level())
    with module_level.write():
        pass
    assert module_level.statistics().contended == 4
    assert module_level.locked() is None


def test_a_hold_may_be_taken_in_one_run_and_released_in_the_next() -> None:
    lock = RWLock()

    async def take() -> AnyGuard:
        return await lock.write()

    async def give(guard: AnyGuard) -> None:
        guard.release()

    asyncio.run(give(asyncio.run(take())))
    assert lock.locked() is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
@pytest.mark.parametrize("policy", POLICIES)
def test_eager_tasks_wait_and_are_woken_like_others(policy: PolicyName) -> None:
    lock = RWLock(policy)

    async def scenario() -> None:
        factory = cast("Any", asyncio).eager_task_factory
        asyncio.get_running_loop().set_task_factory(factory)
        uncontended = asyncio.create_task(lock.read()._acquire_async(), name="at once")
        assert uncontended.done(), "it needed no turn of the loop"
        assert lock.statistics().holders[0].owner == "at once"
        writer = lock.write()
        writing = asyncio.create_task(writer._acquire_async(), name="eager")
        assert [waiter.owner for waiter in lock.statistics().waiters] == ["eager"]
        doomed_one = asyncio.create_task(lock.write()._acquire_async())
        doomed_one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed_one
        (await uncontended).release()
        assert writer.held
        (await writing).release()

    asyncio.run(scenario())
    assert lock.locked() is None
    assert runtimes.running() is None
