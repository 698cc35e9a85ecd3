"""What a runtime must offer, so that its users can wait for a lock: the port between the core and ``backends/``.

A backend knows how to sleep and how to be woken, nothing else; who gets the lock is the engine's business. The four
rules of every waiter, learnt from parking_lot:

1. *Prepare before anyone can see you.* A waiter is ready to be woken as soon as it is made; a wake-up that comes
   before `park` makes that `park` return at once.
2. *Park outside the mutex.* No method of a waiter but `wake` and `lost` is called by others, and `wake` never with the
   mutex held.
3. *A wake-up may come at any time, from any thread, any number of times,* and out of a signal handler while the
   thread or its event loop sleeps. Returning from `park` without reason is allowed: the caller looks at its ticket,
   not at why it woke.
4. *Delivery can fail, and must say so.* At once, by `wake` returning False; or later, by calling ``undelivered``
   when the scheduled wake-up is destroyed without having run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "AsyncBackend",
    "AsyncWaiter",
    "Backend",
    "MarkingBackend",
    "SyncBackend",
    "SyncWaiter",
    "Waiter",
    "WatchingBackend",
]


class Waiter(Protocol):
    """One sleeper. It is made for one acquisition, may be parked several times, and is never shared."""

    def wake(self) -> bool:
        """End the current or the next `park`; False if the sleeper can never run again.

        Obligation: callable from any thread, any number of times, never blocks, raises nothing.
        """
        ...

    def lost(self) -> bool:
        """Whether the sleeper can never run again, because its event loop was closed.

        Obligation: called with the mutex held; must be quick, take no lock and raise nothing.
        """
        ...


class SyncWaiter(Waiter, Protocol):
    """A sleeper that blocks its thread."""

    def park(self, timeout: float | None) -> None:
        """Sleep until woken, for at most ``timeout`` seconds (None: for ever). May return early.

        Obligation: answers signals, so that KeyboardInterrupt comes through; consumes one wake-up.
        """
        ...


class AsyncWaiter(Waiter, Protocol):
    """A sleeper that suspends its task."""

    def park(self, timeout: float | None) -> Awaitable[None]:
        """To be awaited: sleep until woken, or for ``timeout`` seconds of the loop's clock (None: for ever), or less.

        Obligation: raises the runtime's own cancellation and leaves nothing scheduled behind.
        """
        ...


class _Common(Protocol):
    @property
    def name(self) -> str:
        """What users call it in ``RWLock(backend=...)`` and what error messages say."""
        ...

    @property
    def patience(self) -> float:
        """Seconds for which a waiter of this runtime lets newcomers overtake it, unless the policy says otherwise."""
        ...


@runtime_checkable
class SyncBackend(_Common, Protocol):
    """A runtime whose waiters block."""

    def new_sync_waiter(self, undelivered: Callable[[], None]) -> SyncWaiter:
        """A waiter for the calling thread. ``undelivered`` is for rule 4 above."""
        ...


@runtime_checkable
class AsyncBackend(_Common, Protocol):
    """A runtime whose waiters suspend a task."""

    @property
    def checkpoints(self) -> bool:
        """Whether it is this runtime's custom that every acquisition is a checkpoint, also one that need not wait."""
        ...

    def running(self) -> bool:
        """Whether a task of this runtime runs on the calling thread, so that it could be parked here."""
        ...

    def loop_runs_here(self) -> bool:
        """Whether a loop of this runtime runs on the calling thread, also outside of its tasks, as in a callback.

        Obligation: raises nothing and takes no lock.
        """
        ...

    def current_task(self) -> object | None:
        """The task that runs on the calling thread, an object that can be referenced weakly; None outside of one.

        Obligation: raises nothing and takes no lock.
        """
        ...

    def task_name(self, task: object) -> str | None:
        """What a user would call that task; None if it is no task of this runtime."""
        ...

    def has_ended(self, task: object) -> bool:
        """Whether that task, one of this runtime, has run to its end."""
        ...

    def clock(self) -> float:
        """The time of the loop that runs here, in seconds; timeouts are measured by it."""
        ...

    def new_async_waiter(self, undelivered: Callable[[], None]) -> AsyncWaiter:
        """A waiter for the running task. ``undelivered`` is for rule 4 above."""
        ...

    async def check_cancelled(self) -> None:
        """Raise a cancellation that is already due; called before the lock is taken."""
        ...

    async def yield_once(self) -> None:
        """Let the others run once; called with the lock held, which is given back if this raises."""
        ...


@runtime_checkable
class WatchingBackend(AsyncBackend, Protocol):
    """A runtime that can also wait for a descriptor, and so for news from other processes.

    Optional: the waits of a process lock on other runtimes look at the clock instead, twenty times a second.
    """

    def loop(self) -> object:
        """What stands for the loop that runs on the calling thread; hashable, and the same for all its tasks."""
        ...

    def watch(self, fd: int, ready: Callable[[], None]) -> Callable[[], None]:
        """Call ``ready`` in the loop that runs here whenever the descriptor is readable.

        Until the function that this returns is called, in the same loop and before the descriptor is closed.
        """
        ...


@runtime_checkable
class MarkingBackend(AsyncBackend, Protocol):
    """A runtime whose loops can be seen on their thread without a call into it.

    Optional: where a loaded runtime does not say, every acquisition asks it for its current task.
    """

    def thread_marks(self) -> tuple[tuple[object, str], ...]:
        """Thread-local objects, and for each the name of the attribute that it has where, and while, a loop runs."""
        ...


Backend: TypeAlias = SyncBackend | AsyncBackend
