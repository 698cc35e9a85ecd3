"""Whoever holds a lock gets in or gets an error, and nobody is told of a deadlock that is none.

A *situation* is a list of steps by others: ``R1`` reads, ``~W2`` asks to write and has to queue, ``^U3`` asks to
upgrade and has to wait. Before the name stands where it happens: ``e`` elsewhere (a thread or loop of its own), ``t``
in another task of the asker's loop, ``b`` on the bare thread of that loop, between tasks.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import sysconfig
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import anyio
import pytest
import trio
from _actors import MIXED, STAGES, Crew, guard_for

from rwlocks import (
    DeadlockError,
    Fifo,
    GuardStateError,
    LockTimeout,
    Mode,
    PhaseFair,
    ReaderPreference,
    RWLock,
    WriterPreference,
)
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from _actors import AnyGuard, Stage

    from rwlocks import LockStatistics, Policy

SOON: Final = 10.0  # seconds until a request gives up, so that a test fails instead of hanging
MODES: Final = {"R": Mode.READ, "U": Mode.UPGRADABLE, "W": Mode.WRITE}
# Without patience, so that a newcomer can never get in by being quick.
POLICIES: Final[dict[str, Policy]] = {
    "reader-pref": ReaderPreference(patience=0),
    "writer-pref": WriterPreference(patience=0),
    "fifo": Fifo(patience=0),
    "phase-fair": PhaseFair(patience=0),
}
ALL: Final = frozenset(POLICIES)
NONE: Final = frozenset[str]()
READER_PREF: Final = frozenset({"reader-pref"})

Scenario: TypeAlias = "Callable[[], Coroutine[Any, Any, None]]"


def in_a_thread(scenario: Scenario) -> None:
    """Drive a scenario that never suspends."""
    with pytest.raises(StopIteration):
        scenario().send(None)


def on_asyncio(scenario: Scenario) -> None:
    asyncio.run(scenario())


def on_trio(scenario: Scenario) -> None:
    trio.run(scenario)


class Play(NamedTuple):
    """Where the asker lives, whether it blocks its thread, and where the others live."""

    run: Callable[[Scenario], None]
    blocking: bool
    elsewhere: tuple[type[Stage], ...]

    async def acquire(self, guard: AnyGuard) -> AnyGuard:
        return guard.acquire() if self.blocking else await guard


PLAYS: Final = {
    "threads": Play(in_a_thread, True, (STAGES["threads"],)),
    "asyncio": Play(on_asyncio, False, (STAGES["asyncio"],)),
    "trio": Play(on_trio, False, (STAGES["trio"],)),
    "asyncio, blocking": Play(on_asyncio, True, (STAGES["asyncio"],)),
    "trio, blocking": Play(on_trio, True, (STAGES["trio"],)),
    "mixed, from a thread": Play(in_a_thread, True, MIXED),
    "mixed, from asyncio": Play(on_asyncio, False, MIXED[1:] + MIXED[:1]),
    "mixed, from trio": Play(on_trio, False, MIXED[2:] + MIXED[:2]),
}
LOOPS: Final = {"asyncio": PLAYS["asyncio, blocking"], "trio": PLAYS["trio, blocking"]}

each_policy = pytest.mark.parametrize("policy", POLICIES)
each_play = pytest.mark.parametrize(
    "play",
    [
        pytest.param(play, id=name, marks=[pytest.mark.slow] if name == "trio, blocking" else [])
        for name, play in PLAYS.items()
    ],
)
each_loop = pytest.mark.parametrize("play", LOOPS.values(), ids=LOOPS)


def seen(lock: RWLock) -> LockStatistics:
    """All that statistics tell, but for the ages, which go on."""
    now = lock.statistics()
    return now._replace(
        holders=tuple(holder._replace(age=0) for holder in now.holders),
        waiters=tuple(waiter._replace(age=0) for waiter in now.waiters),
    )


@contextmanager
def nothing_changes(lock: RWLock) -> Generator[None]:
    before = seen(lock)
    yield
    assert seen(lock) == before
    lock._core.monitor.engine.check_invariants()


@contextmanager
def others(play: Play, situation: str = "e") -> Generator[Crew]:
    """A crew elsewhere, if the situation needs one; who is in it leaves in the end."""
    with Crew(*(play.elsewhere if "e" in situation else ())) as crew:
        yield crew
        dismiss(crew)


def dismiss(crew: Crew) -> None:
    """Release whoever of the crew gets in, until all have."""
    staying = {actor.outcome: actor for actor in crew.actors.values() if actor.guard.held or not actor.outcome.done()}
    while staying:
        done, _ = wait(staying, SOON, FIRST_COMPLETED)
        assert done, "somebody never got in"
        for outcome in done:
            actor = staying.pop(outcome)
            actor.ended("granted")
            actor.release()


async def elsewhere(crew: Crew, lock: RWLock, step: str) -> None:
    """One step of somebody with a thread or loop of its own."""
    parked = len(lock.statistics().waiters)
    if step[0] == "^":
        crew.actors[step[1:]].upgrade()
        await wait_until_parked(lock, parked + 1)
        return
    name = step.lstrip("~")
    actor = crew.enter(name, lock, MODES[name[0]])
    if step[0] == "~":
        await wait_until_parked(lock, parked + 1)
    else:
        actor.ended("granted")


# -- who holds never waits -----------------------------------------------------------------------------------------


class Nested(NamedTuple):
    """What the asker holds, what others do then, what it asks for, and under which policies it gets in."""

    held: str
    situation: str
    asked: str
    gets_in: frozenset[str]

    def __str__(self) -> str:
        return " | ".join(part for part in (self.held, self.situation, self.asked) if part)


NESTED: Final = [
    Nested("R", "", "R", ALL),
    Nested("R", "", "U", ALL),
    Nested("R", "", "W", NONE),
    Nested("U", "", "R", ALL),
    Nested("U", "", "U", NONE),
    Nested("U", "", "W", NONE),
    Nested("W", "", "R", NONE),
    Nested("W", "", "U", NONE),
    Nested("W", "", "W", NONE),
    Nested("R", "eR1", "R", ALL),
    Nested("R", "eR1", "W", NONE),
    Nested("R", "e~W1", "R", READER_PREF),
    Nested("R", "e~W1", "U", READER_PREF),
    Nested("R", "e~W1", "W", NONE),
    Nested("R", "eR1 e~W2", "R", READER_PREF),
    Nested("R", "eU1", "R", ALL),
    Nested("R", "eU1", "U", NONE),
    Nested("R", "eU1 e~U2", "R", ALL),
    Nested("R", "eU1 e~U2", "U", NONE),
    Nested("R", "eU1 e^U1", "R", NONE),
    Nested("R", "eU1 e^U1", "U", NONE),
    Nested("R", "eU1 e^U1", "W", NONE),
    Nested("U", "e~W1", "R", READER_PREF),
    Nested("U", "e~W1", "U", NONE),
    Nested("U", "e~U1", "R", ALL),
    Nested("U", "e~U1", "U", NONE),
    Nested("W", "e~R1", "R", NONE),
    Nested("W", "e~W1", "R", NONE),
    Nested("W", "e~R1 e~W2", "W", NONE),
]


@pytest.mark.parametrize("case", NESTED, ids=str)
@each_policy
@each_play
def test_whoever_holds_gets_in_or_gets_an_error(play: Play, policy: str, case: Nested) -> None:
    lock = RWLock(POLICIES[policy], name="config")
    with others(play, case.situation) as crew:

        async def scenario() -> None:
            held = await play.acquire(guard_for(lock, MODES[case.held], SOON))
            for step in case.situation.split():
                await elsewhere(crew, lock, step[1:])
            asked = guard_for(lock, MODES[case.asked], SOON)
            if policy in case.gets_in:
                await play.acquire(asked)
                assert asked.held
                asked.release()
            else:
                with nothing_changes(lock), pytest.raises(DeadlockError, match="the same owner holds it") as error:
                    await play.acquire(asked)
                assert error.value.lock is lock
                assert [holder.mode for holder in error.value.holders] == [MODES[case.held]]
                assert "'config'" in str(error.value)
                assert f"{MODES[case.held].value} by " in str(error.value)
                assert not asked.held
            held.release()

        play.run(scenario)
    assert lock.locked() is None
    assert lock.statistics().waiters == ()


@pytest.mark.parametrize("case", NESTED, ids=str)
@each_policy
@each_play
def test_a_request_that_does_not_wait_is_never_told_of_a_deadlock(play: Play, policy: str, case: Nested) -> None:
    lock = RWLock(POLICIES[policy])
    with others(play, case.situation) as crew:

        async def scenario() -> None:
            held = await play.acquire(guard_for(lock, MODES[case.held], SOON))
            for step in case.situation.split():
                await elsewhere(crew, lock, step[1:])
            mode, gets_in = MODES[case.asked], policy in case.gets_in
            view = lock.writer if mode is Mode.WRITE else lock.reader
            with nothing_changes(lock):
                assert lock.acquirable(mode) == gets_in
            if gets_in:
                asked = guard_for(lock, mode)
                assert asked.try_acquire()
                asked.release()
            else:
                with nothing_changes(lock):
                    assert not guard_for(lock, mode).try_acquire()
                    if mode is not Mode.UPGRADABLE:
                        assert not view.acquire(False)
            for timeout in (0, -1):
                before = seen(lock)
                asked = guard_for(lock, mode, timeout)
                if gets_in:
                    await play.acquire(asked)
                    asked.release()
                else:
                    with pytest.raises(LockTimeout) as error:
                        await play.acquire(asked)
                    assert error.value.waited == 0
                    assert seen(lock) == before._replace(timeouts=before.timeouts + 1)
            held.release()

        play.run(scenario)
    assert lock.locked() is None


# -- the upgrade of an owner that holds more than that --------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("mode", [Mode.READ, Mode.UPGRADABLE])
@each_policy
@each_play
def test_an_upgrade_is_refused_to_an_owner_that_holds_another_guard(
    play: Play, policy: str, mode: Mode, reentrant: bool
) -> None:
    lock = RWLock(POLICIES[policy], reentrant=reentrant)

    async def scenario() -> None:
        guard = lock.read(SOON) if mode is Mode.READ else lock.upgradable(SOON)
        await play.acquire(guard)
        other = await play.acquire(lock.read(SOON))
        upgrade = guard.upgrade(SOON)
        with nothing_changes(lock), pytest.raises(DeadlockError, match="through another guard"):
            upgrade.acquire() if play.blocking else await upgrade
        with nothing_changes(lock):
            assert not upgrade.try_acquire()
        with pytest.raises(LockTimeout):
            guard.upgrade(0).acquire()
        assert guard.mode is mode
        other.release()
        upgrade.acquire() if play.blocking else await upgrade
        assert lock.locked() is Mode.WRITE
        guard.release()

    play.run(scenario)
    assert lock.locked() is None


# -- holds that are nobody's ---------------------------------------------------------------------------------------


async def detached(lock: RWLock, play: Play) -> Callable[[], None]:
    return (await play.acquire(lock.write(SOON))).detach().release


async def through_a_view(lock: RWLock, play: Play) -> Callable[[], None]:
    if play.blocking:
        assert lock.writer.acquire(timeout=SOON)
    else:
        await lock.writer.__aenter__()
    return lock.writer.release


async def by_a_thread_that_has_ended(lock: RWLock, _: Play) -> Callable[[], None]:
    guard = lock.write(SOON)
    thread = threading.Thread(target=guard.acquire)
    thread.start()
    thread.join()
    return guard.release


async def by_another_thread(lock: RWLock, _: Play) -> Callable[[], None]:
    pool = ThreadPoolExecutor(1)
    guard = pool.submit(lock.write(SOON).acquire).result(SOON)

    def release() -> None:
        pool.submit(guard.release).result(SOON)
        pool.shutdown()

    return release


async def by_a_task_that_has_ended(lock: RWLock, play: Play) -> Callable[[], None]:
    """On a loop, another task of it; in a plain thread, one of a loop that it ran before."""
    guard = lock.write(SOON)

    async def acquire() -> None:
        await guard

    if play.run is in_a_thread:
        asyncio.run(acquire())
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(acquire)
    gc.collect()
    return guard.release


NOBODYS: Final = (
    detached,
    through_a_view,
    by_a_thread_that_has_ended,
    by_another_thread,
    by_a_task_that_has_ended,
)


@pytest.mark.parametrize(
    "mode", [Mode.WRITE, *(pytest.param(m, marks=pytest.mark.slow) for m in (Mode.READ, Mode.UPGRADABLE))]
)
@pytest.mark.parametrize("hold", NOBODYS, ids=lambda hold: hold.__name__)
@each_policy
@each_play
def test_holds_that_are_nobodys_are_waited_for(
    play: Play, policy: str, hold: Callable[[RWLock, Play], Coroutine[Any, Any, Callable[[], None]]], mode: Mode
) -> None:
    lock = RWLock(POLICIES[policy])

    async def scenario() -> None:
        release = await hold(lock, play)
        assert lock.locked() is Mode.WRITE
        with ThreadPoolExecutor(1) as pool:
            releasing = pool.submit(release_once_parked, lock, 1, release)
            guard = await play.acquire(guard_for(lock, mode, SOON))
            releasing.result(SOON)
        assert lock.locked() is mode
        guard.release()

    play.run(scenario)
    assert lock.statistics().contended == 1


def release_once_parked(lock: RWLock, parked: int, release: Callable[[], object]) -> None:
    wait_until_parked(lock, parked)
    release()


@pytest.mark.parametrize("side", ["reader", "writer"])
@each_policy
def test_a_view_asks_without_an_owner(policy: str, side: str) -> None:
    """Also when the thread that asks holds the lock by a guard: a second acquire waits, as with `threading.Lock`."""
    lock = RWLock(POLICIES[policy])
    view = lock.reader if side == "reader" else lock.writer
    guard = lock.write().acquire()
    with ThreadPoolExecutor(1) as pool:
        releasing = pool.submit(release_once_parked, lock, 1, guard.release)
        assert view.acquire(timeout=SOON)
        releasing.result(SOON)
    view.release()


@pytest.mark.parametrize("mode", Mode)
@each_policy
@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_a_detached_hold_is_nobodys_after_the_hand_over(runtime: str, policy: str, mode: Mode) -> None:
    """Handed to a task by detaching it: the giver may ask again, and so may the taker."""
    play = PLAYS[runtime]
    lock = RWLock(POLICIES[policy])

    async def scenario() -> None:
        guard = (await lock.write()).detach()
        asked, again = guard_for(lock, mode, SOON), guard_for(lock, mode, SOON)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asked._acquire_async)
            await wait_until_parked(lock, 1)
            tasks.start_soon(again._acquire_async)
            await wait_until_parked(lock, 2)
            guard.release()
            with anyio.fail_after(SOON):
                while not asked.held:
                    await anyio.lowlevel.checkpoint()
            asked.release()
        again.release()

    play.run(scenario)
    assert lock.locked() is None


@each_policy
def test_wait_for_acquires_for_whoever_runs_it(policy: str) -> None:
    """Before 3.12 that is a task of its own, which has ended by the time its hold is in the way."""
    lock = RWLock(POLICIES[policy])

    async def scenario() -> None:
        guard = await asyncio.wait_for(lock.write()._acquire_async(), SOON)
        asked = lock.read(SOON)
        if sys.version_info >= (3, 12):
            with nothing_changes(lock), pytest.raises(DeadlockError, match="the same owner"):
                await asked
            with nothing_changes(lock), pytest.raises(DeadlockError, match="the same owner"):
                await asyncio.wait_for(lock.read()._acquire_async(), SOON)
            guard.release()
        else:
            waiting = asyncio.create_task(asked._acquire_async())
            await wait_until_parked(lock, 1)
            guard.release()
            (await waiting).release()

    asyncio.run(scenario())
    assert lock.locked() is None


# -- a blocking wait on the thread of a loop ------------------------------------------------------------------------

Fate: TypeAlias = Literal["in", "error", "blocks"]


class Blocking(NamedTuple):
    """What others do, what is asked for by a blocking call on the loop's thread, and what comes of it."""

    situation: str
    asked: str
    fate: Fate | dict[str, Fate]

    def under(self, policy: str) -> Fate:
        return self.fate if isinstance(self.fate, str) else self.fate.get(policy, "error")

    def __str__(self) -> str:
        return f"{self.situation} | {self.asked}"


BLOCKING: Final = [
    # Directly.
    Blocking("tW1", "R", "error"),
    Blocking("tW1", "W", "error"),
    Blocking("tR1", "R", "in"),
    Blocking("tR1", "U", "in"),
    Blocking("tR1", "W", "error"),
    Blocking("tU1", "R", "in"),
    Blocking("tU1", "U", "error"),
    Blocking("eR1 tR2", "W", "error"),
    # Through the queue: the waiter is of this loop.
    Blocking("eR1 t~W2", "R", {"reader-pref": "in"}),
    Blocking("eR1 t~W2", "U", {"reader-pref": "in"}),
    Blocking("eR1 t~W2", "W", "error"),
    Blocking("eW1 t~W2", "R", {"reader-pref": "blocks", "phase-fair": "blocks"}),
    Blocking("eW1 t~R2", "W", {"writer-pref": "blocks"}),
    Blocking("eW1 t~R2", "R", "blocks"),
    Blocking("eW1 t~W2", "W", "error"),
    Blocking("eU1 t~U2", "U", "error"),
    Blocking("eU1 t~U2", "R", "in"),
    # Through the queue: the waiter is somebody else's, and waits for this loop or behind it.
    Blocking("tR1 e~W2", "R", {"reader-pref": "in"}),
    Blocking("tR1 e~W2", "W", "error"),
    Blocking("eR1 e~W2 t~W3", "R", {"reader-pref": "in", "phase-fair": "blocks"}),
    Blocking("eW1 e~W2 t~R3", "W", {"writer-pref": "blocks"}),
    Blocking("tR1 eU2 e^U2", "R", "error"),
    # On what the bare thread holds.
    Blocking("bW1", "R", "error"),
    Blocking("bW1", "W", "error"),
    Blocking("bR1", "W", "error"),
    Blocking("bU1", "U", "error"),
    Blocking("bR1 e~W2", "R", {"reader-pref": "in"}),
    # Only other threads are in the way.
    Blocking("eW1", "R", "blocks"),
    Blocking("eW1", "W", "blocks"),
    Blocking("eR1", "W", "blocks"),
    Blocking("eU1", "U", "blocks"),
    Blocking("eW1 e~R2 e~W3", "W", "blocks"),
    Blocking("eW1 e~R2 e~W3", "R", "blocks"),
    Blocking("eR1 eU2 e^U2", "R", "blocks"),
    Blocking("eR1 eU2 e^U2", "W", "blocks"),
]


class Siblings:
    """Other tasks of the asker's loop, and its bare thread."""

    def __init__(self, lock: RWLock, play: Play, tasks: anyio.abc.TaskGroup) -> None:
        self._lock = lock
        self._play = play
        self._tasks = tasks
        self._over = anyio.Event()
        self._bare: list[AnyGuard] = []

    async def step(self, step: str) -> None:
        parked = len(self._lock.statistics().waiters)
        name = step[1:].lstrip("~")
        guard = guard_for(self._lock, MODES[name[0]], SOON)
        if step[0] == "b":
            await between_tasks(self._play, lambda: self._bare.append(guard.acquire()))
            return
        taken = anyio.Event()
        self._tasks.start_soon(self._live, guard, taken)
        if "~" in step:
            await wait_until_parked(self._lock, parked + 1)
        else:
            await taken.wait()

    async def _live(self, guard: AnyGuard, taken: anyio.Event) -> None:
        async with guard:
            taken.set()
            await self._over.wait()

    async def go(self) -> None:
        """Let them all leave."""
        for guard in self._bare:
            await between_tasks(self._play, guard.release)
        self._over.set()


async def between_tasks(play: Play, what: Callable[[], object]) -> None:
    """Call it on the thread of the running loop, while no task runs."""
    done = anyio.Event()
    errors: list[BaseException] = []

    def callback() -> None:
        try:
            what()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
        done.set()

    if play.run is on_trio:
        trio.lowlevel.current_trio_token().run_sync_soon(callback)
    else:
        asyncio.get_running_loop().call_soon(callback)
    await done.wait()
    for error in errors:
        raise error


@pytest.mark.parametrize("place", ["in a task", "between tasks"])
@pytest.mark.parametrize("case", BLOCKING, ids=str)
@each_policy
@each_loop
def test_a_blocking_wait_on_the_thread_of_a_loop_must_not_depend_on_that_loop(
    play: Play, policy: str, case: Blocking, place: str
) -> None:
    lock = RWLock(POLICIES[policy], name="config")
    fate = case.under(policy)
    asked = guard_for(lock, MODES[case.asked], SOON)

    def ask(crew: Crew) -> None:
        if fate == "error":
            with nothing_changes(lock), pytest.raises(DeadlockError, match=r"would wait for ever .*'config'") as error:
                asked.acquire()
            assert error.value.lock is lock
            assert not asked.held
            with nothing_changes(lock):
                assert not asked.try_acquire()
                assert not lock.acquirable(asked.wanted)
            with pytest.raises(LockTimeout):
                asked.acquire(0)
        elif fate == "in":
            asked.acquire()
            asked.release()
        else:
            with ThreadPoolExecutor(1) as pool:
                parked = len(lock.statistics().waiters) + 1
                dismissing = pool.submit(release_once_parked, lock, parked, lambda: dismiss(crew))
                asked.acquire()
                asked.release()
                dismissing.result(SOON)

    async def scenario() -> None:
        with others(play, case.situation) as crew:
            async with anyio.create_task_group() as tasks:
                siblings = Siblings(lock, play, tasks)
                for step in case.situation.split():
                    if step[0] == "e":
                        await elsewhere(crew, lock, step[1:])
                    else:
                        await siblings.step(step)
                if place == "in a task":
                    ask(crew)
                else:
                    await between_tasks(play, lambda: ask(crew))
                await siblings.go()
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(dismiss, crew)

    play.run(scenario)
    assert lock.locked() is None
    assert lock.statistics().waiters == ()


UPGRADES: Final[list[tuple[str, Fate]]] = [
    ("", "in"),
    ("tR1", "error"),
    ("bR1", "error"),
    ("eR1", "blocks"),
    ("eR1 tR2", "error"),
    ("eR1 t~W2", "blocks"),
]


@pytest.mark.parametrize(("situation", "fate"), UPGRADES)
@pytest.mark.parametrize("mode", [Mode.READ, Mode.UPGRADABLE])
@each_policy
@each_loop
def test_a_blocking_upgrade_on_the_thread_of_a_loop_must_not_depend_on_that_loop(
    play: Play, policy: str, mode: Mode, situation: str, fate: Fate
) -> None:
    lock = RWLock(POLICIES[policy])

    async def scenario() -> None:
        with others(play, situation) as crew:
            async with anyio.create_task_group() as tasks:
                siblings = Siblings(lock, play, tasks)
                guard = lock.read(SOON) if mode is Mode.READ else lock.upgradable(SOON)
                await guard
                for step in situation.split():
                    if step[0] == "e":
                        await elsewhere(crew, lock, step[1:])
                    else:
                        await siblings.step(step)
                upgrade = guard.upgrade(SOON)
                if fate == "error":
                    with nothing_changes(lock), pytest.raises(DeadlockError, match="stop the event loop"):
                        upgrade.acquire()
                    with nothing_changes(lock):
                        assert not upgrade.try_acquire()
                    assert guard.mode is mode
                else:
                    with ThreadPoolExecutor(1) as pool:
                        parked = len(lock.statistics().waiters) + 1
                        releasing = [
                            pool.submit(release_once_parked, lock, parked, actor.release)
                            for actor in crew.actors.values()
                        ]
                        upgrade.acquire()
                        for future in releasing:
                            future.result(SOON)
                    assert upgrade.held
                    assert guard.mode is Mode.WRITE
                guard.release()
                await siblings.go()

    play.run(scenario)
    assert lock.locked() is None


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("when", ["before the loop", "between tasks"])
@each_policy
@each_loop
def test_async_requests_wait_for_what_the_bare_thread_holds(play: Play, policy: str, when: str, mode: Mode) -> None:
    """It is the loop's thread that will release, and the loop goes on meanwhile."""
    lock = RWLock(POLICIES[policy])
    held = lock.write(SOON)
    if when == "before the loop":
        held.acquire()

    async def scenario() -> None:
        if when == "between tasks":
            await between_tasks(play, held.acquire)
        asked = guard_for(lock, mode, SOON)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asked._acquire_async)
            await wait_until_parked(lock, 1)
            await between_tasks(play, held.release)
        assert lock.locked() is mode
        asked.release()

    play.run(scenario)
    assert lock.locked() is None


# -- strict mode -----------------------------------------------------------------------------------------------------

GETS_IN: Final = [("R", "R"), ("R", "U"), ("U", "R")]


@pytest.mark.parametrize("how", ["environment", "attribute"])
@pytest.mark.parametrize(("held", "asked"), GETS_IN)
@each_policy
@each_play
def test_strict_mode_refuses_also_what_would_have_got_in(
    play: Play, policy: str, held: str, asked: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "environment":
        monkeypatch.setenv("RWLOCKS_DEADLOCK", "strict")
    lock = RWLock(POLICIES[policy])
    if how == "attribute":
        lock.deadlocks = "strict"
    monkeypatch.delenv("RWLOCKS_DEADLOCK", raising=False)  # it is read when a lock is made
    assert lock.deadlocks == "strict"
    assert RWLock().deadlocks == "raise"

    async def scenario() -> None:
        guard = await play.acquire(guard_for(lock, MODES[held], SOON))
        nested = guard_for(lock, MODES[asked], SOON)
        with nothing_changes(lock), pytest.raises(DeadlockError, match="the same owner"):
            await play.acquire(nested)
        assert nested.try_acquire(), "what does not wait never raises"
        nested.release()
        at_once = await play.acquire(guard_for(lock, MODES[asked], 0))
        guard.release()
        with nothing_changes(lock), pytest.raises(DeadlockError, match="the same owner"):
            await play.acquire(nested)
        at_once.release()
        await play.acquire(nested)
        nested.release()

    play.run(scenario)
    assert lock.locked() is None


@each_play
def test_strict_mode_leaves_reentrant_locks_and_other_owners_alone(play: Play) -> None:
    lock, plain = RWLock(reentrant=True), RWLock()
    lock.deadlocks = plain.deadlocks = "strict"
    with others(play) as crew:

        async def scenario() -> None:
            await elsewhere(crew, plain, "R1")
            for each in (lock, plain):
                guard = await play.acquire(each.read(SOON))
                if each is lock:
                    (await play.acquire(each.read(SOON))).release()
                guard.detach()
                (await play.acquire(each.read(SOON))).release()
                guard.release()

        play.run(scenario)
    assert (lock.locked(), plain.locked()) == (None, None)


def test_an_unknown_mode_of_deadlocks_names_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"unknown deadlocks 'wait'.*'raise', 'strict', 'cycles'"):
        RWLock().deadlocks = "wait"  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setenv("RWLOCKS_DEADLOCK", "loud")
    with pytest.raises(ValueError, match=r"unknown RWLOCKS_DEADLOCK 'loud'.*'raise', 'strict', 'cycles'"):
        RWLock()


# -- identities that are given out again -----------------------------------------------------------------------------

# The allocator of a free-threaded Python gives memory out again only after a page of it.
SHORT_LIVES: Final = 400 if sysconfig.get_config_var("Py_GIL_DISABLED") else 60


@pytest.mark.parametrize("deadlocks", ["raise", "strict"])
@each_policy
def test_a_thread_inherits_nothing_with_the_identifier_of_a_dead_one(
    policy: str, deadlocks: Literal["raise", "strict"]
) -> None:
    lock = RWLock(POLICIES[policy])
    lock.deadlocks = deadlocks
    guards: list[AnyGuard] = []
    idents: set[int] = set()

    def live() -> None:
        idents.add(threading.get_ident())
        # Also while the dead hold much.
        guards.append(lock.read(SOON).acquire())

    with ThreadPoolExecutor(1) as pool:
        for _ in range(SHORT_LIVES):
            thread = Raising(live)
            thread.start()
            thread.join(SOON)
            assert thread.error is None
        assert len(idents) < SHORT_LIVES, "no identifier was used again, and the test shows nothing"
        writer = lock.write(SOON)
        writing = pool.submit(writer.acquire)
        wait_until_parked(lock, 1)
        for guard in guards:
            guard.release()
        writing.result(SOON)
    for _ in range(SHORT_LIVES):
        # A new thread may even wait for the hold of a dead one, whose identifier it has.
        asked = lock.write(SOON)
        thread = Raising(asked.acquire)
        thread.start()
        wait_until_parked(lock, 1)
        writer.release()
        thread.join(SOON)
        assert thread.error is None
        writer = asked
    writer.release()


class Raising(threading.Thread):
    """Keeps what ended it."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._what = what
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._what()
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error


@pytest.mark.parametrize("deadlocks", ["raise", "strict"])
@each_policy
@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_a_task_inherits_nothing_with_the_identity_of_a_dead_one(
    runtime: str, policy: str, deadlocks: Literal["raise", "strict"]
) -> None:
    lock = RWLock(POLICIES[policy])
    lock.deadlocks = deadlocks
    guards = [lock.read(SOON) for _ in range(SHORT_LIVES)]
    idents: set[int] = set()

    async def live(guard: AnyGuard) -> None:
        idents.add(id(trio.lowlevel.current_task() if runtime == "trio" else asyncio.current_task()))
        await guard

    async def scenario() -> None:
        for guard in guards:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(live, guard)
        assert len(idents) < SHORT_LIVES, "no identity was used again, and the test shows nothing"
        writer = lock.write(SOON)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live, writer)
            await wait_until_parked(lock, 1)
            for guard in guards:
                guard.release()
        writer.release()

    PLAYS[runtime].run(scenario)
    assert lock.locked() is None


# -- reentrant -------------------------------------------------------------------------------------------------------

INSIDE: Final = [("R", "R"), ("U", "R"), ("U", "U"), ("W", "R"), ("W", "U"), ("W", "W")]
REENTERED: Final = [
    *((held, situation, asked) for held, asked in INSIDE for situation in ("", "e~W1", "e~W1 e~W2")),
    *(("W", "e~W1 e~R2 e~U3", asked) for asked in MODES),
    ("R", "eU1 e^U1", "R"),
]
ORDERS: Final = {"inner first": (1, 0), "outer first": (0, 1)}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize(("held", "situation", "asked"), REENTERED)
@each_policy
@each_play
def test_a_reentrant_lock_grants_what_its_owner_has_already(
    play: Play, policy: str, held: str, situation: str, asked: str, order: tuple[int, int]
) -> None:
    """At once, past queued writers and a pending upgrade; and it is free when the last is released."""
    lock = RWLock(POLICIES[policy], reentrant=True)
    with others(play, situation) as crew:

        async def scenario() -> None:
            guards = [await play.acquire(guard_for(lock, MODES[held], SOON))]
            for step in situation.split():
                await elsewhere(crew, lock, step[1:])
            waiting = seen(lock).waiters
            for timeout in (SOON, 0):
                inner = await play.acquire(guard_for(lock, MODES[asked], timeout))
                assert inner.mode is MODES[asked]
                inner.release()
                assert not inner.held
            assert lock.acquirable(MODES[asked])
            guards.append(guard_for(lock, MODES[asked]))
            assert guards[1].try_acquire()
            assert lock.locked() is (Mode.UPGRADABLE if situation == "eU1 e^U1" else MODES[held])
            assert seen(lock).waiters == waiting, "nobody else has got in"
            lock._core.monitor.engine.check_invariants()
            first, last = (guards[index] for index in order)
            first.release()
            assert last.held
            assert lock.locked() is not None
            with pytest.raises(Exception, match="holds nothing"):
                first.release()
            last.release()

        play.run(scenario)
    assert lock.locked() is None
    assert lock.statistics().waiters == ()
    lock._core.monitor.engine.check_invariants()


@pytest.mark.parametrize(("held", "asked"), [("R", "W"), ("U", "W")])
@pytest.mark.parametrize("situation", ["", "eR1", "e~W1"])
@each_policy
@each_play
def test_a_reentrant_lock_refuses_to_write_in_a_read(
    play: Play, policy: str, held: str, asked: str, situation: str
) -> None:
    lock = RWLock(POLICIES[policy], reentrant=True)
    with others(play, situation) as crew:

        async def scenario() -> None:
            guard = await play.acquire(guard_for(lock, MODES[held], SOON))
            inner = await play.acquire(lock.read(SOON))
            for step in situation.split():
                await elsewhere(crew, lock, step[1:])
            asked_for = guard_for(lock, MODES[asked], SOON)
            with nothing_changes(lock), pytest.raises(DeadlockError, match="the same owner"):
                await play.acquire(asked_for)
            with nothing_changes(lock):
                assert not asked_for.try_acquire()
            guard.release()
            with nothing_changes(lock), pytest.raises(DeadlockError, match="the same owner"):
                await play.acquire(asked_for)
            inner.release()

        play.run(scenario)
    assert lock.locked() is None


@each_policy
@each_play
def test_a_reentrant_nest_may_be_deep_and_end_in_any_order(play: Play, policy: str) -> None:
    lock = RWLock(POLICIES[policy], reentrant=True)

    async def scenario() -> None:
        guards = [await play.acquire(guard_for(lock, mode, SOON)) for mode in [*reversed(Mode), *reversed(Mode)] * 2]
        assert len(lock.statistics().holders) == len(guards)
        strongest = {Mode.READ: 0, Mode.UPGRADABLE: 1, Mode.WRITE: 2}
        while guards:
            assert lock.locked() is max((guard.mode for guard in guards), key=strongest.__getitem__)
            guards.pop(len(guards) * 5 // 7).release()
            lock._core.monitor.engine.check_invariants()

    play.run(scenario)
    assert lock.locked() is None


COMES_IN: Final = {"reader-pref": True, "writer-pref": False, "fifo": True, "phase-fair": True}


@each_policy
@each_play
def test_releasing_the_write_first_downgrades(play: Play, policy: str) -> None:
    """Queued readers come in as the policy says for a downgrade; no writer does in between."""
    lock = RWLock(POLICIES[policy], reentrant=True)
    with others(play) as crew:

        async def scenario() -> None:
            writer = await play.acquire(lock.write(SOON))
            reader = await play.acquire(lock.read(SOON))
            await elsewhere(crew, lock, "~R1")
            await elsewhere(crew, lock, "~W2")
            writer.release()
            assert reader.held
            assert lock.locked() is Mode.READ
            assert crew.actors["R1"].guard.held is COMES_IN[policy]
            assert not crew.actors["W2"].guard.held
            (await play.acquire(lock.read(SOON))).release()
            reader.release()

        play.run(scenario)
    assert lock.locked() is None


@each_play
def test_another_owner_is_not_inside(play: Play) -> None:
    """Reentrancy is the owner's own: others wait as ever, and a detached hold is nobody's."""
    lock = RWLock(reentrant=True)

    async def scenario() -> None:
        guard = await play.acquire(lock.write(SOON))
        inner = await play.acquire(lock.read(SOON))
        for nested in (guard, inner):
            with nothing_changes(lock), pytest.raises(GuardStateError, match="nested"):
                nested.detach()
        inner.release()
        guard.detach()
        assert not lock.read().try_acquire()
        guard.release()

    play.run(scenario)
    with ThreadPoolExecutor(1) as pool, lock.write():
        assert not pool.submit(lock.read().try_acquire).result(SOON)
