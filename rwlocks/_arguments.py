"""What callers give, checked in the same words everywhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar, cast, get_args

from rwlocks._types import Deadlocks

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["deadlocks_preset", "one_of"]

T = TypeVar("T")


def one_of(what: str, value: T, known: Sequence[T]) -> T:
    """The value. Raises ValueError, which names the known ones, for any other."""
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}; the known ones are {', '.join(map(repr, known))}")
    return value


def deadlocks_preset() -> Deadlocks:
    """What ``RWLOCKS_DEADLOCK`` says. Raises ValueError if that is nonsense."""
    mode = cast("Deadlocks", os.environ.get("RWLOCKS_DEADLOCK", "raise"))
    return one_of("RWLOCKS_DEADLOCK", mode, get_args(Deadlocks))
