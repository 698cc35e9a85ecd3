/* The gate of a compiled lock, a fast path that is open while nobody is inside its mutex; and that mutex.
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
 * Mutex and engine come with the first who needs them. A lock that nobody has fought for is a gate and nothing else.
 *
 * All of this is protected by the interpreter's lock, which is never given up between a decision and its effect, or where there
 * is none by the latch of those who stand here. That is why nothing can interrupt the fast path, a signal handler and a
 * finaliser included. Whoever opens or shuts the gate latches it for that moment; behind a gate that is shut the mutex
 * protects it.
 */
#ifndef RWLOCKS_GATE_H
#define RWLOCKS_GATE_H

#include "seat.h"

struct mutex;

/* Lies in its lock. As published by whoever was last inside the mutex: */
struct gate {
    struct place place;
    bool entering;   /* whether newcomers may be decided here; */
    bool leaving;    /* and releases, even if they leave the lock free; */
    bool sharing;    /* or only where other readers stay, which changes nothing for anybody who waits */
    bool nesting;    /* whether the engine wants to see requests of those who hold something */
    bool counting;   /* whether writes of newcomers have to be counted */
    bool writer;
    bool upgradable;
    uint32_t readers;
    SHARED(uint32_t) generation; /* of the process, by number of forks */
    double until;        /* when the first waiter is not young any more; infinite while nobody waits */
    uint64_t entered;    /* since the engine was told */
    struct standing standing;
    SHARED(struct mutex *) mutex; /* once there is one: the core keeps it */
};

/* Once, when the lock is made. `to_all`: no rule of the lock needs more than the gate knows. */
void gate_open(struct gate *gate, bool to_all, bool nesting);

/* A mutex that serves no gate yet. */
PyObject *mutex_new(struct gate *gate);

/* Now the gate is that of this monitor, whose mutex it is. */
void mutex_attach(PyObject *mutex, PyObject *monitor);

/* The gate has another one. */
void mutex_discard(PyObject *mutex);

/* The lock is going. */
void gate_close(struct gate *gate);

/* What a gate calls to get a mutex: the core of the lock it lies in, made now. False with an exception set. */
extern bool (*gate_needs_mutex)(struct gate *gate);

/* Whether an observer wants to hear of every grant and release, of whatever lock. */
extern SHARED(bool) gate_observed;

/* Python has heard of a fork. */
void gate_note_fork(void);

int gate_prepare(PyObject *module);

#endif
