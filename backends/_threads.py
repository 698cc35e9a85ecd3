"""Plain threads: a raw lock as a binary semaphore, the cheapest sleep that CPython offers, and it answers signals."""

from __future__ import annotations

import _thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BACKEND"]


class ThreadWaiter:
    """Locked: not rung. Parking takes the bell, so that a ring before the park is not lost and one serves once."""

    __slots__ = ("_bell",)

    def __init__(self) -> None:
        self._bell = _thread.allocate_lock()
        self._bell.acquire()

    # A thread can always run again. No code of Python's, for the engine asks in places that nothing may interrupt.
    lost = staticmethod(bool)

    def wake(self) -> bool:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # It was rung already, and one ring is enough.
        return True

    def park(self, timeout: float | None) -> None:
        if timeout is None:
            self._bell.acquire()
        else:
            self._bell.acquire(True, min(max(timeout, 0.0), _thread.TIMEOUT_MAX))


class ThreadBackend:
    """The operating system's threads, and whatever has patched `_thread` to look like them."""

    __slots__ = ()
    name = "threading"

    # Strict hand-off between threads makes a convoy: each grant costs a switch of threads. Up to one millisecond of
    # barging per waiter is three times as fast as a plain lock and still fair.
    patience = 0.001

    def new_sync_waiter(self, undelivered: Callable[[], None]) -> ThreadWaiter:
        return ThreadWaiter()


BACKEND: Final = ThreadBackend()
