"""`rwlocks.compat.aiorwlock`: the names, rules, errors and old spellings of aiorwlock, and its quickstarts."""

from __future__ import annotations

import asyncio
import gc
import random
import types
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
from _originals import turns

import rwlocks
from rwlocks import DeadlockError, NotHeldError, PhaseFair
from rwlocks.compat import aiorwlock
from rwlocks.compat.aiorwlock import RWLock
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from rwlocks._types import PolicyName

Side: TypeAlias = aiorwlock.ReaderLock | aiorwlock.WriterLock

FREE: Final = "<RWLock: <ReaderLock: [unlocked]> <WriterLock: [unlocked]>>"


def is_locked(side: Side) -> bool:
    """Asked anew, for type checkers that take an attribute to stay what it was."""
    return side.locked


async def hold(side: Side) -> None:
    async with side:
        pass


def alone(side: Side) -> Coroutine[Any, Any, bool]:
    """An acquisition that can be all that a task does."""
    return side.acquire()


def released(side: Any) -> Any:
    """The result of a release, which has a use in old programs only, and therefore no type."""
    return side.release()


class Crowd:
    """Tasks that enter a lock one after the other, note it, and leave when they are told to."""

    def __init__(self, lock: RWLock) -> None:
        self.lock = lock
        self.entered: list[str] = []
        self.inside: dict[str, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def arrive(self, *names: str) -> None:
        for name in names:
            self.tasks.append(asyncio.create_task(self._visit(name)))
            await turns()

    async def _visit(self, name: str) -> None:
        async with self.lock.reader if name[0] == "r" else self.lock.writer:
            self.entered.append(name)
            self.inside[name] = asyncio.Event()
            await self.inside[name].wait()
            del self.inside[name]

    async def leave(self, name: str) -> None:
        self.inside[name].set()
        await turns()

    async def all_leave(self) -> list[list[str]]:
        """Everybody leaves, once all who came in together have been seen; who came in together."""
        groups: list[list[str]] = []
        while self.inside:
            groups.append(sorted(self.inside))
            for name in groups[-1]:
                await self.leave(name)
        await asyncio.gather(*self.tasks)
        return groups


# -- names and rules ---------------------------------------------------------------------------------------------------


def test_the_names_are_there() -> None:
    lock = RWLock()
    assert aiorwlock.__version__ == "1.5.1"
    assert lock.reader is lock.reader_lock
    assert lock.writer is lock.writer_lock
    assert RWLock.core is rwlocks.RWLock
    assert isinstance(lock.native, rwlocks.RWLock)
    assert (repr(lock), is_locked(lock.reader), is_locked(lock.writer)) == (FREE, False, False)
    with pytest.raises(TypeError):
        RWLock(True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_a_policy_can_be_chosen_and_is_checked() -> None:
    assert RWLock().native.policy.name == "writer-pref"
    assert RWLock(policy=PhaseFair(max_batch=3)).native.policy == PhaseFair(max_batch=3)
    with pytest.raises(ValueError, match="unknown policy"):
        RWLock(policy="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("fast", [False, True])
def test_each_side_says_whether_it_is_held(fast: bool) -> None:
    async def scenario() -> None:
        lock = RWLock(fast=fast)
        async with lock.reader as nothing:
            assert nothing is None
            assert (is_locked(lock.reader), is_locked(lock.writer)) == (True, False)
        async with lock.writer:
            assert (is_locked(lock.reader), is_locked(lock.writer)) == (False, True)
            async with lock.reader:
                assert repr(lock) == "<RWLock: <ReaderLock: [locked]> <WriterLock: [locked]>>"
        assert repr(lock) == FREE

    asyncio.run(scenario())


@pytest.mark.parametrize("fast", [False, True])
def test_an_owner_may_enter_again(fast: bool) -> None:
    async def scenario() -> None:
        lock = RWLock(fast=fast)
        async with lock.reader:
            writer = asyncio.create_task(hold(lock.writer))
            await turns()
            async with lock.reader:  # past the writer that waits
                assert not writer.done()
        await writer
        async with lock.writer, lock.writer, lock.reader, lock.reader:
            lock.writer.release()
            lock.writer.release()
            assert (is_locked(lock.reader), is_locked(lock.writer)) == (True, False)
            await asyncio.create_task(hold(lock.reader))
            await lock_again(lock)
        assert repr(lock) == FREE

    async def lock_again(lock: RWLock) -> None:
        lock.reader.release()
        lock.reader.release()
        for side in (lock.writer, lock.writer, lock.reader, lock.reader):
            await side.acquire()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("holder", "expected"),
    [
        ("r0", [["r0", "r1"], ["w1"], ["w2"], ["r2", "r3"]]),
        ("w0", [["w0"], ["w1"], ["w2"], ["r1", "r2", "r3"]]),
    ],
)
def test_writers_go_first_and_readers_in_one_batch(holder: str, expected: list[list[str]]) -> None:
    async def scenario() -> None:
        crowd = Crowd(RWLock(fast=True))
        await crowd.arrive(holder, "r1", "w1", "r2", "w2", "r3")
        assert await crowd.all_leave() == expected

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["reader", "writer"])
@pytest.mark.parametrize("fast", [False, True])
def test_others_run_once_before_an_acquisition_that_need_not_wait_goes_on_unless_it_is_fast(
    fast: bool, name: str
) -> None:
    async def scenario() -> None:
        side: Side = getattr(RWLock(fast=fast), name)
        ran: list[str] = []
        asyncio.get_running_loop().call_soon(ran.append, "another")
        async with side:
            assert ran == ["another"] * (not fast)

    asyncio.run(scenario())


@pytest.mark.parametrize("acquisition", [hold, alone], ids=["in a block", "alone"])
@pytest.mark.parametrize("name", ["reader", "writer"])
def test_a_cancellation_in_that_turn_undoes_the_acquisition(
    name: str, acquisition: Callable[[Side], Coroutine[Any, Any, Any]]
) -> None:
    async def scenario() -> None:
        lock = RWLock()
        side: Side = getattr(lock, name)
        task = asyncio.create_task(acquisition(side))
        await asyncio.sleep(0)
        assert is_locked(side)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert repr(lock) == FREE

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["reader", "writer"])
@pytest.mark.parametrize("fast", [False, True])
def test_a_timeout_around_an_acquisition_leaves_the_hold_where_it_can_be_released(fast: bool, name: str) -> None:
    """Before Python 3.12 ``wait_for`` acquires in a task of its own, which used to own the lock for ever."""

    async def scenario() -> None:
        lock = RWLock(fast=fast)
        side: Side = getattr(lock, name)
        assert await asyncio.wait_for(side.acquire(), 60)
        assert is_locked(side)
        side.release()
        async with asyncio.timeout(60):
            await side.acquire()
        side.release()
        assert repr(lock) == FREE
        async with lock.writer:
            with pytest.raises(TimeoutError):
                await asyncio.create_task(asyncio.wait_for(side.acquire(), 0.001))
        assert repr(lock) == FREE

    asyncio.run(scenario())


def test_what_is_acquired_by_a_task_of_its_own_can_be_released_by_any_other() -> None:
    async def scenario() -> None:
        first, second = RWLock(), RWLock()
        await asyncio.gather(first.writer.acquire(), second.reader.acquire())
        first.writer.release()
        second.reader.release()
        with pytest.raises(NotHeldError):
            second.reader.release()
        assert (repr(first), repr(second)) == (FREE, FREE)

    asyncio.run(scenario())


def test_a_task_that_lives_on_keeps_no_lock_that_it_has_used() -> None:
    async def scenario() -> None:
        lock = RWLock()
        async with lock.writer, lock.reader:
            pass
        native = weakref.ref(lock.native)
        del lock
        assert native() is None

    asyncio.run(scenario())


def test_a_thread_may_use_the_lock_underneath_meanwhile() -> None:
    async def scenario() -> None:
        lock = RWLock()

        def write() -> bool:
            with lock.native.write():
                return is_locked(lock.writer)

        with ThreadPoolExecutor(1) as pool:
            async with lock.reader:
                writing = asyncio.wrap_future(pool.submit(write))
                await wait_until_parked(lock.native, 1)
            assert await writing
            async with lock.reader:
                pass

    asyncio.run(scenario())


class Inside:
    """Who is inside, to see that nobody is who must not be."""

    def __init__(self) -> None:
        self.readers: list[object] = []
        self.writers: list[object] = []

    def enter(self, side: Side, who: object) -> list[object]:
        group = self.writers if isinstance(side, aiorwlock.WriterLock) else self.readers
        group.append(who)
        assert len(set(self.writers)) <= 1
        assert not self.writers or set(self.readers) <= set(self.writers)
        return group


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("policy", ["writer-pref", "fifo"])
def test_whatever_is_cancelled_nobody_is_inside_who_must_not_be_and_nothing_stays(
    policy: PolicyName, fast: bool
) -> None:
    async def scenario(dice: random.Random) -> None:
        lock = RWLock(fast=fast, policy=policy)
        inside = Inside()

        async def visit(side: Side, *deeper: Side) -> None:
            await turns(dice.randint(0, 3))
            async with side:
                group = inside.enter(side, asyncio.current_task())
                try:
                    if deeper:
                        await visit(*deeper)
                    await turns(dice.randint(0, 3))
                finally:
                    group.remove(asyncio.current_task())

        ways: list[list[Side]] = [
            [lock.reader],
            [lock.writer],
            [lock.reader, lock.reader],
            [lock.writer, lock.reader, lock.writer],
        ]
        tasks = [asyncio.create_task(visit(*dice.choice(ways))) for _ in range(8)]
        for task in dice.sample(tasks, 4):
            await turns(dice.randint(0, 3))
            task.cancel()
        done, _ = await asyncio.wait(tasks)
        assert not [task.exception() for task in done if not task.cancelled() and task.exception()]
        assert repr(lock) == FREE
        assert not lock.native.statistics().waiters
        await hold(lock.writer)

    for seed in range(100):
        asyncio.run(scenario(random.Random(seed)))


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reader", "writer"])
def test_only_the_task_that_holds_releases(name: str) -> None:
    async def scenario() -> None:
        lock = RWLock()
        side: Side = getattr(lock, name)

        async def release() -> None:
            side.release()

        with pytest.raises(RuntimeError, match=r"^Cannot release an un-acquired lock"):
            side.release()
        async with side:
            with pytest.raises(RuntimeError, match=r"^Cannot release an un-acquired lock"):
                await asyncio.create_task(release())
            other = lock.writer if name == "reader" else lock.reader
            with pytest.raises(RuntimeError, match=r"^Cannot release an un-acquired lock"):
                other.release()
        assert repr(lock) == FREE

    asyncio.run(scenario())


def test_a_write_inside_a_read_is_refused_and_changes_nothing() -> None:
    async def scenario() -> None:
        lock = RWLock()
        async with lock.reader:
            with pytest.raises(DeadlockError, match=r"^Cannot upgrade RWLock from read to write"):
                await lock.writer.acquire()
            assert is_locked(lock.reader)
            await asyncio.create_task(hold(lock.reader))
        await hold(lock.writer)

    asyncio.run(scenario())


def test_a_plain_with_is_refused() -> None:
    lock = RWLock()
    for side in (lock.reader, lock.writer):
        with pytest.raises(RuntimeError, match='"await" should be used as context manager expression'), side:
            pass


def in_another_loop(what: Callable[[], Any]) -> None:
    async def scenario() -> None:
        result = what()
        if asyncio.iscoroutine(result):
            await result

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, scenario()).result(30)


def test_another_loop_is_refused_while_the_lock_is_held() -> None:
    async def scenario() -> None:
        lock = RWLock()
        async with lock.reader:
            for use in (lock.reader.acquire, lock.writer.acquire, lock.reader.release):
                with pytest.raises(RuntimeError, match="is bound to a different event loop"):
                    in_another_loop(use)
        in_another_loop(lambda: hold(lock.writer))
        await hold(lock.reader)

    asyncio.run(scenario())


@pytest.mark.parametrize("expected", [RuntimeError, AssertionError])
def test_a_task_is_needed(expected: type[Exception]) -> None:
    lock = RWLock()

    def use() -> None:
        with pytest.raises(expected, match="no task runs here"):
            lock.reader.acquire().send(None)
        with pytest.raises(expected, match="no task runs here"):
            lock.writer.release()

    async def scenario() -> None:
        asyncio.get_running_loop().call_soon(use)
        await turns()

    use()
    asyncio.run(scenario())


def test_a_task_that_is_lost_with_its_loop_keeps_nobody_waiting() -> None:
    lock = RWLock()

    async def never_end() -> None:
        await lock.writer.acquire()
        await asyncio.get_running_loop().create_future()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _loop, _context: None)  # of a task destroyed while it waits
        task = loop.create_task(never_end(), name="lost")
        loop.run_until_complete(turns())
        loop.close()
        del task, loop
        gc.collect()
    assert ["held <RWLock writer-pref: held for write" in str(each.message) for each in caught] == [True]
    with pytest.raises(DeadlockError):
        asyncio.run(hold(lock.reader))


# -- spellings of the past ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [None, object()])
def test_a_loop_may_be_given(loop: object) -> None:
    with pytest.deprecated_call(match=r"write RWLock\(\)$") as caught:
        RWLock(loop=loop)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["reader", "writer"])
def test_a_side_may_be_awaited_for_a_block(name: str) -> None:
    async def scenario() -> None:
        lock = RWLock()
        side: Side = getattr(lock, name)
        with pytest.deprecated_call(match='write "async with lock.reader"$') as caught:
            block = await side
        assert caught[0].filename == __file__
        with block:
            assert is_locked(side)
        assert repr(lock) == FREE
        with pytest.deprecated_call(match='write "async with lock.reader"$'):
            async with await side:
                assert is_locked(side)
        assert repr(lock) == FREE

    asyncio.run(scenario())


def test_generators_may_be_coroutines() -> None:
    @types.coroutine
    def scenario() -> Generator[Any, Any, None]:
        lock = RWLock()
        with pytest.deprecated_call(match='write "async with lock.reader"$'):
            block = yield from lock.reader
        with block:
            assert is_locked(lock.reader)
        yield from lock.writer.acquire()
        with pytest.deprecated_call(match=r'write "lock.reader.release\(\)"$'):
            yield from released(lock.writer)
        assert repr(lock) == FREE

    async def main() -> None:
        await scenario()

    asyncio.run(main())


def test_a_release_may_be_awaited() -> None:
    async def scenario() -> None:
        lock = RWLock()
        await lock.reader.acquire()
        result = released(lock.reader)
        assert not result
        assert repr(lock) == FREE, "it is no coroutine: it has released already"
        with pytest.deprecated_call(match=r'write "lock.reader.release\(\)"$') as caught:
            await result
        assert caught[0].filename == __file__

    asyncio.run(scenario())


# -- quickstarts: the calls of each original's text, after a change of the import line ---------------------------------


def test_the_first_quickstart_runs() -> None:
    """0.0.1, a generator then: a loop for the lock, an explicit acquisition, and a release that is waited for."""
    loop = asyncio.new_event_loop()
    ran: list[str] = []

    async def go() -> None:
        rwlock = aiorwlock.RWLock(loop=loop)
        await rwlock.writer_lock.acquire()
        try:
            ran.append("inside")
            await asyncio.sleep(0)
        finally:
            await released(rwlock.writer_lock)
        await rwlock.reader_lock.acquire()
        rwlock.reader_lock.release()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run_until_complete(go())
    loop.close()
    assert ran == ["inside"]
    assert [each.category for each in caught] == [DeprecationWarning] * 2


def test_the_quickstart_with_blocks_runs() -> None:
    """0.6.0."""
    loop = asyncio.new_event_loop()
    ran: list[str] = []

    async def go() -> None:
        rwlock = aiorwlock.RWLock(loop=loop)
        async with rwlock.writer:
            ran.append("inside")
            await asyncio.sleep(0)
        async with rwlock.reader:
            pass

    with pytest.deprecated_call():
        loop.run_until_complete(go())
    loop.close()
    assert ran == ["inside"]


def test_the_quickstart_of_today_runs() -> None:
    """1.4.0 to 1.5.1, and the fast path."""
    ran: list[str] = []

    async def go() -> None:
        for rwlock in (aiorwlock.RWLock(), aiorwlock.RWLock(fast=True)):
            async with rwlock.reader_lock:
                ran.append("reads")
                await asyncio.sleep(0)
            async with rwlock.writer_lock:
                ran.append("writes")
                await asyncio.sleep(0)

    asyncio.run(go())
    assert ran == ["reads", "writes"] * 2
