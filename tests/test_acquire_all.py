"""Several locks at once: all or nothing, waiting for one at a time and holding nothing meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest
import trio
from _actors import STAGES, AsyncioStage, LoopStage, TrioStage, guard_for
from _waits import LOOPS, Interrupt, fails_in_no_child, run

from rwlocks import (
    DeadlockError,
    Fifo,
    GuardStateError,
    LockTimeout,
    Mode,
    NotHeldError,
    RWLock,
    acquire_all,
    set_observer,
)
from rwlocks.testing import ManualClock, wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from _actors import AnyGuard

    from rwlocks import AcquireAll, LockEvent

UNTIL_STUCK: Final = 15.0  # seconds
READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE


class Asker:
    """Acquires on another thread: blocking it, or as a task of a loop there."""

    def __init__(self, stage: LoopStage | None) -> None:
        self._stage = stage
        self._cancel: Callable[[], object] | None = None
        self.is_thread = stage is None

    def __enter__(self) -> Self:
        if self._stage is not None:
            self._stage.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stage is not None:
            self._stage.__exit__(exc_type, exc_value, traceback)

    def ask(self, locks: AcquireAll[*tuple[Any, ...]]) -> Future[None]:
        """Begin to acquire; the future ends as that does."""
        answer: Future[None] = Future()

        async def wait() -> None:
            try:
                await locks
            except (asyncio.CancelledError, trio.Cancelled) as cancelled:
                answer.set_exception(cancelled)
                raise
            except Exception as error:  # noqa: BLE001  the test looks at it
                answer.set_exception(error)
            else:
                answer.set_result(None)

        def block() -> None:
            try:
                locks.acquire()
            except BaseException as error:  # noqa: BLE001  the test looks at it
                answer.set_exception(error)
            else:
                answer.set_result(None)

        if self._stage is None:
            threading.Thread(target=block, name="asker", daemon=True).start()
        else:
            self._stage.start(wait, "asker", self._remember)
        return answer

    def cancel(self) -> None:
        assert self._stage is not None, "nothing cancels a thread"
        assert self._cancel is not None, "it has not begun"
        self._stage.soon(self._cancel)

    def _remember(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel


def asker_on(name: str) -> Asker:
    stage = STAGES[name]()
    return Asker(stage if isinstance(stage, LoopStage) else None)


@pytest.fixture(params=STAGES)
def asker(request: pytest.FixtureRequest) -> Iterator[Asker]:
    with asker_on(request.param) as asker:
        yield asker


@pytest.fixture(params=[name for name, stage in STAGES.items() if issubclass(stage, LoopStage)])
def task_asker(request: pytest.FixtureRequest) -> Iterator[Asker]:
    with asker_on(request.param) as asker:
        yield asker


@pytest.fixture
def a() -> RWLock:
    return RWLock(name="a")


@pytest.fixture
def b() -> RWLock:
    return RWLock(name="b")


def somebody_holds(lock: RWLock, mode: Mode = WRITE) -> AnyGuard:
    guard = guard_for(lock, mode)
    assert guard.try_acquire(), f"{lock!r} cannot be had"
    return guard.detach()


def has_all(locks: AcquireAll[*tuple[Any, ...]]) -> bool:
    """Whether it does now, for type checkers that take an attribute to stay what it was."""
    return locks.held


def nobody_has(*locks: RWLock) -> bool:
    seen = [lock.statistics() for lock in locks]
    return all(not s.holders and not s.waiters for s in seen)


# -- all ... -----------------------------------------------------------------------------------------------------


def test_the_block_gets_the_guards_and_gives_all_locks_back(a: RWLock, b: RWLock) -> None:
    reading, writing = a.read(), b.write()
    with acquire_all(reading, writing, timeout=1) as (ga, gb):
        assert ga is reading
        assert gb is writing
        assert (a.locked(), b.locked()) == (READ, WRITE)
        gb.downgrade()
        with ga.upgrade():
            assert (a.locked(), b.locked()) == (WRITE, READ)
    assert nobody_has(a, b)


@pytest.mark.parametrize("loop", LOOPS)
def test_async_blocks_do_so_too(loop: str, a: RWLock, b: RWLock) -> None:
    async def scenario() -> None:
        async with acquire_all(a.read(), b.write(), timeout=1) as (ga, gb):
            assert (ga.mode, gb.mode) == (READ, WRITE)
            assert (a.locked(), b.locked()) == (READ, WRITE)
        assert nobody_has(a, b)

    run(loop, scenario)


@pytest.mark.parametrize("loop", LOOPS)
def test_awaiting_what_the_task_holds_already_returns_at_once(loop: str, a: RWLock, b: RWLock) -> None:
    async def scenario() -> None:
        both = acquire_all(a.read(), b.write())
        assert await both is both
        assert await both is both
        both.release()
        ga, gb = await both.acquire()
        assert (ga.held, gb.held, both.held) == (True, True, True)
        both.release()
        assert nobody_has(a, b)

    run(loop, scenario)


def test_explicit_calls_mirror_those_of_a_guard(a: RWLock, b: RWLock) -> None:
    both = acquire_all(a.write(), b.write())
    assert not has_all(both)
    assert both.acquire(timeout=0) is both
    assert has_all(both)
    assert tuple(both) == both.guards
    with pytest.raises(GuardStateError, match="in use already"):
        both.acquire()
    with pytest.raises(GuardStateError, match="in use already"):
        both.try_acquire()
    assert has_all(both)
    both.release()
    assert both.try_acquire()
    both.release()
    with pytest.raises(NotHeldError):
        both.release()
    assert nobody_has(a, b)


def test_no_guards_are_had_at_once() -> None:
    with acquire_all(timeout=0) as nothing:
        assert nothing == ()
    none = acquire_all()
    assert none.try_acquire()
    assert none.acquire() is none
    none.release()


@pytest.mark.parametrize("loop", LOOPS)
def test_no_guards_are_had_at_once_by_tasks(loop: str) -> None:
    async def scenario() -> None:
        async with acquire_all() as nothing:
            assert nothing == ()
        await acquire_all(timeout=0)

    run(loop, scenario)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("modes", [(READ, READ), (READ, UPGRADABLE), (UPGRADABLE, READ), (READ, UPGRADABLE, READ)])
def test_guards_of_one_lock_that_go_together_are_all_held(modes: tuple[Mode, ...], reentrant: bool) -> None:
    lock = RWLock(reentrant=reentrant)
    with acquire_all(*(guard_for(lock, mode) for mode in modes)) as guards:
        assert all(guard.held for guard in guards)
        assert tuple(guard.mode for guard in guards) == modes
    assert nobody_has(lock)


def test_a_writer_between_two_reads_of_one_lock_goes_first(asker: Asker) -> None:
    lock = RWLock(Fifo(patience=0))
    first = somebody_holds(lock)
    twice = acquire_all(lock.read(), lock.read())
    granted = asker.ask(twice)
    wait_until_parked(lock, 1)
    with asker_on("threads") as other:
        second = acquire_all(lock.write())
        written = other.ask(second)
        wait_until_parked(lock, 2)
        first.release()
        # The writer stands behind the first read, which the second must not extend.
        written.result(UNTIL_STUCK)
        wait_until_parked(lock, 1)
        second.release()
    granted.result(UNTIL_STUCK)
    assert lock.statistics().rounds == 1
    twice.release()
    assert nobody_has(lock)


# -- ... or nothing ----------------------------------------------------------------------------------------------


def test_it_waits_for_the_lock_that_refused_and_holds_nothing(asker: Asker, a: RWLock, b: RWLock) -> None:
    busy = somebody_holds(b)
    both = acquire_all(a.write(), b.write())
    granted = asker.ask(both)
    wait_until_parked(b, 1)
    assert a.locked() is None
    assert not has_all(both)
    busy.release()
    granted.result(UNTIL_STUCK)
    assert has_all(both)
    assert (a.statistics().rounds, b.statistics().rounds) == (0, 1)
    both.release()
    assert nobody_has(a, b)


def test_it_moves_on_to_whichever_lock_refuses(asker: Asker, a: RWLock, b: RWLock) -> None:
    c = RWLock(name="c")
    busy = somebody_holds(a)
    three = acquire_all(a.write(), b.read(), c.upgradable())
    granted = asker.ask(three)
    for here, there in ((a, b), (b, c), (c, a)):
        wait_until_parked(here, 1)
        assert [lock.locked() for lock in (a, b, c) if lock is not here] == [None, None]
        also_busy = somebody_holds(there)
        busy.release()
        busy = also_busy
    wait_until_parked(a, 1)
    busy.release()
    granted.result(UNTIL_STUCK)
    assert [lock.statistics().rounds for lock in (a, b, c)] == [1, 1, 1]
    three.release()
    assert nobody_has(a, b, c)


def test_the_others_are_tried_in_argument_order(asker: Asker, a: RWLock, b: RWLock) -> None:
    c = RWLock(name="c")
    holds = [somebody_holds(lock) for lock in (a, b, c)]
    three = acquire_all(a.write(), c.write(), b.write())
    granted = asker.ask(three)
    wait_until_parked(a, 1)
    holds[0].release()
    wait_until_parked(c, 1)
    assert (b.statistics().rounds, c.statistics().rounds) == (0, 1)
    holds[2].release()
    wait_until_parked(b, 1)
    holds[1].release()
    granted.result(UNTIL_STUCK)
    three.release()
    assert nobody_has(a, b, c)


def test_it_keeps_its_first_arrival_time_but_not_its_place(asker: Asker, a: RWLock, b: RWLock) -> None:
    clock = ManualClock()
    clock.drives(a)
    clock.drives(b)
    busy = somebody_holds(b)
    both = acquire_all(a.write(), b.write())
    granted = asker.ask(both)
    wait_until_parked(b, 1)
    assert b.statistics().waiters[0].age == 0
    clock.advance(10)
    in_a = somebody_holds(a)
    with asker_on("threads") as other:
        first_in_a = acquire_all(a.read())
        earlier = other.ask(first_in_a)
        wait_until_parked(a, 1)
        clock.advance(10)
        busy.release()
        wait_until_parked(a, 2)
        earlier_waiter, later_waiter = a.statistics().waiters
        assert (earlier_waiter.age, earlier_waiter.mode) == (10, READ)
        assert (later_waiter.age, later_waiter.mode) == (20, WRITE)
        assert later_waiter.spent
        in_a.release()
        earlier.result(UNTIL_STUCK)
        wait_until_parked(a, 1)
        first_in_a.release()
    granted.result(UNTIL_STUCK)
    both.release()
    assert nobody_has(a, b)


def test_time_out_names_the_lock_that_was_waited_for(asker: Asker, a: RWLock, b: RWLock) -> None:
    busy = somebody_holds(b)
    refused = asker.ask(acquire_all(a.write(), b.read(), timeout=0.01)).exception(UNTIL_STUCK)
    assert isinstance(refused, LockTimeout)
    assert refused.lock is b
    assert refused.mode is READ
    assert refused.waited > 0.0099  # the times of a loop are floats, whose sums round
    assert [holder.mode for holder in refused.holders] == [WRITE]
    assert b.statistics().timeouts == 1
    busy.release()
    assert nobody_has(a, b)


@pytest.mark.parametrize("timeout", [0, -1])
def test_without_time_it_tries_once(asker: Asker, timeout: float, a: RWLock, b: RWLock) -> None:
    both = acquire_all(a.write(), b.write(), timeout=timeout)
    for lock, other in ((a, b), (b, a)):
        busy = somebody_holds(lock)
        refused = asker.ask(both).exception(UNTIL_STUCK)
        assert isinstance(refused, LockTimeout)
        assert refused.lock is lock
        assert other.locked() is None
        assert lock.statistics().timeouts == 1
        assert (a.statistics().rounds, b.statistics().rounds) == (0, 0)
        busy.release()
    asker.ask(both).result(UNTIL_STUCK)
    both.release()
    assert nobody_has(a, b)


def test_the_timeout_is_for_all_rounds_together(a: RWLock, b: RWLock) -> None:
    clock = ManualClock()
    clock.drives(a)
    clock.drives(b)
    busy = somebody_holds(b)
    with asker_on("threads") as asker:
        refused = asker.ask(acquire_all(a.write(), b.write(), timeout=10))
        wait_until_parked(b, 1)
        clock.advance(6)
        also_busy = somebody_holds(a)
        busy.release()
        wait_until_parked(a, 1)
        clock.advance(6)
        error = refused.exception(UNTIL_STUCK)
    assert isinstance(error, LockTimeout)
    assert error.lock is a
    assert error.waited == 12
    also_busy.release()
    assert nobody_has(a, b)


def test_an_infinite_timeout_waits_for_ever(asker: Asker, a: RWLock, b: RWLock) -> None:
    busy = somebody_holds(b)
    both = acquire_all(a.read(), b.read(), timeout=float("inf"))
    granted = asker.ask(both)
    wait_until_parked(b, 1)
    busy.release()
    granted.result(UNTIL_STUCK)
    both.release()
    assert nobody_has(a, b)


def test_cancelled_while_waiting_it_leaves_nothing(task_asker: Asker, a: RWLock, b: RWLock) -> None:
    busy = somebody_holds(b)
    cancelled = task_asker.ask(acquire_all(a.write(), b.write()))
    wait_until_parked(b, 1)
    task_asker.cancel()
    assert isinstance(cancelled.exception(UNTIL_STUCK), (asyncio.CancelledError, trio.Cancelled))
    assert nobody_has(a)
    assert b.statistics().waiters == ()
    busy.release()
    assert nobody_has(a, b)


@pytest.mark.parametrize("loop", LOOPS)
def test_cancelled_before_it_waits_it_leaves_nothing(loop: str, a: RWLock, b: RWLock) -> None:
    async def scenario() -> None:
        busy = somebody_holds(b)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await acquire_all(a.write(), b.write())
        assert scope.cancelled_caught
        busy.release()
        assert nobody_has(a, b)

    run(loop, scenario)


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, MemoryError])
def test_whatever_ends_a_parked_coroutine_leaves_nothing(error: type[BaseException], a: RWLock, b: RWLock) -> None:
    async def scenario() -> None:
        busy = somebody_holds(b)
        both = acquire_all(a.write(), b.write())
        coroutine = both.__aenter__()
        for _ in range(2):  # the pause, then the wait
            coroutine.send(None)
        assert len(b.statistics().waiters) == 1
        with pytest.raises(error):
            coroutine.throw(error())
        assert nobody_has(a)
        assert b.statistics().waiters == ()
        busy.release()

    asyncio.run(scenario())


def _interrupted_while_it_waits() -> None:
    a, b = RWLock(name="a"), RWLock(name="b")
    busy = somebody_holds(b)
    interrupt = Interrupt()

    def strike_when_parked() -> None:
        wait_until_parked(b, 1)
        interrupt.strike()

    striker = threading.Thread(target=strike_when_parked)
    striker.start()
    with pytest.raises(KeyboardInterrupt):
        acquire_all(a.write(), b.write()).acquire()
    striker.join()
    assert nobody_has(a)
    assert b.statistics().waiters == ()
    busy.release()
    assert nobody_has(a, b)


def test_a_keyboard_interrupt_leaves_nothing() -> None:
    fails_in_no_child(_interrupted_while_it_waits)


def test_a_guard_that_others_took_meanwhile_is_theirs(asker: Asker, a: RWLock, b: RWLock) -> None:
    busy = somebody_holds(a)
    contested = b.write()
    refused = asker.ask(acquire_all(a.write(), contested))
    wait_until_parked(a, 1)
    contested.acquire()
    busy.release()
    assert isinstance(refused.exception(UNTIL_STUCK), GuardStateError)
    assert a.locked() is None
    assert contested.held
    contested.release()
    assert nobody_has(a, b)


def test_trying_never_waits_and_leaves_nothing_when_refused(a: RWLock, b: RWLock) -> None:
    busy = somebody_holds(b)
    both = acquire_all(a.write(), b.write())
    assert not both.try_acquire()
    assert nobody_has(a)
    assert (b.statistics().rounds, b.statistics().timeouts) == (0, 0)
    busy.release()
    assert both.try_acquire()
    both.release()
    assert nobody_has(a, b)


# -- the end of a block ------------------------------------------------------------------------------------------


def test_a_guard_released_inside_is_told_after_the_others_were_released(a: RWLock, b: RWLock) -> None:
    c = RWLock()
    with pytest.raises(NotHeldError), acquire_all(a.write(), b.write(), c.write()) as (_, gb, __):
        gb.release()
    assert nobody_has(a, b, c)


@pytest.mark.parametrize("loop", LOOPS)
def test_so_it_is_in_tasks(loop: str, a: RWLock, b: RWLock) -> None:
    async def scenario() -> None:
        with pytest.raises(NotHeldError):
            async with acquire_all(a.write(), b.write()) as (_, gb):
                gb.release()
        assert nobody_has(a, b)

    run(loop, scenario)


def test_a_guard_detached_inside_stays_held(a: RWLock, b: RWLock) -> None:
    with acquire_all(a.write(), b.write()) as (ga, _):
        ga.detach()
    assert ga.held
    assert nobody_has(b)
    ga.release()
    assert nobody_has(a, b)


def test_an_exception_of_the_block_comes_through(a: RWLock, b: RWLock) -> None:
    with pytest.raises(ZeroDivisionError), acquire_all(a.write(), b.write()):
        raise ZeroDivisionError
    assert nobody_has(a, b)


def test_the_last_guard_is_released_first(a: RWLock, b: RWLock) -> None:
    released: list[RWLock] = []

    def observe(event: LockEvent) -> None:
        if event.kind == "release":
            released.append(event.lock)

    both = acquire_all(a.write(), b.write()).acquire()
    set_observer(observe)
    try:
        both.release()
        with both:
            pass
    finally:
        set_observer(None)
    assert released == [b, a, b, a]


# -- what cannot be asked for ------------------------------------------------------------------------------------


def test_the_same_guard_twice_is_refused_at_once(a: RWLock, b: RWLock) -> None:
    guard = a.read()
    with pytest.raises(GuardStateError, match="given twice"):
        acquire_all(guard, b.read(), guard)


def test_a_held_guard_is_refused_at_once_and_stays_held(a: RWLock, b: RWLock) -> None:
    guard = a.read()
    both = acquire_all(b.write(), guard)
    with guard:
        with pytest.raises(GuardStateError, match="in use already"):
            acquire_all(guard)
        with pytest.raises(GuardStateError, match="in use already"):
            both.acquire()
        assert guard.held
        assert nobody_has(b)


def test_a_waiting_guard_is_refused_at_once(asker: Asker, a: RWLock) -> None:
    busy = somebody_holds(a)
    guard = a.read()
    only = acquire_all(guard)
    granted = asker.ask(only)
    wait_until_parked(a, 1)
    with pytest.raises(GuardStateError, match="in use already"):
        acquire_all(guard)
    busy.release()
    granted.result(UNTIL_STUCK)
    only.release()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("modes", [m for m in itertools.product(Mode, repeat=2) if WRITE in m or READ not in m])
def test_guards_of_one_lock_that_exclude_each_other_are_refused_at_once(
    modes: tuple[Mode, Mode], reentrant: bool, b: RWLock
) -> None:
    lock = RWLock(reentrant=reentrant)
    guards = [guard_for(lock, mode) for mode in modes]
    with pytest.raises(GuardStateError, match="exclude each other"):
        acquire_all(guards[0], b.write(), guards[1])
    assert nobody_has(lock, b)


@pytest.mark.parametrize("what", ["lock", "view", "upgrade", "number"])
def test_only_guards_can_be_given(what: str, a: RWLock, b: RWLock) -> None:
    strangers = {"lock": a, "view": a.reader, "upgrade": a.read().upgrade(), "number": 3}
    with pytest.raises(TypeError, match="is not a guard"):
        acquire_all(b.read(), strangers[what])


def test_a_timeout_is_a_number(a: RWLock) -> None:
    with pytest.raises(ValueError, match="NaN"):
        acquire_all(a.read(), timeout=float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        acquire_all(a.read()).acquire(timeout=float("nan"))
    assert nobody_has(a)


def test_a_lock_made_for_other_runtimes_is_refused_also_behind_the_first(a: RWLock) -> None:
    of_tasks, of_threads = RWLock(backend="asyncio"), RWLock(backend="threading")
    with pytest.raises(RuntimeError, match="may not wait"):
        acquire_all(a.read(), of_tasks.read()).acquire()

    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="may not wait"):
            await acquire_all(a.read(), of_threads.read())
        async with acquire_all(a.read(), of_threads.read(), timeout=0):
            assert of_threads.locked() is READ

    asyncio.run(scenario())
    assert nobody_has(a, of_tasks, of_threads)


def test_awaiting_outside_of_tasks_is_refused(a: RWLock) -> None:
    with pytest.raises(RuntimeError, match="no task"):
        acquire_all(a.read()).__aenter__().send(None)
    assert nobody_has(a)


# -- owners ------------------------------------------------------------------------------------------------------


def test_who_holds_one_of_the_locks_never_waits_for_it(a: RWLock, b: RWLock) -> None:
    with b.read():
        for waiting in (acquire_all(a.write(), b.write()), acquire_all(b.write(), a.write(), timeout=60)):
            with pytest.raises(DeadlockError):
                waiting.acquire()
            assert nobody_has(a)
        with pytest.raises(LockTimeout):
            acquire_all(a.write(), b.write(), timeout=0).acquire()
        assert not acquire_all(a.write(), b.write()).try_acquire()
        assert nobody_has(a)
        with acquire_all(a.write(), b.read()):
            assert a.locked() is WRITE
    assert nobody_has(a, b)


@pytest.mark.parametrize("loop", LOOPS)
def test_nor_does_a_task(loop: str, a: RWLock, b: RWLock) -> None:
    async def scenario() -> None:
        async with b.read():
            with pytest.raises(DeadlockError):
                await acquire_all(a.write(), b.write())
            assert nobody_has(a)
        assert nobody_has(a, b)

    run(loop, scenario)


def test_a_reentrant_lock_lets_its_owner_in_again(a: RWLock) -> None:
    again = RWLock(reentrant=True)
    with again.write():
        with acquire_all(a.write(), again.write()):
            assert len(again.statistics().holders) == 2
        assert again.locked() is WRITE
    assert nobody_has(a, again)


def test_strict_mode_refuses_what_is_held_outside_and_nothing_else(a: RWLock, b: RWLock) -> None:
    a.deadlocks = b.deadlocks = "strict"
    with acquire_all(a.read(), b.read(), b.read()):
        pass
    with b.read():
        with pytest.raises(DeadlockError):
            acquire_all(a.read(), b.read()).acquire()
        assert nobody_has(a)
        with acquire_all(a.read(), b.read(), timeout=0):
            assert a.locked() is READ
    assert nobody_has(a, b)


# -- it cannot deadlock ------------------------------------------------------------------------------------------

PHILOSOPHERS: Final = 5
MEALS: Final = 30


class Table:
    """Forks between philosophers: a lock each, and who has it in hand."""

    def __init__(self) -> None:
        self.forks = [RWLock(name=f"fork {n}") for n in range(PHILOSOPHERS)]
        self.in_hand: list[int | None] = [None] * PHILOSOPHERS
        self.meals = [0] * PHILOSOPHERS

    def of(self, seat: int) -> AcquireAll[*tuple[AnyGuard, ...]]:
        left, right = self.forks[seat], self.forks[(seat + 1) % PHILOSOPHERS]
        return acquire_all(left.write(), right.write())

    def take(self, seat: int) -> None:
        for fork in (seat, (seat + 1) % PHILOSOPHERS):
            assert self.in_hand[fork] is None
            self.in_hand[fork] = seat

    def put_back(self, seat: int) -> None:
        for fork in (seat, (seat + 1) % PHILOSOPHERS):
            assert self.in_hand[fork] == seat
            self.in_hand[fork] = None
        self.meals[seat] += 1

    def dine(self, seat: int) -> None:
        for _ in range(MEALS):
            with self.of(seat):
                self.take(seat)
                threading.Event().wait(0.0001)
                self.put_back(seat)

    async def dine_async(self, seat: int) -> None:
        for _ in range(MEALS):
            async with self.of(seat):
                self.take(seat)
                await anyio.sleep(0.0001)
                self.put_back(seat)

    def check(self) -> None:
        assert self.meals == [MEALS] * PHILOSOPHERS
        assert nobody_has(*self.forks)
        assert sum(fork.statistics().rounds for fork in self.forks) > 0, "nobody was ever in anybody's way"


def test_philosophers_on_threads_all_eat() -> None:
    table = Table()
    dinners = [Future[None]() for _ in range(PHILOSOPHERS)]

    def sit(seat: int) -> None:
        try:
            table.dine(seat)
        except BaseException as error:  # noqa: BLE001  the test raises it
            dinners[seat].set_exception(error)
        else:
            dinners[seat].set_result(None)

    for seat in range(PHILOSOPHERS):
        threading.Thread(target=sit, args=(seat,), daemon=True).start()
    for dinner in dinners:
        dinner.result(UNTIL_STUCK)
    table.check()


def test_philosophers_on_trio_and_asyncio_all_eat() -> None:
    table = Table()
    dinners = [Future[None]() for _ in range(PHILOSOPHERS)]

    async def sit(seat: int) -> None:
        try:
            await table.dine_async(seat)
        except BaseException as error:
            dinners[seat].set_exception(error)
            raise
        else:
            dinners[seat].set_result(None)

    with TrioStage() as some, AsyncioStage() as others:
        for seat in range(PHILOSOPHERS):
            _start(others if seat % 2 else some, sit, seat)
        for dinner in dinners:
            dinner.result(UNTIL_STUCK)
    table.check()


def _start(stage: LoopStage, sit: Callable[[int], Any], seat: int) -> None:
    stage.start(lambda: sit(seat), f"philosopher {seat}")
