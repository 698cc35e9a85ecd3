"""Segments from their making to their end: names, strangers, children of every kind, full tables, scribbled memory."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from _processes import Cast, ProcessCore, config, take, try_take, until, waiting

from rwlocks._errors import (
    GuardStateError,
    LockClosed,
    NotHeldError,
    SegmentError,
    SegmentFull,
    UpgradeConflict,
)
from rwlocks._types import Mode
from rwlocks.backends.process import _segment
from rwlocks.backends.process._hold import Hold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE
METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture
def core() -> Iterator[ProcessCore]:
    core = ProcessCore.make(config())
    yield core
    core.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.rwlock"


def opened(path: Path, **limits: Any) -> ProcessCore:
    return ProcessCore.open(path, config(**limits))


# -- names -----------------------------------------------------------------------------------------------------------


def test_whoever_comes_first_makes_it_and_the_others_find_it(path: Path) -> None:
    first, second = opened(path), ProcessCore.open(path, None)
    assert first.instance == second.instance
    hold = take(first, WRITE)
    assert try_take(second, READ) is None
    first.release(hold)
    second.release(take(second, READ))
    first.close()
    second.close()


def race(path: Path, go: int, out: int) -> None:
    os.read(go, 1)
    core = opened(path)
    os.write(out, core.instance)
    time.sleep(0.2)
    core.close()


def test_a_race_to_make_it_has_one_winner(path: Path) -> None:
    go, going = os.pipe()
    instances, out = os.pipe()
    children = [multiprocessing.get_context("fork").Process(target=race, args=(path, go, out)) for _ in range(8)]
    for child in children:
        child.start()
    os.write(going, b"x" * len(children))
    for child in children:
        child.join()
        assert child.exitcode == 0
    os.close(out)
    with os.fdopen(instances, "rb") as found:
        seen = found.read()
    assert len(seen) == 16 * len(children)
    assert seen == seen[:16] * len(children)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    os.close(go)
    os.close(going)


def test_permissions_do_not_depend_on_the_umask(path: Path) -> None:
    before = os.umask(0o777)
    try:
        opened(path).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_last_user_takes_the_name_away_if_asked(path: Path) -> None:
    first, second = opened(path), opened(path)
    first.close(unlink_if_last=True)
    assert path.exists()
    second.close(unlink_if_last=True)
    assert not path.exists()


def test_unlink_leaves_the_users_alone(path: Path) -> None:
    old = opened(path)
    hold = take(old, WRITE)
    _segment.unlink(path)
    new = opened(path)
    new.release(take(new, WRITE))
    old.release(hold)
    assert old.instance != new.instance
    with pytest.raises(FileNotFoundError):
        _segment.unlink(path.with_name("nothing"))
    old.close()
    new.close()


def test_names_lie_in_a_private_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    monkeypatch.setenv("RWLOCKS_DIR", str(folder))
    assert _segment.find("jobs") == folder / "jobs"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert _segment.find(tmp_path / "x") == tmp_path / "x"
    for name in ("", ".", "..", "a\0b"):
        with pytest.raises(ValueError, match="cannot be the name"):
            _segment.find(name)
    folder.chmod(0o755)
    with pytest.raises(SegmentError, match="chmod 700"):
        _segment.find("jobs")
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with pytest.raises(SegmentError, match="is no directory"):
        _segment.find("jobs")


# -- strangers -------------------------------------------------------------------------------------------------------


def refused(path: Path, reason: str) -> None:
    with pytest.raises(SegmentError, match=reason) as caught:
        opened(path)
    assert caught.value.filename == str(path)


def test_a_symbolic_link_is_not_followed(path: Path) -> None:
    opened(path).close()
    link = path.with_name("link")
    link.symlink_to(path)
    refused(link, "symbolic link")


def test_what_is_no_regular_file_is_refused(path: Path) -> None:
    path.mkdir()
    refused(path, "no regular file")
    path.rmdir()
    os.mkfifo(path)
    refused(path, "no regular file")


def test_permissions_wider_than_asked_are_refused(path: Path) -> None:
    opened(path).close()
    path.chmod(0o666)
    refused(path, "chmod 600")


def test_somebody_elses_is_refused(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    opened(path).close()
    os.chown(path, 12345, 12345)
    refused(path, "belongs to user 12345")


@pytest.mark.parametrize("content", [b"", b"something else\n", b"\0" * 8192, os.urandom(20000)], ids=len)
def test_another_file_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises((SegmentError, OSError)):
        opened(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("offset", "value"), [(8, 99), (16, 1), (24, 8), (72, 0), (76, 2**32 - 1), (80, 7), (88, 9)])
def test_another_layout_or_impossible_values_are_refused(path: Path, offset: int, value: int) -> None:
    opened(path).close()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(value.to_bytes(4, sys.byteorder))
    refused(path, "no lock that can be used here")


def test_a_truncated_one_is_refused(path: Path) -> None:
    opened(path).close()
    os.truncate(path, 5000)
    refused(path, "size|small")


def test_one_from_before_the_last_boot_is_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_segment, "_boot_id", lambda: b"an earlier boot!")
        opened(path).close()
    with pytest.raises(SegmentError, match="before this machine was started"):
        ProcessCore.open(path, None)
    new = opened(path)
    new.release(take(new, WRITE))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


# -- children --------------------------------------------------------------------------------------------------------


def in_child(core: ProcessCore, hold: Hold) -> int:
    """In a forked child: the parent's hold is not ours, and the lock is usable at once. 0 if all is as it should be."""
    if not hold.inherited or hold.held:
        return 1
    try:
        core.release(hold)
    except NotHeldError:
        pass
    else:
        return 2
    mine = try_take(core, READ)
    if mine is None:
        return 3
    core.release(mine)
    return 0


def test_a_forked_child_owns_nothing_and_can_use_the_lock(core: ProcessCore) -> None:
    hold = take(core, READ)
    pid = os.fork()
    if not pid:
        os._exit(in_child(core, hold))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert hold.held
    core.release(hold)


def test_a_child_that_forgets_what_it_inherited_changes_nothing(core: ProcessCore) -> None:
    """P9: dropping a copy, or an ordinary exit of a forked child, freed the parent's lock."""
    hold = take(core, WRITE)
    pid = os.fork()
    if not pid:
        del hold, core
        os._exit(0)
    os.waitpid(pid, 0)
    cast = Cast(core)
    other = cast.actor()
    other.ask(READ, timeout=0.2)
    assert other.done() is False
    core.release(hold)
    cast.end()


@pytest.mark.parametrize("method", METHODS)
def test_children_of_every_kind_get_the_lock_itself(core: ProcessCore, method: str) -> None:
    cast = Cast(core)
    child = cast.actor(multiprocessing.get_context(method))
    child.ask(WRITE)
    assert child.done() is True
    assert try_take(core, READ) is None
    child.do("release")
    core.release(take(core, READ))
    cast.end()


def work(core: ProcessCore, number: int) -> int:
    hold = take(core, WRITE if number % 3 == 0 else READ, timeout=20)
    time.sleep(0.001)
    core.release(hold)
    return number


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("named", [False, True], ids=["anonymous", "named"])
def test_workers_that_are_used_again_lose_no_job(method: str, named: bool, path: Path) -> None:
    """P6, P7: a lock made after the pool started was lost, and half of the jobs with it."""
    with multiprocessing.get_context(method).Pool(2) as pool:
        core = opened(path) if named else ProcessCore.make(config())
        jobs = [pool.apply_async(work, (core, number)) for number in range(20)]
        assert [job.get(30) for job in jobs] == list(range(20))
        pool.close()
        pool.join()
    assert core.snapshot().acquisitions == 20
    core.close()


@pytest.mark.parametrize("method", METHODS)
def test_executors_lose_no_job(core: ProcessCore, method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as executor:
        jobs = [executor.submit(work, core, number) for number in range(20)]
        assert [job.result(30) for job in jobs] == list(range(20))


def test_a_copy_of_a_lock_in_its_own_process_is_that_lock(path: Path) -> None:
    """P8: copies shared a descriptor, and both closed it."""
    core = opened(path)
    assert pickle.loads(pickle.dumps(core)) is core
    assert copy.copy(core) is core
    core.close()
    with pytest.raises(LockClosed):
        pickle.dumps(core)


def test_a_pickle_of_a_lock_that_was_made_again_is_refused(path: Path) -> None:
    core = opened(path)
    data = pickle.dumps(core)
    core.close(unlink_if_last=True)
    opened(path).close()
    with pytest.raises(SegmentError, match="made again"):
        pickle.loads(data)
    _segment.unlink(path)
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)


# -- closing ---------------------------------------------------------------------------------------------------------


def test_close_is_refused_while_something_is_held(path: Path) -> None:
    core = opened(path)
    hold = take(core, READ)
    with pytest.raises(GuardStateError, match="holds the lock"):
        core.close()
    core.release(hold)
    core.close()
    core.close()
    with pytest.raises(LockClosed):
        take(core, READ)
    with pytest.raises(LockClosed):
        try_take(core, READ)


def test_close_ends_the_waits_of_this_process(path: Path) -> None:
    holder, core = opened(path), opened(path)
    hold = take(holder, WRITE)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            take(core, READ)
        except LockClosed as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: waiting(holder) == 1)
    core.close()
    thread.join()
    assert len(errors) == 1
    assert waiting(holder) == 0
    holder.release(hold)
    holder.close()


def test_a_lock_that_is_dropped_while_it_is_held_stays_held(path: Path) -> None:
    other = opened(path)
    take(opened(path), WRITE)
    hurried = Hold()
    assert not other.acquire(hurried, READ, patience=0, timeout=0.2)
    assert len(other.snapshot().requests) == 1


# -- limits ----------------------------------------------------------------------------------------------------------


def test_a_full_table_of_holds_says_so(path: Path) -> None:
    core = opened(path, holds=3)
    holds = [take(core, READ) for _ in range(3)]
    with pytest.raises(SegmentFull, match=f"all 3 places .* process {os.getpid()} with 3"):
        take(core, READ)
    with pytest.raises(SegmentFull):
        try_take(core, READ)
    core.release(holds.pop())
    holds.append(take(core, READ))
    for hold in holds:
        core.release(hold)
    core.close()


def test_the_dead_do_not_fill_a_table(path: Path) -> None:
    core = opened(path, holds=3)
    pid = os.fork()
    if not pid:
        for _ in range(3):
            take(core, READ)
        os._exit(0)
    os.waitpid(pid, 0)
    core.release(take(core, READ))
    core.close()


def test_a_full_table_of_processes_says_so(path: Path) -> None:
    cores = [opened(path, processes=2) for _ in range(2)]
    with pytest.raises(SegmentFull, match=f"all 2 places for processes are taken, by {os.getpid()}"):
        opened(path, processes=2)
    cores.pop().close()
    cores.append(opened(path, processes=2))
    for core in cores:
        core.close()


@pytest.mark.parametrize("limits", [{"processes": 0}, {"holds": 0}, {"processes": 5000}, {"holds": 70000}])
def test_impossible_limits_are_refused(limits: dict[str, int], path: Path) -> None:
    with pytest.raises(ValueError, match="give 1 to 4000 processes"):
        opened(path, **limits)
    assert list(path.parent.iterdir()) == []


# -- requests ----------------------------------------------------------------------------------------------------------


def test_no_wait_succeeds_by_mistake(core: ProcessCore) -> None:
    """P1, P4: negative and tiny timeouts were taken for success, or measured from the start of the second."""
    cast = Cast(core)
    cast.holding(WRITE)
    for timeout in (-0.25, -1e300, 0, 1e-9):
        assert not core.acquire(Hold(), WRITE, patience=0, timeout=timeout)
    for _ in range(3):
        started = time.monotonic()
        assert not core.acquire(Hold(), READ, patience=0, timeout=0.15)
        assert time.monotonic() - started >= 0.15
    assert core.snapshot().timeouts
    cast.end()


def test_releasing_twice_changes_nothing(core: ProcessCore) -> None:
    """P2, P3, P10, P16: releases of nothing corrupted the lock for all processes."""
    hold, other = take(core, READ), take(core, READ)
    core.release(hold)
    for _ in range(3):
        with pytest.raises(NotHeldError):
            core.release(hold)
        with pytest.raises(NotHeldError):
            core.release(Hold())
    assert [r.mode for r in core.snapshot().requests] == [READ]
    core.release(other)


def test_ctrl_c_ends_a_wait_and_leaves_nothing(core: ProcessCore) -> None:
    """P13: a signal was delivered only after the lock had been obtained, and then leaked it."""
    cast = Cast(core)
    holder = cast.holding(WRITE)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        take(core, WRITE)
    assert waiting(core) == 0
    holder.do("release")
    core.release(take(core, WRITE))
    cast.end()


def test_upgrade_and_downgrade(core: ProcessCore) -> None:
    hold = take(core, UPGRADABLE)
    reader = take(core, READ)
    with pytest.raises(UpgradeConflict):
        core.upgrade(reader, timeout=1)
    assert not core.upgrade(hold, timeout=0.05)
    assert (hold.mode, hold.upgrading) == (UPGRADABLE, False)
    core.release(reader)
    assert core.upgrade(hold, timeout=1)
    assert (hold.mode, hold.base) == (WRITE, UPGRADABLE)
    assert try_take(core, READ) is None
    core.end_upgrade(hold)
    assert hold.mode is UPGRADABLE
    core.downgrade(hold)
    assert hold.mode is READ
    assert core.upgrade(hold, timeout=0)
    core.end_upgrade(hold)
    assert hold.mode is READ
    core.release(hold)


def test_a_retry_keeps_the_first_arrival(core: ProcessCore) -> None:
    holder = take(core, WRITE)
    hold = Hold()
    hold.arrival, hold.wanted = 7, 123
    assert not core.acquire(hold, READ, patience=0, timeout=0.01)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: core.acquire(hold, READ, patience=0, timeout=5))
    thread.start()
    until(lambda: waiting(core) == 1)
    seen += [r.arrival for r in core.snapshot().requests if not r.held]
    assert seen == [7]
    core.release(holder)
    thread.join()
    core.release(hold)


# -- scribbled memory ------------------------------------------------------------------------------------------------

SCRIBBLED = """
import mmap, os, random, sys
path, seed = sys.argv[1], int(sys.argv[2])
dice = random.Random(seed)
with open(path, "r+b") as file:
    size = os.fstat(file.fileno()).st_size
    with mmap.mmap(file.fileno(), size) as memory:
        for _ in range(dice.choice([1, 4, 40])):
            place = dice.randrange(1024, size)
            if dice.random() < 0.5:
                place = dice.choice([1024, 1088, 1152, 1240]) + dice.randrange(64)
            stretch = dice.choice([1, 4, 8, 64])
            memory[place : place + stretch] = dice.randbytes(len(memory[place : place + stretch]))
"""
DEFINED = (SegmentError, NotHeldError, LockClosed, UpgradeConflict, GuardStateError)


def use(core: ProcessCore, dice: random.Random) -> None:
    for _ in range(6):
        hold = Hold()
        try:
            if not core.acquire(hold, dice.choice([READ, UPGRADABLE, WRITE]), patience=0, timeout=0.06):
                continue
            if hold.mode is UPGRADABLE and core.upgrade(hold, timeout=0.02):
                core.end_upgrade(hold)
            core.release(hold)
            core.snapshot()
        except DEFINED:
            pass


def scribbled(path: Path, seed: int) -> int:
    core = opened(path, holds=16, processes=8)
    dice = random.Random(seed)
    use(core, dice)
    subprocess.run([sys.executable, "-P", "-c", SCRIBBLED, str(path), str(seed)], check=True)
    use(core, dice)
    return 0


@pytest.mark.timeout(200)
def test_random_bytes_give_defined_errors_and_no_hang(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    first = random.randrange(1_000_000)
    for seed in range(first, first + 12):
        child = context.Process(target=scribbled, args=(path, seed))
        child.start()
        child.join(15)
        assert child.exitcode == 0, f"seed {seed}: {child.exitcode}"
        path.unlink()


# -- without the native core -------------------------------------------------------------------------------------------


def test_without_the_native_core_the_remedy_is_named() -> None:
    code = "import rwlocks; rwlocks.RWLock().read().acquire(); import rwlocks.backends.process._core"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "RWLOCKS_NO_NATIVE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "BackendUnavailable" in done.stderr
    assert "RWLOCKS_NO_NATIVE is set; unset it" in done.stderr
