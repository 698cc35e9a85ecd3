"""What the demo does to a process lock: worker processes in a hurry, some of which are killed in the middle of it.

A worker is stopped, looked at from outside, and killed if it holds the lock, or if it waits, whichever is due;
otherwise it goes on. So nobody dies idle, and it is known what the dead were doing. Each death is timed until the next
of the others gets in, and only then the dead one is replaced.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, final

from rwlocks import Holder, LockTimeout, Mode, Waiter
from rwlocks.backends.process._look import look
from rwlocks.cli._demo_board import Board, Note
from rwlocks.cli._demo_victim import work
from rwlocks.cli._demo_workload import GRACE, LOOK_EVERY, PROCESSES, Glimpse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from rwlocks import LockStatistics, ProcessRWLock
    from rwlocks.backends.process._look import Look

__all__ = ["Death", "Raid", "raid"]

KILL_EVERY: Final = (0.05, 0.15)  # seconds
CALM: Final = 0.2  # seconds at the end without a death, so that the last one can be overcome
PATIENCE: Final = 5.0  # seconds after which it is news about the lock that nobody has got in

HOLDING: Final = {Mode.READ: "reading", Mode.UPGRADABLE: "upgradable", Mode.WRITE: "writing"}
WAITING: Final = {Mode.READ: "waiting to read", Mode.UPGRADABLE: "waiting to read", Mode.WRITE: "waiting to write"}
UPGRADING: Final = "reading and waiting to write"
INSIDE: Final = "inside the gate"


Someone = TypeVar("Someone", Holder, Waiter)


class Death(NamedTuple):
    """One worker that was killed."""

    worker: str
    doing: str
    recovery: float | None
    """Seconds until the next of the others got in; None if nobody did."""


class Raid(NamedTuple):
    """What happened. Counts are over all workers, waits in seconds."""

    policy: str
    seconds: float
    granted: int
    given_up: int
    reader_wait: float
    writer_wait: float
    repairs: int
    """How often somebody finished the write of a dead one."""
    deaths: tuple[Death, ...]
    violations: tuple[str, ...]


def raid(
    make: Callable[[Path], ProcessRWLock],
    names: Sequence[str],
    seconds: float,
    seed: object,
    watch: Callable[[Glimpse], None],
    grace: float = GRACE,
) -> Raid:
    """Let the workers work for that many seconds, kill some, and ``watch`` look on from the calling thread.

    ``make`` makes the lock. An exception in ``watch``, or KeyboardInterrupt, ends it: all workers have ended before it
    comes out. ``grace`` is how many seconds they have to leave at the end.

    Obligation: no other thread runs, since workers are forked.
    """
    with tempfile.TemporaryDirectory(prefix="rwlocks-demo-") as folder, make(Path(folder, "demo.rwlock")) as lock:
        siege = _Siege(lock, Path(folder, "demo.rwlock"), names, seed)
        try:
            siege.begin()
            while (elapsed := siege.time()) < seconds:
                watch(Glimpse(PROCESSES, elapsed, seconds, siege.statistics(), siege.violations(), siege.deaths))
                siege.go_on(min(elapsed + LOOK_EVERY, seconds), last=seconds - CALM)
        finally:
            siege.end(grace)
        return siege.finish(lock.policy.name, elapsed)


@final
class _Siege:
    """The workers of one raid, and who of them has died."""

    def __init__(self, lock: ProcessRWLock, path: Path, names: Sequence[str], seed: object) -> None:
        self.deaths: tuple[Death, ...] = ()
        self._lock = lock
        self._path = path
        self._names = names
        self._seed = seed
        self._random = random.Random(f"{seed} {PROCESSES}")
        self._board = Board(len(names))
        self._workers: dict[str, BaseProcess] = {}
        self._pids: dict[int | None, str] = {}
        self._lost: list[str] = []
        self._began = monotonic()
        self._next_kill = self._random.uniform(*KILL_EVERY)

    def time(self) -> float:
        return monotonic() - self._began

    def begin(self) -> None:
        for name in self._names:
            self._recruit(name)

    def _recruit(self, name: str) -> None:
        """A worker of that name, perhaps in the place of one that has died."""
        place, seed = self._names.index(name), f"{self._seed} {len(self.deaths)}"
        worker = multiprocessing.get_context("fork").Process(
            target=work, args=(self._lock, self._board, place, name, seed), name=name, daemon=True
        )
        # Until the child ignores it, Ctrl-C has to wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            worker.start()
            self._workers[name] = worker
            self._pids[worker.pid] = name
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    # -- while it goes on --------------------------------------------------------------------------------------

    def statistics(self) -> LockStatistics:
        """The lock's own, with the names of the workers."""
        now = self._lock.statistics()
        return now._replace(holders=tuple(map(self._named, now.holders)), waiters=tuple(map(self._named, now.waiters)))

    def _named(self, who: Someone) -> Someone:
        return who._replace(owner=self._pids.get(who.pid, who.owner))

    def violations(self) -> int:
        return sum(self._board.column(Note.VIOLATIONS))

    def go_on(self, until: float, *, last: float) -> None:
        """Until then, with at most one death, and none after ``last``."""
        now = self.time()
        if self._next_kill <= now < last and self._kill_somebody():
            self._next_kill = now + self._random.uniform(*KILL_EVERY)
        time.sleep(max(0.0, until - self.time()))

    def _kill_somebody(self) -> bool:
        """A holder or a waiter, in turns; whether one could be caught."""
        now, waiting = self._lock.statistics(), len(self.deaths) % 2 == 1
        for who in now.waiters if waiting else now.holders:
            name = self._pids.get(who.pid)
            if name is not None and self._workers[name].pid == who.pid and self._kill(name, waiting=waiting):
                return True
        return False

    def _kill(self, name: str, *, waiting: bool) -> bool:
        """If it still waits, or holds; whether it has died."""
        worker = self._workers[name]
        pid = worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        # From outside, since the lock's own statistics could wait for whoever was stopped inside its gate.
        doing = _doing(look(self._path), pid)
        due = (*WAITING.values(), UPGRADING) if waiting else (*HOLDING.values(), INSIDE)
        if doing is None or doing not in due:
            os.kill(pid, signal.SIGCONT)
            return False
        at = monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        worker.join()
        self.deaths += (Death(name, doing, self._recovery(at)),)
        self._recruit(name)
        return True

    def _recovery(self, since: int) -> float | None:
        """Seconds from then until somebody got in."""
        deadline = monotonic() + PATIENCE
        while monotonic() < deadline:
            later = [grant for grant in self._board.column(Note.LAST_GRANT) if grant > since]
            if later:
                return (min(later) - since) / 1e9
            time.sleep(0.0005)
        return None

    # -- the end -----------------------------------------------------------------------------------------------

    def end(self, grace: float) -> None:
        """All workers leave, or are made to."""
        self._board.end()
        deadline = monotonic() + grace
        for name, worker in self._workers.items():
            assert worker.pid is not None
            if worker.exitcode is None:
                os.kill(worker.pid, signal.SIGCONT)  # an interruption may have come while it was stopped
                worker.join(max(0.0, deadline - monotonic()))
            if worker.exitcode is None:
                self._lost.append(f"{name} never came back from the lock")
                worker.kill()
                worker.join()
            elif worker.exitcode != 0:
                self._lost.append(f"{name} ended by itself, with {worker.exitcode}")

    def finish(self, policy: str, seconds: float) -> Raid:
        column = self._board.column
        return Raid(
            policy,
            seconds,
            granted=sum(column(Note.GRANTED)),
            given_up=sum(column(Note.GIVEN_UP)),
            reader_wait=max(column(Note.LONGEST_READ_WAIT)) / 1e9,
            writer_wait=max(column(Note.LONGEST_WRITE_WAIT)) / 1e9,
            repairs=sum(column(Note.REPAIRS)),
            deaths=self.deaths,
            violations=(*self._board.told(), *self._lost, *self._unrecovered(), *self._left()),
        )

    def _unrecovered(self) -> Iterator[str]:
        for death in self.deaths:
            if death.recovery is None:
                yield f"nobody got in after {death.worker} was killed while {death.doing}"

    def _left(self) -> Iterator[str]:
        """What is wrong with what they have left."""
        first, second = self._board.cells
        try:
            with self._lock.write(PATIENCE) as guard:
                if first != second and not guard.recovered:
                    yield "the counter was left half written, and nobody is told"
        except LockTimeout:
            yield "all have left, yet nobody can write any more"
        now = self._lock.statistics()
        if now.holders or now.waiters:
            yield f"all have left, yet the lock counts {len(now.holders)} who hold, {len(now.waiters)} who wait"
        written = sum(self._board.column(Note.WRITES))
        if not 0 <= first - written <= len(self.deaths):
            yield f"{written:,} writes and {len(self.deaths)} deaths left the counter at {first:,}"


def _doing(seen: Look, pid: int) -> str | None:
    """What that process, which has been stopped, was about; None if it has nothing to do with the lock now."""
    if not seen.whole and seen.gate == pid:
        return INSIDE
    for each in seen.seen:
        request = each.request
        if request.pid == pid:
            if request.pending:
                return UPGRADING
            return HOLDING[request.mode] if request.held else WAITING[request.mode]
    return None
