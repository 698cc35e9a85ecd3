"""The names of fasteners 0.20, on `RWLock` and `ProcessRWLock`.

    from rwlocks.compat import fasteners     # was: import fasteners

Between threads (`rwlocks.compat.fasteners.lock`):

    ==================================================  ==============================================================
    name                                                what it is here
    ==================================================  ==============================================================
    ``ReaderWriterLock(condition_cls,``                 ``RWLock("writer-pref")`` that its owner may enter again; the
    ``current_thread_functor)``                         first argument is taken and not used
    ``policy=``, ``native``                             new: another policy; the lock underneath
    ``read_lock()``, ``write_lock()``                   context managers, which give the lock
    ``acquire_read_lock()``, ``release_read_lock()``    one by one, in the same thread; each gives None
    ``acquire_write_lock()``, ``release_write_lock()``
    ``is_reader()``, ``is_writer(check_pending=True)``  about the caller
    ``owner``, ``WRITER``, ``READER``                   "w", "r" or None
    ``has_pending_writers``                             about everybody
    ``@read_locked``, ``@write_locked``, ``@locked``    of methods; the lock is ``self._lock``, or ``lock="name"``
    ``try_lock(lock)``                                  a context manager, which gives whether it has the lock
    ==================================================  ==============================================================

An owner may read inside its read or write and write inside its write, and whoever still reads when it has given back
its last write goes on as a reader. A reader that wants to write gets a RuntimeError (`DeadlockError`), and so does who
releases what it does not have (`NotHeldError`). Decorators do not wait for a coroutine: decorate coroutine functions
with native guards (``@lock.read()``).

What did not come along: an exception in a waiting writer (Ctrl-C, any signal handler that raises) left the lock dead
for everybody. A thread that waits for what only a task of its own event loop could release gets `DeadlockError` instead
of waiting for ever.

Between processes (`rwlocks.compat.fasteners.process_lock`):

    ==================================================  ==============================================================
    name                                                what it is here
    ==================================================  ==============================================================
    ``InterProcessReaderWriterLock(path, sleep_func,``  ``ProcessRWLock(path + ".rwlock", "reader-pref")``; the other
    ``logger)``                                         arguments are taken and not used
    ``policy=``, ``mode=``, ``native``                  new: another policy, permissions; the lock underneath
    ``path``                                            as bytes; the file appears, and is not touched otherwise
    ``read_lock()``, ``write_lock()``                   context managers, which give None
    ``acquire_read_lock(blocking, delay, max_delay,``   whether it was acquired; the delays are not used: nothing polls
    ``timeout)``, ``acquire_write_lock(...)``
    ``release_read_lock()``, ``release_write_lock()``   any thread may release
    ``InterProcessLock``                                the writing side of the same lock: ``acquire``, ``release``,
                                                        ``acquired``, ``exists``, ``with``; without the methods under
                                                        those (``trylock``, ``unlock``), and ``lockfile``
    ``@interprocess_locked(path)``, ...                 of functions
    ==================================================  ==============================================================

**They do not exclude programs that still use the original**: those lock the file itself, and this package one beside
it. Move all programs that share a file at once. Ours is for its own user alone, unless all who share it say
``mode=0o660``, which is for a group. Process locks are for Linux.

What changes, all of it for the better: threads of one process keep each other out, and so do different objects for one
file; a thread may enter again, also through another object, and has to leave as often as it entered; a thread that
reads and wants to write gets `DeadlockError` instead of writing among other readers; who releases what it does not
have gets `NotHeldError` instead of TypeError; the next in line learns of a release, or of a death, at once. An object
that is dropped while it holds gives back what it has, as before; with a ResourceWarning.
"""

from __future__ import annotations

from rwlocks.compat.fasteners import lock, process_lock
from rwlocks.compat.fasteners.lock import ReaderWriterLock, locked, read_locked, try_lock, write_locked
from rwlocks.compat.fasteners.process_lock import (
    InterProcessLock,
    InterProcessReaderWriterLock,
    interprocess_locked,
    interprocess_read_locked,
    interprocess_write_locked,
)

__all__ = [
    "InterProcessLock",
    "InterProcessReaderWriterLock",
    "ReaderWriterLock",
    "interprocess_locked",
    "interprocess_read_locked",
    "interprocess_write_locked",
    "lock",
    "locked",
    "process_lock",
    "read_locked",
    "try_lock",
    "write_locked",
]

__version__ = "0.20"
"""Whose names these are."""
