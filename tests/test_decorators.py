"""Guards as decorators: a fresh acquisition for each call, or for each life of a generator."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, assert_type

import pytest
from _waits import LOOPS, run

from rwlocks import DeadlockError, LockTimeout, Mode, RWLock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator


def test_a_function_runs_with_the_lock_held() -> None:
    lock = RWLock()

    @lock.write()
    def save(number: int, *, twice: bool = False) -> int:
        """Save it."""
        assert lock.locked() is Mode.WRITE
        return number * (1 + twice)

    assert_type(save(1, twice=True), int)
    assert [save(1), save(2, twice=True)] == [1, 4]
    assert lock.locked() is None
    assert (save.__name__, save.__doc__) == ("save", "Save it.")
    assert list(inspect.signature(save).parameters) == ["number", "twice"]
    without_types: Any = save
    with pytest.raises(TypeError):
        without_types()
    assert lock.locked() is None


def test_methods_and_recursion_and_calls_side_by_side() -> None:
    lock = RWLock(reentrant=True)

    class Tree:
        @lock.read()
        def depth(self, n: int) -> int:
            assert lock.statistics().holders
            return 1 + self.depth(n - 1) if n else 0

    assert Tree().depth(5) == 5
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(Tree().depth, range(8))) == list(range(8))
    assert lock.locked() is None


def test_recursion_without_reentrancy_is_refused() -> None:
    lock = RWLock()

    @lock.write()
    def again(n: int) -> None:
        if n:
            again(n - 1)

    again(0)
    with pytest.raises(DeadlockError):
        again(1)
    assert lock.locked() is None


def test_the_timeout_of_the_guard_counts() -> None:
    lock = RWLock()

    @lock.read(timeout=0)
    def look() -> None: ...

    with lock.write(), pytest.raises(LockTimeout):
        look()
    look()


def test_an_exception_releases() -> None:
    lock = RWLock()

    @lock.upgradable()
    def fail() -> None:
        assert lock.locked() is Mode.UPGRADABLE
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert lock.locked() is None


def test_what_cannot_be_called_is_refused() -> None:
    number: Any = 5
    with pytest.raises(TypeError, match="decorates functions"):
        RWLock().read()(number)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_coroutine_function(loop: str) -> None:
    lock = RWLock()

    @lock.write()
    async def save(number: int) -> int:
        assert lock.locked() is Mode.WRITE
        return number

    async def scenario() -> None:
        waiting = save(1)
        assert lock.locked() is None, "nothing has run so far"
        assert_type(await waiting, int)
        assert await save(2) == 2
        assert lock.locked() is None

    assert inspect.iscoroutinefunction(save)
    run(loop, scenario)


def test_a_generator_holds_from_its_first_step_to_its_end() -> None:
    lock = RWLock()
    heard: list[object] = []

    @lock.read()
    def ask() -> Generator[int, str, str]:
        heard.append((yield 1))
        try:
            heard.append((yield 2))
        except KeyError as error:
            heard.append(error)
        yield 3
        return "end"

    assert inspect.isgeneratorfunction(ask)
    steps = ask()
    assert lock.locked() is None
    assert next(steps) == 1
    assert lock.locked() is Mode.READ
    assert steps.send("a") == 2
    error = KeyError()
    assert steps.throw(error) == 3
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == "end"
    assert heard == ["a", error]
    assert lock.locked() is None


def test_a_generator_that_is_closed_or_dropped_releases() -> None:
    lock = RWLock()
    closed: list[str] = []

    @lock.write()
    def count() -> Generator[int, None, None]:
        try:
            yield 1
            yield 2
        finally:
            assert lock.locked() is Mode.WRITE
            closed.append("x")

    steps = count()
    next(steps)
    steps.close()
    assert lock.locked() is None
    steps = count()
    next(steps)
    del steps
    assert lock.locked() is None
    unstarted = count()
    unstarted.close()
    assert closed == ["x", "x"]
    assert list(count()) == [1, 2]


@pytest.mark.parametrize("loop", LOOPS)
def test_an_async_generator_holds_from_its_first_step_to_its_end(loop: str) -> None:
    async def scenario() -> None:
        lock = RWLock()
        heard: list[object] = []

        @lock.write()
        async def ask() -> AsyncGenerator[int, str]:
            try:
                heard.append((yield 1))
                try:
                    yield 2
                except KeyError as error:
                    heard.append(error)
                yield 3
            finally:
                assert lock.locked() is Mode.WRITE

        assert inspect.isasyncgenfunction(ask)
        steps = ask()
        assert lock.locked() is None
        assert await anext(steps) == 1
        assert lock.locked() is Mode.WRITE
        assert await steps.asend("a") == 2
        error = KeyError()
        assert await steps.athrow(error) == 3
        with pytest.raises(StopAsyncIteration):
            await anext(steps)
        assert heard == ["a", error]
        assert lock.locked() is None
        steps = ask()
        assert await anext(steps) == 1
        await steps.aclose()
        assert lock.locked() is None
        steps = ask()
        assert await anext(steps) == 1
        with pytest.raises(ZeroDivisionError):
            await steps.athrow(ZeroDivisionError())
        assert lock.locked() is None

    run(loop, scenario)


def test_a_cancelled_call_releases() -> None:
    lock = RWLock()

    @lock.write()
    async def save(inside: asyncio.Event) -> None:
        inside.set()
        await asyncio.Event().wait()

    async def main() -> None:
        inside = asyncio.Event()
        task: asyncio.Task[Any] = asyncio.create_task(save(inside))
        await inside.wait()
        assert lock.locked() is Mode.WRITE
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert lock.locked() is None

    asyncio.run(main())
