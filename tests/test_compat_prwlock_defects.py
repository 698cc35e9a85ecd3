"""P1 to P16, the defects of prwlock 0.4.1: gone from ours, each shown by a test of its number.

On the original each of these tests fails, in `tests/test_compat_defects.py`, and only these. P14 is one of Windows. The
original blocks where no signal can reach it, so whatever may hang does so in another process.
"""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from _originals import ON_THE_ORIGINALS, under_test
from _processes import RECOVERY
from _waits import later

from rwlocks import Fifo
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Generator
    from multiprocessing.connection import Connection

    from rwlocks.compat import prwlock
else:
    prwlock = under_test("prwlock")

SOON: Final = 1.5 if ON_THE_ORIGINALS else 30.0  # seconds until another process is given up
# What our users may ask for; there is nothing of the kind to ask of the original.
FAIR: Final[dict[str, Any]] = {} if ON_THE_ORIGINALS else {"policy": Fifo(patience=0)}


kept: list[prwlock.RWLock] = []


def new_lock(**options: Any) -> prwlock.RWLock:
    """A lock; one of the original for ever, because its end would close what others have under its number (P8)."""
    lock = prwlock.RWLock(**options)
    if ON_THE_ORIGINALS:
        kept.append(lock)
    return lock


def obey(lock: prwlock.RWLock, orders: Connection) -> None:
    while True:
        try:
            method, *arguments = orders.recv()
        except EOFError:
            return
        try:
            answer = getattr(lock, method)(*arguments)
        except (KeyboardInterrupt, OSError, ValueError) as error:
            answer = type(error)
        orders.send(answer)


class Other:
    """Another process that uses the lock as it is told."""

    def __init__(self, lock: prwlock.RWLock, method: str = "fork") -> None:
        context: Any = multiprocessing.get_context(method)
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=obey, args=(lock, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, *order: object) -> None:
        self._pipe.send(order)

    def answer(self) -> Any:
        assert self._pipe.poll(SOON), "the other process hangs"
        try:
            return self._pipe.recv()
        except EOFError:
            raise AssertionError("the other process has died") from None

    def does(self, *order: object) -> Any:
        self.ask(*order)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


@contextmanager
def other(lock: prwlock.RWLock, *order: object, method: str = "fork") -> Generator[Other]:
    """Another process, after a first order that has to succeed."""
    partner = Other(lock, method)
    try:
        if order:
            assert partner.does(*order) is True
        yield partner
    finally:
        partner.kill()


def wait_for_waiter(lock: prwlock.RWLock) -> None:
    """The original cannot be asked who waits."""
    if ON_THE_ORIGINALS:
        time.sleep(0.3)
    else:
        wait_until_parked(lock.native, 1)


def refuses_to_release(lock: prwlock.RWLock) -> bool:
    try:
        lock.release()
    except ValueError:
        return True
    return False


def test_what_is_no_defect_works() -> None:
    lock = new_lock()
    with other(lock, "acquire_write") as partner:
        assert not lock.try_acquire_read()
        assert not lock.acquire_write(0)
        assert partner.does("release") is None
        assert lock.acquire_read(5)
        assert partner.does("try_acquire_read")
        assert not partner.does("try_acquire_write")
        lock.release()
        assert refuses_to_release(lock)


@pytest.mark.parametrize("timeout", [-0.25, -0.999])
def test_p1_no_timeout_is_taken_for_success(timeout: float) -> None:
    """Negative ones above -1, which `deadline - now` often is, gave True without the lock."""
    lock = new_lock()
    with other(lock, "acquire_write"):
        assert lock.acquire_write(timeout) is False
        assert lock.acquire_read(timeout) is False
        assert lock.nlocks == 0


def test_p1_a_write_in_the_own_write_does_not_succeed_because_it_has_a_timeout() -> None:
    lock = new_lock()
    assert lock.acquire_write()
    assert lock.acquire_write(0.01) is False
    assert lock.nlocks == 1
    lock.release()


def test_p2_a_read_in_the_own_write_is_refused() -> None:
    """It gave True, for the error was ignored."""
    lock = new_lock()
    assert lock.acquire_write()
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EDEADLK):
        lock.acquire_read()
    assert lock.nlocks == 1
    lock.release()


def test_p3_releasing_whatever_there_is_leaves_a_lock_that_works() -> None:
    """After P1 or P2 it unlocked once too often, and nobody could write ever again."""
    lock = new_lock()
    assert lock.acquire_write()
    try:
        lock.acquire_read()
    except OSError:
        pass
    while not refuses_to_release(lock):
        pass
    with other(lock) as partner:
        assert partner.does("try_acquire_write") is True


def test_p4_a_timeout_is_as_long_as_it_says() -> None:
    """It was measured by the wall clock, and from the start of the current second."""
    lock = new_lock()
    if ON_THE_ORIGINALS:
        time.sleep(1.6 - time.time() % 1)  # to the end of a second
    with other(lock, "acquire_write"):
        for acquire in (lock.acquire_read, lock.acquire_write):
            begun = time.monotonic()
            assert acquire(0.04) is False
            assert time.monotonic() - begun >= 0.04


def test_p5_copies_take_timeouts() -> None:
    """They lacked the two methods for that."""
    lock = new_lock()
    copy: prwlock.RWLock = pickle.loads(pickle.dumps(lock))
    kept.append(copy)
    assert copy.acquire_read(5) is True
    assert lock.acquire_write(0.01) is False
    copy.release()
    assert copy.acquire_write(5) is True
    copy.release()


@pytest.mark.parametrize("method", ["spawn", *later(["forkserver"])])
def test_p6_a_lock_reaches_processes_that_inherit_nothing(method: str) -> None:
    """The number of a descriptor was sent, without the descriptor: the child died."""
    lock = new_lock()
    with other(lock, "acquire_write", method=method):
        assert lock.try_acquire_read() is False


def visit(lock: prwlock.RWLock, number: int) -> int:
    with lock.writer_lock() if number % 2 else lock.reader_lock():
        return number


def test_p6_a_lock_reaches_workers_that_were_there_before_it() -> None:
    """The job was lost, and whoever asked for its result hung."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(os.getpid).get(SOON)
        assert pool.apply_async(visit, (new_lock(), 1)).get(SOON) == 1


def test_p7_a_worker_may_do_many_jobs() -> None:
    """The end of the first closed the descriptor, and the next killed the worker: of 20 jobs 10 were lost."""
    lock = new_lock()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        jobs = [pool.apply_async(visit, (lock, number)) for number in range(20)]
        assert [job.get(SOON) for job in jobs] == list(range(20))
    assert lock.acquire_write(0)
    lock.release()


CLOSES = """
import gc, os, pickle, sys
prwlock = __import__(sys.argv[1], fromlist=["RWLock"])
lock = prwlock.RWLock()
copy = pickle.loads(pickle.dumps(lock))
del lock
gc.collect()
files = [open(os.devnull, "w") for _ in range(8)]
del copy
for file in files:
    file.write("!")
    file.flush()
"""


def program(code: str) -> None:
    """Run a program of its own, for what a test's process could not survive."""
    command = [sys.executable, "-P", "-c", code, prwlock.__name__]
    subprocess.run(command, check=True, timeout=SOON, stderr=subprocess.DEVNULL)


def test_p8_copies_close_nothing_that_is_not_theirs() -> None:
    """The second copy of a process closed whatever had the number of its descriptor by then."""
    program(CLOSES)


def test_p9_a_copy_that_goes_frees_nobodys_hold() -> None:
    """It released as often as the lock that it was made of had been acquired."""
    lock = new_lock()
    assert lock.acquire_read()
    copy = pickle.loads(pickle.dumps(lock))
    del copy
    with other(lock) as partner:
        assert partner.does("try_acquire_write") is False
    lock.release()


shelf: list[prwlock.RWLock] = []


def test_p9_a_child_that_drops_a_lock_frees_nobodys_hold() -> None:
    """It released what its parent held."""
    shelf.append(prwlock.RWLock())
    try:
        assert shelf[0].acquire_read()
        pid = os.fork()
        if not pid:
            shelf.clear()
            gc.collect()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        with other(shelf[0]) as partner:
            assert partner.does("try_acquire_write") is False
        shelf[0].release()
    finally:
        shelf.clear()


def test_p10_a_child_cannot_release_its_parents_hold() -> None:
    """It could, and corrupted the lock for ever."""
    lock = new_lock()
    assert lock.acquire_write()
    with other(lock) as partner:
        assert partner.does("release") is ValueError
        assert partner.does("try_acquire_read") is False
        lock.release()
        assert partner.does("acquire_write", 0.5) is True


def test_p10_a_thread_cannot_release_the_write_of_another() -> None:
    lock = new_lock()
    assert lock.acquire_write()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(refuses_to_release, lock).result(SOON)
    assert lock.nlocks == 1
    lock.release()


@pytest.mark.parametrize("side", ["acquire_read", "acquire_write"])
def test_p11_the_death_of_a_holder_lets_the_next_in_line_in(side: str) -> None:
    """Everybody was locked out for ever."""
    lock = new_lock()
    with other(lock, side) as holder, other(lock) as waiter:
        waiter.ask("acquire_write", RECOVERY + 1)
        wait_for_waiter(lock)
        killed = time.monotonic()
        holder.kill()
        assert waiter.answer() is True
        assert time.monotonic() - killed < RECOVERY


def test_p12_a_writer_can_be_protected_from_readers_that_overlap() -> None:
    """There was one policy, and under it writers starved."""
    lock = new_lock(**FAIR)
    with other(lock, "acquire_read"), other(lock) as writer, other(lock) as late:
        writer.ask("acquire_write")
        wait_for_waiter(lock)
        assert late.does("acquire_read", 0.05) is False


def test_p13_waiting_answers_signals_and_leaks_nothing() -> None:
    """The signal was handled when the lock had been had, which then stayed locked."""
    lock = new_lock()
    assert lock.acquire_write()
    with other(lock) as waiter:
        waiter.ask("acquire_write")
        wait_for_waiter(lock)
        os.kill(waiter.process.pid, signal.SIGINT)
        assert waiter.answer() is KeyboardInterrupt
        lock.release()
        assert lock.acquire_write(0)
        lock.release()


NUMBER_ZERO = """
import os, pickle, sys
os.close(0)
prwlock = __import__(sys.argv[1], fromlist=["RWLock"])
lock = prwlock.RWLock()
copy = pickle.loads(pickle.dumps(lock))
assert lock.try_acquire_write()
assert not copy.try_acquire_write()
lock.release()
"""


def test_p15_a_descriptor_may_have_any_number() -> None:
    """Number 0 was taken for none, so that a copy was another lock."""
    program(NUMBER_ZERO)


def test_p16_a_context_manager_can_be_entered_again() -> None:
    """The outer block left its hold behind."""
    lock = new_lock()
    reading = lock.reader_lock()
    with reading:
        with reading:
            assert lock.nlocks == 2
        assert (reading.locked, lock.nlocks) == (True, 1)
    assert (reading.locked, lock.nlocks) == (False, 0)
