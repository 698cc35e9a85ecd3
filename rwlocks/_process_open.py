"""Which segment a `ProcessRWLock` is for: made, or found and compared with what was asked for."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rwlocks._process_core import ProcessLockCore
from rwlocks._process_monitor import ProcessMonitor
from rwlocks.backends.process import _segment
from rwlocks.backends.process._core import ProcessCore
from rwlocks.backends.process._segment import NO_BOUND, Config
from rwlocks.policies import Fifo, Order, PhaseFair, Policy, ReaderPreference, WriterPreference

if TYPE_CHECKING:
    import os
    import weakref
    from collections.abc import Sequence

__all__ = ["DEATHS", "Wish", "cores_for", "open_native", "policy_of", "unlink"]

DEATHS: Final = ("flag", "raise", "ignore")
_ORDERS: Final = (Order.READERS_FIRST, Order.WRITERS_FIRST, Order.ARRIVAL)
_FOREVER: Final = 2**63 - 1


class Wish(NamedTuple):
    """What a constructor was asked for."""

    policy: Policy | None
    """None: whatever there is, else fifo."""
    max_processes: int
    max_holds: int
    on_writer_death: str
    given: Sequence[str]
    """Those of the three above that are no defaults, and must therefore agree with what there is."""

    def config(self) -> Config:
        """For a new segment."""
        policy = Fifo() if self.policy is None else self.policy
        wait = policy.max_writer_wait
        return Config(
            _count("max_processes", self.max_processes),
            _count("max_holds", self.max_holds),
            DEATHS.index(self.on_writer_death),
            _ORDERS.index(policy.after_write),
            _ORDERS.index(policy.while_reading),
            _limit(policy.max_batch),
            _limit(policy.max_consecutive_writers),
            NO_BOUND if wait is None or wait >= _FOREVER / 2e9 else int(wait * 1e9),
        )


def _limit(bound: int | None) -> int:
    return NO_BOUND if bound is None else min(bound, NO_BOUND)


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}; give a whole number of at least 1")
    if value < 1:
        raise ValueError(f"{name} is {value!r}; give a whole number of at least 1")
    return value


def open_native(name_or_path: str | os.PathLike[str] | None, wish: Wish, *, mode: int, create: bool) -> ProcessCore:
    """The segment, attached. Raises FileNotFoundError, ValueError for a conflict, SegmentError, SegmentFull."""
    config = wish.config()
    if name_or_path is None:
        return ProcessCore.make(config)
    path = _segment.find(name_or_path)
    try:
        native = ProcessCore.open(path, config if create else None, mode=mode)
    except FileNotFoundError:
        if path.parent.is_dir():
            raise FileNotFoundError(
                errno.ENOENT, "there is no such lock; leave create=False out to make it", str(path)
            ) from None
        raise FileNotFoundError(
            errno.ENOENT, "there is no such directory to make a lock in; make it first", str(path.parent)
        ) from None
    try:
        _compare(native, wish, config)
    except BaseException:
        native.close()
        raise
    return native


def _compare(native: ProcessCore, wish: Wish, wanted: Config) -> None:
    found = native.config
    pairs: dict[str, tuple[object, object]] = {
        "max_processes": (found.max_processes, wanted.max_processes),
        "max_holds": (found.max_holds, wanted.max_holds),
        "on_writer_death": (DEATHS[found.on_writer_death], wish.on_writer_death),
    }
    conflicts = [(name, *pairs[name]) for name in wish.given if pairs[name][0] != pairs[name][1]]
    if wish.policy is not None and found[3:] != wanted[3:]:
        conflicts.insert(0, ("policy", policy_of(found), wish.policy))
    for name, there, asked in conflicts:
        raise ValueError(
            f"the lock {native.name} exists with {name}={there!r}, and {name}={asked!r} was asked for; ask for the "
            "same or leave it out, or remove the lock first (rwlocks unlink)"
        )


def policy_of(config: Config) -> Policy:
    """The policy of a segment. Patience is everybody's own, and no part of it."""
    order = _ORDERS[config.after_write], _ORDERS[config.while_reading]
    batch = None if config.max_batch == NO_BOUND else config.max_batch
    if order == (Order.ARRIVAL, Order.ARRIVAL):
        return Fifo(batch)
    if order == (Order.READERS_FIRST, Order.WRITERS_FIRST):
        return PhaseFair(batch)
    if order == (Order.READERS_FIRST, Order.READERS_FIRST):
        wait = config.max_writer_wait
        return ReaderPreference(None if wait == NO_BOUND else wait / 1e9)
    writers = config.max_consecutive_writers
    return WriterPreference(None if writers == NO_BOUND else writers)


def cores_for(
    native: ProcessCore, policy: Policy | None, lock: weakref.ref[Any]
) -> tuple[ProcessLockCore, ProcessLockCore]:
    """What guards ask: ordinary ones, and those that get in after the death of a writer."""
    monitor = ProcessMonitor(native, policy_of(native.config) if policy is None else policy, lock)
    return ProcessLockCore(monitor, repairs=False), ProcessLockCore(monitor, repairs=True)


def unlink(name_or_path: str | os.PathLike[str]) -> None:
    """Remove the name; see `ProcessRWLock.unlink`."""
    _segment.unlink(name_or_path)
