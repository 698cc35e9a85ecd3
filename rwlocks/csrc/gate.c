#include "gate.h"

#include <math.h>
#include <pthread.h>

#include "owner.h"
#include "types.h"

static PyTypeObject *monitor_type; /* the compiled one */
static Py_ssize_t gate_offset;     /* of the gate in a monitor: it lies behind the slots of the pure one */
static Py_ssize_t lock_offset;      /* of the slot in which the pure one keeps its mutex */
bool gate_observed;
static _Atomic uint64_t forks = 1; /* counted where a fork happens, also one that Python has not heard of */

static PyObject *ticket_type;
PyObject *mode_members[MODES];
static PyObject *state_held;
static PyObject *state_done;
static PyObject *order_arrival;
static PyObject *monotonic; /* time.monotonic */

#define NAMES(X)                                                                                                       \
    X(acquisitions) X(after_write) X(beside) X(holders) X(inside) X(max_consecutive_writers) X(mode) X(owner) X(poked)     \
    X(readers) X(since) X(state) X(task) X(thread) X(upgradable) X(while_reading) X(writer)
#define DECLARE(name) static PyObject *s_##name;
NAMES(DECLARE)

/* The slots that are read whenever the mutex is left. */
enum field {
    MONITOR_CLOCK,
    MONITOR_DEFERRED,
    MONITOR_ENGINE,
    MONITOR_WATCHERS,
    ENGINE_CONTENDED,
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
    FIELDS,
};
static const struct {
    enum { MONITOR, ENGINE, LINE, PLACE } class;
    const char *name;
} fields[FIELDS] = {
    {MONITOR, "clock"},     {MONITOR, "deferred"}, {MONITOR, "engine"},    {MONITOR, "watchers"}, {ENGINE, "contended"},
    {ENGINE, "nesting"},    {ENGINE, "policy"},    {ENGINE, "readers"},    {ENGINE, "upgradable"},
    {ENGINE, "upgrading"},  {ENGINE, "waiting"},   {ENGINE, "writer"},     {ENGINE, "young"},     {LINE, "head"},
    {LINE, "length"},       {PLACE, "key"},        {PLACE, "who"},
};
static Py_ssize_t offsets[FIELDS];

/* Borrowed; never NULL, for whoever fills in an object fills in all of it. */
static PyObject *field(PyObject *object, enum field field) { return *at(object, offsets[field]); }

static int find_fields(PyObject *classes) {
    for (int i = 0; i < FIELDS; i++) {
        if (slot_offset(PyTuple_GET_ITEM(classes, fields[i].class), fields[i].name, &offsets[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static void forked(void) { forks++; }

struct gate *gate_of(PyObject *monitor) {
    return Py_IS_TYPE(monitor, monitor_type) ? (struct gate *)((char *)monitor + gate_offset) : NULL;
}

static PyObject *monitor_of(struct gate *gate) { return (PyObject *)((char *)gate - gate_offset); }

static double now(void) {
#if PY_VERSION_HEX >= 0x030D0000
    PyTime_t time = 0;
    (void)PyTime_MonotonicRaw(&time);
#else
    _PyTime_t time = _PyTime_GetMonotonicClock();
#endif
    return (double)time * 1e-9;
}

/* A borrowed look at what an object keeps, and nobody changes meanwhile; NULL, and no exception set, if there is nothing. */
static PyObject *peek(PyObject *object, PyObject *name) {
    PyObject *value = object == NULL ? NULL : PyObject_GetAttr(object, name);
    if (value == NULL) {
        PyErr_Clear();
        return NULL;
    }
    Py_DECREF(value);
    return value;
}

/* -- the fast path: the twins of `Engine.enter` and `Engine.leave` ---------------------------------------------------- */

static bool is_shut(const struct gate *gate) {
    return gate->depth != 0 || gate->generation != forks || gate_observed;
}

static bool is_compatible(const struct gate *gate, enum mode mode) {
    if (gate->writer || (gate->nesting && (gate->readers != 0 || gate->upgradable))) {
        return false;
    }
    return mode == READ || (!gate->upgradable && (mode == UPGRADABLE || gate->readers == 0));
}

static void take_role(struct gate *gate, enum mode mode) {
    if (mode == READ) {
        gate->readers++;
    } else if (mode == UPGRADABLE) {
        gate->upgradable = true;
    } else {
        gate->writer = true;
    }
}

static void leave_role(struct gate *gate, enum mode mode) {
    if (mode == READ) {
        gate->readers--;
    } else if (mode == UPGRADABLE) {
        gate->upgradable = false;
    } else {
        gate->writer = false;
    }
}

static bool admits(const struct gate *gate, struct seat *seat) {
    if (is_shut(gate) || !gate->entering || !is_compatible(gate, seat->mode)) {
        return false;
    }
    if (gate->counting && seat->mode == WRITE) {
        return false;
    }
    seat->since = -1;
    return gate->until == INFINITY || (seat->since = now()) < gate->until;
}

static int gate_enter(struct place *place, struct seat *seat, PyObject *task) {
    struct gate *gate = (struct gate *)place;
    /* First whatever allocates or calls, for it may let others in. From the decision on nothing does. */
    PyObject *thread = owner_thread();
    if (thread == NULL) {
        return -1;
    }
    PyObject *reference = NULL;
    if (task != NULL && (reference = owner_reference(task)) == NULL) {
        return -1;
    }
    if (!admits(gate, seat) || seat->standing || seat->ticket != NULL) {
        Py_XDECREF(reference);
        return 0;
    }
    seat->thread = Py_NewRef(thread);
    seat->task = reference;
    take_role(gate, seat->mode);
    stand(&gate->standing, seat);
    gate->entered++;
    return 1;
}

/* Whether nobody who waits has to be served when that hold ends. */
static bool leaves_all_as_it_is(const struct gate *gate, enum mode mode) {
    if (gate->sharing && mode == READ && (gate->readers > 1 || gate->upgradable)) {
        return true;
    }
    return gate->leaving && (gate->until == INFINITY || now() < gate->until);
}

static bool gate_leave(struct seat *seat) {
    struct gate *gate = (struct gate *)seat->place;
    if (is_shut(gate) || !leaves_all_as_it_is(gate, seat->mode)) {
        return false;
    }
    leave_role(gate, seat->mode);
    stand_no_more(&gate->standing, seat);
    seat_vacate(seat);
    return true;
}

/* -- what the engine is told ---------------------------------------------------------------------------------------- */

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

/* A ticket as the engine would have made it, without running its constructor. */
static PyObject *ticket_for(const struct seat *seat) {
    PyTypeObject *type = (PyTypeObject *)ticket_type;
    PyObject *ticket = type->tp_alloc(type, 0);
    if (ticket == NULL) {
        return NULL;
    }
    PyObject *task = seat->task == NULL ? Py_None : seat->task;
    PyObject *since = seat->since < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(seat->since);
    bool failed = since == NULL || PyObject_SetAttr(ticket, s_mode, mode_members[seat->mode]) < 0 ||
                  PyObject_SetAttr(ticket, s_thread, seat->thread) < 0 || PyObject_SetAttr(ticket, s_task, task) < 0 ||
                  PyObject_SetAttr(ticket, s_owner, seat->task == NULL ? seat->thread : seat->task) < 0 ||
                  PyObject_SetAttr(ticket, s_state, state_held) < 0 || PyObject_SetAttr(ticket, s_since, since) < 0;
    Py_XDECREF(since);
    if (failed) {
        Py_CLEAR(ticket);
    }
    return ticket;
}

/* `Engine._list` and `Engine._take_role`. */
static int enlist(PyObject *engine, PyObject *ticket, const struct seat *seat) {
    PyObject *holders = PyObject_GetAttr(engine, s_holders);
    if (holders == NULL) {
        return -1;
    }
    PyObject *owner = seat->task == NULL ? seat->thread : seat->task;
    PyObject *other = PyDict_GetItemWithError(holders, owner);
    bool failed = (other == NULL && PyErr_Occurred()) ||
                  (other != NULL && PyObject_SetAttr(ticket, s_beside, other) < 0) ||
                  PyDict_SetItem(holders, owner, ticket) < 0;
    Py_DECREF(holders);
    if (failed) {
        return -1;
    }
    if (seat->mode == READ) {
        return add(engine, s_readers, 1);
    }
    return PyObject_SetAttr(engine, seat->mode == WRITE ? s_writer : s_upgradable, ticket);
}

static int absorb_first(struct gate *gate, PyObject *engine) {
    struct seat *seat = gate->standing.first;
    PyObject *ticket = ticket_for(seat);
    if (ticket == NULL || enlist(engine, ticket, seat) < 0) {
        Py_XDECREF(ticket);
        return -1;
    }
    stand_no_more(&gate->standing, seat);
    Py_XSETREF(seat->ticket, ticket);
    seat_vacate(seat);
    return 0;
}

/* The collector must not come in between: what it destroys may ask for this very lock. */
static int absorb(struct gate *gate) {
    if (gate->standing.first == NULL && gate->entered == 0) {
        return 0;
    }
    PyObject *engine = Py_NewRef(field(monitor_of(gate), MONITOR_ENGINE));
    int collecting = PyGC_Disable();
    int failed = add(engine, s_acquisitions, gate->entered);
    if (!failed) {
        gate->entered = 0;
    }
    while (!failed && gate->standing.first != NULL) {
        failed = absorb_first(gate, engine);
    }
    if (collecting) {
        PyGC_Enable();
    }
    Py_DECREF(engine);
    return failed;
}

/* -- what the engine has become --------------------------------------------------------------------------------------- */

static bool is_there(PyObject *object, enum field what) { return field(object, what) != Py_None; }

static Py_ssize_t count(PyObject *object, enum field what) { return PyLong_AsSsize_t(field(object, what)); }

/* The first place of the line of those who wait for a mode, or None. */
static PyObject *first_of(PyObject *engine, enum mode mode) {
    PyObject *line = PyDict_GetItemWithError(field(engine, ENGINE_WAITING), mode_members[mode]);
    return line == NULL ? Py_None : field(line, LINE_HEAD);
}

static bool stands_behind(PyObject *place, PyObject *other) {
    return PyLong_AsLongLong(field(place, PLACE_KEY)) > PyLong_AsLongLong(field(other, PLACE_KEY));
}

/* Whether nobody is due when the lock becomes free, because the first is a writer who was told already, or comes to it. */
static bool first_is_poked(PyObject *engine, PyObject *policy) {
    PyObject *writer = first_of(engine, WRITE);
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

/* Newcomers may overtake while all who wait are young. */
static void publish_waiters(struct gate *gate, PyObject *monitor, PyObject *engine, Py_ssize_t contended) {
    gate->sharing = !is_there(engine, ENGINE_UPGRADING);
    PyObject *young = field(engine, ENGINE_YOUNG);
    PyObject *soonest = field(young, LINE_HEAD);
    if (field(monitor, MONITOR_CLOCK) != monotonic || soonest == Py_None || count(young, LINE_LENGTH) != contended) {
        return;
    }
    PyObject *policy = field(engine, ENGINE_POLICY);
    gate->until = PyFloat_AsDouble(field(soonest, PLACE_KEY));
    gate->entering = true;
    gate->counting = peek(policy, s_max_consecutive_writers) != Py_None;
    gate->leaving = first_is_poked(engine, policy);
}

static void publish(struct gate *gate) {
    PyObject *monitor = monitor_of(gate);
    PyObject *engine = field(monitor, MONITOR_ENGINE);
    Py_ssize_t contended = count(engine, ENGINE_CONTENDED);
    gate->entering = gate->leaving = gate->sharing = gate->counting = false;
    gate->readers = count(engine, ENGINE_READERS);
    gate->writer = is_there(engine, ENGINE_WRITER);
    gate->upgradable = is_there(engine, ENGINE_UPGRADABLE);
    gate->nesting = field(engine, ENGINE_NESTING) != Py_False;
    gate->generation = forks;
    if (PyList_GET_SIZE(field(monitor, MONITOR_DEFERRED)) != 0 || PyDict_GET_SIZE(field(monitor, MONITOR_WATCHERS)) != 0) {
        return;
    }
    if (contended != 0) {
        publish_waiters(gate, monitor, engine, contended);
    } else {
        gate->until = INFINITY;
        gate->entering = gate->leaving = true;
    }
}

/* -- the mutex ---------------------------------------------------------------------------------------------------------- */

static _Thread_local struct gate *innermost; /* of those that this thread has taken */

static bool is_mine(const struct gate *gate) {
    return gate->depth != 0 && gate->owner == PyThread_get_thread_ident();
}

static void give(struct gate *gate) {
    gate->depth = 0;
    gate->owner = 0;
    innermost = gate->outer;
    PyThread_release_lock(gate->lock);
}

/* 1, or 0 if it is taken and not to be waited for, or -1 with an exception set. Signals are answered later: a section is short,
 * and whoever has to release must not be kept from it. */
static int take(struct gate *gate, bool blocking) {
    if (is_mine(gate)) {
        gate->depth++;
        return 1;
    }
    if (!PyThread_acquire_lock(gate->lock, NOWAIT_LOCK)) {
        if (!blocking) {
            return 0;
        }
        PyThread_type_lock lock = gate->lock;
        Py_BEGIN_ALLOW_THREADS
        PyThread_acquire_lock(lock, WAIT_LOCK);
        Py_END_ALLOW_THREADS
    }
    gate->owner = PyThread_get_thread_ident();
    gate->depth = 1;
    gate->outer = innermost;
    innermost = gate;
    if (absorb(gate) < 0) {
        gate->entering = gate->leaving = gate->sharing = false;
        give(gate);
        return -1;
    }
    return 1;
}

static PyObject *leave(struct gate *gate) {
    if (!is_mine(gate)) {
        PyErr_SetString(PyExc_RuntimeError, "the mutex is not this thread's to release");
        return NULL;
    }
    if (gate->depth > 1) {
        gate->depth--;
    } else {
        publish(gate);
        give(gate);
    }
    Py_RETURN_NONE;
}

static bool pass_through(struct gate *gate) {
    if (take(gate, true) < 0) {
        return false;
    }
    PyObject *left = leave(gate);
    Py_XDECREF(left);
    return left != NULL;
}

/* Nobody is inside, or it would not stand at the gate: this does not wait. */
static bool gate_absorb(struct seat *seat) { return pass_through((struct gate *)seat->place); }

static bool gate_is_over(PyObject *ticket) { return peek(ticket, s_state) == state_done; }

bool gate_open(struct gate *gate, bool to_all) {
    gate->place.restricted = !to_all;
    return pass_through(gate);
}

static const struct place_kind gate_kind = {gate_enter, gate_leave, gate_absorb, gate_is_over};

/* -- the monitor -------------------------------------------------------------------------------------------------------- */

static PyObject *monitor_enter(PyObject *self, PyObject *Py_UNUSED(none)) {
    return take(gate_of(self), true) < 0 ? NULL : Py_NewRef(Py_True);
}

static PyObject *monitor_exit(PyObject *self, PyObject *const *Py_UNUSED(error), Py_ssize_t Py_UNUSED(count)) {
    return leave(gate_of(self));
}

static PyObject *monitor_try(PyObject *self, PyObject *Py_UNUSED(none)) {
    int taken = take(gate_of(self), false);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *monitor_is_owned(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(is_mine(gate_of(self)));
}

static void free_lock(PyObject *capsule) {
    PyThread_free_lock((PyThread_type_lock)PyCapsule_GetPointer(capsule, NULL));
}

static PyObject *monitor_new_mutex(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct gate *gate = gate_of(self);
    PyThread_type_lock lock = PyThread_allocate_lock();
    if (lock == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(lock, NULL, free_lock);
    if (capsule == NULL) {
        PyThread_free_lock(lock);
        return NULL;
    }
    Py_XSETREF(*at(self, lock_offset), capsule);
    gate->place.kind = &gate_kind;
    gate->place.standing = &gate->standing;
    gate->lock = lock;
    gate->depth = 0;
    gate->owner = 0;
    gate->entering = gate->leaving = gate->sharing = false;
    return Py_NewRef(self);
}

static PyObject *monitor_interrupts_another(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct gate *gate = innermost;
    while (gate != NULL && (monitor_of(gate) == self || peek(monitor_of(gate), s_inside) != Py_True)) {
        gate = gate->outer;
    }
    return PyBool_FromLong(gate != NULL);
}

static PyObject *monitor_strongest(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct gate *gate = gate_of(self);
    PyObject *engine = field(self, MONITOR_ENGINE);
    bool writer = is_there(engine, ENGINE_WRITER), upgradable = is_there(engine, ENGINE_UPGRADABLE);
    bool read = count(engine, ENGINE_READERS) > 0;
    for (struct seat *seat = gate->standing.first; seat != NULL; seat = seat->after) {
        writer |= seat->mode == WRITE;
        upgradable |= seat->mode == UPGRADABLE;
        read = true;
    }
    return Py_NewRef(writer       ? mode_members[WRITE]
                     : upgradable ? mode_members[UPGRADABLE]
                     : read       ? mode_members[READ]
                                  : Py_None);
}

static PyMethodDef monitor_methods[] = {
    {"__enter__", monitor_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))monitor_exit, METH_FASTCALL, NULL},
    {"try_mutex", monitor_try, METH_NOARGS, NULL},
    {"_is_owned", monitor_is_owned, METH_NOARGS, NULL},
    {"interrupts_another", monitor_interrupts_another, METH_NOARGS, NULL},
    {"new_mutex", monitor_new_mutex, METH_NOARGS, NULL},
    {"strongest", monitor_strongest, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *monitor_mutex(PyObject *self, void *Py_UNUSED(closure)) { return Py_NewRef(self); }

static int monitor_keep_mutex(PyObject *self, PyObject *value, void *Py_UNUSED(closure)) {
    if (value == self) {
        return 0;
    }
    PyErr_SetString(PyExc_TypeError, "a compiled monitor is its own mutex");
    return -1;
}

static PyGetSetDef monitor_getset[] = {
    {"mutex", monitor_mutex, monitor_keep_mutex, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot monitor_slots[] = {
    {Py_tp_doc, "A monitor that is its own mutex, and the gate of a fast path."},
    {Py_tp_methods, monitor_methods},
    {Py_tp_getset, monitor_getset},
    {0, NULL},
};

PyObject *gate_make_type(PyObject *module, PyObject *monitor) {
    if (slot_offset(monitor, "mutex", &lock_offset) < 0) {
        return NULL;
    }
    gate_offset = ((PyTypeObject *)monitor)->tp_basicsize;
    PyObject *type = subclass(module, monitor, "rwlocks._fastpath.Monitor", sizeof(struct gate), 0, monitor_slots);
    monitor_type = (PyTypeObject *)type;
    return type;
}

static PyObject *imported(const char *name, const char *attribute) {
    PyObject *module = PyImport_ImportModule(name);
    PyObject *found = module == NULL ? NULL : PyObject_GetAttrString(module, attribute);
    Py_XDECREF(module);
    return found;
}

int gate_prepare(PyObject *classes, PyObject *ticket, PyObject *modes, PyObject *held, PyObject *done, PyObject *arrival) {
    if (find_fields(classes) < 0) {
        return -1;
    }
#define INTERN(name)                                                                                                   \
    if ((s_##name = PyUnicode_InternFromString(#name)) == NULL) {                                                                       \
        return -1;                                                                                                     \
    }
    NAMES(INTERN)
    monotonic = imported("time", "monotonic");
    if (monotonic == NULL) {
        return -1;
    }
    ticket_type = Py_NewRef(ticket);
    state_held = Py_NewRef(held);
    state_done = Py_NewRef(done);
    order_arrival = Py_NewRef(arrival);
    for (Py_ssize_t i = 0; i < MODES; i++) {
        mode_members[i] = PySequence_GetItem(modes, i);
        if (mode_members[i] == NULL) {
            return -1;
        }
    }
    return pthread_atfork(NULL, NULL, forked) == 0 ? 0 : -1;
}
