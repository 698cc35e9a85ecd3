"""Other processes that use a `ProcessRWLock` as a user would, one order after the other.

An order that fails answers with its exception, which therefore has to come through a pipe.
"""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Any, final

import pytest
from _processes import FORK, Servant, until

from rwlocks import Mode, ProcessRWLock

if TYPE_CHECKING:
    import multiprocessing.connection
    from collections.abc import Callable, Iterator

    from rwlocks import ReadGuard, UpgradableGuard, Upgrade, WriteGuard

__all__ = ["METHODS", "Partner", "ask", "in_child", "lock", "partners"]

METHODS = ["fork", "spawn", "forkserver"]


def ask(lock: ProcessRWLock, mode: Mode, timeout: float | None = None) -> ReadGuard | UpgradableGuard | WriteGuard:
    """A guard of that mode."""
    if mode is Mode.READ:
        return lock.read(timeout)
    return lock.write(timeout) if mode is Mode.WRITE else lock.upgradable(timeout)


def in_child(body: Callable[[], object]) -> None:
    """Run it in a forked child, which has to end well."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            body()
            code = 0
        except BaseException:  # noqa: BLE001 - the exit code tells it
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@final
class _Obedient:
    """What the other process does when it is told."""

    def __init__(self, lock: ProcessRWLock) -> None:
        self.lock = lock
        self.guard: Any = lock.read()
        self.upgrading: Upgrade | None = None

    def acquire(self, mode: Mode, timeout: float | None = 60) -> bool:
        self.guard = ask(self.lock, mode)
        self.guard.acquire(timeout)
        return True

    def try_acquire(self, mode: Mode) -> bool:
        self.guard = ask(self.lock, mode)
        taken: bool = self.guard.try_acquire()
        return taken

    def release(self) -> None:
        self.guard.release()

    def downgrade(self) -> None:
        self.guard.downgrade()

    def upgrade(self, timeout: float | None = 60) -> bool:
        self.upgrading = self.guard.upgrade(timeout).acquire()
        return True

    def end_upgrade(self) -> None:
        assert self.upgrading is not None
        self.upgrading.release()

    def recovered(self) -> bool:
        return self.lock.recovered

    def abandon(self) -> None:
        with pytest.warns(match="a guard was dropped"):
            del self.guard
        self.guard = None

    def statistics(self) -> object:
        return self.lock.statistics()

    def close(self) -> None:
        self.lock.close()


def _serve(lock: ProcessRWLock, orders: multiprocessing.connection.Connection) -> None:
    obedient = _Obedient(lock)
    while True:
        try:
            order, *arguments = orders.recv()
        except EOFError:
            return
        if order == "end":
            return
        try:
            answer = getattr(obedient, order)(*arguments)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - it is the answer
            answer = error
        orders.send(answer)


@final
class Partner(Servant):
    """Another process with the lock, and one guard of it."""

    def __init__(self, lock: ProcessRWLock, context: Any = FORK) -> None:
        self.lock = lock
        super().__init__(_serve, lock, context)

    def do(self, order: str, *arguments: object) -> Any:
        """What came of it. Raises what it raised there."""
        self.tell(order, *arguments)
        answer = self.answer()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def wait_for(self, mode: Mode) -> None:
        """Let it ask, and wait until it stands in the queue."""
        before = len(self.lock.statistics().waiters)
        self.tell("acquire", mode)
        until(lambda: len(self.lock.statistics().waiters) > before)

    def kill(self) -> None:
        super().kill()
        self.process.join()

    def end_normally(self) -> None:
        self.tell("end")
        self.process.join()
        assert self.process.exitcode == 0


@final
class Partners:
    """The other processes of one test, all gone at its end."""

    def __init__(self) -> None:
        self._all: list[Partner] = []

    def new(self, lock: ProcessRWLock, context: Any = FORK) -> Partner:
        self._all.append(Partner(lock, context))
        return self._all[-1]

    def holding(self, lock: ProcessRWLock, mode: Mode) -> Partner:
        partner = self.new(lock)
        assert partner.do("acquire", mode)
        return partner

    def end(self) -> None:
        for partner in self._all:
            partner.end()


@pytest.fixture
def lock() -> Iterator[ProcessRWLock]:
    """One without a name, closed at the end."""
    with ProcessRWLock() as lock:
        yield lock


@pytest.fixture
def partners() -> Any:
    """Makes other processes."""
    partners = Partners()
    yield partners
    partners.end()
