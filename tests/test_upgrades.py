"""Reader to writer and back: the exact grant order, and every upgrade that fails leaves things as they were."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio
import pytest
from _actors import MIXED, STAGES, Crew
from test_golden_traces import POLICIES, Player, Trace, troupes

from rwlocks import (
    GuardStateError,
    LockTimeout,
    Mode,
    NotHeldError,
    ReadGuard,
    RWLock,
    UpgradableGuard,
    Upgrade,
    UpgradeConflict,
)
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from _actors import Stage, Way

    from rwlocks import LockStatistics

SOON: Final = 10.0  # seconds until a wait gives up, so that a test fails instead of hanging
PLAIN: Final = ("reader-pref", "writer-pref", "fifo", "phase-fair")

# Steps as in the golden traces; ``^U1`` asks to upgrade and waits, ``vU1`` ends an upgrade.
SITUATIONS: Final[dict[str, dict[str, str]]] = {
    "R0 U1 ^U1 R2 W3 -R0 vU1 -U1": {
        "reader-pref": "+U1, -R0: U1, vU1: R2, W3",
        "writer-pref": "+U1, -R0: U1, -U1: W3, R2",
        "fifo": "+U1, -R0: U1, vU1: R2, W3",
        "phase-fair": "+U1, -R0: U1, vU1: R2, W3",
    },
    # It goes before a writer that queued earlier; a queued reader comes in when it is withdrawn, or not.
    "R0 U1 W2 ^U1 R3 -R0 -U1": {
        "reader-pref": "+U1, -R0: U1, -U1: R3, W2",
        "writer-pref": "+U1, -R0: U1, -U1: W2, R3",
        "fifo": "+U1, -R0: U1, -U1: W2, R3",
        "phase-fair": "+U1, -R0: U1, -U1: R3, W2",
    },
    "R0 U1 ^U1 R2 x^U1": dict.fromkeys(PLAIN, "+U1, x^U1: R2"),
    "R0 U1 ^U1 W2 R3 x^U1": {
        "reader-pref": "+U1, x^U1: R3, W2",
        "writer-pref": "+U1, W2, R3",
        "fifo": "+U1, W2, R3",
        "phase-fair": "+U1, W2, R3",
    },
    # Of a plain reader.
    "R0 R1 ^R1 R2 W3 -R0 -R1": {
        "reader-pref": "+R1, -R0: R1, -R1: R2, W3",
        "writer-pref": "+R1, -R0: R1, -R1: W3, R2",
        "fifo": "+R1, -R0: R1, -R1: R2, W3",
        "phase-fair": "+R1, -R0: R1, -R1: R2, W3",
    },
    # An upgradable becomes a reader: the next upgradable and the readers come in, as after a write.
    "U0 U1 R2 vU0 -U0": dict.fromkeys(PLAIN, "+R2, vU0: U1"),
    "U0 W1 R2 U3 vU0 -U0": {
        "reader-pref": "+R2, vU0: U3, W1",
        "writer-pref": "-U0: W1, R2 U3",
        "fifo": "-U0: W1, R2 U3",
        "phase-fair": "vU0: R2 U3, W1",
    },
}


class UpgradePlayer(Player):
    """Knows two steps more: to ask for an upgrade, and to withdraw that."""

    def _do(self, step: str) -> LockStatistics:
        if step[0] == "^":
            self._waiting.add(step[1:])
            actor = self._crew.actors[step[1:]]
            actor.upgrade(3600.0 if f"x{step}" in self._trace.steps else None)
            wait_until_parked(self._lock, len(self._waiting))
            return self._lock.statistics()
        if step.startswith("x^"):
            self._waiting.remove(step[2:])
            actor = self._crew.actors[step[2:]]
            return actor.withdraw(self._by if self._by in actor.ways else actor.ways[0])
        return super()._do(step)


WAYS: Final[tuple[Way, ...]] = ("cancel", "timeout")
TROUPES: Final = dict(troupes())
TRACES: Final = {
    f"{policy} | {situation}": Trace.read(situation, policy, course)
    for situation, courses in SITUATIONS.items()
    for policy, course in courses.items()
}


SCENES: Final[dict[str, tuple[Trace, Way]]] = {
    f"{name} | {way}" if trace.withdraws else name: (trace, way)
    for name, trace in TRACES.items()
    for way in WAYS[: 1 + trace.withdraws]
}


@pytest.mark.parametrize("patience", [0.0, None], ids=["strict", "default patience"])
@pytest.mark.parametrize("stages", TROUPES.values(), ids=TROUPES)
@pytest.mark.parametrize(("trace", "by"), SCENES.values(), ids=SCENES)
def test_the_grant_order_around_an_upgrade(
    trace: Trace, stages: tuple[type[Stage], ...], patience: float | None, by: Way
) -> None:
    backends = {stage.backend for stage in stages}
    lock = RWLock(POLICIES[trace.policy](patience), backend=backends.pop() if len(backends) == 1 else "auto")
    with Crew(*stages) as crew:
        crew.drive(lock)
        UpgradePlayer(crew, lock, trace, by=by, in_patience=patience is None).play()


# -- what fails changes nothing --------------------------------------------------------------------------------------

RUNTIMES: Final[dict[str, tuple[type[Stage], ...]]] = {
    **{name: (STAGES[name],) for name in ("threads", "asyncio", "trio")},
    "mixed": MIXED,
}
each_policy = pytest.mark.parametrize("policy", PLAIN)
each_runtime = pytest.mark.parametrize("stages", RUNTIMES.values(), ids=RUNTIMES)


def state_of(lock: RWLock) -> tuple[object, ...]:
    """All that decides the future, and who is who."""
    lock._core.monitor.engine.check_invariants()
    now = lock.statistics()
    return (
        lock._core.monitor.engine.snapshot(),
        tuple(holder._replace(age=0) for holder in now.holders),
        now.acquisitions,
        now.pending_upgrades,
    )


@contextmanager
def nothing_changes(lock: RWLock) -> Generator[None]:
    before = state_of(lock)
    yield
    assert state_of(lock) == before


@each_policy
@each_runtime
def test_of_two_upgraders_the_second_is_told_at_once(stages: tuple[type[Stage], ...], policy: str) -> None:
    """And the first one gets in as soon as the second gives its read up."""
    lock = RWLock(POLICIES[policy](0.0))
    with Crew(*stages) as crew:
        first, second = crew.enter("R1", lock, Mode.READ), crew.enter("R2", lock, Mode.READ)
        first.ended("granted")
        second.ended("granted")
        first.upgrade()
        wait_until_parked(lock, 1)
        with nothing_changes(lock):
            second.upgrade()
            second.ended("refused")
            assert (second.guard.held, second.guard.mode) == (True, Mode.READ)
        second.release()
        first.ended("granted")
        assert first.guard.mode is Mode.WRITE
        first.release()
    assert lock.locked() is None


@each_policy
@each_runtime
def test_a_reader_cannot_upgrade_beside_an_upgradable(stages: tuple[type[Stage], ...], policy: str) -> None:
    lock = RWLock(POLICIES[policy](0.0))
    with Crew(*stages) as crew:
        upgradable, reader = crew.enter("U1", lock, Mode.UPGRADABLE), crew.enter("R2", lock, Mode.READ)
        upgradable.ended("granted")
        reader.ended("granted")
        with nothing_changes(lock):
            reader.upgrade()
            reader.ended("refused")
        upgradable.release()
        reader.upgrade()
        reader.ended("granted")
        assert lock.locked() is Mode.WRITE
        reader.release()
    assert lock.locked() is None


@pytest.mark.parametrize("mode", [Mode.READ, Mode.UPGRADABLE])
@pytest.mark.parametrize("queued", [(), ("W3",), ("R3",), ("U3",), ("W3", "R4", "U5")], ids=" ".join)
@pytest.mark.parametrize("by", ["cancel", "timeout"])
@each_policy
@each_runtime
def test_an_upgrade_that_is_withdrawn_was_never_asked_for(
    stages: tuple[type[Stage], ...], policy: str, by: Way, queued: tuple[str, ...], mode: Mode
) -> None:
    """The same arrivals with and without it: afterwards the same hold, and the same wait in the same order."""
    modes = {"R": Mode.READ, "U": Mode.UPGRADABLE, "W": Mode.WRITE}
    seen: list[object] = []
    for upgrades in (False, True):
        lock = RWLock(POLICIES[policy](0.0))
        with Crew(*stages) as crew:
            crew.drive(lock)
            reader, actor = crew.enter("R0", lock, Mode.READ), crew.enter("A1", lock, mode)
            reader.ended("granted")
            actor.ended("granted")
            if upgrades:
                actor.upgrade(3600.0)
                wait_until_parked(lock, 1)
                assert lock.locked() is Mode.UPGRADABLE
            for count, name in enumerate(queued, 1):
                crew.enter(name, lock, modes[name[0]])
                until_asked(lock, count + upgrades + 2)
            if upgrades:
                way = by if by in actor.ways else actor.ways[0]
                actor.withdraw(way)
                assert (actor.guard.held, actor.guard.mode) == (True, mode)
                now = lock.statistics()
                assert (now.cancellations, now.timeouts) == ((1, 0) if way == "cancel" else (0, 1))
            now = lock.statistics()
            assert now.pending_upgrades == 0
            lock._core.monitor.engine.check_invariants()
            seen.append(
                (
                    sorted((holder.owner, holder.mode.value) for holder in now.holders),
                    [(waiter.owner, waiter.mode) for waiter in now.waiters],
                )
            )
            leave(crew)
        assert lock.locked() is None
    assert seen[0] == seen[1]


def until_asked(lock: RWLock, requests: int) -> None:
    """Until so many have asked: those who hold, those who wait, and an upgrade that is pending."""
    deadline = time.monotonic() + SOON
    while len((now := lock.statistics()).holders) + len(now.waiters) < requests:
        assert time.monotonic() < deadline, f"fewer than {requests} have asked"
        time.sleep(0.0005)


def leave(crew: Crew) -> None:
    """Release whoever gets in, until all have."""
    staying = {actor.outcome: actor for actor in crew.actors.values()}
    while staying:
        done, _ = wait(staying, SOON, FIRST_COMPLETED)
        assert done, "somebody never got in"
        for outcome in done:
            staying.pop(outcome).release()


# -- one guard, step by step -----------------------------------------------------------------------------------------


async def begin(upgrade: Upgrade, blocking: bool) -> None:
    if blocking:
        upgrade.acquire()
    else:
        await upgrade


def play(runtime: str, scenario: Callable[[bool], Coroutine[object, object, None]]) -> None:
    """Run it where it may suspend, or drive it in this thread, where everything blocks."""
    if runtime == "threads":
        with pytest.raises(StopIteration):
            scenario(True).send(None)
    else:
        anyio.run(scenario, False, backend=runtime)


def plain_or_upgradable(lock: RWLock, mode: Mode) -> ReadGuard | UpgradableGuard:
    return lock.read(SOON) if mode is Mode.READ else lock.upgradable(SOON)


each_mode = pytest.mark.parametrize("mode", [Mode.READ, Mode.UPGRADABLE])
each_place = pytest.mark.parametrize("runtime", ["threads", "asyncio", "trio"])


@each_mode
@each_policy
@each_place
def test_an_upgrade_goes_back_to_the_mode_that_it_came_from(runtime: str, policy: str, mode: Mode) -> None:
    lock = RWLock(POLICIES[policy](0.0))

    async def scenario(blocking: bool) -> None:
        guard = plain_or_upgradable(lock, mode).acquire()
        upgrade = guard.upgrade(SOON)
        for _ in range(2):
            await begin(upgrade, blocking)
            assert (upgrade.held, guard.mode, lock.locked()) == (True, Mode.WRITE, Mode.WRITE)
            with nothing_changes(lock), pytest.raises(GuardStateError, match="active already"):
                await begin(upgrade, blocking)
            with nothing_changes(lock), pytest.raises(GuardStateError, match="the writer already"):
                await begin(guard.upgrade(SOON), blocking)
            upgrade.release()
            assert (upgrade.held, guard.mode, lock.locked()) == (False, mode, mode)
            with nothing_changes(lock), pytest.raises(NotHeldError, match="not active"):
                upgrade.release()
        guard.release()
        with nothing_changes(lock), pytest.raises(NotHeldError, match="nothing to upgrade"):
            await begin(upgrade, blocking)

    play(runtime, scenario)
    assert lock.locked() is None


@each_mode
@each_policy
def test_a_downgrade_inside_the_upgrade_block_ends_the_upgrade(policy: str, mode: Mode) -> None:
    lock = RWLock(POLICIES[policy](0.0))
    guard = plain_or_upgradable(lock, mode).acquire()
    with guard.upgrade(SOON) as upgrade:
        if isinstance(guard, UpgradableGuard):
            guard.downgrade()
            assert not upgrade.held
            assert lock.locked() is mode
        else:
            upgrade.release()
            upgrade.acquire()
    assert (guard.held, guard.mode) == (True, mode)
    guard.release()
    assert lock.locked() is None


@each_mode
@each_policy
def test_a_release_inside_the_upgrade_block_says_so(policy: str, mode: Mode) -> None:
    lock = RWLock(POLICIES[policy](0.0))
    for release_the_upgrade in (True, False):
        guard = plain_or_upgradable(lock, mode).acquire()
        upgrade = guard.upgrade(SOON)
        upgrade.__enter__()
        (upgrade if release_the_upgrade else guard).release()
        assert lock.locked() is (mode if release_the_upgrade else None)
        with nothing_changes(lock), pytest.raises(NotHeldError, match="not active"):
            upgrade.__exit__(None, None, None)
        if release_the_upgrade:
            guard.release()
    assert lock.locked() is None


@each_mode
@each_policy
def test_the_upgrade_of_a_detached_hold_waits_for_readers_only(policy: str, mode: Mode) -> None:
    """A detached hold is nobody's: what else its acquirer holds is no reason to refuse it."""
    lock = RWLock(POLICIES[policy](0.0))
    guard, reader = plain_or_upgradable(lock, mode).acquire().detach(), lock.read().acquire()
    upgrade = guard.upgrade(SOON)
    with ThreadPoolExecutor(1) as pool:
        upgrading = pool.submit(upgrade.acquire)
        wait_until_parked(lock, 1)
        reader.release()
        upgrading.result(SOON)
    assert lock.locked() is Mode.WRITE
    upgrade.release()
    assert guard.mode is mode
    guard.release()


@each_mode
@each_policy
@each_place
def test_an_upgrade_without_time_changes_nothing(runtime: str, policy: str, mode: Mode) -> None:
    lock = RWLock(POLICIES[policy](0.0))

    async def scenario(blocking: bool) -> None:
        with ThreadPoolExecutor(1) as pool:
            reader = pool.submit(lock.read().acquire).result(SOON)
            guard = plain_or_upgradable(lock, mode).acquire()
            for timeout in (0, -1):
                with nothing_changes(lock), pytest.raises(LockTimeout) as error:
                    await begin(guard.upgrade(timeout), blocking)
                assert error.value.mode is Mode.WRITE
            with nothing_changes(lock):
                assert not guard.upgrade().try_acquire()
            assert lock.statistics().timeouts == 2
            reader.release()
        assert guard.upgrade().try_acquire()
        guard.release()

    play(runtime, scenario)
    assert lock.locked() is None


def test_a_conflict_is_a_deadlock_that_names_the_rival() -> None:
    lock = RWLock(name="config")
    with ThreadPoolExecutor(1) as pool:
        rival = pool.submit(lock.upgradable().acquire).result(SOON)
        with lock.read() as guard:
            with nothing_changes(lock), pytest.raises(UpgradeConflict, match=r"'config'.*somebody else") as error:
                guard.upgrade(SOON).acquire()
            assert [holder.mode for holder in error.value.holders] == [Mode.UPGRADABLE]
        rival.release()
