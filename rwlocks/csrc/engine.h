/* What a gate reads of the monitor and the engine of its lock, and tells them; all of it inside the mutex, but for a glance.
 *
 * Twice, because they are made of two materials: engine_fields.c knows the structs of the compiled classes, whose layout
 * Cython writes down from the .pxd files; engine_slots.c reads the slots of the Python ones, which a free-threaded
 * interpreter runs.
 */
#ifndef RWLOCKS_ENGINE_H
#define RWLOCKS_ENGINE_H

#include "seat.h"

struct engine_state {
    Py_ssize_t contended;
    Py_ssize_t readers;
    bool writer;
    bool upgradable;
    bool upgrading;
    bool nesting;
};

/* What the functions below need of the package: rwlocks._compiled says what it is. */
struct engine_parts {
    PyObject *classes; /* Monitor, Engine, Line, Place, Ticket */
    PyObject *modes;   /* of `Mode`, in the order of `enum mode` */
    PyObject *held;
    PyObject *done;
    PyObject *arrival;
};
int engine_prepare(const struct engine_parts *parts);

/* Borrowed. */
PyObject *monitor_engine(PyObject *monitor);
/* Whether nothing is deferred, and nobody watches. */
bool monitor_is_at_rest(PyObject *monitor);
/* Whether it goes by `time.monotonic`, as the gate does. */
bool monitor_has_usual_clock(PyObject *monitor);
bool monitor_is_inside(PyObject *monitor);

void engine_read(PyObject *engine, struct engine_state *state);
/* Outside the mutex, so that what is read may be of several moments. */
void engine_glance(PyObject *monitor, struct engine_state *state);
/* If all who wait, so many, are young: true, and when the first of them is not any more. */
bool engine_all_are_young(PyObject *engine, Py_ssize_t waiting, double *until);
/* Whether nobody is due when the lock becomes free, because the first is a writer who was told already, or comes to it. */
bool engine_first_is_poked(PyObject *engine);
bool engine_counts_writes(PyObject *engine);

/* Acquisitions that it has not heard of; 0, or -1 with an exception set. */
int engine_add_acquisitions(PyObject *engine, uint64_t more);
/* A new ticket for a hold that it has not heard of, as if `Engine.enter` had let it in. NULL with an exception set. */
PyObject *engine_adopt(PyObject *engine, const struct seat *seat);

bool ticket_is_over(PyObject *ticket);

extern PyObject *mode_members[MODES];

#endif
