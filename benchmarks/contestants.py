"""Who is measured. One entry each; a rival that is not installed is skipped, and named in the report.

An entry is source text, as for `timeit`: the timed loop is compiled around it, so that nobody pays for a wrapper
that its users would not call, and everybody is used as its own documentation does.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import Final

__all__ = ["ASYNCIO", "THREADS", "TRIO", "Contestant", "choose"]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One lock. ``read`` and ``write`` are the expressions for ``with`` and ``async with``, evaluated each time."""

    name: str
    setup: str
    """Makes a new ``lock``; imports what it needs."""
    read: str
    write: str
    handles: str = "pass"
    """What each thread or task keeps for itself, where the interface wants that."""
    distribution: str | None = None
    """The distribution to install; None for this library and for what every Python has."""

    def missing(self) -> bool:
        """Whether it cannot be measured here."""
        if self.distribution is None:
            return False
        try:
            importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return True
        return False

    @property
    def label(self) -> str:
        """Its name, with the release that is measured."""
        if self.distribution is None or self.missing():
            return self.name
        return f"{self.name} {importlib.metadata.version(self.distribution)}"


def _plain(name: str, setup: str, distribution: str | None = None) -> Contestant:
    """A lock without modes: reading excludes, too."""
    return Contestant(name=name, setup=setup, read="lock", write="lock", distribution=distribution)


def _ours(policy: str) -> Contestant:
    return Contestant(
        name=f"rwlocks {policy}",
        setup=f"from rwlocks import RWLock\nlock = RWLock({policy!r})",
        read="lock.read()",
        write="lock.write()",
    )


def _readerwriterlock(kind: str) -> Contestant:
    return Contestant(
        name=f"readerwriterlock {kind}",
        distribution="readerwriterlock",
        setup=f"from readerwriterlock.rwlock import RWLock{kind}\nlock = RWLock{kind}()",
        handles="reader, writer = lock.gen_rlock(), lock.gen_wlock()",
        read="reader",
        write="writer",
    )


_OURS: Final = tuple(map(_ours, ("fifo", "phase-fair", "writer-pref", "reader-pref")))
_CULSANS: Final = Contestant(
    name="culsans",
    distribution="culsans",
    setup="from culsans import RWLock\nlock = RWLock()",
    read="lock.reading",
    write="lock.writing",
)

# The first of each is the yardstick.
THREADS: Final = (
    _plain("threading.Lock", "from threading import Lock\nlock = Lock()"),
    *_OURS,
    Contestant(
        name="fasteners",
        distribution="fasteners",
        setup="from fasteners import ReaderWriterLock\nlock = ReaderWriterLock()",
        read="lock.read_lock()",
        write="lock.write_lock()",
    ),
    _readerwriterlock("Fair"),
    _readerwriterlock("Read"),
    _readerwriterlock("Write"),
    Contestant(
        name="rwlock",
        distribution="rwlock",
        setup="from rwlock import RWLock\nlock = RWLock()",
        read="lock.reader_lock",
        write="lock.writer_lock",
    ),
    _CULSANS,
)

ASYNCIO: Final = (
    _plain("asyncio.Lock", "from asyncio import Lock\nlock = Lock()"),
    *_OURS,
    *(
        Contestant(
            name=f"aiorwlock {mode}",
            distribution="aiorwlock",
            setup=f"from aiorwlock import RWLock\nlock = RWLock(fast={fast})",
            read="lock.reader",
            write="lock.writer",
        )
        for mode, fast in (("default", False), ("fast", True))
    ),
    _CULSANS,
    Contestant(
        name="fifolock",
        distribution="fifolock",
        setup="""\
from asyncio import Future
from fifolock import FifoLock

class Write(Future):
    @staticmethod
    def is_compatible(holds):
        return not holds[Read] and not holds[Write]

class Read(Future):
    @staticmethod
    def is_compatible(holds):
        return not holds[Write]

lock = FifoLock()
""",
        read="lock(Read)",
        write="lock(Write)",
    ),
    Contestant(
        name="asyncio-multilock",
        distribution="asyncio-multilock",
        setup="from asyncio_multilock import MultiLock, MultiLockType\nlock = MultiLock()",
        read="lock.context(MultiLockType.SHARED)",
        write="lock.context(MultiLockType.EXCLUSIVE)",
    ),
)

TRIO: Final = (
    _plain("trio.Lock", "from trio import Lock\nlock = Lock()", "trio"),
    *_OURS,
    Contestant(
        name="tricycle",
        distribution="tricycle",
        setup="from tricycle import RWLock\nlock = RWLock()",
        read="lock.read_locked()",
        write="lock.write_locked()",
    ),
    _CULSANS,
)


def choose(everybody: tuple[Contestant, ...], wanted: list[str]) -> list[Contestant]:
    """Those whose name contains one of ``wanted`` (all, if that is empty), and the yardstick; says who is missing."""
    yardstick = everybody[0]
    chosen = [c for c in everybody if c is yardstick or not wanted or any(word in c.name for word in wanted)]
    missing = [c for c in chosen if c.missing()]
    for contestant in missing:
        print(f"not measured: {contestant.name} (pip install {contestant.distribution})")
    return [c for c in chosen if c not in missing]
