"""Ctrl-C in the midst of a wait for a process lock, whose slow path is Python: request or hold is taken back."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
from _partners import lock, partners

from rwlocks import Mode, ProcessRWLock, _process_core
from rwlocks.backends.process import _core

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from _partners import Partners

__all__ = ["lock", "partners"]

SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging
FACADE: Final[Any] = _process_core.ProcessLockCore
CORE: Final[Any] = _core.ProcessCore
ACQUIRING: Final = (
    FACADE.acquire,
    FACADE.acquire_with,
    FACADE._block,
    FACADE._settle,
    CORE.acquire_in_line,
    CORE._queue_up,
    CORE._wait,
)
UPGRADING: Final = (FACADE.upgrade, CORE.upgrade, CORE._wait)


class Interruption(BaseException):
    """Stands for KeyboardInterrupt, which would end a thread of pytest for good."""


def spared(code: CodeType) -> set[int]:
    """Lines where CPython does not look for interrupts: it does so after calls, at jumps back and at entries."""
    lines, first = inspect.getsourcelines(code)
    never = ("try:", "finally:", "hold.token, hold.cell = ")
    return {first + index for index, line in enumerate(lines) if line.strip().startswith(never)}


class Tracer:
    """Interrupts the thread that it traces at the n-th line of these functions."""

    def __init__(self, functions: tuple[Any, ...], lines: int) -> None:
        self._spared = {function.__code__: spared(function.__code__) for function in functions}
        self._lines = lines
        self.struck = ""

    def __call__(self, frame: FrameType, event: str, _: object) -> Tracer:
        lines = self._spared.get(frame.f_code)
        if event == "line" and lines is not None and frame.f_lineno not in lines and not self.struck:
            self._lines -= 1
            if self._lines < 0:
                self.struck = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
                raise Interruption
        return self

    def run(self, what: Callable[[], object]) -> None:
        sys.settrace(self)
        try:
            what()
        except Interruption:
            pass
        finally:
            sys.settrace(None)


def test_an_interrupt_at_any_line_of_a_wait_leaves_neither_request_nor_hold(lock: ProcessRWLock) -> None:
    number = 0
    for number in range(1_000):
        holder, guard = lock.write().acquire().detach(), lock.write()
        tracer = Tracer(ACQUIRING, number)
        thread = threading.Thread(target=tracer.run, args=[lambda guard=guard: guard.acquire(SOON)])
        thread.start()
        while thread.is_alive() and not lock.statistics().waiters:
            pass
        holder.release()
        thread.join()
        if not tracer.struck:
            guard.release()
            break
        assert not guard.held, tracer.struck
        assert lock.statistics().waiters == (), tracer.struck
        assert lock.locked() is None, tracer.struck
        with lock.write(timeout=0):
            pass
    assert number > 20, "it has been interrupted at many lines"


def test_an_interrupt_at_any_line_of_an_upgrade_leaves_the_reader_as_it_was(lock: ProcessRWLock) -> None:
    number = 0
    for number in range(1_000):
        other = lock.read().acquire().detach()
        tracer = Tracer(UPGRADING, number)

        def upgrade(tracer: Tracer = tracer) -> Any:
            guard = lock.upgradable().acquire().detach()
            tracer.run(guard.upgrade(SOON).acquire)
            return guard

        with ThreadPoolExecutor(1) as pool:
            upgrading = pool.submit(upgrade)
            while not upgrading.done() and not lock.statistics().pending_upgrades:
                pass
            other.release()
            guard = upgrading.result()
        if not tracer.struck:
            assert guard.mode is Mode.WRITE
            guard.release()
            break
        assert guard.mode is Mode.UPGRADABLE, tracer.struck
        assert lock.statistics().pending_upgrades == 0, tracer.struck
        guard.release()
        assert lock.locked() is None, tracer.struck
    assert number > 10, "it has been interrupted at many lines"


@pytest.mark.parametrize("mode", list(Mode))
def test_a_signal_at_any_time_of_a_wait_leaves_nothing(lock: ProcessRWLock, partners: Partners, mode: Mode) -> None:
    """In another process, whose first thread waits: a signal right after it has been seen in the queue."""
    partner = partners.new(lock)
    for _ in range(50):
        with lock.write():
            partner.wait_for(mode)
            os.kill(partner.pid, signal.SIGINT)
            assert isinstance(partner.answer(), KeyboardInterrupt)
            assert lock.statistics().waiters == ()
    with lock.write(timeout=5):
        pass
