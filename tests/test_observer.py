"""`set_observer`: what happens to locks, told in order, outside of the mutex, in the thread that caused it."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
from _waits import LOOPS, POLICIES, lock_on, request, run, until

from rwlocks import Fifo, LockEvent, LockTimeout, Mode, RWLock, set_observer
from rwlocks import _events as events
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rwlocks._lock_event import EventKind
    from rwlocks._types import PolicyName

READ, UPGRADABLE, WRITE = Mode
SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging


class Ear:
    def __init__(self) -> None:
        self.heard: list[LockEvent] = []
        self.threads: list[threading.Thread] = []

    def __call__(self, event: LockEvent) -> None:
        self.heard.append(event)
        self.threads.append(threading.current_thread())

    def told(self) -> list[tuple[EventKind, Mode]]:
        """What was heard since the last time."""
        told: list[tuple[EventKind, Mode]] = [(event.kind, event.mode) for event in self.heard]
        self.heard.clear()
        self.threads.clear()
        return told


@pytest.fixture
def ear() -> Iterator[Ear]:
    listening = Ear()
    set_observer(listening)
    yield listening
    set_observer(None)


@pytest.fixture
def cleared() -> Iterator[None]:
    yield
    set_observer(None)


def test_an_undisputed_hold(ear: Ear) -> None:
    lock = RWLock()
    for mode in Mode:
        with request(lock, mode):
            assert ear.heard[-1] == LockEvent("grant", lock, mode, threading.current_thread().name)
        assert ear.told() == [("grant", mode), ("release", mode)]
    with lock.read():
        ear.told()
        assert not lock.write().try_acquire()
        assert ear.told() == []
        assert not lock.writer.acquire(timeout=0)
        assert ear.told() == [("timeout", WRITE)]
        with pytest.raises(LockTimeout):
            lock.write(timeout=0).acquire()
        assert ear.told() == [("timeout", WRITE)]
    ear.told()
    set_observer(None)
    with lock.write():
        pass
    assert ear.told() == []


def test_a_wait_is_granted_by_the_thread_that_releases_and_told_in_grant_order(ear: Ear) -> None:
    lock = RWLock(Fifo(patience=0))
    holder = lock.write().acquire()
    with ThreadPoolExecutor(3) as pool:
        waiting: list[Any] = []
        for n, mode in enumerate((READ, UPGRADABLE, READ)):
            waiting.append(pool.submit(request(lock, mode).acquire))
            wait_until_parked(lock, n + 1)
        while len(ear.heard) < 4:
            threading.Event().wait(0.0005)
        assert Counter(ear.told()) == Counter({("grant", WRITE): 1, ("wait", READ): 2, ("wait", UPGRADABLE): 1})
        holder.release()
        heard, threads = ear.heard[:4], ear.threads[:4]
        assert [(event.kind, event.mode) for event in heard] == [
            ("release", WRITE),
            ("grant", READ),
            ("grant", UPGRADABLE),
            ("grant", READ),
        ]
        assert set(threads) == {threading.current_thread()}
        assert len({event.owner for event in heard}) == 4
        for future in waiting:
            future.result(SOON).release()


@pytest.mark.parametrize("loop", LOOPS)
def test_timeouts_and_cancellations_of_tasks(loop: str, ear: Ear) -> None:
    async def scenario() -> None:
        import anyio

        lock = lock_on(loop)
        holder = (await lock.write()).detach()
        ear.told()
        with pytest.raises(LockTimeout):
            await lock.read(timeout=0.001)
        assert ear.told() == [("wait", READ), ("timeout", READ)]

        async def wait() -> None:
            await lock.upgradable()

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await until(lambda: bool(lock.statistics().waiters))
            group.cancel_scope.cancel()
        assert ear.told() == [("wait", UPGRADABLE), ("cancel", UPGRADABLE)]
        holder.release()
        assert ear.told() == [("release", WRITE)]

    run(loop, scenario)


def test_upgrades_and_downgrades(ear: Ear) -> None:
    lock = RWLock()
    with lock.upgradable() as guard:
        ear.told()
        with guard.upgrade():
            assert ear.told() == [("grant", WRITE)]
        assert ear.told() == [("release", WRITE)]
        with guard.upgrade():
            guard.downgrade()
            assert ear.told() == [("grant", WRITE), ("release", WRITE)]
        guard.downgrade()
        assert ear.told() == [("release", UPGRADABLE), ("grant", READ)]
    assert ear.told() == [("release", READ)]
    with lock.read() as reader, ThreadPoolExecutor(1) as pool:
        other = pool.submit(lock.upgradable().acquire).result(SOON)
        ear.told()
        with pytest.raises(LockTimeout):
            pool.submit(other.upgrade(0.001).acquire).result(SOON)
        assert ear.told() == [("wait", WRITE), ("timeout", WRITE)]
        upgrading = pool.submit(other.upgrade().acquire)
        wait_until_parked(lock, 1)
        reader.release()
        upgrading.result(SOON)
        assert Counter(ear.told()) == Counter([("wait", WRITE), ("release", READ), ("grant", WRITE)])
        other.release()
        assert ear.told() == [("release", WRITE), ("release", UPGRADABLE)]
        reader.acquire()


def test_a_poked_writer_tells_its_own_grant(ear: Ear) -> None:
    lock = RWLock(Fifo(patience=3600))
    holder = lock.read().acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock.write().acquire)
        wait_until_parked(lock, 1)
        holder.release()
        waiting.result(SOON).release()
    assert Counter(ear.told()) == Counter(
        [("grant", READ), ("release", READ), ("wait", WRITE), ("grant", WRITE), ("release", WRITE)]
    )


@pytest.mark.usefixtures("cleared")
def test_the_hook_may_use_the_same_lock() -> None:
    lock, seen = RWLock(reentrant=True), list[object]()

    def hook(event: LockEvent) -> None:
        assert not lock._core.monitor.inside
        if event.kind == "release":
            with lock.write(timeout=0):
                seen.append(lock.statistics().mode)

    set_observer(hook)
    with lock.read():
        pass
    assert seen == [WRITE]
    assert lock.locked() is None


@pytest.mark.usefixtures("cleared")
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_the_hook_raises_changes_nothing(kind: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    lock, reported = RWLock(), list[Any]()

    def hook(event: LockEvent) -> None:
        raise kind(event.kind)

    monkeypatch.setattr("sys.unraisablehook", reported.append)
    set_observer(hook)
    with lock.write():
        assert lock.locked() is WRITE
    set_observer(None)
    assert lock.locked() is None
    assert [each.exc_type for each in reported] == [kind] * 2
    for each in reported:  # Python 3.14 tells the object in the message only
        assert f"{hook!r}, the observer of rwlocks" in f"{each.err_msg} {each.object!r}"


@pytest.mark.usefixtures("cleared")
def test_the_interpreter_reports_what_the_hook_raises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hook(event: LockEvent) -> None:
        raise ValueError(event.kind)

    monkeypatch.setattr("sys.unraisablehook", sys.__unraisablehook__)
    set_observer(hook)
    with RWLock().write():
        pass
    set_observer(None)
    reported = capsys.readouterr().err
    heading = rf"^Exception ignored .*{re.escape(repr(hook))}, the observer of rwlocks:?$"
    assert len(re.findall(heading, reported, re.MULTILINE)) == 2
    assert [line for line in reported.splitlines() if line.startswith("ValueError")] == [
        "ValueError: grant",
        "ValueError: release",
    ]


def test_unset_it_costs_nothing_but_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    for name in ("tell", "tell_release", "tell_grants"):
        monkeypatch.setattr(events, name, told.append)
    lock = RWLock()
    holder = lock.write().acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock.read().acquire)
        wait_until_parked(lock, 1)
        assert not lock.writer.acquire(timeout=0)
        holder.downgrade()
        waiting.result(SOON).release()
    holder.release()
    assert told == []


def upgrade_and_time_out(lock: RWLock, seed: int) -> None:
    random = Random(seed)
    for _ in range(60):
        with suppress(LockTimeout), lock.upgradable(timeout=random.choice((0.0005, SOON))) as guard:
            with suppress(LockTimeout), guard.upgrade(timeout=0.0005):
                pass
            guard.downgrade()
        with suppress(LockTimeout), request(lock, random.choice((READ, WRITE)), 0.001):
            pass


async def take_turns(lock: RWLock) -> None:
    import anyio

    async def take() -> None:
        async with lock.write():
            await anyio.lowlevel.checkpoint()
        async with lock.read():
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(take)


@pytest.mark.parametrize("policy", POLICIES)
def test_grants_and_releases_balance_in_a_storm(policy: PolicyName, ear: Ear) -> None:
    lock = RWLock(policy)
    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(upgrade_and_time_out, lock, seed) for seed in range(3)]
        running += [pool.submit(asyncio.run, take_turns(lock)), pool.submit(trio.run, take_turns, lock)]
        for future in running:
            future.result(30)
    count = Counter(ear.told())
    for mode in Mode:
        assert count["grant", mode] == count["release", mode] > 0
        assert count["wait", mode] <= count["grant", mode] + count["timeout", mode]
