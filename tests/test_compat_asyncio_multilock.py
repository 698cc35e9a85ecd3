"""`rwlocks.compat.asyncio_multilock`: the names, rules and errors of asyncio-multilock, and its quickstarts."""

from __future__ import annotations

import asyncio
import random
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from _originals import turns

from rwlocks import PhaseFair
from rwlocks.compat import asyncio_multilock
from rwlocks.compat.asyncio_multilock import (
    EventUsedError,
    HandleUsedError,
    LockError,
    MultiLock,
    MultiLockable,
    MultiLockSet,
    MultiLockType,
)
from rwlocks.testing import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks._types import Deadlocks

NONE, SHARED, EXCLUSIVE = KINDS = list(MultiLockType)

one_and_several = pytest.mark.parametrize(
    "make", [MultiLock, lambda: MultiLockSet([MultiLock(), MultiLock(), MultiLock()])], ids=["one", "several"]
)


def type_of(lock: MultiLockable) -> MultiLockType:
    """What is held, asked anew, for type checkers that take an attribute to stay what it was."""
    return lock.locked


# -- names and rules ---------------------------------------------------------------------------------------------------


def test_types_say_what_they_exclude() -> None:
    assert [(each.name, each.value) for each in MultiLockType] == [("NONE", 0), ("SHARED", 1), ("EXCLUSIVE", 2)]
    for held in MultiLockType:
        for wanted in MultiLockType:
            excluded = held is EXCLUSIVE or (held, wanted) == (SHARED, EXCLUSIVE)
            assert (held.excludes(wanted), held.includes(wanted)) == (excluded, not excluded)
            assert MultiLockType.max(held, wanted) is MultiLockType(max(held.value, wanted.value))


def test_errors_have_one_base() -> None:
    assert issubclass(EventUsedError, LockError)
    assert issubclass(HandleUsedError, LockError)
    assert LockError.__bases__ == (Exception,)


def test_a_policy_can_be_chosen_and_is_checked() -> None:
    assert MultiLock().native.policy.name == "reader-pref"
    assert MultiLock(policy=PhaseFair()).native.policy == PhaseFair()
    with pytest.raises(ValueError, match="unknown policy"):
        MultiLock(policy="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@one_and_several
def test_what_is_held_decides_what_is_refused(make: Callable[[], MultiLockable]) -> None:
    for held in MultiLockType:
        for wanted in MultiLockType:
            lock = make()
            assert lock.acquire_nowait(held, "held") == "held"
            assert type_of(lock) is held
            got = lock.acquire_nowait(wanted, "wanted")
            assert got == (None if held.excludes(wanted) else "wanted")
            assert type_of(lock) is (held if got is None else MultiLockType.max(held, wanted))
            lock.release("wanted")
            assert type_of(lock) is held
            lock.release("held")
            assert not type_of(lock)


@one_and_several
def test_an_acquisition_waits_for_what_excludes_it(make: Callable[[], MultiLockable]) -> None:
    async def scenario(held: MultiLockType, wanted: MultiLockType) -> None:
        lock = make()
        await lock.acquire(held, "held")
        waiting = asyncio.create_task(lock.acquire(wanted, "wanted"))
        await turns()
        assert waiting.done() is not held.excludes(wanted)
        lock.release("held")
        assert await waiting == "wanted"
        assert type_of(lock) is wanted
        lock.release("wanted")
        assert not type_of(lock)

    for held in MultiLockType:
        for wanted in MultiLockType:
            asyncio.run(scenario(held, wanted))


def test_an_acquisition_that_need_not_wait_lets_nobody_run() -> None:
    async def scenario() -> None:
        lock = MultiLock()
        ran: list[str] = []
        asyncio.get_running_loop().call_soon(ran.append, "another")
        async with lock.context(EXCLUSIVE):
            assert ran == []

    asyncio.run(scenario())


def test_shared_acquisitions_go_in_while_an_exclusive_one_waits() -> None:
    async def scenario() -> None:
        lock = MultiLock()
        first = await lock.acquire(SHARED)
        exclusive = asyncio.create_task(lock.acquire(EXCLUSIVE))
        await wait_until_parked(lock.native, 1)
        second = await lock.acquire(SHARED)
        lock.release(first)
        lock.release(second)
        lock.release(await exclusive)

    asyncio.run(scenario())


def test_whoever_has_the_handle_releases() -> None:
    async def scenario() -> None:
        lock = MultiLock()
        handle = await asyncio.create_task(lock.acquire(EXCLUSIVE))
        lock.release(handle)
        assert not lock.locked
        for unknown in (handle, "unknown", None, 0):
            lock.release(unknown)

    asyncio.run(scenario())


@pytest.mark.parametrize("deadlocks", ["raise", "strict", "cycles"])
def test_a_task_may_wait_for_what_it_has_acquired_itself(deadlocks: Deadlocks) -> None:
    """Somebody else may release it: here even a circle of waiters is no deadlock."""

    async def scenario() -> None:
        first, second = MultiLock(), MultiLock()
        first.native.deadlocks = second.native.deadlocks = deadlocks

        async def take(*wanted: MultiLockable) -> None:
            for number, lock in enumerate(wanted):
                await lock.acquire(EXCLUSIVE, number)
                await turns()
            wanted[-1].release(len(wanted) - 1)

        both = MultiLockSet([first, second])
        for one, other in [(first, first), (first, both), (both, first), (both, both)]:
            taking = asyncio.create_task(take(one, other))
            await turns()
            await turns()
            one.release(0)
            await taking
        circle = [asyncio.create_task(take(first, second)), asyncio.create_task(take(second, first))]
        await turns()
        await turns()
        first.release(0)
        second.release(0)
        await asyncio.gather(*circle)
        assert (type_of(first), type_of(second)) == (NONE, NONE)

    asyncio.run(scenario())


@one_and_several
def test_a_handle_holds_once(make: Callable[[], MultiLockable]) -> None:
    async def scenario() -> None:
        lock = make()
        handle = lock.acquire_nowait(SHARED)
        assert handle is not None
        with pytest.raises(HandleUsedError, match="give another one"):
            lock.acquire_nowait(SHARED, handle)
        with pytest.raises(HandleUsedError, match="give another one"):
            await lock.acquire(NONE, handle)
        assert lock.acquire_nowait(EXCLUSIVE, handle) is None
        again = asyncio.create_task(lock.acquire(EXCLUSIVE, handle))
        await turns()
        lock.release(handle)
        assert await again is handle
        lock.release(handle)
        assert not lock.locked

    asyncio.run(scenario())


def test_a_handle_that_was_used_meanwhile_is_refused_after_the_wait() -> None:
    async def scenario() -> None:
        lock = MultiLock()
        async with lock.context(EXCLUSIVE):
            both = [asyncio.create_task(lock.acquire(SHARED, "one")) for _ in range(2)]
            await turns()
        with pytest.raises(HandleUsedError):
            await asyncio.gather(*both)
        assert both[0].result() == "one"
        lock.release("one")
        assert not lock.locked

    asyncio.run(scenario())


class Unequal:
    """A handle that cannot be compared with others of its hash."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError


@one_and_several
def test_a_handle_that_cannot_be_kept_leaves_the_lock_free(make: Callable[[], MultiLockable]) -> None:
    lock = make()
    with pytest.raises(TypeError, match="unhashable"):
        lock.acquire_nowait(SHARED, [])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lock.acquire_nowait(SHARED, Unequal())
    with pytest.raises(ZeroDivisionError):
        lock.acquire_nowait(SHARED, 1)
    members = lock if isinstance(lock, MultiLockSet) else [lock]
    assert [each.native.statistics().readers for each in members if isinstance(each, MultiLock)] == [1] * len(members)


def test_a_block_may_be_released_inside() -> None:
    async def scenario() -> None:
        lock = MultiLock()
        async with lock.context(EXCLUSIVE, "mine") as handle:
            assert handle == "mine"
            lock.release(handle)
            assert not lock.locked
            async with lock.context(EXCLUSIVE):
                pass
        with pytest.raises(ZeroDivisionError):
            async with lock.context(SHARED):
                raise ZeroDivisionError
        assert not lock.locked

    asyncio.run(scenario())


def test_a_lock_belongs_to_no_loop() -> None:
    async def use() -> None:
        handle = await lock.acquire(EXCLUSIVE)
        waiting = asyncio.create_task(lock.acquire(SHARED))
        await turns()
        lock.release(handle)
        lock.release(await waiting)

    lock = MultiLock()
    for _ in range(2):
        asyncio.run(use())
    assert not lock.locked


def test_a_lock_that_goes_while_it_is_held_goes_in_silence() -> None:
    lock = MultiLock()
    handles = [lock.acquire_nowait(SHARED), lock.acquire_nowait(SHARED, "mine")]
    native = lock.native
    del lock
    assert native.locked() is None
    still_there = weakref.ref(native)
    del native
    assert still_there() is None
    assert len(handles) == 2


# -- events ------------------------------------------------------------------------------------------------------------


@one_and_several
@pytest.mark.parametrize("wanted", list(MultiLockType))
def test_an_event_is_set_whenever_the_type_could_be_had(
    make: Callable[[], MultiLockable], wanted: MultiLockType
) -> None:
    lock = make()
    with lock.notify(wanted) as event:
        assert event.is_set()
        event.clear()
        lock.acquire_nowait(EXCLUSIVE, "held")
        assert not event.is_set()
        lock.release("held")
        assert event.is_set()
        lock.acquire_nowait(EXCLUSIVE, "held")
        assert event.is_set(), "it is its user's to clear"
        event.clear()
    lock.release("held")
    assert not event.is_set(), "nobody is told after the block"


def test_an_event_is_told_when_somebody_gives_up_who_stood_in_the_way() -> None:
    async def scenario() -> None:
        lock = MultiLock(policy="fifo")
        handle = await lock.acquire(SHARED)
        exclusive = asyncio.create_task(lock.acquire(EXCLUSIVE))
        await turns()
        async with lock.notify(SHARED) as event:
            assert not event.is_set()
            exclusive.cancel()
            await event.wait()
        lock.release(handle)

    asyncio.run(scenario())


def test_an_event_is_told_when_a_handle_is_refused_after_the_wait() -> None:
    async def scenario() -> None:
        lock = MultiLock()
        lock.acquire_nowait(NONE, "used")
        lock.acquire_nowait(EXCLUSIVE, "first")
        waiting = asyncio.create_task(lock.acquire(EXCLUSIVE, "used"))
        await turns()
        with lock.notify(SHARED) as event:
            lock.release("first")
            assert not event.is_set()
            with pytest.raises(HandleUsedError):
                await waiting
            assert event.is_set()

    asyncio.run(scenario())


@one_and_several
def test_an_event_is_told_about_a_lock_once(make: Callable[[], MultiLockable]) -> None:
    async def scenario() -> None:
        lock = make()
        event = asyncio.Event()
        with lock.notify(SHARED, event) as same:
            assert same is event
            for use in (lock.notify(SHARED, event), lock.notify(EXCLUSIVE, event)):
                with pytest.raises(EventUsedError, match="give another event"), use:
                    raise AssertionError("it is told already")
            for wait in (lock.acquire(SHARED, "handle", event), lock.wait(SHARED, event)):
                with pytest.raises(EventUsedError, match="give another event"):
                    await wait
            assert not type_of(lock)
        with lock.notify(EXCLUSIVE, event):
            assert event.is_set()

    asyncio.run(scenario())


def test_a_set_and_its_members_tell_one_event_once() -> None:
    first, second = MultiLock(), MultiLock()
    both = MultiLockSet([first, second])
    event = asyncio.Event()
    for one, other in ((first, second), (second, first)):
        with one.notify(SHARED, event):
            with pytest.raises(EventUsedError), both.notify(SHARED, event):
                raise AssertionError("it is told already")
            with other.notify(SHARED, event):
                pass


def test_a_set_tells_when_all_its_members_could_be_had() -> None:
    first, second = MultiLock(), MultiLock()
    first.acquire_nowait(EXCLUSIVE, "held")
    second.acquire_nowait(EXCLUSIVE, "held")
    with MultiLockSet([first, second]).notify(SHARED) as event:
        first.release("held")
        assert not event.is_set()
        second.release("held")
        assert event.is_set()


@one_and_several
def test_a_wait_ends_when_the_type_could_be_had_or_the_event_is_set(make: Callable[[], MultiLockable]) -> None:
    async def scenario() -> None:
        lock = make()
        await lock.wait(EXCLUSIVE)
        await lock.acquire(EXCLUSIVE, "held")
        event = asyncio.Event()
        waiting = asyncio.create_task(lock.wait(SHARED)), asyncio.create_task(lock.wait(SHARED, event))
        await turns()
        assert [each.done() for each in waiting] == [False, False]
        event.set()
        await waiting[1]
        assert not waiting[0].done()
        lock.release("held")
        await waiting[0]
        assert not lock.locked

    asyncio.run(scenario())


@one_and_several
def test_the_event_of_an_acquisition_ends_clear_and_free(make: Callable[[], MultiLockable]) -> None:
    async def scenario() -> None:
        lock = make()
        event = asyncio.Event()
        await lock.acquire(EXCLUSIVE, "held", event)
        event.set()
        waiting = asyncio.create_task(lock.acquire(EXCLUSIVE, "waiting", event))
        await turns()
        assert not event.is_set()
        event.set()  # changes nothing: the lock is not to be had
        await turns()
        assert not waiting.done()
        lock.release("held")
        assert await waiting == "waiting"
        assert not event.is_set()
        with lock.notify(NONE, event):
            pass
        late = asyncio.create_task(lock.acquire(SHARED, "late", event))
        await turns()
        late.cancel()
        await asyncio.wait([late])
        with lock.notify(NONE, event):
            pass
        lock.release("waiting")

    asyncio.run(scenario())


# -- sets --------------------------------------------------------------------------------------------------------------


def test_a_set_holds_nothing_while_it_waits() -> None:
    async def scenario() -> None:
        first, second = MultiLock(), MultiLock()
        both = MultiLockSet([first, second])
        for busy, free in ((first, second), (second, first)):
            handle = await busy.acquire(EXCLUSIVE)
            waiting = asyncio.create_task(both.acquire(EXCLUSIVE, "both"))
            await turns()
            assert not free.locked
            assert both.acquire_nowait(SHARED) is None
            assert type_of(both) is EXCLUSIVE
            busy.release(handle)
            assert await waiting == "both"
            assert (type_of(first), type_of(second)) == (EXCLUSIVE, EXCLUSIVE)
            free.release("both")
            assert (type_of(busy), type_of(free)) == (EXCLUSIVE, NONE)
            both.release("both")
            assert not type_of(both)

    asyncio.run(scenario())


def test_a_set_that_gives_up_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        first, second = MultiLock(), MultiLock()
        handle = await second.acquire(EXCLUSIVE)
        waiting = asyncio.create_task(MultiLockSet([first, second]).acquire(EXCLUSIVE))
        await turns()
        waiting.cancel()
        await asyncio.wait([waiting])
        second.release(handle)
        assert (type_of(first), type_of(second)) == (NONE, NONE)

    asyncio.run(scenario())


def test_a_set_is_a_frozenset_of_its_locks() -> None:
    first, second = MultiLock(), MultiLock()
    both = MultiLockSet([first, second])
    assert both == frozenset([first, second])
    assert hash(both) == hash(frozenset([first, second]))
    assert sorted(map(id, both)) == sorted([id(first), id(second)])
    assert not MultiLockSet().locked
    number: Any = 1
    with pytest.raises(TypeError):
        _ = both | number


def test_the_protocol_is_for_type_checkers() -> None:
    protocol: Any = MultiLockable
    with pytest.raises(TypeError, match="runtime"):
        isinstance(MultiLock(), protocol)


def test_whatever_is_cancelled_nothing_stays_held() -> None:
    async def scenario(dice: random.Random) -> None:
        locks = [MultiLock(policy=dice.choice(["reader-pref", "fifo"])) for _ in range(3)]
        held: dict[MultiLock, list[MultiLockType]] = {lock: [] for lock in locks}

        async def visit(wanted: MultiLockSet, kind: MultiLockType) -> None:
            for _ in range(3):
                await turns(dice.randint(0, 3))
                async with wanted.context(kind):
                    for lock in wanted:
                        assert not any(other.excludes(kind) for other in held[lock] if other is not NONE)
                        held[lock].append(kind)
                    try:
                        await turns(dice.randint(0, 3))
                    finally:
                        for lock in wanted:
                            held[lock].remove(kind)

        tasks = [
            asyncio.create_task(visit(MultiLockSet(dice.sample(locks, dice.randint(1, 3))), dice.choice(KINDS)))
            for _ in range(8)
        ]
        for task in dice.sample(tasks, 4):
            await turns(dice.randint(0, 3))
            task.cancel()
        done, _ = await asyncio.wait(tasks)
        assert not [task.exception() for task in done if not task.cancelled() and task.exception()]
        assert [(type_of(lock), lock.native.statistics().waiters) for lock in locks] == [(NONE, ())] * 3

    for seed in range(100):
        asyncio.run(scenario(random.Random(seed)))


# -- quickstarts: the calls of the original's text, after a change of the import line ----------------------------------


def test_the_first_quickstart_runs() -> None:
    """Two shared acquisitions, which another task releases, and an exclusive block that waits for that."""

    async def scenario() -> None:
        lock = asyncio_multilock.MultiLock()
        assert not lock.locked
        shared1 = await lock.acquire(asyncio_multilock.MultiLockType.SHARED)
        assert type_of(lock) is asyncio_multilock.MultiLockType.SHARED
        shared2 = await lock.acquire(asyncio_multilock.MultiLockType.SHARED)

        async def release_both() -> None:
            await turns()
            lock.release(shared1)
            lock.release(shared2)

        releasing = asyncio.create_task(release_both())
        async with lock.context(asyncio_multilock.MultiLockType.EXCLUSIVE) as exclusive:
            assert exclusive is not None
            assert type_of(lock) is asyncio_multilock.MultiLockType.EXCLUSIVE
        await releasing

    asyncio.run(scenario())


def test_the_quickstart_without_a_loop_runs() -> None:
    lock = asyncio_multilock.MultiLock()
    assert not lock.locked
    shared: Any = lock.acquire_nowait(asyncio_multilock.MultiLockType.SHARED)
    assert shared
    exclusive: Any = lock.acquire_nowait(asyncio_multilock.MultiLockType.EXCLUSIVE)
    assert not exclusive
    assert type_of(lock) is asyncio_multilock.MultiLockType.SHARED
    lock.release(shared)


def test_the_quickstart_of_the_monitor_runs() -> None:
    """Which raised TypeError on the original (M4)."""

    async def scenario() -> None:
        lock = asyncio_multilock.MultiLock()
        async with lock.notify(asyncio_multilock.MultiLockType.SHARED) as event:
            await event.wait()
            event.clear()
        assert not event.is_set()

    asyncio.run(scenario())
