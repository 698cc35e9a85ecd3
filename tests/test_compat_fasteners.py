"""The thread half of `rwlocks.compat.fasteners`: the names, rules and errors of fasteners, and a lock that survives."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
from _waits import Interrupt, fails_in_no_child

from rwlocks import DeadlockError, Fifo, NotHeldError
from rwlocks.compat import fasteners
from rwlocks.compat.fasteners import ReaderWriterLock
from rwlocks.testing import wait_until_parked, wait_until_spent

if TYPE_CHECKING:
    from collections.abc import Callable

SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging


def in_a_thread(what: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(what).result(SOON)


def is_free(lock: ReaderWriterLock) -> bool:
    return lock.owner is None and not lock.has_pending_writers and in_a_thread(lambda: _writes(lock))


def _writes(lock: ReaderWriterLock) -> bool:
    with lock.write_lock():
        return lock.is_writer()


# -- rules -------------------------------------------------------------------------------------------------------------


def test_a_lock_says_who_has_it() -> None:
    lock = ReaderWriterLock()
    assert (lock.owner, lock.is_reader(), lock.is_writer()) == (None, False, False)
    with lock.read_lock() as entered:
        assert entered is lock
        assert (lock.owner, lock.is_reader(), lock.is_writer()) == (lock.READER, True, False)
        assert in_a_thread(lambda: (lock.owner, lock.is_reader())) == ("r", False)
    with lock.write_lock() as entered:
        assert entered is lock
        assert (lock.owner, lock.is_reader(), lock.is_writer()) == (lock.WRITER, False, True)
        assert in_a_thread(lambda: (lock.owner, lock.is_writer())) == ("w", False)
    assert is_free(lock)


def test_an_owner_may_enter_again_and_leave_in_any_order() -> None:
    lock = ReaderWriterLock()
    lock.acquire_write_lock()
    lock.acquire_read_lock()
    lock.acquire_write_lock()
    assert (lock.is_writer(), lock.is_reader()) == (True, True)
    lock.release_write_lock()
    assert (lock.owner, lock.is_writer(), lock.is_reader()) == ("w", True, True)
    lock.release_write_lock()
    assert (lock.owner, lock.is_writer(), lock.is_reader()) == ("r", False, True)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lock.acquire_read_lock).result(SOON)
        pool.submit(lock.release_read_lock).result(SOON)
    lock.acquire_read_lock()
    lock.release_read_lock()
    assert lock.is_reader()
    lock.release_read_lock()
    assert is_free(lock)


def test_a_write_may_outlast_the_read_inside_of_it() -> None:
    lock = ReaderWriterLock()
    lock.acquire_write_lock()
    lock.acquire_read_lock()
    lock.release_read_lock()
    assert (lock.owner, lock.is_reader(), lock.is_writer()) == ("w", False, True)
    lock.release_write_lock()
    assert is_free(lock)


@pytest.mark.parametrize("downgraded", [False, True])
def test_a_reader_may_not_write(downgraded: bool) -> None:
    lock = ReaderWriterLock()
    if downgraded:
        lock.acquire_write_lock()
        lock.acquire_read_lock()
        lock.release_write_lock()
    else:
        lock.acquire_read_lock()
    with pytest.raises(DeadlockError, match="reads and would wait for itself to write") as error:
        lock.acquire_write_lock()
    assert isinstance(error.value, RuntimeError)
    assert len(error.value.holders) == 1
    assert (lock.is_reader(), lock.is_writer()) == (True, False)
    lock.release_read_lock()
    assert is_free(lock)


def test_only_the_owner_releases() -> None:
    lock = ReaderWriterLock()
    for release in (lock.release_read_lock, lock.release_write_lock):
        with pytest.raises(NotHeldError, match="does not"):
            release()
        with lock.write_lock(), pytest.raises(RuntimeError, match="does not"):
            in_a_thread(release)
    with lock.read_lock(), pytest.raises(NotHeldError, match="does not write"):
        lock.release_write_lock()
    with lock.write_lock(), pytest.raises(NotHeldError, match="does not read"):
        lock.release_read_lock()
    assert is_free(lock)


def test_a_reader_may_read_again_while_a_writer_waits() -> None:
    lock = ReaderWriterLock()
    with ThreadPoolExecutor(1) as pool:
        with lock.read_lock():
            writing = pool.submit(_writes, lock)
            wait_until_parked(lock.native, 1)
            assert lock.has_pending_writers
            with lock.read_lock():
                assert not writing.done()
        assert writing.result(SOON)
    assert is_free(lock)


@pytest.mark.parametrize(("policy", "order"), [("writer-pref", "wr"), (Fifo(), "rw")])
def test_writers_go_first_unless_a_policy_says_otherwise(policy: Any, order: str) -> None:
    lock, seen = ReaderWriterLock(policy=policy), list[str]()

    def visit(side: str) -> None:
        with lock.read_lock() if side == "r" else lock.write_lock():
            seen.append(side)

    with ThreadPoolExecutor(2) as pool, lock.write_lock():
        for n, side in enumerate("rw", start=1):
            pool.submit(visit, side)
            wait_until_parked(lock.native, n)
        wait_until_spent(lock.native)
    assert "".join(seen) == order


def test_a_waiting_writer_is_one_unless_pending_ones_do_not_count() -> None:
    me = threading.local()
    lock = ReaderWriterLock(current_thread_functor=lambda: getattr(me, "name", "main"))

    def write() -> None:
        me.name = "writer"
        _writes(lock)

    with ThreadPoolExecutor(1) as pool:
        with lock.read_lock():
            writing = pool.submit(write)
            wait_until_parked(lock.native, 1)
            me.name = "writer"
            assert (lock.is_writer(), lock.is_writer(check_pending=False), lock.is_reader()) == (True, False, False)
            with pytest.raises(NotHeldError):
                lock.release_write_lock()
            me.name = "main"
        writing.result(SOON)
    assert is_free(lock)


def test_the_functor_says_whose_the_lock_is() -> None:
    me = ["a"]
    lock = ReaderWriterLock(threading.Condition, lambda: me[0])
    lock.acquire_write_lock()
    me[0] = "b"
    assert not lock.is_writer()
    with pytest.raises(NotHeldError, match="b does not write"):
        lock.release_write_lock()
    with pytest.raises(DeadlockError):
        lock.acquire_write_lock()  # of the same thread, which would wait for itself
    assert not lock.is_writer()
    me[0] = "a"
    lock.release_write_lock()
    assert is_free(lock)


def test_a_lock_that_is_dropped_while_held_is_nobody_s_concern() -> None:
    lock = ReaderWriterLock()
    lock.acquire_read_lock()
    gone = weakref.ref(lock)
    del lock
    assert gone() is None


# -- what the original did not survive ---------------------------------------------------------------------------------


def _interrupt_whoever_waits() -> None:
    for acquire in (ReaderWriterLock.acquire_read_lock, ReaderWriterLock.acquire_write_lock):
        lock, interrupt, held = ReaderWriterLock(), Interrupt(), threading.Event()
        done = threading.Event()

        def hold(lock: ReaderWriterLock = lock, held: threading.Event = held, done: threading.Event = done) -> None:
            with lock.write_lock():
                held.set()
                assert done.wait(SOON)

        def strike(lock: ReaderWriterLock = lock, interrupt: Interrupt = interrupt) -> None:
            wait_until_parked(lock.native, 1)
            interrupt.strike()

        with ThreadPoolExecutor(2) as pool:
            holding = pool.submit(hold)
            assert held.wait(SOON)
            striking = pool.submit(strike)
            with pytest.raises(KeyboardInterrupt):
                acquire(lock)
            striking.result(SOON)
            assert not lock.has_pending_writers
            assert not lock.is_writer()
            done.set()
            holding.result(SOON)
        assert is_free(lock)


def test_an_interrupted_waiter_leaves_a_lock_that_works() -> None:
    """In the original it stayed in the queue of writers, and nobody ever got in again."""
    fails_in_no_child(_interrupt_whoever_waits)


# -- decorators --------------------------------------------------------------------------------------------------------


class Decorated:
    def __init__(self) -> None:
        self._lock = ReaderWriterLock()
        self.other = ReaderWriterLock()
        self.plain = threading.Lock()
        self.pair: list[Any] = [threading.Lock(), threading.Lock()]

    @fasteners.read_locked
    def reads(self, *values: int, more: int = 0) -> tuple[str | None, int]:
        """Reads."""
        return self._lock.owner, sum(values) + more

    @fasteners.write_locked
    def writes(self) -> str | None:
        return self._lock.owner

    @fasteners.read_locked(lock="other")
    def reads_other(self) -> tuple[str | None, str | None]:
        return self._lock.owner, self.other.owner

    @fasteners.write_locked(lock="other")
    def writes_other(self) -> tuple[str | None, str | None]:
        return self._lock.owner, self.other.owner

    @fasteners.locked(lock="plain")
    def has_plain(self) -> bool:
        return self.plain.locked()

    @fasteners.locked(lock="pair")
    def has_pair(self) -> list[bool]:
        return [lock.locked() for lock in self.pair]

    @fasteners.locked(lock="pair")
    def fails(self) -> None:
        raise KeyError("inside")


def test_decorators_lock_around_methods() -> None:
    it = Decorated()
    assert it.reads(1, 2, more=3) == ("r", 6)
    assert (it.reads.__name__, it.reads.__doc__) == ("reads", "Reads.")
    assert it.writes() == "w"
    assert it.reads_other() == (None, "r")
    assert it.writes_other() == (None, "w")
    assert it.has_plain()
    assert it.has_pair() == [True, True]
    with pytest.raises(KeyError):
        it.fails()
    assert [lock.locked() for lock in (it.plain, *it.pair)] == [False] * 3
    assert (it._lock.owner, it.other.owner) == (None, None)


def test_a_list_of_locks_is_given_back_when_one_cannot_be_had() -> None:
    class Lost:
        def __enter__(self) -> None:
            raise KeyError("lost")

        def __exit__(self, *_: object) -> None:
            raise AssertionError("it was never entered")

    it = Decorated()
    first = it.pair[0]
    it.pair[1] = Lost()
    with pytest.raises(KeyError, match="lost"):
        it.has_pair()
    assert not first.locked()


def test_try_lock_never_waits() -> None:
    lock = threading.Lock()
    with fasteners.try_lock(lock) as first:
        assert first is True
        with fasteners.try_lock(lock) as second:
            assert second is False
        assert lock.locked()
    assert not lock.locked()
