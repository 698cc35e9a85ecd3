"""`rwlocks status` and `rwlocks unlink`: they tell who uses which lock, and harm none."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _processes import FORK, Cast, ProcessCore, config, take, until, waiting
from _programs import ENVIRONMENT, drained

from rwlocks import Mode, ProcessRWLock
from rwlocks.cli import main
from rwlocks.cli._status_lines import duration, lines, printable
from rwlocks.cli._status_survey import command_of, document, survey
from rwlocks.policies import Fifo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RWLOCKS_DIR", str(tmp_path / "locks"))
    (tmp_path / "locks").mkdir(mode=0o700)
    return tmp_path / "locks"


@pytest.fixture
def cast(directory: Path) -> Iterator[Cast]:
    cast = Cast(ProcessCore.open(directory / "cache", config("phase-fair", processes=16)))
    yield cast
    cast.end()
    cast.core.close()


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What it prints, but for where it has looked."""
    assert main(["status", *arguments]) == code
    return re.sub(r"\Anamed locks lie in .*, for RWLOCKS_DIR says so\n", "", capsys.readouterr().out)


def documents(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    locks: list[dict[str, Any]] = json.loads(shown(capsys, *arguments, "--json", code=code))["locks"]
    return locks


# -- who holds, who waits --------------------------------------------------------------------------------------------


def test_it_tells_who_holds_and_who_waits(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = cast.holding(READ), cast.queued(WRITE)
    out = shown(capsys, "cache")
    head, first, second, totals = out.splitlines()
    assert head == "cache  phase-fair, held for reading by 1, 1 waiting, open in 3 processes (of 16)"
    assert first.split()[:5] == ["holds", "read", "-", "pid", str(reader.pid)]
    assert second.split()[:2] == ["waits", "write"]
    assert f"pid {writer.pid}" in second
    assert Path(sys.executable).name in first
    assert totals == "  1 acquisitions, 1 contended, 0 timed out, 0 cancelled, longest wait 0 ms"


def test_it_tells_programs_the_same(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    reader, upgrader = cast.holding(READ), cast.holding(UPGRADABLE)
    upgrader.tell("upgrade", 60)
    until(lambda: waiting(cast.core) == 1)
    writer = cast.queued(WRITE)
    (lock,) = documents(capsys, "cache")
    assert (lock["name"], lock["policy"], lock["mode"]) == ("cache", "phase-fair", "upgradable")
    assert (lock["consistent"], lock["recovered"], lock["max_processes"]) == (True, False, 16)
    assert [(h["mode"], h["pid"], h["alive"], h["upgrading"]) for h in lock["holders"]] == [
        ("read", reader.pid, True, False),
        ("upgradable", upgrader.pid, True, True),
    ]
    assert lock["holders"][0]["seconds"] is None
    assert [(w["mode"], w["pid"]) for w in lock["waiters"]] == [("write", writer.pid)]
    assert lock["waiters"][0]["seconds"] > 0
    assert lock["waiters"][0]["command"] == command_of(os.getpid())
    assert lock["totals"]["acquisitions"] == 2
    assert sorted(lock["processes"]) == sorted([os.getpid(), reader.pid, upgrader.pid, writer.pid])


def test_the_dead_are_told_from_the_living(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    dead = cast.holding(WRITE)
    dead.kill()
    dead.process.join()
    out = shown(capsys, "cache")
    assert f"pid {dead.pid}" in out
    assert "DEAD, to be cleared away by the next who comes" in out
    (lock,) = documents(capsys, "cache")
    assert [(h["pid"], h["alive"], h["command"]) for h in lock["holders"]] == [(dead.pid, False, None)]
    cast.core.release(take(cast.core, READ))
    out = shown(capsys, "cache")
    assert "free, 0 waiting" in out
    assert "1 dead found, 1 of them writing; 0 repairs\n" in out
    assert "  a writer died: what this lock protects may be half written, until mark_consistent() is called\n" in out
    assert documents(capsys, "cache")[0]["recovered"] is True


def abandon(lock: ProcessRWLock, done: Event) -> None:
    lock.write().acquire()
    gc.collect()
    done.set()
    signal.pause()


@pytest.mark.filterwarnings("ignore::rwlocks.AbandonedHoldWarning")
def test_a_hold_whose_guard_was_lost_is_told(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ProcessRWLock(directory / "cache") as lock:
        done = FORK.Event()
        process = FORK.Process(target=abandon, args=(lock, done))
        process.start()
        assert done.wait(30)
        out = shown(capsys, "cache")
        (found,) = documents(capsys, "cache")
        process.kill()
        process.join()
    assert "ABANDONED, its process has lost the guard" in out
    assert [holder["abandoned"] for holder in found["holders"]] == [True]


def test_a_process_of_another_namespace_is_named_by_nobody_here(cast: Cast) -> None:
    cast.holding(READ)
    found = survey("cache")
    (entry,) = found.entries
    assert entry.look is not None
    elsewhere = entry.look._replace(seen=tuple(seen._replace(here=False) for seen in entry.look.seen))
    changed = found._replace(entries=(entry._replace(look=elsewhere),))
    assert "in another pid namespace" in "".join(line.text for line in lines(changed))
    assert '"command": null' in json.dumps(document(changed))
    assert Path(sys.executable).name not in "".join(line.text for line in lines(changed))


def test_without_a_name_it_tells_all_and_no_bad_file_stops_it(
    cast: Cast, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast.holding(READ)
    ProcessCore.open(directory / "idle", config(Fifo(max_batch=4))).close()
    (directory / "foreign\033[2J").write_text("not a lock")
    out = shown(capsys, code=1)
    assert "cache  phase-fair, held for reading by 1" in out
    assert "idle  fifo max_batch=4, free, 0 waiting, open in 0 processes (of 64)" in out
    assert "foreign?[2J  this is no lock that can be used here: it is too small to be one" in out
    assert [lock["name"] for lock in documents(capsys, code=1)] == ["cache", "foreign\033[2J", "idle"]


def test_a_directory_is_all_that_is_in_it(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ProcessCore.open(directory / "one", config()).close()
    assert [lock["name"] for lock in documents(capsys, str(directory))] == ["one"]
    assert [lock["name"] for lock in documents(capsys, str(directory / "one"))] == ["one"]


def test_looking_makes_nothing(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == f"no locks in {directory}\n"
    assert shown(capsys, "nothing", code=1) == "nothing  there is no such lock\n"
    assert list(directory.iterdir()) == []
    directory.rmdir()
    assert shown(capsys) == f"no locks in {directory}\n"
    assert not directory.exists()


def test_a_directory_that_was_chosen_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ProcessCore.open(directory / "one", config()).close()
    for arguments in ([], ["one"], [str(directory)]):
        assert main(["status", *arguments]) == 0
        assert capsys.readouterr().out.startswith(f"named locks lie in {directory}, for RWLOCKS_DIR says so\none  fifo")
    monkeypatch.delenv("RWLOCKS_DIR")
    assert main(["status", str(directory)]) == 0
    assert capsys.readouterr().out.startswith("one  fifo")


def test_an_impossible_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", ".."]) == 1
    assert "'..' cannot be the name of a lock" in capsys.readouterr().err


def test_without_the_native_core_it_says_so(directory: Path) -> None:
    (directory / "cache").touch()
    for command in ("status", "unlink"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "rwlocks", command, "cache"],
            env=ENVIRONMENT | {"RWLOCKS_DIR": str(directory), "RWLOCKS_NO_NATIVE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"rwlocks {command}: process locks need the native core")


# -- again and again -------------------------------------------------------------------------------------------------


def test_watching_shows_changes_until_ctrl_c(cast: Cast, directory: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "rwlocks", "status", "cache", "--watch", "--json"]
    environment = ENVIRONMENT | {"RWLOCKS_DIR": str(directory)}
    with subprocess.Popen(
        [*command, "--interval", "0.01"], stdout=subprocess.PIPE, text=True, env=environment
    ) as watch:
        assert watch.stdout is not None

        def look_until(mode: str | None) -> None:
            assert watch.stdout is not None
            while json.loads(watch.stdout.readline())["locks"][0]["mode"] != mode:
                pass

        look_until(None)
        writer = cast.holding(WRITE)
        look_until("write")
        writer.do("release")
        look_until(None)
        watch.send_signal(signal.SIGINT)
        watch.stdout.read()
    assert watch.returncode == 0


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False)])
def test_watching_draws_where_it_can(cast: Cast, directory: Path, term: str, drawn: bool) -> None:
    writer = cast.holding(WRITE)
    command = [sys.executable, "-W", "error", "-m", "rwlocks", "status", "--watch", "--interval", "0.01"]
    environment = ENVIRONMENT | {"RWLOCKS_DIR": str(directory), "TERM": term, "PYTHONIOENCODING": "utf-8"}
    here, there = os.openpty()
    with subprocess.Popen(command, stdout=there, stderr=there, env={**environment, "COLUMNS": "100"}) as watch:
        os.close(there)
        output = b""
        while output.count(f"pid {writer.pid}".encode()) < 3:
            output += os.read(here, 65536)
        watch.send_signal(signal.SIGINT)
        drained(here)
    os.close(here)
    assert watch.returncode == 0
    assert (b"\033[" in output) is drawn
    assert (b"-- " in output) is not drawn


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "soon"])
def test_an_impossible_interval_is_refused(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["status", "--watch", f"--interval={interval}"])
    assert leaving.value.code == 2
    assert f"'{interval}' is no interval; give seconds above 0" in capsys.readouterr().err


# -- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 ms"),
        (0.0124, "12 ms"),
        (1.25, "1.2 s"),
        (59.94, "59.9 s"),
        (61, "1 min 1 s"),
        (3599, "59 min 59 s"),
        (7260, "2 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_terminal_is_told_nothing_to_obey() -> None:
    assert printable("train.py \033]0;x\a\udcff") == "train.py ?]0;x??"


def test_a_process_that_is_gone_has_no_command() -> None:
    assert command_of(2**22 + 1) == ""


# -- unlink ----------------------------------------------------------------------------------------------------------


def test_unlink_removes_what_nobody_uses(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ProcessCore.open(directory / "cache", config()).close()
    assert main(["unlink", "cache"]) == 0
    assert list(directory.iterdir()) == []
    assert capsys.readouterr() == ("", "")
    assert main(["unlink", "cache"]) == 1
    assert f"there is no lock {directory / 'cache'}" in capsys.readouterr().err


def test_unlink_refuses_while_somebody_uses_it_unless_forced(
    cast: Cast, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holder = cast.holding(WRITE)
    assert main(["unlink", "cache"]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"rwlocks unlink: somebody uses the lock: {os.getpid()} (")
    assert f"{holder.pid} (" in complaint
    assert complaint.endswith("; end them first, or give --force\n")
    assert (directory / "cache").exists()
    assert main(["unlink", "cache", "--force"]) == 0
    assert not (directory / "cache").exists()
    holder.do("release")


def test_unlink_removes_what_only_dead_processes_used(cast: Cast, directory: Path) -> None:
    cast.holding(WRITE).end()
    cast.actors.clear()
    cast.core.close()
    assert main(["unlink", "cache"]) == 0
    assert list(directory.iterdir()) == []


def test_unlink_leaves_what_is_no_lock(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "diary").write_text("x" * 5000)
    assert main(["unlink", "diary", "--force"]) == 1
    path = directory / "diary"
    assert f"unlink: {path}: this is no lock that can be used here: it is something else" in capsys.readouterr().err
    assert path.exists()
