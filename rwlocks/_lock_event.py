"""What an observer is told. Most programs have none, and do not load this."""

from typing import Any, Literal, NamedTuple, TypeAlias

from rwlocks._types import Mode

__all__ = ["EventKind", "LockEvent"]

EventKind: TypeAlias = Literal["wait", "grant", "release", "timeout", "cancel", "repair"]


class LockEvent(NamedTuple):
    """Something that has happened to a lock."""

    kind: EventKind
    lock: Any
    """The lock, or None if it is gone already."""
    mode: Mode
    owner: str
    """Name of the task, or of the thread if there is none, that the event is about."""
