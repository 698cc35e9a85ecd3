/* The compiled guards and the compiled lock: subclasses of the pure ones, which differ from them in nothing but speed.
 *
 * A method that is not here, or that finds the gate shut, is the pure one. Whatever in Python asks a guard for its ticket
 * gets one: a guard that stands at the gate is absorbed by the engine first.
 */
#ifndef RWLOCKS_GUARD_H
#define RWLOCKS_GUARD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Subclasses of the three pure guard classes, in the order of `enum mode`, and of the pure lock, as a new tuple of four. */
PyObject *guard_make_types(PyObject *module, PyObject *guards, PyObject *lock);

/* `in_seconds` of rwlocks._acquire. */
int guard_prepare(PyObject *in_seconds);

#endif
