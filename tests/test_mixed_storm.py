"""A storm: threads, two loops of asyncio and one of trio on one lock, with random modes, timeouts and cancellations."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import anyio
import pytest
from _actors import STAGES, AsyncioStage, EagerStage, LoopStage, TrioStage, guard_for

from rwlocks import LockTimeout, Mode, ReadGuard, RWLock
from rwlocks._types import PolicyName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _actors import AnyGuard

Outcome: TypeAlias = Literal["granted", "timed out", "cancelled", "refused"]

THREADS: Final = 4
TASKS_PER_LOOP: Final = 4
MODES: Final = [Mode.READ] * 3 + [Mode.WRITE] * 2 + [Mode.UPGRADABLE]
TIMEOUTS: Final = [None, None, 0, -1, 0.0002, 0.002, 10]  # seconds
CANCELLED_AFTER: Final = [0, 0.0002, 0.001, 10, 10]  # seconds
UNTIL_STUCK: Final = 30.0  # seconds for the last ones to come through


class Room:
    """What the lock protects. It counts who is inside, and looks at each step whether they may be there together."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self._inside = dict.fromkeys(Mode, 0)
        self.visits = 0
        self.violations: list[str] = []

    def step(self, *, leaves: Mode | None = None, enters: Mode | None = None) -> None:
        with self._counting:
            if leaves is not None:
                self._inside[leaves] -= 1
            if enters is not None:
                self._inside[enters] += 1
                self.visits += leaves is None
            readers, upgradables, writers = (self._inside[mode] for mode in (Mode.READ, Mode.UPGRADABLE, Mode.WRITE))
            if upgradables > 1 or writers > 1 or (writers and readers + upgradables):
                self.violations.append(f"{readers} readers, {upgradables} upgradables, {writers} writers")

    def is_empty(self) -> bool:
        return not any(self._inside.values())


class Storm:
    """Who takes part. Each has a random generator of its own, so that a seed decides what everybody tries."""

    def __init__(self, lock: RWLock, seconds: float, seed: int) -> None:
        self.lock = lock
        self.room = Room()
        self.outcomes: dict[Outcome, int] = dict.fromkeys(get_args(Outcome), 0)
        self._counting = threading.Lock()
        self._seed = seed
        self._end = time.monotonic() + seconds

    def rage(self, *loops: type[LoopStage]) -> None:
        threads = [threading.Thread(target=self._thread, args=(n,), name=f"T{n}", daemon=True) for n in range(THREADS)]
        stages = [loop() for loop in loops]
        for stage in stages:
            stage.__enter__()
        for thread in threads:
            thread.start()
        for number, stage in enumerate(stages):
            for n in range(TASKS_PER_LOOP):
                self._start_task(stage, f"L{number}.{n}")
        for thread in threads:
            thread.join(UNTIL_STUCK + max(0.0, self._end - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name} is stuck: {self.lock.statistics()}"
        for stage in stages:
            stage.__exit__(None, None, None)

    def _start_task(self, stage: LoopStage, name: str) -> None:
        async def body() -> None:
            await self._task(name)

        stage.start(body, name)

    def _thread(self, number: int) -> None:
        chance = random.Random(f"{self._seed} T{number}")
        while time.monotonic() < self._end:
            guard = self._guard(chance)
            try:
                if chance.random() < 0.1:
                    if not guard.try_acquire():
                        self._count("refused")
                        continue
                else:
                    guard.acquire()
            except LockTimeout:
                self._count("timed out")
                continue
            self._enter(guard)
            for _ in range(chance.randrange(3)):
                time.sleep(chance.choice([0, 0, 0.0001]))
                self._go_on(guard, chance)
            self._leave(guard)

    async def _task(self, name: str) -> None:
        chance = random.Random(f"{self._seed} {name}")
        while time.monotonic() < self._end:
            guard = self._guard(chance)
            with anyio.move_on_after(chance.choice(CANCELLED_AFTER)):
                try:
                    await guard
                except LockTimeout:
                    self._count("timed out")
                    continue
            if not guard.held:
                self._count("cancelled")
                continue
            self._enter(guard)
            for _ in range(chance.randrange(3)):
                await anyio.sleep(chance.choice([0, 0, 0.0001]))
                self._go_on(guard, chance)
            self._leave(guard)

    def _guard(self, chance: random.Random) -> AnyGuard:
        return guard_for(self.lock, chance.choice(MODES), chance.choice(TIMEOUTS))

    def _enter(self, guard: AnyGuard) -> None:
        self._count("granted")
        self.room.step(enters=guard.mode)

    def _go_on(self, guard: AnyGuard, chance: random.Random) -> None:
        self.room.step()
        if not isinstance(guard, ReadGuard) and guard.mode is not Mode.READ and chance.random() < 0.3:
            # In the room first: as soon as the lock is downgraded, others may be there.
            self.room.step(leaves=guard.mode, enters=Mode.READ)
            guard.downgrade()
            self.room.step()

    def _leave(self, guard: AnyGuard) -> None:
        self.room.step(leaves=guard.mode)
        guard.release()

    def _count(self, outcome: Outcome) -> None:
        with self._counting:
            self.outcomes[outcome] += 1


@pytest.fixture
def seed() -> int:
    """Random, and shown when the test fails; ``RWLOCKS_TEST_SEED`` repeats one."""
    seed = int(os.environ.get("RWLOCKS_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"RWLOCKS_TEST_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    return seed


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def weather(policy: PolicyName, seconds: float, seed: int, *loops: type[LoopStage]) -> None:
    before = set(threading.enumerate())
    lock = RWLock(policy)
    storm = Storm(lock, seconds, seed)
    storm.rage(*loops)

    assert not storm.room.violations
    assert storm.room.is_empty()
    statistics = lock.statistics()
    assert lock.locked() is None
    assert statistics.holders == ()
    assert statistics.waiters == ()
    assert (statistics.readers, statistics.upgradables, statistics.writers) == (0, 0, 0)
    assert statistics.waiting_readers == statistics.waiting_upgradables == statistics.waiting_writers == 0
    assert statistics.acquisitions == storm.room.visits == storm.outcomes["granted"]
    assert statistics.timeouts == storm.outcomes["timed out"]
    assert statistics.cancellations <= storm.outcomes["cancelled"]
    assert all(storm.outcomes.values()), f"too quiet a storm to prove anything: {storm.outcomes}"
    assert set(threading.enumerate()) <= before, "a thread is left"
    lock._core.monitor.engine.check_invariants()


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("policy", ["fifo"])
def test_storm(policy: PolicyName, seed: int) -> None:
    weather(policy, 2.0, seed, AsyncioStage, EagerStage, TrioStage)


@pytest.mark.slow
@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("policy", get_args(PolicyName))
def test_long_storm(policy: PolicyName, seed: int) -> None:
    uvloop = STAGES.get("uvloop", AsyncioStage)
    assert issubclass(uvloop, LoopStage)
    weather(policy, 10.0, seed, AsyncioStage, uvloop, TrioStage)
