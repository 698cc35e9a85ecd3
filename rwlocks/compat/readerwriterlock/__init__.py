"""The names of readerwriterlock 1.0.10, on `RWLock`.

    from rwlocks.compat.readerwriterlock import rwlock     # was: from readerwriterlock import rwlock

    ==========================================  ================================================================
    name                                        what it is here
    ==========================================  ================================================================
    ``rwlock.RWLockRead``, ``RWLockReadD``      ``RWLock("reader-pref")``
    ``rwlock.RWLockWrite``, ``RWLockWriteD``    ``RWLock("writer-pref")``
    ``rwlock.RWLockFair``, ``RWLockFairD``      ``RWLock("fifo")``
    ``lock_factory=``, ``time_source=``         taken and not used: nothing here is made of other locks, and timeouts
                                                are those of the monotonic clock
    ``policy=``, ``native``                     new: another policy than that of the class; the lock underneath
    ``gen_rlock()``, ``gen_wlock()``            a new handle, with the methods of `threading.Lock`; any thread may
                                                release it
    ``handle.downgrade()``                      of the writers of a ``D`` class: a reader's handle; this one is free
    ``Lockable``, ``LockableD``,                the protocols, for ``isinstance``
    ``RWLockable``, ``RWLockableD``
    ``RELEASE_ERR_CLS``, ``RELEASE_ERR_MSG``    what releasing a free handle raises, and its text
    ``rwlock_async``                            the same, all coroutines: ``await handle.acquire()``
    ==========================================  ================================================================

What did not come along:

* An exception in a waiting thread (Ctrl-C, any signal handler that raises) left the lock dead, in every class; and so
  did a cancelled task in the async one, or let only one of the waiting readers in.
* A handle acquired once more while it was held was *poisoned*: it forgot its first hold, and nobody could release
  that. Handles count: each acquisition is given back by one release, and a failed one changes nothing.
* ``RWLockReadD`` started a thread and polled for about 10 ms to downgrade.
* A negative timeout waited for ever, succeeded or raised, depending on the class. It raises ValueError, as in
  `threading`; NaN, too.
* A sync handle that blocks its event loop for what only a task of that loop could release raises `DeadlockError`.
* ``with handle as acquired`` gave False. It gives True.

What stayed: the locks are not re-entrant, know no owners, and offer no upgrade. A thread that waits for itself waits
for ever; the native guards (``lock.read()``) raise `DeadlockError` instead.
"""

from __future__ import annotations

from rwlocks.compat.readerwriterlock import rwlock, rwlock_async
from rwlocks.compat.readerwriterlock.rwlock import (
    RWLockFair,
    RWLockFairD,
    RWLockRead,
    RWLockReadD,
    RWLockWrite,
    RWLockWriteD,
)

__all__ = [
    "RWLockFair",
    "RWLockFairD",
    "RWLockRead",
    "RWLockReadD",
    "RWLockWrite",
    "RWLockWriteD",
    "rwlock",
    "rwlock_async",
]
