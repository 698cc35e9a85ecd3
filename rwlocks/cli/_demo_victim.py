"""A worker process of the demo: reads and writes what a `ProcessRWLock` protects, until it is over, or is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol, final

from rwlocks import LockTimeout, UpgradableGuard, WriteGuard
from rwlocks.cli._demo_board import Note
from rwlocks.cli._demo_counter import Counter
from rwlocks.cli._demo_workload import HASTE, PAUSE, READER, REST, WRITER

if TYPE_CHECKING:
    from rwlocks import Upgrade
    from rwlocks._guards import Guard
    from rwlocks.cli._demo_board import Board
    from rwlocks.cli._demo_counter import Visit

__all__ = ["SharedLock", "work"]


class SharedLock(Protocol):
    """The part of a `ProcessRWLock` that the workers use."""

    def read(self, timeout: float | None = None) -> Guard: ...

    def write(self, timeout: float | None = None) -> WriteGuard: ...

    def upgradable(self, timeout: float | None = None) -> UpgradableGuard: ...

    def mark_consistent(self) -> None: ...


def work(lock: SharedLock, board: Board, place: int, name: str, seed: object) -> None:
    """What a forked child does. ``place`` is its row of the board."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who says when it is over
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = os.getppid()
    worker = _Worker(lock, board, place, name, seed)
    try:
        while not board.over and os.getppid() == parent:
            worker.turn()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is news about the lock
        board.tell(place, f"{name} got {type(error).__name__}: {error}")


@final
class _Worker:
    """Decides what to do next, does it, and notes how it was."""

    def __init__(self, lock: SharedLock, board: Board, place: int, name: str, seed: object) -> None:
        self._lock = lock
        self._board = board
        self._place = place
        self._name = name
        self._random = random.Random(f"{seed} {name}")
        self._taste = WRITER if place < 2 else READER
        self._counter = Counter(board.cells)

    def turn(self) -> None:
        """One request, one visit if it is granted, one rest."""
        lock = self._lock
        make = self._random.choices((lock.read, lock.write, lock.upgradable), self._taste)[0]
        guard = make(self._random.uniform(*HASTE) if self._random.random() < 0.1 else None)
        if self._acquire(guard):
            try:
                self._visit(guard)
            finally:
                guard.release()
        for violation in self._counter.violations:
            self._board.tell(self._place, violation)
        self._counter.violations.clear()
        time.sleep(self._random.uniform(*REST))

    def _acquire(self, guard: Guard | Upgrade, *, writing: bool = False) -> bool:
        asked = monotonic_ns()
        try:
            guard.acquire()
            granted = True
        except LockTimeout:
            granted = False
        now, board = monotonic_ns(), self._board
        board.add(self._place, Note.GRANTED if granted else Note.GIVEN_UP)
        if granted:
            board.put(self._place, Note.LAST_GRANT, now)
        wait = Note.LONGEST_WRITE_WAIT if writing or isinstance(guard, WriteGuard) else Note.LONGEST_READ_WAIT
        board.put(self._place, wait, max(now - asked, board.get(self._place, wait)))
        return granted

    def _visit(self, guard: Guard) -> None:
        if isinstance(guard, WriteGuard):
            self._write(guard)
            if self._random.random() < 0.1:
                guard.downgrade()
                self._read(guard)
            return
        self._read(guard)
        if isinstance(guard, UpgradableGuard):
            upgrade = guard.upgrade(self._random.uniform(*HASTE))
            if self._acquire(upgrade, writing=True):
                try:
                    self._write(guard)
                finally:
                    guard.downgrade()

    def _read(self, guard: Guard) -> None:
        self._drive(self._counter.read(self._name, self._pause(), warned=guard.recovered))

    def _write(self, guard: Guard) -> None:
        if guard.recovered:
            self._counter.repair()
            self._lock.mark_consistent()
            self._board.add(self._place, Note.REPAIRS)
        self._drive(self._counter.write(self._name, self._pause()))
        self._board.add(self._place, Note.WRITES)

    def _pause(self) -> float:
        return self._random.uniform(*PAUSE)

    def _drive(self, visit: Visit) -> None:
        for pause in visit:
            time.sleep(pause)
