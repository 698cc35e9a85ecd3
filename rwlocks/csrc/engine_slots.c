#include "engine.h"

#include "types.h"

PyObject *mode_members[MODES];
static PyObject *state_held, *state_done, *order_arrival;
static PyObject *blank; /* a ticket, of which others are copies */
static Py_ssize_t *ticket_offsets; /* of all its slots */
static Py_ssize_t ticket_slots;
static PyObject *monotonic; /* time.monotonic */

#define NAMES(X)                                                                                                       \
    X(acquisitions) X(after_write) X(beside) X(engine) X(max_consecutive_writers) X(poked) X(readers) X(state)             \
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
    TICKET_MODE,
    TICKET_OWNER,
    TICKET_SINCE,
    TICKET_STATE,
    TICKET_TASK,
    TICKET_THREAD,
    FIELDS,
};
static const struct {
    enum { MONITOR, ENGINE, LINE, PLACE, TICKET } class;
    const char *name;
} fields[FIELDS] = {
    {MONITOR, "clock"},    {MONITOR, "deferred"},  {MONITOR, "engine"},     {MONITOR, "inside"},  {MONITOR, "watchers"},
    {ENGINE, "contended"}, {ENGINE, "holders"},    {ENGINE, "nesting"},     {ENGINE, "policy"},   {ENGINE, "readers"},
    {ENGINE, "upgradable"}, {ENGINE, "upgrading"}, {ENGINE, "waiting"},     {ENGINE, "writer"},   {ENGINE, "young"},
    {LINE, "head"},        {LINE, "length"},       {PLACE, "key"},          {PLACE, "who"},       {TICKET, "mode"},
    {TICKET, "owner"},     {TICKET, "since"},      {TICKET, "state"},       {TICKET, "task"},     {TICKET, "thread"},
};
static Py_ssize_t offsets[FIELDS];

/* Borrowed; never NULL, for whoever fills in an object fills in all of it. */
static PyObject *field(PyObject *object, enum field field) {
    return __atomic_load_n(at(object, offsets[field]), __ATOMIC_ACQUIRE);
}

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

void engine_glance(PyObject *monitor, struct engine_state *state) {
    /* Numbers and the engine itself may be replaced at this moment; whether something is there can be seen without touching it. */
    PyObject *engine = PyObject_GetAttr(monitor, s_engine);
    PyObject *readers = engine == NULL ? NULL : PyObject_GetAttr(engine, s_readers);
    *state = (struct engine_state){0};
    if (readers != NULL) {
        state->readers = PyLong_AsSsize_t(readers);
        state->writer = is_there(engine, ENGINE_WRITER);
        state->upgradable = is_there(engine, ENGINE_UPGRADABLE);
    }
    Py_XDECREF(readers);
    Py_XDECREF(engine);
    PyErr_Clear();
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

/* Nobody else knows the ticket. */
static void fill(PyObject *ticket, enum field field, PyObject *value) {
    Py_XSETREF(*at(ticket, offsets[field]), Py_NewRef(value));
}

/* As its constructor would have made it, which is Python code here and could be interrupted: a copy of one. */
static PyObject *ticket_for(const struct seat *seat) {
    PyObject *since = seat->since < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(seat->since);
    PyObject *ticket = since == NULL ? NULL : PyType_GenericAlloc(Py_TYPE(blank), 0);
    if (ticket != NULL) {
        for (Py_ssize_t i = 0; i < ticket_slots; i++) {
            *at(ticket, ticket_offsets[i]) = Py_XNewRef(*at(blank, ticket_offsets[i]));
        }
        fill(ticket, TICKET_MODE, mode_members[seat->mode]);
        fill(ticket, TICKET_THREAD, seat->thread);
        fill(ticket, TICKET_TASK, seat->task == NULL ? Py_None : seat->task);
        fill(ticket, TICKET_OWNER, seat->task == NULL ? seat->thread : seat->task);
        fill(ticket, TICKET_STATE, state_held);
        fill(ticket, TICKET_SINCE, since);
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

static int know_tickets(PyObject *type) {
    PyObject *slots = PyObject_GetAttrString(type, "__slots__");
    if (slots == NULL || !PyTuple_Check(slots) ||
        (ticket_offsets = PyMem_Calloc((size_t)PyTuple_GET_SIZE(slots), sizeof *ticket_offsets)) == NULL) {
        Py_XDECREF(slots);
        return -1;
    }
    for (; ticket_slots < PyTuple_GET_SIZE(slots); ticket_slots++) {
        const char *name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(slots, ticket_slots));
        if (name == NULL || slot_offset(type, name, &ticket_offsets[ticket_slots]) < 0) {
            Py_DECREF(slots);
            return -1;
        }
    }
    Py_DECREF(slots);
    blank = PyObject_CallOneArg(type, mode_members[READ]);
    return blank == NULL ? -1 : 0;
}

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
    if (know_tickets(PyTuple_GET_ITEM(parts->classes, 4)) < 0) {
        return -1;
    }
    state_held = Py_NewRef(parts->held);
    state_done = Py_NewRef(parts->done);
    order_arrival = Py_NewRef(parts->arrival);
    monotonic = imported("time", "monotonic");
    return monotonic == NULL ? -1 : 0;
}
