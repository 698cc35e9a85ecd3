"""The four fairness policies, as data.

A reader-writer lock has to choose in two situations only: when a write ends, and while reads go on (who may
join them, and who is next when the last of them ends). A policy is one `Order` for each. That is all there is:

    =============  ====================  ====================
    policy         when a write ends     while reads go on
    =============  ====================  ====================
    reader-pref    readers first         readers first
    writer-pref    writers first         writers first
    fifo           by arrival            by arrival
    phase-fair     readers first         writers first
    =============  ====================  ====================

Phase-fair (Brandenburg and Anderson, "Spin-based reader-writer synchronization for multiprocessor real-time
systems", 2010) reads itself off the table: readers have precedence over writers while a writer holds, writers over
readers while readers hold, so that phases alternate and nobody waits for more than a bounded number of them.

The bounds (``max_...``) soften a policy where it would starve somebody or wake too many at once; ``patience``
says for how long a waiter lets newcomers overtake it. The machine that reads this data is `rwlocks._engine`.
"""

from __future__ import annotations

import enum
import math
from typing import Any, ClassVar, get_args

from rwlocks._types import PolicyName

__all__ = [
    "Fifo",
    "Order",
    "PhaseFair",
    "Policy",
    "ReaderPreference",
    "WriterPreference",
    "policy_named",
]


class Order(enum.Enum):
    """Who of the waiting goes first."""

    READERS_FIRST = "readers first"
    WRITERS_FIRST = "writers first"
    ARRIVAL = "by arrival"


class Policy:
    """The rules of one lock: immutable, comparable, hashable, picklable; the same in process and across processes.

    ``patience``: seconds for which a waiter lets newcomers overtake it; 0 is strict. ``None`` takes the runtime's
    default: 0 on event loops, where a strict hand-off is free, and 0.001 for threads and processes, where it makes
    a convoy.
    """

    __slots__ = (
        "_key",
        "max_batch",
        "max_consecutive_writers",
        "max_writer_wait",
        "patience",
    )

    name: ClassVar[PolicyName]
    after_write: ClassVar[Order]
    while_reading: ClassVar[Order]

    max_batch: int | None
    max_consecutive_writers: int | None
    max_writer_wait: float | None
    patience: float | None

    def __init__(
        self,
        *,
        max_batch: int | None = None,
        max_consecutive_writers: int | None = None,
        max_writer_wait: float | None = None,
        patience: float | None = None,
    ) -> None:
        if type(self) is Policy:
            raise TypeError(f"Policy has no rules of its own; use one of {', '.join(_CLASS_NAMES)}")
        put = object.__setattr__
        put(self, "max_batch", _count("max_batch", max_batch))
        put(self, "max_consecutive_writers", _count("max_consecutive_writers", max_consecutive_writers))
        put(self, "max_writer_wait", _seconds("max_writer_wait", max_writer_wait))
        put(self, "patience", _seconds("patience", patience))
        put(self, "_key", (type(self), *self.bounds().values(), self.patience))

    def bounds(self) -> dict[str, float | None]:
        """The bounds that this policy knows, by name; patience, which may differ between users, is not one."""
        return {}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a policy is immutable; make another {type(self).__name__} instead")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a policy is immutable; make another {type(self).__name__} instead")

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Policy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        given = {**self.bounds(), "patience": self.patience}
        inside = ", ".join(f"{k}={v!r}" for k, v in given.items() if v is not None)
        return f"{type(self).__name__}({inside})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), {**self.bounds(), "patience": self.patience})

    _key: tuple[object, ...]


class ReaderPreference(Policy):
    """Readers never wait for waiting writers. Most reads per second; writers may starve.

    ``max_writer_wait``: while some writer has waited for that many seconds or longer, the lock is phase-fair.
    """

    __slots__ = ()
    name = "reader-pref"
    after_write = Order.READERS_FIRST
    while_reading = Order.READERS_FIRST

    def __init__(self, max_writer_wait: float | None = None, *, patience: float | None = None) -> None:
        super().__init__(max_writer_wait=max_writer_wait, patience=patience)

    def bounds(self) -> dict[str, float | None]:
        return {"max_writer_wait": self.max_writer_wait}


class WriterPreference(Policy):
    """Writers go before every waiting reader. Freshest data; readers may starve.

    ``max_consecutive_writers``: after that many writes granted while a reader waited, the next end of a write lets
    all waiting readers in.
    """

    __slots__ = ()
    name = "writer-pref"
    after_write = Order.WRITERS_FIRST
    while_reading = Order.WRITERS_FIRST

    def __init__(self, max_consecutive_writers: int | None = None, *, patience: float | None = None) -> None:
        super().__init__(max_consecutive_writers=max_consecutive_writers, patience=patience)

    def bounds(self) -> dict[str, float | None]:
        return {"max_consecutive_writers": self.max_consecutive_writers}


class Fifo(Policy):
    """First come, first served; readers that stand together go in together. Nobody starves. The default.

    ``max_batch``: one step lets at most that many readers in; the others of that batch follow when the last reader
    leaves, before every writer that queued behind them.
    """

    __slots__ = ()
    name = "fifo"
    after_write = Order.ARRIVAL
    while_reading = Order.ARRIVAL

    def __init__(self, max_batch: int | None = None, *, patience: float | None = None) -> None:
        super().__init__(max_batch=max_batch, patience=patience)

    def bounds(self) -> dict[str, float | None]:
        return {"max_batch": self.max_batch}


class PhaseFair(Policy):
    """Read and write phases alternate: a reader waits for at most one of each, the k-th writer for k of each.

    ``max_batch``: one step lets at most that many readers in; the others follow after exactly one write.
    """

    __slots__ = ()
    name = "phase-fair"
    after_write = Order.READERS_FIRST
    while_reading = Order.WRITERS_FIRST

    def __init__(self, max_batch: int | None = None, *, patience: float | None = None) -> None:
        super().__init__(max_batch=max_batch, patience=patience)

    def bounds(self) -> dict[str, float | None]:
        return {"max_batch": self.max_batch}


_BY_NAME: dict[str, type[Policy]] = {cls.name: cls for cls in (ReaderPreference, WriterPreference, Fifo, PhaseFair)}
_CLASS_NAMES = [cls.__name__ for cls in _BY_NAME.values()]
assert set(_BY_NAME) == set(get_args(PolicyName))


def policy_named(policy: str | Policy) -> Policy:
    """The policy object for a name; an object is returned as it is.

    Raises ValueError for an unknown name and TypeError for anything else, both naming the known ones.
    """
    if isinstance(policy, Policy):
        return policy
    known = f"{', '.join(map(repr, _BY_NAME))}, or an object of rwlocks.policies"
    if not isinstance(policy, str):
        raise TypeError(f"{policy!r} is not a policy; give one of {known}")
    if policy not in _BY_NAME:
        raise ValueError(f"unknown policy {policy!r}; the known ones are {known}")
    return _BY_NAME[policy]()


def _rebuild(cls: type[Policy], given: dict[str, Any]) -> Policy:
    return cls(**given)


def _count(name: str, value: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}; give a whole number of at least 1, or None for no bound")
    if value < 1:
        raise ValueError(f"{name} is {value!r}; give at least 1, or None for no bound")
    return value


def _seconds(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {value!r}; give seconds as a number, or None")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} is {value!r}; give seconds of at least 0, or None")
    return float(value)
