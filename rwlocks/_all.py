"""Several locks at once, all or nothing, in any order and without deadlock.

The algorithm is that of C++'s ``std::lock`` with the manners of a queue: wait for one busy lock while holding nothing;
once in, only *try* the others; if one refuses, give all back and wait for that one next. Nobody waits while holding,
hence there is no circle of waiters. What may happen is starvation, and rivals that keep refusing each other: against
the latter, threads pause for a random time; tasks need not, since on a loop the tries of one task are one step.

`_Attempt.rounds` is a generator of waits, which threads drive by blocking and tasks by suspending.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    NoReturn,
    Protocol,
    SupportsFloat,
    TypeVarTuple,
    cast,
    final,
)

from rwlocks import _runtimes
from rwlocks._acquire import in_seconds
from rwlocks._errors import GuardStateError, LockTimeout, NotHeldError
from rwlocks._guards import OWN_TIMEOUT, _Default
from rwlocks._owners import current
from rwlocks._ticket import State
from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from rwlocks._monitor import Seat
    from rwlocks._ports import AsyncBackend, SyncBackend
    from rwlocks._ticket import Ticket

__all__ = ["AcquireAll", "acquire_all"]

Guards = TypeVarTuple("Guards")

# The pause of a thread that was refused is random, up to a limit that doubles with each round.
_FIRST_PAUSE: Final = 0.0001  # seconds; some switches of threads
_LONGEST_PAUSE: Final = 0.005  # seconds; the interpreter's own switch interval
_DOUBLINGS: Final = 6


class Core(Protocol):
    """The inside of a lock. Two that compare equal are the same lock."""

    @property
    def new_ticket(self) -> Callable[[Mode, Any, Any], Ticket]:
        """Makes a request: mode, thread, task."""
        ...

    def now(self) -> float:
        """The time by which this lock measures ages and the timeouts of threads, in seconds."""
        ...

    def blocking(self) -> SyncBackend:
        """How threads wait for it. Raises RuntimeError if they may not."""
        ...

    def suspending(self, *, may_wait: bool = True) -> AsyncBackend:
        """How the task that runs here waits for it. Raises RuntimeError if it may not."""
        ...

    def refuse_nested(self, ticket: Ticket) -> None:
        """Raise DeadlockError if this request, which may wait, must not be made at all."""
        ...

    def acquire_with(self, seat: Seat, ticket: Ticket, timeout: float | None) -> None: ...

    async def acquire_async_with(
        self, backend: AsyncBackend, seat: Seat, ticket: Ticket, timeout: float | None
    ) -> None: ...

    def try_acquire_with(self, seat: Seat, ticket: Ticket) -> bool: ...

    def turned_away(self, ticket: Ticket) -> None:
        """Count one more round of an `acquire_all`, because of this request."""
        ...

    def time_out_at_once(self, ticket: Ticket) -> NoReturn:
        """Raise LockTimeout for this request."""
        ...


class Joining(Protocol):
    """A guard of whatever lock."""

    ticket: Ticket | None

    @property
    def _core(self) -> Core: ...

    @property
    def wanted(self) -> Mode: ...

    def release(self) -> None: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def acquire_all(*guards: *Guards, timeout: SupportsFloat | None = None) -> AcquireAll[*Guards]:
    """All of these guards or none: ``with acquire_all(a.read(), b.write()) as (ga, gb):``, or ``async with``.

    Any number of guards of any locks, in any order. It waits for one lock at a time and holds nothing meanwhile, so
    that it never deadlocks with others of its kind; among busy locks it may starve, therefore give a timeout.

    Args:
        guards: unused guards. Their own timeouts do not count.
        timeout: for all together, in seconds; None waits for ever, 0 tries once.

    Raises:
        GuardStateError: the same guard twice, a guard that is held or waits, or guards of one lock that exclude
            each other.
        TypeError: something that is no guard. ValueError: a timeout that is not a number (NaN).
    """
    return AcquireAll(*guards, timeout=timeout)


@final
class AcquireAll(Generic[*Guards]):
    """One acquisition of several guards, made by `acquire_all`. Iterating over it gives the guards.

    Use it as ``with`` or ``async with``, or explicitly. Once released it may be used again.
    """

    __slots__ = ("__weakref__", "_guards", "_timeout")

    def __init__(self, *guards: *Guards, timeout: SupportsFloat | None = None) -> None:
        self._timeout = in_seconds(timeout)
        self._guards = _checked(guards)

    @property
    def guards(self) -> tuple[*Guards]:
        """The guards, in the order in which they were given."""
        return cast("tuple[*Guards]", self._guards)

    @property
    def held(self) -> bool:
        """Whether every single guard holds its lock."""
        return all(_is_held(guard) for guard in self._guards)

    def acquire(self, timeout: SupportsFloat | _Default | None = OWN_TIMEOUT) -> Self:
        """Wait until all locks are held, blocking the thread, and return this object.

        ``timeout`` is in seconds and overrides that of `acquire_all`. Whatever is raised, nothing is held.

        Raises:
            LockTimeout: there was not enough time; it names the lock that was waited for last.
            DeadlockError: the caller holds one of these locks already and would wait for itself, and the other
                reasons that `Guard.acquire` has.
            GuardStateError: a guard holds its lock already, or waits for it.
        """
        seconds = self._timeout if isinstance(timeout, _Default) else in_seconds(timeout)
        with _Attempt(self._guards, seconds) as attempt:
            for wait in attempt.rounds(attempt.clock_of_thread()):
                wait.block()
        return self

    def try_acquire(self) -> bool:
        """Take all locks if none of them needs waiting. For sync and async code alike."""
        with _Attempt(self._guards, 0.0) as attempt:
            return attempt.try_once()

    def release(self) -> None:
        """Release all guards, the last one first. Raises NotHeldError, when that is done, if one held nothing."""
        with ExitStack() as stack:
            for guard in self._guards:
                stack.callback(guard.release)

    def __enter__(self) -> tuple[*Guards]:
        return self.acquire().guards

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:
            for guard in self._guards:
                stack.push(guard.__exit__)

    async def __aenter__(self) -> tuple[*Guards]:
        await self._acquire_async()
        return self.guards

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc_value, traceback)

    def __await__(self) -> Generator[object, None, Self]:
        """Wait until all locks are held, suspending the task; the result is this object. At once if it has them."""
        return self._acquire_async(again=True).__await__()

    async def _acquire_async(self, *, again: bool = False) -> Self:
        if not (again and self._guards and self._is_held_here()):
            with _Attempt(self._guards, self._timeout) as attempt:
                for wait in attempt.rounds(attempt.clock_of_loop()):
                    await wait.suspend()
        return self

    def _is_held_here(self) -> bool:
        owner = _runtimes.reference_to_task()
        tickets = [guard.ticket for guard in self._guards]
        return all(t is not None and t.state is State.HELD and t.owner is owner for t in tickets)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._guards)

    def __repr__(self) -> str:
        return f"<acquire_all of {', '.join(map(repr, self._guards)) or 'nothing'}>"


# -- one acquisition -----------------------------------------------------------------------------------------------


@final
class _Wait:
    """For one lock, in its queue."""

    __slots__ = ("_core", "_guard", "_ticket", "_timeout")

    def __init__(self, guard: Joining, ticket: Ticket, timeout: float | None) -> None:
        self._guard = guard
        self._core = guard._core
        self._ticket = ticket
        self._timeout = timeout

    def block(self) -> None:
        self._core.acquire_with(self._guard, self._ticket, self._timeout)

    async def suspend(self) -> None:
        backend = self._core.suspending(may_wait=_is_patient(self._timeout))
        await self._core.acquire_async_with(backend, self._guard, self._ticket, self._timeout)


@final
class _Pause:
    """Between two rounds, holding nothing."""

    __slots__ = ("_core", "_longest")

    def __init__(self, core: Core, rounds: int, left: float | None) -> None:
        self._core = core
        pause = min(_FIRST_PAUSE * 2 ** min(rounds, _DOUBLINGS), _LONGEST_PAUSE)
        self._longest = pause if left is None else min(pause, left)

    def block(self) -> None:
        from random import uniform

        self._core.blocking().new_sync_waiter(_nothing).park(uniform(0, self._longest))

    async def suspend(self) -> None:
        backend = self._core.suspending()
        await backend.check_cancelled()
        await backend.yield_once()


@final
class _Attempt:
    """Leaving it by an exception gives back whatever it has by then."""

    __slots__ = ("_asked", "_guards", "_now", "_rounds", "_started", "_task", "_thread", "_tickets", "_timeout")

    def __init__(self, guards: Sequence[Joining], timeout: float | None) -> None:
        _check_unused(guards)
        self._guards = guards
        self._timeout = timeout
        self._thread = current.thread
        self._task = _runtimes.reference_to_task()
        self._tickets: dict[int, Ticket] = {}
        self._asked: dict[Core, float] = {}
        self._rounds = 0
        self._now: Callable[[], float] = _never
        self._started = 0.0

    def clock_of_thread(self) -> Callable[[], float]:
        """What to measure the timeout by. Raises what forbids that this thread waits for one of the locks."""
        if _is_patient(self._timeout):
            for guard in self._guards:
                guard._core.blocking()
            self._refuse_nested()
        return self._guards[0]._core.now if self._guards else _never

    def clock_of_loop(self) -> Callable[[], float]:
        """What to measure the timeout by. Raises what forbids that this task waits for one of the locks."""
        patient = _is_patient(self._timeout)
        clocks = [guard._core.suspending(may_wait=patient).clock for guard in self._guards]
        if patient:
            self._refuse_nested()
        return clocks[0] if clocks else _never

    def rounds(self, now: Callable[[], float]) -> Iterator[_Wait | _Pause]:
        """What to wait for, one after the other; everything is held at the end."""
        if not self._guards:
            return
        self._now, self._started, left = now, now(), self._timeout
        first = 0
        while True:
            yield _Wait(self._guards[first], self._ask(first), left)
            refused = self._try_all_but(first)
            if refused is None:
                return
            self.give_back()
            core, ticket = self._guards[refused]._core, self._tickets[refused]
            left = self._left()
            if not _is_patient(left):
                core.time_out_at_once(ticket)
            core.turned_away(ticket)
            yield _Pause(core, self._rounds, left)
            self._rounds += 1
            left = self._left()
            first = refused

    def try_once(self) -> bool:
        refused = self._try_all_but(None)
        if refused is not None:
            self.give_back()
        return refused is None

    def give_back(self) -> None:
        """Release what was taken here, the last one first."""
        for n in range(len(self._guards) - 1, -1, -1):
            guard, ticket = self._guards[n], self._tickets.get(n)
            if ticket is not None and ticket.state is State.HELD:
                try:
                    guard.release()
                except NotHeldError:
                    pass  # Somebody else who has the guard was faster.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_value is None:
            return
        self.give_back()
        if isinstance(exc_value, LockTimeout) and _is_patient(self._timeout):
            # It knows of the last wait only.
            waited = self._now() - self._started
            raise LockTimeout(exc_value.lock, exc_value.mode, waited, exc_value.holders) from None

    def _try_all_but(self, first: int | None) -> int | None:
        """Take the others in order, without waiting; which one refused, if one did."""
        for n, guard in enumerate(self._guards):
            if n != first and not guard._core.try_acquire_with(guard, self._ask(n)):
                return n
        return None

    def _ask(self, n: int) -> Ticket:
        """A new request, as old as the first one for that lock."""
        core = self._guards[n]._core
        ticket = self._tickets[n] = self._new_ticket(n)
        ticket.asked = self._asked.get(core)
        if ticket.asked is None:
            self._asked[core] = core.now()
        return ticket

    def _refuse_nested(self) -> None:
        for n, guard in enumerate(self._guards):
            guard._core.refuse_nested(self._new_ticket(n))

    def _new_ticket(self, n: int) -> Ticket:
        guard = self._guards[n]
        return guard._core.new_ticket(guard.wanted, self._thread, self._task)

    def _left(self) -> float | None:
        return None if self._timeout is None else self._started + self._timeout - self._now()


def _is_patient(timeout: float | None) -> bool:
    return timeout is None or timeout > 0


def _is_held(guard: Joining) -> bool:
    return guard.ticket is not None and guard.ticket.state is State.HELD


def _never() -> float:
    """The clock of an attempt that measures nothing."""
    return 0.0


def _nothing() -> None:
    """A pause has no news that could get lost."""


# -- what can be asked for together --------------------------------------------------------------------------------


def _checked(guards: Sequence[object]) -> tuple[Joining, ...]:
    modes: dict[Core, list[Mode]] = {}
    known: set[int] = set()
    checked: list[Joining] = []
    for guard in guards:
        if not isinstance(getattr(guard, "wanted", None), Mode):
            raise TypeError(f"{guard!r} is not a guard; give lock.read(), lock.write() or lock.upgradable()")
        joining = cast("Joining", guard)
        if id(guard) in known:
            raise GuardStateError(f"{guard!r} was given twice; make a guard for each acquisition")
        known.add(id(guard))
        modes.setdefault(joining._core, []).append(joining.wanted)
        checked.append(joining)
    for guard in checked:
        wanted = modes[guard._core]
        if len(wanted) > 1 and (Mode.WRITE in wanted or wanted.count(Mode.UPGRADABLE) > 1):
            raise GuardStateError(
                f"{guard!r} and another guard of the same lock exclude each other "
                f"({' and '.join(mode.value for mode in wanted)}); give one guard, of the strongest mode"
            )
    _check_unused(checked)
    return tuple(checked)


def _check_unused(guards: Sequence[Joining]) -> None:
    for guard in guards:
        ticket = guard.ticket
        if ticket is not None and ticket.state is not State.DONE:
            verb = "release it" if ticket.state is State.HELD else "let that end"
            raise GuardStateError(f"{guard!r} is in use already; {verb} first, or make another guard")
