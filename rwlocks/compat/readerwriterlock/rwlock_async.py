"""The same locks for coroutines, on asyncio and trio. See `rwlocks.compat.readerwriterlock`.

Everything but ``locked()`` is a coroutine here, as it is there: making a handle, too, and releasing.
"""

from __future__ import annotations

import time
from math import isnan
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, final, runtime_checkable

from rwlocks import LockTimeout, Mode, NotHeldError, RWLock
from rwlocks._views import View, _Hold
from rwlocks.compat.readerwriterlock.rwlock import pass_on_as_reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rwlocks import Policy
    from rwlocks._types import PolicyName

__all__ = [
    "RELEASE_ERR_CLS",
    "RELEASE_ERR_MSG",
    "Lockable",
    "LockableD",
    "RWLockFair",
    "RWLockFairD",
    "RWLockRead",
    "RWLockReadD",
    "RWLockWrite",
    "RWLockWriteD",
    "RWLockable",
    "RWLockableD",
]

RELEASE_ERR_CLS: Final = RuntimeError
"""What releasing a free handle raises: a `NotHeldError`, which is one."""

RELEASE_ERR_MSG: Final = "Lock is not acquired."
"""Its text, which is that of `asyncio.Lock`."""


@runtime_checkable
class Lockable(Protocol):
    """A handle."""

    async def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire; whether that succeeded. ``timeout`` is in seconds, -1 waits for ever; it does not count without
        ``blocking``.

        Raises ValueError for other negative timeouts and for NaN. A cancelled one has never been.
        """
        ...

    async def release(self) -> None:
        """Give back one acquisition of this handle, from any task. Raises `RELEASE_ERR_CLS` if it has none."""
        ...

    def locked(self) -> bool:
        """Whether this very handle holds the lock."""
        ...

    async def __aenter__(self) -> bool: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...


@runtime_checkable
class LockableD(Lockable, Protocol):
    """A writer's handle of a ``D`` class."""

    async def downgrade(self) -> Lockable:
        """Go on as a reader, with no writer in between: the reader's handle. This one is free from then on.

        Never waits. Raises `RELEASE_ERR_CLS` if this handle holds nothing.
        """
        ...


@runtime_checkable
class RWLockable(Protocol):
    """A lock."""

    async def gen_rlock(self) -> Lockable:
        """A new handle to read."""
        ...

    async def gen_wlock(self) -> Lockable:
        """A new handle to write."""
        ...


@runtime_checkable
class RWLockableD(Protocol):
    """A lock whose writers can go on as readers."""

    async def gen_rlock(self) -> Lockable:
        """A new handle to read."""
        ...

    async def gen_wlock(self) -> LockableD:
        """A new handle to write."""
        ...


class _Handle:
    """One side of a lock, for whoever has this object."""

    _mode: ClassVar[Mode]

    def __init__(self, lock: RWLock) -> None:
        self._lock = lock
        self._view = View(lock, lock._core, self._mode)

    async def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not blocking:
            return self._view.acquire(blocking=False)
        if isnan(timeout) or (timeout < 0 and timeout != -1):
            raise ValueError("timeout value must be a non-negative number")
        core, hold = self._lock._core, _Hold()
        try:
            await core.acquire_async_with(
                core.suspending(), hold, self._view._ownerless(), None if timeout == -1 else timeout
            )
        except LockTimeout:
            return False
        self._view._holds.append(hold)
        return True

    async def release(self) -> None:
        try:
            self._view.release()
        except NotHeldError:
            raise NotHeldError(RELEASE_ERR_MSG) from None

    def locked(self) -> bool:
        return self._view._is_owned()

    async def __aenter__(self) -> bool:
        return await self.acquire()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        await self.release()
        return None

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} {self._mode.value} handle object of {self._lock!r} at {id(self):#x}>"


@final
class _Reader(_Handle):
    _mode = Mode.READ


class _Writer(_Handle):
    _mode = Mode.WRITE


@final
class _WriterD(_Writer):
    async def downgrade(self) -> _Reader:
        reader = _Reader(self._lock)
        try:
            pass_on_as_reader(self._view, reader._view)
        except NotHeldError:
            raise NotHeldError(RELEASE_ERR_MSG) from None
        return reader


class _Lock:
    """What the six classes have in common."""

    _policy: ClassVar[PolicyName]

    def __init__(
        self,
        lock_factory: Callable[[], object] | None = None,
        time_source: Callable[[], float] = time.perf_counter,
        *,
        policy: PolicyName | Policy | None = None,
    ) -> None:
        self._lock = RWLock(self._policy if policy is None else policy)

    @property
    def native(self) -> RWLock:
        """The lock underneath, for all that this one cannot do."""
        return self._lock

    async def gen_rlock(self) -> _Reader:
        """A new handle to read."""
        return _Reader(self._lock)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._lock!r}>"


class _Plain(_Lock):
    async def gen_wlock(self) -> _Writer:
        """A new handle to write."""
        return _Writer(self._lock)


class _Downgradable(_Lock):
    async def gen_wlock(self) -> _WriterD:
        """A new handle to write and then, perhaps, to go on as a reader."""
        return _WriterD(self._lock)


class RWLockRead(_Plain):
    """Readers first: writers may starve."""

    _policy = "reader-pref"


class RWLockWrite(_Plain):
    """Writers first: readers may starve."""

    _policy = "writer-pref"


class RWLockFair(_Plain):
    """By arrival: nobody starves."""

    _policy = "fifo"


class RWLockReadD(_Downgradable):
    """`RWLockRead`, whose writers can go on as readers."""

    _policy = "reader-pref"


class RWLockWriteD(_Downgradable):
    """`RWLockWrite`, whose writers can go on as readers."""

    _policy = "writer-pref"


class RWLockFairD(_Downgradable):
    """`RWLockFair`, whose writers can go on as readers."""

    _policy = "fifo"
