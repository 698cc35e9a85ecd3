"""Which segment a `ProcessRWLock` is for: made, or found and compared with what was asked for."""

from __future__ import annotations

import errno
from pathlib import Path
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

    from rwlocks._types import Deadlocks

__all__ = ["DEATHS", "Wish", "cores_for", "open_native", "policy_of", "unlink"]

DEATHS: Final = ("flag", "raise", "ignore")
_ORDERS: Final = (Order.READERS_FIRST, Order.WRITERS_FIRST, Order.ARRIVAL)
_FOREVER: Final = 2**63 - 1


class Wish(NamedTuple):
    """What a constructor was given; None for what was not."""

    policy: Policy | None
    max_processes: int | None
    max_holds: int | None
    on_writer_death: str | None

    def config(self) -> Config:
        """For a new segment."""
        policy = Fifo() if self.policy is None else self.policy
        wait = policy.max_writer_wait
        return Config(
            64 if self.max_processes is None else self.max_processes,
            1024 if self.max_holds is None else self.max_holds,
            DEATHS.index(self.on_writer_death or "flag"),
            _ORDERS.index(policy.after_write),
            _ORDERS.index(policy.while_reading),
            _limit(policy.max_batch),
            _limit(policy.max_consecutive_writers),
            NO_BOUND if wait is None or wait >= _FOREVER / 2e9 else int(wait * 1e9),
        )


def _limit(bound: int | None) -> int:
    return NO_BOUND if bound is None else min(bound, NO_BOUND)


def open_native(path: Path | None, wish: Wish, *, mode: int, create: bool) -> ProcessCore:
    """The segment, attached. Raises FileNotFoundError, ValueError for a conflict, SegmentError, SegmentFull."""
    if path is None:
        return ProcessCore.make(wish.config())
    try:
        native = ProcessCore.open(path, wish.config() if create else None, mode=mode)
    except FileNotFoundError:
        if path.parent.is_dir():
            raise FileNotFoundError(
                errno.ENOENT, "there is no such lock; leave create=False out to make it", str(path)
            ) from None
        raise FileNotFoundError(
            errno.ENOENT, "there is no such directory to make a lock in; make it first", str(path.parent)
        ) from None
    try:
        _compare(native, wish)
    except BaseException:
        native.close()
        raise
    return native


def _compare(native: ProcessCore, wish: Wish) -> None:
    found, wanted = native.config, wish.config()
    if wish.policy is not None and found[3:] != wanted[3:]:
        raise _conflict(native, "policy", repr(policy_of(found)), repr(wish.policy))
    if wish.max_processes is not None and found.max_processes != wanted.max_processes:
        raise _conflict(native, "max_processes", found.max_processes, wanted.max_processes)
    if wish.max_holds is not None and found.max_holds != wanted.max_holds:
        raise _conflict(native, "max_holds", found.max_holds, wanted.max_holds)
    if wish.on_writer_death is not None and found.on_writer_death != wanted.on_writer_death:
        raise _conflict(native, "on_writer_death", repr(DEATHS[found.on_writer_death]), repr(wish.on_writer_death))


def _conflict(native: ProcessCore, what: str, found: object, wanted: object) -> ValueError:
    return ValueError(
        f"the lock {native.name} exists with {what} {found}, and {wanted} was asked for; ask for the same or leave it "
        "out, or remove the lock first (rwlocks unlink)"
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
    native: ProcessCore, policy: Policy | None, lock: weakref.ref[Any], deadlocks: Deadlocks
) -> tuple[ProcessLockCore, ProcessLockCore]:
    """What guards ask: ordinary ones, and those that get in after the death of a writer."""
    monitor = ProcessMonitor(native, policy_of(native.config) if policy is None else policy, lock, deadlocks)
    return ProcessLockCore(monitor, repairs=False), ProcessLockCore(monitor, repairs=True)


def unlink(name_or_path: str | os.PathLike[str]) -> None:
    """Remove the name; see `ProcessRWLock.unlink`."""
    _segment.unlink(name_or_path)


def place(name_or_path: str | os.PathLike[str]) -> Path:
    """Where that lock lies."""
    return _segment.find(name_or_path)
