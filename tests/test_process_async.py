"""Tasks of asyncio and trio that wait for a lock in shared memory: no thread, no blocked loop, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

import anyio
import pytest
from _processes import RECOVERY, Cast, ProcessCore, config, take, until, waiting

from rwlocks import _runtimes
from rwlocks._types import Mode
from rwlocks.backends.process._hold import Hold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rwlocks._ports import AsyncBackend

READ, UPGRADABLE, WRITE = Mode.READ, Mode.UPGRADABLE, Mode.WRITE
pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def cast() -> Iterator[Cast]:
    cast = Cast(ProcessCore.make(config()))
    yield cast
    cast.end()
    cast.core.close()


def running() -> AsyncBackend:
    backend = _runtimes.running()
    assert backend is not None
    return backend


async def acquire(core: ProcessCore, mode: Mode, timeout: float | None = 30) -> Hold | None:
    hold = Hold()
    done = await core.acquire_async(hold, mode, patience=0, timeout=timeout, backend=running())
    return hold if done else None


async def parked(core: ProcessCore, count: int) -> None:
    while waiting(core) != count:  # noqa: ASYNC110 - another process is looked at, which sets no event
        await anyio.sleep(0.001)


async def test_a_task_gets_what_another_process_releases(cast: Cast) -> None:
    holder = cast.holding(WRITE)
    threads = threading.active_count()
    got: list[float] = []

    async def wait() -> None:
        hold = await acquire(cast.core, READ)
        got.append(time.monotonic())
        assert hold is not None
        cast.core.release(hold)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(wait)
        await parked(cast.core, 5)
        assert threading.active_count() == threads
        holder.tell("release")
    assert len(got) == 5


async def test_the_loop_runs_on_while_a_task_waits(cast: Cast) -> None:
    holder = cast.holding(WRITE)

    async def wait() -> None:
        hold = await acquire(cast.core, READ)
        assert hold is not None
        cast.core.release(hold)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await parked(cast.core, 1)
        for _ in range(10):
            await anyio.sleep(0.005)
        assert waiting(cast.core) == 1
        holder.tell("release")


async def test_time_runs_out(cast: Cast) -> None:
    cast.holding(WRITE)
    started = time.monotonic()
    assert await acquire(cast.core, READ, timeout=0.15) is None
    assert time.monotonic() - started >= 0.14
    assert await acquire(cast.core, READ, timeout=0) is None
    assert await acquire(cast.core, READ, timeout=-1) is None
    assert waiting(cast.core) == 0


async def test_cancellation_leaves_nothing_and_lets_those_behind_in(cast: Cast) -> None:
    reader = cast.holding(READ)
    behind = cast.actor()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(acquire, cast.core, WRITE)
            await parked(cast.core, 1)
            behind.ask(READ)
            await parked(cast.core, 2)
            scope.cancel()
    assert await anyio.to_thread.run_sync(behind.done) is True
    assert waiting(cast.core) == 0
    reader.do("release")


async def test_a_wait_leaves_nothing_to_the_collector(cast: Cast) -> None:
    """Neither one that got the lock, nor one that was too late."""

    async def wait(timeout: float) -> None:
        hold = Hold()
        alive.append(weakref.ref(hold))
        if await cast.core.acquire_async(hold, WRITE, patience=0, timeout=timeout, backend=running()):
            cast.core.release(hold)

    alive: list[weakref.ref[Hold]] = []
    mine = await acquire(cast.core, READ)
    assert mine is not None
    gc.disable()
    try:
        await wait(timeout=0.01)
        async with anyio.create_task_group() as group:
            group.start_soon(wait, 30)
            await parked(cast.core, 1)
            cast.core.release(mine)
        assert [reference() for reference in alive] == [None, None]
    finally:
        gc.enable()


async def test_a_dead_holder_is_noticed(cast: Cast) -> None:
    holder = cast.holding(WRITE)
    holds: list[Hold | None] = []
    started = time.monotonic()

    async def wait() -> None:
        holds.append(await acquire(cast.core, WRITE))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await parked(cast.core, 1)
        holder.kill()
        started = time.monotonic()
        while cast.core.snapshot().requests[0].pid == holder.pid:  # noqa: ASYNC110 - as above
            await anyio.sleep(0.001)
    assert time.monotonic() - started < RECOVERY
    assert cast.core.recovered()
    (request,) = cast.core.snapshot().requests
    assert (request.mode, request.held) == (WRITE, True)
    cast.core.mark_consistent()
    assert holds[0] is not None
    cast.core.release(holds[0])


async def test_an_upgrade_waits_for_readers_to_leave(cast: Cast) -> None:
    reader = cast.holding(READ)
    hold = await acquire(cast.core, UPGRADABLE)
    assert hold is not None
    assert not await cast.core.upgrade_async(hold, timeout=0.05, backend=running())
    assert hold.mode is UPGRADABLE
    reader.tell("release")
    assert await cast.core.upgrade_async(hold, timeout=30, backend=running())
    assert hold.mode is WRITE
    cast.core.end_upgrade(hold)
    cast.core.release(hold)


async def test_an_upgrade_is_told_at_the_bell_of_its_own_wait(cast: Cast) -> None:
    """That of its hold may be gone by then, and the loop would be taken for a closed one."""
    writer = cast.holding(WRITE)
    holds: list[Hold | None] = []
    async with anyio.create_task_group() as group:

        async def wait_for_the_hold() -> None:
            holds.append(await acquire(cast.core, UPGRADABLE))

        group.start_soon(wait_for_the_hold)
        await parked(cast.core, 1)
        writer.tell("release")
    (hold,) = holds
    assert hold is not None
    reader = cast.holding(READ)
    upgraded: list[bool] = []
    async with anyio.create_task_group() as group:

        async def upgrade() -> None:
            upgraded.append(await cast.core.upgrade_async(hold, timeout=30, backend=running()))

        group.start_soon(upgrade)
        await parked(cast.core, 1)
        reader.tell("release")
        until(lambda: hold.mode is WRITE)
        cast.core.context.probe(hold.token, True)  # Granted, and not delivered: the loop has not run meanwhile.
    assert upgraded == [True]
    assert hold.mode is WRITE
    cast.core.end_upgrade(hold)
    cast.core.release(hold)


def test_a_closed_loop_holds_up_nobody(cast: Cast) -> None:
    holder = take(cast.core, READ)
    loop = asyncio.new_event_loop()

    async def give_up() -> None:
        task = asyncio.ensure_future(acquire(cast.core, WRITE, None))
        task.set_name("left behind")
        while not waiting(cast.core):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        kept.append(task)

    kept: list[asyncio.Task[Hold | None]] = []
    loop.run_until_complete(give_up())
    loop.close()
    assert waiting(cast.core) == 1
    behind = take(cast.core, READ, timeout=5)
    cast.core.release(behind)
    cast.core.release(holder)
    until(lambda: waiting(cast.core) == 0)
    kept.clear()


def left_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_the_bells_of_the_killed_are_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of locks without a name, which nobody else would ever look for; not what was made just now, or is open."""
    monkeypatch.setenv("RWLOCKS_DIR", str(tmp_path))
    deserted, young, open_one = (tmp_path / f".anonymous.{number}.0-1-1" for number in (1, 2, 3))
    for bell in (deserted, young, open_one):
        os.mkfifo(bell)
    for bell in (deserted, open_one):
        os.utime(bell, (0, 0))
    listening = os.open(open_one, os.O_RDWR | os.O_NONBLOCK)
    core = ProcessCore.make(config())
    holder = Cast(core).holding(WRITE)
    try:
        assert await acquire(core, READ, 0.05) is None
    finally:
        os.close(listening)
        holder.tell("release")
        holder.end()
        core.close()
    assert left_in(tmp_path) == [young, open_one]
