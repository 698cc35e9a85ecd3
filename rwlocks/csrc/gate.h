/* The gate of a compiled lock: its mutex, and the fast path that is open while nobody is inside the mutex.
 *
 * The pure lock is the specification and does everything that is hard; compiled is only what is frequent. Most
 * acquisitions meet nobody who waits, or only waiters that are young enough to be overtaken; there all policies agree
 * (`Engine.enter`, `Engine.leave`), and a few numbers decide. Those numbers are the gate's. Whoever holds the lock by that way
 * *stands at the gate*: its guard is in a list of the gate's, and the engine has not heard of it.
 *
 * Whoever takes the mutex shuts the gate and lets the engine *absorb* those who stand at it, as tickets like any others;
 * so whatever looks at the engine or changes it, inside the mutex as it must, sees everybody. Whoever leaves the mutex
 * *publishes* what the engine has become as the gate's numbers. Neither step runs Python code.
 *
 * All of this is protected by the interpreter's lock, which is never given up between a decision and its effect. That is
 * why nothing can interrupt the fast path, a signal handler and a finaliser included.
 */
#ifndef RWLOCKS_GATE_H
#define RWLOCKS_GATE_H

#include "seat.h"

struct gate {
    struct place place;
    /* The mutex. Its lock is in a capsule, in the slot of the monitor where the pure one keeps its own. */
    PyThread_type_lock lock;
    unsigned long owner;
    unsigned int depth;
    struct gate *outer; /* which its owner had taken before */
    /* The fast path, as published by whoever was last inside. */
    bool entering; /* whether newcomers may be decided here; */
    bool leaving;  /* and releases, even if they leave the lock free; */
    bool sharing;  /* or only where other readers stay, which changes nothing for anybody who waits */
    bool nesting;  /* whether the engine wants to see requests of those who hold something */
    bool counting; /* whether writes of newcomers have to be counted */
    bool writer;
    bool upgradable;
    Py_ssize_t readers;
    double until; /* when the first waiter is not young any more; infinite while nobody waits */
    uint64_t generation; /* of the process, by number of forks */
    struct standing standing;
    uint64_t entered; /* since the engine was told */
};

/* The gate of a monitor, or NULL if that is not a compiled one. */
struct gate *gate_of(PyObject *monitor);

/* Once, when the lock is made. `to_all`: no rule of the lock needs more than the gate knows. False with an exception set. */
bool gate_open(struct gate *gate, bool to_all);

/* A subclass of the pure `Monitor`, to be its own mutex. */
PyObject *gate_make_type(PyObject *module, PyObject *monitor);

/* What the gate needs of the package; `classes` are the pure Monitor, Engine, Line and Place. */
int gate_prepare(PyObject *classes, PyObject *ticket_type, PyObject *modes, PyObject *held, PyObject *done,
                 PyObject *arrival);

/* Whether an observer wants to hear of every grant and release, of whatever lock. */
extern bool gate_observed;

/* `Mode`, in the order of `enum mode`. */
extern PyObject *mode_members[MODES];

#endif
