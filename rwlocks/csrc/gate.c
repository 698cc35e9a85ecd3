#include "gate.h"

#include <math.h>
#include <pthread.h>

#include "engine.h"
#include "owner.h"

struct mutex {
    PyObject_HEAD
    PyThread_type_lock lock;
    SHARED(unsigned long) owner;
    SHARED(unsigned int) depth;
    struct mutex *outer; /* which its owner had taken before */
    SHARED(struct gate *) gate; /* NULL once its lock is gone: wake-ups under way may outlive that */
    PyObject *monitor;   /* which keeps this, and whose engine absorbs; NULL until there is one */
};

static PyTypeObject *mutex_type;
SHARED(bool) gate_observed;
bool (*gate_needs_mutex)(struct gate *gate);
static _Atomic uint32_t forks = 1;       /* counted where a fork happens, also one that Python has not heard of */
static _Atomic uint32_t forks_heard = 1; /* what that was at the last fork that Python has heard of */

static void forked(void) { forks++; }

void gate_note_fork(void) { forks_heard = forks; }

static double now(void) {
#if PY_VERSION_HEX >= 0x030D0000
    PyTime_t time = 0;
    (void)PyTime_MonotonicRaw(&time);
#else
    _PyTime_t time = _PyTime_GetMonotonicClock();
#endif
    return (double)time * 1e-9;
}

/* -- the fast path: the twins of `Engine.enter` and `Engine.leave` ---------------------------------------------------- */

static bool is_shut(const struct gate *gate) {
    return gate->generation != forks || gate_observed;
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
    latch(&gate->standing.latch);
    if (seat->standing || seat->ticket != NULL || !admits(gate, seat)) {
        unlatch(&gate->standing.latch);
        Py_XDECREF(reference);
        return 0;
    }
    seat->thread = Py_NewRef(thread);
    seat->task = reference;
    take_role(gate, seat->mode);
    stand(&gate->standing, seat);
    gate->entered++;
    unlatch(&gate->standing.latch);
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
    latch(&gate->standing.latch);
    if ((FREE_THREADED && !seat->standing) || is_shut(gate) || !leaves_all_as_it_is(gate, seat->mode)) {
        unlatch(&gate->standing.latch);
        return false;
    }
    leave_role(gate, seat->mode);
    PyObject *thread = seat->thread, *task = seat->task;
    seat->thread = seat->task = NULL;
    stand_no_more(&gate->standing, seat);
    unlatch(&gate->standing.latch);
    Py_DECREF(thread);
    Py_XDECREF(task);
    return true;
}

/* -- what the engine is told ---------------------------------------------------------------------------------------- */

static int absorb_first(struct gate *gate, PyObject *engine) {
    struct seat *seat = gate->standing.first;
    PyObject *ticket = engine_adopt(engine, seat);
    if (ticket == NULL) {
        return -1;
    }
    latch(&gate->standing.latch);
    Py_XSETREF(seat->ticket, ticket);
    seat_vacate(seat);
    stand_no_more(&gate->standing, seat);
    unlatch(&gate->standing.latch);
    return 0;
}

/* The collector must not come in between: what it destroys may ask for this very lock. */
static int absorb(struct gate *gate, PyObject *monitor) {
    if (gate->standing.first == NULL && gate->entered == 0) {
        return 0;
    }
    PyObject *engine = Py_NewRef(monitor_engine(monitor));
    int paused = pause_collector();
    int failed = engine_add_acquisitions(engine, gate->entered);
    if (!failed) {
        gate->entered = 0;
    }
    while (!failed && gate->standing.first != NULL) {
        failed = absorb_first(gate, engine);
    }
    resume_collector(paused);
    Py_DECREF(engine);
    return failed;
}

/* -- what the engine has become --------------------------------------------------------------------------------------- */

static void shut(struct gate *gate) {
    latch(&gate->standing.latch);
    gate->entering = gate->leaving = gate->sharing = gate->counting = false;
    unlatch(&gate->standing.latch);
}

static void unshut(struct gate *gate, bool entering, bool leaving, bool sharing) {
    latch(&gate->standing.latch);
    gate->entering = entering;
    gate->leaving = leaving;
    gate->sharing = sharing;
    unlatch(&gate->standing.latch);
}

/* Newcomers may overtake while all who wait are young. */
static void publish_waiters(struct gate *gate, PyObject *monitor, PyObject *engine, const struct engine_state *state) {
    bool young = monitor_has_usual_clock(monitor) && engine_all_are_young(engine, state->contended, &gate->until);
    gate->counting = young && engine_counts_writes(engine);
    unshut(gate, young, young && engine_first_is_poked(engine), !state->upgrading);
}

static void publish(struct gate *gate, PyObject *monitor) {
    PyObject *engine = monitor_engine(monitor);
    struct engine_state state;
    engine_read(engine, &state);
    gate->readers = (uint32_t)state.readers;
    gate->writer = state.writer;
    gate->upgradable = state.upgradable;
    gate->nesting = state.nesting;
    gate->generation = forks;
    if (!monitor_is_at_rest(monitor)) {
        return;
    }
    if (state.contended != 0) {
        publish_waiters(gate, monitor, engine, &state);
    } else {
        gate->until = INFINITY;
        unshut(gate, true, true, false);
    }
}

/* -- the mutex ---------------------------------------------------------------------------------------------------------- */

static _Thread_local struct mutex *innermost; /* of those that this thread has taken */

static bool is_mine(const struct mutex *mutex) {
    return mutex->depth != 0 && mutex->owner == PyThread_get_thread_ident();
}

static bool serves(const struct mutex *mutex) { return mutex->gate != NULL && mutex->monitor != NULL; }

static void give(struct mutex *mutex) {
    mutex->depth = 0;
    mutex->owner = 0;
    innermost = mutex->outer;
    PyThread_release_lock(mutex->lock);
}

static void wait_for(struct mutex *mutex) {
    PyThread_type_lock lock = mutex->lock;
    if (!PyThread_acquire_lock(lock, NOWAIT_LOCK)) {
        Py_BEGIN_ALLOW_THREADS
        PyThread_acquire_lock(lock, WAIT_LOCK);
        Py_END_ALLOW_THREADS
    }
}

/* 1, or 0 if it is taken and not to be waited for, or -1 with an exception set. Signals are answered later: a section is short,
 * and whoever has to release must not be kept from it. */
static int take(struct mutex *mutex, bool blocking) {
    if (is_mine(mutex)) {
        mutex->depth++;
        return 1;
    }
    if (blocking) {
        wait_for(mutex);
    } else if (!PyThread_acquire_lock(mutex->lock, NOWAIT_LOCK)) {
        return 0;
    }
    mutex->owner = PyThread_get_thread_ident();
    mutex->depth = 1;
    mutex->outer = innermost;
    innermost = mutex;
    if (serves(mutex)) {
        shut(mutex->gate);
        if (absorb(mutex->gate, mutex->monitor) < 0) {
            give(mutex);
            return -1;
        }
    }
    return 1;
}

static PyObject *leave(struct mutex *mutex) {
    if (!is_mine(mutex)) {
        PyErr_SetString(PyExc_RuntimeError, "the mutex is not this thread's to release");
        return NULL;
    }
    if (mutex->depth > 1) {
        mutex->depth--;
    } else {
        if (serves(mutex)) {
            publish(mutex->gate, mutex->monitor);
        }
        give(mutex);
    }
    Py_RETURN_NONE;
}

static bool pass_through(struct mutex *mutex) {
    if (take(mutex, true) < 0) {
        return false;
    }
    PyObject *left = leave(mutex);
    Py_XDECREF(left);
    return left != NULL;
}

/* Nobody is inside, or it would not stand at the gate: this does not wait, or without the interpreter's lock for somebody only
 * who is about to absorb it. */
static bool gate_absorb(struct seat *seat) {
    struct gate *gate = (struct gate *)seat->place;
    return (gate->mutex != NULL || gate_needs_mutex(gate)) && pass_through(gate->mutex);
}

static struct standing *gate_standing(struct place *place) { return &((struct gate *)place)->standing; }

static const struct place_kind gate_kind = {gate_enter, gate_leave, gate_absorb, ticket_is_over, gate_standing};

void gate_open(struct gate *gate, bool to_all, bool nesting) {
    gate->place.kind = &gate_kind;
    gate->place.restricted = !to_all;
    gate->nesting = nesting;
    gate->until = INFINITY;
    gate->entering = gate->leaving = true;
    gate->generation = forks;
}

void gate_close(struct gate *gate) {
    struct mutex *mutex = gate->mutex;
    if (mutex == NULL) {
        return;
    }
    gate->mutex = NULL;
    /* Without the interpreter's lock somebody may be inside at this moment, for a wake-up that was under way. */
    bool waits = FREE_THREADED && !is_mine(mutex);
    if (waits) {
        wait_for(mutex);
    }
    mutex->gate = NULL;
    if (waits) {
        PyThread_release_lock(mutex->lock);
    }
}

void mutex_attach(PyObject *self, PyObject *monitor) {
    struct mutex *mutex = (struct mutex *)self;
    mutex->monitor = monitor;
    mutex->gate->mutex = mutex;
}

void mutex_discard(PyObject *mutex) { ((struct mutex *)mutex)->gate = NULL; }

PyObject *mutex_new(struct gate *gate) {
    PyThread_type_lock lock = PyThread_allocate_lock();
    struct mutex *mutex = lock == NULL ? NULL : PyObject_New(struct mutex, mutex_type);
    if (mutex == NULL) {
        if (lock != NULL) {
            PyThread_free_lock(lock);
        }
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    mutex->lock = lock;
    mutex->owner = 0;
    mutex->depth = 0;
    mutex->outer = NULL;
    mutex->gate = gate;
    mutex->monitor = NULL;
    return (PyObject *)mutex;
}

static void mutex_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    struct mutex *mutex = (struct mutex *)self;
    if (mutex->gate != NULL && mutex->gate->mutex == mutex) {
        mutex->gate->mutex = NULL; /* The collector takes the core of a lock apart before the lock itself. */
    }
    PyThread_free_lock(mutex->lock);
    type->tp_free(self);
    Py_DECREF(type);
}

/* -- what Python sees of it ------------------------------------------------------------------------------------------------ */

static PyObject *mutex_enter(PyObject *self, PyObject *Py_UNUSED(none)) {
    return take((struct mutex *)self, true) < 0 ? NULL : Py_NewRef(Py_True);
}

static PyObject *mutex_exit(PyObject *self, PyObject *const *Py_UNUSED(error), Py_ssize_t Py_UNUSED(count)) {
    return leave((struct mutex *)self);
}

static PyObject *mutex_acquire(PyObject *self, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"blocking", NULL};
    int blocking = 1;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|p", names, &blocking)) {
        return NULL;
    }
    int taken = take((struct mutex *)self, blocking);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *mutex_is_owned(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(is_mine((struct mutex *)self));
}

static PyObject *mutex_renewed(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct mutex *mutex = (struct mutex *)self;
    PyThread_type_lock lock = PyThread_allocate_lock();
    if (lock == NULL) {
        return PyErr_NoMemory();
    }
    mutex->lock = lock; /* The old one may be taken, and is left as it is. */
    mutex->depth = 0;
    mutex->owner = 0;
    if (serves(mutex)) {
        latch_anew(&mutex->gate->standing.latch);
        shut(mutex->gate);
    }
    return Py_NewRef(self);
}

static PyObject *mutex_forked(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(((struct mutex *)self)->gate->generation < forks_heard);
}

static PyObject *mutex_interrupts_another(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct mutex *mutex = innermost;
    while (mutex != NULL && ((PyObject *)mutex == self || mutex->monitor == NULL || !monitor_is_inside(mutex->monitor))) {
        mutex = mutex->outer;
    }
    return PyBool_FromLong(mutex != NULL);
}

static PyObject *mutex_strongest(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct gate *gate = ((struct mutex *)self)->gate;
    struct engine_state state;
    engine_glance(((struct mutex *)self)->monitor, &state);
    bool read = state.readers != 0;
    if (gate != NULL) {
        latch(&gate->standing.latch);
        for (struct seat *seat = gate->standing.first; seat != NULL; seat = seat->after) {
            state.writer |= seat->mode == WRITE;
            state.upgradable |= seat->mode == UPGRADABLE;
            read = true;
        }
        unlatch(&gate->standing.latch);
    }
    return Py_NewRef(state.writer       ? mode_members[WRITE]
                     : state.upgradable ? mode_members[UPGRADABLE]
                     : read             ? mode_members[READ]
                                        : Py_None);
}

static PyMethodDef mutex_methods[] = {
    {"__enter__", mutex_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))mutex_exit, METH_FASTCALL, NULL},
    {"acquire", (PyCFunction)(void (*)(void))mutex_acquire, METH_VARARGS | METH_KEYWORDS, NULL},
    {"_is_owned", mutex_is_owned, METH_NOARGS, NULL},
    {"renewed", mutex_renewed, METH_NOARGS, "The same, and nobody has it: for a child, which a fork gives one that is perhaps taken."},
    {"forked", mutex_forked, METH_NOARGS, "Whether a fork that Python has heard of lies behind the gate."},
    {"interrupts_another", mutex_interrupts_another, METH_NOARGS, NULL},
    {"strongest", mutex_strongest, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot mutex_slots[] = {
    {Py_tp_doc, "The mutex of a compiled lock, which also knows those who stand at its gate."},
    {Py_tp_dealloc, mutex_dealloc},
    {Py_tp_methods, mutex_methods},
    {0, NULL},
};
static PyType_Spec mutex_spec = {
    .name = "rwlocks._fastpath.Mutex",
    .basicsize = sizeof(struct mutex),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = mutex_slots,
};

int gate_prepare(PyObject *module) {
    mutex_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &mutex_spec, NULL);
    return mutex_type != NULL && pthread_atfork(NULL, NULL, forked) == 0 ? 0 : -1;
}
