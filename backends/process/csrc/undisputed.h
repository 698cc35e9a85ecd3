/* What `_fast` does for C code of this package that would not go through Python: the two operations of a pair that nobody
 * disputes. A table of functions in a capsule, so that there is one copy of the core.
 *
 * None of them runs Python code, sets an exception or lets go of the interpreter's lock, which the caller has.
 */
#ifndef RWL_UNDISPUTED_H
#define RWL_UNDISPUTED_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#define RWL_UNDISPUTED "rwlocks.backends.process._fast.UNDISPUTED"
/* To be counted up with every change of what follows. */
#define RWL_UNDISPUTED_VERSION 1

struct rwl_undisputed {
    uint32_t version;
    /* Of what the functions take as `context`. */
    PyTypeObject *context_type;
    /* Whether the lock could be had at once, in a mode as the core numbers it. If not nothing has changed. */
    bool (*enter)(PyObject *context, uint32_t mode, uint64_t *token);
    /* Whether the hold has ended. If not nothing has changed. */
    bool (*release)(PyObject *context, uint64_t token);
};

#endif
