"""A sorted line of people: an intrusive doubly linked list in which joining and leaving cost O(1).

Keys almost always come in growing order (arrival numbers, deadlines), so joining looks from the back and stops at
once; a key out of order walks to its place, which only the rare re-queueing of an old arrival does. The head is
found, and anybody removed, without looking at the others: 100,000 waiters may leave in any order in linear time.
"""

from __future__ import annotations

from typing import Any


class Place:
    """Where somebody stands in a `Line`; the ticket needed to leave it."""

    __slots__ = ("after", "before", "key", "who")

    before: Place | None
    after: Place | None
    who: Any
    key: float

    def __init__(self, who: Any, key: float) -> None:
        self.who = who
        self.key = key


class Line:
    """People sorted by key, those of equal keys by who joined first. ``steps`` counts every move along the links."""

    __slots__ = ("head", "length", "steps", "tail")

    head: Place | None
    tail: Place | None

    def __init__(self) -> None:
        self.head = self.tail = None
        self.length = 0
        self.steps = 0

    def join(self, who: Any, key: float) -> Place:
        place = Place(who, key)
        before = self.tail
        while before is not None and before.key > key:
            before = before.before
            self.steps += 1
        after = self.head if before is None else before.after
        # Back to front, so that whoever interrupts this can walk the line.
        self._chain(place, after)
        self._chain(before, place)
        self.length += 1
        self.steps += 1
        return place

    def leave(self, place: Place) -> None:
        self._chain(place.before, place.after)
        self.length -= 1
        self.steps += 1

    def everybody(self) -> list[Any]:
        people: list[Any] = []
        place = self.head
        while place is not None:
            people.append(place.who)
            place = place.after
        return people

    def _chain(self, before: Place | None, after: Place | None) -> None:
        if before is None:
            self.head = after
        else:
            before.after = after
        if after is None:
            self.tail = before
        else:
            after.before = before
