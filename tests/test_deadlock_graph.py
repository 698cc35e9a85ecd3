"""Circles of owners over several locks: `rwlocks.deadlocks` shows them, and in the mode ``"cycles"`` one gives way."""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.lowlevel
import pytest
from _actors import AsyncioStage, LoopStage, TrioStage, guard_for

from rwlocks import (
    AbandonedHoldWarning,
    Deadlock,
    DeadlockError,
    Fifo,
    LockStatistics,
    LockTimeout,
    Mode,
    RWLock,
    UpgradableGuard,
    WriteGuard,
    _contended,
    _graph,
    acquire_all,
    deadlocks,
)
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from rwlocks._types import Deadlocks

T = TypeVar("T")

PATIENCE_OF_TESTS: Final = 20.0  # seconds until a test gives up
LATER: Final = 3600.0  # seconds that a request may wait, which no test does


class Cast:
    """Threads by name. What one raises, leaving raises, too."""

    def __init__(self) -> None:
        self._futures: list[Future[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for future in self._futures if kind is None else []:
            future.result(PATIENCE_OF_TESTS)

    def start(self, name: str, body: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def live() -> None:
            try:
                future.set_result(body())
            except BaseException as raised:  # noqa: BLE001 - the test's thread raises it
                future.set_exception(raised)

        threading.Thread(target=live, name=name, daemon=True).start()
        self._futures.append(future)
        return future

    def play(self, name: str, *acts: Callable[[], object]) -> Part:
        return Part(self, name, acts)


class Part:
    """A thread that does one act after the other, each when it is told to."""

    def __init__(self, cast: Cast, name: str, acts: tuple[Callable[[], object], ...]) -> None:
        self._cues = [threading.Event() for _ in acts]
        self._done: list[Future[object]] = [Future() for _ in acts]
        self._acts = acts
        self._next = 0
        cast.start(name, self._live)

    def begin(self) -> Future[object]:
        """Let it begin its next act."""
        number, self._next = self._next, self._next + 1
        self._cues[number].set()
        return self._done[number]

    def act(self) -> object:
        """Let it do its next act, to the end."""
        return self.begin().result(PATIENCE_OF_TESTS)

    def _live(self) -> None:
        for cue, act, done in zip(self._cues, self._acts, self._done, strict=True):
            assert cue.wait(PATIENCE_OF_TESTS), "the test has forgotten this thread"
            try:
                done.set_result(act())
            except Exception as error:  # noqa: BLE001 - whoever waits for the act gets it
                done.set_exception(error)


def pass_through(lock: RWLock) -> None:
    with lock.write():
        pass


def locks(count: int, mode: Deadlocks = "raise") -> list[RWLock]:
    made = [RWLock(Fifo(patience=0), name=f"lock {n}") for n in range(count)]
    for lock in made:
        lock.deadlocks = mode
    return made


def ageless(statistics: LockStatistics) -> LockStatistics:
    """Without what a request leaves behind although it was refused: that it had to queue, and for how long."""
    return statistics._replace(holders=(), contended=0, longest_wait=0.0)


def refused(future: Future[object]) -> DeadlockError:
    error = future.exception(PATIENCE_OF_TESTS)
    assert isinstance(error, DeadlockError), f"{error!r}"
    return error


def check_circle(found: Deadlock, owners: set[str]) -> None:
    assert {link.owner for link in found.links} == owners
    assert len(found.links) == len(owners)
    for link, following in zip(found.links, (*found.links[1:], found.links[0]), strict=True):
        assert link.blocker == following.owner
        assert link.age >= 0
    first, *lines = str(found).splitlines()
    assert str(len(owners)) in first
    assert len(lines) == len(owners)
    for link, line in zip(found.links, lines, strict=True):
        assert link.owner in line
        assert str(link.thread) in line
        assert link.blocker in line
        if link.lock is not None:
            assert f"RWLock {link.lock.name!r}" in line


@pytest.fixture(autouse=True)
def _no_circle_is_left() -> Iterator[None]:
    assert deadlocks() == ()
    yield
    assert deadlocks() == ()


# -- the dining philosophers -------------------------------------------------------------------------------------


class Table:
    """Each takes the fork at the left, and when all have one, the fork at the right."""

    def __init__(self, seats: int, mode: Deadlocks) -> None:
        self.forks = locks(seats, mode)
        self.names = [f"philosopher {n}" for n in range(seats)]
        self.left = [fork.write() for fork in self.forks]
        self.right = [self.forks[(n + 1) % seats].write() for n in range(seats)]
        self.seated: list[int] = []
        self.eaten: list[int] = []
        self.errors: list[tuple[int, DeadlockError]] = []

    def all_seated(self) -> bool:
        return len(self.seated) == len(self.forks)

    def others_have_eaten(self) -> bool:
        return len(self.eaten) == len(self.forks) - 1

    def eat(self, n: int) -> None:
        self.eaten.append(n)
        self.right[n].release()
        if self.left[n].held:  # unless it was taken away
            self.left[n].release()

    def dine(self, n: int) -> None:
        self.left[n].acquire()
        self.seated.append(n)
        until(self.all_seated)
        try:
            self.right[n].acquire()
        except DeadlockError as error:
            self.errors.append((n, error))
            self.left[n].release()
            until(self.others_have_eaten)
            with acquire_all(self.left[n], self.right[n]):
                self.eaten.append(n)
        else:
            self.eat(n)

    async def dine_async(self, n: int) -> None:
        await self.left[n]
        self.seated.append(n)
        await until_async(self.all_seated)
        try:
            await self.right[n]
        except DeadlockError as error:
            self.errors.append((n, error))
            self.left[n].release()
            await until_async(self.others_have_eaten)
            async with acquire_all(self.left[n], self.right[n]):
                self.eaten.append(n)
        else:
            self.eat(n)

    def check_that_it_shows(self) -> None:
        for fork in self.forks:
            wait_until_parked(fork, 1)
        (found,) = deadlocks()
        check_circle(found, set(self.names))
        for link in found.links:
            n = self.names.index(link.owner)
            assert link.lock is self.forks[(n + 1) % len(self.forks)]
            assert link.mode is link.blocker_mode is Mode.WRITE
            assert link.blocker_holds
        assert max(link.age for link in found.links) == found.links[0].age

    def check_that_one_gave_way(self) -> None:
        assert sorted(self.eaten) == list(range(len(self.forks)))
        ((n, error),) = self.errors
        assert self.eaten[-1] == n
        assert error.lock is self.forks[(n + 1) % len(self.forks)]
        assert error.cycle.links[0].owner == self.names[n]
        check_circle(error.cycle, set(self.names))
        assert str(error).endswith(str(error.cycle))
        assert self.names[n] in str(error).splitlines()[0]
        assert [h.owner for h in error.holders] == [error.cycle.links[0].blocker]
        for fork in self.forks:
            assert fork.locked() is None
            statistics = fork.statistics()
            assert (statistics.waiters, statistics.cancellations, statistics.timeouts) == ((), 0, 0)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_OF_TESTS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.0002)


async def until_async(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_OF_TESTS
    while not reached():
        assert time.monotonic() < deadline
        await anyio.sleep(0.0002)


def start_async(stage: LoopStage, table: Table, n: int) -> None:
    async def body() -> None:
        await table.dine_async(n)

    stage.start(body, table.names[n])


def test_philosophers_in_threads_are_shown() -> None:
    table = Table(4, "raise")
    with Cast() as cast:
        for n, name in enumerate(table.names):
            cast.start(name, partial(table.dine, n))
        table.check_that_it_shows()
        table.left[2].release()
    assert sorted(table.eaten) == [0, 1, 2, 3]
    assert not table.errors


def test_philosophers_of_trio_and_asyncio_are_shown() -> None:
    table = Table(4, "raise")
    with AsyncioStage() as first, TrioStage() as second:
        for n in range(4):
            start_async((first, second)[n % 2], table, n)
        table.check_that_it_shows()
        table.left[2].release()
    assert sorted(table.eaten) == [0, 1, 2, 3]
    assert not table.errors


@pytest.mark.parametrize("seats", [2, 5])
def test_one_philosopher_in_threads_gives_way(seats: int) -> None:
    table = Table(seats, "cycles")
    with Cast() as cast:
        for n, name in enumerate(table.names):
            cast.start(name, partial(table.dine, n))
    table.check_that_one_gave_way()


@pytest.mark.parametrize("seats", [2, 5])
def test_one_philosopher_of_trio_and_asyncio_gives_way(seats: int) -> None:
    table = Table(seats, "cycles")
    with AsyncioStage() as first, TrioStage() as second:
        for n in range(seats):
            start_async((first, second)[n % 2], table, n)
    table.check_that_one_gave_way()


def test_one_gives_way_when_threads_and_tasks_close_the_circle_at_the_same_time() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(30):
            table = Table(3, "cycles")
            with Cast() as cast, AsyncioStage() as stage:
                cast.start(table.names[0], partial(table.dine, 0))
                cast.start(table.names[1], partial(table.dine, 1))
                start_async(stage, table, 2)
            table.check_that_one_gave_way()
    finally:
        sys.setswitchinterval(before)


# -- what closes a circle, and what does not ---------------------------------------------------------------------


def test_the_refused_request_was_never_made() -> None:
    a, b = locks(2, "cycles")
    held, wish = b.write(), a.write()
    others = a.read()
    with Cast() as cast:
        first = cast.play("first", held.acquire, wish.acquire, held.release)
        second = cast.play("second", others.acquire, lambda: b.read(LATER).acquire().release(), others.release)
        second.act()
        first.act()
        waits = second.begin()
        wait_until_parked(b, 1)
        before = a.statistics()
        error = refused(first.begin())
        after = a.statistics()
        assert not wish.held
        first.act()
        waits.result(PATIENCE_OF_TESTS)
        second.act()
    assert error.lock is a
    assert [(h.mode, h.owner) for h in error.holders] == [(Mode.READ, "second")]
    assert after.holders[0]._replace(age=0.0) == before.holders[0]._replace(age=0.0)
    assert ageless(after) == ageless(before)


def test_a_request_with_a_timeout_is_shown() -> None:
    a, b = locks(2)
    held = [a.write(), b.write()]
    with Cast() as cast:
        first = cast.play("first", held[0].acquire, lambda: b.write(LATER).acquire().release())
        second = cast.play("second", held[1].acquire, lambda: a.read(LATER).acquire().release())
        first.act()
        second.act()
        ends = [first.begin(), second.begin()]
        wait_until_parked(a, 1)
        wait_until_parked(b, 1)
        (found,) = deadlocks()
        check_circle(found, {"first", "second"})
        assert {link.mode for link in found.links} == {Mode.READ, Mode.WRITE}
        for guard in held:
            guard.release()
        for end in ends:
            end.result(PATIENCE_OF_TESTS)


def test_a_pending_upgrade_waits_for_readers_and_gives_way() -> None:
    a, b = locks(2, "cycles")
    upgradable, held, reading = a.upgradable(), b.write(), a.read()
    with Cast() as cast:
        first = cast.play(
            "first", upgradable.acquire, held.acquire, lambda: upgradable.upgrade().acquire(), held.release
        )
        second = cast.play("second", reading.acquire, lambda: b.read().acquire().release(), reading.release)
        first.act()
        first.act()
        second.act()
        waits = second.begin()
        wait_until_parked(b, 1)
        error = refused(first.begin())
        first.act()
        waits.result(PATIENCE_OF_TESTS)
        second.act()
    check_circle(error.cycle, {"first", "second"})
    upgrade = error.cycle.links[0]
    assert (upgrade.mode, upgrade.lock, upgrade.blocker_mode) == (Mode.WRITE, a, Mode.READ)
    assert upgradable.mode is Mode.UPGRADABLE
    assert a.statistics().pending_upgrades == 0
    with upgradable.upgrade(0):
        assert a.locked() is Mode.WRITE
    upgradable.release()


def test_a_circle_that_is_closed_against_a_pending_upgrade_is_shown() -> None:
    a, b = locks(2)
    upgradable, held, reading = a.upgradable(), b.write(), a.read()
    with Cast() as cast:
        first = cast.play(
            "first", upgradable.acquire, held.acquire, lambda: upgradable.upgrade().acquire(), upgradable.release
        )
        second = cast.play("second", reading.acquire, lambda: b.read().acquire().release())
        first.act()
        first.act()
        second.act()
        waits = [first.begin()]
        wait_until_parked(a, 1)
        waits.append(second.begin())
        wait_until_parked(b, 1)
        (found,) = deadlocks()
        check_circle(found, {"first", "second"})
        held.release()
        reading.release()
        for each in waits:
            each.result(PATIENCE_OF_TESTS)
        first.act()


def test_an_earlier_waiter_is_part_of_the_circle() -> None:
    a, b = locks(2)
    reading, held = a.read(), b.write()
    with Cast() as cast:
        reader = cast.play("reader", reading.acquire, lambda: b.read().acquire().release())
        later = cast.play("later", held.acquire, lambda: a.read().acquire().release())
        writer = cast.play("writer", lambda: a.write().acquire().release())
        reader.act()
        later.act()
        waits = [writer.begin()]
        wait_until_parked(a, 1)
        waits.append(later.begin())
        wait_until_parked(a, 2)
        waits.append(reader.begin())
        wait_until_parked(b, 1)
        (found,) = deadlocks()
        check_circle(found, {"reader", "writer", "later"})
        behind = next(link for link in found.links if link.owner == "later")
        assert (behind.blocker, behind.blocker_mode, behind.blocker_holds) == ("writer", Mode.WRITE, False)
        reading.release()
        for each in waits[:2]:
            each.result(PATIENCE_OF_TESTS)
        held.release()
        waits[2].result(PATIENCE_OF_TESTS)


@pytest.mark.parametrize("mode", ["raise", "cycles"])
@pytest.mark.parametrize("how", ["view", "detached"])
def test_a_hold_that_is_nobodys_closes_no_circle(how: str, mode: Deadlocks) -> None:
    a, b = locks(2, mode)
    detached, held = a.write(), b.write()
    take = a.writer.acquire if how == "view" else lambda: detached.acquire().detach()
    with Cast() as cast:
        first = cast.play("first", take, lambda: b.write().acquire().release())
        second = cast.play("second", held.acquire, lambda: a.write().acquire().release())
        first.act()
        second.act()
        waits = [first.begin()]
        wait_until_parked(b, 1)
        waits.append(second.begin())
        wait_until_parked(a, 1)
        assert deadlocks() == ()
        if how == "view":
            a.writer.release()
        else:
            detached.release()
        waits[1].result(PATIENCE_OF_TESTS)
        held.release()
        waits[0].result(PATIENCE_OF_TESTS)


def test_who_waits_through_a_view_waits_all_the_same() -> None:
    a, b = locks(2, "cycles")
    held = [a.write(), b.write()]
    with Cast() as cast:
        first = cast.play("first", held[0].acquire, b.writer.acquire, b.writer.release, held[0].release)
        second = cast.play("second", held[1].acquire, lambda: a.write().acquire(), held[1].release)
        first.act()
        second.act()
        waits = first.begin()
        wait_until_parked(b, 1)
        check_circle(refused(second.begin()).cycle, {"first", "second"})
        second.act()
        waits.result(PATIENCE_OF_TESTS)
        first.act()
        first.act()


def test_a_hold_whose_guard_was_dropped_closes_no_circle() -> None:
    a, b = locks(2, "cycles")
    held = b.write()

    def drop() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AbandonedHoldWarning)
            a.write().acquire()
            gc.collect()

    with Cast() as cast:
        first = cast.play("first", drop, lambda: b.write().acquire().release())
        second = cast.play("second", held.acquire, lambda: a.write().acquire(), held.release)
        first.act()
        second.act()
        waits = first.begin()
        wait_until_parked(b, 1)
        error = refused(second.begin())
        assert error.cycle is None
        assert error.holders[0].abandoned
        assert deadlocks() == ()
        a.forget(a.statistics().holders[0])
        second.act()
        waits.result(PATIENCE_OF_TESTS)


def test_a_task_whose_loop_is_blocked_by_another_is_part_of_the_circle() -> None:
    a, b = locks(2)
    held, asyncs = a.write(), b.write()
    asked: Future[None] = Future()
    with Cast() as cast, AsyncioStage() as stage:
        thread = cast.play("thread", held.acquire, lambda: b.write().acquire().release())
        thread.act()

        async def hold() -> None:
            await asyncs
            asked.set_result(None)
            await until_async(lambda: not asyncs.held)

        async def block() -> None:
            a.write().acquire().release()

        stage.start(hold, "holder")
        asked.result(PATIENCE_OF_TESTS)
        waits = thread.begin()
        wait_until_parked(b, 1)
        stage.start(block, "blocker")
        wait_until_parked(a, 1)
        (found,) = deadlocks()
        check_circle(found, {"thread", "holder", "blocker"})
        asleep = next(link for link in found.links if link.owner == "holder")
        assert (asleep.mode, asleep.lock, asleep.blocker, asleep.blocker_holds) == (None, None, "blocker", False)
        asyncs.release()
        waits.result(PATIENCE_OF_TESTS)
        held.release()


def test_a_task_that_would_block_its_loop_for_ever_is_refused() -> None:
    a, b = locks(2, "cycles")
    held, asyncs = a.write(), b.write()
    ready: Future[None] = Future()
    got: Future[DeadlockError] = Future()
    with Cast() as cast, AsyncioStage() as stage:
        thread = cast.play("thread", held.acquire, lambda: b.write().acquire().release(), held.release)
        thread.act()

        async def hold() -> None:
            await asyncs
            ready.set_result(None)
            await until_async(got.done)
            asyncs.release()

        async def block() -> None:
            with pytest.raises(DeadlockError) as caught:
                a.write().acquire()
            got.set_result(caught.value)

        stage.start(hold, "holder")
        ready.result(PATIENCE_OF_TESTS)
        waits = thread.begin()
        wait_until_parked(b, 1)
        stage.start(block, "blocker")
        check_circle(got.result(PATIENCE_OF_TESTS).cycle, {"thread", "holder", "blocker"})
        waits.result(PATIENCE_OF_TESTS)
        thread.act()


def test_a_circle_closed_at_a_lock_of_another_mode_is_noticed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_contended, "LOOK_AGAIN", 0.002)
    a, b = locks(2)
    a.deadlocks = "cycles"
    held = [a.write(), b.write()]
    with Cast() as cast:
        first = cast.play("first", held[0].acquire, lambda: b.write().acquire().release(), held[0].release)
        second = cast.play("second", held[1].acquire, lambda: a.write().acquire(), held[1].release)
        first.act()
        second.act()
        gives_way = second.begin()
        wait_until_parked(a, 1)
        waits = first.begin()
        check_circle(refused(gives_way).cycle, {"first", "second"})
        second.act()
        waits.result(PATIENCE_OF_TESTS)
        first.act()


class Circle:
    """Two threads that wait for each other: each reads one lock and wants to write the other."""

    def __init__(self, cast: Cast) -> None:
        self.locks = locks(2)
        self.held = [lock.read() for lock in self.locks]
        self.wishes = [lock.write() for lock in self.locks[::-1]]
        parts = [cast.play(f"part {n}", self.held[n].acquire, self.wishes[n].acquire) for n in range(2)]
        for part in parts:
            part.act()
        self.waits = [part.begin() for part in parts]
        for lock in self.locks:
            wait_until_parked(lock, 1)

    def dissolve(self) -> None:
        for guard in self.held:
            guard.release()
        for wish, wait in zip(self.wishes, self.waits, strict=True):
            wait.result(PATIENCE_OF_TESTS)
            wish.release()


def test_what_a_first_look_has_found_is_looked_at_again() -> None:
    with Cast() as cast:
        circle = Circle(cast)
        chart = _graph._Chart()
        node, ticket = next(chart.starts())
        assert chart.shortest(node, ticket) is not None
        assert _graph._circle(node, ticket, chart) is not None
        circle.dissolve()
        assert chart.shortest(node, ticket) is not None, "the old look has become a new one"
        assert _graph._circle(node, ticket, chart) is None


def test_a_hold_that_was_given_up_meanwhile_is_noticed_although_the_wait_goes_on() -> None:
    with Cast() as cast:
        circle = Circle(cast)
        chart = _graph._Chart()
        node, ticket = next(chart.starts())
        assert _graph._circle(node, ticket, chart) is not None
        # Nobody's from now on, so that somebody else may release it.
        circle.held[1].detach()
        assert chart.shortest(node, ticket) is not None, "the old look has become a new one"
        assert _graph._circle(node, ticket, chart) is None
        circle.dissolve()


def test_a_hold_that_nobody_can_release_leads_nowhere() -> None:
    with Cast() as cast:
        circle = Circle(cast)
        ticket = circle.held[0].ticket
        assert ticket is not None
        assert len(deadlocks()) == 1
        # Marked and not dropped, or whoever waits for it would be told at once.
        ticket.abandoned = True
        assert deadlocks() == ()
        ticket.abandoned = False
        circle.dissolve()


def test_the_last_to_begin_gives_way_and_no_other() -> None:
    with Cast() as cast:
        circle = Circle(cast)
        monitors = [lock._core.monitor for lock in circle.locks[::-1]]
        tickets = [guard.ticket for guard in circle.wishes]
        for last in (0, 1):
            for n, ticket in enumerate(tickets):
                assert ticket is not None
                ticket.joined = 1 + (n == last)
            refusals = [
                _graph.refusal(monitor, ticket, Mode.WRITE) is not None
                for monitor, ticket in zip(monitors, tickets, strict=True)
                if ticket is not None
            ]
            assert refusals == [last == 0, last == 1]
        circle.dissolve()


def test_two_circles_are_two_deadlocks() -> None:
    with Cast() as cast:
        guards: list[WriteGuard] = []
        for pair in ("one", "two"):
            a, b = locks(2)
            held = [a.write(), b.write()]
            first = cast.play(f"{pair}, first", held[0].acquire, partial(pass_through, b))
            second = cast.play(f"{pair}, second", held[1].acquire, partial(pass_through, a))
            first.act()
            second.act()
            first.begin()
            second.begin()
            wait_until_parked(a, 1)
            wait_until_parked(b, 1)
            guards += held
        found = deadlocks()
        owners = {frozenset(link.owner for link in each.links) for each in found}
        assert owners == {frozenset({f"{pair}, first", f"{pair}, second"}) for pair in ("one", "two")}
        assert len(found) == 2
        for guard in guards:
            guard.release()


def test_a_lock_that_is_gone_is_not_looked_at() -> None:
    (lock,) = locks(1)
    with Cast() as cast, lock.write():
        cast.start("waiter", partial(pass_through, lock))
        wait_until_parked(lock, 1)
        monitor = weakref.ref(lock._core.monitor)
        assert monitor in _contended.monitors
        lock_is_gone = weakref.ref(lock)
        with pytest.raises(LockTimeout):
            lock.read(0.0).acquire()
    del lock, cast
    gc.collect()
    assert lock_is_gone() is None
    assert monitor() is None
    assert all(each() is not None for each in _contended.monitors)


def test_the_environment_sets_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RWLOCKS_DEADLOCK", "cycles")
    assert RWLock().deadlocks == "cycles"


# -- no false alarm ----------------------------------------------------------------------------------------------

MODES: Final = [Mode.READ] * 3 + [Mode.WRITE] * 2 + [Mode.UPGRADABLE]
TIMEOUTS: Final = [None, None, None, 0, 0.0002, 0.002]  # seconds
SECONDS: Final = 2.0  # how long the storm lasts


class Storm:
    """Everybody takes any of the locks, in the one order of all, and upgrades before taking the next."""

    def __init__(self) -> None:
        self.locks = [RWLock(policy, name=policy) for policy in ("fifo", "phase-fair", "writer-pref")]
        for lock in self.locks:
            lock.deadlocks = "cycles"
        self.nested = 0
        self.end = time.monotonic() + SECONDS

    def goes_on(self) -> bool:
        return time.monotonic() < self.end

    def thread(self, name: str) -> None:
        chance = random.Random(name)
        while self.goes_on():
            held: list[Any] = []
            try:
                for guard in self._wishes(chance):
                    held.append(guard.acquire())
                    if isinstance(guard, UpgradableGuard) and chance.random() < 0.5:
                        with guard.upgrade():
                            pass
                self.nested += len(held) > 1
            except LockTimeout:
                pass
            finally:
                for guard in held[::-1]:
                    guard.release()

    async def task(self, name: str) -> None:
        chance = random.Random(name)
        while self.goes_on():
            held: list[Any] = []
            try:
                with anyio.move_on_after(chance.choice([0.0005, 10, 10])):
                    for guard in self._wishes(chance):
                        held.append(await guard)
                        if isinstance(guard, UpgradableGuard) and chance.random() < 0.5:
                            async with guard.upgrade():
                                pass
                        await anyio.lowlevel.checkpoint()
            except LockTimeout:
                pass
            finally:
                for guard in held[::-1]:
                    guard.release()
            await anyio.lowlevel.checkpoint()

    def _wishes(self, chance: random.Random) -> list[Any]:
        chosen = [lock for lock in self.locks if chance.random() < 0.8]
        return [guard_for(lock, chance.choice(MODES), chance.choice(TIMEOUTS)) for lock in chosen]


def test_an_order_of_locks_raises_no_alarm() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    storm = Storm()
    try:
        with Cast() as cast, AsyncioStage() as first, TrioStage() as second:
            for n in range(4):
                cast.start(f"T{n}", partial(storm.thread, f"T{n}"))
            for number, stage in enumerate((first, second)):
                for n in range(3):
                    start_task(stage, storm, f"L{number}.{n}")
            looks = 0
            while storm.goes_on():
                assert deadlocks() == ()
                looks += 1
    finally:
        sys.setswitchinterval(before)
    assert looks
    assert storm.nested
    for lock in storm.locks:
        assert lock.locked() is None
        assert lock.statistics().waiters == ()
        assert lock.statistics().contended
        lock._core.monitor.engine.check_invariants()


def start_task(stage: LoopStage, storm: Storm, name: str) -> None:
    async def body() -> None:
        await storm.task(name)

    stage.start(body, name)
