/* What stands in for the interpreter's lock where there is none: a latch for each place, and atomic words.
 *
 * With the interpreter's lock all of this is nothing. Without it a place is latched from a decision of the fast path to the end of
 * its effect. Nothing in between runs Python code or lets go of an object that could be the last reference to something.
 * At a gate nothing in between can be made to wait either, so that no fork, before which all threads stop at a place
 * where they may wait, finds a gate latched.
 */
#ifndef RWLOCKS_LATCH_H
#define RWLOCKS_LATCH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#ifdef Py_GIL_DISABLED

#include <stdatomic.h>

#define FREE_THREADED true
#define SHARED(type) _Atomic(type) /* also looked at by those who have not latched */
#define PUBLISH(word, value) atomic_store_explicit(&(word), (value), memory_order_release)
typedef PyMutex latch_t;
/* It is never kept for longer than a few dozen instructions, while to sleep takes thousands. */
#define SPINS 200
static inline void latch(latch_t *latch) {
#if PY_VERSION_HEX >= 0x030E0000 && (defined(__x86_64__) || defined(__i386__))
    for (int spin = 0; spin < SPINS && PyMutex_IsLocked(latch); spin++) {
        __builtin_ia32_pause();
    }
#endif
    PyMutex_Lock(latch);
}
static inline void unlatch(latch_t *latch) { PyMutex_Unlock(latch); }
/* Obligation: nobody else can have it. */
static inline void latch_anew(latch_t *latch) { *latch = (PyMutex){0}; }

#else

#define FREE_THREADED false
#define SHARED(type) type
#define PUBLISH(word, value) ((word) = (value))
typedef struct {
} latch_t;
static inline void latch(latch_t *Py_UNUSED(latch)) {}
static inline void unlatch(latch_t *Py_UNUSED(latch)) {}
static inline void latch_anew(latch_t *Py_UNUSED(latch)) {}

#endif

/* Allocating runs no collector any more, only Python code does; before, what it destroyed could ask for the very lock. */
static inline int pause_collector(void) {
#if PY_VERSION_HEX < 0x030C0000
    return PyGC_Disable();
#else
    return 0;
#endif
}

static inline void resume_collector(int paused) {
    if (paused) {
        PyGC_Enable();
    }
}

#endif
