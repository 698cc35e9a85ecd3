/* The part of a guard that its lock deals with, and what a lock is to it: a place.
 *
 * There are two kinds of places: the gate of a lock in this process (gate.h), and the door of one that other processes
 * share (door.h). At either a guard may *stand*: it holds the lock, and no Python object says so. Once something in Python
 * wants to see that hold it is *absorbed*: made a ticket like any other.
 */
#ifndef RWLOCKS_SEAT_H
#define RWLOCKS_SEAT_H

#include <stdint.h>

#include "latch.h"

enum mode { READ = 0, UPGRADABLE = 1, WRITE = 2, MODES = 3 };

struct place;

/* Those who stand at a place, in order of acquisition. What a seat says is changed by whoever has the latch. */
struct standing {
    latch_t latch;
    struct seat *first;
    struct seat *last;
};

struct seat {
    struct place *place; /* lives as long as the guard does, which keeps its lock and its core */
    struct seat *before;
    struct seat *after;
    PyObject *thread;  /* whose hold it is, while it stands somewhere, */
    PyObject *task;    /* and in which task: a weak reference, or NULL */
    SHARED(PyObject *) ticket; /* the hold or request as Python knows it, or NULL */
    PyObject *roster;  /* at a door, where it stands; else NULL */
    PyObject *context; /* at a door, in what the hold was made: a forked child has another one; else NULL */
    union {
        double since;   /* at a gate; negative: no clock was read */
        uint64_t token; /* at a door, of the hold */
    };
    enum mode mode;
    SHARED(bool) standing;
};

struct place_kind {
    /* Let the seat stand here if that needs none of what Python decides: 1, 0 if it does, -1 with an exception set.
     * `task` is a task or NULL. */
    int (*enter)(struct place *place, struct seat *seat, PyObject *task);
    /* End the hold of a seat that stands here, if it still does, and that needs none of what Python decides. */
    bool (*leave)(struct seat *seat);
    /* Make a ticket of a seat that stands here. False with an exception set. */
    bool (*absorb)(struct seat *seat);
    /* Whether a ticket is that of an acquisition that has ended. */
    bool (*is_over)(PyObject *ticket);
    /* Those who stand here. */
    struct standing *(*standing)(struct place *place);
};

struct place {
    const struct place_kind *kind;
    bool restricted; /* whether the rules of its lock leave everything to Python; set once */
};

static inline void latch_place(struct place *place) {
#ifdef Py_GIL_DISABLED
    latch(&place->kind->standing(place)->latch);
#else
    (void)place;
#endif
}

static inline void unlatch_place(struct place *place) {
#ifdef Py_GIL_DISABLED
    unlatch(&place->kind->standing(place)->latch);
#else
    (void)place;
#endif
}

static inline void stand(struct standing *standing, struct seat *seat) {
    PUBLISH(seat->standing, true);
    seat->after = NULL;
    seat->before = standing->last;
    if (standing->last != NULL) {
        standing->last->after = seat;
    } else {
        standing->first = seat;
    }
    standing->last = seat;
}

/* The last thing done to the seat: its guard may be gone the next moment. */
static inline void stand_no_more(struct standing *standing, struct seat *seat) {
    if (seat->before != NULL) {
        seat->before->after = seat->after;
    } else {
        standing->first = seat->after;
    }
    if (seat->after != NULL) {
        seat->after->before = seat->before;
    } else {
        standing->last = seat->before;
    }
    seat->before = seat->after = NULL;
    PUBLISH(seat->standing, false);
}

/* Nothing is known here any more of whose hold it was. */
static inline void seat_vacate(struct seat *seat) {
    Py_CLEAR(seat->thread);
    Py_CLEAR(seat->task);
}

#endif
