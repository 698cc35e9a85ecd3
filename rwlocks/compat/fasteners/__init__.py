"""The names of fasteners 0.20, on `RWLock`.

    from rwlocks.compat import fasteners     # was: import fasteners

    ==================================================  ==========================================================
    name                                                what it is here
    ==================================================  ==========================================================
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
    ==================================================  ==========================================================

What stayed: an owner may read inside its read or write and write inside its write, and whoever still reads when it has
given back its last write goes on as a reader. A reader that wants to write gets a RuntimeError (`DeadlockError`), and
so does who releases what it does not have (`NotHeldError`). Decorators do not wait for a coroutine: decorate coroutine
functions with native guards (``@lock.read()``).

What did not come along: an exception in a waiting writer (Ctrl-C, any signal handler that raises) left the lock dead
for everybody. A thread that waits for what only a task of its own event loop could release gets `DeadlockError` instead
of waiting for ever.
"""

from __future__ import annotations

from rwlocks.compat.fasteners.lock import ReaderWriterLock, locked, read_locked, try_lock, write_locked

__all__ = [
    "ReaderWriterLock",
    "locked",
    "read_locked",
    "try_lock",
    "write_locked",
]

__version__ = "0.20"
"""Whose names these are."""
