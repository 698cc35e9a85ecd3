# The compiled core of RWLock; see csrc/gate.h.

from collections.abc import Callable
from typing import Any, SupportsFloat

from rwlocks._engine import Engine
from rwlocks._guards import Guard
from rwlocks._line import Line, Place
from rwlocks._lock import RWLock
from rwlocks._monitor import Monitor
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.policies import Order

def install(
    *,
    classes: tuple[type[Monitor], type[Engine], type[Line[Any]], type[Place[Any]]],
    ticket: type[Ticket],
    held: State,
    done: State,
    arrival: Order,
    modes: tuple[Mode, Mode, Mode],
    guards: tuple[type[Guard], type[Guard], type[Guard]],
    lock: type[RWLock],
    current: object,
    current_task: Callable[[], object | None],
    in_seconds: Callable[[SupportsFloat | None], float | None],
) -> tuple[type[Monitor], tuple[type[Guard], type[Guard], type[Guard], type[RWLock]]]: ...
def marks(pairs: tuple[tuple[object, str], ...] | None, /) -> None: ...
def observe(anybody: bool, /) -> None: ...
