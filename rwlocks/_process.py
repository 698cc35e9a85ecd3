"""`ProcessRWLock`: one reader-writer lock for many processes, and for the threads and tasks of each.

Nothing of the native core is loaded before the first lock is made.
"""

from __future__ import annotations

import os
import weakref
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Literal, SupportsFloat, TypeAlias, final, get_args

from rwlocks._arguments import one_of
from rwlocks._guards import ReadGuard, UpgradableGuard, WriteGuard
from rwlocks._ticket import Ticket
from rwlocks._types import Deadlocks, Mode
from rwlocks._views import View
from rwlocks.policies import Policy, policy_named

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from rwlocks._stats import Holder, LockStatistics
    from rwlocks._types import PolicyName
    from rwlocks._watch import Watch
    from rwlocks.backends.process._core import ProcessCore

__all__ = ["OnWriterDeath", "ProcessRWLock"]

OnWriterDeath: TypeAlias = Literal["flag", "raise", "ignore"]


class _UnsaidInt(int):
    """A default that is told from the same number given, and reads like it."""

    __slots__ = ()


class _UnsaidStr(str):
    """A default that is told from the same text given, and reads like it."""

    __slots__ = ()


_MAX_PROCESSES: Final = _UnsaidInt(64)
_MAX_HOLDS: Final = _UnsaidInt(1024)
_ON_WRITER_DEATH: Final[Any] = _UnsaidStr("flag")


@final
class ProcessRWLock:
    """A reader-writer lock in shared memory, for any number of processes, and the threads and tasks of each of them.

    A process may be killed at any instruction: the next in line is in within a moment, whatever it was doing.
    All that holds of `RWLock` holds here, too: guards, timeouts, upgrades, views, policies, asyncio and trio.

        lock = ProcessRWLock("model-cache")         # by name: for all processes of this user
        lock = ProcessRWLock(Path("cache.rwlock"))  # a file of its own
        lock = ProcessRWLock()                      # no name: for this process, and children that are given it
        with lock.write():
            ...

    Forked children inherit it; spawned ones get it as an argument (it can be pickled). A child owns none of its
    parent's holds. All methods may be called from any thread and any task.

    Args:
        name_or_path: a ``str`` without a separator is a name in a private directory of this user
            (``/dev/shm/rwlocks-<uid>``, or ``RWLOCKS_DIR`` if that is set); anything else is the path of a file on a
            local file system. Whoever comes first makes it. None: a lock without a name.
        policy: ``"fifo"``, ``"phase-fair"``, ``"reader-pref"``, ``"writer-pref"``, or an object of `rwlocks.policies`.
            None: fifo if the lock is made now, else whatever it was made with. Patience is this object's own.
        mode: permission bits of the file; ``0o660`` shares it with its group.
        max_processes: how many may use it at the same time, 1 to 4000.
        max_holds: how many holds and waits there may be at the same time, 1 to 65535.
        on_writer_death: what the death of a writer means to those who come next: ``"flag"`` sets ``recovered`` of the
            lock and of all guards; ``"raise"`` lets every acquisition raise `WriterDied`, except that of
            ``lock.write(repair=True)``; ``"ignore"`` nothing. The first two end with `mark_consistent`.
        create: whether to make it if it is not there.

    Raises:
        ValueError: the lock exists with another policy, or with other limits than were given; a name or limit that is
            impossible.
        FileNotFoundError: it is not there, and ``create`` is false; or its directory is not.
        SegmentError: what is there is no lock, is damaged, or could be somebody else's (an OSError).
        SegmentFull: as many processes as ``max_processes`` use it.
        BackendUnavailable: the native core is missing; the message tells how to get it (an ImportError).
    """

    __slots__ = ("__weakref__", "_core", "_name", "_native", "_repairing", "_views")

    def __init__(
        self,
        name_or_path: str | os.PathLike[str] | None = None,
        policy: PolicyName | Policy | None = None,
        *,
        mode: int = 0o600,
        max_processes: int = _MAX_PROCESSES,
        max_holds: int = _MAX_HOLDS,
        on_writer_death: OnWriterDeath = _ON_WRITER_DEATH,
        create: bool = True,
    ) -> None:
        from rwlocks import _process_open as opening

        if name_or_path is None and not create:
            raise ValueError("a lock without a name cannot be found, only made; give a name, or leave create=False out")
        wish = opening.Wish(
            None if policy is None else policy_named(policy),
            max_processes,
            max_holds,
            one_of("on_writer_death", on_writer_death, get_args(OnWriterDeath)),
            given=[
                *(["max_processes"] if max_processes is not _MAX_PROCESSES else []),
                *(["max_holds"] if max_holds is not _MAX_HOLDS else []),
                *(["on_writer_death"] if on_writer_death is not _ON_WRITER_DEATH else []),
            ],
        )
        native = opening.open_native(name_or_path, wish, mode=_permissions(mode), create=create)
        self._begin(native, None if name_or_path is None else os.fspath(name_or_path), wish.policy)

    if not TYPE_CHECKING:

        @wraps(__init__, assigned=())  # whose signature is shown to those who ask for that of the class
        def __new__(cls, *_arguments: object, **_options: object) -> ProcessRWLock:
            from rwlocks._process_compiled import implementation

            return object.__new__(implementation or cls)

    def _begin(self, native: ProcessCore, name: str | None, policy: Policy | None) -> None:
        from rwlocks import _process_open as opening

        self._native = native
        self._name = name
        self._views: dict[Mode, View] = {}
        # Typed loosely, because guards and views know the core of an `RWLock`, and this one has the same methods.
        self._core: Any
        self._repairing: Any
        self._core, self._repairing = opening.cores_for(native, policy, weakref.ref(self))
        _objects[native] = weakref.ref(self)

    @property
    def name(self) -> str | None:
        """The name or path given at creation; None for a lock without."""
        return self._name

    @property
    def path(self) -> Path | None:
        """The file; None for a lock without a name."""
        return self._native.path

    @property
    def policy(self) -> Policy:
        """The rules of this lock, with the patience of this object."""
        policy: Policy = self._core.monitor.policy
        return policy

    @property
    def on_writer_death(self) -> OnWriterDeath:
        """What the death of a writer means to those who come next."""
        names: tuple[OnWriterDeath, ...] = get_args(OnWriterDeath)
        return names[self._native.config.on_writer_death]

    @property
    def max_processes(self) -> int:
        """How many processes may use it at the same time."""
        return self._native.config.max_processes

    @property
    def max_holds(self) -> int:
        """How many holds and waits there may be at the same time."""
        return self._native.config.max_holds

    @property
    def deadlocks(self) -> Deadlocks:
        """What happens to requests of this process that could never be granted: as `RWLock.deadlocks`."""
        mode: Deadlocks = self._core.monitor.deadlocks
        return mode

    @deadlocks.setter
    def deadlocks(self, mode: Deadlocks) -> None:
        self._core.monitor.deadlocks = one_of("deadlocks", mode, get_args(Deadlocks))

    # -- guards ------------------------------------------------------------------------------------------------

    def read(self, timeout: SupportsFloat | None = None) -> ReadGuard:
        """A guard to share the lock with other readers. ``timeout`` is in seconds; None waits for ever, 0 tries once.

        Raises ValueError for NaN and TypeError for what is no number.
        """
        return ReadGuard(self, self._core, timeout)

    def write(self, timeout: SupportsFloat | None = None, *, repair: bool = False) -> WriteGuard:
        """A guard to have the lock alone. ``timeout`` as for `read`.

        ``repair``: get in although a writer has died, to look after the data and to call `mark_consistent`.
        """
        return WriteGuard(self, self._repairing if repair else self._core, timeout)

    def upgradable(self, timeout: SupportsFloat | None = None) -> UpgradableGuard:
        """A guard to read now and perhaps write later; one at a time, beside any readers. ``timeout`` as for `read`."""
        return UpgradableGuard(self, self._core, timeout)

    @property
    def reader(self) -> View:
        """The reading side, behaving as a `threading.Lock` does; its holds have no owner. Always the same object."""
        return self._view(Mode.READ)

    @property
    def writer(self) -> View:
        """The writing side, behaving as a `threading.Lock` does. As `reader`."""
        return self._view(Mode.WRITE)

    def _view(self, mode: Mode) -> View:
        # Two threads may look first: a view releases only what was acquired through it, so that there must be one.
        return self._views.get(mode) or self._views.setdefault(mode, View(self, self._core, mode))

    # -- looking -----------------------------------------------------------------------------------------------

    def locked(self) -> Mode | None:
        """The strongest mode in which the lock is held, None (falsy) when it is free."""
        mode: Mode | None = self._core.locked()
        return mode

    def statistics(self) -> LockStatistics:
        """One consistent snapshot of all processes: who holds, who waits, and totals since the lock was made.

        Of owners in other processes only the pid is known. A grant shows before its waiter has woken.
        """
        statistics: LockStatistics = self._core.monitor.statistics()
        return statistics

    def acquirable(self, mode: Mode) -> bool:
        """Whether the policy would let the caller in now, in that mode. Advice only: it may change at once."""
        acquirable: bool = self._core.acquirable(mode)
        return acquirable

    def watch(self, mode: Mode) -> Watch:
        """To be told when that mode can be had: a context manager, sync and async. See `Watch`.

        What other processes do is looked at, a hundred times a second while somebody waits, so that a chance that comes
        and goes in between is missed.
        """
        from rwlocks._process_watch import ProcessWatch

        return ProcessWatch(self._core, mode)

    def forget(self, holder: Holder) -> None:
        """Drop a hold of this process that nobody can release any more.

        One that was abandoned, or left by a task or thread that has ended; those of dead processes need no help.
        ``holder`` comes from `statistics`, or from the ``holders`` of an error. Look at the data first: a writer may
        have left them half written. Raises NotHeldError if the hold is gone, GuardStateError if it is alive or that of
        another process.
        """
        if not isinstance(holder.hold, Ticket):
            raise TypeError(f"{holder!r} is no holder of this lock; give one from lock.statistics().holders")
        self._core.forget(holder.hold)

    @property
    def recovered(self) -> bool:
        """Whether a writer has died, so that the data may be half written; until `mark_consistent`."""
        return self._native.recovered()

    def mark_consistent(self) -> None:
        """Say that the data are fine again after a writer has died. For all processes."""
        self._native.mark_consistent()

    # -- coming and going ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the lock up in this process: those of it who wait get `LockClosed`, and so does whoever uses it later.

        The lock itself stays for the others, and a named one for whoever comes next: see `unlink`. Closing twice is
        harmless. Raises GuardStateError, and changes nothing, while this process holds it.
        """
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @staticmethod
    def unlink(name_or_path: str | os.PathLike[str]) -> None:
        """Remove a named lock. Those who use it go on with it, whoever comes later makes another one.

        Raises FileNotFoundError if there is none, SegmentError if what is there is no lock, BackendUnavailable.
        """
        from rwlocks import _process_open as opening

        opening.unlink(name_or_path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._native, self._name, self.policy)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        name = "" if self._name is None else f" {self._name!r}"
        return f"<ProcessRWLock{name} {self.policy.name}: {self._core.monitor.describe()}>"


_objects: weakref.WeakKeyDictionary[ProcessCore, weakref.ref[ProcessRWLock]] = weakref.WeakKeyDictionary()


def _rebuild(native: ProcessCore, name: str | None, policy: Policy) -> ProcessRWLock:
    """From a pickle. A copy of a lock is that lock."""
    known = _objects.get(native)
    lock = None if known is None else known()
    if lock is None:
        lock = ProcessRWLock.__new__(ProcessRWLock)
        lock._begin(native, name, policy)
    return lock


def _permissions(mode: int) -> int:
    if isinstance(mode, bool) or not isinstance(mode, int):
        raise TypeError(f"the mode is {mode!r}; give permission bits, such as 0o600 or 0o660")
    if mode & ~0o660 or mode & 0o600 != 0o600:
        raise ValueError(
            f"the mode is 0o{mode:03o}; give 0o600 for the user alone, or 0o660 to share it with the group"
        )
    return mode
