"""What the demo does to a lock: one round of threads, asyncio tasks and trio tasks on one object, all in a hurry.

Nothing here prints, and nothing decides what is good or bad news: a round ends with a `Round`, the record of what
happened. A worker never stops in the middle of a visit, so that whatever is left over when all have ended was lost by
the lock.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import math
import random
import threading
import time
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, final

from rwlocks import Mode, UpgradableGuard, WriteGuard
from rwlocks._errors import LockTimeout
from rwlocks.cli._demo_counter import Counter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from rwlocks import LockStatistics
    from rwlocks._guards import Guard
    from rwlocks.cli._demo_counter import Visit
    from rwlocks.cli._demo_raid import Death

__all__ = ["PROCESSES", "Crew", "Glimpse", "Hold", "Lock", "Round", "Wait", "play", "recruit"]

PROCESSES: Final = "processes"
"""What the round of the processes is called, where the others have the names of policies."""

LOOK_EVERY: Final = 0.025  # seconds between two looks at the lock
GRACE: Final = 10.0  # seconds that the workers have to end in; each needs a few milliseconds

PAUSE: Final = (0.0003, 0.0015)  # seconds inside
REST: Final = (0.0, 0.003)  # seconds outside
HASTE: Final = (0.0, 0.004)  # seconds after which an impatient request gives up

# How often each kind of worker reads, writes, and reads as the only candidate for the next write.
READER: Final = (90, 5, 5)
WRITER: Final = (25, 70, 5)


class Lock(Protocol):
    """The part of an `RWLock` that the workers use."""

    def read(self, timeout: float | None = None) -> Guard: ...

    def write(self, timeout: float | None = None) -> Guard: ...

    def upgradable(self, timeout: float | None = None) -> Guard: ...

    def statistics(self) -> LockStatistics: ...


class Crew(NamedTuple):
    """Who works: names of threads, of the tasks of each loop, and of processes."""

    threads: tuple[str, ...]
    asyncio_loops: tuple[tuple[str, ...], ...]
    trio_loops: tuple[tuple[str, ...], ...]
    processes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All within this process."""
        return self.threads + sum(self.asyncio_loops + self.trio_loops, ())


class Wait(NamedTuple):
    """One request, from asking to the answer. Times are in seconds since the round began."""

    mode: Mode
    since: float
    until: float
    granted: bool


class Hold(NamedTuple):
    """One stretch of holding the lock in one mode; a downgrade begins another. Times as in `Wait`."""

    mode: Mode
    since: float
    until: float


class Round(NamedTuple):
    """What happened in one round."""

    policy: str
    seconds: float
    waits: tuple[Wait, ...]
    holds: tuple[Hold, ...]
    violations: tuple[str, ...]
    statistics: LockStatistics
    """The lock's own, after everybody had left."""


class Glimpse(NamedTuple):
    """The lock at one instant of a round that goes on."""

    policy: str
    """What the round is called."""
    elapsed: float
    seconds: float
    statistics: LockStatistics
    violations: int
    deaths: tuple[Death, ...] = ()
    """Who has been killed so far, in that order."""


def recruit(*, processes: bool = False) -> Crew:
    """Four threads, two asyncio loops with three tasks each, and, where trio is installed, one loop with four.

    And six processes, if that is asked for.
    """
    trio = importlib.util.find_spec("trio") is not None
    return Crew(
        threads=tuple(f"thread {n}" for n in range(1, 5)),
        asyncio_loops=tuple(tuple(f"asyncio {loop}{n}" for n in range(1, 4)) for loop in "ab"),
        trio_loops=(tuple(f"trio {n}" for n in range(1, 5)),) if trio else (),
        processes=tuple(f"process {n}" for n in range(1, 7)) if processes else (),
    )


def play(
    lock: Lock,
    policy: str,
    crew: Crew,
    seconds: float,
    seed: object,
    watch: Callable[[Glimpse], None],
    grace: float = GRACE,
) -> Round:
    """Let the crew work for that many seconds, and ``watch`` look on from the calling thread.

    ``seed`` fixes what each worker wants to do; when it gets to it is up to the machine. An exception in ``watch``, or
    KeyboardInterrupt, ends the round: all workers have left before it comes out. ``grace`` is how many seconds they
    have to leave at the end; who has not left by then is lost.
    """
    if crew.trio_loops:
        importlib.import_module("trio")  # before the clock starts: it may take longer than a short round
    shift = _Shift(lock, seed)
    teams = [
        *(_Team(shift, _in_thread, (name,)) for name in crew.threads),
        *(_Team(shift, _in_asyncio, names) for names in crew.asyncio_loops),
        *(_Team(shift, _in_trio, names) for names in crew.trio_loops),
    ]
    try:
        for team in teams:
            team.start()
        while (elapsed := shift.time()) < seconds:
            watch(Glimpse(policy, elapsed, seconds, lock.statistics(), len(shift.counter.violations)))
            time.sleep(min(LOOK_EVERY, max(0.0, seconds - shift.time())))
    finally:
        shift.over.set()
        deadline = monotonic() + grace
        for team in teams:
            if team.is_alive():
                team.join(max(0.0, deadline - monotonic()))
    return shift.finish(policy, elapsed)


@final
class _Shift:
    """What the workers of one round share."""

    def __init__(self, lock: Lock, seed: object) -> None:
        self.lock = lock
        self.seed = seed
        self.counter = Counter()
        self.over = threading.Event()
        self.working: set[str] = set()
        self.waits: list[Wait] = []
        self.holds: list[Hold] = []
        self._began = monotonic()

    def time(self) -> float:
        return monotonic() - self._began

    def finish(self, policy: str, seconds: float) -> Round:
        lost = [f"{name} never came back from the lock" for name in sorted(self.working)]
        after = self.lock.statistics()
        if not lost and (after.holders or after.waiters):
            lost.append(
                f"all have left, yet the lock counts {len(after.holders)} who hold, {len(after.waiters)} who wait"
            )
        written = sum(hold.mode is Mode.WRITE for hold in self.holds)
        if not lost and self.counter.first != written:
            lost.append(f"{written} writes left the counter at {self.counter.first}")
        violations = (*self.counter.violations, *lost)
        return Round(policy, seconds, tuple(self.waits), tuple(self.holds), violations, after)


@final
class _Team(threading.Thread):
    """One thread, alone or with the loop that it runs. A daemon: a lock that loses it cannot keep the process alive."""

    def __init__(self, shift: _Shift, job: Callable[[_Shift, tuple[str, ...]], None], names: tuple[str, ...]) -> None:
        super().__init__(name=names[0], daemon=True)
        self._shift, self._job, self._names = shift, job, names
        shift.working.update(names)

    def run(self) -> None:
        self._job(self._shift, self._names)


@final
class _Worker:
    """One worker: decides what to do next, and keeps the record of it. What it raises is news about the lock."""

    def __init__(self, shift: _Shift, name: str) -> None:
        self.name = name
        self._shift = shift
        self._random = random.Random(f"{shift.seed} {name}")
        self._taste = WRITER if name.endswith("1") else READER
        self._asked = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._shift.working.discard(self.name)
        if isinstance(exc_value, Exception):
            self._shift.counter.violations.append(f"{self.name} got {type(exc_value).__name__}: {exc_value}")
            return True
        return False

    def ready(self) -> bool:
        """Whether to go on."""
        return not self._shift.over.is_set()

    def rest(self) -> float:
        return self._random.uniform(*REST)

    def haste(self) -> float | None:
        """How long the next request may take at most, in seconds; most have no limit."""
        return self._random.uniform(*HASTE) if self._random.random() < 0.1 else None

    def guard(self, timeout: float | None = None) -> Guard:
        """What to acquire next, and the note that it is asked for now."""
        lock = self._shift.lock
        make = self._random.choices((lock.read, lock.write, lock.upgradable), self._taste)[0]
        guard = make(timeout)
        self._asked = self._shift.time()
        return guard

    def visit(self, guard: Guard) -> Visit:
        """What to do while the guard holds the lock; a writer sometimes goes on as a reader."""
        since = self._answer(guard, granted=True)
        counter, pause = self._shift.counter, self._random.uniform(*PAUSE)
        if isinstance(guard, WriteGuard):
            yield from counter.write(self.name, pause)
            since = self._held(Mode.WRITE, since)
            if self._random.random() < 0.1:
                guard.downgrade()
                yield from counter.read(self.name, pause)
                self._held(Mode.READ, since)
        elif isinstance(guard, UpgradableGuard):
            yield from counter.reserve(self.name, pause)
            self._held(Mode.UPGRADABLE, since)
        else:
            yield from counter.read(self.name, pause)
            self._held(Mode.READ, since)

    def refused(self, guard: Guard) -> None:
        """The request gave up."""
        self._answer(guard, granted=False)

    def _answer(self, guard: Guard, *, granted: bool) -> float:
        now = self._shift.time()
        self._shift.waits.append(Wait(guard.wanted, self._asked, now, granted))
        return now

    def _held(self, mode: Mode, since: float) -> float:
        now = self._shift.time()
        self._shift.holds.append(Hold(mode, since, now))
        return now


def _in_thread(shift: _Shift, names: tuple[str, ...]) -> None:
    with _Worker(shift, names[0]) as worker:
        while worker.ready():
            guard = worker.guard(worker.haste())
            try:
                with guard:
                    for pause in worker.visit(guard):
                        time.sleep(pause)
            except LockTimeout:
                worker.refused(guard)
            time.sleep(worker.rest())


def _in_asyncio(shift: _Shift, names: tuple[str, ...]) -> None:
    async def work(name: str) -> None:
        with _Worker(shift, name) as worker:
            while worker.ready():
                guard, haste = worker.guard(), worker.haste()
                try:
                    # A cancellation from outside; threads show the lock's own timeouts.
                    async with asyncio.timeout(haste):
                        await guard
                except TimeoutError:
                    worker.refused(guard)
                else:
                    try:
                        for pause in worker.visit(guard):
                            await asyncio.sleep(pause)
                    finally:
                        guard.release()
                await asyncio.sleep(worker.rest())

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(work(name), name=name)

    asyncio.run(all_of_them())


def _in_trio(shift: _Shift, names: tuple[str, ...]) -> None:
    import trio

    async def work(name: str) -> None:
        with _Worker(shift, name) as worker:
            while worker.ready():
                guard, haste = worker.guard(), worker.haste()
                with trio.move_on_after(math.inf if haste is None else haste):
                    await guard
                if guard.held:
                    try:
                        for pause in worker.visit(guard):
                            await trio.sleep(pause)
                    finally:
                        guard.release()
                else:
                    worker.refused(guard)
                await trio.sleep(worker.rest())

    async def all_of_them() -> None:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(work, name, name=name)

    trio.run(all_of_them)
