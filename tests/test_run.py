"""`rwlocks run`: the command has the lock while it runs, and speaks for itself: in its exit code, and about signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _processes import Cast, ProcessCore, config, until, waiting
from _programs import ENVIRONMENT

from rwlocks import Mode, ProcessRWLock
from rwlocks.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

READ, WRITE = Mode.READ, Mode.WRITE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
def cast(path: Path) -> Iterator[Cast]:
    cast = Cast(ProcessCore.open(path, config(holds=1024)))
    yield cast
    cast.end()
    cast.core.close()


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-m", "rwlocks", "run", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def shell(script: str) -> list[str]:
    return ["--", "sh", "-c", script]


def held(core: ProcessCore) -> list[tuple[Mode, int]]:
    return [(request.mode, request.pid) for request in core.snapshot().requests if request.held]


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "mode"), [((), WRITE), (("--write",), WRITE), (("--read",), READ)])
def test_the_lock_is_held_while_the_command_runs(options: tuple[str, ...], mode: Mode, cast: Cast, path: Path) -> None:
    process = started(*options, path, *shell("echo begun; read line; echo $line"))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert held(cast.core) == [(mode, process.pid)]
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    ended(process)
    assert held(cast.core) == []


def test_two_readers_run_at_once_and_a_writer_waits(cast: Cast, path: Path) -> None:
    cast.holding(READ)
    assert ended(started("--read", path, "--", "true"))[0] == 0
    assert ended(started("--timeout=0", path, "--", "true"))[0] == 75


def test_its_exit_code_is_ours(path: Path) -> None:
    assert ended(started(path, *shell("echo out; echo err >&2; exit 7"))) == (7, "out\n", "err\n")
    assert ended(started(path, *shell("kill -KILL $$")))[0] == 128 + signal.SIGKILL


def test_its_input_is_ours(path: Path) -> None:
    command = [sys.executable, "-m", "rwlocks", "run", str(path), "--", "cat"]
    done = subprocess.run(command, input="through", capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout == "through"


@pytest.mark.parametrize("dashes", [(), ("--",)])
def test_its_options_are_its_own(dashes: tuple[str, ...], path: Path) -> None:
    assert ended(started(path, *dashes, "echo", "--read", "--", "--json"))[1] == "--read -- --json\n"


def test_a_command_that_cannot_be_run_is_told_as_a_shell_would(path: Path) -> None:
    code, _, complaint = ended(started(path, "--", "no-such-command"))
    assert (code, complaint) == (127, "rwlocks run: no-such-command: No such file or directory\n")
    code, _, complaint = ended(started(path, "--", path.parent))
    assert (code, complaint) == (126, f"rwlocks run: {path.parent}: Permission denied\n")


@pytest.mark.parametrize("arguments", [["jobs"], ["jobs", "--"], ["jobs", "--timeout", "1"]])
def test_a_command_is_needed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["run", *arguments])
    assert leaving.value.code == 2
    assert "no command; give it last, behind '--'" in capsys.readouterr().err


# -- the lock --------------------------------------------------------------------------------------------------------


def test_a_lock_that_is_not_to_be_had_in_time(cast: Cast, path: Path) -> None:
    holder = cast.holding(WRITE)
    code, out, complaint = ended(started("--timeout", "0.05", path, "--", "echo", "ran"))
    assert (code, out) == (75, "")
    assert complaint.startswith("rwlocks run: could not write-lock")
    assert f"process {holder.pid}" in complaint


@pytest.mark.parametrize("timeout", ["-1", "nan", "soon"])
def test_an_impossible_timeout_is_refused(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["run", f"--timeout={timeout}", "jobs", "true"])
    assert leaving.value.code == 2
    assert f"'{timeout}' is no timeout; give seconds, 0 or more" in capsys.readouterr().err


def test_a_lock_that_cannot_be_used(path: Path) -> None:
    assert ended(started("--policy", "phase-fair", path, "--", "true")) == (0, "", "")
    code, _, complaint = ended(started("--policy", "fifo", path, "--", "true"))
    assert code == 69
    assert "exists with policy=PhaseFair()" in complaint
    path.write_text("not a lock")
    code, _, complaint = ended(started(path, "--", "true"))
    assert code == 69
    assert f"rwlocks run: {path}: this is no lock that can be used here" in complaint


def test_data_that_may_be_half_written_are_told_of(cast: Cast, path: Path) -> None:
    dead = cast.holding(WRITE)
    dead.kill()
    dead.process.join()
    code, out, complaint = ended(started(path, "--", "echo", "ran"))
    assert (code, out) == (0, "ran\n")
    assert complaint == "rwlocks run: a writer died before: what the lock protects may be half written\n"


def test_where_the_death_of_a_writer_raises_nothing_is_run(path: Path) -> None:
    with ProcessRWLock(path, on_writer_death="raise"):
        process = started(path, *shell("echo begun; exec sleep 60"))
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.kill()
        ended(process)
        code, out, complaint = ended(started(path, "--", "echo", "ran"))
        assert (code, out) == (69, "")
        assert "mark_consistent()" in complaint


# -- signals ---------------------------------------------------------------------------------------------------------


# Collects signals instead of handling them, so that none can come between a look and a wait. SIGUSR2 ends it.
COMMAND = """
import signal, sys

number = int(sys.argv[1])
before = signal.pthread_sigmask(signal.SIG_BLOCK, {number, signal.SIGUSR2})
assert not before, before
print("ready", flush=True)
assert signal.sigwait({number}) == number
print("got it", flush=True)
assert signal.sigwait({signal.SIGUSR2}) == signal.SIGUSR2
print("pending:", [int(each) for each in signal.sigpending()], flush=True)
raise SystemExit(3)
"""


def collecting(path: Path, number: int) -> list[str]:
    """A command line that runs it under the lock."""
    ours = [sys.executable, "-W", "error", "-m", "rwlocks", "run", str(path), "--"]
    return [*ours, sys.executable, "-S", "-c", COMMAND, str(int(number))]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_signals_reach_the_command_which_may_go_on(name: str, cast: Cast, path: Path) -> None:
    number = getattr(signal, name)
    with subprocess.Popen(collecting(path, number), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "got it\n"
        assert held(cast.core) == [(WRITE, process.pid)]
        process.send_signal(signal.SIGUSR2)
        assert process.wait(30) == 3
    assert held(cast.core) == []


def test_the_keyboard_reaches_the_command_once(path: Path) -> None:
    here, there = os.openpty()

    def take_the_terminal() -> None:
        import fcntl
        import termios

        os.setsid()
        fcntl.ioctl(there, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        collecting(path, signal.SIGINT),
        stdin=there,
        stdout=there,
        stderr=there,
        env=ENVIRONMENT,
        preexec_fn=take_the_terminal,  # noqa: PLW1509 - takes no lock
    ) as process:
        os.close(there)
        read_until(here, b"ready")
        # Were it passed on at once, the two would become one. So that happens after the command has seen the first.
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        os.write(here, b"\x03")
        read_until(here, b"got it")
        process.send_signal(signal.SIGUSR2)  # which has the larger number, and so comes later
        process.send_signal(signal.SIGCONT)
        assert b"pending: []" in read_until(here, b"]")
        assert process.wait(30) == 3
    os.close(here)


def read_until(fd: int, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        shown += os.read(fd, 1024)
    return shown


def test_a_signal_ends_the_wait_for_the_lock_without_a_trace(cast: Cast, path: Path) -> None:
    cast.holding(READ)
    process = started(path, "--", "echo", "ran")
    until(lambda: waiting(cast.core) == 1)
    process.terminate()
    code, out, _ = ended(process)
    assert (code, out) == (128 + signal.SIGTERM, "")
    found = cast.core.snapshot()
    assert (waiting(cast.core), found.cancellations, found.reaped) == (0, 1, 0)


def test_the_command_does_not_outlive_who_holds_the_lock_for_it(path: Path) -> None:
    process = started(path, *shell("echo $$; exec sleep 60"))
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    ended(process)
    until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])
