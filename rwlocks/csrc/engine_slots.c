#include "engine.h"

#include "types.h"

PyObject *mode_members[MODES];
static PyObject *ticket_type, *state_held, *state_done, *order_arrival;
static PyObject *monotonic; /* time.monotonic */

#define NAMES(X)                                                                                                       \
    X(acquisitions) X(after_write) X(beside) X(max_consecutive_writers) X(poked) X(readers) X(since) X(state)              \
    X(upgradable) X(while_reading) X(writer)
#define DECLARE(name) static PyObject *s_##name;
NAMES(DECLARE)

enum field {
    MONITOR_CLOCK,
    MONITOR_DEFERRED,
    MONITOR_ENGINE,
    MONITOR_INSIDE,
    MONITOR_WATCHERS,
    ENGINE_CONTENDED,
    ENGINE_HOLDERS,
    ENGINE_NESTING,
    ENGINE_POLICY,
    ENGINE_READERS,
    ENGINE_UPGRADABLE,
    ENGINE_UPGRADING,
    ENGINE_WAITING,
    ENGINE_WRITER,
    ENGINE_YOUNG,
    LINE_HEAD,
    LINE_LENGTH,
    PLACE_KEY,
    PLACE_WHO,
    TICKET_OWNER,
    FIELDS,
};
static const struct {
    enum { MONITOR, ENGINE, LINE, PLACE, TICKET } class;
    const char *name;
} fields[FIELDS] = {
    {MONITOR, "clock"},    {MONITOR, "deferred"},  {MONITOR, "engine"},     {MONITOR, "inside"},  {MONITOR, "watchers"},
    {ENGINE, "contended"}, {ENGINE, "holders"},    {ENGINE, "nesting"},     {ENGINE, "policy"},   {ENGINE, "readers"},
    {ENGINE, "upgradable"}, {ENGINE, "upgrading"}, {ENGINE, "waiting"},     {ENGINE, "writer"},   {ENGINE, "young"},
    {LINE, "head"},        {LINE, "length"},       {PLACE, "key"},          {PLACE, "who"},       {TICKET, "owner"},
};
static Py_ssize_t offsets[FIELDS];

/* Borrowed; never NULL, for whoever fills in an object fills in all of it. */
static PyObject *field(PyObject *object, enum field field) { return *at(object, offsets[field]); }

static bool is_there(PyObject *object, enum field what) { return field(object, what) != Py_None; }

static Py_ssize_t count(PyObject *object, enum field what) { return PyLong_AsSsize_t(field(object, what)); }

/* A borrowed look at what an object keeps, and nobody changes meanwhile; NULL, and no exception set, if there is nothing. */
static PyObject *peek(PyObject *object, PyObject *name) {
    PyObject *value = PyObject_GetAttr(object, name);
    if (value == NULL) {
        PyErr_Clear();
        return NULL;
    }
    Py_DECREF(value);
    return value;
}

/* -- the monitor -------------------------------------------------------------------------------------------------------- */

PyObject *monitor_engine(PyObject *monitor) { return field(monitor, MONITOR_ENGINE); }

bool monitor_is_at_rest(PyObject *monitor) {
    return PyList_GET_SIZE(field(monitor, MONITOR_DEFERRED)) == 0 &&
           PyDict_GET_SIZE(field(monitor, MONITOR_WATCHERS)) == 0;
}

bool monitor_has_usual_clock(PyObject *monitor) { return field(monitor, MONITOR_CLOCK) == monotonic; }

bool monitor_is_inside(PyObject *monitor) { return field(monitor, MONITOR_INSIDE) == Py_True; }

/* -- the engine --------------------------------------------------------------------------------------------------------- */

void engine_read(PyObject *engine, struct engine_state *state) {
    state->contended = count(engine, ENGINE_CONTENDED);
    state->readers = count(engine, ENGINE_READERS);
    state->writer = is_there(engine, ENGINE_WRITER);
    state->upgradable = is_there(engine, ENGINE_UPGRADABLE);
    state->upgrading = is_there(engine, ENGINE_UPGRADING);
    state->nesting = field(engine, ENGINE_NESTING) != Py_False;
}

bool engine_all_are_young(PyObject *engine, Py_ssize_t waiting, double *until) {
    PyObject *young = field(engine, ENGINE_YOUNG);
    PyObject *soonest = field(young, LINE_HEAD);
    if (soonest == Py_None || count(young, LINE_LENGTH) != waiting) {
        return false;
    }
    *until = PyFloat_AsDouble(field(soonest, PLACE_KEY));
    return true;
}

/* The first place of the line of those who wait for a mode, or None. */
static PyObject *first_of(PyObject *engine, enum mode mode) {
    PyObject *line = PyDict_GetItemWithError(field(engine, ENGINE_WAITING), mode_members[mode]);
    return line == NULL ? Py_None : field(line, LINE_HEAD);
}

static bool stands_behind(PyObject *place, PyObject *other) {
    return PyLong_AsLongLong(field(place, PLACE_KEY)) > PyLong_AsLongLong(field(other, PLACE_KEY));
}

bool engine_first_is_poked(PyObject *engine) {
    PyObject *writer = first_of(engine, WRITE), *policy = field(engine, ENGINE_POLICY);
    if (writer == Py_None || peek(field(writer, PLACE_WHO), s_poked) != Py_True) {
        return false;
    }
    bool by_arrival = peek(policy, s_after_write) == order_arrival && peek(policy, s_while_reading) == order_arrival;
    for (enum mode mode = READ; mode < WRITE; mode++) {
        PyObject *reader = first_of(engine, mode);
        if (reader != Py_None && !(by_arrival && stands_behind(reader, writer))) {
            return false;
        }
    }
    return true;
}

bool engine_counts_writes(PyObject *engine) {
    return peek(field(engine, ENGINE_POLICY), s_max_consecutive_writers) != Py_None;
}

static int add(PyObject *object, PyObject *name, uint64_t more) {
    PyObject *number = PyObject_GetAttr(object, name);
    PyObject *addend = number == NULL ? NULL : PyLong_FromUnsignedLongLong(more);
    PyObject *sum = addend == NULL ? NULL : PyNumber_Add(number, addend);
    int failed = sum == NULL || PyObject_SetAttr(object, name, sum) < 0;
    Py_XDECREF(number);
    Py_XDECREF(addend);
    Py_XDECREF(sum);
    return failed ? -1 : 0;
}

int engine_add_acquisitions(PyObject *engine, uint64_t more) { return add(engine, s_acquisitions, more); }

/* -- tickets ------------------------------------------------------------------------------------------------------------ */

static PyObject *ticket_for(const struct seat *seat) {
    PyObject *task = seat->task == NULL ? Py_None : seat->task;
    PyObject *ticket = PyObject_CallFunctionObjArgs(ticket_type, mode_members[seat->mode], seat->thread, task, NULL);
    PyObject *since = seat->since < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(seat->since);
    if (ticket != NULL && (since == NULL || PyObject_SetAttr(ticket, s_state, state_held) < 0 ||
                           PyObject_SetAttr(ticket, s_since, since) < 0)) {
        Py_CLEAR(ticket);
    }
    Py_XDECREF(since);
    return ticket;
}

/* `Engine._list` and `Engine._take_role`. */
static int enlist(PyObject *engine, PyObject *ticket, enum mode mode) {
    PyObject *holders = field(engine, ENGINE_HOLDERS), *owner = field(ticket, TICKET_OWNER);
    PyObject *other = PyDict_GetItemWithError(holders, owner);
    if ((other == NULL && PyErr_Occurred()) || (other != NULL && PyObject_SetAttr(ticket, s_beside, other) < 0) ||
        PyDict_SetItem(holders, owner, ticket) < 0) {
        return -1;
    }
    if (mode == READ) {
        return add(engine, s_readers, 1);
    }
    return PyObject_SetAttr(engine, mode == WRITE ? s_writer : s_upgradable, ticket);
}

PyObject *engine_adopt(PyObject *engine, const struct seat *seat) {
    PyObject *ticket = ticket_for(seat);
    if (ticket != NULL && enlist(engine, ticket, seat->mode) < 0) {
        Py_CLEAR(ticket);
    }
    return ticket;
}

bool ticket_is_over(PyObject *ticket) { return peek(ticket, s_state) == state_done; }

/* -- the package ---------------------------------------------------------------------------------------------------------- */

int engine_prepare(const struct engine_parts *parts) {
    for (int i = 0; i < FIELDS; i++) {
        if (slot_offset(PyTuple_GET_ITEM(parts->classes, fields[i].class), fields[i].name, &offsets[i]) < 0) {
            return -1;
        }
    }
#define INTERN(name)                                                                                                   \
    if ((s_##name = PyUnicode_InternFromString(#name)) == NULL) {                                                      \
        return -1;                                                                                                     \
    }
    NAMES(INTERN)
    for (Py_ssize_t i = 0; i < MODES; i++) {
        mode_members[i] = Py_NewRef(PyTuple_GET_ITEM(parts->modes, i));
    }
    ticket_type = Py_NewRef(PyTuple_GET_ITEM(parts->classes, 4));
    state_held = Py_NewRef(parts->held);
    state_done = Py_NewRef(parts->done);
    order_arrival = Py_NewRef(parts->arrival);
    PyObject *time = PyImport_ImportModule("time");
    monotonic = time == NULL ? NULL : PyObject_GetAttrString(time, "monotonic");
    Py_XDECREF(time);
    return monotonic == NULL ? -1 : 0;
}
