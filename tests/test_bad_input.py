"""Mistakes get a clear error at once, and change nothing."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
import threading
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio
import trio.testing

from rwlocks import (
    Fifo,
    GuardStateError,
    LockTimeout,
    Mode,
    NotHeldError,
    PhaseFair,
    Policy,
    ReadGuard,
    RWLock,
    WriterPreference,
)
from rwlocks.testing import ManualClock, wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from rwlocks import UpgradableGuard, WriteGuard
    from rwlocks._types import Checkpoint

    AnyGuard = ReadGuard | UpgradableGuard | WriteGuard

UNTIL_STUCK: Final = 15.0  # seconds
MAKERS: Final = ["read", "write", "upgradable"]
RUNTIMES: Final = ["asyncio", "trio"]


@pytest.fixture
def lock() -> RWLock:
    """A lock without time, so that its statistics are equal exactly when nothing has changed."""
    lock = RWLock(name="config")
    ManualClock().drives(lock)
    return lock


@contextmanager
def nothing_changes(lock: RWLock) -> Generator[None]:
    before = lock.statistics()
    yield
    assert lock.statistics() == before
    lock._core.monitor.engine.check_invariants()


def make(lock: RWLock, maker: str, *arguments: Any) -> AnyGuard:
    guard: AnyGuard = getattr(lock, maker)(*arguments)
    return guard


def run_on(runtime: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    if runtime == "trio":
        trio.run(main)
    else:
        asyncio.run(main())


@contextmanager
def waiting(lock: RWLock, guard: AnyGuard) -> Generator[None]:
    """A thread waits for the lock with this guard, and gets it afterwards."""
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            with guard:
                pass
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    holder = lock.write().acquire()
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        wait_until_parked(lock, 1)
        yield
    finally:
        holder.release()
        thread.join(UNTIL_STUCK)
    assert not thread.is_alive()
    assert not errors, errors[0]


# -- making a lock -------------------------------------------------------------------------------------------------


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'fair'.*'reader-pref', 'writer-pref', 'fifo', 'phase-fair'") as caught:
        RWLock("fair")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert str(caught.value).startswith("unknown policy 'fair'")


@pytest.mark.parametrize("policy", [None, 3, Fifo, b"fifo", ["fifo"]])
def test_what_is_no_policy_names_the_known_ones(policy: Any) -> None:
    with pytest.raises(TypeError, match=r"is not a policy; give one of 'reader-pref'.*'phase-fair'"):
        RWLock(policy)


def test_a_policy_without_rules_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="use one of ReaderPreference, WriterPreference, Fifo, PhaseFair"):
        Policy()


@pytest.mark.parametrize("bound", [0, -1])
@pytest.mark.parametrize("policy", [Fifo, PhaseFair, WriterPreference])
def test_a_bound_below_one_is_refused(policy: Callable[[int], Policy], bound: int) -> None:
    with pytest.raises(ValueError, match=f"max_.* is {bound}; give at least 1, or None"):
        policy(bound)


@pytest.mark.parametrize("bound", [True, 1.5, "2"])
@pytest.mark.parametrize("policy", [Fifo, PhaseFair, WriterPreference])
def test_a_bound_that_is_no_whole_number_is_refused(policy: Callable[[Any], Policy], bound: Any) -> None:
    with pytest.raises(TypeError, match="give a whole number of at least 1, or None"):
        policy(bound)


@pytest.mark.parametrize("patience", [math.nan, -0.001, -math.inf])
def test_a_patience_that_is_no_time_is_refused(patience: float) -> None:
    with pytest.raises(ValueError, match=r"patience is .*; give seconds of at least 0, or None"):
        Fifo(patience=patience)


@pytest.mark.parametrize("patience", [True, "1", [1]])
def test_a_patience_that_is_no_number_is_refused(patience: Any) -> None:
    with pytest.raises(TypeError, match=r"patience is .*; give seconds as a number, or None"):
        Fifo(patience=patience)


def test_an_unknown_backend_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'gevent'.*'auto', 'threading', 'asyncio', 'anyio'.*Backend object"):
        RWLock(backend="gevent")


@pytest.mark.parametrize("backend", [None, 3, object(), threading])
def test_what_is_no_backend_is_refused(backend: Any) -> None:
    with pytest.raises(TypeError, match="is not a backend; give a name such as 'asyncio', or a Backend object"):
        RWLock(backend=backend)


@pytest.mark.parametrize("checkpoint", ["sometimes", None, True, ["auto"]])
def test_an_unknown_checkpoint_names_the_known_ones(checkpoint: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown checkpoint .*; the known ones are 'auto', 'always', 'never'"):
        RWLock(checkpoint=checkpoint)


@pytest.mark.parametrize("name", [3, b"config", Fifo()])
def test_a_name_is_a_str(name: Any) -> None:
    with pytest.raises(TypeError, match=r"the name is .*; give a str, or None"):
        RWLock(name=name)


@pytest.mark.parametrize("reentrant", [None, 1, "yes"])
def test_reentrant_is_a_bool(reentrant: Any) -> None:
    with pytest.raises(TypeError, match=r"reentrant is .*; give True or False"):
        RWLock(reentrant=reentrant)


# -- timeouts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("timeout", [math.nan, Decimal("NaN"), -math.nan])
def test_a_timeout_is_not_nan(lock: RWLock, maker: str, timeout: Any) -> None:
    guard = make(lock, maker)
    with nothing_changes(lock):
        with pytest.raises(ValueError, match=r"not a number \(NaN\); give seconds, or None"):
            make(lock, maker, timeout)
        with pytest.raises(ValueError, match=r"not a number \(NaN\); give seconds, or None"):
            guard.acquire(timeout)
    assert not guard.held


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("timeout", [True, False, "1", b"1", [1], 1j, object()])
def test_a_timeout_is_a_number(lock: RWLock, maker: str, timeout: Any) -> None:
    guard = make(lock, maker)
    with nothing_changes(lock):
        with pytest.raises(TypeError, match=r"the timeout is .*; give seconds as a number, or None"):
            make(lock, maker, timeout)
        with pytest.raises(TypeError, match=r"the timeout is .*; give seconds as a number, or None"):
            guard.acquire(timeout)
    assert not guard.held


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("timeout", [None, math.inf, 0, -1, -math.inf, 0.5, Fraction(1, 2), Decimal("0.5")])
def test_every_number_is_a_timeout(lock: RWLock, maker: str, timeout: Any) -> None:
    guard = make(lock, maker, timeout).acquire()
    assert guard.held
    guard.release()
    assert guard.acquire(timeout) is guard
    assert guard.held
    guard.release()
    assert lock.statistics().acquisitions == 2


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("timeout", [0, -1, -math.inf, Fraction(-1, 2)])
def test_a_timeout_of_zero_or_less_tries_once(lock: RWLock, maker: str, timeout: Any) -> None:
    with lock.write():
        with pytest.raises(LockTimeout, match=r"'config'.*write by") as caught:
            make(lock, maker).acquire(timeout)
        assert caught.value.waited == 0
        assert [holder.mode for holder in caught.value.holders] == [Mode.WRITE]
        now = lock.statistics()
        assert (now.timeouts, now.contended, now.waiters) == (1, 0, ())
    with make(lock, maker, timeout):
        pass


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("timeout", [None, math.inf, Decimal("Infinity")])
def test_none_and_infinity_wait_for_ever(lock: RWLock, maker: str, timeout: Any) -> None:
    guard = make(lock, maker, timeout)
    with waiting(lock, guard):
        # What is not infinite runs out here.
        clock = lock._core.monitor.clock
        assert isinstance(clock, ManualClock)
        clock.advance(1e15)
        wait_until_parked(lock, 1)
    now = lock.statistics()
    assert (now.acquisitions, now.timeouts) == (2, 0)


# -- guards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", MAKERS)
def test_a_held_guard_cannot_be_acquired(lock: RWLock, maker: str) -> None:
    guard = make(lock, maker).acquire()
    with nothing_changes(lock):
        for timeout in (None, 0, 1):
            with pytest.raises(GuardStateError, match=r"holds the lock already .*; release it first"):
                guard.acquire(timeout)
        with pytest.raises(GuardStateError, match="holds the lock already"):
            guard.try_acquire()
        with pytest.raises(GuardStateError, match="holds the lock already"), guard:
            pytest.fail("the block was entered")
    assert guard.held
    guard.release()
    assert lock.locked() is None


@pytest.mark.parametrize("maker", MAKERS)
def test_a_block_cannot_be_entered_inside_itself(lock: RWLock, maker: str) -> None:
    with make(lock, maker) as guard:
        with nothing_changes(lock), pytest.raises(GuardStateError, match="holds the lock already"), guard:
            pytest.fail("the block was entered")
        assert guard.held
    assert lock.locked() is None


@pytest.mark.parametrize("maker", MAKERS)
def test_a_guard_never_held_cannot_be_released(lock: RWLock, maker: str) -> None:
    with nothing_changes(lock), pytest.raises(NotHeldError, match=r"holds nothing: .*; release each acquisition once"):
        make(lock, maker).release()
    with lock.read(), nothing_changes(lock), pytest.raises(NotHeldError):
        make(lock, maker).release()


@pytest.mark.parametrize("maker", MAKERS)
def test_a_guard_cannot_be_released_twice(lock: RWLock, maker: str) -> None:
    guard = make(lock, maker).acquire()
    guard.release()
    with lock.read(), nothing_changes(lock), pytest.raises(NotHeldError, match="released before, or never acquired"):
        guard.release()
    with guard:
        assert guard.held


@pytest.mark.parametrize("maker", MAKERS)
def test_a_block_whose_guard_was_released_inside_says_so(lock: RWLock, maker: str) -> None:
    guard = make(lock, maker)
    guard.__enter__()
    guard.release()
    with nothing_changes(lock), pytest.raises(NotHeldError, match="released before"):
        guard.__exit__(None, None, None)


def test_a_released_block_keeps_the_error_of_its_body(lock: RWLock) -> None:
    def body() -> None:
        with lock.write() as guard:
            guard.release()
            raise KeyError("the body's own")

    with pytest.raises(NotHeldError) as caught:
        body()
    assert isinstance(caught.value.__context__, KeyError), "the error of the block is lost"
    assert lock.locked() is None


def test_a_guard_that_timed_out_holds_nothing(lock: RWLock) -> None:
    guard = lock.read(0)
    with lock.write():
        with pytest.raises(LockTimeout):
            guard.acquire()
        with nothing_changes(lock), pytest.raises(NotHeldError):
            guard.release()
    with guard:
        assert guard.held


@pytest.mark.parametrize("maker", MAKERS)
def test_a_waiting_guard_is_left_alone(lock: RWLock, maker: str) -> None:
    guard = make(lock, maker)
    with waiting(lock, guard), nothing_changes(lock):
        with pytest.raises(NotHeldError, match="still waiting for the lock; it can be released once it holds it"):
            guard.release()
        with pytest.raises(GuardStateError, match="waiting for the lock already; make another guard"):
            guard.acquire(0)
        with pytest.raises(GuardStateError, match="waiting for the lock already"):
            guard.try_acquire()
        with pytest.raises(GuardStateError, match="waiting for the lock already"), guard:
            pytest.fail("the block was entered")
        if not isinstance(guard, ReadGuard):
            with pytest.raises(NotHeldError, match="nothing to downgrade; acquire it first"):
                guard.downgrade()
        assert not guard.held
    assert lock.locked() is None


@pytest.mark.parametrize("maker", ["write", "upgradable"])
def test_only_what_is_more_than_a_reader_can_be_downgraded(lock: RWLock, maker: str) -> None:
    guard = lock.write() if maker == "write" else lock.upgradable()
    with nothing_changes(lock), pytest.raises(NotHeldError, match="nothing to downgrade; acquire it first"):
        guard.downgrade()
    with guard:
        guard.downgrade()
        with nothing_changes(lock), pytest.raises(GuardStateError, match="reads already; there is nothing"):
            guard.downgrade()
        assert guard.mode is Mode.READ
    with nothing_changes(lock), pytest.raises(NotHeldError):
        guard.downgrade()
    assert not hasattr(lock.read(), "downgrade")


# -- guards in tasks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("maker", MAKERS)
def test_a_task_cannot_enter_a_held_guard(lock: RWLock, maker: str, runtime: str) -> None:
    async def main() -> None:
        async with make(lock, maker) as guard:
            with nothing_changes(lock), pytest.raises(GuardStateError, match="holds the lock already"):
                async with guard:
                    pytest.fail("the block was entered")
            with nothing_changes(lock):
                assert await guard is guard, "awaiting what one holds is everybody's habit"
        with nothing_changes(lock), pytest.raises(NotHeldError):
            guard.release()
        with pytest.raises(NotHeldError):
            async with guard:
                guard.release()

    run_on(runtime, main)
    assert lock.locked() is None


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("maker", MAKERS)
def test_a_task_cannot_await_what_another_holds(lock: RWLock, maker: str, runtime: str) -> None:
    guard = make(lock, maker).acquire()

    async def main() -> None:
        with nothing_changes(lock), pytest.raises(GuardStateError, match="holds the lock already"):
            await guard

    run_on(runtime, main)
    guard.release()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("maker", MAKERS)
def test_a_task_cannot_use_a_guard_that_waits(lock: RWLock, maker: str, runtime: str) -> None:
    guard = make(lock, maker)

    async def main() -> None:
        with nothing_changes(lock):
            with pytest.raises(GuardStateError, match="waiting for the lock already"):
                await guard
            with pytest.raises(GuardStateError, match="waiting for the lock already"):
                async with guard:
                    pytest.fail("the block was entered")

    with waiting(lock, guard):
        run_on(runtime, main)


def test_an_async_acquisition_needs_a_loop(lock: RWLock) -> None:
    async def main() -> None:
        await lock.read()

    with (
        nothing_changes(lock),
        pytest.raises(RuntimeError, match=r"no task of a known .*; use 'async with'"),
    ):
        main().send(None)


# -- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_lock_cannot_be_duplicated(lock: RWLock, duplicate: Callable[[object], object]) -> None:
    with nothing_changes(lock), pytest.raises(TypeError, match="neither pickled nor copied; pass the object itself"):
        duplicate(lock)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("maker", MAKERS)
def test_a_guard_cannot_be_duplicated(lock: RWLock, maker: str, duplicate: Callable[[object], object]) -> None:
    guard = make(lock, maker)
    with nothing_changes(lock), pytest.raises(TypeError, match=r"cannot be pickled or copied: .*; make a guard where"):
        duplicate(guard)
    with guard, nothing_changes(lock), pytest.raises(TypeError, match="cannot be pickled or copied"):
        duplicate(guard)


# -- checkpoints ---------------------------------------------------------------------------------------------------

ACQUISITIONS: Final = ["await", "async with"]


async def acquire(guard: AnyGuard, how: str) -> None:
    if how == "await":
        await guard
    else:
        await guard.__aenter__()


@pytest.mark.parametrize("how", ACQUISITIONS)
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("checkpoint", "yields"), [("auto", False), ("always", True), ("never", False)])
def test_checkpoints_of_asyncio(checkpoint: Checkpoint, yields: bool, maker: str, how: str) -> None:
    lock = RWLock(checkpoint=checkpoint)

    async def main() -> None:
        guard = make(lock, maker)
        others: list[str] = []
        asyncio.get_running_loop().call_soon(others.append, "another ran")
        await acquire(guard, how)
        assert bool(others) is yields
        guard.release()

    asyncio.run(main())


@pytest.mark.parametrize("how", ACQUISITIONS)
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("checkpoint", "yields"), [("auto", True), ("always", True), ("never", False)])
def test_checkpoints_of_trio(checkpoint: Checkpoint, yields: bool, maker: str, how: str) -> None:
    lock = RWLock(checkpoint=checkpoint)

    async def main() -> None:
        guard = make(lock, maker)
        with trio.testing.assert_checkpoints() if yields else trio.testing.assert_no_checkpoints():
            await acquire(guard, how)
        with trio.testing.assert_no_checkpoints():
            guard.release()
            assert guard.try_acquire()
            guard.release()

    trio.run(main)


@pytest.mark.parametrize("checkpoint", ["auto", "always", "never"])
def test_leaving_a_block_is_no_checkpoint(checkpoint: Checkpoint) -> None:
    lock = RWLock(checkpoint=checkpoint)

    async def main() -> None:
        guard = lock.write()
        await guard.__aenter__()
        with trio.testing.assert_no_checkpoints():
            await guard.__aexit__(None, None, None)

    trio.run(main)
    assert lock.locked() is None


@pytest.mark.parametrize("checkpoint", ["auto", "always"])
def test_a_cancelled_trio_task_does_not_get_a_free_lock(checkpoint: Checkpoint) -> None:
    lock = RWLock(checkpoint=checkpoint)

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with lock.write():
                pytest.fail("the block was entered")
        assert scope.cancelled_caught

    trio.run(main)
    assert lock.locked() is None
    assert lock.statistics().acquisitions == 0


def test_a_cancellation_at_the_checkpoint_of_asyncio_gives_the_lock_back() -> None:
    lock = RWLock(checkpoint="always")

    async def main() -> None:
        async def enter() -> None:
            async with lock.write():
                pytest.fail("the block was entered")

        task = asyncio.create_task(enter())
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert lock.locked() is None
    assert lock.statistics().acquisitions == 0
