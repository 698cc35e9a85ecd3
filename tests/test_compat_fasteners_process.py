"""The process half of `rwlocks.compat.fasteners`: what holds between processes holds between threads, too."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from _partners import in_child
from _processes import RECOVERY
from _waits import later

from rwlocks import DeadlockError, Mode, NotHeldError, ProcessRWLock
from rwlocks.compat import fasteners
from rwlocks.compat.fasteners import InterProcessLock, InterProcessReaderWriterLock
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.connection import Connection
    from pathlib import Path

SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging
AnyLock = InterProcessLock | InterProcessReaderWriterLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "where" / "file.lock"


@pytest.fixture
def lock(path: Path) -> InterProcessReaderWriterLock:
    return InterProcessReaderWriterLock(path)


def in_a_thread(what: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(what).result(SOON)


def obey(lock: AnyLock, orders: Connection) -> None:
    while True:
        try:
            method, *arguments = orders.recv()
        except EOFError:
            return
        orders.send(getattr(lock, method)(*arguments))


@contextmanager
def other(lock: AnyLock, method: str = "fork") -> Generator[Callable[..., Any]]:
    """Another process that does with the lock what it is told."""
    context: Any = multiprocessing.get_context(method)
    pipe, theirs = context.Pipe()
    process = context.Process(target=obey, args=(lock, theirs), daemon=True)
    process.start()
    theirs.close()

    def does(*order: object) -> Any:
        if order == ("die",):
            process.kill()
            process.join()
            return None
        pipe.send(order)
        assert pipe.poll(30), "the other process hangs"
        return pipe.recv()

    try:
        yield does
    finally:
        process.kill()
        process.join()


# -- readers and writers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn", *later(["forkserver"])])
def test_processes_share_and_exclude(method: str, lock: InterProcessReaderWriterLock) -> None:
    with other(lock, method) as partner:
        assert partner("acquire_read_lock") is True
        assert lock.acquire_read_lock(blocking=False) is True
        lock.release_read_lock()
        assert lock.acquire_write_lock(blocking=False) is False
        assert lock.acquire_write_lock(timeout=0.001) is False
        assert lock.acquire_write_lock(timeout=0) is False
        partner("release_read_lock")
        with lock.write_lock():
            assert partner("acquire_read_lock", False) is False
        assert partner("acquire_write_lock", True, 0.01, 0.1, 5.0) is True


def test_threads_share_and_exclude(lock: InterProcessReaderWriterLock, path: Path) -> None:
    """The original let every thread in, and every object for the same file."""
    for their in (lock, InterProcessReaderWriterLock(path)):
        with lock.write_lock():
            assert in_a_thread(partial(their.acquire_read_lock, blocking=False)) is False
        with lock.read_lock():
            assert in_a_thread(partial(their.acquire_write_lock, blocking=False)) is False
            assert in_a_thread(partial(their.acquire_read_lock, blocking=False)) is True
            their.release_read_lock()
    assert lock.native.locked() is None


def test_a_thread_may_enter_again_also_through_another_object(lock: InterProcessReaderWriterLock, path: Path) -> None:
    """In the original, the end of the inner block freed the file, and that of the outer one raised."""
    again = InterProcessReaderWriterLock(str(path))
    with lock.write_lock(), again.write_lock(), lock.read_lock(), again.read_lock():
        pass
    with lock.read_lock():
        with again.read_lock():
            pass
        assert lock.native.locked() is Mode.READ
        with pytest.raises(DeadlockError, match="would wait for itself to write"):
            again.acquire_write_lock()
    assert lock.native.locked() is None


def test_a_write_may_end_inside_a_read(lock: InterProcessReaderWriterLock) -> None:
    lock.acquire_write_lock()
    lock.acquire_read_lock()
    lock.release_write_lock()
    assert in_a_thread(lambda: lock.acquire_read_lock(blocking=False)) is True
    lock.release_read_lock()
    lock.release_read_lock()
    assert lock.native.locked() is None


def test_only_what_was_acquired_is_released_and_any_thread_may(lock: InterProcessReaderWriterLock, path: Path) -> None:
    for release in (lock.release_read_lock, lock.release_write_lock):
        with pytest.raises(NotHeldError):
            release()
    with InterProcessReaderWriterLock(path).write_lock(), pytest.raises(NotHeldError):
        lock.release_write_lock()
    lock.acquire_write_lock()
    with pytest.raises(NotHeldError):
        lock.release_read_lock()
    in_a_thread(lock.release_write_lock)
    assert lock.native.locked() is None


def test_impossible_times_are_refused(lock: InterProcessReaderWriterLock) -> None:
    with pytest.raises(ValueError, match="timeout is -1"):
        lock.acquire_read_lock(timeout=-1)
    with pytest.raises(ValueError, match=r"delay is -0\.5"):
        lock.acquire_write_lock(delay=-0.5)
    assert lock.native.locked() is None


@pytest.mark.parametrize("side", ["acquire_read_lock", "acquire_write_lock"])
def test_the_death_of_a_holder_lets_the_next_in_line_in(side: str, lock: InterProcessReaderWriterLock) -> None:
    with other(lock) as partner:
        assert partner(side)
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(lock.acquire_write_lock, timeout=30)
            wait_until_parked(lock.native, 1)
            killed = time.monotonic()
            partner("die")
            assert writing.result(SOON) is True
            assert time.monotonic() - killed < RECOVERY
        lock.release_write_lock()


# -- files and objects -------------------------------------------------------------------------------------------------


def test_the_file_appears_and_what_is_in_it_stays(lock: InterProcessReaderWriterLock, path: Path) -> None:
    assert lock.path == os.fsencode(path)
    assert not path.parent.exists()
    with lock.read_lock():
        assert path.read_bytes() == b""
    path.write_bytes(b"data")
    with InterProcessReaderWriterLock(os.fsencode(path)).write_lock():
        assert path.read_bytes() == b"data"
    assert {each.name for each in path.parent.iterdir()} == {"file.lock", "file.lock.rwlock"}


def test_readers_come_first_unless_a_policy_says_otherwise(lock: InterProcessReaderWriterLock, tmp_path: Path) -> None:
    assert isinstance(lock.native, ProcessRWLock)
    assert lock.native.policy.name == "reader-pref"
    assert InterProcessReaderWriterLock(tmp_path / "fair", policy="fifo").native.policy.name == "fifo"


def test_a_lock_is_for_its_user_alone_unless_it_says_otherwise(tmp_path: Path) -> None:
    with InterProcessLock(tmp_path / "alone"), InterProcessLock(tmp_path / "group", mode=0o660):
        assert [(tmp_path / f"{name}.rwlock").stat().st_mode & 0o777 for name in ("alone", "group")] == [0o600, 0o660]


@pytest.mark.parametrize("kind", [InterProcessLock, InterProcessReaderWriterLock])
def test_an_object_that_goes_gives_back_what_it_has_itself(kind: type[AnyLock], path: Path) -> None:
    lock: AnyLock | None = kind(path)
    kept = InterProcessReaderWriterLock(path)
    assert lock is not None
    assert lock.acquire() if isinstance(lock, InterProcessLock) else lock.acquire_write_lock()
    kept.acquire_write_lock()
    with pytest.warns(ResourceWarning, match="was dropped while it held 1 times"):
        del lock
    assert kept.native.locked() is Mode.WRITE
    kept.release_write_lock()
    assert kept.native.locked() is None


@pytest.mark.parametrize("kind", [InterProcessLock, InterProcessReaderWriterLock])
def test_a_copy_is_another_object_for_the_same_file(kind: type[AnyLock], path: Path) -> None:
    lock = kind(path)
    for copied in (pickle.loads(pickle.dumps(lock)), copy.copy(lock)):
        assert type(copied) is kind
        assert copied.path == lock.path
        assert copied.native is lock.native


def test_a_child_has_nothing_of_its_parents(lock: InterProcessReaderWriterLock) -> None:
    single = InterProcessLock(os.fsdecode(lock.path) + "2")
    block = lock.write_lock()
    block.__enter__()
    single.acquire()

    def child() -> None:
        with pytest.raises(NotHeldError):
            lock.release_write_lock()
        block.__exit__(None, None, None)
        single.__exit__(None, None, None)
        assert not single.acquired
        assert lock.acquire_read_lock(blocking=False) is False

    in_child(child)
    assert single.acquired
    single.release()
    block.__exit__(None, None, None)
    assert lock.native.locked() is None


# -- the writing side alone --------------------------------------------------------------------------------------------


def test_a_plain_lock_is_the_writing_side(lock: InterProcessReaderWriterLock, path: Path) -> None:
    single = InterProcessLock(path)
    assert (single.exists(), single.acquired) == (False, False)
    with pytest.raises(NotHeldError):
        single.release()
    with single as entered:
        assert entered is single
        assert (single.exists(), single.acquired) == (True, True)
        assert in_a_thread(lambda: lock.acquire_read_lock(blocking=False)) is False
    assert (single.exists(), single.acquired) == (True, False)
    with other(lock) as partner:
        assert partner("acquire_read_lock")
        assert single.acquire(blocking=False) is False
        assert single.acquire(timeout=0.001) is False
        assert (single.exists(), single.acquired) == (True, False)


# -- decorators --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decorate", "mode"),
    [
        (fasteners.interprocess_read_locked, Mode.READ),
        (fasteners.interprocess_write_locked, Mode.WRITE),
        (fasteners.interprocess_locked, Mode.WRITE),
    ],
)
def test_decorators_lock_around_functions(decorate: Any, mode: Mode, lock: InterProcessReaderWriterLock) -> None:
    def look(value: int, *, again: bool) -> tuple[int, Mode | None]:
        """Looks."""
        if again:
            assert look(value, again=False) == (value, mode)
        return value, lock.native.locked()

    look = decorate(os.fsdecode(lock.path))(look)
    assert (look.__name__, look.__doc__) == ("look", "Looks.")
    assert look(3, again=True) == (3, mode)
    assert lock.native.locked() is None
