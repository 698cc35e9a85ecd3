"""Withdrawal is exact: the lock ends as if the request had never been made, and a grant that raced is passed on."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
import pytest
from _waits import (
    LOOPS,
    POLICIES,
    PURE_LOOPS,
    Parked,
    holds,
    jump,
    later,
    lock_on,
    request,
    run,
    switching_all_the_time,
    until,
)

from rwlocks import DeadlockError, Fifo, LockTimeout, Mode, RWLock
from rwlocks.policies import policy_named
from rwlocks.testing import ManualClock, wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks import WriteGuard
    from rwlocks._types import PolicyName

MODES: Final = tuple(Mode)


def state_of(lock: RWLock) -> tuple[object, ...]:
    """All that decides the future, and the total of acquisitions: a withdrawn request leaves no trace in them."""
    lock._core.monitor.engine.check_invariants()
    return (lock._core.monitor.engine.snapshot(), lock.statistics().acquisitions)


def close(request: Parked) -> None:
    request.close()


def lose(request: Parked) -> None:
    request.lose()
    gc.collect()


def interrupt(request: Parked) -> None:
    with pytest.raises(KeyboardInterrupt):
        request.coroutine.throw(KeyboardInterrupt())


def cancel(request: Parked) -> None:
    with pytest.raises(asyncio.CancelledError):
        request.coroutine.throw(asyncio.CancelledError())


def fail_in_a_handler(request: Parked) -> None:
    """A signal handler may fail with the very errors by which a lock refuses a request."""
    with pytest.raises(DeadlockError):
        request.coroutine.throw(DeadlockError("of another lock"))


ENDS: Final = (close, lose, interrupt, cancel, fail_in_a_handler)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", ["asyncio", "trio", *later(["anyio", "uvloop"])])
def test_a_request_that_ends_while_parked_was_never_made(
    loop: str, policy: PolicyName, mode: Mode, end: Callable[[Parked], None]
) -> None:
    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.write()).detach()
        ahead, behind = request(lock, mode), lock.write()
        first = Parked(ahead)
        before = state_of(lock)
        guard = request(lock, mode)
        parked = Parked(guard)
        after_it = Parked(behind)
        end(parked)
        after_it.close()
        assert state_of(lock) == before
        assert lock.statistics().cancellations == 2
        assert not guard.held
        first.close()
        holder.release()
        assert guard.try_acquire(), "the guard can be used again"
        guard.release()

    run(loop, scenario)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", ["asyncio", "trio", *later(["anyio", "uvloop"])])
def test_a_grant_that_came_before_the_end_is_passed_on(
    loop: str, policy: PolicyName, mode: Mode, end: Callable[[Parked], None]
) -> None:
    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.write()).detach()
        guard, behind = request(lock, mode), lock.write()
        waiter = Parked(guard)
        next_one = Parked(behind)
        holder.release()
        assert guard.held or behind.held
        end(waiter)
        assert behind.held
        assert not guard.held
        assert lock.statistics().writers == 1
        assert lock.statistics().acquisitions == 2
        next_one.close()

    run(loop, scenario)


@pytest.mark.parametrize("with_timeout", [False, True])
@pytest.mark.parametrize("loop", ["asyncio", "anyio", "uvloop"])
def test_a_parked_coroutine_may_be_destroyed_from_outside_of_its_task(loop: str, with_timeout: bool) -> None:
    """anyio's cancel scopes complain when they are left in another task."""

    async def scenario() -> None:
        lock = lock_on(loop)
        holder = (await lock.write()).detach()
        coroutines: list[Parked] = []

        async def park() -> None:
            coroutines.append(Parked(lock.write(timeout=60 if with_timeout else None)))

        await asyncio.create_task(park())
        assert lock.statistics().waiting_writers == 1
        coroutines.pop().close()
        assert lock.statistics().waiting_writers == 0
        holder.release()

    run(loop, scenario)


@pytest.mark.parametrize("race", ["cancel before wake", "wake before resume"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancellation_that_races_with_a_grant_loses_no_lock(
    loop: str, policy: PolicyName, mode: Mode, race: str
) -> None:
    async def scenario() -> None:
        lock = lock_on(loop, policy)
        holder = (await lock.write()).detach()
        guard, behind = request(lock, mode), lock.write()
        scope = anyio.CancelScope()
        entered: list[str] = []

        async def want() -> None:
            with scope:
                async with guard:
                    await anyio.lowlevel.checkpoint()  # where trio cancels, if that came after the grant
                    entered.append("want")

        async def follow() -> None:
            async with behind:
                entered.append("follow")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(want)
            await wait_until_parked(lock, 1)
            tasks.start_soon(follow)
            await wait_until_parked(lock, 2)
            if race == "cancel before wake":
                scope.cancel()
                holder.release()
            else:
                holder.release()
                scope.cancel()
        assert entered == ["follow"]
        assert scope.cancelled_caught
        assert lock.locked() is None
        assert lock.statistics().waiters == ()
        lock._core.monitor.engine.check_invariants()

    run(loop, scenario)


@pytest.mark.parametrize("race", ["cancel before wake", "wake before resume"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_task_of_asyncio_that_is_cancelled_with_a_grant_passes_it_on(
    policy: PolicyName, mode: Mode, race: str
) -> None:
    async def scenario() -> None:
        lock = RWLock(policy)
        holder = (await lock.write()).detach()
        guard, behind = request(lock, mode), lock.write()
        seen: list[bool] = []

        async def want() -> None:
            try:
                await guard
            finally:
                seen.append(behind.held)

        wanting = asyncio.create_task(want())
        await wait_until_parked(lock, 1)
        following = asyncio.create_task(behind._acquire_async())
        await wait_until_parked(lock, 2)
        for step in (
            (wanting.cancel, holder.release) if race == "cancel before wake" else (holder.release, wanting.cancel)
        ):
            step()
        with pytest.raises(asyncio.CancelledError):
            await wanting
        assert seen == [True], "when the withdrawing call returns, the next one has the lock"
        await following
        behind.release()
        assert lock.statistics().acquisitions == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_grant_that_others_have_used_up_before_its_waiter_wakes_was_a_grant(loop: str) -> None:
    """The outcome is stamped on the request: whoever has the guard may release it as soon as it is held."""

    async def scenario() -> None:
        for timeout in (None, 60.0):
            lock = lock_on(loop)
            holder = (await lock.write()).detach()
            guard = lock.write(timeout)
            got: list[WriteGuard] = []

            async def want(guard: WriteGuard = guard, got: list[WriteGuard] = got) -> None:
                got.append(await guard)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(want)
                await wait_until_parked(lock, 1)
                holder.release()
                assert guard.held
                guard.release()
            assert got == [guard]
            assert lock.locked() is None

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", PURE_LOOPS)
def test_a_timeout_claims_before_it_withdraws(loop: str, policy: PolicyName) -> None:
    """Grant and deadline at the same instant: the lock is had, and by one only."""

    async def scenario() -> None:
        for mode in MODES:
            lock = lock_on(loop, policy)
            holder = (await lock.write()).detach()
            guard = request(lock, mode, timeout=3600)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(guard._acquire_async)
                await wait_until_parked(lock, 1)
                jump(3601)
                holder.release()
            assert guard.held
            guard.release()
            assert lock.statistics().timeouts == 0

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_thread_whose_time_is_up_claims_a_free_lock(policy: PolicyName) -> None:
    """A young writer is only poked; a timeout at that instant must take what it was poked for."""
    clock, lock = ManualClock(), RWLock(policy)
    clock.drives(lock)
    holder = lock.write().acquire().detach()
    with ThreadPoolExecutor(1) as pool:
        writer = lock.write()
        writing = pool.submit(writer.acquire, 0.0005)
        wait_until_parked(lock, 1)
        with lock._core.monitor.mutex:  # it wakes, and finds both the poke and its deadline
            holder.release()
            assert lock.locked() is None
            clock.advance(0.0006)
        assert writing.result(30) is writer
    writer.release()
    assert lock.statistics().timeouts == 0


class AtTheDeadline:
    """A clock by which a waiter's time is up the moment it has queued, and something else happens just before."""

    def __init__(self, lock: RWLock, what: Callable[[], None]) -> None:
        self._lock = lock
        self._what = what
        self._now = 0.0
        lock._core.monitor.clock = self

    def __call__(self) -> float:
        if not self._now and not self._lock._core.monitor.inside and self._lock._core.monitor.engine.contended:
            self._now = 100.0
            self._what()
        return self._now


@pytest.mark.parametrize("patience", [0.0, 3600.0], ids=["handed", "poked"])
def test_whoever_finds_its_time_up_claims_what_it_was_offered_at_that_moment(patience: float) -> None:
    """Between its last look at the lock and its withdrawal: a poke that it has not seen is worth as much as a grant."""
    lock = RWLock(Fifo(patience=patience))
    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(lock.write().acquire).result(30)
    AtTheDeadline(lock, holder.release)
    guard = lock.write()
    assert guard.acquire(timeout=50) is guard
    assert guard.held
    guard.release()
    assert lock.statistics().timeouts == 0


def test_whoever_finds_its_time_up_had_the_lock_even_if_others_have_released_it_since() -> None:
    lock = RWLock(Fifo(patience=0))
    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(lock.write().acquire).result(30)
    guard = lock.write()

    def grant_and_use_up() -> None:
        holder.release()
        assert guard.held
        guard.release()

    AtTheDeadline(lock, grant_and_use_up)
    assert guard.acquire(timeout=50) is guard
    assert not guard.held
    assert lock.statistics().timeouts == 0
    assert lock.statistics().acquisitions == 2


@pytest.mark.parametrize("patience", [None, 0.0])
@pytest.mark.parametrize("policy", POLICIES)
def test_timeouts_of_threads_that_race_with_grants_lose_no_lock(policy: PolicyName, patience: float | None) -> None:
    clock = ManualClock()
    lock = RWLock(type(policy_named(policy))(patience=patience))
    clock.drives(lock)
    with switching_all_the_time(), ThreadPoolExecutor(3) as pool:
        for _ in range(60):
            holder = lock.write().acquire().detach()
            start = threading.Barrier(2)

            def want(mode: Mode) -> int:
                try:
                    with request(lock, mode, timeout=1):
                        return 1
                except LockTimeout:
                    return 0

            def strike(start: threading.Barrier = start) -> None:
                start.wait(30)
                clock.advance(1)

            wants = [pool.submit(want, mode) for mode in (Mode.WRITE, Mode.READ)]
            wait_until_parked(lock, 2)
            striking = pool.submit(strike)
            start.wait(30)
            holder.release()
            striking.result(30)
            granted = sum(future.result(30) for future in wants)
            seen = lock.statistics()
            assert seen.mode is None
            assert seen.waiters == ()
            assert granted <= 2
    seen = lock.statistics()
    assert seen.acquisitions + seen.timeouts == 60 * 3


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loop", LOOPS)
def test_timeouts_of_tasks_that_race_with_grants_lose_no_lock(loop: str, policy: PolicyName) -> None:
    """Several hundred times a deadline, a scope's end and a grant, all within a moment."""

    async def scenario() -> None:
        lock = lock_on(loop, policy)
        tallies = {"in": 0, "out": 0}

        async def want(mode: Mode, timeout: float, scoped: bool) -> None:
            inside = False
            with anyio.move_on_after(timeout if scoped else 60):
                try:
                    async with request(lock, mode, timeout=60 if scoped else timeout):
                        inside = True
                        tallies["in"] += 1
                except LockTimeout:
                    pass
            tallies["out"] += not inside

        for round_ in range(40):
            holder = (await lock.write()).detach()
            async with anyio.create_task_group() as tasks:
                for mode in MODES:
                    for scoped in (False, True):
                        tasks.start_soon(want, mode, 0.001, scoped)
                await anyio.sleep(0.0008 + round_ % 5 * 0.0001)
                holder.release()
            assert lock.locked() is None
            assert lock.statistics().waiters == ()
        assert tallies["in"] + tallies["out"] == 40 * len(MODES) * 2
        lock._core.monitor.engine.check_invariants()

    run(loop, scenario)


def test_wait_for_may_acquire_in_a_task_of_its_own() -> None:
    """Before 3.12 it wraps the acquisition into a task, which has ended when the hold is released."""

    async def scenario() -> None:
        lock = RWLock()
        guard = lock.write()
        assert await asyncio.wait_for(guard._acquire_async(), 60) is guard
        guard.detach()  # from 3.12 on it is this task's own
        other = lock.write()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(other._acquire_async(), 0.001)
        assert lock.statistics().waiters == ()
        waiting = asyncio.create_task(asyncio.wait_for(other._acquire_async(), 60))
        await wait_until_parked(lock, 1)
        guard.release()
        assert await waiting is other
        other.release()
        assert lock.locked() is None

    asyncio.run(scenario())


def test_wait_for_that_races_with_a_grant_loses_no_lock() -> None:
    async def scenario() -> None:
        lock = RWLock()
        for _ in range(200):
            holder = (await lock.write()).detach()
            guard = lock.write()
            waiting = asyncio.create_task(asyncio.wait_for(guard._acquire_async(), 0.0005))
            await asyncio.sleep(0.0005)
            holder.release()
            try:
                await waiting
            except TimeoutError:
                assert not guard.held
            else:
                guard.release()
            assert lock.locked() is None

    asyncio.run(scenario())


def test_asyncio_timeout_around_an_acquisition() -> None:
    async def scenario() -> None:
        lock = RWLock()
        holder = (await lock.write()).detach()
        reader = lock.read()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await reader
        assert not reader.held
        assert lock.statistics().waiters == ()
        holder.release()
        async with asyncio.timeout(60), lock.write():
            assert lock.locked() is Mode.WRITE

    asyncio.run(scenario())


@pytest.mark.parametrize("loop", LOOPS)
def test_scopes_around_an_acquisition_may_nest(loop: str) -> None:
    async def scenario() -> None:
        lock = lock_on(loop)
        holder = (await lock.write()).detach()
        reader = lock.read(timeout=60)
        with anyio.move_on_after(0.005) as outer, anyio.move_on_after(60) as inner:
            await reader
        assert outer.cancelled_caught
        assert not inner.cancelled_caught
        with anyio.move_on_after(60) as outer, anyio.move_on_after(0.005) as inner:
            await reader
        assert inner.cancelled_caught
        assert not outer.cancelled_caught
        with pytest.raises(TimeoutError), anyio.fail_after(0.005):
            await reader
        with pytest.raises(LockTimeout), anyio.fail_after(60):
            await lock.read(timeout=0.001)
        assert not reader.held
        assert lock.statistics().waiters == ()
        holder.release()
        with anyio.CancelScope() as scope:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await reader
        assert holds(reader)
        reader.release()

    run(loop, scenario)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
@pytest.mark.parametrize("mode", MODES)
def test_an_acquisition_cancelled_at_its_checkpoint_holds_nothing(loop: str, mode: Mode) -> None:
    """With ``checkpoint="always"`` a free lock is taken, then the others run: a cancellation may come there."""

    async def scenario() -> None:
        lock = RWLock(checkpoint="always")
        guard = request(lock, mode)
        if loop == "asyncio":
            wanting = asyncio.create_task(guard._acquire_async())
            await asyncio.sleep(0)
            wanting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await wanting
        else:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await guard
            assert scope.cancelled_caught
        assert not guard.held
        assert lock.locked() is None
        assert lock.statistics().acquisitions == 0

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_withdrawn_request_does_not_count_as_a_phase(loop: str) -> None:
    """Who gets in next is what it would have been: the same arrivals with and without the withdrawn writer."""

    arrivals = [Mode.READ, Mode.WRITE, Mode.UPGRADABLE, Mode.READ, Mode.WRITE]

    async def phases(policy: PolicyName, intruder: bool) -> list[list[int]]:
        lock = lock_on(loop, policy)
        holder = (await lock.write()).detach()
        guards = [request(lock, mode) for mode in arrivals]
        scope = anyio.CancelScope()

        async def intrude() -> None:
            with scope:
                await lock.write()

        seen: list[list[int]] = []
        async with anyio.create_task_group() as tasks:
            for count, guard in enumerate(guards, 1):
                tasks.start_soon(guard._acquire_async)
                await wait_until_parked(lock, count)
                if intruder and count == 2:
                    tasks.start_soon(intrude)
                    await wait_until_parked(lock, 3)
                    scope.cancel()
                    await until(lambda: lock.statistics().cancellations == 1)
            holder.release()
            while together := [number for number, guard in enumerate(guards) if guard.held]:
                seen.append(together)
                for number in together:
                    guards[number].release()
        return seen

    async def scenario() -> None:
        for policy in POLICIES:
            assert await phases(policy, intruder=True) == await phases(policy, intruder=False)

    run(loop, scenario)
