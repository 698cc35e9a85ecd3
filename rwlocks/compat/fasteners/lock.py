"""The lock for threads, and the decorators. See `rwlocks.compat.fasteners`."""

from __future__ import annotations

import functools
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast, overload

from rwlocks import Mode, RWLock
from rwlocks.compat.fasteners._holds import Holds

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from typing import Self

    from rwlocks import Policy
    from rwlocks._types import PolicyName

__all__ = ["ReaderWriterLock", "locked", "read_locked", "try_lock", "write_locked"]

F = TypeVar("F", bound="Callable[..., Any]")


class ReaderWriterLock:
    """A re-entrant lock for threads, writers first unless ``policy`` says otherwise.

    An owner may read while it reads or writes, and write while it writes. A reader that wants to write is refused.
    ``condition_cls`` is taken and not used; ``current_thread_functor()`` says whose the lock is to be.
    """

    WRITER: Final = "w"
    """What `owner` is while somebody writes."""

    READER: Final = "r"
    """What `owner` is while somebody reads."""

    def __init__(
        self,
        condition_cls: object = threading.Condition,
        current_thread_functor: Callable[[], object] = threading.current_thread,
        *,
        policy: PolicyName | Policy = "writer-pref",
    ) -> None:
        self._lock = RWLock(policy)
        self._holds = Holds(self._lock, inherits=True)
        self._current_thread = current_thread_functor

    # -- looking -----------------------------------------------------------------------------------------------

    @property
    def native(self) -> RWLock:
        """The lock underneath, for all that this one cannot do."""
        return self._lock

    @property
    def has_pending_writers(self) -> bool:
        """Whether somebody waits to write."""
        return self._lock.statistics().waiting_writers > 0

    @property
    def owner(self) -> str | None:
        """`WRITER`, `READER`, or None when the lock is free."""
        held = self._lock.locked()
        if held is None:
            return None
        return self.WRITER if held is Mode.WRITE else self.READER

    def is_writer(self, check_pending: bool = True) -> bool:
        """Whether the caller writes or, with ``check_pending``, waits to."""
        hold = self._holds.wish(self._current_thread())
        return hold is not None and (hold.writes > 0 or (check_pending and hold.wish is Mode.WRITE and not hold.reads))

    def is_reader(self) -> bool:
        """Whether the caller reads, perhaps inside of a write."""
        hold = self._holds.of(self._current_thread())
        return hold is not None and hold.reads > 0

    # -- acquiring and releasing -------------------------------------------------------------------------------

    def acquire_read_lock(self) -> None:
        """Wait until the caller may read; at once if it reads or writes already."""
        self._holds.take(self._current_thread(), Mode.READ)

    def release_read_lock(self) -> None:
        """Give one read back. Raises NotHeldError (a RuntimeError) if the caller does not read."""
        self._holds.give_back(self._current_thread(), Mode.READ)

    def acquire_write_lock(self) -> None:
        """Wait until the caller may write; at once if it writes already.

        Raises DeadlockError (a RuntimeError) if the caller only reads: it would wait for itself.
        """
        self._holds.take(self._current_thread(), Mode.WRITE)

    def release_write_lock(self) -> None:
        """Give one write back; whoever still reads inside of the last one goes on as a reader.

        Raises NotHeldError (a RuntimeError) if the caller does not write.
        """
        self._holds.give_back(self._current_thread(), Mode.WRITE)

    @contextmanager
    def read_lock(self) -> Generator[Self]:
        """``with lock.read_lock():`` reads."""
        self.acquire_read_lock()
        try:
            yield self
        finally:
            self.release_read_lock()

    @contextmanager
    def write_lock(self) -> Generator[Self]:
        """``with lock.write_lock():`` writes. Raises DeadlockError (a RuntimeError) if the caller only reads."""
        self.acquire_write_lock()
        try:
            yield self
        finally:
            self.release_write_lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._lock!r}>"


# -- decorators --------------------------------------------------------------------------------------------------------


class _Decorator(Protocol):
    """A decorator of methods, with or without arguments."""

    @overload
    def __call__(self, method: F, /) -> F: ...

    @overload
    def __call__(self, *, lock: str = "_lock") -> Callable[[F], F]: ...


def _decorator(name: str, doc: str, enter: Callable[[Any], AbstractContextManager[Any]]) -> _Decorator:
    def decorate(method: Callable[..., Any], attribute: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            with enter(getattr(self, attribute)):
                return method(self, *args, **kwargs)

        return wrapper

    def decorator(method: Callable[..., Any] | None = None, /, *, lock: str = "_lock") -> Any:
        return functools.partial(decorate, attribute=lock) if method is None else decorate(method, lock)

    decorator.__name__ = decorator.__qualname__ = name
    decorator.__doc__ = doc
    return cast("_Decorator", decorator)


@contextmanager
def _each_of(lock: Any) -> Generator[None]:
    with ExitStack() as stack:
        for each in cast("list[Any]", lock) if isinstance(lock, (list, tuple)) else [lock]:
            stack.enter_context(each)
        yield


read_locked: Final = _decorator(
    "read_locked",
    "Decorate a method that reads; its `ReaderWriterLock` is ``self._lock``, or the attribute named by ``lock=``.",
    lambda lock: lock.read_lock(),
)

write_locked: Final = _decorator(
    "write_locked",
    "Decorate a method that writes; its `ReaderWriterLock` is ``self._lock``, or the attribute named by ``lock=``.",
    lambda lock: lock.write_lock(),
)

locked: Final = _decorator(
    "locked",
    "Decorate a method that needs ``self._lock``, or the attribute named by ``lock=``: whatever can be entered with "
    "``with``, or a list or tuple of such locks, to be taken in this order.",
    _each_of,
)


@contextmanager
def try_lock(lock: Any) -> Generator[bool]:
    """``with try_lock(lock) as acquired:`` never waits; ``lock`` is anything with the methods of `threading.Lock`."""
    acquired = bool(lock.acquire(blocking=False))
    try:
        yield acquired
    finally:
        if acquired:
            lock.release()
