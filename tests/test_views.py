"""`lock.reader` and `lock.writer` behave as `threading.Lock` does, by CPython's own tests of that."""

from __future__ import annotations

import asyncio
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from _waits import POLICIES, run

from rwlocks import LockTimeout, Mode, NotHeldError, RWLock
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from rwlocks._types import PolicyName

lock_tests: Any = pytest.importorskip("test.lock_tests", reason="this Python came without CPython's own tests")
SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging


def writer() -> Any:
    return RWLock().writer


def reentrant_writer() -> Any:
    return RWLock(reentrant=True).writer


def condition_on(lock: Any = None) -> threading.Condition:
    return threading.Condition(writer() if lock is None else lock)


def condition_on_reentrant(lock: Any = None) -> threading.Condition:
    return threading.Condition(reentrant_writer() if lock is None else lock)


class _OfACondition(lock_tests.ConditionTests):  # type: ignore[misc]
    given: Any

    def setUp(self) -> None:
        super().setUp()  # pyright: ignore[reportUnknownMemberType] - of a module without types
        if self._testMethodName == "test_acquire":
            # It takes the lock twice that a condition makes for itself, and then looks at one of a given lock.
            self.usual = lock_tests.threading
            lock_tests.threading = SimpleNamespace(**{**vars(threading), "Lock": self.given})
            self.addCleanup(setattr, lock_tests, "threading", self.usual)
            self.condtype = threading.Condition


@pytest.mark.slow
class TestLock(lock_tests.LockTests):  # type: ignore[misc]
    locktype = staticmethod(writer)


@pytest.mark.slow
class TestReentrantLock(lock_tests.LockTests):  # type: ignore[misc]
    locktype = staticmethod(reentrant_writer)


@pytest.mark.slow
class TestCondition(_OfACondition):
    condtype: Any = staticmethod(condition_on)
    given = staticmethod(writer)


@pytest.mark.slow
class TestReentrantCondition(_OfACondition):
    condtype: Any = staticmethod(condition_on_reentrant)
    given = staticmethod(reentrant_writer)


del _OfACondition


def test_a_second_acquisition_waits_and_any_thread_may_release() -> None:
    lock = RWLock()
    assert lock.writer.acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock.writer.acquire)
        wait_until_parked(lock, 1)
        assert not lock.writer.acquire(timeout=0.001)
        assert not lock.writer.acquire(timeout=0)
        assert not lock.writer.acquire(False)
        lock.writer.release()
        assert waiting.result(SOON)
    lock.writer.release()
    assert lock.locked() is None


@pytest.mark.parametrize("reentrant", [False, True])
def test_holds_of_views_are_nobodys(reentrant: bool) -> None:
    """They nest in nothing and are no reason to refuse their own thread."""
    lock = RWLock(reentrant=reentrant)
    with lock.reader:
        with pytest.raises(LockTimeout):
            lock.write(timeout=0.001).acquire()
        assert not lock.writer.acquire(timeout=0.001)
        assert lock.reader.acquire(False)
        lock.reader.release()
    with lock.write():
        assert not lock.writer.acquire(timeout=0.001)
        assert not lock.reader.acquire(timeout=0.001)


def test_a_view_gives_back_only_what_it_took() -> None:
    lock = RWLock()
    with lock.read():
        with pytest.raises(NotHeldError):
            lock.reader.release()
        with lock.reader:
            with pytest.raises(NotHeldError):
                lock.writer.release()
            assert lock.statistics().readers == 2
        assert lock.statistics().readers == 1
    with pytest.raises(RuntimeError):
        lock.writer.release()


def test_locked_is_about_its_own_side() -> None:
    lock = RWLock()
    with lock.read():
        assert (lock.reader.locked(), lock.writer.locked()) == (True, False)
    with lock.write():
        assert (lock.reader.locked(), lock.writer.locked()) == (False, True)
    assert (lock.reader.locked(), lock.writer.locked()) == (False, False)


def test_a_condition_is_not_fooled_by_readers() -> None:
    """Nobody has its lock then, although it cannot be had."""
    lock = RWLock()
    view: Any = lock.writer
    condition = threading.Condition(view)
    with lock.read(), pytest.raises(RuntimeError, match="un-acquired"):
        condition.notify()


def test_an_invalid_timeout_is_refused_as_by_a_lock() -> None:
    mistakes: list[tuple[type[Exception], tuple[Any, ...]]] = [
        (ValueError, (False, 1)),
        (ValueError, (True, -2)),
        (ValueError, (True, float("nan"))),
        (OverflowError, (True, float("inf"))),
        (TypeError, (True, "1")),
    ]
    for error, arguments in mistakes:
        for lock in (threading.Lock(), writer()):
            with pytest.raises(error):
                lock.acquire(*arguments)
            assert not lock.locked()


@pytest.mark.parametrize("loop", ["asyncio", "trio", "anyio", "uvloop"])
def test_tasks_wait_with_async_with(loop: str) -> None:
    async def scenario() -> None:
        lock = RWLock()
        async with lock.reader as taken:
            assert taken is True
            async with lock.reader:
                assert lock.statistics().readers == 2
            assert not lock.writer.acquire(False)
        async with lock.writer:
            assert lock.locked() is Mode.WRITE
        assert lock.locked() is None

    run(loop, scenario)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_task_and_a_thread_exclude_each_other(policy: PolicyName) -> None:
    lock = RWLock(policy)
    lock.writer.acquire()

    async def main() -> None:
        async with lock.writer:
            assert lock.locked() is Mode.WRITE

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(asyncio.run, main()), pool.submit(trio.run, main)]
        wait_until_parked(lock, 2)
        lock.writer.release()
        for future in waiting:
            future.result(SOON)
    assert lock.locked() is None


def test_a_cancelled_task_takes_nothing() -> None:
    lock = RWLock()

    async def main() -> None:
        with trio.move_on_after(0) as scope:
            async with lock.writer:
                raise AssertionError("it was cancelled before")
        assert scope.cancelled_caught
        with pytest.raises(NotHeldError):
            lock.writer.release()

    trio.run(main)
    assert lock.locked() is None


def test_everybody_gets_the_same_view() -> None:
    lock = RWLock()
    assert lock.reader is lock.reader
    assert lock.writer is lock.writer
    assert lock.reader is not lock.writer
    reference = weakref.ref(lock.reader)
    assert reference() is lock.reader


def test_a_forgotten_hold_is_not_released_twice() -> None:
    lock = RWLock()
    thread = threading.Thread(target=lock.reader.acquire)
    thread.start()
    thread.join(SOON)
    lock.reader.acquire()
    lock.forget(lock.statistics().holders[0])
    lock.reader.release()
    with pytest.raises(NotHeldError):
        lock.reader.release()
    assert lock.locked() is None
