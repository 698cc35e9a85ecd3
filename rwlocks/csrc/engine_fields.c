#include "engine.h"

#include "_engine.h"
#include "_line.h"
#include "_monitor.h"
#include "_ticket.h"
#include "types.h"

typedef struct RwlEngine Engine;
typedef struct RwlLine Line;
typedef struct RwlMonitor Monitor;
typedef struct RwlPlace Place;
typedef struct RwlTicket Ticket;

PyObject *mode_members[MODES];
static PyObject *ticket_type, *state_held, *state_done, *order_arrival;
static PyObject *monotonic; /* time.monotonic */
static PyObject *s_after_write, *s_max_consecutive_writers, *s_while_reading;

static bool is_there(void *object) { return object != NULL && object != Py_None; }

/* -- the monitor -------------------------------------------------------------------------------------------------------- */

PyObject *monitor_engine(PyObject *monitor) { return (PyObject *)((Monitor *)monitor)->engine; }

bool monitor_is_at_rest(PyObject *monitor) {
    return PyList_GET_SIZE(((Monitor *)monitor)->deferred) == 0 && PyDict_GET_SIZE(((Monitor *)monitor)->watchers) == 0;
}

bool monitor_has_usual_clock(PyObject *monitor) { return ((Monitor *)monitor)->clock == monotonic; }

bool monitor_is_inside(PyObject *monitor) { return ((Monitor *)monitor)->inside; }

/* -- the engine --------------------------------------------------------------------------------------------------------- */

void engine_read(PyObject *object, struct engine_state *state) {
    const Engine *engine = (Engine *)object;
    state->contended = engine->contended;
    state->readers = engine->readers;
    state->writer = is_there(engine->writer);
    state->upgradable = is_there(engine->upgradable);
    state->upgrading = is_there(engine->upgrading);
    state->nesting = engine->nesting;
}

void engine_glance(PyObject *monitor, struct engine_state *state) { engine_read(monitor_engine(monitor), state); }

bool engine_all_are_young(PyObject *object, Py_ssize_t waiting, double *until) {
    const Line *young = ((Engine *)object)->young;
    if (!is_there(young->head) || young->length != waiting) {
        return false;
    }
    *until = young->head->key;
    return true;
}

/* The first of those who wait for a mode, or NULL. */
static const Place *first_of(const Engine *engine, enum mode mode) {
    const Line *line = (Line *)PyDict_GetItemWithError(engine->waiting, mode_members[mode]);
    return line == NULL || !is_there(line->head) ? NULL : line->head;
}

/* What a policy says; borrowed, for a policy never changes. */
static PyObject *rule(const Engine *engine, PyObject *name) {
    PyObject *value = PyObject_GetAttr(engine->policy, name);
    if (value == NULL) {
        PyErr_Clear();
        return Py_None;
    }
    Py_DECREF(value);
    return value;
}

bool engine_first_is_poked(PyObject *object) {
    const Engine *engine = (Engine *)object;
    const Place *writer = first_of(engine, WRITE);
    if (writer == NULL || !((Ticket *)writer->who)->poked) {
        return false;
    }
    const Place *reader = first_of(engine, READ), *upgradable = first_of(engine, UPGRADABLE);
    if (reader == NULL && upgradable == NULL) {
        return true;
    }
    bool by_arrival = rule(engine, s_after_write) == order_arrival && rule(engine, s_while_reading) == order_arrival;
    return by_arrival && (reader == NULL || reader->key > writer->key) &&
           (upgradable == NULL || upgradable->key > writer->key);
}

bool engine_counts_writes(PyObject *engine) { return rule((Engine *)engine, s_max_consecutive_writers) != Py_None; }

int engine_add_acquisitions(PyObject *engine, uint64_t more) {
    ((Engine *)engine)->acquisitions += (long long)more;
    return 0;
}

/* -- tickets ------------------------------------------------------------------------------------------------------------ */

static Ticket *ticket_for(const struct seat *seat) {
    PyObject *since = seat->since < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(seat->since);
    PyObject *task = seat->task == NULL ? Py_None : seat->task;
    Ticket *ticket = since == NULL ? NULL
                                   : (Ticket *)PyObject_CallFunctionObjArgs(ticket_type, mode_members[seat->mode],
                                                                            seat->thread, task, NULL);
    if (ticket == NULL) {
        Py_XDECREF(since);
        return NULL;
    }
    Py_XSETREF(ticket->since, since);
    Py_XSETREF(ticket->state, Py_NewRef(state_held));
    return ticket;
}

/* `Engine._list` and `Engine._take_role`. */
PyObject *engine_adopt(PyObject *object, const struct seat *seat) {
    Engine *engine = (Engine *)object;
    Ticket *ticket = ticket_for(seat);
    if (ticket == NULL) {
        return NULL;
    }
    PyObject *other = PyDict_GetItemWithError(engine->holders, ticket->owner);
    if (other != NULL) {
        Py_XSETREF(ticket->beside, (Ticket *)Py_NewRef(other));
    }
    if ((other == NULL && PyErr_Occurred()) ||
        PyDict_SetItem(engine->holders, ticket->owner, (PyObject *)ticket) < 0) {
        Py_DECREF(ticket);
        return NULL;
    }
    if (seat->mode == READ) {
        engine->readers++;
    } else {
        Ticket **role = seat->mode == WRITE ? &engine->writer : &engine->upgradable;
        Py_XSETREF(*role, (Ticket *)Py_NewRef((PyObject *)ticket));
    }
    return (PyObject *)ticket;
}

bool ticket_is_over(PyObject *ticket) { return ((Ticket *)ticket)->state == state_done; }

/* -- the package ---------------------------------------------------------------------------------------------------------- */

/* The layout that was compiled in is that of the classes that are there. */
static int check(PyObject *classes) {
    static const size_t sizes[] = {sizeof(Monitor), sizeof(Engine), sizeof(Line), sizeof(Place), sizeof(Ticket)};
    for (Py_ssize_t i = 0; i < 5; i++) {
        PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(classes, i);
        if ((size_t)type->tp_basicsize != sizes[i]) {
            PyErr_Format(PyExc_ImportError, "%s is not the class that this was compiled for", type->tp_name);
            return -1;
        }
    }
    return 0;
}

int engine_prepare(const struct engine_parts *parts) {
    if (check(parts->classes) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < MODES; i++) {
        mode_members[i] = Py_NewRef(PyTuple_GET_ITEM(parts->modes, i));
    }
    ticket_type = Py_NewRef(PyTuple_GET_ITEM(parts->classes, 4));
    state_held = Py_NewRef(parts->held);
    state_done = Py_NewRef(parts->done);
    order_arrival = Py_NewRef(parts->arrival);
    s_after_write = PyUnicode_InternFromString("after_write");
    s_while_reading = PyUnicode_InternFromString("while_reading");
    s_max_consecutive_writers = PyUnicode_InternFromString("max_consecutive_writers");
    monotonic = imported("time", "monotonic");
    return PyErr_Occurred() ? -1 : 0;
}
