"""Who waits for whom over all locks of the process, and the circles in it.

A *node* is an owner, a thread or a task. An owner that waits does so until everything in its way has ended, so that
every circle is a deadlock. There are two kinds of edges:

- from an owner to whoever holds the lock that it waits for, or is served before it there;
- from everybody who lives on a thread to the one whose blocking wait has put that very thread to sleep: a task cannot
  run while another one blocks its event loop.

Holds that are nobody's (detached, taken through a view, left by an owner that has ended) or abandoned lead nowhere:
somebody else may release them, or they are an error of their own. Requests that are nobody's still wait, and whoever
queues behind them waits for them.

**Proof.** The locks are looked at one after the other, never two mutexes at once, so that what a first look finds may
never have been true at one time. A second look confirms it. A request never begins to wait again, and a hold never
comes back. So whatever both looks have found was true all the time between them, the whole circle at once, and
none of its owners can break it any more. Only a timeout or a cancellation could.

**One look for each wait.** An owner waits for one lock at a time. Whoever is granted something, or overtakes, has ended
its wait: it is no part of a circle before it waits again. So a circle closes when the last of its owners begins to
wait; that one looks when it stands in the queue, where all the others have been before it, and sees them. Two that
begin at the same time may both see the circle. Each has drawn a number in the critical section in which it
queued, and the highest in the circle is the one that gives way.

Two kinds of circles close without one of these looks. The last wait may be for a lock that is not in the mode
``"cycles"``; or, rarely, the order of a queue turns (a writer becomes overdue, an upgrade is granted) while the task
that comes first lives on a thread that is asleep. For these, everybody who waits in that mode looks again each
`rwlocks._contended.LOOK_AGAIN` seconds.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from rwlocks import _contended, _snapshots
from rwlocks._deadlock import is_nobodys, obstacles
from rwlocks._errors import DeadlockError
from rwlocks._owners import has_ended, owner_name
from rwlocks._ticket import State
from rwlocks._types import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rwlocks._engine import Engine
    from rwlocks._monitor import Monitor
    from rwlocks._ticket import Ticket

__all__ = ["Deadlock", "DeadlockLink", "deadlocks", "refusal"]

WAITING: Final = State.WAITING


# -- what users see ----------------------------------------------------------------------------------------------


class DeadlockLink(NamedTuple):
    """One owner of a circle, and why it cannot go on."""

    owner: str
    """Name of the task, or of the thread if there is none."""
    thread: int
    """Identifier of the thread, as `threading.get_ident` gives it."""
    mode: Mode | None
    """The mode that is wanted; None for a task that waits for no lock here, but whose thread is blocked."""
    lock: Any
    """The lock that is waited for; None for a task whose thread is blocked."""
    age: float
    """Seconds since it asked, or since its thread was blocked."""
    blocker: str
    """Name of the one that is waited for, the owner of the next link."""
    blocker_mode: Mode | None
    """The mode in which that one holds the lock or, if it is an earlier waiter, the mode that it wants."""
    blocker_holds: bool
    """Whether that one holds the lock; False for an earlier waiter, and for one that blocks the thread."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Locks stay where they are; other processes get a description.
        lock = None if self.lock is None else _called(self.lock)
        return DeadlockLink, tuple(self._replace(lock=lock))

    def __str__(self) -> str:
        who = f"{self.owner} (thread {self.thread})"
        if self.mode is None or self.blocker_mode is None:
            return f"{who} cannot run, for {self.age:.3g} s now: {self.blocker} blocks the thread of its event loop"
        mode, blocker = self.blocker_mode.value, self.blocker
        why = f"{blocker} holds it for {mode}" if self.blocker_holds else f"{blocker} is to {mode}-lock it before"
        return f"{who} has waited for {self.age:.3g} s to {self.mode.value}-lock {_called(self.lock)}: {why}"


def _called(lock: Any) -> str:
    """A lock by what does not change: its state now would mislead whoever reads of a circle that was broken."""
    if isinstance(lock, str):
        return lock
    name, kind = getattr(lock, "name", None), type(lock).__name__
    return f"{kind} at {id(lock):#x}" if name is None else f"{kind} {name!r}"


class Deadlock(NamedTuple):
    """A circle of owners: each waits for the next, and the last for the first. ``str()`` shows it in several lines."""

    links: tuple[DeadlockLink, ...]
    """The one that has waited longest comes first; in a `DeadlockError`, the one whose request was refused."""

    def __str__(self) -> str:
        lines = (f"  {number}. {link}" for number, link in enumerate(self.links, 1))
        return "\n".join(
            (f"deadlock of {len(self.links)}, each waits for the next and the last for the first:", *lines)
        )


def deadlocks() -> tuple[Deadlock, ...]:
    """The circles of owners that wait for each other now, over all `RWLock` objects of the process.

    Every owner that is part of a circle is in one that is returned; a tangle of them is not spelled out in full.
    Requests with a timeout count while they wait. Looks at each contended lock in turn and stops none of them.
    """
    found: dict[frozenset[int], Deadlock] = {}
    chart = _Chart()
    for node, ticket in chart.starts():
        proven = _circle(node, ticket, chart)
        if proven is not None:
            links = proven.links
            first = max(range(len(links)), key=lambda n: links[n].age)
            found.setdefault(proven.nodes, Deadlock(links[first:] + links[:first]))
    return tuple(found.values())


def refusal(monitor: Monitor, ticket: Ticket, wanted: Mode) -> DeadlockError | None:
    """Why a request that waits, and has drawn a number, is to give way, if it is to."""
    node = monitor.look(lambda _now: _node(monitor.engine, ticket))
    proven = None if node is None else _circle(node, ticket, _Chart())
    if proven is None or ticket.joined < proven.latest:
        return None
    lock, circle = monitor.lock(), Deadlock(proven.links)
    error = DeadlockError(
        f"{owner_name(ticket)} would wait for ever to {wanted.value}-lock {lock!r}: that closes a circle of waiters; "
        f"take these locks in the same order everywhere, or all at once\n{circle}"
    )
    error.lock, error.cycle = lock, circle
    error.holders = monitor.look(lambda now: _snapshots.holders(monitor, now))
    return error


# -- the first look ----------------------------------------------------------------------------------------------


def _node(engine: Engine, ticket: Ticket) -> object | None:
    """Who cannot go on without that request, or has to end that hold; None if there is nobody to be named."""
    if ticket.abandoned:
        return None
    if is_nobodys(ticket):
        if ticket.state is WAITING:
            return ticket.thread if ticket.blocks else ticket
        return ticket if ticket is engine.upgrading else None
    if has_ended(ticket):
        return None
    node: object = ticket.thread if ticket.task is None else ticket.task()
    return node


@final
class _Request:
    """A ticket that waits, for the lock or to become its writer."""

    __slots__ = ("_obstacles", "monitor", "node", "ticket", "waiter")

    def __init__(self, monitor: Monitor, ticket: Ticket) -> None:
        self.monitor = monitor
        self.ticket = ticket
        self.node = _node(monitor.engine, ticket)
        # A hold may upgrade more than once; each attempt has a waiter of its own.
        self.waiter = ticket.waiter
        self._obstacles: list[tuple[Ticket, object]] | None = None

    def obstacles(self) -> list[tuple[Ticket, object]]:
        """What is in its way, with the nodes; nothing once it has ended."""
        if self._obstacles is None:
            self._obstacles = self.monitor.look(lambda _now: self.obstacles_now())
        return self._obstacles

    def obstacles_now(self) -> list[tuple[Ticket, object]]:
        """The same, under the mutex."""
        engine = self.monitor.engine
        if not self.waits():
            return []
        pairs = ((ticket, _node(engine, ticket)) for ticket in obstacles(engine, self.ticket))
        return [(ticket, node) for ticket, node in pairs if node is not None]

    def waits(self) -> bool:
        """Whether it still waits; under the mutex."""
        waiting = self.ticket.state is WAITING or self.ticket is self.monitor.engine.upgrading
        return waiting and self.ticket.waiter is self.waiter

    def blocks(self) -> bool:
        """Whether it has put its thread to sleep; whoever upgrades a detached hold may be on another thread."""
        return self.ticket.blocks and not (self.ticket.state is State.HELD and is_nobodys(self.ticket))


class _Edge(NamedTuple):
    """Somebody waits for somebody."""

    waiter: Ticket
    """By which it is known who waits."""
    request: _Request
    """What it waits with; or the blocking wait that has put its thread to sleep."""
    obstacle: Ticket | None
    """What is in the way of the request; None if it is the request that is in the way of the waiter."""
    node: object
    """The one that is waited for."""


@final
class _Chart:
    """A first look at all contended locks, one after the other."""

    def __init__(self) -> None:
        self._requests: dict[int, list[_Request]] = {}
        self._sleeping: dict[int, list[_Request]] = {}
        self._holds: list[tuple[object, Ticket]] = []
        self._threads_of_tasks: set[int] = set()
        for reference in _contended.monitors.copy():
            monitor = reference()
            # Read without the mutex: somebody who waits for good has been counted before.
            if monitor is not None and monitor.engine.contended:
                requests, holds = monitor.look(partial(_everybody, monitor))
                self._add(requests, holds)

    def _add(self, requests: list[_Request], holds: list[tuple[object, Ticket]]) -> None:
        self._holds += holds
        for request in requests:
            if request.node is not None:
                self._requests.setdefault(id(request.node), []).append(request)
                if request.blocks():
                    self._sleeping.setdefault(id(request.ticket.thread), []).append(request)
        tickets = [ticket for _, ticket in holds] + [request.ticket for request in requests]
        self._threads_of_tasks.update(id(ticket.thread) for ticket in tickets if ticket.task is not None)

    def starts(self) -> Iterator[tuple[object, Ticket]]:
        """Nodes of which each circle has one: as a queue alone has none, it leads to a hold or to a sleeper."""
        seen: set[int] = set()
        sleepers = (
            (request.node, request.ticket)
            for requests in self._sleeping.values()
            for request in requests
            if id(request.ticket.thread) in self._threads_of_tasks
        )
        for node, ticket in (*self._holds, *sleepers):
            if id(node) not in seen:
                seen.add(id(node))
                yield node, ticket

    def edges(self, node: object, known: Ticket) -> Iterator[_Edge]:
        """For whom the node, known by one of its tickets, waits."""
        for request in self._requests.get(id(node), ()):
            for ticket, owner in request.obstacles():
                yield _Edge(request.ticket, request, ticket, owner)
        for request in self._sleeping.get(id(known.thread), ()):
            if request.node is not node and not is_nobodys(known):
                yield _Edge(known, request, None, request.node)

    def shortest(self, start: object, known: Ticket) -> list[_Edge] | None:
        """The shortest way from a node to itself."""
        came: dict[int, tuple[object, _Edge]] = {}
        ahead: deque[tuple[object, Ticket]] = deque([(start, known)])
        while ahead:
            node, ticket = ahead.popleft()
            for edge in self.edges(node, ticket):
                if id(edge.node) in came:
                    continue
                came[id(edge.node)] = (node, edge)
                if edge.node is start:
                    return _way_back(start, came)
                ahead.append((edge.node, edge.obstacle or edge.request.ticket))
        return None


def _everybody(monitor: Monitor, _now: float) -> tuple[list[_Request], list[tuple[object, Ticket]]]:
    engine = monitor.engine
    pending = [] if engine.upgrading is None else [engine.upgrading]
    requests = [_Request(monitor, ticket) for ticket in (*pending, *engine.queue())]
    holds = ((_node(engine, ticket), ticket) for ticket in engine.held())
    return requests, [(node, ticket) for node, ticket in holds if node is not None]


def _way_back(start: object, came: dict[int, tuple[object, _Edge]]) -> list[_Edge]:
    node, edge = came[id(start)]
    edges = [edge]
    while node is not start:
        node, edge = came[id(node)]
        edges.append(edge)
    return edges[::-1]


# -- the second look ---------------------------------------------------------------------------------------------


class _Proven(NamedTuple):
    links: tuple[DeadlockLink, ...]
    nodes: frozenset[int]
    latest: int
    """The highest number drawn by one of the requests; 0 if none looks for circles."""


def _circle(start: object, known: Ticket, chart: _Chart) -> _Proven | None:
    """A proven circle through that node, if it is in one."""
    while True:
        edges = chart.shortest(start, known)
        if edges is None:
            return None
        links = _confirmed(edges)
        if links is not None:
            requests = [edge.request for edge in edges]
            nodes = frozenset(id(edge.node) for edge in edges)
            return _Proven(tuple(links), nodes, max(request.ticket.joined for request in requests))
        # Something has moved between the looks: what was found is history, and there may be another.
        chart = _Chart()


def _confirmed(edges: Iterable[_Edge]) -> list[DeadlockLink] | None:
    links: list[DeadlockLink] = []
    for edge in edges:
        link = edge.request.monitor.look(partial(_link, edge))
        if link is None:
            return None
        links.append(link)
    return links


def _link(edge: _Edge, now: float) -> DeadlockLink | None:
    """What users see of the edge, if it is still there; under the mutex of its request."""
    request, ticket = edge.request, edge.request.ticket
    if not request.waits():
        return None
    name, thread, age = owner_name(edge.waiter), edge.waiter.thread.ident, now - ticket.wanted
    if edge.obstacle is None:
        return DeadlockLink(name, thread, None, None, age, owner_name(ticket), None, blocker_holds=False)
    if not any(other is edge.obstacle and node is edge.node for other, node in request.obstacles_now()):
        return None
    return DeadlockLink(
        name,
        thread,
        ticket.mode if ticket.state is WAITING else Mode.WRITE,
        request.monitor.lock(),
        age,
        owner_name(edge.obstacle),
        edge.obstacle.mode,
        blocker_holds=edge.obstacle.state is State.HELD,
    )
