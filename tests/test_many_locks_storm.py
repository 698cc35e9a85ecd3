"""Random programs over three locks, on every runtime and mixed: no hang, no leak, no violation.

A program is a handful of actors who take locks one by one, inside of each other and by `acquire_all`, upgrade,
downgrade, lose patience and are cancelled. What nobody promises is kept out: whoever holds a lock waits without a
timeout for later ones only, so that programs of plain nesting cannot deadlock on their own.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, get_args

import anyio
import pytest
from _actors import AsyncioStage, LoopStage, TrioStage, guard_for

from rwlocks import AcquireAll, DeadlockError, LockTimeout, Mode, ReadGuard, RWLock, Upgrade, WriteGuard, acquire_all
from rwlocks._types import PolicyName

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from typing import Any

    from _actors import AnyGuard

Many: TypeAlias = "AcquireAll[*tuple[AnyGuard, ...]]"

LOCKS: Final = 3
ACTORS: Final = 6
STEPS: Final = 4
DEPTH: Final = 3
MODES: Final = [Mode.READ] * 3 + [Mode.WRITE] * 2 + [Mode.UPGRADABLE]
SHORT: Final = [0, -1, 0.0002, 0.001, 0.003]  # seconds
UNTIL_STUCK: Final = 30.0  # seconds


class Room:
    """What one lock protects: who is inside with whom, looked at on each change. An owner never disturbs itself."""

    def __init__(self) -> None:
        self._looking = threading.Lock()
        self._inside: list[tuple[str, Mode]] = []
        self.violations: list[str] = []

    def enter(self, who: str, mode: Mode) -> None:
        self._change(None, (who, mode))

    def leave(self, who: str, mode: Mode) -> None:
        self._change((who, mode), None)

    def become(self, who: str, old: Mode, new: Mode) -> None:
        self._change((who, old), (who, new))

    def is_empty(self) -> bool:
        return not self._inside

    def _change(self, out: tuple[str, Mode] | None, into: tuple[str, Mode] | None) -> None:
        with self._looking:
            if out is not None:
                self._inside.remove(out)
            if into is not None:
                self._inside.append(into)
            for who, mode in self._inside:
                others = {other for name, other in self._inside if name != who}
                if (mode is Mode.WRITE and others) or (mode is Mode.UPGRADABLE and Mode.UPGRADABLE in others):
                    self.violations.append(f"{who} is disturbed: {self._inside}")


class World:
    """Three locks with their rooms, fresh for each program."""

    def __init__(self, chance: random.Random, happened: Counter[str]) -> None:
        policies = get_args(PolicyName)
        self.locks = [
            RWLock(chance.choice(policies), name=f"lock {n}", reentrant=chance.random() < 0.25) for n in range(LOCKS)
        ]
        self.rooms = [Room() for _ in self.locks]
        self._counting = threading.Lock()
        self._happened = happened

    def count(self, what: str) -> None:
        with self._counting:
            self._happened[what] += 1

    def check(self) -> None:
        """After the last actor has left."""
        for lock, room in zip(self.locks, self.rooms, strict=True):
            assert not room.violations
            assert room.is_empty()
            statistics = lock.statistics()
            assert lock.locked() is None
            assert (statistics.holders, statistics.waiters) == ((), ())
            lock._core.monitor.engine.check_invariants()
            self._happened["round"] += statistics.rounds

    def __str__(self) -> str:
        return "\n".join(f"{lock!r}: {lock.statistics()}" for lock in self.locks)


class Runtime(Protocol):
    """How an actor waits."""

    async def take(self, what: AnyGuard | Many | Upgrade) -> None: ...

    async def pause(self, seconds: float) -> None: ...

    def cancelled_after(self, seconds: float) -> AbstractContextManager[object]: ...


class Blocking:
    """For threads: never suspends, so that the coroutine runs in one go. Nothing cancels a thread."""

    async def take(self, what: AnyGuard | Many | Upgrade) -> None:
        what.acquire()

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  it is a thread of its own that runs this

    def cancelled_after(self, seconds: float) -> AbstractContextManager[object]:
        return nullcontext()


class Suspending:
    async def take(self, what: AnyGuard | Many | Upgrade) -> None:
        await what

    async def pause(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    def cancelled_after(self, seconds: float) -> AbstractContextManager[object]:
        return anyio.move_on_after(seconds)


class Actor:
    """One script; a seed of its own decides what it tries."""

    def __init__(self, name: str, world: World, runtime: Runtime, seed: str) -> None:
        self.name = name
        self._world = world
        self._runtime = runtime
        self._chance = random.Random(f"{seed} {name}")
        self._held: list[int] = []
        """The numbers of the locks that it holds, once for each hold."""

    async def play(self) -> None:
        for _ in range(STEPS):
            await self._step()

    async def _step(self) -> None:
        chance = self._chance
        if chance.random() < 0.7:
            await self._visit()
            return
        over = False
        with self._runtime.cancelled_after(chance.choice([0, 0.0002, 0.001, 0.003])):
            await self._visit()
            over = True
        if not over:
            self._world.count("cancelled")

    async def _visit(self) -> None:
        chance = self._chance
        if chance.random() < 0.5:
            numbers = [chance.randrange(LOCKS)]
            taken: AnyGuard | Many
            taken = guard = self._guard(numbers[0], self._timeout(numbers))
            guards: Sequence[AnyGuard] = [guard]
        else:
            numbers = chance.sample(range(LOCKS), chance.randrange(1, LOCKS + 1))
            guards = [self._guard(number) for number in numbers]
            if guards[0].wanted is not Mode.WRITE and chance.random() < 0.2:
                numbers.append(numbers[0])
                guards = [*guards, self._world.locks[numbers[0]].read()]
            taken = acquire_all(*guards, timeout=self._timeout(numbers))
        if not await self._take(taken):
            return
        # From here on nothing waits that could be cancelled, until it is in the rooms.
        for number, guard in zip(numbers, guards, strict=True):
            assert guard.held
            self._world.rooms[number].enter(self.name, guard.mode)
        self._held += numbers
        try:
            await self._stay(numbers, guards)
        finally:
            for number, guard in zip(numbers, guards, strict=True):
                self._world.rooms[number].leave(self.name, guard.mode)
                self._held.remove(number)
            taken.release()

    async def _take(self, what: AnyGuard | Many) -> bool:
        try:
            if self._chance.random() < 0.15:
                taken = what.try_acquire()
                self._world.count("granted" if taken else "refused")
                return taken
            await self._runtime.take(what)
        except LockTimeout:
            self._world.count("timed out")
            return False
        except DeadlockError:
            assert self._held, "nobody waits for itself who holds nothing"
            self._world.count("deadlock")
            return False
        self._world.count("granted by all" if isinstance(what, AcquireAll) else "granted")
        return True

    async def _stay(self, numbers: list[int], guards: Sequence[AnyGuard]) -> None:
        chance = self._chance
        await self._runtime.pause(chance.choice([0, 0, 0.0001, 0.0005]))
        if len(self._held) < DEPTH and chance.random() < 0.4:
            await self._step()
        number, guard = chance.choice(list(zip(numbers, guards, strict=True)))
        if not isinstance(guard, WriteGuard) and chance.random() < 0.5:
            await self._upgrade(number, guard)
        elif not isinstance(guard, ReadGuard) and guard.mode is not Mode.READ and chance.random() < 0.3:
            # In the room first: as soon as the lock is downgraded, others may be there.
            self._world.rooms[number].become(self.name, guard.mode, Mode.READ)
            guard.downgrade()
            await self._runtime.pause(0)

    async def _upgrade(self, number: int, guard: AnyGuard) -> None:
        assert not isinstance(guard, WriteGuard)
        alone = self._held == [number]
        upgrade = guard.upgrade(None if alone and self._chance.random() < 0.5 else self._chance.choice(SHORT))
        before = guard.mode
        room = self._world.rooms[number]
        try:
            await self._runtime.take(upgrade)
        except LockTimeout:
            self._world.count("upgrade timed out")
            return
        except DeadlockError:
            self._world.count("upgrade conflict")
            return
        self._world.count("upgraded")
        room.become(self.name, before, Mode.WRITE)
        try:
            await self._runtime.pause(0)
        finally:
            room.become(self.name, Mode.WRITE, before)
            upgrade.release()

    def _guard(self, number: int, timeout: float | None = None) -> AnyGuard:
        return guard_for(self._world.locks[number], self._chance.choice(MODES), timeout)

    def _timeout(self, numbers: list[int]) -> float | None:
        """For ever only where that cannot close a circle of plain nesting."""
        may_wait = not self._held or min(numbers) > max(self._held)
        return None if may_wait and self._chance.random() < 0.6 else self._chance.choice(SHORT)


class Theatre:
    """Runs one program after the other, its actors spread over threads (None) and loops in turn."""

    def __init__(self, cast: Sequence[type[LoopStage] | None]) -> None:
        self._open = ExitStack()
        self._stages = [None if stage is None else self._open.enter_context(stage()) for stage in cast]
        self.happened: Counter[str] = Counter()

    def show(self, programs: int, seed: int) -> None:
        with self._open:
            for number in range(programs):
                self._run(f"{seed} {number}")

    def _run(self, program: str) -> None:
        world = World(random.Random(program), self.happened)
        actors = [self._start(f"actor {n}", world, self._stages[n % len(self._stages)], program) for n in range(ACTORS)]
        try:
            for actor in actors:
                actor.result(UNTIL_STUCK)
            world.check()
        except BaseException as error:
            error.add_note(f"program {program!r}\n{world}")
            raise

    def _start(self, name: str, world: World, stage: LoopStage | None, program: str) -> Future[None]:
        ended: Future[None] = Future()
        if stage is None:
            actor = Actor(name, world, Blocking(), program)
            threading.Thread(target=_run_in_one_go, args=(_reporting(actor, ended),), name=name, daemon=True).start()
        else:
            actor = Actor(name, world, Suspending(), program)
            stage.start(_factory(actor, ended), name)
        return ended


def _factory(actor: Actor, ended: Future[None]) -> Callable[[], Coroutine[Any, Any, None]]:
    return lambda: _reporting(actor, ended)


async def _reporting(actor: Actor, ended: Future[None]) -> None:
    try:
        await actor.play()
    except BaseException as error:  # noqa: BLE001  the test raises it
        ended.set_exception(error)
    else:
        ended.set_result(None)


def _run_in_one_go(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise AssertionError("a thread's actor has suspended")


CASTS: Final[dict[str, list[type[LoopStage] | None]]] = {
    "threads": [None],
    "asyncio": [AsyncioStage],
    "trio": [TrioStage],
    "mixed": [None, AsyncioStage, TrioStage, AsyncioStage],
}


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


def show(cast: str, programs: int, seed: int) -> None:
    theatre = Theatre(CASTS[cast])
    theatre.show(programs, seed)
    expected = {"granted", "granted by all", "refused", "timed out", "deadlock", "upgraded", "upgrade conflict"}
    expected |= {"round", "upgrade timed out"} | ({"cancelled"} if cast != "threads" else set())
    happened = {what for what, times in theatre.happened.items() if times}
    assert expected <= happened, f"too quiet a storm to prove anything: {theatre.happened}"


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("cast", CASTS)
def test_random_programs(cast: str, seed: int) -> None:
    show(cast, 60, seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("cast", CASTS)
def test_a_thousand_random_programs(cast: str, seed: int) -> None:
    show(cast, 1000, seed)
