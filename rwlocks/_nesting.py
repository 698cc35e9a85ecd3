"""Holds inside holds of the same owner, for locks made with ``reentrant=True``.

The engine knows one hold per nest: its *head*, always the strongest. The others hang on it (``inner``, ``outer``) and
cost the engine nothing, so that a nested request needs no policy: it is granted past queued writers and a pending
upgrade. When the head goes first, the strongest of the others takes its place in the engine, weakened to its own mode
by a downgrade: releasing the write inside of which one reads leaves a reader, with no gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode

if TYPE_CHECKING:
    from rwlocks._engine import Engine, Wakes

__all__ = ["head_for", "nest"]

_STRENGTH: Final = {Mode.READ: 0, Mode.UPGRADABLE: 1, Mode.WRITE: 2}


def head_for(engine: Engine, ticket: Ticket) -> Ticket | None:
    """The hold of the same owner inside of which the request may be granted at once: one at least as strong."""
    held = max(engine.held_by(ticket.owner), key=_strength, default=None)
    return held if held is not None and _strength(held) >= _strength(ticket) else None


def nest(engine: Engine, ticket: Ticket, head: Ticket) -> None:
    """Grant the request inside of the head."""
    ticket.state = State.HELD
    ticket.outer = head
    head.inner = (*head.inner, ticket)
    engine.acquisitions += 1


def release(engine: Engine, ticket: Ticket, now: float) -> Wakes:
    """One hold of a nest ends."""
    head = ticket.outer
    if head is not None:
        head.inner = tuple(t for t in head.inner if t is not ticket)
        ticket.outer = None
        ticket.state = State.DONE
        return []
    wakes = _hand_over(engine, ticket, now)
    ticket.state = State.DONE
    return wakes


def downgrade(engine: Engine, ticket: Ticket, now: float) -> Wakes:
    """One hold of a nest becomes weaker; the nest as a whole does only if that was the strongest."""
    weaker = ticket.base or Mode.READ
    if ticket.outer is not None:
        ticket.mode = weaker
        return []
    if all(_STRENGTH[weaker] >= _strength(t) for t in ticket.inner):
        return engine.downgrade(ticket, now)
    return _hand_over(engine, ticket, now, keeps=weaker)


def _hand_over(engine: Engine, head: Ticket, now: float, keeps: Mode | None = None) -> Wakes:
    heir = max(head.inner, key=_strength)
    mode = heir.mode
    engine.pass_on(head, heir)
    heir.outer = None
    heir.inner = tuple(t for t in head.inner if t is not heir)
    head.inner = ()
    if keeps is not None:
        head.mode, head.base, head.outer = keeps, None, heir
        heir.inner = (*heir.inner, head)
    for ticket in heir.inner:
        ticket.outer = heir
    if heir.mode is mode:
        return []
    heir.base = mode
    return engine.downgrade(heir, now)


def _strength(ticket: Ticket) -> int:
    return _STRENGTH[ticket.mode]
