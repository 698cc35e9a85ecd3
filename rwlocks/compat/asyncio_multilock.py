"""The names of asyncio-multilock 0.2.0: ``from rwlocks.compat import asyncio_multilock``.

A lock of shared and exclusive acquisitions that are told apart by handles: whoever has the handle may release. No task
owns anything, nothing is re-entrant, and acquisitions that need not wait do not let others run.

    ===========================================  =====================================================================
    name                                         quirk that is kept
    ===========================================  =====================================================================
    ``MultiLockType``                            NONE, SHARED, EXCLUSIVE; ``max(a, b)``, ``excludes``, ``includes``
    ``MultiLock()``                              may be made where no loop runs
    ``.locked``                                  the strongest type held; false when free (NONE, in 0.1.0 None)
    ``.acquire_nowait(type, handle=None)``       the handle, or None when refused; HandleUsedError if that handle holds
                                                 already, but only where it would not have been refused anyway
    ``.acquire(type, handle=None, event=None)``  a coroutine; returns the very handle that was given
    ``.release(handle)``                         a handle that holds nothing is fine
    ``.context(type, handle=None, event=None)``  an async block that gives the handle; may be released inside already
    ``.notify(type, event=None)``                a block that gives an `asyncio.Event`, set whenever that type could be
                                                 had; it stays set until its user clears it. EventUsedError
    ``.wait(type, event)``                       until that type could be had, or somebody sets the event
    ``MultiLockSet(locks)``                      a frozenset of locks that is acquired all or nothing, and holds none
                                                 while it waits; its handle may be released on one member alone
    ``MultiLockable``                            the protocol of both, not for isinstance
    ``LockError``                                an Exception; EventUsedError and HandleUsedError are such
    ``MultiLockType.NONE``                       waits for an exclusive holder only, and keeps nobody out
    ===========================================  =====================================================================

Who gets the lock when is reader preference, with its consequence: shared acquisitions go in while an exclusive one
waits, which may starve. The original let everybody who waits race whenever something was released; an exclusive
acquisition that was first in that race now comes after the shared ones that wait with it.

Of its defects are gone:

    ===  ==============================================================================================================
    M1   a set waits, and lets others run, also when one member is free and another is not
    M2   a set that is refused takes nothing away from others, and leaves nothing behind
    M3   false handles such as 0 and "" are handles
    M4   ``async with lock.notify(...)`` works, and so does ``with``
    M5   a release wakes only those who get the lock: many who wait cost a constant time each
    M6   a newcomer overtakes nobody to whom the lock was handed; exclusive acquisitions starve only as long as nobody
         asks for another policy: ``policy="fifo"``
    M7   what is no type raises TypeError at once, and changes nothing
    M8   ``strict=True`` raises NotHeldError for a handle that holds nothing
    M9   operators on sets return sets of locks, ``wait`` needs no event, and the wait of an empty set ends
    M10  a handle that was made here and is lost is reported, and whoever waits for it gets DeadlockError;
         ``lock.native.statistics()`` names the task that has acquired
    ===  ==============================================================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import Event
from contextlib import asynccontextmanager
from enum import IntEnum
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, Protocol, final
from weakref import ref

import rwlocks
from rwlocks import DeadlockError, Mode, NotHeldError, acquire_all

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Iterable
    from collections.abc import Set as AbstractSet

    from rwlocks import Policy, ReadGuard, WriteGuard
    from rwlocks._types import PolicyName

__all__ = [
    "EventUsedError",
    "HandleUsedError",
    "LockError",
    "MultiLock",
    "MultiLockSet",
    "MultiLockType",
    "MultiLockable",
]


class LockError(Exception):
    """What the errors of this module have in common."""


class EventUsedError(LockError):
    """The event is told about this lock already."""


class HandleUsedError(LockError):
    """The handle holds this lock already."""


class MultiLockType(IntEnum):
    """How a lock is acquired, and held."""

    NONE = 0
    """Kept out by an exclusive holder, and keeps out nobody."""

    SHARED = 1
    """Beside others that share."""

    EXCLUSIVE = 2
    """Alone."""

    @staticmethod
    def max(a: MultiLockType, b: MultiLockType) -> MultiLockType:
        """The stronger of two."""
        return max(a, b)

    def excludes(self, other: MultiLockType) -> bool:
        """Whether the other cannot be acquired while this is held."""
        return self is MultiLockType.EXCLUSIVE or (self is MultiLockType.SHARED and other is MultiLockType.EXCLUSIVE)

    def includes(self, other: MultiLockType) -> bool:
        """Whether the other can be acquired while this is held."""
        return not self.excludes(other)


_TYPES: Final = {
    None: MultiLockType.NONE,
    Mode.READ: MultiLockType.SHARED,
    Mode.UPGRADABLE: MultiLockType.SHARED,
    Mode.WRITE: MultiLockType.EXCLUSIVE,
}
# What has to be waited for.
_MODES: Final = {
    MultiLockType.NONE: Mode.READ,
    MultiLockType.SHARED: Mode.READ,
    MultiLockType.EXCLUSIVE: Mode.WRITE,
}


class MultiLockable(Protocol):
    """What `MultiLock` and `MultiLockSet` have in common."""

    @property
    def locked(self) -> MultiLockType:
        """The strongest type held."""
        ...

    def acquire_nowait(self, type: MultiLockType, handle: Hashable | None = None, /) -> Hashable | None:
        """Acquire if that needs no waiting; the handle, or None."""
        ...

    async def acquire(
        self, type: MultiLockType, handle: Hashable | None = None, event: Event | None = None, /
    ) -> Hashable:
        """Wait until it is acquired; the handle."""
        ...

    def release(self, handle: Hashable, /) -> None:
        """Give back what the handle holds."""
        ...

    def notify(self, type: MultiLockType, event: Event | None = None, /) -> Notification:
        """A block with an event that is set whenever the type could be acquired."""
        ...

    async def wait(self, type: MultiLockType, event: Event | None = None, /) -> None:
        """Wait until the type could be acquired."""
        ...


class _Handle:
    """A handle for those who bring none. Whoever loses it has lost what it holds."""

    __slots__ = ("__weakref__",)


def _key_of(handle: Hashable) -> Hashable:
    return ref(handle) if isinstance(handle, _Handle) else handle


class _Lockable(ABC):
    """The common half of a lock and a set of locks: a lock is a set of one."""

    __slots__ = ()

    @abstractmethod
    def _members(self) -> tuple[MultiLock, ...]:
        """The locks that are acquired together."""

    @property
    def locked(self) -> MultiLockType:
        """The strongest type held, `MultiLockType.NONE` (false) when nothing is."""
        return reduce(MultiLockType.max, [_TYPES[each.native.locked()] for each in self._members()], MultiLockType.NONE)

    def acquire_nowait(self, type: MultiLockType, handle: Hashable | None = None) -> Hashable | None:
        """Acquire if that needs no waiting: the handle, a new one if None was given; or None when refused.

        Raises HandleUsedError if the handle holds already, TypeError for a handle that cannot be hashed and for what
        is no type.
        """
        attempt = _Attempt(self._members(), type, handle)
        return attempt.keep() if attempt.wish.try_acquire() else None

    async def acquire(
        self, type: MultiLockType, handle: Hashable | None = None, event: Event | None = None
    ) -> Hashable:
        """Wait until it is acquired, and return the handle, a new one if None was given.

        ``event`` is set, while this waits, whenever the type could be had. Raises what `acquire_nowait` raises,
        EventUsedError if the event is told about this lock already, DeadlockError if a handle that holds was lost.
        """
        attempt = _Attempt(self._members(), type, handle)
        if event is None:
            return await attempt.wait()
        with self.notify(type, event):
            event.clear()
            kept = await attempt.wait()
        event.clear()
        return kept

    def release(self, handle: Hashable) -> None:
        """Give back what the handle holds. Callable by any task.

        A handle that holds nothing is fine, unless a lock is strict: then NotHeldError (a RuntimeError).
        """
        members = self._members()
        held = [each._drop(handle) for each in members]
        if not any(held) and any(each.strict for each in members):
            raise NotHeldError(f"the handle {handle!r} holds nothing here; release each acquisition once")

    @asynccontextmanager
    async def context(
        self, type: MultiLockType, handle: Hashable | None = None, event: Event | None = None
    ) -> AsyncGenerator[Hashable]:
        """A block that holds what `acquire` acquires, and gives the handle. It may be released inside already."""
        kept = await self.acquire(type, handle, event)
        try:
            yield kept
        finally:
            for each in self._members():
                each._drop(kept)

    def notify(self, type: MultiLockType, event: Event | None = None) -> Notification:
        """A block, sync or async, with an event that is set whenever the type could be acquired. Advice only.

        It is set on entry, too, if that is so then; only its user clears it. Entering raises EventUsedError if the
        event is told about this lock already.
        """
        return Notification(self._members(), type, event)

    async def wait(self, type: MultiLockType, event: Event | None = None) -> None:
        """Wait until the type could be acquired. Somebody else may be faster. Raises what `notify` raises."""
        with self.notify(type, event) as told:
            await told.wait()


class MultiLock(_Lockable):
    """A lock of shared and exclusive acquisitions.

    Args:
        policy: who gets the lock when; as for `rwlocks.RWLock`.
        strict: whether releasing a handle that holds nothing raises NotHeldError.

    Raises what `rwlocks.RWLock` raises for an unknown policy.
    """

    def __init__(self, *, policy: PolicyName | Policy = "reader-pref", strict: bool = False) -> None:
        # By handle, see `_key_of`; None for what keeps nobody out. A guard that goes with its handle reports itself.
        # This comes first, so that the finaliser of a lock refused for its policy finds it.
        self._held: dict[Hashable, ReadGuard | WriteGuard | None] = {}
        self._told: dict[Event, Callable[[], bool]] = {}
        self._native = rwlocks.RWLock(policy, checkpoint="never")
        self.strict = strict

    @property
    def native(self) -> rwlocks.RWLock:
        """The lock underneath, to look at. What is acquired there tells no event when it is released."""
        return self._native

    def _members(self) -> tuple[MultiLock, ...]:
        return (self,)

    def _keep(self, handle: Hashable, guard: ReadGuard | WriteGuard | None) -> None:
        key = ref(handle, self._held.pop) if isinstance(handle, _Handle) else handle
        self._held[key] = guard

    def _drop(self, handle: Hashable) -> bool:
        """Release; False if the handle holds nothing."""
        try:
            guard = self._held.pop(_key_of(handle))
        except KeyError:
            return False
        if guard is not None:
            guard.release()
            self._tell()
        return True

    def _disown(self) -> None:
        for guard in list(self._held.values()):
            if guard is not None and guard.held:
                guard.detach()

    def _tell(self) -> None:
        for event, could in list(self._told.items()):
            if not event.is_set() and could():
                event.set()

    def __del__(self) -> None:
        # Nobody is left who could wait, so that nobody need be warned of what is still held.
        for guard in list(self._held.values()):
            if guard is not None and guard.held:
                guard.release()
        self._held.clear()


class MultiLockSet(_Lockable, frozenset[MultiLock]):
    """Several locks that are acquired together, all or nothing; operators on it return such sets."""

    __slots__ = ()

    def _members(self) -> tuple[MultiLock, ...]:
        return tuple(self)

    def copy(self) -> MultiLockSet:
        return self

    def union(self, *others: Iterable[Any]) -> MultiLockSet:
        return MultiLockSet(super().union(*others))

    def intersection(self, *others: Iterable[object]) -> MultiLockSet:
        return MultiLockSet(super().intersection(*others))

    def difference(self, *others: Iterable[object]) -> MultiLockSet:
        return MultiLockSet(super().difference(*others))

    def symmetric_difference(self, other: Iterable[Any], /) -> MultiLockSet:
        return MultiLockSet(super().symmetric_difference(other))

    def __or__(self, other: AbstractSet[Any], /) -> MultiLockSet:
        return _as_locks(super().__or__(other))

    def __and__(self, other: AbstractSet[object], /) -> MultiLockSet:
        return _as_locks(super().__and__(other))

    def __sub__(self, other: AbstractSet[object], /) -> MultiLockSet:
        return _as_locks(super().__sub__(other))

    def __xor__(self, other: AbstractSet[Any], /) -> MultiLockSet:
        return _as_locks(super().__xor__(other))


@final
class Notification:
    """A block, sync or async, in which an event is told of locks that could be acquired."""

    __slots__ = ("_event", "_members", "_mode")

    def __init__(self, members: Collection[MultiLock], type: MultiLockType, event: Event | None) -> None:
        self._members = members
        self._mode = _mode_of(type)
        self._event = Event() if event is None else event

    def __enter__(self) -> Event:
        event = self._event
        for each in self._members:
            if event in each._told:
                raise EventUsedError(f"{event!r} is told about {each!r} already; give another event, or none")
        for each in self._members:
            each._told[event] = self._could
        if self._could():
            event.set()
        return event

    def __exit__(self, *args: object) -> None:
        for each in self._members:
            del each._told[self._event]

    async def __aenter__(self) -> Event:
        return self.__enter__()

    async def __aexit__(self, *args: object) -> None:
        self.__exit__()

    def _could(self) -> bool:
        return all(each.native.acquirable(self._mode) for each in self._members)


@final
class _Attempt:
    """One acquisition of some locks for one handle."""

    __slots__ = ("_guards", "_handle", "_members", "_stays", "wish")

    def __init__(self, members: tuple[MultiLock, ...], type: MultiLockType, handle: Hashable | None) -> None:
        writes = _mode_of(type) is Mode.WRITE
        self._members = members
        self._handle = _Handle() if handle is None else handle
        self._stays = type != MultiLockType.NONE
        self._guards = [each.native.write() if writes else each.native.read() for each in members]
        self.wish = self._guards[0] if len(self._guards) == 1 else acquire_all(*self._guards)

    async def wait(self) -> Hashable:
        try:
            if not self.wish.try_acquire():
                await self._wait()
        except BaseException:
            for each in self._members:
                each._tell()  # What gives up its place in a queue makes room for those behind it.
            raise
        return self.keep()

    async def _wait(self) -> None:
        try:
            await self.wish
        except DeadlockError:
            # Here holds belong to handles, not to the tasks that acquired them. To say so takes longer than a whole
            # acquisition, and matters only now that a task would wait for what it has acquired itself.
            for each in self._members:
                each._disown()
            await self.wish

    def keep(self) -> Hashable:
        """The locks are held; from now on by the handle, which is returned."""
        handle = self._handle
        try:
            key = _key_of(handle)
            used = [each for each in self._members if key in each._held]
        except BaseException:
            self._give_back()
            raise
        if used:
            self._give_back()
            raise HandleUsedError(f"the handle {handle!r} holds {used[0]!r} already; give another one, or none")
        for each, guard in zip(self._members, self._guards, strict=True):
            each._keep(handle, guard if self._stays else None)
        if not self._stays:
            self._give_back()
        return handle

    def _give_back(self) -> None:
        self.wish.release()
        for each in self._members:
            each._tell()


def _mode_of(type: MultiLockType) -> Mode:
    try:
        return _MODES[type]
    except (KeyError, TypeError):
        raise TypeError(f"{type!r} is no MultiLockType; give NONE, SHARED or EXCLUSIVE") from None


def _as_locks(result: Any) -> MultiLockSet:
    return result if result is NotImplemented else MultiLockSet(result)
