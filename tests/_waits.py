"""What the tests of withdrawal share: the loops, a clock that jumps on each, requests parked by hand, children."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

import anyio
import pytest
import trio
import trio.testing

from rwlocks import Mode, ReadGuard, RWLock, UpgradableGuard, WriteGuard
from rwlocks import _runtimes as runtimes
from rwlocks._types import PolicyName

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable
    from types import FrameType

    from _pytest.mark import ParameterSet

    from rwlocks import Policy

__all__ = [
    "LOOPS",
    "POLICIES",
    "PURE_LOOPS",
    "AnyGuard",
    "Interrupt",
    "Parked",
    "fails_in_no_child",
    "holds",
    "is_free",
    "jump",
    "later",
    "lock_on",
    "request",
    "run",
    "switching_all_the_time",
    "until",
]

AnyGuard: TypeAlias = ReadGuard | UpgradableGuard | WriteGuard

POLICIES: Final[tuple[PolicyName, ...]] = get_args(PolicyName)
PURE_LOOPS: Final = ("asyncio", "trio", "anyio")  # those whose clock can be put forward
LOOPS: Final = ("asyncio", "trio", "anyio", "uvloop")


def run(loop: str, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it on asyncio, on uvloop, on trio, or on asyncio behind anyio."""
    if loop == "trio":
        trio.run(scenario, clock=trio.testing.MockClock(rate=1.0))
    else:
        options = {"use_uvloop": loop == "uvloop"}
        anyio.run(scenario, backend="asyncio", backend_options=options)


def lock_on(loop: str, policy: PolicyName | Policy = "fifo") -> RWLock:
    return RWLock(policy, backend="anyio" if loop == "anyio" else "auto")


def jump(seconds: float) -> None:
    """Put the clock of the running loop forward."""
    if _trio_runs():
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(seconds)
    else:
        loop = asyncio.get_running_loop()
        now = loop.time
        loop.time = lambda: now() + seconds  # type: ignore[method-assign]


def _trio_runs() -> bool:
    running = runtimes.running()
    return running is not None and running.name == "anyio" and trio.lowlevel.in_trio_task()


def request(lock: RWLock, mode: Mode, timeout: float | None = None) -> AnyGuard:
    if mode is Mode.READ:
        return lock.read(timeout)
    return lock.write(timeout) if mode is Mode.WRITE else lock.upgradable(timeout)


def holds(guard: AnyGuard) -> bool:
    """Whether it does now, for type checkers that take an attribute to stay what it was."""
    return guard.held


def is_free(lock: RWLock) -> bool:
    """Whether somebody new can have the lock alone at once."""
    guard = lock.write()
    free = guard.try_acquire()
    if free:
        guard.release()
    return free


class Parked:
    """A request that was driven by hand until it parked, so that a test can do to its coroutine what it likes."""

    def __init__(self, guard: AnyGuard) -> None:
        self.coroutine = _awaiting(guard)
        self.coroutine.send(None)
        if _trio_runs():  # and knows nothing of a sleeper that was driven by hand
            assert guard.ticket is not None
            guard.ticket.waiter = _Deaf()

    def close(self) -> None:
        """What an interpreter does that drops the coroutine: GeneratorExit at the wait point."""
        self.coroutine.close()

    def lose(self) -> None:
        """Leave it to the collector, in a cycle so that counting references is not enough."""
        cycle: list[object] = [self.coroutine]
        cycle.append(cycle)
        del self.coroutine


class _Deaf:
    def lost(self) -> bool:
        return False

    def wake(self) -> bool:
        return True


async def _awaiting(guard: AnyGuard) -> None:
    await guard


async def until(true: Callable[[], bool]) -> None:
    """Let the others run until so; fails after half a minute."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it has not come true"
        await anyio.sleep(0.0005)


class Interrupt:
    """One KeyboardInterrupt for the main thread, whatever it is doing; for a child process.

    The signal is sent until it was seen: one that comes between the last look at signals and the system call that
    sleeps is handled only after the sleep.
    """

    def __init__(self, at_first: Callable[[], object] | None = None) -> None:
        self._at_first = at_first
        self._seen = False
        signal.signal(signal.SIGINT, self._handle)

    def strike(self) -> None:
        ident = threading.main_thread().ident
        assert ident is not None
        while not self._seen:
            signal.pthread_kill(ident, signal.SIGINT)
            time.sleep(0.001)

    def _handle(self, _: int, __: FrameType | None) -> None:
        if not self._seen:
            self._seen = True
            if self._at_first is not None:
                self._at_first()
            raise KeyboardInterrupt


def fails_in_no_child(what: Callable[[], None], *, within: float = 60) -> None:
    """Run it in the main thread of a process of its own, and give it so many seconds."""
    name = getattr(what, "__name__", what)
    child = multiprocessing.get_context("spawn").Process(target=what)
    child.start()
    child.join(within)
    if child.is_alive():
        child.kill()
        child.join()
        raise AssertionError(f"{name} hangs")
    assert child.exitcode == 0, f"{name} has failed: its traceback is on standard error"


@contextmanager
def switching_all_the_time() -> Generator[None]:
    """Threads take turns after every few instructions."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def later(values: Iterable[str], *, besides: str | None = None) -> list[ParameterSet]:
    """The values as parameters that only the slow run tries."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values if value != besides]
