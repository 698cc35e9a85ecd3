"""What every backend owes the lock, as tests that any backend can be run through.

Subclass one of the contracts in a test module, say which backend it is and, for one whose waiters suspend a task, how
its loop is run. Each test method shows one obligation of `rwlocks._ports`::

    class TestMyThreads(SyncBackendContract):
        backend = my_threads

    class TestMyLoop(AsyncBackendContract):
        backend = my_loop

        def run(self, main):
            return my_loop_library.run(main)

Nothing here needs pytest, but a runner that collects methods called ``test_...`` and gives each a fresh instance.
"""

from __future__ import annotations

import gc
import math
import signal
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar

from rwlocks._errors import LockTimeout
from rwlocks._lock import RWLock
from rwlocks._ports import AsyncBackend, SyncBackend
from rwlocks.testing._waiting import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rwlocks._ports import AsyncWaiter, SyncWaiter

__all__ = ["AsyncBackendContract", "SteppedLoop", "SyncBackendContract"]

T = TypeVar("T")

SHORT: Final = 0.01  # seconds; how long to sleep where nothing is to come
FOR_EVER: Final = 30.0  # seconds until something that has to come is given up
NEWS: Final = 100  # wake-ups sent at once, and then as many to a sleeper that is awake


class _Ledger:
    """Stands for the core: it is told when a wake-up was not delivered."""

    def __init__(self) -> None:
        self.lost = 0
        self.heard = 0

    def undelivered(self) -> None:
        self.lost += 1


class _Interrupted(Exception):
    """Raised by a signal's handler."""


def _in_a_thread(body: Callable[[], T]) -> T:
    """Run it in a thread of its own to the end; what it raises is raised here."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(body())
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(FOR_EVER)
    assert not thread.is_alive(), f"a thread was still asleep after {FOR_EVER} s"
    for error in errors:
        raise error
    return results[0]


def _check_common(backend: SyncBackend | AsyncBackend) -> None:
    assert isinstance(backend.name, str), f"the name is {backend.name!r}; give a str"
    assert backend.name, "the name is empty; users and messages need one"
    assert backend.name != "auto", "the name 'auto' means any backend; take another"
    patience = backend.patience
    assert isinstance(patience, (int, float)), f"the patience is {patience!r}; give seconds"
    assert 0 <= patience < math.inf, f"the patience is {patience!r} s; give 0 or a finite time"


class SyncBackendContract:
    """The obligations of a `SyncBackend`. Set ``backend``."""

    backend: ClassVar[SyncBackend]

    def _waiter(self) -> SyncWaiter:
        return self.backend.new_sync_waiter(_Ledger().undelivered)

    def test_it_is_a_backend(self) -> None:
        """It has all that the port asks for, a name and a patience."""
        assert isinstance(self.backend, SyncBackend), "it lacks something that the port asks for"
        _check_common(self.backend)

    def test_a_wake_before_the_park_ends_it(self) -> None:
        """A waiter is ready to be woken as soon as it is made."""

        def sleep() -> None:
            waiter = self._waiter()
            assert waiter.wake() is True
            waiter.park(None)

        _in_a_thread(sleep)

    def test_many_wakes_are_as_good_as_one(self) -> None:
        """``wake`` may be called any number of times, before, during and after the sleep."""

        def sleep() -> None:
            waiter = self._waiter()
            for _ in range(NEWS):
                assert waiter.wake() is True
            waiter.park(None)
            for _ in range(NEWS):
                assert waiter.wake() is True
            waiter.park(None)

        _in_a_thread(sleep)

    def test_a_park_uses_a_wake_up(self) -> None:
        """After as many sleeps as there were wake-ups, the next one is a sleep: a backend must not spin."""
        waiter = self._waiter()
        for _ in range(3):
            waiter.wake()
        stop = threading.Event()

        def end() -> None:
            stop.set()
            waiter.wake()

        alarm = threading.Timer(5 * SHORT, end)
        alarm.start()
        returns = 0
        while not stop.is_set() and returns <= NEWS:
            waiter.park(FOR_EVER)
            returns += 1
        alarm.join()
        assert returns <= NEWS, f"3 wake-ups made {returns} parks return"

    def test_a_wake_from_another_thread_ends_it(self) -> None:
        """``wake`` may be called from any thread, while the sleeper sleeps or before."""

        def sleep() -> None:
            for _ in range(NEWS):
                waiter = self._waiter()
                other = _started(waiter.wake, [])
                waiter.park(None)
                other.join()

        _in_a_thread(sleep)

    def test_wakes_of_several_threads_at_once(self) -> None:
        """``wake`` raises nothing, however many call it together."""
        answers: list[bool] = []

        def sleep() -> None:
            waiter = self._waiter()
            others = [_started(waiter.wake, answers) for _ in range(8)]
            waiter.park(None)
            for other in others:
                other.join()

        _in_a_thread(sleep)
        assert answers == [True] * 8

    def test_a_park_ends_by_itself(self) -> None:
        """``park`` sleeps for at most its timeout; zero and what is no longer positive are allowed."""
        for timeout in (SHORT, 0.0, -1.0):
            _in_a_thread(lambda timeout=timeout: self._waiter().park(timeout))  # type: ignore[misc]

    def test_a_wake_after_the_timeout_counts_for_the_next_park(self) -> None:
        """A waiter may be parked several times; what comes between two sleeps ends the next."""

        def sleep() -> None:
            waiter = self._waiter()
            waiter.park(SHORT)
            waiter.wake()
            waiter.park(None)

        _in_a_thread(sleep)

    def test_a_long_timeout_is_a_timeout(self) -> None:
        """Ages of the universe do not overflow."""

        def sleep() -> None:
            waiter = self._waiter()
            alarm = threading.Timer(SHORT, waiter.wake)
            alarm.start()
            waiter.park(1e18)
            alarm.join()

        _in_a_thread(sleep)

    def test_a_living_thread_is_not_lost(self) -> None:
        """``lost`` is False as long as the sleeper can run."""
        assert self._waiter().lost() is False

    def test_a_signal_gets_through(self) -> None:
        """``park`` answers signals, so that Ctrl-C works. Needs the main thread and a system with signals."""
        if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_kill"):
            return
        done, too_late = threading.Event(), threading.Event()

        def interrupt(*_: object) -> None:
            if not done.is_set():
                done.set()
                raise _Interrupted

        def send() -> None:
            deadline = time.monotonic() + FOR_EVER
            while not done.wait(SHORT) and time.monotonic() < deadline:
                signal.pthread_kill(main, signal.SIGINT)
            if not done.is_set():
                too_late.set()
                waiter.wake()

        main = threading.get_ident()
        before = signal.signal(signal.SIGINT, interrupt)
        sender = threading.Thread(target=send)
        waiter = self._waiter()
        try:
            sender.start()
            while True:
                waiter.park(None)
                assert not done.is_set(), "the handler has raised, and the park swallowed it"
        except _Interrupted:
            assert not too_late.is_set(), f"a park did not answer a signal for {FOR_EVER} s"
            waiter.wake()
            waiter.park(None)
        finally:
            done.set()
            sender.join()
            signal.signal(signal.SIGINT, before)

    # -- a lock on it ------------------------------------------------------------------------------------------

    def test_a_lock_waits_through_it(self) -> None:
        """A thread that waits gets the lock when its holder releases."""
        lock = RWLock("fifo", backend=self.backend)
        guard = lock.write().acquire()
        order: list[str] = []

        def wait() -> None:
            with lock.write():
                order.append("waiter")

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        wait_until_parked(lock, 1)
        order.append("holder")
        guard.release()
        waiting.join(FOR_EVER)
        assert not waiting.is_alive(), "the grant did not wake the thread"
        assert order == ["holder", "waiter"]
        assert lock.locked() is None

    def test_a_lock_times_out_through_it(self) -> None:
        """A thread whose time is up gets `LockTimeout`, and the lock is as if it had never asked."""
        lock = RWLock("fifo", backend=self.backend)

        def wait() -> None:
            try:
                lock.write(timeout=SHORT).acquire()
            except LockTimeout:
                return
            raise AssertionError("two have the lock at once")

        with lock.read():
            _in_a_thread(wait)
            now = lock.statistics()
            assert (now.readers, now.waiting_writers, now.timeouts) == (1, 0, 1)
        assert lock.locked() is None

    def test_a_lock_under_load(self) -> None:
        """Threads that all want to write come through one after the other."""
        lock = RWLock("fifo", backend=self.backend)
        inside: list[int] = []
        worst: list[int] = []

        def work() -> None:
            for _ in range(NEWS):
                with lock.write():
                    inside.append(1)
                    worst.append(len(inside))
                    time.sleep(0)
                    inside.pop()

        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FOR_EVER)
            assert not thread.is_alive(), f"a thread is stuck: {lock.statistics()!r}"
        assert max(worst) == 1, "two were inside at once"
        assert len(worst) == 4 * NEWS


class SteppedLoop(Protocol):
    """A loop that the contract runs by hand, so that it can be closed with its task asleep."""

    def start(self, main: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Make a task of it; it need not run yet."""
        ...

    def run_until(self, reached: Callable[[], bool]) -> None:
        """Run until the condition holds, looking at it between two rounds of the loop."""
        ...

    def run_last(self, callback: Callable[[], object]) -> None:
        """Run the callback inside the loop and stop, as far as possible before what the callback has made ready."""
        ...

    def close(self) -> None:
        """Close the loop without running anything. Tasks stay suspended, and referenced."""
        ...


class AsyncBackendContract:
    """The obligations of an `AsyncBackend`. Set ``backend`` and define `run`; the rest may be overridden."""

    backend: ClassVar[AsyncBackend]

    # -- what the contract needs of a runtime ------------------------------------------------------------------

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run ``main`` in a task of a new loop, end that loop, and return the result."""
        raise NotImplementedError

    async def together(self, *bodies: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run the bodies as tasks of the running loop, and return when all have ended."""
        import anyio

        async with anyio.create_task_group() as tasks:
            for body in bodies:
                tasks.start_soon(body)

    async def cancel(self, body: Callable[[], Coroutine[Any, Any, object]], *, once: Callable[[], bool]) -> bool:
        """Run the body as a task, cancel it once the condition holds; whether the cancellation ended it."""
        import anyio

        cancelled = False

        async def run() -> None:
            nonlocal cancelled
            with scope:
                await body()
            cancelled = scope.cancelled_caught

        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()
            tasks.start_soon(run)
            while not once():  # noqa: ASYNC110 - any condition will do
                await anyio.sleep(0.0005)
            scope.cancel()
        return cancelled

    def timers(self) -> int:
        """How many timers the running loop has pending. Zero where that cannot be seen."""
        return 0

    def stepped_loop(self) -> SteppedLoop | None:
        """A loop to be closed with its task asleep. None where the runtime does not let that happen, as trio."""
        return None

    # -- what it says of itself and of tasks -------------------------------------------------------------------

    def test_it_is_a_backend(self) -> None:
        """It has all that the port asks for, a name and a patience."""
        assert isinstance(self.backend, AsyncBackend), "it lacks something that the port asks for"
        _check_common(self.backend)
        assert isinstance(self.backend.checkpoints, bool), "checkpoints is not a bool"

    def test_outside_of_a_loop_it_knows_no_task(self) -> None:
        """In a plain thread ``running`` is False and ``current_task`` is None."""
        assert _in_a_thread(self.backend.running) is False
        assert _in_a_thread(self.backend.current_task) is None

    def test_it_knows_the_running_task(self) -> None:
        """The task can be referenced weakly, stays the same over suspensions, and is no other task's."""
        seen: list[object] = []

        async def one() -> None:
            assert self.backend.running() is True
            task = self.backend.current_task()
            assert task is not None
            seen.append(task)
            assert weakref.ref(task)() is task
            await self.backend.yield_once()
            assert self.backend.current_task() is task
            await self._waiter(_Ledger()).park(SHORT)
            assert self.backend.current_task() is task

        async def main() -> None:
            await self.together(one, one, one)

        self.run(main)
        assert len({id(task) for task in seen}) == 3, "two tasks look like one"

    def test_it_names_its_tasks_alone(self) -> None:
        """``task_name`` is a str for a task of its own, and None for anything else."""

        async def main() -> None:
            task = self.backend.current_task()
            assert task is not None
            assert isinstance(self.backend.task_name(task), str)

        self.run(main)
        assert self.backend.task_name(object()) is None

    def test_its_clock_measures_its_timeouts(self) -> None:
        """The clock never goes back, and a deadline on it is reached by sleeping."""

        async def main() -> None:
            readings = [self.backend.clock()]
            deadline = readings[0] + SHORT
            waiter = self._waiter(_Ledger())
            while readings[-1] < deadline:
                await waiter.park(deadline - readings[-1])
                readings.append(self.backend.clock())
            assert readings == sorted(readings)

        self.run(main)

    # -- waking --------------------------------------------------------------------------------------------------

    def test_a_wake_before_the_park_ends_it(self) -> None:
        """A waiter is ready to be woken as soon as it is made."""
        ledger = _Ledger()

        async def main() -> None:
            waiter = self._waiter(ledger)
            assert waiter.wake() is True
            await waiter.park(None)

        self._delivers_everything(main, ledger)

    def test_many_wakes_are_as_good_as_one(self) -> None:
        """``wake`` may be called any number of times, before and between sleeps."""
        ledger = _Ledger()

        async def main() -> None:
            waiter = self._waiter(ledger)
            for _ in range(3):
                for _ in range(NEWS):
                    assert waiter.wake() is True
                await waiter.park(None)

        self._delivers_everything(main, ledger)

    def test_a_park_uses_a_wake_up(self) -> None:
        """After as many sleeps as there were wake-ups, the next one is a sleep: a backend must not spin."""
        returns = 0
        stop = False
        waiters: list[AsyncWaiter] = []

        async def sleep() -> None:
            nonlocal returns
            waiter = self._waiter(_Ledger())
            for _ in range(3):
                waiter.wake()
            waiters.append(waiter)
            while not stop:
                await waiter.park(None)
                returns += 1

        async def wake() -> None:
            nonlocal stop
            for _ in range(10 * NEWS):
                await self.backend.yield_once()
            stop = True
            assert 1 <= returns <= NEWS, f"3 wake-ups made {returns} parks return"
            waiters[0].wake()

        async def main() -> None:
            await self.together(sleep, wake)

        self.run(main)

    def test_a_wake_from_another_task_ends_it(self) -> None:
        """``wake`` may be called in the sleeper's own loop."""
        ledger = _Ledger()

        async def main() -> None:
            waiter = self._waiter(ledger)

            async def sleep() -> None:
                await waiter.park(None)

            async def wake() -> None:
                await self.backend.yield_once()
                assert waiter.wake() is True

            await self.together(sleep, wake)

        self._delivers_everything(main, ledger)

    def test_a_wake_from_another_thread_ends_it(self) -> None:
        """``wake`` may be called from any thread, by several at once, while the sleeper sleeps or before."""
        ledger = _Ledger()
        answers: list[bool] = []

        async def main() -> None:
            for _ in range(NEWS):
                waiter = self._waiter(ledger)
                threads = [_started(waiter.wake, answers) for _ in range(2)]
                await waiter.park(None)
                for thread in threads:
                    thread.join(FOR_EVER)

        self._delivers_everything(main, ledger)
        assert answers == [True] * (2 * NEWS)

    def test_a_park_ends_by_itself(self) -> None:
        """``park`` sleeps for at most its timeout; zero and what is no longer positive are allowed."""
        ledger = _Ledger()

        async def main() -> None:
            waiter = self._waiter(ledger)
            for timeout in (SHORT, 0.0, -1.0):
                await waiter.park(timeout)
            assert self.timers() == 0, "a timer is left behind"

        self._delivers_everything(main, ledger)

    def test_a_wake_after_the_timeout_counts_for_the_next_park(self) -> None:
        """A waiter may be parked several times; what comes between two sleeps ends the next."""
        ledger = _Ledger()

        async def main() -> None:
            waiter = self._waiter(ledger)
            await waiter.park(SHORT)
            waiter.wake()
            await waiter.park(None)
            waiter.wake()
            await waiter.park(FOR_EVER)
            assert self.timers() == 0, "a timer is left behind"

        self._delivers_everything(main, ledger)

    def test_a_long_timeout_is_a_timeout(self) -> None:
        """Ages of the universe do not overflow."""
        ledger = _Ledger()

        async def main() -> None:
            waiter = self._waiter(ledger)
            alarm = threading.Timer(SHORT, waiter.wake)
            alarm.start()
            await waiter.park(1e18)
            alarm.join()

        self._delivers_everything(main, ledger)

    # -- cancellation --------------------------------------------------------------------------------------------

    def test_a_cancellation_ends_the_sleep_and_leaves_nothing(self) -> None:
        """``park`` raises the runtime's own cancellation; no timer stays, and nothing that keeps the waiter alive."""
        for timeout in (None, FOR_EVER):
            self._check_that_a_cancelled_sleep_leaves_nothing(timeout)

    def _check_that_a_cancelled_sleep_leaves_nothing(self, timeout: float | None) -> None:
        asleep = False
        traces: list[weakref.ref[_Ledger]] = []

        async def sleep() -> None:
            nonlocal asleep
            ledger = _Ledger()
            traces.append(weakref.ref(ledger))
            waiter = self._waiter(ledger)
            asleep = True
            while True:
                await waiter.park(timeout)

        async def main() -> None:
            assert await self.cancel(sleep, once=lambda: asleep), "the cancellation did not come through"
            await self.backend.yield_once()
            gc.collect()
            assert self.timers() == 0, "a timer is left behind"
            assert traces[0]() is None, "something scheduled keeps the cancelled waiter alive"

        self.run(main)

    def test_a_wake_after_the_cancellation_is_harmless(self) -> None:
        """The core may wake somebody who is leaving: ``wake`` raises nothing then."""
        waiters: list[AsyncWaiter] = []

        async def sleep() -> None:
            waiters.append(self._waiter(_Ledger()))
            while True:
                await waiters[0].park(None)

        async def main() -> None:
            await self.cancel(sleep, once=lambda: bool(waiters))
            waiters[0].wake()
            await self.backend.yield_once()
            _in_a_thread(waiters[0].wake)
            await self.backend.yield_once()

        self.run(main)

    def test_a_cancellation_that_is_due_comes_at_a_checkpoint(self) -> None:
        """``check_cancelled`` and ``yield_once`` together let a cancellation in; at rest they raise nothing."""
        rounds = 0

        async def work() -> None:
            nonlocal rounds
            while True:
                await self.backend.check_cancelled()
                await self.backend.yield_once()
                rounds += 1

        async def main() -> None:
            assert await self.cancel(work, once=lambda: rounds >= 3), "the cancellation did not come through"

        self.run(main)
        assert rounds >= 3

    def test_yielding_lets_the_others_run(self) -> None:
        """Two tasks that only ever ``yield_once`` take turns."""
        turns: list[str] = []

        async def ping() -> None:
            await self._take_turns("ping", turns)

        async def pong() -> None:
            await self._take_turns("pong", turns)

        async def main() -> None:
            await self.together(ping, pong)

        self.run(main)
        first = turns[0]
        assert turns != sorted(turns, key=lambda turn: turn != first), "one task did not let the other one run"

    async def _take_turns(self, name: str, turns: list[str]) -> None:
        for _ in range(NEWS):
            turns.append(name)
            await self.backend.yield_once()

    # -- a loop that ends ----------------------------------------------------------------------------------------

    def test_a_sleeper_of_a_running_loop_is_not_lost(self) -> None:
        """``lost`` is False as long as the sleeper can run."""

        async def main() -> None:
            assert self._waiter(_Ledger()).lost() is False

        self.run(main)

    def test_a_wake_after_the_end_of_the_loop_says_so(self) -> None:
        """``wake`` returns False or ``undelivered`` is called, at each call, and nothing is raised."""
        ledger = _Ledger()

        async def main() -> AsyncWaiter:
            return self._waiter(ledger)

        waiter = self.run(main)
        for _ in range(3):
            before = ledger.lost
            answer = waiter.wake()
            gc.collect()
            assert answer is False or ledger.lost > before, "a wake-up was lost without a word"

    def test_a_loop_closed_under_its_sleeper_loses_it(self) -> None:
        """When a loop was closed with a task asleep, ``lost`` is True and ``wake`` returns False."""
        loop = self.stepped_loop()
        if loop is None:
            return
        waiter = self._put_to_sleep(loop, _Ledger())
        assert waiter.lost() is False
        loop.close()
        assert waiter.lost() is True, "the sleeper of a closed loop is not lost"
        assert waiter.wake() is False, "a closed loop has accepted a wake-up"

    def test_a_wake_up_on_its_way_into_a_closing_loop_is_returned(self) -> None:
        """What a loop had accepted, and dropped when it was closed, comes back through ``undelivered``."""
        loop = self.stepped_loop()
        if loop is None:
            return
        ledger = _Ledger()
        waiter = self._put_to_sleep(loop, ledger)
        assert waiter.wake() is True
        assert ledger.lost == 0
        loop.close()
        gc.collect()
        assert ledger.heard or ledger.lost, "a wake-up was lost without a word"

    def test_a_wake_up_that_was_heard_but_not_followed_is_returned(self) -> None:
        """A loop may be closed between ringing the bell and running the task: that is lost news, too."""
        loop = self.stepped_loop()
        if loop is None:
            return
        ledger = _Ledger()
        waiter = self._put_to_sleep(loop, ledger)
        loop.run_last(waiter.wake)
        loop.close()
        gc.collect()
        # Some loops cannot stop that soon, so that the task has run all the same.
        assert ledger.heard or ledger.lost, "a wake-up was lost without a word"

    # -- a lock on it ------------------------------------------------------------------------------------------

    def test_a_lock_waits_through_it(self) -> None:
        """A task that waits gets the lock when its holder releases, and shows as its owner."""
        lock = RWLock("fifo", backend=self.backend)
        order: list[str] = []

        async def hold() -> None:
            async with lock.write():
                while not lock.statistics().waiters:
                    await self.backend.yield_once()
                order.append("holder")

        async def wait() -> None:
            while lock.locked() is None:
                await self.backend.yield_once()
            async with lock.write():
                order.append("waiter")
                task = self.backend.current_task()
                assert task is not None
                assert lock.statistics().holders[0].owner == self.backend.task_name(task)

        async def main() -> None:
            await self.together(hold, wait)

        self.run(main)
        assert order == ["holder", "waiter"]
        assert lock.locked() is None

    def test_a_lock_released_by_a_thread_wakes_the_task(self) -> None:
        """A guard may be released anywhere; the wake-up finds its way into the loop."""
        lock = RWLock("fifo", backend=self.backend)
        guard = lock.write()
        assert guard.try_acquire()
        errors: list[BaseException] = []

        def release() -> None:
            try:
                wait_until_parked(lock, 1, timeout=FOR_EVER)
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)
            guard.release()

        async def main() -> None:
            thread = threading.Thread(target=release, daemon=True)
            thread.start()
            async with lock.read():
                thread.join(FOR_EVER)

        self.run(main)
        assert not errors, errors[0]
        assert lock.locked() is None

    def test_a_lock_times_out_through_it(self) -> None:
        """A task whose time is up gets `LockTimeout`, and the lock is as if it had never asked."""
        lock = RWLock("fifo", backend=self.backend)

        async def wait() -> None:
            try:
                async with lock.write(timeout=SHORT):
                    raise AssertionError("two have the lock at once")
            except LockTimeout:
                pass

        async def main() -> None:
            async with lock.read():
                await self.together(wait)
                now = lock.statistics()
                assert (now.readers, now.waiting_writers, now.timeouts) == (1, 0, 1)
            assert self.timers() == 0, "a timer is left behind"

        self.run(main)
        assert lock.locked() is None

    def test_a_lock_forgets_who_was_cancelled(self) -> None:
        """A cancelled writer leaves the lock as if it had never asked: the readers behind it enter at once."""
        lock = RWLock("fifo", backend=self.backend)

        async def wait() -> None:
            async with lock.write():
                raise AssertionError("two have the lock at once")

        async def main() -> None:
            async with lock.read():
                assert await self.cancel(wait, once=lambda: lock.statistics().waiting_writers == 1)
                now = lock.statistics()
                assert (now.readers, now.waiting_writers, now.cancellations) == (1, 0, 1)
                guard = lock.read()
                assert guard.try_acquire()
                guard.release()

        self.run(main)
        assert lock.locked() is None

    def test_a_lock_passes_on_a_grant_that_raced_with_a_cancellation(self) -> None:
        """Whichever was faster, the lock is not left held by a task that is gone."""
        lock = RWLock("fifo", backend=self.backend)
        holder = lock.write()
        assert holder.try_acquire()

        async def wait() -> None:
            async with lock.write():
                pass

        def grant() -> bool:
            if lock.statistics().waiting_writers == 0:
                return False
            holder.release()
            return True

        async def main() -> None:
            await self.cancel(wait, once=grant)

        self.run(main)
        assert lock.locked() is None
        assert not lock.statistics().waiters

    def test_a_lock_passes_on_a_grant_that_a_closed_loop_swallowed(self) -> None:
        """Whoever is parked behind a task whose loop was closed gets in, with no further call on the lock."""
        closing, living = self.stepped_loop(), self.stepped_loop()
        if closing is None or living is None:
            return
        lock = RWLock("fifo", backend=self.backend)
        holder = lock.write()
        assert holder.try_acquire()
        came_in: list[str] = []

        async def wait(name: str) -> None:
            async with lock.write():
                came_in.append(name)

        for n, (loop, name) in enumerate([(closing, "first"), (living, "second")], start=1):
            loop.start(lambda name=name: wait(name))  # type: ignore[misc]
            loop.run_until(lambda n=n: len(lock.statistics().waiters) == n)  # type: ignore[misc]
        holder.release()
        closing.close()
        gc.collect()
        living.run_until(lambda: bool(came_in))
        living.run_until(lambda: lock.locked() is None)
        living.close()
        assert came_in == ["second"]

    # -- helpers -------------------------------------------------------------------------------------------------

    def _waiter(self, ledger: _Ledger) -> AsyncWaiter:
        return self.backend.new_async_waiter(ledger.undelivered)

    def _delivers_everything(self, main: Callable[[], Coroutine[Any, Any, None]], ledger: _Ledger) -> None:
        """Run it; a sleeper that has run is never reported as one that could not."""
        self.run(main)
        gc.collect()
        assert ledger.lost == 0, "a wake-up that had arrived was reported as lost"

    def _put_to_sleep(self, loop: SteppedLoop, ledger: _Ledger) -> AsyncWaiter:
        waiters: list[AsyncWaiter] = []

        async def sleep() -> None:
            waiters.append(self._waiter(ledger))
            while True:
                await waiters[0].park(None)
                ledger.heard += 1

        loop.start(sleep)
        loop.run_until(lambda: bool(waiters))
        return waiters[0]


def _started(body: Callable[[], bool], answers: list[bool]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(body()), daemon=True)
    thread.start()
    return thread
