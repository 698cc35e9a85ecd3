"""`rwlocks.compat.readerwriterlock` has the names, results and errors of readerwriterlock, and none of its deaths."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
from _waits import PURE_LOOPS, Interrupt, fails_in_no_child, run

from rwlocks import DeadlockError, NotHeldError, RWLock, WriterPreference
from rwlocks.compat import readerwriterlock
from rwlocks.compat.readerwriterlock import rwlock, rwlock_async
from rwlocks.testing import wait_until_parked, wait_until_spent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

lock_tests: Any = pytest.importorskip("test.lock_tests", reason="this Python came without CPython's own tests")

PLAIN: Final = ("RWLockRead", "RWLockWrite", "RWLockFair")
DOWNGRADABLE: Final = tuple(f"{name}D" for name in PLAIN)
ALL: Final = PLAIN + DOWNGRADABLE
POLICIES_OF: Final = dict(zip(ALL, ("reader-pref", "writer-pref", "fifo") * 2, strict=True))
NAMES: Final = {*ALL, "Lockable", "LockableD", "RELEASE_ERR_CLS", "RELEASE_ERR_MSG", "RWLockable", "RWLockableD"}
SOON: Final = 10.0  # seconds until a thread gives up, so that a test fails instead of hanging


def sync_lock(name: str, **options: Any) -> Any:
    return getattr(rwlock, name)(**options)


def async_lock(name: str, **options: Any) -> Any:
    return getattr(rwlock_async, name)(**options)


def native(lock: Any) -> RWLock:
    inside: RWLock = lock.native
    return inside


@pytest.mark.slow
class TestWriteHandle(lock_tests.LockTests):  # type: ignore[misc]
    """By CPython's own tests of `threading.Lock`."""

    locktype = staticmethod(lambda: sync_lock("RWLockFairD").gen_wlock())


# -- names and results -------------------------------------------------------------------------------------------------


def test_the_package_has_the_original_s_layout() -> None:
    assert set(rwlock.__all__) == set(rwlock_async.__all__) == NAMES
    assert readerwriterlock.rwlock is rwlock
    assert readerwriterlock.rwlock_async is rwlock_async
    assert all(getattr(readerwriterlock, name) is getattr(rwlock, name) for name in ALL)


@pytest.mark.parametrize("new", [sync_lock, async_lock])
@pytest.mark.parametrize("name", ALL)
def test_each_class_has_its_policy_unless_another_is_given(new: Callable[..., Any], name: str) -> None:
    assert native(new(name)).policy.name == POLICIES_OF[name]
    patient = WriterPreference(max_consecutive_writers=3)
    assert native(new(name, policy=patient)).policy == patient
    with pytest.raises(ValueError, match="unknown policy"):
        new(name, policy="lifo")


@pytest.mark.parametrize("name", ALL)
def test_the_arguments_of_the_original_are_taken(name: str) -> None:
    lock = sync_lock(name, lock_factory=threading.RLock, time_source=lambda: 0.0)
    assert lock.gen_wlock().acquire(timeout=SOON)
    lock = async_lock(name, lock_factory=asyncio.Lock, time_source=lambda: 0.0)
    assert asyncio.run(lock.gen_wlock()).locked() is False


@pytest.mark.parametrize("name", ALL)
def test_the_protocols_know_locks_and_handles(name: str) -> None:
    lock = sync_lock(name)
    assert isinstance(lock, rwlock.RWLockable)
    assert isinstance(lock, rwlock.RWLockableD)
    assert isinstance(lock.gen_rlock(), rwlock.Lockable)
    assert isinstance(lock.gen_wlock(), rwlock.Lockable)
    assert not isinstance(lock.gen_rlock(), rwlock.LockableD)
    assert isinstance(lock.gen_wlock(), rwlock.LockableD) is (name in DOWNGRADABLE)


@pytest.mark.parametrize("name", ALL)
def test_handles_share_or_exclude(name: str) -> None:
    lock = sync_lock(name)
    readers = [lock.gen_rlock() for _ in range(3)]
    writer = lock.gen_wlock()
    assert [reader.acquire() for reader in readers] == [True] * 3
    assert writer.acquire(blocking=False) is False
    assert writer.acquire(timeout=0.001) is False
    assert [reader.locked() for reader in readers] == [True] * 3
    assert writer.locked() is False
    for reader in readers:
        reader.release()
    with writer as acquired:
        assert acquired is True
        assert writer.locked()
        assert readers[0].acquire(blocking=False) is False
        assert lock.gen_wlock().acquire(blocking=False) is False
    assert not writer.locked()
    with readers[0] as acquired:
        assert acquired is True


@pytest.mark.parametrize("side", ["gen_rlock", "gen_wlock"])
@pytest.mark.parametrize("name", ALL)
def test_releasing_a_free_handle_raises_what_a_threading_lock_raises(name: str, side: str) -> None:
    with pytest.raises(RuntimeError) as expected:
        threading.Lock().release()
    lock = sync_lock(name)
    held = getattr(lock, side)()
    assert held.acquire()
    with pytest.raises(rwlock.RELEASE_ERR_CLS, match=f"^{expected.value}$") as error:
        getattr(lock, side)().release()
    assert isinstance(error.value, NotHeldError)
    assert str(error.value) == rwlock.RELEASE_ERR_MSG
    assert held.locked(), "the other handle's hold was given back"


@pytest.mark.parametrize("timeout", [-0.25, -2, float("nan")])
@pytest.mark.parametrize("name", ALL)
def test_an_impossible_timeout_raises_and_changes_nothing(name: str, timeout: float) -> None:
    """The original waited for ever, succeeded or raised, depending on the class and on who held the lock."""
    lock = sync_lock(name)
    with lock.gen_rlock(), pytest.raises(ValueError, match="timeout"):
        lock.gen_wlock().acquire(timeout=timeout)
    with pytest.raises(ValueError, match="non-blocking"):
        lock.gen_wlock().acquire(blocking=False, timeout=1)
    assert lock.gen_wlock().acquire(blocking=False)


def test_any_thread_may_release_a_handle() -> None:
    lock = sync_lock("RWLockWrite")
    handle = lock.gen_wlock()
    assert handle.acquire()
    thread = threading.Thread(target=handle.release)
    thread.start()
    thread.join(SOON)
    assert lock.gen_rlock().acquire(blocking=False)


@pytest.mark.parametrize("name", ALL)
def test_a_handle_counts_its_holds(name: str) -> None:
    """The original forgot the first of two holds, or one of them after a failed second acquisition."""
    lock = sync_lock(name)
    reader = lock.gen_rlock()
    assert reader.acquire()
    assert reader.acquire()
    reader.release()
    assert reader.locked()
    reader.release()
    writer = lock.gen_wlock()
    assert writer.acquire()
    assert writer.acquire(blocking=False) is False
    assert writer.acquire(timeout=0.001) is False
    assert writer.locked()
    writer.release()
    assert reader.acquire(blocking=False)


@pytest.mark.parametrize("name", DOWNGRADABLE)
def test_a_downgrade_moves_the_hold_to_a_reader_s_handle(name: str) -> None:
    lock = sync_lock(name)
    writer = lock.gen_wlock()
    with pytest.raises(rwlock.RELEASE_ERR_CLS, match=f"^{rwlock.RELEASE_ERR_MSG}$"):
        writer.downgrade()
    assert writer.acquire()
    reader = writer.downgrade()
    assert isinstance(reader, rwlock.Lockable)
    assert (writer.locked(), reader.locked()) == (False, True)
    with pytest.raises(rwlock.RELEASE_ERR_CLS):
        writer.release()
    assert lock.gen_wlock().acquire(blocking=False) is False
    with lock.gen_rlock():
        reader.release()
    assert writer.acquire(blocking=False)


@pytest.mark.parametrize("name", DOWNGRADABLE)
def test_a_downgrade_starts_no_thread_and_admits_waiting_readers(name: str) -> None:
    lock = sync_lock(name)
    writer = lock.gen_wlock()
    assert writer.acquire()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lock.gen_rlock().acquire, timeout=SOON)
        wait_until_parked(native(lock), 1)
        before = threading.active_count()
        writer.downgrade()
        assert threading.active_count() == before
        assert reading.result(SOON)


@pytest.mark.parametrize(
    ("name", "order"),
    [("RWLockRead", ["reader", "writer"]), ("RWLockWrite", ["writer", "reader"]), ("RWLockFair", ["writer", "reader"])],
)
def test_who_goes_first_is_in_the_name(name: str, order: list[str]) -> None:
    lock, seen = sync_lock(name), list[str]()
    holder = lock.gen_wlock()
    assert holder.acquire()

    def visit(who: str) -> None:
        with lock.gen_wlock() if who == "writer" else lock.gen_rlock():
            seen.append(who)

    with ThreadPoolExecutor(2) as pool:
        for n, who in enumerate(["writer", "reader"], start=1):
            pool.submit(visit, who)
            wait_until_parked(native(lock), n)
        wait_until_spent(native(lock))
        holder.release()
    assert seen == order


# -- what the original did not survive ---------------------------------------------------------------------------------


def _strike_when_parked(lock: Any, interrupt: Interrupt) -> None:
    wait_until_parked(native(lock), 1)
    interrupt.strike()


def _interrupt_whoever_waits() -> None:
    for name in ALL:
        for side in ("gen_rlock", "gen_wlock"):
            lock, interrupt = sync_lock(name), Interrupt()
            striker = threading.Thread(target=_strike_when_parked, args=(lock, interrupt))
            with lock.gen_wlock():
                striker.start()
                with pytest.raises(KeyboardInterrupt):
                    getattr(lock, side)().acquire()
                striker.join()
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(lock.gen_rlock().acquire, timeout=SOON).result(), name
            assert native(lock).statistics().waiters == ()


def test_an_interrupted_waiter_leaves_a_lock_that_works() -> None:
    fails_in_no_child(_interrupt_whoever_waits)


@pytest.mark.parametrize("name", ALL)
def test_a_thread_that_waits_for_its_own_hold_is_relieved_by_another(name: str) -> None:
    lock = sync_lock(name)
    holder, waiter = lock.gen_wlock(), lock.gen_wlock()
    assert holder.acquire()

    def relieve() -> None:
        wait_until_parked(native(lock), 1)
        holder.release()

    with ThreadPoolExecutor(1) as pool:
        relief = pool.submit(relieve)
        assert waiter.acquire(timeout=SOON)
        relief.result(SOON)
    waiter.release()


@pytest.mark.parametrize("name", ALL)
def test_a_task_does_not_block_the_loop_that_would_have_to_release(name: str) -> None:
    """The original stood still, and the loop with it."""

    async def scenario() -> None:
        lock = sync_lock(name)
        held, done = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            with lock.gen_wlock():
                held.set()
                await done.wait()

        holding = asyncio.create_task(hold())
        await held.wait()
        with pytest.raises(DeadlockError):
            lock.gen_rlock().acquire()
        done.set()
        await holding
        assert lock.gen_rlock().acquire()

    asyncio.run(scenario())


@pytest.mark.parametrize("loop", PURE_LOOPS)
@pytest.mark.parametrize("name", ALL)
def test_coroutines_can_do_the_same(name: str, loop: str) -> None:
    async def scenario() -> None:
        lock = async_lock(name)
        assert isinstance(lock, rwlock_async.RWLockable)
        reader, writer = await lock.gen_rlock(), await lock.gen_wlock()
        assert isinstance(reader, rwlock_async.Lockable)
        assert isinstance(writer, rwlock_async.LockableD) is (name in DOWNGRADABLE)
        with pytest.raises(rwlock_async.RELEASE_ERR_CLS, match=f"^{rwlock_async.RELEASE_ERR_MSG}$"):
            await reader.release()
        assert await reader.acquire() is True
        assert reader.locked()
        assert await writer.acquire(blocking=False) is False
        assert await writer.acquire(blocking=False, timeout=5) is False
        assert await writer.acquire(timeout=0.001) is False
        with pytest.raises(ValueError, match="timeout"):
            await writer.acquire(timeout=-0.5)
        await reader.release()
        async with writer as acquired:
            assert acquired is True
            assert await reader.acquire(timeout=0) is False
        assert not writer.locked()

    run(loop, scenario)


@pytest.mark.parametrize("loop", PURE_LOOPS)
@pytest.mark.parametrize("name", DOWNGRADABLE)
def test_coroutines_can_downgrade(name: str, loop: str) -> None:
    async def scenario() -> None:
        lock = async_lock(name)
        writer = await lock.gen_wlock()
        with pytest.raises(rwlock_async.RELEASE_ERR_CLS, match=f"^{rwlock_async.RELEASE_ERR_MSG}$"):
            await writer.downgrade()
        await writer.acquire()
        reader = await writer.downgrade()
        assert (writer.locked(), reader.locked()) == (False, True)
        async with await lock.gen_rlock():
            await reader.release()
        assert await writer.acquire(blocking=False)

    run(loop, scenario)


@pytest.mark.parametrize("name", ALL)
def test_a_cancelled_writer_leaves_a_lock_that_works(name: str) -> None:
    """In the original that of `RWLockFair` was dead afterwards, and that of `RWLockWrite` for readers."""

    async def scenario() -> None:
        lock = async_lock(name)
        holder = await lock.gen_rlock()
        await holder.acquire()
        waiting = asyncio.ensure_future((await lock.gen_wlock()).acquire())
        await wait_until_parked(native(lock), 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with await lock.gen_rlock():
            await holder.release()
        assert await (await lock.gen_wlock()).acquire(blocking=False)

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ALL)
def test_a_cancelled_reader_keeps_no_other_out(name: str) -> None:
    """In the original of `RWLockRead` and `RWLockWrite` the other readers never ran."""

    async def scenario() -> None:
        lock = async_lock(name)
        holder = await lock.gen_wlock()
        await holder.acquire()

        async def visit() -> None:
            async with await lock.gen_rlock():
                pass

        def visits(n: int) -> list[asyncio.Task[None]]:
            body: Callable[[], Coroutine[Any, Any, None]] = visit
            return [asyncio.create_task(body()) for _ in range(n)]

        cancelled, *others = visits(4)
        await wait_until_parked(native(lock), 4)
        cancelled.cancel()
        await wait_until_parked(native(lock), 3)
        await holder.release()
        await asyncio.wait_for(asyncio.gather(*others), SOON)

    asyncio.run(scenario())
