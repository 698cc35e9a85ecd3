"""`RWLock`: one reader-writer lock for threads, asyncio and trio, all on the same object."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, SupportsFloat, final, get_args

from rwlocks import _runtimes
from rwlocks._arguments import deadlocks_preset, one_of
from rwlocks._core import LockCore, Rules
from rwlocks._guards import ReadGuard, UpgradableGuard, WriteGuard
from rwlocks._ticket import Ticket
from rwlocks._types import BackendName, Checkpoint, Deadlocks, Mode, PolicyName
from rwlocks.policies import Policy, policy_named

if TYPE_CHECKING:
    from rwlocks._ports import Backend
    from rwlocks._stats import Holder, LockStatistics
    from rwlocks._views import View
    from rwlocks._watch import Watch

__all__ = ["RWLock"]


@final
class RWLock:
    """A reader-writer lock for plain threads, any number of asyncio loops, and trio, at the same time.

    It can be created anywhere and is never bound to a loop. It can be referenced weakly, but neither copied nor
    pickled. All methods may be called from any thread and any task.

    Args:
        policy: ``"fifo"``, ``"phase-fair"``, ``"reader-pref"``, ``"writer-pref"``, or an object of `rwlocks.policies`.
        name: what messages and ``repr`` call it.
        reentrant: whether an owner may take again what it holds (any mode inside write, read inside upgradable, every
            mode inside itself); it is then granted at once. Without, such a request either gets in or raises
            `DeadlockError`.
        checkpoint: whether an async acquisition that need not wait yields to other tasks: ``"auto"`` follows each
            runtime's own custom, ``"always"``, ``"never"``.
        backend: which runtimes may wait for it: ``"auto"`` (any), ``"threading"``, ``"asyncio"``, ``"anyio"``, the name
            of a registered one, or a `Backend`.

    Raises:
        ValueError: an unknown policy, backend or checkpoint; the message names the known ones.
        TypeError: an argument of another type.
        BackendUnavailable: the backend needs a package that is not installed.
    """

    __slots__ = ("__weakref__", "_core", "_rules")

    implementation: ClassVar[type[RWLock] | None] = None
    """The compiled subclass that new locks are made of, if there is one; see `rwlocks._compiled`."""

    def __init__(
        self,
        policy: PolicyName | Policy = "fifo",
        *,
        name: str | None = None,
        reentrant: bool = False,
        checkpoint: Checkpoint = "auto",
        backend: BackendName | str | Backend = "auto",
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"the name is {name!r}; give a str, or None")
        if not isinstance(reentrant, bool):
            raise TypeError(f"reentrant is {reentrant!r}; give True or False")
        rules = (
            policy_named(policy),
            name,
            reentrant,
            deadlocks_preset(),
            one_of("checkpoint", checkpoint, get_args(Checkpoint)),
            None if backend == "auto" else _runtimes.backend_named(backend),
        )
        if name is None and backend == "auto" and isinstance(policy, str):
            self._rules = _alike.get(rules) or _alike.setdefault(rules, Rules(*rules))
        else:
            self._rules = Rules(*rules)
        self._open()

    def _open(self) -> None:
        """Let it be used. The compiled subclass makes no core before one is needed."""
        self._core = LockCore(self, self._rules)

    if not TYPE_CHECKING:

        @wraps(__init__, assigned=())  # whose signature is shown to those who ask for that of the class
        def __new__(cls, *_arguments: object, **_options: object) -> RWLock:
            return object.__new__(cls.implementation or cls)

    @property
    def name(self) -> str | None:
        """The name given at creation."""
        return self._rules.name

    @property
    def policy(self) -> Policy:
        """The rules of this lock."""
        return self._rules.policy

    @property
    def reentrant(self) -> bool:
        """Whether an owner may take again what it holds."""
        return self._rules.reentrant

    @property
    def deadlocks(self) -> Deadlocks:
        """What happens to requests that could never be granted. Can be set before the lock is used.

        ``"raise"``: a request that would wait for its own owner raises `DeadlockError`. ``"strict"``, for tests: so
        does every nested request of a lock that is not reentrant, also where the policy would have let it in this time.
        ``"cycles"``, for debugging: so does a request that closes a circle of waiters over several locks; it
        looks at all locks on each wait. Preset by the environment variable ``RWLOCKS_DEADLOCK``.
        """
        return self._core.monitor.deadlocks

    @deadlocks.setter
    def deadlocks(self, mode: Deadlocks) -> None:
        monitor = self._core.monitor
        known = one_of("deadlocks", mode, get_args(Deadlocks))
        with monitor.mutex:
            monitor.deadlocks = known
            monitor.engine.nesting = monitor.reentrant or mode == "strict"

    # -- guards ------------------------------------------------------------------------------------------------

    def read(self, timeout: SupportsFloat | None = None) -> ReadGuard:
        """A guard to share the lock with other readers. ``timeout`` is in seconds; None waits for ever, 0 tries once.

        Raises ValueError for NaN and TypeError for what is no number.
        """
        return ReadGuard(self, self._core, timeout)

    def write(self, timeout: SupportsFloat | None = None) -> WriteGuard:
        """A guard to have the lock alone. ``timeout`` as for `read`."""
        return WriteGuard(self, self._core, timeout)

    def upgradable(self, timeout: SupportsFloat | None = None) -> UpgradableGuard:
        """A guard to read now and perhaps write later; one at a time, beside any readers. ``timeout`` as for `read`."""
        return UpgradableGuard(self, self._core, timeout)

    @property
    def reader(self) -> View:
        """The reading side, behaving as a `threading.Lock` does; its holds have no owner. Always the same object."""
        return self._view(Mode.READ)

    @property
    def writer(self) -> View:
        """The writing side, behaving as a `threading.Lock` does, also for `threading.Condition`. As `reader`."""
        return self._view(Mode.WRITE)

    def _view(self, mode: Mode) -> View:
        views = self._core.views
        view = views.get(mode)
        if view is None:
            from rwlocks._views import View

            # Two threads may look first: a view releases only what was acquired through it, so that there must be one.
            view = views.setdefault(mode, View(self, self._core, mode))
        return view

    # -- looking -----------------------------------------------------------------------------------------------

    def locked(self) -> Mode | None:
        """The strongest mode in which the lock is held, None (falsy) when it is free."""
        return self._core.locked()

    def statistics(self) -> LockStatistics:
        """One consistent snapshot: who holds, who waits, and totals. A grant shows before its waiter has woken."""
        from rwlocks import _snapshots

        monitor = self._core.monitor
        return monitor.look(lambda now: _snapshots.statistics(monitor, now))

    def acquirable(self, mode: Mode) -> bool:
        """Whether the policy would let the caller in now, in that mode. Advice only: it may change at once."""
        return self._core.acquirable(mode)

    def watch(self, mode: Mode) -> Watch:
        """To be told when that mode can be had: a context manager, sync and async. See `Watch`."""
        from rwlocks._watch import Watch

        return Watch(self._core, mode)

    def forget(self, holder: Holder) -> None:
        """Drop a hold that nobody can release any more: abandoned, or left by a task or thread that has ended.

        ``holder`` comes from `statistics`, or from the ``holders`` of an error. Look at the data first: a writer may
        have left them half written. Raises NotHeldError if the hold is gone, GuardStateError if it is alive.
        """
        ticket: Any = holder.hold
        if not isinstance(ticket, Ticket):
            raise TypeError(f"{holder!r} is no holder of this lock; give one from lock.statistics().holders")
        self._core.forget(ticket)

    @property
    def recovered(self) -> bool:
        """Whether a fork has cut off a writer, so that the data may be half written; until `mark_consistent`."""
        return self._core.monitor.recovered

    def mark_consistent(self) -> None:
        """Say that the data are fine again after a writer was cut off."""
        self._core.monitor.recovered = False

    def __repr__(self) -> str:
        # Without the mutex: warnings and errors are worded in places where it may not be taken.
        engine = self._core.monitor.engine
        mode = self._core.monitor.strongest()
        name = "" if self.name is None else f" {self.name!r}"
        state = "free" if mode is None else f"held for {mode.value}"
        return f"<RWLock{name} {self.policy.name}: {state}, {engine.contended} waiting>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an RWLock lives in one process and can be neither pickled nor copied; "
            "pass the object itself to threads and tasks"
        )


# One object for all locks that are made alike, of the few kinds there are.
_alike: dict[tuple[object, ...], Rules] = {}
