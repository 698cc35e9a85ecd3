/* The compiled guards and the compiled lock: subclasses of the pure ones, which differ from them in nothing but speed.
 *
 * A method that is not here, or that finds the gate shut, is the pure one. Whatever in Python asks a guard for its ticket
 * gets one: a guard that stands at the gate of its lock, or at its door, is absorbed first.
 */
#ifndef RWLOCKS_GUARD_H
#define RWLOCKS_GUARD_H

#include "seat.h"

/* Subclasses of the three pure guard classes, in the order of `enum mode`, and of the pure lock, as a new tuple of four. */
PyObject *guard_make_types(PyObject *module, PyObject *guards, PyObject *lock);

/* A new guard, given what a method like `read` is given: a timeout, or nothing. `place` is NULL if the lock has none yet. */
PyObject *guard_for(PyObject *lock, PyObject *core, struct place *place, enum mode mode, PyObject *const *arguments,
                    Py_ssize_t count, PyObject *names);

/* `LockCore`; `in_seconds` of rwlocks._acquire, `seat_is_taken` of rwlocks._refusals; `State.HELD` and `State.DONE`. */
int guard_prepare(PyObject *make_core, PyObject *in_seconds, PyObject *seat_is_taken, PyObject *held, PyObject *done);

#endif
