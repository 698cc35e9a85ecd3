"""The rivals, as data. A new one is one entry; one that is not installed is skipped, and named in the report.

Locks of other hosts and servers (ZooKeeper, PostgreSQL, Redis) are not among them: their price is that of a network.
"""

from __future__ import annotations

from typing import Final

from rwlocks.cli import _bench_contestants as everybody
from rwlocks.cli._bench_contestants import Contestant, ours, plain

__all__ = ["ASYNCIO", "NOTHING", "PROCESSES", "THREADS", "TRIO"]


def _readerwriterlock(kind: str) -> Contestant:
    # Its interface wants one handle for each thread.
    return Contestant(
        name=f"readerwriterlock {kind}",
        distribution="readerwriterlock",
        setup=f"from readerwriterlock.rwlock import RWLock{kind}",
        new=f"RWLock{kind}()",
        handles="reader, writer = lock.gen_rlock(), lock.gen_wlock()",
        read="reader",
        write="writer",
    )


_CULSANS: Final = Contestant(
    name="culsans",
    distribution="culsans",
    setup="from culsans import RWLock",
    new="RWLock()",
    read="lock.reading",
    write="lock.writing",
)

THREADS: Final = (
    *everybody.THREADS,
    Contestant(
        name="fasteners",
        distribution="fasteners",
        setup="from fasteners import ReaderWriterLock",
        new="ReaderWriterLock()",
        read="lock.read_lock()",
        write="lock.write_lock()",
    ),
    *map(_readerwriterlock, ("Fair", "Read", "Write")),
    Contestant(
        name="rwlock",
        distribution="rwlock",
        setup="from rwlock import RWLock",
        new="RWLock()",
        read="lock.reader_lock",
        write="lock.writer_lock",
    ),
    _CULSANS,
)

# On one event loop the default hands over strictly; with patience a newcomer may overtake, as between threads.
_IMPATIENT: Final = ours("fifo, patience 1 ms", "RWLock(policies.Fifo(patience=0.001))")

ASYNCIO: Final = (
    *everybody.ASYNCIO,
    _IMPATIENT,
    *(
        Contestant(
            name=f"aiorwlock {mode}",
            distribution="aiorwlock",
            setup="from aiorwlock import RWLock",
            new=f"RWLock(fast={fast})",
            read="lock.reader",
            write="lock.writer",
        )
        for mode, fast in (("default", False), ("fast", True))
    ),
    _CULSANS,
    Contestant(
        name="readerwriterlock async Fair",
        distribution="readerwriterlock",
        setup="from readerwriterlock.rwlock_async import RWLockFair",
        new="RWLockFair()",
        handles="reader, writer = await lock.gen_rlock(), await lock.gen_wlock()",
        read="reader",
        write="writer",
    ),
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
        return not holds[Write]""",
        new="FifoLock()",
        read="lock(Read)",
        write="lock(Write)",
    ),
    Contestant(
        name="asyncio-multilock",
        distribution="asyncio-multilock",
        setup="from asyncio_multilock import MultiLock, MultiLockType",
        new="MultiLock()",
        read="lock.context(MultiLockType.SHARED)",
        write="lock.context(MultiLockType.EXCLUSIVE)",
    ),
)

TRIO: Final = (
    plain("trio.Lock", "trio"),
    *everybody.ASYNCIO[1:],
    _IMPATIENT,
    *(
        Contestant(
            name=f"tricycle {mode}",
            distribution="tricycle",
            setup="from tricycle import RWLock",
            new=f"RWLock(read_biased={biased})",
            read="lock.read_locked()",
            write="lock.write_locked()",
        )
        for mode, biased in (("fair", False), ("biased", True))
    ),
    _CULSANS,
)

# The locks over a file are one object for each process: `folder` is what the processes have in common.
PROCESSES: Final = (
    *everybody.PROCESSES,
    Contestant(
        name="prwlock",
        distribution="prwlock",
        setup="from prwlock import RWLock",
        new="RWLock()",
        read="lock.reader_lock()",
        write="lock.writer_lock()",
    ),
    Contestant(
        name="fasteners process",
        distribution="fasteners",
        setup="from fasteners import InterProcessReaderWriterLock",
        new="None",
        handles="lock = InterProcessReaderWriterLock(folder + '/lock')",
        read="lock.read_lock()",
        write="lock.write_lock()",
    ),
    *(
        Contestant(
            name=f"filelock {name}",
            distribution="filelock",
            setup=f"from filelock import {name}",
            new="None",
            handles=f"lock = {name}(folder + '/lock')",
            read="lock.read_lock()",
            write="lock.write_lock()",
        )
        for name in ("ReadWriteLock", "SoftReadWriteLock")
    ),
    Contestant(
        name="portalocker",
        distribution="portalocker",
        setup="from portalocker import Lock, LockFlags",
        new="None",
        handles="""\
reader = Lock(folder + '/lock', flags=LockFlags.SHARED)
writer = Lock(folder + '/lock', flags=LockFlags.EXCLUSIVE)""",
        read="reader",
        write="writer",
    ),
)

NOTHING: Final = Contestant(
    name="without any lock",
    role="reference",
    setup="from contextlib import nullcontext",
    new="nullcontext()",
    read="lock",
    write="lock",
    excludes=False,
)
