"""The same locks for coroutines, on asyncio and trio. See `rwlocks.compat.readerwriterlock`.

Everything but ``locked()`` is a coroutine here, as it is there: making a handle, too, and releasing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final, runtime_checkable

from rwlocks import Mode, NotHeldError
from rwlocks.compat._anybody import acquire_async
from rwlocks.compat.readerwriterlock._shared import Handle, Lock, check_timeout

if TYPE_CHECKING:
    from types import TracebackType

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


class _Handle(Handle):
    async def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        seconds = None if timeout == -1 or not blocking else check_timeout(timeout)
        guard = self._lock.new_guard(self._mode, seconds)
        try:
            acquired = await acquire_async(guard, seconds) if blocking else guard.try_acquire()
            if acquired:
                self._lock.keep(self._guards, guard)
        except BaseException:
            self._lock.forget(self._guards, guard)
            raise
        return acquired

    async def release(self) -> None:
        if not self._lock.release_last(self._guards):
            raise NotHeldError(RELEASE_ERR_MSG)

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


@final
class _Reader(_Handle):
    _mode = Mode.READ


class _Writer(_Handle):
    _mode = Mode.WRITE


@final
class _WriterD(_Writer):
    async def downgrade(self) -> _Reader:
        reader = _Reader(self._lock)
        if not self._pass_on(reader):
            raise NotHeldError(RELEASE_ERR_MSG)
        return reader


class _Lock(Lock):
    async def gen_rlock(self) -> _Reader:
        """A new handle to read."""
        return _Reader(self)


class _Plain(_Lock):
    async def gen_wlock(self) -> _Writer:
        """A new handle to write."""
        return _Writer(self)


class _Downgradable(_Lock):
    async def gen_wlock(self) -> _WriterD:
        """A new handle to write and then, perhaps, to go on as a reader."""
        return _WriterD(self)


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
