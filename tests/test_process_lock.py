"""`ProcessRWLock` as its users see it: names and conflicts, guards, other processes, children, pickles, the end."""

from __future__ import annotations

import asyncio
import copy
import inspect
import multiprocessing
import os
import pickle
import stat
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _partners import METHODS, ask, in_child, lock, partners
from _processes import until

from rwlocks import (
    DeadlockError,
    Fifo,
    GuardStateError,
    LockClosed,
    LockTimeout,
    Mode,
    NotHeldError,
    PhaseFair,
    ProcessRWLock,
    ReaderPreference,
    ReadWriteLock,
    RWLock,
    SegmentError,
    SegmentFull,
    UpgradeConflict,
    WriterPreference,
    acquire_all,
    deadlocks,
)
from rwlocks.testing import wait_until_parked, wait_until_spent

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from _partners import Partners

    from rwlocks import Policy

__all__ = ["lock", "partners"]

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE
ALL = [READ, UPGRADABLE, WRITE]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.rwlock"


# -- names and what they are made with -------------------------------------------------------------------------------


def test_the_signature_shows_the_defaults() -> None:
    parameters = inspect.signature(ProcessRWLock).parameters
    shown = {name: parameter.default for name, parameter in parameters.items()}
    assert shown == {
        "name_or_path": None,
        "policy": None,
        "mode": 0o600,
        "max_processes": 64,
        "max_holds": 1024,
        "on_writer_death": "flag",
        "create": True,
    }


def test_a_name_is_one_lock_for_all_who_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RWLOCKS_DIR", str(tmp_path / "locks"))
    with ProcessRWLock("jobs") as one, ProcessRWLock("jobs") as other:
        assert one.name == "jobs"
        assert one.path == other.path == tmp_path / "locks" / "jobs"
        with one.write():
            assert other.locked() is WRITE
    with pytest.raises(FileNotFoundError, match="leave create=False out"):
        ProcessRWLock("others", create=False)
    ProcessRWLock("jobs", create=False).close()
    ProcessRWLock.unlink("jobs")
    with pytest.raises(FileNotFoundError):
        ProcessRWLock.unlink("jobs")


def test_a_path_is_a_path(path: Path) -> None:
    with ProcessRWLock(path) as lock, ProcessRWLock(str(path)) as other:
        assert lock.path == other.path == path
        assert lock.name == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileNotFoundError, match="no such directory to make a lock in"):
        ProcessRWLock(path.with_name("deeper") / "lock")


def test_a_lock_without_a_name_has_no_file(lock: ProcessRWLock) -> None:
    assert (lock.name, lock.path) == (None, None)
    with pytest.raises(ValueError, match="cannot be found, only made"):
        ProcessRWLock(create=False)


POLICIES: list[Policy] = [
    Fifo(),
    Fifo(max_batch=3),
    PhaseFair(),
    PhaseFair(max_batch=2),
    ReaderPreference(),
    ReaderPreference(max_writer_wait=0.25),
    WriterPreference(),
    WriterPreference(max_consecutive_writers=4),
]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_lock_tells_its_policy(policy: Policy, path: Path) -> None:
    with ProcessRWLock(path, policy) as lock, ProcessRWLock(path) as other:
        assert lock.policy == other.policy == policy
    for different in POLICIES:
        if different != policy:
            with pytest.raises(ValueError, match="the same or leave it out") as caught:
                ProcessRWLock(path, different)
            assert repr(policy) in str(caught.value)
            assert repr(different) in str(caught.value)


def test_patience_is_everybodys_own(path: Path) -> None:
    with ProcessRWLock(path, Fifo(patience=0.5)) as lock, ProcessRWLock(path, Fifo(patience=0)) as other:
        assert lock.policy.patience == 0.5
        assert other.policy.patience == 0
        with ProcessRWLock(path) as third:
            assert third.policy == Fifo()


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        ({}, {"max_processes": 8}),
        ({"max_processes": 8}, {"max_processes": 64}),
        ({}, {"max_holds": 12}),
        ({"max_holds": 12}, {"max_holds": 1024}),
        ({}, {"on_writer_death": "raise"}),
        ({"on_writer_death": "raise"}, {"on_writer_death": "flag"}),
    ],
)
def test_conflicts_name_both(made: dict[str, Any], asked: dict[str, Any], path: Path) -> None:
    with ProcessRWLock(path, **made) as lock:
        ((name, value),) = asked.items()
        there = getattr(lock, name)
        with pytest.raises(ValueError, match=f"exists with {name}={there!r}, and {name}={value!r} was asked for"):
            ProcessRWLock(path, **asked)
        ProcessRWLock(path).close()
        ProcessRWLock(path, **made).close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"policy": "lifo"}, ValueError, "unknown policy"),
        ({"mode": 0o666}, ValueError, "share it with the group"),
        ({"mode": 0o400}, ValueError, "give 0o600"),
        ({"mode": "600"}, TypeError, "permission bits"),
        ({"max_processes": 0}, ValueError, "at least 1"),
        ({"max_processes": 5000}, ValueError, "1 to 4000"),
        ({"max_holds": 2.5}, TypeError, "whole number"),
        ({"max_holds": 70000}, ValueError, "1 to 65535"),
        ({"on_writer_death": "panic"}, ValueError, "unknown on_writer_death 'panic'; the known ones are 'flag'"),
    ],
)
def test_nonsense_is_refused_and_leaves_no_file(
    arguments: dict[str, Any], error: type[Exception], message: str, path: Path
) -> None:
    with pytest.raises(error, match=message):
        ProcessRWLock(path, **arguments)
    assert not path.exists()


def test_sharing_with_the_group_has_to_be_asked_for(path: Path) -> None:
    with ProcessRWLock(path, mode=0o660) as lock:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with pytest.raises(SegmentError, match="wider than 600"):
            ProcessRWLock(path)
        with ProcessRWLock(path, mode=0o660) as other, lock.write():
            assert other.locked() is WRITE


def test_what_is_no_lock_is_refused_by_name(path: Path) -> None:
    path.write_text("my diary")
    path.chmod(0o600)
    with pytest.raises(SegmentError, match="use another name") as caught:
        ProcessRWLock(path)
    assert caught.value.filename == str(path)
    assert path.read_text() == "my diary"


# -- as any lock of this package ---------------------------------------------------------------------------------------


def use(lock: ReadWriteLock) -> Mode | None:
    with lock.write():
        return lock.locked()


def test_it_satisfies_the_protocol(lock: ProcessRWLock) -> None:
    assert use(lock) is WRITE
    assert lock.locked() is None


@pytest.mark.parametrize("held", ALL)
@pytest.mark.parametrize("wanted", ALL)
def test_who_shares_with_whom(held: Mode, wanted: Mode, lock: ProcessRWLock, partners: Partners) -> None:
    partners.holding(lock, held)
    shares = WRITE not in {held, wanted} and READ in {held, wanted}
    assert lock.acquirable(wanted) is shares
    guard = ask(lock, wanted)
    assert guard.try_acquire() is shares
    assert guard.held is shares
    if shares:
        guard.release()


def test_a_timeout_names_the_process_that_holds(lock: ProcessRWLock, partners: Partners) -> None:
    partner = partners.holding(lock, WRITE)
    with pytest.raises(LockTimeout, match=f"it is held for write by process {partner.pid}") as caught:
        lock.read(timeout=0.02).acquire()
    (holder,) = caught.value.holders
    assert (holder.pid, holder.mode) == (partner.pid, WRITE)
    assert caught.value.waited >= 0.02
    assert caught.value.lock is lock
    with pytest.raises(LockTimeout, match="within 0 s"), lock.write(timeout=-1):
        pass
    assert lock.statistics().timeouts == 2


def test_errors_come_through_a_pipe(lock: ProcessRWLock, partners: Partners) -> None:
    partner = partners.new(lock)
    with lock.write():
        with pytest.raises(LockTimeout, match=f"by process {os.getpid()}") as caught:
            partner.do("acquire", READ, 0.01)
        assert caught.value.holders[0].pid == os.getpid()
        assert caught.value.holders[0].hold is None
        assert "ProcessRWLock" in caught.value.lock
    with pytest.raises(NotHeldError, match="holds nothing"):
        partner.do("release")
    assert partner.do("acquire", READ)
    with pytest.raises(DeadlockError, match="the same owner holds it already") as refused:
        partner.do("acquire", WRITE)
    assert isinstance(refused.value.lock, str)


def test_statistics_tell_processes_and_ages(lock: ProcessRWLock, partners: Partners) -> None:
    partner = partners.holding(lock, READ)
    with lock.read():
        waiter = partners.new(lock)
        waiter.wait_for(WRITE)
        seen = lock.statistics()
        assert (seen.mode, seen.readers, seen.writers, seen.waiting_writers) == (READ, 2, 0, 1)
        assert {(h.pid, h.owner) for h in seen.holders} == {
            (partner.pid, f"process {partner.pid}"),
            (os.getpid(), threading.current_thread().name),
        }
        (waiting,) = seen.waiters
        assert (waiting.pid, waiting.mode, waiting.owner) == (waiter.pid, WRITE, f"process {waiter.pid}")
        assert waiting.age >= 0
        assert pickle.loads(pickle.dumps(seen)).waiters == seen.waiters
    assert (seen.acquisitions, seen.contended) == (2, 1)
    assert partner.do("statistics").holders[0].owner == "MainThread"


def test_repr_tells_policy_state_and_waiters(lock: ProcessRWLock, path: Path, partners: Partners) -> None:
    assert repr(lock) == "<ProcessRWLock fifo: free, 0 waiting>"
    with lock.write():
        partners.new(lock).wait_for(READ)
        assert repr(lock) == "<ProcessRWLock fifo: held for write, 1 waiting>"
    with ProcessRWLock(path, "phase-fair") as named:
        assert repr(named) == f"<ProcessRWLock {str(path)!r} phase-fair: free, 0 waiting>"
    assert repr(named) == f"<ProcessRWLock {str(path)!r} phase-fair: closed>"


def test_a_guard_in_use_is_not_used_twice(lock: ProcessRWLock) -> None:
    guard = lock.read().acquire()
    with pytest.raises(GuardStateError, match="holds the lock already"):
        guard.acquire()
    with pytest.raises(GuardStateError, match="holds the lock already"):
        guard.try_acquire()
    guard.release()
    for _ in range(2):
        with pytest.raises(NotHeldError):
            guard.release()
    with guard:
        assert guard.held
    assert lock.locked() is None


def test_a_guard_may_be_released_by_whoever_has_it_before_its_waiter_wakes(
    lock: ProcessRWLock, partners: Partners
) -> None:
    partner = partners.holding(lock, WRITE)
    guard = lock.write()
    thread = threading.Thread(target=guard.acquire)
    thread.start()
    wait_until_parked(lock, 1)
    partner.tell("release")
    until(lambda: guard.held)
    guard.release()
    thread.join()
    assert lock.locked() is None
    assert lock.statistics().holders == ()


def test_what_an_owner_holds_counts_over_all_objects_of_a_lock(path: Path) -> None:
    with ProcessRWLock(path) as one, ProcessRWLock(path) as other:
        with one.read(), pytest.raises(DeadlockError, match="the same owner holds it already"):
            other.write().acquire()
        with pytest.raises(GuardStateError, match="exclude each other"):
            acquire_all(one.read(), other.write())


def test_strict_mode_refuses_every_nested_request(lock: ProcessRWLock) -> None:
    with lock.read():
        with lock.read():
            pass
        lock.deadlocks = "strict"
        with pytest.raises(DeadlockError, match="the same owner holds it already"):
            lock.read().acquire()
        guard = lock.read()
        assert guard.try_acquire(), "trying never deadlocks"
        guard.release()


def test_an_upgrade_conflict_says_who_is_in_the_way(lock: ProcessRWLock, partners: Partners) -> None:
    partner = partners.holding(lock, UPGRADABLE)
    guard = lock.read().acquire()
    with pytest.raises(UpgradeConflict, match=f"upgradable by process {partner.pid}") as caught:
        guard.upgrade().acquire()
    assert [holder.pid for holder in caught.value.holders] == [partner.pid]
    assert guard.upgrade().try_acquire() is False
    with pytest.raises(LockTimeout):
        guard.upgrade(timeout=0).acquire()
    assert guard.mode is READ
    guard.release()


def test_a_task_and_a_thread_and_a_process_take_turns(lock: ProcessRWLock, partners: Partners) -> None:
    order: list[str] = []
    partner = partners.new(lock)

    def thread() -> None:
        with lock.write():
            order.append("thread")

    async def main() -> None:
        async with lock.write():
            other = threading.Thread(target=thread)
            other.start()
            await wait_until_parked(lock, 1)
            partner.tell("acquire", WRITE)
            await wait_until_parked(lock, 2)
            await wait_until_spent(lock)
        await asyncio.to_thread(other.join)
        assert await asyncio.to_thread(partner.answer) is True
        order.append("process")
        partner.tell("release")
        async with lock.write():
            order.append("task")

    asyncio.run(main())
    assert order == ["thread", "process", "task"]


def test_all_or_nothing_with_locks_of_this_process(lock: ProcessRWLock, partners: Partners) -> None:
    local = RWLock()
    partner = partners.holding(lock, WRITE)
    with pytest.raises(LockTimeout), acquire_all(local.write(), lock.read(), timeout=0.02):
        pass
    assert local.locked() is None
    taken: list[bool] = []

    def take() -> None:
        with acquire_all(local.write(), lock.read()) as (inside, outside):
            taken.append(inside.held and outside.held)

    thread = threading.Thread(target=take)
    thread.start()
    wait_until_parked(lock, 1)
    assert local.locked() is None
    partner.do("release")
    thread.join()
    assert taken == [True]
    assert (local.locked(), lock.locked()) == (None, None)


def test_circles_of_waiters_lead_through_both_kinds_of_locks(lock: ProcessRWLock) -> None:
    local = RWLock(name="local")
    errors: list[DeadlockError] = []

    def take(first: ReadWriteLock, second: ReadWriteLock) -> None:
        with first.write():
            barrier.wait()
            try:
                second.write().acquire().release()
            except DeadlockError as error:
                errors.append(error)

    barrier = threading.Barrier(2)
    pairs = [(local, lock), (lock, local)]
    threads = [threading.Thread(target=take, args=pair, name=f"thread {n}") for n, pair in enumerate(pairs)]
    local.deadlocks = lock.deadlocks = "cycles"
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors, "nobody gave way"
    assert {link.owner for link in errors[0].cycle.links} == {"thread 0", "thread 1"}
    assert deadlocks() == ()
    assert (local.locked(), lock.locked()) == (None, None)


def test_a_circle_is_reported_while_it_lasts(lock: ProcessRWLock) -> None:
    local = RWLock(name="local")

    def take(first: ReadWriteLock, second: ReadWriteLock) -> None:
        with first.write():
            barrier.wait()
            with suppress(LockTimeout), second.write(timeout=1.5):
                pass

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=take, args=pair) for pair in ((local, lock), (lock, local))]
    for thread in threads:
        thread.start()
    wait_until_parked(lock, 1)
    wait_until_parked(local, 1)
    (found,) = deadlocks()
    assert {id(link.lock) for link in found.links} == {id(local), id(lock)}
    assert "ProcessRWLock" in str(found)
    for thread in threads:
        thread.join()
    assert deadlocks() == ()


@pytest.mark.parametrize("mode", ALL)
def test_a_watch_sees_what_other_processes_do(mode: Mode, lock: ProcessRWLock, partners: Partners) -> None:
    partner = partners.holding(lock, WRITE)
    with lock.watch(mode) as watch:
        assert not watch.is_set()
        assert not watch.wait(0.03)
        partner.do("release")
        assert watch.wait(30)
        assert watch.is_set()
        watch.clear()
        assert not watch.is_set()
        partner.do("acquire", WRITE)
        assert not watch.is_set()
        partner.do("release")
        assert watch.is_set()
    with pytest.raises(GuardStateError, match="nobody watches"):
        lock.watch(mode).wait()


def test_a_task_watches_without_blocking_its_loop(lock: ProcessRWLock, partners: Partners) -> None:
    partner = partners.holding(lock, WRITE)

    async def main() -> None:
        async with lock.watch(READ) as watch:
            waiting = asyncio.ensure_future(watch._wait_async())
            await asyncio.sleep(0)
            assert not waiting.done()
            partner.tell("release")
            await waiting

    asyncio.run(main())


# -- children ----------------------------------------------------------------------------------------------------------


def test_a_forked_child_owns_nothing_of_its_parent(lock: ProcessRWLock) -> None:
    guard = lock.write().acquire()
    view = lock.reader

    def child() -> None:
        assert not guard.held
        with pytest.raises(NotHeldError, match="that of the process from which this one was forked"):
            guard.release()
        assert not lock.read().try_acquire()
        assert not view.acquire(blocking=False)

    in_child(child)
    assert guard.held
    guard.release()


def blocks(lock: ProcessRWLock) -> dict[str, Callable[[], AbstractContextManager[object]]]:
    @contextmanager
    def upgraded() -> Generator[object]:
        with lock.upgradable() as guard, guard.upgrade():
            yield guard

    return {
        "read": lock.read,
        "write": lock.write,
        "upgrade": upgraded,
        "reader": lambda: lock.reader,
        "writer": lambda: lock.writer,
        "all": lambda: acquire_all(lock.read(), lock.upgradable()),
    }


@pytest.mark.parametrize("kind", ["read", "write", "upgrade", "reader", "writer", "all"])
def test_a_child_leaves_an_inherited_block_silently(kind: str, lock: ProcessRWLock) -> None:
    go, going = os.pipe()
    pid = -1
    try:
        with blocks(lock)[kind]():
            pid = os.fork()
            if pid:
                assert lock.statistics().readers + lock.statistics().writers
                os.write(going, b"!")
        if not pid:
            os.read(go, 1)
            lock.write(timeout=20).acquire().release()
    except BaseException:
        if not pid:
            traceback.print_exc()
            os._exit(1)
        raise
    if not pid:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def work(lock: ProcessRWLock, counter: str) -> int:
    with lock.write():
        path = Path(counter)
        number = int(path.read_text()) + 1
        path.write_text(str(number))
    return os.getpid()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("named", [False, True], ids=["anonymous", "named"])
def test_pools_that_use_their_workers_again(method: str, named: bool, path: Path) -> None:
    counter = path.with_name("counter")
    counter.write_text("0")
    with (
        ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool,
        ProcessRWLock(path if named else None) as lock,
    ):
        jobs = [pool.submit(work, lock, str(counter)) for _ in range(24)]
        workers = {job.result(30) for job in jobs}
    assert len(workers) <= 2
    assert counter.read_text() == "24"


@pytest.mark.parametrize("method", METHODS)
def test_a_child_of_every_kind_meets_its_parent(method: str, lock: ProcessRWLock, partners: Partners) -> None:
    partner = partners.new(lock, multiprocessing.get_context(method))
    assert partner.do("acquire", WRITE)
    assert lock.locked() is WRITE
    partner.do("release")
    assert lock.locked() is None


# -- copies ------------------------------------------------------------------------------------------------------------


def test_a_copy_is_the_lock(lock: ProcessRWLock, path: Path) -> None:
    with ProcessRWLock(path, Fifo(patience=0.25)) as named:
        for each in (lock, named):
            assert copy.copy(each) is each
            assert copy.deepcopy({"lock": each})["lock"] is each
        assert pickle.loads(pickle.dumps(named)) is named
        pickled = pickle.dumps(named)
    with pytest.raises(LockClosed, match="cannot be pickled any more"):
        pickle.dumps(named)
    again: ProcessRWLock = pickle.loads(pickled)
    assert (again.name, again.policy) == (str(path), Fifo(patience=0.25))
    again.close()
    ProcessRWLock.unlink(path)
    ProcessRWLock(path).close()
    with pytest.raises(SegmentError, match="made again since it was pickled"):
        pickle.loads(pickled)


def test_a_guard_is_no_luggage(lock: ProcessRWLock) -> None:
    with lock.read() as guard, pytest.raises(TypeError, match="a hold belongs to one process"):
        pickle.dumps(guard)


# -- the end -----------------------------------------------------------------------------------------------------------


def test_closing(path: Path) -> None:
    lock, other = ProcessRWLock(path), ProcessRWLock(path)
    with lock.read(), pytest.raises(GuardStateError, match="release its guards before you close it"):
        lock.close()
    with other.write():
        errors: list[BaseException] = []

        def wait() -> None:
            try:
                lock.read().acquire()
            except LockClosed as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        wait_until_parked(other, 1)
        lock.close()
        thread.join()
        assert len(errors) == 1
        assert other.statistics().waiters == ()
    lock.close()
    for use_it in (lock.read().acquire, lock.locked, lock.statistics, lock.mark_consistent):
        with pytest.raises(LockClosed, match="make a new object"):
            use_it()
    with other.write():
        pass
    other.close()


def test_a_task_that_waits_hears_of_the_closing(path: Path) -> None:
    async def main() -> None:
        with ProcessRWLock(path) as other, other.write():
            lock = ProcessRWLock(path)
            task = asyncio.ensure_future(lock.read()._acquire_async())
            await wait_until_parked(other, 1)
            lock.close()
            with pytest.raises(LockClosed):
                await task

    asyncio.run(main())


def test_too_many_holds_and_processes(path: Path) -> None:
    with ProcessRWLock(path, max_holds=3, max_processes=2) as lock, ProcessRWLock(path):
        guards = [lock.read().acquire() for _ in range(3)]
        with pytest.raises(SegmentFull, match=rf"all 3 places .* process {os.getpid()} with 3; .* larger max_holds"):
            lock.read().acquire()
        with pytest.raises(SegmentFull, match=r"all 2 places for processes .* larger max_processes"):
            ProcessRWLock(path)
        for guard in guards:
            guard.release()


def test_an_interpreter_may_end_with_the_lock_held(path: Path) -> None:
    program = (
        f"import rwlocks; lock = rwlocks.ProcessRWLock({str(path)!r}); kept = lock.write().acquire(); print('held')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("held\n", "")
    with ProcessRWLock(path) as lock, lock.write(timeout=5) as guard:
        assert guard.recovered
        lock.mark_consistent()


def test_without_the_native_core_everything_else_works() -> None:
    program = """
import rwlocks
from rwlocks import *
with rwlocks.RWLock().read():
    pass
for make in (ProcessRWLock, lambda: ProcessRWLock.unlink("nothing")):
    try:
        make()
    except BackendUnavailable as error:
        assert "RWLOCKS_NO_NATIVE is set; unset it" in str(error), error
    else:
        raise AssertionError
"""
    environment = {**os.environ, "RWLOCKS_NO_NATIVE": "1"}
    subprocess.run([sys.executable, "-P", "-c", program], env=environment, check=True)
