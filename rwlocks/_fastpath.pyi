# The compiled core of RWLock, see csrc/gate.h; and what is compiled of ProcessRWLock, see csrc/door.h.

from collections.abc import Callable
from types import TracebackType
from typing import SupportsFloat, final

from rwlocks._core import LockCore
from rwlocks._engine import Engine
from rwlocks._errors import GuardStateError
from rwlocks._guards import Guard
from rwlocks._line import Line, Place
from rwlocks._lock import RWLock
from rwlocks._monitor import Monitor
from rwlocks._process import ProcessRWLock
from rwlocks._process_monitor import ProcessMonitor
from rwlocks._process_ticket import ProcessTicket, Roster
from rwlocks._ticket import State, Ticket
from rwlocks._types import Mode
from rwlocks.backends.process._core import ProcessCore
from rwlocks.policies import Order

@final
class Mutex:
    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def acquire(self, blocking: bool = True) -> bool: ...
    def renewed(self) -> Mutex: ...
    def forked(self) -> bool: ...
    def interrupts_another(self) -> bool: ...
    def strongest(self) -> Mode | None: ...

def install(
    *,
    core: type[LockCore],
    classes: tuple[type[Monitor], type[Engine], type[Line], type[Place], type[Ticket]],
    held: State,
    done: State,
    arrival: Order,
    modes: tuple[Mode, Mode, Mode],
    guards: tuple[type[Guard], type[Guard], type[Guard]],
    lock: type[RWLock],
    current: object,
    current_task: Callable[[], object | None],
    in_seconds: Callable[[SupportsFloat | None], float | None],
    seat_is_taken: Callable[[State, Mode], GuardStateError],
) -> tuple[type[Guard], type[Guard], type[Guard], type[RWLock]]: ...
def forked() -> None: ...
def install_door(
    *,
    lock: type[ProcessRWLock],
    roster: type[Roster],
    ticket: type[ProcessTicket],
    monitor: type[ProcessMonitor],
    native: type[ProcessCore],
    undisputed: object,
) -> tuple[type[ProcessRWLock], type[Roster]]: ...
def marks(pairs: tuple[tuple[object, str], ...] | None, /) -> None: ...
def observe(anybody: bool, /) -> None: ...
