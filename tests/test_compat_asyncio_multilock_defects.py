"""M1 to M10, the defects of asyncio-multilock 0.2.0: gone from ours, each shown by a test of its number.

On the original each of these tests fails, in `tests/test_compat_defects.py`, and only these.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any, Final

import pytest
from _originals import ON_THE_ORIGINALS, turns, under_test

if TYPE_CHECKING:
    from rwlocks.compat import asyncio_multilock
else:
    asyncio_multilock = under_test("asyncio_multilock")

MultiLock: Final = asyncio_multilock.MultiLock
MultiLockSet: Final = asyncio_multilock.MultiLockSet
NONE, SHARED, EXCLUSIVE = asyncio_multilock.MultiLockType

# What our users may ask for; there is nothing of the kind to ask of the original.
FAIR: Final[dict[str, Any]] = {} if ON_THE_ORIGINALS else {"policy": "fifo"}
STRICT: Final[dict[str, Any]] = {} if ON_THE_ORIGINALS else {"strict": True}


def test_what_is_no_defect_works() -> None:
    async def scenario() -> None:
        lock = MultiLock()
        first = await lock.acquire(SHARED)
        assert lock.locked is SHARED
        assert lock.acquire_nowait(EXCLUSIVE) is None
        second = asyncio.create_task(lock.acquire(EXCLUSIVE, "mine"))
        await turns()
        assert not second.done()
        lock.release(first)
        assert await second == "mine"
        lock.release("mine")
        assert not lock.locked

    asyncio.run(scenario())


def test_m1_a_set_that_waits_lets_others_run() -> None:
    """With one member free and another not it span, and the whole event loop stood still."""

    async def scenario() -> None:
        free, busy = MultiLock(), MultiLock()
        busy.acquire_nowait(EXCLUSIVE, "busy")
        waiting = asyncio.create_task(MultiLockSet([free, busy]).wait(SHARED, None))
        await turns()
        assert not waiting.done()
        busy.release("busy")
        await waiting

    asyncio.run(scenario())


def test_m2_a_set_that_is_refused_changes_nothing() -> None:
    """The first member stayed locked, and somebody else lost what it held."""

    async def scenario() -> None:
        locks = MultiLockSet([MultiLock(), MultiLock()])
        for used in locks:
            used.acquire_nowait(SHARED, "handle")
            with pytest.raises(asyncio_multilock.HandleUsedError):
                locks.acquire_nowait(SHARED, "handle")
            assert {each for each in locks if each.locked} == {used}
            used.release("handle")
            assert not locks.locked

    asyncio.run(scenario())


@pytest.mark.parametrize("handle", [0, "", ()])
def test_m3_false_handles_are_handles(handle: Any) -> None:
    """Another one was acquired in its place, so that releasing the one that was given did nothing."""

    async def scenario() -> None:
        lock = MultiLock()
        assert await lock.acquire(SHARED, handle) is handle
        lock.release(handle)
        assert not lock.locked

    asyncio.run(scenario())


def test_m4_a_notification_is_an_async_block_too() -> None:
    """So said its README, where it raised TypeError."""

    async def scenario() -> None:
        lock = MultiLock()
        async with lock.notify(SHARED) as event:
            await event.wait()
        with lock.notify(SHARED) as event:
            assert event.is_set()

    asyncio.run(scenario())


class Counting(asyncio.SelectorEventLoop):
    """A loop that counts what it is given to do."""

    steps = 0

    def call_soon(  # type: ignore[override]  # the base knows more of its arguments than is of use here
        self, callback: Any, *arguments: Any, context: Any = None
    ) -> asyncio.Handle:
        self.steps += 1
        return super().call_soon(callback, *arguments, context=context)


def test_m5_a_release_wakes_nobody_in_vain() -> None:
    """It woke everybody, so that many waiting writers became quadratic."""
    writers = 100

    async def scenario() -> None:
        lock = MultiLock()

        async def write() -> None:
            async with lock.context(EXCLUSIVE):
                await asyncio.sleep(0)

        async with lock.context(EXCLUSIVE):
            writing = [asyncio.create_task(write()) for _ in range(writers)]
            await turns()
        await asyncio.wait(writing)

    loop = Counting()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scenario())
    assert loop.steps <= 10 * writers


def test_m6_a_newcomer_does_not_take_what_was_handed_to_another() -> None:
    """Between a release and the turn of who waited, whoever came by got it."""

    async def scenario() -> None:
        lock = MultiLock()
        lock.acquire_nowait(EXCLUSIVE, "first")
        second = asyncio.create_task(lock.acquire(EXCLUSIVE, "second"))
        await turns()
        lock.release("first")
        assert lock.acquire_nowait(EXCLUSIVE, "newcomer") is None
        assert await second == "second"
        lock.release("second")

    asyncio.run(scenario())


def test_m6_another_policy_ends_the_starvation_of_writers() -> None:
    """Two readers that overlapped kept every writer out for ever."""

    async def scenario() -> None:
        lock = MultiLock(**FAIR)
        reads = [0]

        async def read() -> None:
            while reads[0] < 1_000:
                async with lock.context(SHARED):
                    reads[0] += 1
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)

        readers = [asyncio.create_task(read())]
        await asyncio.sleep(0)
        readers.append(asyncio.create_task(read()))
        await turns()
        before = reads[0]
        async with lock.context(EXCLUSIVE):
            assert reads[0] - before <= 4
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)

    asyncio.run(scenario())


@pytest.mark.parametrize("wrong", ["shared", 3, 1.5, None])
def test_m7_what_is_no_type_poisons_no_lock(wrong: Any) -> None:
    """It was stored, and from then on every question raised TypeError."""

    async def scenario() -> None:
        lock = MultiLock()
        with pytest.raises(TypeError):
            lock.acquire_nowait(wrong)
        with pytest.raises(TypeError), lock.notify(wrong):
            raise AssertionError("there is nothing to be told")
        for wait in (lock.acquire, lock.wait):
            with pytest.raises(TypeError):
                await wait(wrong, None)
        assert not lock.locked
        assert lock.acquire_nowait(EXCLUSIVE, "handle") == "handle"
        lock.release("handle")

    asyncio.run(scenario())


def test_m8_a_strict_lock_reports_what_is_released_twice() -> None:
    """A double release, or one by somebody else, went unnoticed."""

    async def scenario() -> None:
        lock = MultiLock(**STRICT)
        handle = await lock.acquire(SHARED)
        lock.release(handle)
        for nobodys in (handle, "never acquired"):
            with pytest.raises(RuntimeError, match="holds nothing"):
                lock.release(nobodys)
        both = MultiLockSet([lock, MultiLock()])
        await both.acquire(SHARED, "both")
        lock.release("both")
        both.release("both")
        with pytest.raises(RuntimeError, match="holds nothing"):
            both.release("both")
        async with lock.context(SHARED) as handle:
            lock.release(handle)

    asyncio.run(scenario())


def test_m9_operators_on_sets_return_sets_of_locks() -> None:
    """They returned plain frozensets, which nobody can acquire."""
    a, b, c = MultiLock(), MultiLock(), MultiLock()
    one, two = MultiLockSet([a, b]), MultiLockSet([b, c])
    results = {
        "union": (one | two, one.union(two), {a, b, c}),
        "intersection": (one & two, one.intersection(two), {b}),
        "difference": (one - two, one.difference(two), {a}),
        "symmetric difference": (one ^ two, one.symmetric_difference(two), {a, c}),
        "copy": (one.copy(), one.union(), {a, b}),
    }
    for what, (operator, method, expected) in results.items():
        assert (what, set(operator), set(method)) == (what, expected, expected)
        assert isinstance(operator, MultiLockSet)
        assert isinstance(method, MultiLockSet)


def test_m9_a_wait_needs_no_event() -> None:
    """It had no default."""

    async def scenario() -> None:
        lock: Any = MultiLock()
        await lock.wait(EXCLUSIVE)
        await MultiLockSet([lock]).wait(EXCLUSIVE)

    asyncio.run(scenario())


def test_m9_an_empty_set_waits_for_nothing() -> None:
    """Its wait never ended."""

    async def scenario() -> None:
        nothing = MultiLockSet([])
        waiting = asyncio.create_task(nothing.wait(EXCLUSIVE, None))
        await turns()
        assert waiting.done()
        handle = await nothing.acquire(EXCLUSIVE)
        nothing.release(handle)
        assert not nothing.locked

    asyncio.run(scenario())


def test_m10_a_lost_handle_is_reported_and_keeps_nobody_waiting() -> None:
    """The lock stayed locked, and nothing said by whom."""

    async def scenario() -> None:
        lock = MultiLock()

        async def lose() -> None:
            await lock.acquire(EXCLUSIVE)

        await asyncio.create_task(lose(), name="loser")
        waiting = asyncio.create_task(lock.acquire(SHARED))
        await turns()
        assert waiting.done()
        with pytest.raises(RuntimeError):
            await waiting
        (holder,) = lock.native.statistics().holders
        assert holder.abandoned
        lock.native.forget(holder)
        assert not lock.locked

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(scenario())
    assert ["(loser)" in str(each.message) for each in caught] == [True]
