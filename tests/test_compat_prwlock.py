"""`rwlocks.compat.prwlock` has the names, results and errors of prwlock."""

from __future__ import annotations

import copy
import errno
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from _partners import in_child
from _waits import Interrupt, fails_in_no_child, later

from rwlocks import LockTimeout, Mode, ProcessRWLock, WriterPreference
from rwlocks.compat import prwlock
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging


@pytest.fixture
def lock() -> prwlock.RWLock:
    return prwlock.RWLock()


def in_a_thread(what: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(what).result(SOON)


# -- names and results -------------------------------------------------------------------------------------------------


def test_the_public_names_are_those_of_the_original() -> None:
    assert sorted(prwlock.__all__) == ["RWLock", "get_pthread_process_shared", "set_pthread_process_shared"]
    assert prwlock.__version__ == "0.4.1"


def test_sides_share_and_exclude(lock: prwlock.RWLock) -> None:
    assert lock.acquire_read() is True
    assert in_a_thread(lock.try_acquire_read) is True
    assert in_a_thread(lock.try_acquire_write) is False
    assert in_a_thread(lambda: lock.acquire_write(0.001)) is False
    assert in_a_thread(lambda: lock.acquire_write(timeout=0)) is False
    assert lock.nlocks == 2
    lock.release()
    lock.release()
    assert lock.acquire_write(timeout=1) is True
    assert in_a_thread(lock.try_acquire_read) is False
    assert in_a_thread(lambda: lock.acquire_read(0.001)) is False
    lock.release()
    assert lock.nlocks == 0
    assert lock.native.locked() is None


def test_readers_come_first_unless_a_policy_says_otherwise() -> None:
    assert prwlock.RWLock().native.policy.name == "reader-pref"
    bounded = WriterPreference(max_consecutive_writers=2)
    assert prwlock.RWLock(policy=bounded).native.policy == bounded


def test_a_release_of_nothing_raises_and_changes_nothing(lock: prwlock.RWLock) -> None:
    with pytest.raises(ValueError, match="nothing that this thread could release"):
        lock.release()
    lock.acquire_write()
    lock.release()
    with pytest.raises(ValueError, match="nothing that this thread could release"):
        lock.release()
    assert lock.try_acquire_write()
    lock.release()


@pytest.mark.parametrize("first", ["acquire_read", "acquire_write"])
@pytest.mark.parametrize("second", ["acquire_read", "acquire_write"])
def test_who_waits_for_itself_gets_an_error_unless_that_ends(lock: prwlock.RWLock, first: str, second: str) -> None:
    assert getattr(lock, first)()
    if first == second == "acquire_read":
        assert lock.acquire_read()
        lock.release()
    else:
        with pytest.raises(OSError, check=lambda error: error.errno == errno.EDEADLK):
            getattr(lock, second)()
        assert getattr(lock, second)(0.001) is False
        assert getattr(lock, second)(-1) is False
    assert lock.nlocks == 1
    lock.release()


def test_who_reads_may_be_relieved_of_it_while_it_waits_to_write(lock: prwlock.RWLock) -> None:
    lock.acquire_read()

    def relieve() -> None:
        wait_until_parked(lock.native, 1)
        lock.release()

    with ThreadPoolExecutor(1) as pool:
        relief = pool.submit(relieve)
        assert lock.acquire_write(SOON) is True
        relief.result(SOON)
    assert (lock.nlocks, lock.native.locked()) == (1, Mode.WRITE)
    lock.release()


def test_a_release_is_of_the_callers_last_hold_first(lock: prwlock.RWLock) -> None:
    """Then of anybody's read, and of what a thread that has ended has left; never of another thread's write."""
    lock.acquire_read()
    in_a_thread(lock.acquire_read)
    lock.release()
    assert lock.nlocks == 1
    lock.release()
    assert lock.nlocks == 0
    thread = threading.Thread(target=lock.acquire_write)
    thread.start()
    thread.join()
    assert lock.nlocks == 1
    lock.release()
    lock.acquire_write()
    with pytest.raises(ValueError, match="nothing that this thread could release"):
        in_a_thread(lock.release)
    lock.release()


def test_pid_is_that_of_the_process_that_made_the_object(lock: prwlock.RWLock) -> None:
    made, sent = os.getpid(), pickle.dumps(lock)
    assert lock.pid == made

    def child() -> None:
        assert lock.pid == made
        assert pickle.loads(sent).pid == os.getpid() != made

    in_child(child)


def test_nan_and_what_is_no_number_are_refused(lock: prwlock.RWLock) -> None:
    with pytest.raises(ValueError, match="NaN"):
        lock.acquire_read(float("nan"))
    with pytest.raises(TypeError):
        lock.acquire_write("soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert lock.nlocks == 0


@pytest.fixture
def constant() -> Iterator[None]:
    yield
    prwlock.set_pthread_process_shared(1)


@pytest.mark.usefixtures("constant")
def test_an_impossible_constant_keeps_locks_from_being_made() -> None:
    assert prwlock.get_pthread_process_shared() == 1
    prwlock.set_pthread_process_shared(0xBEEF)
    assert prwlock.get_pthread_process_shared() == 0xBEEF
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EINVAL):
        prwlock.RWLock()
    prwlock.set_pthread_process_shared(0)
    with prwlock.RWLock().reader_lock(0):
        pass


# -- blocks ------------------------------------------------------------------------------------------------------------


def test_blocks_hold_one_side(lock: prwlock.RWLock) -> None:
    for block, mode in ((lock.reader_lock(), Mode.READ), (lock.writer_lock(timeout=1), Mode.WRITE)):
        assert (block.locked, lock.nlocks) == (False, 0)
        with block:
            assert (block.locked, lock.nlocks, lock.native.locked()) == (True, 1, mode)
        assert (block.locked, lock.nlocks) == (False, 0)
    assert (block.lock, block.method, block.timeout) == (lock, "write", 1)


def test_a_block_is_not_entered_when_time_runs_out(lock: prwlock.RWLock) -> None:
    entered = False
    with lock.reader_lock(timeout=0.1):
        for timeout in (0, -0.5, 0.001):
            with pytest.raises(ValueError, match="could not be had to write"), lock.writer_lock(timeout):
                entered = True
    assert not entered
    assert lock.nlocks == 0


def test_a_method_that_is_none_is_refused(lock: prwlock.RWLock) -> None:
    with pytest.raises(ValueError, match="unknown method 'upgrade'"):
        prwlock.GenericLockContextManager(lock, "upgrade")


def test_a_child_leaves_a_block_of_its_parent_in_silence(lock: prwlock.RWLock) -> None:
    block = lock.writer_lock()
    block.__enter__()

    def child() -> None:
        block.__exit__(None, None, None)
        assert lock.nlocks == 0
        assert not lock.try_acquire_read()

    in_child(child)
    assert lock.nlocks == 1
    block.__exit__(None, None, None)


# -- copies ------------------------------------------------------------------------------------------------------------


def pickled(lock: prwlock.RWLock) -> Any:
    return pickle.loads(pickle.dumps(lock))


COPIES: Final[list[Callable[[Any], Any]]] = [copy.copy, copy.deepcopy, pickled]


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_is_the_same_lock_with_a_count_of_its_own(lock: prwlock.RWLock, copied: Callable[[Any], Any]) -> None:
    lock.acquire_read()
    other: prwlock.RWLock = copied(lock)
    assert other.native is lock.native
    assert (lock.nlocks, other.nlocks) == (1, 0)
    assert in_a_thread(other.try_acquire_write) is False
    with pytest.raises(ValueError, match="nothing"):
        other.release()
    lock.release()
    assert in_a_thread(other.try_acquire_write) is True
    other.release()


def test_an_object_that_goes_gives_back_what_it_has_itself(lock: prwlock.RWLock) -> None:
    lock.acquire_read()
    other: prwlock.RWLock | None = copy.copy(lock)
    assert other is not None
    assert other.acquire_read()
    assert other.acquire_read()
    with pytest.warns(ResourceWarning, match="was dropped while it held 2 times"):
        del other
    assert lock.native.statistics().readers == 1
    lock.release()


def add_one(lock: prwlock.RWLock, path: str) -> int:
    with lock.writer_lock(), open(path, "r+", encoding="utf-8") as file:  # noqa: PTH123 - as such programs do
        value = int(file.read()) + 1
        file.seek(0)
        file.write(str(value))
        return value


@pytest.mark.parametrize("method", ["fork", "spawn", *later(["forkserver"])])
def test_workers_of_every_kind_of_pool_exclude_each_other_job_after_job(
    method: str, lock: prwlock.RWLock, tmp_path: Any
) -> None:
    path = tmp_path / "counter"
    path.write_text("0")
    with multiprocessing.get_context(method).Pool(2) as pool:
        jobs = [pool.apply_async(add_one, (lock, str(path))) for _ in range(30)]
        assert sorted(job.get(30) for job in jobs) == list(range(1, 31))
    assert lock.nlocks == 0


def test_many_processes_may_use_one_lock(lock: prwlock.RWLock) -> None:
    """As the original sets no bound, ours is far beyond what a `ProcessRWLock` has unless told."""
    assert isinstance(lock.native, ProcessRWLock)
    assert lock.native.max_processes == 1024
    assert lock.native.max_holds == 4096


# -- interruptions -----------------------------------------------------------------------------------------------------


def _interrupt_whoever_waits() -> None:
    lock = prwlock.RWLock()
    ways: list[Callable[[], bool]] = [lock.acquire_read, lock.acquire_write, partial(lock.acquire_write, SOON)]
    for acquire in ways:
        interrupt = Interrupt()

        def strike(interrupt: Interrupt = interrupt) -> None:
            wait_until_parked(lock.native, 1)
            interrupt.strike()

        holder = lock.native.write().acquire().detach()
        striker = threading.Thread(target=strike)
        striker.start()
        with pytest.raises(KeyboardInterrupt):
            acquire()
        striker.join()
        assert (lock.nlocks, lock.native.statistics().waiters) == (0, ())
        holder.release()


def test_an_interrupted_wait_leaves_nothing() -> None:
    fails_in_no_child(_interrupt_whoever_waits)


def test_a_native_guard_and_a_call_exclude_each_other(lock: prwlock.RWLock) -> None:
    with lock.native.write():
        assert in_a_thread(lock.try_acquire_read) is False
    lock.acquire_write()
    with pytest.raises(LockTimeout):
        in_a_thread(lock.native.read(timeout=0).acquire)
    lock.release()
