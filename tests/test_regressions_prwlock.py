"""The defects of the other lock between processes, each excluded by a test that has its number."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from _partners import METHODS, in_child, lock, partners
from _processes import RECOVERY

from rwlocks import DeadlockError, LockTimeout, Mode, NotHeldError, ProcessRWLock
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from pathlib import Path

    from _partners import Partners

    from rwlocks._types import PolicyName

__all__ = ["lock", "partners"]

READ, WRITE = Mode.READ, Mode.WRITE


@pytest.mark.parametrize("timeout", [-0.25, -0.999999, -5, 0, 1e-12])
def test_p1_no_timeout_is_taken_for_success(timeout: float, lock: ProcessRWLock, partners: Partners) -> None:
    """Negative ones above -1, which `deadline - now` often is, returned True without the lock."""
    partners.holding(lock, WRITE)
    for guard in (lock.read(), lock.write()):
        with pytest.raises(LockTimeout):
            guard.acquire(timeout)
        assert not guard.held


def test_p2_a_read_in_the_own_write_is_no_lock_that_is_not_there(lock: ProcessRWLock) -> None:
    """It returned True, for the error was ignored."""
    with lock.write():
        with pytest.raises(DeadlockError):
            lock.read().acquire()
        assert (lock.statistics().readers, lock.locked()) == (0, WRITE)


def test_p3_releases_of_nothing_do_no_harm(lock: ProcessRWLock, partners: Partners) -> None:
    """After P1 and P2 they unlocked once too often, and the lock was dead for all processes."""
    guard = lock.write()
    for _ in range(3):
        with pytest.raises(NotHeldError):
            guard.release()
        with pytest.raises(NotHeldError):
            lock.reader.release()
    partner = partners.holding(lock, WRITE)
    assert not lock.read().try_acquire()
    partner.do("release")
    assert lock.locked() is None


def test_p4_timeouts_are_those_of_a_clock_that_nobody_sets(lock: ProcessRWLock, partners: Partners) -> None:
    """They were measured by the wall clock, and from the start of the current second: 0.5 s took 0 s now and then."""
    partners.holding(lock, WRITE)
    for _ in range(3):
        with pytest.raises(LockTimeout) as caught:
            lock.read(timeout=0.04).acquire()
        assert caught.value.waited >= 0.04


@pytest.mark.parametrize("method", METHODS)
def test_p5_copies_have_every_method(method: str, lock: ProcessRWLock, partners: Partners) -> None:
    """Those that had been pickled raised AttributeError when a timeout was given."""
    partner = partners.new(lock, multiprocessing.get_context(method))
    with lock.write():
        for mode in (READ, WRITE):
            with pytest.raises(LockTimeout):
                partner.do("acquire", mode, 0.01)
    assert partner.do("acquire", WRITE, 0.5)


def take_turns(lock: ProcessRWLock, number: int) -> int:
    with lock.write() if number % 2 else lock.read():
        return number


@pytest.mark.parametrize("method", METHODS)
def test_p6_a_lock_reaches_workers_that_are_there_before_it(method: str) -> None:
    """A bare descriptor number was sent: the worker died, or mapped another file, and the job hung."""
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(os.getpid).get(30)
        with ProcessRWLock() as lock:
            assert pool.apply_async(take_turns, (lock, 1)).get(30) == 1


def test_p7_a_worker_may_do_many_jobs() -> None:
    """The end of the first job closed the descriptor, and the next killed the worker: of 20 jobs 10 were lost."""
    with multiprocessing.get_context("fork").Pool(2) as pool, ProcessRWLock() as lock:
        jobs = [pool.apply_async(take_turns, (lock, number)) for number in range(20)]
        assert [job.get(30) for job in jobs] == list(range(20))


def test_p8_copies_close_nothing_that_is_not_theirs(tmp_path: Path) -> None:
    """The second copy of a process closed whatever had the number of its descriptor by then."""
    lock = ProcessRWLock(tmp_path / "lock")
    copies = [pickle.loads(pickle.dumps(lock)) for _ in range(3)]
    lock.close()
    files = [(tmp_path / str(n)).open("w") for n in range(8)]
    for copy in copies:
        copy.close()
    copies.clear()
    for file in files:
        file.write("!")
        file.close()


@pytest.mark.parametrize("mode", [READ, WRITE])
def test_p9_what_becomes_of_a_copy_frees_nobodys_hold(mode: Mode, lock: ProcessRWLock, partners: Partners) -> None:
    """A child that ended, or dropped its copy, released what its parent held."""
    guard = lock.read() if mode is READ else lock.write()
    with guard:
        for method in METHODS:
            partner = partners.new(lock, multiprocessing.get_context(method))
            with pytest.raises(LockTimeout):
                partner.do("acquire", WRITE, 0.01)
            partner.end_normally()
        in_child(lambda: None)
        assert guard.held
        assert lock.statistics().mode is mode


def test_p10_a_child_cannot_release_its_parents_hold(lock: ProcessRWLock) -> None:
    """It could, and the lock was corrupt from then on."""
    guard = lock.write().acquire()

    def child() -> None:
        with pytest.raises(NotHeldError):
            guard.release()
        with pytest.raises(LockTimeout):
            lock.read(timeout=0).acquire()

    in_child(child)
    guard.release()
    assert lock.locked() is None


def test_p11_the_lock_survives_whoever_holds_it(lock: ProcessRWLock, partners: Partners) -> None:
    """The death of a holder locked everybody out for ever."""
    for mode in (READ, WRITE):
        partners.holding(lock, mode).kill()
        with lock.write(RECOVERY):
            pass


@pytest.mark.parametrize("policy", ["fifo", "phase-fair", "writer-pref"])
def test_p12_a_writer_gets_in_between_readers_that_overlap(policy: PolicyName, partners: Partners) -> None:
    """There was one policy, that of the C library, and writers starved."""
    with ProcessRWLock(policy=policy) as lock:
        first, second = partners.holding(lock, READ), partners.new(lock)
        got: list[bool] = []

        def write() -> None:
            with lock.write() as guard:
                got.append(guard.held)

        thread = threading.Thread(target=write)
        thread.start()
        wait_until_parked(lock, 1)
        second.wait_for(READ)
        assert len(lock.statistics().waiters) == 2, "the late reader waits behind the writer"
        first.do("release")
        thread.join()
        assert got == [True]
        assert second.answer() is True


def test_p13_a_wait_answers_signals_and_leaks_nothing(lock: ProcessRWLock, partners: Partners) -> None:
    """A signal was handled when the lock had been had; if the handler raised, it stayed locked for good."""
    partner = partners.new(lock)
    with lock.write():
        partner.wait_for(WRITE)
        os.kill(partner.pid, signal.SIGINT)
        assert isinstance(partner.answer(), KeyboardInterrupt)
        assert lock.statistics().waiters == ()
    with lock.write(timeout=5):
        pass


def test_p14_locks_of_one_process_are_different_locks(tmp_path: Path) -> None:
    """Where their names were made of the pid alone, all locks of a process were one."""
    with ProcessRWLock() as one, ProcessRWLock() as other, ProcessRWLock(tmp_path / "lock") as third:
        with one.write(), other.write(timeout=0), third.write(timeout=0):
            pass
        assert len({one, other, third}) == 3


def test_p15_descriptors_of_any_number_will_do() -> None:
    """Number 0 was taken for none, and none was ever given back."""
    program = """
import os, rwlocks
os.close(0)
lock = rwlocks.ProcessRWLock()
with lock.write():
    pass
lock.close()
before = os.listdir("/proc/self/fd")
for _ in range(20):
    with rwlocks.ProcessRWLock() as closed, closed.read():
        pass
    dropped = rwlocks.ProcessRWLock()
    with dropped.read():
        pass
del closed, dropped
assert len(os.listdir("/proc/self/fd")) <= len(before), os.listdir("/proc/self/fd")
"""
    subprocess.run([sys.executable, "-P", "-W", "ignore", "-c", program], check=True)


def test_p16_a_release_knows_its_mode_and_the_lock_its_state(lock: ProcessRWLock) -> None:
    """Nobody could tell what a release released, nor whether anything was locked."""
    reader = lock.read().acquire()
    assert (reader.mode, lock.locked()) == (READ, READ)
    with pytest.raises(NotHeldError):
        lock.write().release()
    assert reader.held
    reader.release()
    assert lock.locked() is None
    with lock.reader, lock.reader:
        assert lock.statistics().readers == 2
