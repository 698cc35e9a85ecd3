"""The names of aiorwlock 1.5.1: ``from rwlocks.compat import aiorwlock`` instead of ``import aiorwlock``.

Who gets the lock, and at which turn of the loop, is as on the original: writer preference with hand-off, all waiting
readers together when no writer waits, ownership by task, re-entrancy of read in read, write in write and read in write,
and one turn for others after an acquisition that need not wait, unless ``fast=True``.

    ===================================  ============================================================================
    name                                 quirk that is kept
    ===================================  ============================================================================
    ``RWLock(*, fast=False)``            keyword-only; may be made where no loop runs
    ``.reader``, ``.writer``             always the same two objects; also ``.reader_lock``, ``.writer_lock``
    ``.reader.acquire()``                a coroutine; ``.release()`` is none
    ``.reader.locked``                   a property, of the whole lock: somebody reads, not "I read"
    ``async with lock.reader``           enters with None; a plain ``with`` raises RuntimeError
    ``repr``                             ``<RWLock: <ReaderLock: [locked]> <WriterLock: [unlocked]>>``
    RuntimeError                         a release by a task that does not hold that side ("Cannot release an
                                         un-acquired lock"), a write inside a read ("Cannot upgrade RWLock from read to
                                         write"), another loop ("is bound to a different event loop"), no task
    AssertionError                       no task: the error for that is both
    ``__version__``                      ``"1.5.1"``, what this module stands for; ``RWLock.core`` is a native class
    ===================================  ============================================================================

Spellings of its past still work, each with a DeprecationWarning that names today's: ``RWLock(loop=...)`` (until 1.2),
``with await lock.reader`` and ``yield from lock.reader`` (until 0.5), ``await lock.reader.release()`` (0.0.1).

Of its defects are gone:

    ===  ==============================================================================================================
    D1   a reader behind a cancelled writer goes in at once, and before later readers
    D2   releasing the write inside of which one reads lets the waiting readers in
    D3   readers starve under writers without end only as long as nobody asks for another policy: ``policy="fifo"``
    D4   a task that ends while it holds is kept alive by nobody; there is a warning, and whoever waits gets an error
    D5   a coroutine closed between its grant and its turn holds nothing
    D6   thousands of readers cost a constant time each
    D7   locks can be referenced weakly, and have attributes
    D8   ``lock.native`` has tries, timeouts, holders and the number of those who wait
    D9   a lock that nobody uses follows to whatever loop uses it next
    D10  ``acquire()`` returns True, as that of asyncio's locks does
    ===  ==============================================================================================================

And ``asyncio.wait_for(lock.reader.acquire(), 1)``, which before Python 3.12 acquires in a task of its own: a hold whose
task was nothing but the acquisition is nobody's, and any task may release it; but nobody can enter again inside of it.
"""

from __future__ import annotations

import asyncio
import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, final
from weakref import ref

import rwlocks
from rwlocks import DeadlockError, Mode, NotHeldError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from rwlocks import Policy, ReadGuard, WriteGuard
    from rwlocks._types import PolicyName

__all__ = ["RWLock"]

__version__ = "1.5.1"

_NOT_GIVEN: Final = object()
_running_loop: Final = asyncio._get_running_loop  # documented, and the one that does not raise


class NoTaskError(RuntimeError, AssertionError):
    """There is no running task that could hold a lock. The original raised one of these in one place, one in others."""


class RWLock:
    """A reader-writer lock for the tasks of one event loop at a time. For what is kept, see this module.

    Args:
        fast: whether an acquisition that need not wait goes on at once, instead of letting other tasks run first.
        policy: who gets the lock when; as for `rwlocks.RWLock`.
        loop: ignored, and deprecated.

    Raises what `rwlocks.RWLock` raises for an unknown policy.
    """

    core: ClassVar[type[rwlocks.RWLock]] = rwlocks.RWLock
    """What does the work."""

    def __init__(
        self, *, fast: bool = False, policy: PolicyName | Policy = "writer-pref", loop: object = _NOT_GIVEN
    ) -> None:
        if loop is not _NOT_GIVEN:
            _deprecate("RWLock(loop=...) is deprecated: a lock needs no loop; write RWLock()")
        native = self.core(policy, reentrant=True)
        state = _State(native, fast=fast)
        self._reader = ReaderLock(state)
        self._writer = WriterLock(state)

    @property
    def reader(self) -> ReaderLock:
        """The side for those who share."""
        return self._reader

    @property
    def writer(self) -> WriterLock:
        """The side for those who must be alone."""
        return self._writer

    @property
    def reader_lock(self) -> ReaderLock:
        """The same as `reader`."""
        return self._reader

    @property
    def writer_lock(self) -> WriterLock:
        """The same as `writer`."""
        return self._writer

    @property
    def native(self) -> rwlocks.RWLock:
        """The lock underneath, with all that `rwlocks.RWLock` offers. Both may be used at the same time."""
        return self._reader._state.native

    def __repr__(self) -> str:
        return f"<RWLock: {self._reader!r} {self._writer!r}>"


@final
class _State:
    """What both sides of a lock share. It knows neither of them, so that a lock that is dropped goes at once."""

    def __init__(self, native: rwlocks.RWLock, *, fast: bool) -> None:
        self.native = native
        self.fast = fast
        self.loop: asyncio.AbstractEventLoop | None = None
        # Not by the ids of tasks, which are given out again. A guard that goes with its task reports itself.
        self.reading: dict[ref[asyncio.Task[Any]], list[ReadGuard | WriteGuard]] = {}
        self.writing: dict[ref[asyncio.Task[Any]], list[ReadGuard | WriteGuard]] = {}

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on the lock is used by the tasks of that loop. Raises RuntimeError while others use it."""
        if self.loop is not None and not self.loop.is_closed() and self.native.locked():
            raise RuntimeError(
                f"{self.native!r} is bound to a different event loop, whose tasks hold it; wait until they have "
                "released it, or use lock.native, which is bound to none"
            )
        self.loop = loop


class _Side(ABC):
    """One side of a lock."""

    def __init__(self, state: _State, held: dict[ref[asyncio.Task[Any]], list[ReadGuard | WriteGuard]]) -> None:
        self._state = state
        self._held = held
        self._nobodys: list[ReadGuard | WriteGuard] = []

    @property
    @abstractmethod
    def locked(self) -> bool:
        """Whether anybody holds this side of the lock."""

    @abstractmethod
    def _guard(self, task: asyncio.Task[Any]) -> ReadGuard | WriteGuard:
        """A guard for this side. Raises DeadlockError if the task could never get it."""

    async def acquire(self) -> bool:
        """Wait until the running task holds this side of the lock, and return True. It may hold it already.

        Raises:
            RuntimeError: the task holds the other side in a way that excludes this, or a task of another loop holds it.
            NoTaskError: no task runs here.
            DeadlockError: who held the lock has ended without releasing it.
        """
        task = _running_task()
        loop = task.get_loop()
        if loop is not self._state.loop:
            self._state.bind(loop)
        guard = self._guard(task)
        if guard.try_acquire():
            self._keep(task, guard)
            if not self._state.fast:
                try:
                    await asyncio.sleep(0)
                except BaseException:
                    self._give_back(task)
                    raise
        else:
            await guard
            self._keep(task, guard)
        return True

    def release(self) -> None:
        """Give back one acquisition of the running task.

        Raises NotHeldError (a RuntimeError) if it has none of this side, and NoTaskError if no task runs here.
        """
        task = _running_task()
        if not self._give_back(task):
            if task.get_loop() is not self._state.loop:
                self._state.bind(task.get_loop())
            raise NotHeldError(
                f"Cannot release an un-acquired lock: {task.get_name()} does not hold {self!r}; "
                "release in the task that has acquired"
            )
        return _RELEASED  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  nobody else is to use it

    def _keep(self, task: asyncio.Task[Any], guard: ReadGuard | WriteGuard) -> None:
        held = self._held.get(ref(task))
        if held is not None:
            held.append(guard)
        elif getattr(task.get_coro(), "cr_code", None) is _ACQUIRE:
            # The task is nothing but this acquisition, and can release nothing: `wait_for` makes such tasks.
            self._nobodys.append(guard)
        else:
            self._held[ref(task, self._held.pop)] = [guard]
            task.add_done_callback(self._end)

    def _give_back(self, task: asyncio.Task[Any]) -> bool:
        """Release the latest acquisition of the task, or else one that is nobody's; False if there is neither."""
        mine = ref(task)
        held = self._held.get(mine, self._nobodys)
        if not held:
            return False
        guard = held.pop()
        if not held and held is not self._nobodys:
            task.remove_done_callback(self._end)
            del self._held[mine]
        guard.release()
        return True

    def _end(self, task: asyncio.Task[Any]) -> None:
        """The task has ended and holds still. Its guards are dropped, of which they warn and tell who waits."""
        self._held.pop(ref(task), None)

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def __enter__(self) -> NoReturn:
        raise RuntimeError('"await" should be used as context manager expression; write "async with"')

    def __exit__(self, *args: object) -> NoReturn:
        raise AssertionError("there is no way into this block")

    def __await__(self) -> Generator[Any, None, _Acquired]:
        _deprecate(
            '"with await lock.reader" and "yield from lock.reader" are deprecated; write "async with lock.reader"'
        )
        return self._acquired().__await__()

    __iter__ = __await__

    async def _acquired(self) -> _Acquired:
        await self.acquire()
        return _Acquired(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{'locked' if self.locked else 'unlocked'}]>"


@final
class ReaderLock(_Side):
    """The side of a lock for those who share it."""

    def __init__(self, state: _State) -> None:
        super().__init__(state, state.reading)

    @property
    def locked(self) -> bool:
        mode = self._state.native.locked()
        return mode is not None and (mode is not Mode.WRITE or bool(self._held))

    def _guard(self, task: asyncio.Task[Any]) -> ReadGuard:
        return self._state.native.read()


@final
class WriterLock(_Side):
    """The side of a lock for those who must be alone."""

    def __init__(self, state: _State) -> None:
        super().__init__(state, state.writing)

    @property
    def locked(self) -> bool:
        return self._state.native.locked() is Mode.WRITE

    def _guard(self, task: asyncio.Task[Any]) -> WriteGuard:
        mine = ref(task)
        if mine in self._state.reading and mine not in self._held:
            raise DeadlockError(
                f"Cannot upgrade RWLock from read to write: {task.get_name()} would wait for its own read; "
                "release that first, or use lock.native.upgradable()"
            )
        return self._state.native.write()


_ACQUIRE: Final = _Side.acquire.__code__


class _Acquired:
    """What awaiting a side once returned: a block that releases."""

    def __init__(self, side: _Side) -> None:
        self._side = side

    def __enter__(self) -> None:
        pass

    def __exit__(self, *args: object) -> None:
        self._side.release()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *args: object) -> None:
        self._side.release()


class _Released:
    """What a release returns, because once it was a coroutine. As false as the None that it stands for."""

    def __bool__(self) -> bool:
        return False

    def __await__(self) -> Generator[Any, None, None]:
        _deprecate('"await lock.reader.release()" is deprecated; write "lock.reader.release()"')
        return _no_steps()

    __iter__ = __await__


def _no_steps() -> Generator[Any, None, None]:
    yield from ()


_RELEASED: Final = _Released()


def _running_task() -> asyncio.Task[Any]:
    loop = _running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    if task is None:
        raise NoTaskError(
            "no task runs here, or there is no current event loop; use the lock in a task, or lock.native anywhere"
        )
    return task


def _deprecate(message: str) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=3)
