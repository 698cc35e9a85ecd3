"""D1 to D10, the defects of aiorwlock 1.5.1: gone from `rwlocks.compat.aiorwlock`, each shown by a test of its number.

On the original each of these tests fails, in `tests/test_compat_defects.py`, and only these.
"""

from __future__ import annotations

import asyncio
import gc
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Final

import pytest
from _originals import ON_THE_ORIGINALS, turns, under_test

if TYPE_CHECKING:
    from rwlocks.compat import aiorwlock
else:
    aiorwlock = under_test("aiorwlock")

# What our users may ask for; there is nothing of the kind to ask of the original.
FAIR: Final[dict[str, Any]] = {} if ON_THE_ORIGINALS else {"policy": "fifo"}


def test_what_is_no_defect_works() -> None:
    async def scenario() -> None:
        lock = aiorwlock.RWLock()
        async with lock.writer:
            async with lock.reader:
                assert "ReaderLock: [locked]" in repr(lock)
            reader = asyncio.create_task(hold(lock.reader))
            await turns()
            assert not reader.done()
        await reader

    asyncio.run(scenario())


async def hold(side: aiorwlock.ReaderLock | aiorwlock.WriterLock) -> None:
    async with side:
        pass


def test_d1_a_reader_behind_a_cancelled_writer_goes_in() -> None:
    """It slept on while others held; a holder that waited for it never ended."""

    async def scenario() -> None:
        lock = aiorwlock.RWLock()
        async with lock.reader:
            writer = asyncio.create_task(hold(lock.writer))
            await turns()
            reader = asyncio.create_task(hold(lock.reader))
            await turns()
            assert not reader.done()
            writer.cancel()
            await turns()
            assert reader.done()

    asyncio.run(scenario())


def test_d2_releasing_the_write_around_a_read_lets_the_waiting_readers_in() -> None:
    """They slept on while newcomers walked in."""

    async def scenario() -> None:
        lock = aiorwlock.RWLock()
        await lock.writer.acquire()
        await lock.reader.acquire()
        waiting = asyncio.create_task(hold(lock.reader))
        await turns()
        lock.writer.release()
        await turns()
        assert waiting.done()
        lock.reader.release()

    asyncio.run(scenario())


def test_d3_another_policy_ends_the_starvation_of_readers() -> None:
    """Two writers that took turns kept every reader out for ever."""

    async def scenario() -> None:
        lock = aiorwlock.RWLock(**FAIR)
        writes = [0]

        async def write() -> None:
            while writes[0] < 1_000:
                async with lock.writer:
                    writes[0] += 1
                    await asyncio.sleep(0)

        writers = [asyncio.create_task(write()) for _ in range(2)]
        await turns()
        before = writes[0]
        async with lock.reader:
            assert writes[0] - before <= 4
        for writer in writers:
            writer.cancel()
        await asyncio.wait(writers)

    asyncio.run(scenario())


def test_d4_a_task_that_ends_while_it_holds_keeps_nobody_waiting_for_ever() -> None:
    """It kept the lock, and whoever waited or came later waited without end."""

    async def scenario() -> None:
        lock = aiorwlock.RWLock()

        async def leak() -> None:
            await lock.writer.acquire()
            await turns()

        leaking = asyncio.create_task(leak())
        await asyncio.sleep(0)
        early = asyncio.create_task(hold(lock.reader))
        await leaking
        await turns()
        late = asyncio.create_task(hold(lock.writer))
        await turns()
        for waiter in (early, late):
            assert waiter.done()
            assert isinstance(waiter.exception(), RuntimeError)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(scenario())
    assert ["was dropped while it held" in str(each.message) for each in caught] == [True]


def test_d4_a_task_that_ends_while_it_holds_is_not_kept_alive() -> None:
    """The list of owners kept it, and all that its frames had."""

    async def scenario() -> weakref.ref[asyncio.Task[None]]:
        async def leak() -> None:
            await lock.reader.acquire()

        leaking = asyncio.create_task(leak())
        await leaking
        return weakref.ref(leaking)

    lock = aiorwlock.RWLock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaking = asyncio.run(scenario())
        gc.collect()
    assert leaking() is None


def test_d5_a_coroutine_closed_between_its_grant_and_its_turn_holds_nothing() -> None:
    """Only CancelledError was handled: after GeneratorExit no writer got in ever again."""

    async def scenario() -> None:
        lock = aiorwlock.RWLock()
        await lock.writer.acquire()
        victim = asyncio.create_task(hold(lock.reader))
        await turns()
        lock.writer.release()
        assert "ReaderLock: [locked]" in repr(lock)
        coroutine = victim.get_coro()
        assert coroutine is not None
        coroutine.close()
        assert "ReaderLock: [unlocked]" in repr(lock)
        with pytest.raises(RuntimeError):
            await victim

    asyncio.run(scenario())


class Counting(asyncio.Task[Any]):
    """A task that counts how often it is compared with others."""

    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Counting.comparisons += 1
        return self is other

    def __hash__(self) -> int:
        return id(self)


def counting(loop: asyncio.AbstractEventLoop, work: Any, **rest: Any) -> Counting:
    return Counting(work, loop=loop, **rest)


def test_d6_the_cost_of_a_reader_does_not_depend_on_how_many_read() -> None:
    """A list of owners was searched at each step, so that thousands of concurrent readers became quadratic."""
    readers = 300

    async def scenario() -> None:
        asyncio.get_running_loop().set_task_factory(counting)
        lock = aiorwlock.RWLock()

        async def read(leave: asyncio.Event) -> None:
            async with lock.reader:
                await leave.wait()

        leaving = [asyncio.Event() for _ in range(readers)]
        reading = [asyncio.create_task(read(leave)) for leave in leaving]
        await turns()
        for leave, reader in zip(reversed(leaving), reversed(reading), strict=True):
            leave.set()
            await reader
        assert not lock.reader.locked
        assert Counting.comparisons <= 4 * readers

    asyncio.run(scenario())


def test_d7_a_lock_can_be_kept_in_a_weak_dictionary_and_has_attributes() -> None:
    """Slots broke the usual lock per key, and whoever put a name on a lock."""
    per_key: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
    lock: Any = aiorwlock.RWLock()
    per_key["key"] = lock
    lock.purpose = "cache"
    assert per_key["key"].purpose == "cache"
    del lock
    assert "key" not in per_key


def test_d8_there_are_tries_timeouts_holders_and_waiters() -> None:
    """None of these questions could be asked."""

    async def scenario() -> None:
        lock = aiorwlock.RWLock()

        async def tries() -> tuple[bool, bool]:
            guard = lock.native.write()
            entered = guard.try_acquire()
            if entered:
                guard.release()
            try:
                async with lock.native.read(timeout=0):
                    return entered, True
            except TimeoutError:
                return entered, False

        async def write() -> None:
            async with lock.writer:
                reader = asyncio.create_task(hold(lock.reader), name="reader")
                await turns()
                now = lock.native.statistics()
                assert [holder.owner for holder in now.holders] == ["writer"]
                assert [waiter.owner for waiter in now.waiters] == ["reader"]
                assert await asyncio.create_task(tries()) == (False, False)
            await reader

        await asyncio.create_task(write(), name="writer")
        assert await tries() == (True, True)

    asyncio.run(scenario())


def test_d9_a_lock_is_used_in_one_loop_after_the_other() -> None:
    """A lock of a module, used in two runs one after the other, raised for ever."""
    lock = aiorwlock.RWLock()
    for _ in range(3):
        asyncio.run(hold(lock.writer))
        asyncio.run(hold(lock.reader))
    assert not lock.writer.locked


def test_d10_an_acquisition_has_a_true_result() -> None:
    """It was None, so that ``if await lock.reader.acquire():`` never ran."""

    async def scenario() -> None:
        lock = aiorwlock.RWLock()
        assert await lock.reader.acquire() is True
        lock.reader.release()
        assert await lock.writer.acquire() is True
        lock.writer.release()

    asyncio.run(scenario())
