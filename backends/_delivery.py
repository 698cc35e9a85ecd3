"""A wake-up on its way through an event loop, which tells when it gets lost there."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Delivery"]


class Recipient(Protocol):
    def receive(self, delivery: Delivery) -> None:
        """Wake the task, in its loop's thread, and see to it that the delivery `arrive`s when the task runs.

        Also if the task is awake already, because of its timeout or cancellation: it has not run yet.
        """
        ...

    def undelivered(self) -> None:
        """The task will not run again; pass its news on."""
        ...


class Delivery:
    """Stays in the loop's ready queue until the woken task is about to run, or another delivery takes its place.

    A loop that is closed drops what it had accepted without a word (CPython 3.11 and 3.13 alike), and a task that
    somebody keeps a reference to is then not even destroyed. What does get destroyed is this object: unless it has
    arrived, its end is the news.
    """

    __slots__ = ("_arrived", "_recipient")

    def __init__(self, recipient: Recipient) -> None:
        self._recipient = recipient
        self._arrived = False

    def __call__(self) -> None:
        self._recipient.receive(self)

    def arrive(self) -> None:
        self._arrived = True

    def __del__(self) -> None:
        if not self._arrived:
            self._recipient.undelivered()
