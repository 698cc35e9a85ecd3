"""An optional hook that hears of everything that happens to any lock."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from rwlocks._owners import owner_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from rwlocks._ticket import Ticket
    from rwlocks._types import Mode

__all__ = ["EventKind", "LockEvent", "set_observer"]

EventKind: TypeAlias = Literal["wait", "grant", "release", "timeout", "cancel", "repair"]


class LockEvent(NamedTuple):
    """Something that has happened to a lock."""

    kind: EventKind
    lock: Any
    """The lock, or None if it is gone already."""
    mode: Mode
    owner: str
    """Name of the task, or of the thread if there is none, that the event is about."""


observer: Callable[[LockEvent], object] | None = None
"""The hook; locks test it against None and do nothing else while it is unset."""


def set_observer(hook: Callable[[LockEvent], object] | None) -> None:
    """Call ``hook`` with a `LockEvent` for each wait, grant, release, timeout, cancellation and repair of any lock.

    It is called after the lock's mutex has been left, in the thread that caused the event (a grant: in the
    thread that released), so that it may use locks itself. What it raises goes to `sys.unraisablehook`.
    ``None`` unsets it, which costs nothing from then on. For the whole process; the last one set counts.
    """
    global observer  # noqa: PLW0603  one per process, by contract
    observer = hook


def tell(kind: EventKind, lock: Any, ticket: Ticket) -> None:
    """Pass an event on to the hook, if there is one."""
    hook = observer
    if hook is None:
        return
    try:
        hook(LockEvent(kind, lock, ticket.mode, owner_name(ticket)))
    except Exception:  # noqa: BLE001  an observer must not change what it observes
        _report(hook)


class _Unraisable(NamedTuple):
    """The shape that `sys.unraisablehook` takes."""

    exc_type: type[BaseException]
    exc_value: BaseException | None
    exc_traceback: Any
    err_msg: str | None
    object: Any


def _report(hook: object) -> None:
    kind, error, traceback = sys.exc_info()
    if kind is not None:
        args: Any = _Unraisable(kind, error, traceback, "exception ignored in the observer of rwlocks", hook)
        sys.unraisablehook(args)
