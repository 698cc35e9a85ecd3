"""The locks between processes, and their decorators. See `rwlocks.compat.fasteners`.

All objects of a process for one file share what its threads hold, so that a thread may enter again through another
object, as it always could; and threads keep each other out, as they never did.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import warnings
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from rwlocks import Mode, NotHeldError, ProcessRWLock
from rwlocks._owners import current
from rwlocks.compat.fasteners._holds import Holds

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    from rwlocks import Policy
    from rwlocks._types import PolicyName

__all__ = [
    "InterProcessLock",
    "InterProcessReaderWriterLock",
    "interprocess_locked",
    "interprocess_read_locked",
    "interprocess_write_locked",
]

SUFFIX: Final = ".rwlock"
"""What our file is called after the one that was named: that may be somebody's data."""

F = TypeVar("F", bound="Callable[..., Any]")

_open: weakref.WeakValueDictionary[tuple[int, int], Holds] = weakref.WeakValueDictionary()
"""By the identity of the file, whatever path led there."""


def _holds_at(path: Path, policy: PolicyName | Policy, mode: int) -> Holds:
    """Those of the lock beside that file, which appears as it did with the original."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    ours = path.with_name(path.name + SUFFIX)
    known = _open.get(_identity(ours)) if ours.exists() else None
    if known is not None:
        return known
    holds = Holds(ProcessRWLock(ours, policy, mode=mode), inherits=False)
    # Two threads may come first: all have to use what one of them made.
    return _open.setdefault(_identity(ours), holds)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


class _FileLock:
    """What the two classes have in common."""

    MAX_DELAY: Final = 0.1
    DELAY_INCREMENT: Final = 0.01

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        sleep_func: Callable[[float], object] = time.sleep,
        logger: logging.Logger | None = None,
        *,
        policy: PolicyName | Policy = "reader-pref",
        mode: int = 0o600,
    ) -> None:
        self.path: bytes = os.fsencode(path)
        self.sleep_func = sleep_func
        self.logger = logger
        self._policy: PolicyName | Policy = policy
        self._mode = mode
        self._holds: Holds | None = None
        self._taken: list[tuple[object, Mode, int]] = []
        """What was taken through this object: by whom, how, and in which process."""

    @property
    def native(self) -> ProcessRWLock:
        """The lock underneath, for all that this one cannot do. It is opened at the first use of either."""
        return cast("ProcessRWLock", self._opened().native)

    def _opened(self) -> Holds:
        if self._holds is None:
            self._holds = _holds_at(Path(os.fsdecode(self.path)), self._policy, self._mode)
        return self._holds

    def _take(self, mode: Mode, blocking: bool, delay: float, timeout: float | None) -> bool:
        if delay < 0:
            raise ValueError(f"the delay is {delay!r}; give 0 or more seconds")
        if timeout is not None and timeout < 0:
            raise ValueError(f"the timeout is {timeout!r}; give 0 or more seconds, or None to wait for ever")
        taken = current.thread, mode, os.getpid()
        self._taken.append(taken)
        try:
            acquired = self._opened().take(current.thread, mode, timeout if blocking else 0)
        except BaseException:
            self._taken.remove(taken)
            raise
        if not acquired:
            self._taken.remove(taken)
        return acquired

    def _give_back(self, mode: Mode) -> None:
        live = [taken for taken in self._taken if taken[1:] == (mode, os.getpid())]
        mine = [taken for taken in live if taken[0] is current.thread]
        if not live:
            raise NotHeldError(f"{self!r} does not {mode.value}; release what was acquired, once")
        # Any thread may release, as before; its own first.
        taken = (mine or live)[-1]
        self._opened().give_back(taken[0], mode)
        self._taken.remove(taken)

    @contextmanager
    def _held(self, mode: Mode, delay: float) -> Generator[None]:
        self._take(mode, True, delay, None)
        pid = os.getpid()
        try:
            yield
        finally:
            # In a forked child the hold is the parent's, and so is leaving the block.
            if os.getpid() == pid:
                self._give_back(mode)

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), policy=self._policy, mode=self._mode), (os.fsdecode(self.path),)

    def __del__(
        self, finalizing: Callable[[], bool] = sys.is_finalizing, warn: Callable[..., None] = warnings.warn
    ) -> None:
        # Defaults outlive the interpreter's modules. There may be nothing yet if this could not be made.
        if finalizing() or not vars(self).get("_taken"):
            return
        live = [taken for taken in self._taken if taken[2] == os.getpid()]
        for owner, mode, _ in live:
            self._opened().give_back(owner, mode)
        if live:
            warn(f"{self!r} was dropped while it held {len(live)} times", ResourceWarning, source=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {os.fsdecode(self.path)!r}>"


class InterProcessReaderWriterLock(_FileLock):
    """A reader-writer lock for processes and their threads, by the name of a file; readers first unless told otherwise.

    Args:
        path: the name of the file. The lock itself is in another one beside it, whose name ends in ``.rwlock``.
        sleep_func, logger: taken and not used, and so are the delays of acquisitions: nothing polls here.
        policy, mode: who gets the lock when, and who may use it; as for `rwlocks.ProcessRWLock`.

    Whatever opens the lock raises what `rwlocks.ProcessRWLock` raises.
    """

    def acquire_read_lock(
        self, blocking: bool = True, delay: float = 0.01, max_delay: float = 0.1, timeout: float | None = None
    ) -> bool:
        """Wait until the caller may read, or try once without ``blocking``; whether that came true.

        ``timeout`` is in seconds, None waits for ever. Raises ValueError for a negative one, DeadlockError (a
        RuntimeError) if the caller would wait for itself.
        """
        return self._take(Mode.READ, blocking, delay, timeout)

    def acquire_write_lock(
        self, blocking: bool = True, delay: float = 0.01, max_delay: float = 0.1, timeout: float | None = None
    ) -> bool:
        """Wait until the caller may write; as `acquire_read_lock`. A thread that reads cannot."""
        return self._take(Mode.WRITE, blocking, delay, timeout)

    def release_read_lock(self) -> None:
        """Give one read back. Raises NotHeldError (a RuntimeError) if this object has none."""
        self._give_back(Mode.READ)

    def release_write_lock(self) -> None:
        """Give one write back. Raises NotHeldError (a RuntimeError) if this object has none."""
        self._give_back(Mode.WRITE)

    def read_lock(self, delay: float = 0.01, max_delay: float = 0.1) -> AbstractContextManager[None]:
        """``with lock.read_lock():`` reads."""
        return self._held(Mode.READ, delay)

    def write_lock(self, delay: float = 0.01, max_delay: float = 0.1) -> AbstractContextManager[None]:
        """``with lock.write_lock():`` writes."""
        return self._held(Mode.WRITE, delay)


class InterProcessLock(_FileLock):
    """The writing side alone: as `InterProcessReaderWriterLock`, whose readers and writers of the file it keeps out."""

    @property
    def acquired(self) -> bool:
        """Whether this object has the lock."""
        holds = self._holds
        return holds is not None and any(holds.of(owner) and pid == os.getpid() for owner, _, pid in self._taken)

    def acquire(
        self, blocking: bool = True, delay: float = 0.01, max_delay: float = 0.1, timeout: float | None = None
    ) -> bool:
        """Wait until the caller has the lock alone, or try once without ``blocking``; whether that came true.

        ``timeout`` is in seconds, None waits for ever. Raises ValueError for a negative one, DeadlockError (a
        RuntimeError) if the caller would wait for itself.
        """
        return self._take(Mode.WRITE, blocking, delay, timeout)

    def release(self) -> None:
        """Give it back once. Raises NotHeldError (a RuntimeError) if this object does not have it."""
        self._give_back(Mode.WRITE)

    def exists(self) -> bool:
        """Whether the file that the lock was named by exists."""
        return Path(os.fsdecode(self.path)).exists()

    def __enter__(self) -> Self:
        self._take(Mode.WRITE, True, 0, None)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # In a forked child the hold is the parent's, and so is leaving the block.
        if not self._taken or self.acquired:
            self._give_back(Mode.WRITE)


def _decorator(enter: Callable[[], AbstractContextManager[Any]]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with enter():
                return function(*args, **kwargs)

        return cast("F", wrapper)

    return decorate


def interprocess_read_locked(path: str | os.PathLike[str]) -> Callable[[F], F]:
    """Decorate a function that reads what the lock of that file protects."""
    return _decorator(InterProcessReaderWriterLock(path).read_lock)


def interprocess_write_locked(path: str | os.PathLike[str]) -> Callable[[F], F]:
    """Decorate a function that writes what the lock of that file protects."""
    return _decorator(InterProcessReaderWriterLock(path).write_lock)


def interprocess_locked(path: str | os.PathLike[str]) -> Callable[[F], F]:
    """Decorate a function that needs the lock of that file alone."""
    lock = InterProcessLock(path)
    return _decorator(lambda: lock)
