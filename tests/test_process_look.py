"""A look at a lock from outside: sees who holds and who waits, alive or dead, and leaves no trace."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _processes import Cast, ProcessCore, config, take

import rwlocks
from rwlocks._errors import SegmentError
from rwlocks._types import Mode
from rwlocks.backends.process import _segment
from rwlocks.backends.process._look import look
from rwlocks.backends.process._places import locks_in

if TYPE_CHECKING:
    from collections.abc import Iterator

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE
GATE = 1024
"""Where the gate's word lies."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.rwlock"


@pytest.fixture
def cast(path: Path) -> Iterator[Cast]:
    cast = Cast(ProcessCore.open(path, config("phase-fair", processes=16, holds=32)))
    yield cast
    cast.end()
    cast.core.close()


def test_it_sees_who_holds_and_who_waits(cast: Cast, path: Path) -> None:
    readers = [cast.holding(READ), cast.holding(UPGRADABLE)]
    writer = cast.queued(WRITE)
    found = look(path)
    assert found.whole
    assert [(s.request.mode, s.request.pid, s.request.held, s.alive) for s in found.seen] == [
        (READ, readers[0].pid, True, True),
        (UPGRADABLE, readers[1].pid, True, True),
        (WRITE, writer.pid, False, True),
    ]
    assert all(seen.here for seen in found.seen)
    assert tuple(seen.request for seen in found.seen) == found.snapshot.requests
    assert found.seen[-1].request.age > 0
    assert found.snapshot.contended == 1
    assert sorted(found.processes) == sorted([os.getpid(), *(actor.pid for actor in cast.actors)])
    assert found.config == cast.core.config


def test_it_leaves_no_trace(cast: Cast, path: Path) -> None:
    cast.holding(READ)
    path.chmod(0o400)
    before = path.read_bytes(), path.stat(), sorted(path.parent.iterdir())
    look(path)
    after = path.read_bytes(), path.stat(), sorted(path.parent.iterdir())
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1].st_mtime_ns == before[1].st_mtime_ns
    path.chmod(0o600)


def test_it_sees_the_dead_and_does_not_bury_them(cast: Cast, path: Path) -> None:
    dead = cast.holding(WRITE)
    dead.kill()
    dead.process.join()
    for _ in range(2):
        found = look(path)
        assert [(s.request.mode, s.request.pid, s.alive) for s in found.seen] == [(WRITE, dead.pid, False)]
        assert dead.pid not in found.processes
        assert not found.snapshot.writer_died
    cast.core.release(take(cast.core, READ))
    found = look(path)
    assert (found.seen, found.snapshot.writer_died, found.snapshot.reaped) == ((), True, 1)


def test_it_sees_a_lock_that_nobody_has_open(path: Path) -> None:
    ProcessCore.open(path, config()).close()
    found = look(path)
    assert (found.seen, found.processes, found.whole) == ((), (), True)


HOLDER = """
import sys
from pathlib import Path
from rwlocks import ProcessRWLock

with ProcessRWLock(Path(sys.argv[1])).write():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_pid_of_another_namespace_is_told_from_one_of_ours(path: Path) -> None:
    command = ["unshare", "--pid", "--fork", sys.executable, "-P", "-c", HOLDER, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(rwlocks.__file__).parents[1])}
    try:
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    with holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "held\n":
            pytest.skip("namespaces are refused here")
        found = look(path)
        assert [(seen.request.pid, seen.alive, seen.here) for seen in found.seen] == [(1, True, False)]


def test_a_gate_that_stays_shut_keeps_nobody_from_looking(cast: Cast, path: Path) -> None:
    actor = cast.holding(WRITE)
    slot = cast.core.processes().index(actor.pid)
    with path.open("r+b") as file:
        file.seek(GATE)
        file.write(struct.pack("=I", slot + 1 << 20 | 1 << 1))
    found = look(path)
    assert (found.whole, found.gate) == (False, actor.pid)
    assert [seen.request.pid for seen in found.seen] == [actor.pid]
    with path.open("r+b") as file:
        file.seek(GATE)
        file.write(struct.pack("=I", 0))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "too small"),
        (b"x" * 100, "too small"),
        (b"x" * 100_000, "something else"),
    ],
)
def test_what_is_no_lock_is_refused_and_left_as_it_is(content: bytes, reason: str, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(SegmentError, match=reason) as caught:
        look(path)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == content


def test_what_is_no_regular_file_is_refused(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(SegmentError, match="no regular file"):
        look(path)
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(SegmentError, match="symbolic link"):
        look(path)
    with pytest.raises(FileNotFoundError):
        look(path.with_name("nothing"))


def test_one_from_before_the_last_boot_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_segment, "_boot_id", lambda: b"an earlier boot!")
        ProcessCore.open(path, config()).close()
    with pytest.raises(SegmentError, match="before this machine was started"):
        look(path)


def test_random_bytes_give_defined_errors(path: Path) -> None:
    core = ProcessCore.open(path, config(processes=8, holds=16))
    core.release(take(core, WRITE))
    good = path.read_bytes()
    core.close()
    dice = random.Random(seed := random.randrange(1_000_000))
    outcomes: set[str] = set()
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(dice.choice((1, 4, 64))):
            bad[dice.randrange(dice.choice((4096, len(bad))))] = dice.randrange(256)
        bad[GATE : GATE + 4] = bytes(4)  # a gate that looks shut is tried for long
        path.write_bytes(bad)
        try:
            look(path)
            outcomes.add("seen")
        except SegmentError:
            outcomes.add("refused")
    assert outcomes == {"seen", "refused"}, seed


def test_only_what_may_be_a_lock_is_listed(path: Path) -> None:
    ProcessCore.open(path, config()).close()
    path.with_name("foreign").write_text("not a lock")
    path.with_name(".hidden").write_text("may be one")
    path.with_name(".some.rwlock.0123.new").write_text("is being made")
    os.mkfifo(path.with_name(".some.rwlock.1f.0-1-1"))
    assert [each.name for each in locks_in(path.parent)] == [".hidden", "foreign", "some.rwlock"]


def test_unlink_can_spare_a_lock_in_use(path: Path) -> None:
    core = ProcessCore.open(path, config())
    with pytest.raises(SegmentError, match="somebody uses the lock"):
        _segment.unlink(path, in_use=False)
    assert path.exists()
    core.release(take(core, WRITE))
    core.close()
    _segment.unlink(path, in_use=False)
    assert not path.exists()
