"""A wake-up on its way through an event loop, which tells when it gets lost there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Delivery"]


class Recipient(Protocol):
    def ring(self) -> None:
        """Wake the task, in its loop's thread; nothing happens if it is awake already."""
        ...

    def behind_the_task(self, callback: Callable[[], None]) -> None:
        """Run the callback in the loop, after the task that `ring` has woken."""
        ...

    def undelivered(self) -> None:
        """The task will not run again; pass its news on."""
        ...


class Delivery:
    """Rings, then stays in the loop's ready queue until the woken task has run.

    A loop that is closed drops what it had accepted without a word (CPython 3.11 and 3.13 alike), and a task that
    somebody keeps a reference to is then not even destroyed. What does get destroyed is this object: unless it has
    arrived, its end is the news.
    """

    __slots__ = ("_arrived", "_recipient")

    def __init__(self, recipient: Recipient) -> None:
        self._recipient = recipient
        self._arrived = False

    def __call__(self) -> None:
        # Also behind a task that was awake already, because of its timeout or cancellation: it has not run yet.
        self._recipient.ring()
        self._recipient.behind_the_task(self.arrive)

    def arrive(self) -> None:
        self._arrived = True

    def __del__(self) -> None:
        if not self._arrived:
            self._recipient.undelivered()
