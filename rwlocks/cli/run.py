"""``rwlocks run``: a command, run while a process lock is held, as flock(1) does; but fair, and with readers.

While the command runs, signals are not handled but collected. Those that somebody sent are passed on to the command;
those of the terminal have reached it already, since it is in the same process group. So the command decides what
they mean, and the lock is held until it has ended.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args

from rwlocks import ProcessRWLock
from rwlocks._errors import BackendUnavailable, LockTimeout, WriterDied
from rwlocks._types import PolicyName
from rwlocks.cli._status_lines import printable, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["HELP", "configure", "run"]

HELP: Final = "run a command while holding a process lock"

# The codes of sysexits.h, and those by which a shell reports what it could not run, or what a signal ended.
TIMED_OUT: Final = 75
NO_LOCK: Final = 69
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
SIGNALLED: Final = 128

DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
FROM_KERNEL: Final = 0x80  # SI_KERNEL: so the keyboard

# Some systems know fewer signals; this module is imported there, too.
ENDING: Final = frozenset(each for each in signal.Signals if each.name in {"SIGTERM", "SIGHUP"})
PASSED_ON: Final = ENDING | {
    each for each in signal.Signals if each.name in {"SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"}
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of run."""
    parser.usage = "rwlocks run [--read|--write] [--timeout S] [--policy P] NAME_OR_PATH -- CMD..."
    parser.epilog = (
        f"exit code: that of the command, {SIGNALLED} + n if signal n ended it; {TIMED_OUT} if the lock was not to be "
        f"had in time, {NO_LOCK} if it could not be used; {NOT_EXECUTABLE} or {NOT_FOUND} if there was nothing to run"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--read", action="store_true", help="share the lock with other readers")
    mode.add_argument("--write", action="store_true", help="have the lock alone (the default)")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S", help="seconds to wait for the lock, 0 to try once (default: for ever)"
    )
    parser.add_argument(
        "--policy", choices=get_args(PolicyName), help="for a lock that is made now (default: fifo), or has it already"
    )
    parser.add_argument("lock", metavar="NAME_OR_PATH", help="the lock, which is made if it is not there")
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="CMD...", help="the command and its arguments")
    parser.set_defaults(complain=parser.error)


def run(options: argparse.Namespace) -> int:
    """Acquire, run, release, and return the exit code."""
    command: Sequence[str] = options.program[options.program[:1] == ["--"] :]
    if not command or command[0].startswith("-"):
        options.complain("no command; give it last, behind '--'")
    try:
        with _raising(ENDING), ProcessRWLock(options.lock, options.policy) as lock:
            guard = lock.read(options.timeout) if options.read else lock.write(options.timeout)
            with guard, _collecting(PASSED_ON) as outside:
                if guard.recovered:
                    _say("a writer died before: what the lock protects may be half written")
                return _run(command, outside)
    except LockTimeout as error:
        _say(str(error))
        return TIMED_OUT
    except (BackendUnavailable, OSError, ValueError, WriterDied) as error:
        _say(reason(error))
        return NO_LOCK


def _say(message: str) -> None:
    print(f"rwlocks run: {printable(message)}", file=sys.stderr, flush=True)


# -- while the command runs ------------------------------------------------------------------------------------------


def _run(command: Sequence[str], mask: set[int]) -> int:
    try:
        # The only thread there is may run code between fork and exec; and what it runs is what the user has typed.
        child = subprocess.Popen(command, preexec_fn=_prepare(mask))  # noqa: PLW1509, S603
    except OSError as error:
        _say(reason(error))
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    while child.poll() is None:
        came = signal.sigwaitinfo(PASSED_ON | {signal.SIGCHLD})
        if came.si_signo != signal.SIGCHLD and came.si_code != FROM_KERNEL:
            child.send_signal(came.si_signo)
    return child.returncode if child.returncode >= 0 else SIGNALLED - child.returncode


def _prepare(mask: set[int]) -> Callable[[], None]:
    """For the child, before it becomes the command: the signals of our caller; and death with its parent.

    Without a parent nobody would hold the lock any more, and the command would go on all the same.
    """
    import ctypes

    prctl: Any = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(SIGNALLED + signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return prepare


@contextmanager
def _collecting(signals: frozenset[signal.Signals]) -> Generator[set[int]]:
    """No handler runs, and what comes in the end comes too late. Yields the mask from before."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever ignored it has left children to nobody
    everything = signals | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    try:
        yield set(before)
    finally:
        while signal.sigtimedwait(everything, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- before it runs --------------------------------------------------------------------------------------------------


@contextmanager
def _raising(signals: frozenset[signal.Signals]) -> Generator[None]:
    """What would end this process at once ends the wait instead, so that it leaves no trace."""

    def leave(number: int, _: object) -> NoReturn:
        raise SystemExit(SIGNALLED + number)

    before = {each: signal.signal(each, leave) for each in signals if signal.getsignal(each) is signal.SIG_DFL}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no timeout; give seconds, 0 or more")
    return seconds
