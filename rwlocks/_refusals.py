"""What is said to whoever uses a guard in a way that its state does not allow, of whatever lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwlocks._errors import GuardStateError
from rwlocks._ticket import State

if TYPE_CHECKING:
    from rwlocks._types import Mode

__all__ = ["HOLDS_NOTHING", "STILL_WAITING", "UPGRADE_PENDING", "seat_is_taken"]

HOLDS_NOTHING: Final = (
    "this guard holds nothing: it was released before, or never acquired; release each acquisition once"
)
STILL_WAITING: Final = "this guard is still waiting for the lock; it can be released once it holds it"
UPGRADE_PENDING: Final = "an upgrade of this guard is being waited for; cancel that first"


def seat_is_taken(state: State, mode: Mode) -> GuardStateError:
    """Why a guard in that state cannot acquire."""
    if state is State.HELD:
        return GuardStateError(
            f"this guard holds the lock already ({mode.value}); release it first, or make another guard"
        )
    return GuardStateError("this guard is waiting for the lock already; make another guard")
