"""What this process knows of its own requests and holds of a lock that it shares with others.

The truth stands in shared memory, where a record tells mode and state, but neither task nor guard: those mean something
in one process only. So a ticket reads its state there, and adds whose it is here.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.backends.process._hold import Hold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rwlocks._ticket import Deliverable

__all__ = ["ProcessTicket", "Roster", "roster_of"]

_STATES: Final = (State.DONE, State.WAITING, State.HELD, State.DONE)
_MODES: Final = (None, Mode.READ, Mode.UPGRADABLE, Mode.WRITE)


@final
class ProcessTicket(Hold):
    """One request, then one hold: to guards and views what `rwlocks._ticket.Ticket` is in process."""

    asked: float | None = None
    """When it first asked for this lock, if that was before this request: an `acquire_all` asks again and again."""
    detached = False
    """Leaving a block does not release it: its owner gave it up, or is in the process that this was forked from."""
    abandoned = False
    """The guard of this hold was dropped: nobody can release it any more."""
    delivered = True
    """False while its waiter may not know of its grant."""
    blocks = False
    """Whether its waiter blocks the whole thread."""
    joined = 0
    """Its number among all requests of the process that look for circles of waiters when they begin to wait; else 0."""
    waiter: Deliverable | None = None
    """Stands for the present wait; a hold may ask for more than one upgrade."""
    _twin: Ticket | None = None

    def __init__(self, mode: Mode, thread: Any = None, task: Any = None) -> None:
        self.wish = mode
        self.thread = thread
        self.task = task
        self.owner = thread if task is None else task

    @property
    def state(self) -> State:
        """What has become of it, from the instant of the grant on."""
        token, context = self.token or self.known(), self.context
        if token and context is not None:
            return _STATES[context.peek(token) & 3]
        return State.DONE if self.over else State.NEW

    @property
    def mode(self) -> Mode:
        """The mode held or waited for now, else the one that was asked for."""
        return _MODES[self.word() >> 2 & 3] or self.wish

    @property
    def base(self) -> Mode | None:
        """The mode to go back to, while this hold upgrades or is upgraded."""
        return _MODES[self.word() >> 4 & 3]

    @property
    def twin(self) -> Ticket:
        """The same request as an in-process engine would know it; always the same object."""
        twin = self._twin
        if twin is None:
            twin = Ticket(self.wish, self.thread, self.task)
            twin.origin = weakref.ref(self)
            twin.pid = os.getpid()
            twin = self.__dict__.setdefault("_twin", twin)  # Two threads may ask first.
        twin.owner = self.owner
        twin.blocks = self.blocks
        twin.detached = self.detached
        twin.joined = self.joined
        return twin

    def settle(self) -> None:
        """Let the twin, which there is, know that a wait or a hold has ended, which no picture shows."""
        self.twin.state, self.twin.mode = self.state, self.mode

    @property
    def is_known(self) -> bool:
        """Whether there is a twin."""
        return self._twin is not None


@final
class Roster:
    """The tickets of this process by owner, over all its objects for one lock.

    Changed without a mutex, which a finaliser or a signal handler could meet locked: each change is one operation of a
    dict. A ticket may still be listed for a moment after its release; look at its state.
    """

    __slots__ = ("__weakref__", "_first", "_more", "turn", "waiting")

    implementation: ClassVar[type[Roster] | None] = None
    """The compiled subclass that new ones are made of, if there is one; see `rwlocks._process_compiled`."""

    def __init__(self) -> None:
        self._first: dict[object, ProcessTicket] = {}
        self._more: dict[ProcessTicket, None] = {}
        """The further holds of owners who are listed already."""
        self.waiting: dict[ProcessTicket, None] = {}
        self.turn = threading.RLock()
        """To draw a picture and look at it."""

    def add(self, ticket: ProcessTicket) -> None:
        """It holds."""
        if self._first.setdefault(ticket.owner, ticket) is not ticket:
            self._more[ticket] = None

    def remove(self, ticket: ProcessTicket) -> None:
        """It holds no longer."""
        if self._first.get(ticket.owner) is ticket:
            self._first.pop(ticket.owner, None)
        else:
            self._more.pop(ticket, None)

    def disown(self, ticket: ProcessTicket) -> None:
        """It is nobody's from now on."""
        self.remove(ticket)
        ticket.owner = object()
        self.add(ticket)

    def holds(self, owner: object) -> bool:
        """Whether the owner holds the lock."""
        first = self._first.get(owner)
        if first is not None and first.state is State.HELD:
            return True
        return any(t.owner is owner and t.state is State.HELD for t in list(self._more))

    def holds_another(self, ticket: ProcessTicket) -> bool:
        """Whether the owner of this hold has a second one."""
        first = self._first.get(ticket.owner)
        others = [*list(self._more), *([] if first is None else [first])]
        return any(t.owner is ticket.owner and t is not ticket and t.state is State.HELD for t in others)

    def everybody(self) -> Iterator[ProcessTicket]:
        """All who hold or wait."""
        yield from list(self._first.values())
        yield from list(self._more)
        yield from list(self.waiting)

    def forked(self) -> None:
        """In a forked child: all of it is the parent's."""
        for ticket in self.everybody():
            ticket.detached = True
        self._first, self._more, self.waiting = {}, {}, {}
        self.turn = threading.RLock()


_rosters: weakref.WeakValueDictionary[bytes, Roster] = weakref.WeakValueDictionary()


_making = threading.RLock()


def roster_of(instance: bytes) -> Roster:
    """The roster of a segment; one for all objects of this process that use it."""
    with _making:
        return _rosters.setdefault(instance, (Roster.implementation or Roster)())


def _in_forked_child() -> None:
    global _making  # noqa: PLW0603  another thread may have had it
    _making = threading.RLock()
    for roster in tuple(_rosters.values()):
        roster.forked()


os.register_at_fork(after_in_child=_in_forked_child)
