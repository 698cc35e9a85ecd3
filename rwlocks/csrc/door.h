/* The door of a compiled `ProcessRWLock`: the fast path to a lock that other processes share.
 *
 * Who gets such a lock is decided in shared memory, by the native core, also here. What the pure lock adds to that is
 * bookkeeping: a ticket that says in which record the hold stands and whose it is, and a roster of all tickets of this
 * process, for those who look. Here an acquisition that the core grants at once makes neither. Its guard *stands at the
 * door*: it knows the record itself, and is in a list of the roster's.
 *
 * Whatever looks into the roster for holds has all that stand at doors absorbed first, and whatever asks a guard for its
 * ticket, that one: it becomes a ticket in the roster like any other, which the pure lock releases. Others are left alone, lest
 * one slow hold make all those slow that come after it. Absorbing runs no Python code.
 *
 * Other processes see no difference. Nor does a forked child: it looks into the roster, to say that nothing there is its
 * own, and the context of a hold that was made before the fork is of no use there anyway.
 *
 * All of this is protected by the interpreter's lock, which is never given up between the core's answer and its effect, or where
 * there is none by the latch of the roster's list. A thread that has it can be made to wait for a dict; so a fork may find
 * it taken, and a child begins with a new one.
 */
#ifndef RWLOCKS_DOOR_H
#define RWLOCKS_DOOR_H

#include "seat.h"

/* The door of a lock, for guards that ask that core; NULL if there is none. */
struct place *door_of(PyObject *lock, PyObject *core);

/* Subclasses of `ProcessRWLock` and of `Roster`, as a new pair. `undisputed` is the capsule of the native core. */
PyObject *door_make_types(PyObject *module, PyObject *lock, PyObject *roster, PyObject *ticket, PyObject *monitor,
                          PyObject *native, PyObject *undisputed);

#endif
