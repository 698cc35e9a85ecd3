"""What interrupts a thread inside the mutex never blocks on it, and an interrupt while parked leaves no trace.

The collector and signal handlers run between any two instructions. Here they are provoked at a known place: the
clock of a lock is read inside its critical section.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random
from time import monotonic, sleep
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import pytest
from _waits import (
    LOOPS,
    POLICIES,
    Interrupt,
    Parked,
    fails_in_no_child,
    is_free,
    lock_on,
    request,
    run,
    switching_all_the_time,
)

from rwlocks import DeadlockError, Fifo, GuardStateError, LockTimeout, Mode, NotHeldError, RWLock, _variant
from rwlocks import _acquire as slow_path
from rwlocks.policies import policy_named
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from rwlocks import WriteGuard
    from rwlocks._types import PolicyName

MODES: Final = tuple(Mode)
SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging


class Intruder:
    """Does something once, inside the critical section of a lock: when that reads its clock next."""

    def __init__(self, lock: RWLock, what: Callable[[], object]) -> None:
        self._lock = lock
        self._what = what
        self.struck = False
        self.inside = False
        lock._core.monitor.clock = self

    def __call__(self) -> float:
        if not self.struck:
            self.struck = True
            self.inside = self._lock._core.monitor.inside
            self._what()
        return monotonic()


def refused_try(lock: RWLock, _: WriteGuard) -> None:
    lock.read().try_acquire()


def expired_acquire(lock: RWLock, _: WriteGuard) -> None:
    with pytest.raises(LockTimeout):
        lock.write().acquire(timeout=0)


def statistics(lock: RWLock, _: WriteGuard) -> None:
    lock.statistics()


def downgrade(_: RWLock, held: WriteGuard) -> None:
    held.downgrade()


def release(_: RWLock, held: WriteGuard) -> None:
    held.release()


SECTIONS: Final = (refused_try, expired_acquire, statistics, downgrade, release)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_a_guard_released_inside_the_mutex_is_released_before_the_section_is_left(
    section: Callable[[RWLock, WriteGuard], None],
) -> None:
    lock = RWLock(Fifo(patience=0))
    held = lock.write().acquire().detach()
    if section in (downgrade, release):
        reader, extra = lock.read(), None
    else:
        held.downgrade()
        reader = lock.read().acquire().detach()
        extra = held
    behind = lock.write()
    with ThreadPoolExecutor(2) as pool:
        if extra is None:
            reading = pool.submit(reader.acquire, SOON)
            wait_until_parked(lock, 1)
            writing = pool.submit(behind.acquire, SOON)
            wait_until_parked(lock, 2)
            to_release = [held] if section is downgrade else []
        else:
            reading = None
            writing = pool.submit(behind.acquire, SOON)
            wait_until_parked(lock, 1)
            to_release = [extra]

        def intrude() -> None:
            for guard in to_release:
                guard.release()
                with pytest.raises(NotHeldError):
                    guard.release()
                assert not guard.held
            if extra is not None:
                reader.release()

        intruder = Intruder(lock, intrude)
        section(lock, held)
        assert intruder.inside, "the section reads no clock, and the test shows nothing"
        assert lock._core.monitor.deferred == []
        if extra is not None:
            assert behind.held, "with the section ended what the intruder released"
        else:
            assert reader.held
            assert reading is not None
            reading.result(30).release()
        writing.result(30).release()
    assert lock.locked() is None
    lock._core.monitor.engine.check_invariants()


@pytest.mark.parametrize("end", ["close", "collector"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_coroutine_destroyed_inside_the_mutex_is_withdrawn_before_the_section_is_left(
    loop: str, mode: Mode, end: str
) -> None:
    async def scenario() -> None:
        lock = lock_on(loop, "writer-pref")
        holder = (await lock.read()).detach()
        gc.disable()
        try:
            first = Parked(lock.write())
            guard = request(lock, mode)
            parked = None if guard.try_acquire() else Parked(guard)
            if parked is None:
                raise AssertionError("nobody passes a queued writer")
            if end == "collector":
                first.lose()
                parked.lose()
                intruder = Intruder(lock, gc.collect)
            else:

                def close() -> None:
                    first.close()
                    parked.close()

                intruder = Intruder(lock, close)
            lock.upgradable().try_acquire()
        finally:
            gc.enable()
        assert intruder.inside
        assert lock.statistics().waiters == ()
        assert lock.statistics().cancellations == 2
        holder.release()
        assert is_free(lock)

    run(loop, scenario)


def test_a_grant_withdrawn_inside_the_mutex_is_passed_on_before_the_section_is_left() -> None:
    """The coroutine had been granted the lock, and dies before it knows, while its own lock works."""

    async def scenario() -> None:
        lock = RWLock()
        holder = (await lock.write()).detach()
        lost, behind = lock.write(), lock.write()
        parked, next_one = Parked(lost), Parked(behind)
        holder.release()
        assert lost.held
        intruder = Intruder(lock, parked.close)
        assert not lock.read().try_acquire()
        assert intruder.inside
        assert behind.held
        next_one.close()

    asyncio.run(scenario())


def test_a_refused_guard_does_not_put_deferred_releases_off() -> None:
    """The section ends with an error; what an intruder released meanwhile is released all the same."""
    lock = RWLock(Fifo(patience=0))
    holder, behind = lock.write().acquire().detach(), lock.write()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(behind.acquire, SOON)
        wait_until_parked(lock, 1)

        class Trap:
            """A guard whose look at its own ticket is interrupted."""

            @property
            def ticket(self) -> object:
                if holder.held:
                    holder.release()
                return behind.ticket

        with pytest.raises(GuardStateError, match="this guard"):
            cast("Any", lock._core.monitor).enter(Trap(), behind.ticket, lock._core.entry.attempt)
        assert behind.held
        writing.result(30).release()


def test_a_snapshot_that_is_interrupted_by_a_release_is_consistent() -> None:
    """A release by the collector must not change the holders while they are listed."""

    class Interrupted(asyncio.Task[None]):
        def get_name(self) -> str:
            while interruptions:
                interruptions.pop()()
            return super().get_name()

    interruptions: list[Callable[[], None]] = []

    async def scenario() -> None:
        lock = RWLock()
        guards = [lock.read() for _ in range(4)]

        async def hold(index: int) -> None:
            await guards[index]

        tasks = [Interrupted(hold(index)) for index in range(len(guards))]
        await asyncio.gather(*tasks)

        interruptions.extend((guards[0].release, guards[3].release))
        seen = lock.statistics()
        assert (seen.readers, len(seen.holders)) == (4, 4)
        assert lock.statistics().readers == 2
        guards[1].release()
        guards[2].release()

    asyncio.run(scenario())


def test_a_request_inside_the_mutex_is_refused_and_never_hangs() -> None:
    """An answer cannot be had there: whoever must have the lock is told so, whoever only tries does not get it."""
    lock = RWLock(Fifo(patience=0))
    holder = lock.read().acquire().detach()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lock.write().acquire, SOON)
        wait_until_parked(lock, 1)
        tried: list[object] = []

        def intrude() -> None:
            for mode in MODES:
                guard = request(lock, mode)
                with pytest.raises(RuntimeError, match="signal handler or finaliser"):
                    guard.acquire()
                with pytest.raises(RuntimeError, match="signal handler or finaliser"):
                    guard.acquire(timeout=1)
                assert not guard.held
                tried.append(guard.try_acquire())
                assert not guard.held
            tried.extend((lock.statistics().readers, lock.locked(), "1 waiting" in repr(lock)))

        intruder = Intruder(lock, intrude)
        lock.upgradable().try_acquire()
        assert intruder.inside
        assert tried == [False, False, False, 1, Mode.READ, True]
        holder.release()
        writing.result(30).release()
    assert lock.locked() is None
    lock._core.monitor.engine.check_invariants()


@pytest.mark.parametrize("loop", LOOPS)
def test_an_async_request_inside_the_mutex_is_refused_and_never_hangs(loop: str) -> None:
    async def scenario() -> None:
        lock = lock_on(loop)
        holder = (await lock.write()).detach()
        parked = Parked(lock.write())
        refused: list[str] = []

        def intrude() -> None:
            with pytest.raises(RuntimeError, match="signal handler or finaliser") as error:
                lock.read()._acquire_async().send(None)
            refused.append(str(error.value))

        intruder = Intruder(lock, intrude)
        lock.read().try_acquire()
        assert intruder.inside
        assert refused
        parked.close()
        holder.release()

    run(loop, scenario)


def handle_signals_inside_the_mutex() -> None:
    """In the main thread of a child, where handlers run."""
    for policy in POLICIES:
        handle_a_signal_inside_the_mutex(policy)


def handle_a_signal_inside_the_mutex(policy: PolicyName) -> None:
    lock = RWLock(policy)
    holder, other, writer = lock.read().acquire().detach(), lock.read().acquire().detach(), lock.write()
    answers: list[object] = []

    def handle(_: int, __: FrameType | None) -> None:
        answers.append(lock.write().try_acquire())
        other.release()
        try:
            lock.write().acquire()
        except RuntimeError as error:
            answers.append(str(error))

    signal.signal(signal.SIGUSR1, handle)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(writer.acquire, SOON)
        wait_until_parked(lock, 1)
        intruder = Intruder(lock, lambda: signal.raise_signal(signal.SIGUSR1))
        holder.release()
        assert intruder.inside
        writing.result(30).release()
    assert answers[0] is False
    assert "signal handler" in str(answers[1])
    assert lock.locked() is None


def test_a_signal_handler_inside_the_mutex_may_release_and_never_hangs() -> None:
    fails_in_no_child(handle_signals_inside_the_mutex)


def interrupt_a_waiter_that_was_just_granted_the_lock() -> None:
    """The handler gives the lock to the very thread that it interrupts."""
    for policy in POLICIES:
        for patience in (None, 0.0):
            for mode in Mode:
                interrupt_after_a_grant(policy, patience, mode)


def interrupt_after_a_grant(policy: PolicyName, patience: float | None, mode: Mode) -> None:
    lock = RWLock(type(policy_named(policy))(patience=patience))
    holder, guard, behind = lock.write().acquire().detach(), request(lock, mode), lock.write()
    interrupt = Interrupt(at_first=holder.release)

    def follow() -> None:
        wait_until_parked(lock, 1)
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(behind.acquire, SOON)
            wait_until_parked(lock, 2)
            interrupt.strike()
            writing.result(30).release()

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow)
        try:
            guard.acquire()
        except KeyboardInterrupt:
            assert not guard.held
        else:
            raise AssertionError("the interrupt got lost")
        following.result(30)
    assert lock.locked() is None
    assert lock.statistics().waiters == ()
    assert lock.statistics().acquisitions == 2


def test_an_interrupt_that_races_with_a_grant_passes_it_on() -> None:
    fails_in_no_child(interrupt_a_waiter_that_was_just_granted_the_lock)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_release_by_a_signal_handler_wakes_a_loop_that_sleeps(loop: str) -> None:
    lock = lock_on(loop)
    entered = threading.Event()

    def strike() -> bool:
        wait_until_parked(lock, 1)
        sleep(0.02)  # By then the loop has nothing left to do.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        return entered.wait(SOON)

    async def scenario() -> None:
        holder = (await lock.write()).detach()
        before = signal.signal(signal.SIGUSR1, lambda _number, _frame: holder.release())
        try:
            with ThreadPoolExecutor(1) as pool, anyio.fail_after(2 * SOON):
                striking = pool.submit(strike)
                async with lock.write():
                    entered.set()
                assert striking.result(), "it slept until its next timer"
        finally:
            signal.signal(signal.SIGUSR1, before)

    run(loop, scenario)
    assert lock.locked() is None


class Interruption(BaseException):
    """Stands for KeyboardInterrupt, which would end a thread of pytest for good."""


INTERRUPTED: Final = ("acquire", "acquire_guard", "_block")


def codes_of(function: Any) -> set[CodeType]:
    """That of the function and of those in it."""
    own: CodeType = function.__code__
    return {own, *(constant for constant in own.co_consts if isinstance(constant, CodeType))}


def lines_without_instructions(*functions: Any) -> set[int]:
    """A `try` can be traced but not interrupted, and CPython 3.11 lets no handler cover it."""
    spared: set[int] = set()
    for function in functions:
        source, first = inspect.getsourcelines(function)
        spared |= {first + index for index, text in enumerate(source) if text.strip() == "try:"}
    return spared


class Tracer:
    """Interrupts the thread that it traces at the n-th line of the slow path, counted while its request is open."""

    def __init__(self, lock: RWLock, lines: int) -> None:
        self._lock = lock
        self._lines = lines
        self._slow_path = codes_of(slow_path.block) | codes_of(slow_path.parking)
        self._spared = lines_without_instructions(slow_path.block, slow_path.parking)
        self.struck = False

    def __call__(self, frame: FrameType, event: str, _: object) -> Tracer | None:
        if frame.f_code not in self._slow_path:
            return self if frame.f_code.co_name in INTERRUPTED else None
        if event == "line" and frame.f_lineno not in self._spared and not self.struck and self._open():
            self._lines -= 1
            if self._lines < 0:
                self.struck = True
                raise Interruption
        return self

    def _open(self) -> bool:
        seen = self._lock.statistics()
        return bool(seen.waiters) or any(holder.granted for holder in seen.holders)

    def acquire(self, guard: WriteGuard) -> BaseException | None:
        sys.settrace(self)
        try:
            guard.acquire(SOON)
        except Interruption as interruption:
            return interruption
        finally:
            sys.settrace(None)
        return None


@pytest.mark.skipif(_variant.slow_path_because is None, reason="compiled code has no lines that could be interrupted")
@pytest.mark.parametrize("patience", [None, 0.0])
def test_an_interrupt_at_any_line_around_the_wait_leaves_nothing_behind(patience: float | None) -> None:
    """Also between the park and the step after it, and although the traceback keeps every frame alive."""
    strikes = 0
    while interrupt_at_line(strikes, patience):
        strikes += 1
    assert strikes >= 5, "it has been interrupted at several lines"


def interrupt_at_line(number: int, patience: float | None) -> bool:
    """Whether there was such a line."""
    lock = RWLock(Fifo(patience=patience))
    holder, guard = lock.write().acquire().detach(), lock.write()
    tracer = Tracer(lock, number)
    with ThreadPoolExecutor(1) as pool:
        wanting = pool.submit(tracer.acquire, guard)
        while not (lock.statistics().waiters or wanting.done()):
            pass
        holder.release()
        interruption = wanting.result(30)  # and with it all the frames that it went through
    assert tracer.struck == (interruption is not None)
    if interruption is None:
        guard.release()
    assert not guard.held
    assert lock.statistics().waiters == ()
    assert is_free(lock)
    return tracer.struck


def hammer(lock: RWLock, seed: int, stop: threading.Event) -> int:
    random = Random(seed)
    entered = 0
    while not stop.is_set():
        try:
            with request(lock, random.choice(MODES), timeout=random.choice((0, 0.0005, SOON))):
                entered += 1
                lock.statistics()
        except LockTimeout:
            pass
    return entered


async def abandon_requests(lock: RWLock) -> None:
    random = Random(7)
    for _ in range(150):
        guard = request(lock, random.choice(MODES))
        try:
            Parked(guard).lose()
        except StopIteration:
            guard.release()  # it was free
        except DeadlockError:
            gc.collect()  # one that was lost had been granted already: until it is collected, this task holds the lock
        await asyncio.sleep(0)


@pytest.mark.parametrize("policy", POLICIES)
def test_collections_in_the_midst_of_everything_neither_hang_nor_lose_the_lock(policy: PolicyName) -> None:
    """The collector runs after nearly every allocation, and has abandoned requests to destroy each time."""
    lock, stop, usual = RWLock(policy), threading.Event(), gc.get_threshold()
    with switching_all_the_time(), ThreadPoolExecutor(3) as pool:
        gc.set_threshold(1)
        try:
            hammering = [pool.submit(hammer, lock, seed, stop) for seed in range(3)]
            asyncio.run(abandon_requests(lock))
            gc.collect()
        finally:
            gc.set_threshold(*usual)
            stop.set()
        assert sum(future.result(30) for future in hammering) > 0
    gc.collect()
    assert lock.locked() is None
    assert lock.statistics().waiters == ()
    assert lock._core.monitor.deferred == []
    lock._core.monitor.engine.check_invariants()


def test_a_downgrade_that_races_with_the_release_of_its_guard_changes_nothing() -> None:
    """Who is second finds a guard that holds nothing, and must not make a reader of it."""
    lock = RWLock()
    guard = lock.write().acquire()
    with ThreadPoolExecutor(1) as pool:
        idents: list[int] = []

        def second() -> None:
            idents.append(threading.get_ident())
            with pytest.raises(NotHeldError):
                guard.downgrade()

        with lock._core.monitor.mutex:
            downgrading = pool.submit(second)
            # In compiled code nothing shows but who has called it.
            where = "second" if _variant.slow_path_because is None else "downgrade"
            while not idents or sys._current_frames()[idents[0]].f_code.co_name != where:
                pass
            guard.release()
        downgrading.result(30)
    assert lock.locked() is None
    lock._core.monitor.engine.check_invariants()


def test_two_locks_whose_sections_are_interrupted_for_each_other_do_not_hang() -> None:
    """Each thread is inside one lock, interrupted by a release of the other: neither waits for the other's section."""
    one, other = RWLock(name="one"), RWLock(name="other")
    held = {lock: lock.write().acquire().detach() for lock in (one, other)}
    both_inside = threading.Barrier(2)

    def interrupt_for(guard: WriteGuard) -> Callable[[], float]:
        interrupted: list[bool] = []

        def clock() -> float:
            if not interrupted:
                interrupted.append(True)
                both_inside.wait(30)
                guard.release()
            return monotonic()

        return clock

    one._core.monitor.clock = interrupt_for(held[other])
    other._core.monitor.clock = interrupt_for(held[one])
    asking = [lock.write() for lock in (one, other)]
    threads = [threading.Thread(target=guard.try_acquire, daemon=True) for guard in asking]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert (one.locked(), other.locked()) == (None, None)
