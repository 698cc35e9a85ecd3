"""Locks in shared memory for tests, and the processes that use and leave them.

Every worker is a module-level function that takes its lock and ends of pipes, so that it works with fork, spawn and
forkserver alike.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, final

import pytest

from rwlocks._types import Mode
from rwlocks.policies import Order, Policy, policy_named

if not sys.platform.startswith("linux"):
    pytest.skip("process locks are for Linux", allow_module_level=True)
pytest.importorskip("rwlocks.backends.process._fast", reason="built without the native core")

from rwlocks.backends.process._core import ProcessCore
from rwlocks.backends.process._hold import Hold
from rwlocks.backends.process._segment import NO_BOUND, Config

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

__all__ = [
    "FORK",
    "MODES",
    "RECOVERY",
    "Actor",
    "Cast",
    "ProcessCore",
    "Servant",
    "config",
    "take",
    "try_take",
    "until",
    "waiting",
]

ORDERS = {Order.READERS_FIRST: 0, Order.WRITERS_FIRST: 1, Order.ARRIVAL: 2}
MODES = {"R": Mode.READ, "U": Mode.UPGRADABLE, "W": Mode.WRITE}
FORK = multiprocessing.get_context("fork")
RECOVERY = float(os.environ.get("RWLOCKS_TEST_RECOVERY", "0.5"))
"""Seconds within which a waiter has to get what a dead process held; 0.1 on a machine with nothing else to do."""


def config(policy: str | Policy = "fifo", *, processes: int = 64, holds: int = 128, on_writer_death: int = 0) -> Config:
    rules = policy_named(policy)
    wait = rules.max_writer_wait
    return Config(
        processes,
        holds,
        on_writer_death,
        ORDERS[rules.after_write],
        ORDERS[rules.while_reading],
        rules.max_batch or NO_BOUND,
        rules.max_consecutive_writers or NO_BOUND,
        NO_BOUND if wait is None else int(wait * 1e9),
    )


def take(core: ProcessCore, mode: Mode, timeout: float | None = 30, patience: float = 0) -> Hold:
    """Acquire, or fail the test."""
    hold = Hold()
    assert core.acquire(hold, mode, patience=patience, timeout=timeout), core.snapshot()
    return hold


def try_take(core: ProcessCore, mode: Mode) -> Hold | None:
    hold = Hold()
    return hold if core.enter(hold, mode) else None


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.0005)


def waiting(core: ProcessCore) -> int:
    return sum(not r.held or r.pending for r in core.snapshot().requests)


def obey(core: ProcessCore, orders: multiprocessing.connection.Connection) -> None:
    """A worker that does as it is told, one order after the other, and says when it is done."""
    hold = Hold()
    while True:
        try:
            order, *arguments = orders.recv()
        except EOFError:
            return
        try:
            if order == "acquire":
                mode, patience, timeout = arguments
                answer: Any = core.acquire(hold, mode, patience=patience, timeout=timeout)
            elif order == "upgrade":
                answer = core.upgrade(hold, timeout=arguments[0])
            else:
                answer = getattr(core, order)(hold)
        except KeyboardInterrupt:
            answer = "interrupted"
        orders.send(answer)


class Servant:
    """Another process, which takes orders from a pipe and answers them."""

    def __init__(self, serve: Callable[..., None], lock: object, context: Any) -> None:
        self._pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(lock, theirs), daemon=True)
        self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def tell(self, *order: object) -> None:
        self._pipe.send(order)

    def answer(self, seconds: float = 30) -> Any:
        assert self._pipe.poll(seconds), "no answer"
        return self._pipe.recv()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        self._pipe.close()
        self.process.kill()
        self.process.join()
        self.process.close()


@final
class Actor(Servant):
    """Another process with one guard of the lock."""

    def __init__(self, core: ProcessCore, context: Any = FORK) -> None:
        super().__init__(obey, core, context)

    def ask(self, mode: Mode, patience: float = 0, timeout: float | None = 60) -> None:
        self.tell("acquire", mode, patience, timeout)

    def done(self, seconds: float = 30) -> Any:
        """What came of the last order."""
        return self.answer(seconds)

    def answered(self) -> bool:
        answered: bool = self._pipe.poll(0)
        return answered

    def do(self, *order: object) -> Any:
        self.tell(*order)
        return self.done()

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.kill(self.pid, signal.SIGINT)


@final
class Cast:
    """The actors of one test, all gone at its end."""

    def __init__(self, core: ProcessCore) -> None:
        self.core = core
        self.actors: list[Actor] = []

    def actor(self, context: Any = FORK) -> Actor:
        self.actors.append(Actor(self.core, context))
        return self.actors[-1]

    def holding(self, mode: Mode) -> Actor:
        """A new process that has the lock."""
        actor = self.actor()
        actor.ask(mode)
        assert actor.done()
        return actor

    def queued(self, mode: Mode) -> Actor:
        """A new process that waits for it."""
        before = waiting(self.core)
        actor = self.actor()
        actor.ask(mode)
        until(lambda: waiting(self.core) == before + 1)
        return actor

    def end(self) -> None:
        for actor in self.actors:
            actor.end()
