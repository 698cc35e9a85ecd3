"""An optional hook that hears of everything that happens to any lock."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, final

from rwlocks._owners import owner_name
from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rwlocks._lock_event import EventKind, LockEvent
    from rwlocks._ticket import Ticket

__all__ = ["set_observer"]

observer: Callable[[LockEvent], object] | None = None
"""The hook; locks test it against None and do nothing else while it is unset."""

# Loaded with the first observer: what the collector destroys tells of events, too, and should import nothing.
_new_event: type[LockEvent]

when_observed: list[Callable[[bool], object]] = []
"""To be told whether somebody observes: a fast path that reports nothing is then closed."""


def set_observer(hook: Callable[[LockEvent], object] | None) -> None:
    """Call ``hook`` with a `LockEvent` for each wait, grant, release, timeout, cancellation and repair of any lock.

    It is called after the lock's mutex has been left, in the thread that caused the event (a grant: in the
    thread that released), so that it may use locks itself. What it raises goes to `sys.unraisablehook`.
    For every mode each grant is followed by one release, or by the cancellation that takes it back: an upgrade is
    a grant to write beside the hold, a downgrade a release and a grant. What the hook itself does to locks is not
    reported.
    ``None`` unsets it, which costs nothing from then on. For the whole process; the last one set counts.
    """
    global observer, _new_event  # noqa: PLW0603  one per process, by contract
    from rwlocks._lock_event import LockEvent

    _new_event = LockEvent
    observer = hook
    for told in when_observed:
        told(hook is not None)


def tell(kind: EventKind, lock: Any, ticket: Ticket, mode: Mode) -> None:
    """Pass an event on to the hook, if there is one."""
    hook = observer
    if hook is None or _hearing.now:
        return
    _hearing.now = True
    try:
        hook(_new_event(kind, lock, mode, owner_name(ticket)))
    except BaseException as error:  # noqa: BLE001  an observer must not change what it observes
        _Failure(hook, error).report()
    finally:
        _hearing.now = False


def tell_release(lock: Any, ticket: Ticket, mode: Mode) -> None:
    """A hold has ended, and with it perhaps an upgrade."""
    tell("release", lock, ticket, mode)
    if ticket.base is not None:
        tell("release", lock, ticket, ticket.base)


def tell_grants(lock: Any, tickets: Sequence[Ticket]) -> None:
    """Of those to be woken, the ones that were granted what they waited for; the others are to look for themselves."""
    for ticket in tickets:
        if ticket.base is not None:
            if ticket.mode is Mode.WRITE:
                tell("grant", lock, ticket, ticket.mode)
        elif ticket.granted:
            tell("grant", lock, ticket, ticket.mode)


class _Hearing(threading.local):
    """What a hook does to locks is not reported to it: it would never come to an end."""

    now = False


_hearing = _Hearing()


class _Passing:
    """Goes at once, and with it calls who waits for that."""


@final
class _Failure:
    """What an observer has raised, raised once more in the callback of a weak reference.

    From there the interpreter takes it to `sys.unraisablehook`. Python code cannot call that hook itself: the default
    one takes arguments of one type only, which has no name.
    """

    __slots__ = ("__weakref__", "error", "observer")

    underway: ClassVar[set[weakref.ref[_Passing]]] = set()

    def __init__(self, observer: object, error: BaseException) -> None:
        self.observer = observer
        self.error = error

    def report(self) -> None:
        passing = _Passing()
        self.underway.add(weakref.ref(passing, self))

    def __call__(self, gone: weakref.ref[_Passing]) -> None:
        self.underway.discard(gone)
        try:
            raise self.error
        finally:
            del self  # which the traceback would keep alive, and be kept alive by

    def __repr__(self) -> str:
        return f"{self.observer!r}, the observer of rwlocks"
