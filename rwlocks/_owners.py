"""Whose request it is: the thread that made it and, inside a task, that task.

Never an integer: thread ids and ``id(task)`` are given out again almost at once, and a new thread would inherit the
sins of a dead one.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, final

from rwlocks import _runtimes

if TYPE_CHECKING:
    from rwlocks._ticket import Ticket

__all__ = ["ThreadIdentity", "current", "has_ended", "owner_name"]


@final
class _Life:
    """Referenced by its thread alone, so that it ends with it."""

    __slots__ = ("__weakref__",)


@final
class ThreadIdentity:
    """One thread of this process, from its first request on; never given to another."""

    __slots__ = ("_life", "ident")

    def __init__(self, life: _Life) -> None:
        self._life = weakref.ref(life)
        self.ident = threading.get_ident()

    def ended(self) -> bool:
        return self._life() is None

    def name(self) -> str:
        """The name that its `threading.Thread` has now; threads that Python did not start have none."""
        # `threading.enumerate` takes a lock, and finalisers ask for names inside whatever they interrupt.
        active: dict[int, threading.Thread] = getattr(threading, "_active", {})
        thread = None if self.ended() else active.get(self.ident)
        if thread is not None:
            return thread.name
        return f"thread {self.ident}" + (" (ended)" if self.ended() else "")


class _Current(threading.local):
    """What each thread knows of itself; made when a thread first looks."""

    def __init__(self) -> None:
        self._life = _Life()
        self.thread = ThreadIdentity(self._life)


current = _Current()
"""``current.thread`` is the identity of the calling thread."""


def has_ended(ticket: Ticket) -> bool:
    """Whether the task or thread that asked is no more: what it holds is nobody's."""
    if ticket.task is None:
        return bool(ticket.thread.ended())
    task = ticket.task()
    return task is None or _runtimes.task_has_ended(task)


def owner_name(ticket: Ticket) -> str:
    """What a user would call the owner of a request or a hold."""
    task = None if ticket.task is None else ticket.task()
    if task is not None:
        return _runtimes.task_name(task)
    if ticket.task is not None:
        return "a task that has ended"
    name: str = ticket.thread.name()
    return name
