#include "guard.h"

#include <math.h>

#include "door.h"
#include "engine.h"
#include "gate.h"
#include "owner.h"
#include "types.h"

#define SPARE 16 /* deallocated guards kept for the next acquisition, of each kind; protected by the interpreter's lock */

struct kind {
    PyTypeObject *type;
    PyTypeObject *pure;
    PyObject *wanted; /* its mode */
    PyObject *spare[SPARE];
    int spares;
};

static struct kind kinds[MODES];
static Py_ssize_t seat_offset;                                   /* of the seat in a guard, behind the slots of the pure one */
static Py_ssize_t lock_offset, core_offset, timeout_offset;      /* slots of a guard */
static Py_ssize_t weak_offset;
static Py_ssize_t gate_offset;                                   /* of the gate in a lock, likewise */
static Py_ssize_t lock_core_offset, rules_offset, lock_weak_offset; /* slots of a lock */
static PyTypeObject *lock_type;
static PyObject *make_core; /* `LockCore` */
static PyObject *in_seconds;
static PyObject *seat_is_taken; /* of rwlocks._refusals */
static PyObject *state_held, *state_done;
static PyObject *s_enter, *s_exit, *s_aenter, *s_acquire, *s_try_acquire, *s_release, *s_state;
static PyObject *entered_type;
static PyObject *left; /* what leaving an `async with` awaits; it has nothing to say */

static struct seat *seat_of(PyObject *guard) { return (struct seat *)((char *)guard + seat_offset); }

/* A new reference, or NULL. Until its `__init__` has found the place the guard is nobody else's. */
static PyObject *ticket_of(struct seat *seat) {
    if (seat->place == NULL) {
        return Py_XNewRef(seat->ticket);
    }
    latch_place(seat->place);
    PyObject *ticket = Py_XNewRef(seat->ticket);
    unlatch_place(seat->place);
    return ticket;
}

/* Put a ticket, or NULL, in the place of another, which is given up; false if another thread has taken the seat meanwhile. */
static bool replace_ticket(struct seat *seat, PyObject *before, PyObject *ticket) {
    if (seat->place != NULL) {
        latch_place(seat->place);
    }
    bool may = !seat->standing && seat->ticket == before;
    if (may) {
        seat->ticket = Py_XNewRef(ticket);
    }
    if (seat->place != NULL) {
        unlatch_place(seat->place);
    }
    if (may) {
        Py_XDECREF(before);
    }
    return may;
}

/* Whether a ticket, or NULL, is in nobody's way. -1 with an exception set: for a process lock to say it takes Python code. */
static int is_done(PyObject *ticket) {
    PyObject *state = ticket == NULL ? Py_NewRef(state_done) : PyObject_GetAttr(ticket, s_state);
    Py_XDECREF(state);
    return state == NULL ? -1 : state == state_done;
}

/* -- life ----------------------------------------------------------------------------------------------------------- */

static PyObject *guard_new_for(PyObject *lock, PyObject *core, struct place *place, enum mode mode, PyObject *timeout) {
    struct kind *kind = &kinds[mode];
    PyObject *guard;
    if (!FREE_THREADED && kind->spares != 0) {
        guard = PyObject_Init(kind->spare[--kind->spares], kind->type);
        PyObject_GC_Track(guard);
    } else if ((guard = kind->type->tp_alloc(kind->type, 0)) == NULL) {
        return NULL;
    }
    *at(guard, lock_offset) = Py_NewRef(lock);
    *at(guard, core_offset) = Py_XNewRef(core);
    *at(guard, timeout_offset) = Py_NewRef(timeout);
    struct seat *seat = seat_of(guard);
    seat->place = place;
    seat->mode = mode;
    return guard;
}

/* The `__init__` of the pure type; its slot would find ours again. */
static int init_purely(PyTypeObject *pure, PyObject *self, PyObject *arguments, PyObject *keywords) {
    PyObject *nothing = call_purely(pure, "__init__", self, arguments, keywords);
    Py_XDECREF(nothing);
    return nothing == NULL ? -1 : 0;
}

static struct gate *gate_in(PyObject *lock) { return (struct gate *)((char *)lock + gate_offset); }

/* Where a guard that Python makes will stand; NULL if its lock is none of those that have a place. */
static struct place *place_for(PyObject *guard) {
    PyObject *lock = *at(guard, lock_offset);
    struct place *place = Py_IS_TYPE(lock, lock_type) ? &gate_in(lock)->place : door_of(lock, *at(guard, core_offset));
    return place == NULL || place->kind == NULL ? NULL : place;
}

static int guard_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    enum mode mode = READ;
    while (kinds[mode].type != Py_TYPE(self)) {
        mode++;
    }
    if (init_purely(kinds[mode].pure, self, arguments, keywords) < 0) {
        return -1;
    }
    struct seat *seat = seat_of(self);
    seat->place = place_for(self);
    seat->mode = mode;
    if (seat->place == NULL) {
        PyErr_SetString(PyExc_TypeError, "a compiled guard needs a compiled lock; use lock.read(), lock.write(), ...");
    }
    return seat->place == NULL ? -1 : 0;
}

static int guard_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(*at(self, lock_offset));
    Py_VISIT(*at(self, core_offset));
    Py_VISIT(*at(self, timeout_offset));
    Py_VISIT(seat_of(self)->ticket);
    Py_VISIT(seat_of(self)->thread);
    Py_VISIT(seat_of(self)->task);
    Py_VISIT(seat_of(self)->roster);
    Py_VISIT(seat_of(self)->context);
    return 0;
}

static int guard_clear(PyObject *self) {
    struct seat *seat = seat_of(self);
    if (seat->standing) { /* Its finaliser had no memory for a ticket. The hold stays. */
        if (FREE_THREADED) {
            return 0; /* So does the guard: whoever takes the mutex may be looking at it. */
        }
        stand_no_more(seat->place->kind->standing(seat->place), seat);
    }
    seat_vacate(seat);
    Py_CLEAR(seat->roster);
    Py_CLEAR(seat->context);
    Py_CLEAR(seat->ticket);
    Py_CLEAR(*at(self, lock_offset));
    Py_CLEAR(*at(self, core_offset));
    Py_CLEAR(*at(self, timeout_offset));
    return 0;
}

static void guard_dealloc(PyObject *self) {
    struct seat *seat = seat_of(self);
    if ((seat->standing || seat->ticket != NULL) && PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    bool fresh = !PyObject_GC_IsFinalized(self);
    PyTypeObject *type = Py_TYPE(self);
    enum mode mode = seat->mode;
    PyObject_GC_UnTrack(self);
    if (*at(self, weak_offset) != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    guard_clear(self);
    if (FREE_THREADED && seat->standing) {
        return;
    }
    struct kind *kind = &kinds[mode];
    if (!FREE_THREADED && fresh && kind->type == type && kind->spares < SPARE) {
        kind->spare[kind->spares++] = self;
    } else {
        type->tp_free(self);
    }
    Py_DECREF(type);
}

/* -- entering and leaving --------------------------------------------------------------------------------------------- */

/* The pure method of that name. */
static PyObject *purely(PyObject *self, PyObject *name, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    PyObject *method = PyObject_GetAttr((PyObject *)kinds[seat_of(self)->mode].pure, name);
    if (method == NULL) {
        return NULL;
    }
    PyObject *all[4] = {self};
    Py_ssize_t more = count + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    if (more > 3) {
        PyErr_Format(PyExc_TypeError, "%U() takes no more than one argument", name);
        Py_DECREF(method);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < more; i++) {
        all[i + 1] = arguments[i];
    }
    PyObject *result = PyObject_Vectorcall(method, all, (size_t)count + 1, names);
    Py_DECREF(method);
    return result;
}

/* Forget the ticket of an earlier acquisition; false if it is not over. */
static bool forget_ticket(struct seat *seat) {
    PyObject *ticket = ticket_of(seat);
    if (ticket == NULL) {
        return true;
    }
    bool is_over = seat->place->kind->is_over(ticket);
    if (is_over) {
        replace_ticket(seat, ticket, NULL);
    }
    Py_DECREF(ticket);
    return is_over;
}

/* Whether the guard is free for an acquisition that its place could decide. */
static bool may_enter(struct seat *seat) {
    return !seat->standing && !seat->place->restricted && (seat->ticket == NULL || forget_ticket(seat));
}

/* 1 if the guard has entered, 0 if that is not for its place to say, -1 with an exception set. */
static int try_to_enter(struct seat *seat) {
    if (!may_enter(seat)) {
        return 0;
    }
    PyObject *task;
    if (owner_task(&task) < 0) {
        return -1;
    }
    int entered = seat->place->kind->enter(seat->place, seat, task);
    Py_XDECREF(task);
    return entered;
}

static PyObject *guard_enter(PyObject *self, PyObject *Py_UNUSED(none)) {
    int entered = try_to_enter(seat_of(self));
    return entered > 0 ? Py_NewRef(self) : entered < 0 ? NULL : purely(self, s_enter, NULL, 0, NULL);
}

static PyObject *guard_exit(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    struct seat *seat = seat_of(self);
    if (seat->standing && seat->place->kind->leave(seat)) {
        Py_RETURN_NONE;
    }
    return purely(self, s_exit, arguments, count, NULL);
}

/* Whether these are no arguments, or a timeout that the pure method would accept: it is not needed where nobody waits. */
static bool are_timeout(PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    Py_ssize_t given = count + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    if (given == 0) {
        return true;
    }
    if (given > 1 ||
        (count == 0 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "timeout") != 0)) {
        return false;
    }
    PyObject *timeout = arguments[0];
    return timeout == Py_None || PyLong_CheckExact(timeout) ||
           (PyFloat_CheckExact(timeout) && !isnan(PyFloat_AS_DOUBLE(timeout)));
}

static PyObject *guard_acquire(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    if (are_timeout(arguments, count, names)) {
        int entered = try_to_enter(seat_of(self));
        if (entered != 0) {
            return entered > 0 ? Py_NewRef(self) : NULL;
        }
    }
    return purely(self, s_acquire, arguments, count, names);
}

static PyObject *guard_try_acquire(PyObject *self, PyObject *Py_UNUSED(none)) {
    int entered = try_to_enter(seat_of(self));
    return entered > 0 ? Py_NewRef(Py_True) : entered < 0 ? NULL : purely(self, s_try_acquire, NULL, 0, NULL);
}

static PyObject *guard_release(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct seat *seat = seat_of(self);
    if (seat->standing && seat->place->kind->leave(seat)) {
        Py_RETURN_NONE;
    }
    return purely(self, s_release, NULL, 0, NULL);
}

/* -- tasks -------------------------------------------------------------------------------------------------------------- */

/* An awaitable that is over at once: the lock was taken before it was awaited, so that it does not matter whether the
 * interpreter sends or iterates. */
struct entered {
    PyObject_HEAD
    SHARED(PyObject *) guard; /* its result; NULL once it was fetched, and for that of leaving */
};

/* The result, for one of those who ask. That of leaving is everybody's, and is only read. */
static PyObject *entered_fetch(PyObject *self) {
    struct entered *entered = (struct entered *)self;
    PyObject *guard = entered->guard;
#ifdef Py_GIL_DISABLED
    return guard == NULL ? NULL : atomic_exchange(&entered->guard, (PyObject *)NULL);
#else
    entered->guard = NULL;
    return guard;
#endif
}

static PySendResult entered_send(PyObject *self, PyObject *Py_UNUSED(value), PyObject **result) {
    PyObject *guard = entered_fetch(self);
    *result = guard != NULL ? guard : Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PyObject *entered_next(PyObject *self) {
    PyObject *guard = entered_fetch(self);
    if (guard != NULL) {
        PyErr_SetObject(PyExc_StopIteration, guard);
        Py_DECREF(guard);
    }
    return NULL;
}

static void entered_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct entered *)self)->guard);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot entered_slots[] = {
    {Py_tp_doc, "An awaitable that is over at once."},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, entered_send},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, entered_next},
    {Py_tp_dealloc, entered_dealloc},
    {0, NULL},
};
static PyType_Spec entered_spec = {
    .name = "rwlocks._fastpath.Entered",
    .basicsize = sizeof(struct entered),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = entered_slots,
};

static PyObject *entered_with(PyObject *guard) {
    struct entered *entered = PyObject_New(struct entered, (PyTypeObject *)entered_type);
    if (entered != NULL) {
        entered->guard = Py_XNewRef(guard);
    }
    return (PyObject *)entered;
}

static PyObject *guard_aenter(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct seat *seat = seat_of(self);
    if (may_enter(seat)) {
        PyObject *task;
        int found = owner_asyncio_task(&task);
        if (found < 0) {
            return NULL;
        }
        /* Without a task of asyncio's it is trio's turn, whose tasks yield first, or an error. */
        PyObject *result = found ? entered_with(self) : NULL;
        int entered = result == NULL ? (found ? -1 : 0) : seat->place->kind->enter(seat->place, seat, task);
        Py_XDECREF(task);
        if (entered > 0) {
            return result;
        }
        Py_XDECREF(result);
        if (entered < 0) {
            return NULL;
        }
    }
    return purely(self, s_aenter, NULL, 0, NULL);
}

/* What the coroutine of the pure method would do, done before it is awaited: it never waits. */
static PyObject *guard_aexit(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *nothing = guard_exit(self, arguments, count);
    Py_XDECREF(nothing);
    return nothing == NULL ? NULL : Py_NewRef(left);
}

/* -- what Python sees ----------------------------------------------------------------------------------------------------- */

static PyObject *pure_property(PyObject *self, const char *name) {
    PyObject *property = PyObject_GetAttrString((PyObject *)kinds[seat_of(self)->mode].pure, name);
    PyObject *value = property == NULL ? NULL : Py_TYPE(property)->tp_descr_get(property, self, (PyObject *)Py_TYPE(self));
    Py_XDECREF(property);
    return value;
}

static PyObject *guard_ticket(PyObject *self, void *Py_UNUSED(closure)) {
    struct seat *seat = seat_of(self);
    if (seat->standing && !seat->place->kind->absorb(seat)) {
        return NULL;
    }
    PyObject *ticket = ticket_of(seat);
    return ticket != NULL ? ticket : Py_NewRef(Py_None);
}

static int guard_set_ticket(PyObject *self, PyObject *ticket, void *Py_UNUSED(closure)) {
    struct seat *seat = seat_of(self);
    if (ticket == NULL) {
        PyErr_SetString(PyExc_AttributeError, "a guard always has a ticket, or None");
        return -1;
    }
    PyObject *before = ticket_of(seat);
    int free = ticket == Py_None ? 1 : is_done(before);
    bool replaced = free > 0 && replace_ticket(seat, before, ticket == Py_None ? NULL : ticket);
    Py_XDECREF(before);
    if (!replaced && free >= 0) { /* Another thread has entered with this guard while Python code was about to. */
        PyObject *refusal = PyObject_CallFunctionObjArgs(seat_is_taken, state_held, kinds[seat->mode].wanted, NULL);
        if (refusal != NULL) {
            PyErr_SetObject((PyObject *)Py_TYPE(refusal), refusal);
            Py_DECREF(refusal);
        }
    }
    return replaced ? 0 : -1;
}

static PyObject *lock_core(PyObject *lock);

static PyObject *guard_core(PyObject *self, void *Py_UNUSED(closure)) {
    PyObject *core = *at(self, core_offset);
    return Py_XNewRef(core != NULL ? core : lock_core(*at(self, lock_offset)));
}

static int guard_set_core(PyObject *self, PyObject *core, void *Py_UNUSED(closure)) {
    Py_XSETREF(*at(self, core_offset), Py_XNewRef(core));
    return 0;
}

/* Not so at a door: what a guard holds there is for the shared memory to say. */
static bool stands_at_gate(PyObject *guard) {
    return seat_of(guard)->standing && Py_IS_TYPE(*at(guard, lock_offset), lock_type);
}

/* What a guard says of itself while it stands at the gate; else the pure property, told by its name. */
static PyObject *guard_held(PyObject *self, void *name) {
    return stands_at_gate(self) ? Py_NewRef(Py_True) : pure_property(self, name);
}

static PyObject *guard_mode(PyObject *self, void *name) {
    return stands_at_gate(self) ? Py_NewRef(kinds[seat_of(self)->mode].wanted) : pure_property(self, name);
}

static PyGetSetDef guard_getset[] = {
    {"_core", guard_core, guard_set_core, NULL, NULL},
    {"held", guard_held, NULL, NULL, "held"},
    {"mode", guard_mode, NULL, NULL, "mode"},
    {"ticket", guard_ticket, guard_set_ticket, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef guard_methods[] = {
    {"__enter__", guard_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))guard_exit, METH_FASTCALL, NULL},
    {"__aenter__", guard_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))guard_aexit, METH_FASTCALL, NULL},
    {"acquire", (PyCFunction)(void (*)(void))guard_acquire, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"try_acquire", guard_try_acquire, METH_NOARGS, NULL},
    {"release", guard_release, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot guard_slots[] = {
    {Py_tp_init, guard_init},       {Py_tp_traverse, guard_traverse}, {Py_tp_clear, guard_clear},
    {Py_tp_dealloc, guard_dealloc}, {Py_tp_methods, guard_methods},   {Py_tp_getset, guard_getset},
    {0, NULL},
};

/* -- the lock ------------------------------------------------------------------------------------------------------------- */

PyObject *guard_for(PyObject *lock, PyObject *core, struct place *place, enum mode mode, PyObject *const *arguments,
                    Py_ssize_t count, PyObject *names) {
    Py_ssize_t given = count + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    PyObject *timeout = given == 0 ? Py_None : arguments[0];
    if (given > 1 || (names != NULL && given == 1 && count == 0 &&
                      PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "timeout") != 0)) {
        PyErr_SetString(PyExc_TypeError, "read(), write() and upgradable() take one argument, 'timeout'");
        return NULL;
    }
    if (place == NULL || place->kind == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this lock was never initialised; call its __init__");
        return NULL;
    }
    if (timeout == Py_None) {
        return guard_new_for(lock, core, place, mode, Py_None);
    }
    timeout = PyObject_CallOneArg(in_seconds, timeout);
    if (timeout == NULL) {
        return NULL;
    }
    PyObject *guard = guard_new_for(lock, core, place, mode, timeout);
    Py_DECREF(timeout);
    return guard;
}

/* Borrowed, for the lock keeps it; NULL if there is none yet. */
static PyObject *core_in(PyObject *lock) {
#ifdef Py_GIL_DISABLED
    return __atomic_load_n(at(lock, lock_core_offset), __ATOMIC_ACQUIRE);
#else
    return *at(lock, lock_core_offset);
#endif
}

static void keep_core_in(PyObject *lock, PyObject *core) {
#ifdef Py_GIL_DISABLED
    __atomic_store_n(at(lock, lock_core_offset), Py_NewRef(core), __ATOMIC_RELEASE);
#else
    *at(lock, lock_core_offset) = Py_NewRef(core);
#endif
}

/* The core of a lock, borrowed, made by the first who needs it. NULL with an exception set. */
static PyObject *lock_core(PyObject *lock) {
    PyObject *known = core_in(lock);
    if (known != NULL) {
        return known;
    }
    PyObject *rules = *at(lock, rules_offset);
    if (rules == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this lock was never initialised; call its __init__");
        return NULL;
    }
    PyObject *mutex = mutex_new(gate_in(lock));
    PyObject *core = mutex == NULL ? NULL : PyObject_CallFunctionObjArgs(make_core, lock, rules, mutex, NULL);
    PyObject *monitor = core == NULL ? NULL : PyObject_GetAttrString(core, "monitor");
    latch_place(&gate_in(lock)->place);
    if (monitor != NULL && *at(lock, lock_core_offset) == NULL) {
        mutex_attach(mutex, monitor);
        keep_core_in(lock, core);
    } else if (mutex != NULL) {
        mutex_discard(mutex); /* Somebody else, who came in between, has made one. */
    }
    unlatch_place(&gate_in(lock)->place);
    Py_XDECREF(monitor);
    Py_XDECREF(core);
    Py_XDECREF(mutex);
    return monitor == NULL ? NULL : core_in(lock);
}

static bool lock_makes_mutex(struct gate *gate) { return lock_core((PyObject *)((char *)gate - gate_offset)) != NULL; }

static PyObject *lock_get_core(PyObject *self, void *Py_UNUSED(closure)) { return Py_XNewRef(lock_core(self)); }

static PyObject *lock_guard(PyObject *self, enum mode mode, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    return guard_for(self, NULL, &gate_in(self)->place, mode, arguments, count, names);
}

static PyObject *lock_read(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    return lock_guard(self, READ, arguments, count, names);
}

static PyObject *lock_upgradable(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    return lock_guard(self, UPGRADABLE, arguments, count, names);
}

static PyObject *lock_write(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    return lock_guard(self, WRITE, arguments, count, names);
}

/* `RWLock._open`. */
static PyObject *lock_open(PyObject *self, PyObject *Py_UNUSED(none)) {
    struct gate *gate = gate_in(self);
    if (gate->place.kind != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this lock was initialised before; make another one");
        return NULL;
    }
    PyObject *rules = *at(self, rules_offset);
    PyObject *open_to_all = PyObject_GetAttrString(rules, "open_to_all");
    PyObject *nesting = open_to_all == NULL ? NULL : PyObject_GetAttrString(rules, "nesting");
    if (nesting != NULL) {
        gate_open(gate, open_to_all == Py_True, nesting == Py_True);
    }
    Py_XDECREF(open_to_all);
    Py_XDECREF(nesting);
    return nesting == NULL ? NULL : Py_NewRef(Py_None);
}

static int lock_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(*at(self, lock_core_offset));
    Py_VISIT(*at(self, rules_offset));
    return 0;
}

static int lock_clear(PyObject *self) {
    gate_close(gate_in(self));
    Py_CLEAR(*at(self, lock_core_offset));
    Py_CLEAR(*at(self, rules_offset));
    return 0;
}

static void lock_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (*at(self, lock_weak_offset) != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    lock_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyGetSetDef lock_getset[] = {
    {"_core", lock_get_core, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef lock_methods[] = {
    {"_open", lock_open, METH_NOARGS, NULL},
    {"read", (PyCFunction)(void (*)(void))lock_read, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"upgradable", (PyCFunction)(void (*)(void))lock_upgradable, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"write", (PyCFunction)(void (*)(void))lock_write, METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_traverse, lock_traverse}, {Py_tp_clear, lock_clear},     {Py_tp_dealloc, lock_dealloc},
    {Py_tp_methods, lock_methods},   {Py_tp_getset, lock_getset},   {0, NULL},
};

/* -- the types -------------------------------------------------------------------------------------------------------------- */

PyObject *guard_make_types(PyObject *module, PyObject *guards, PyObject *lock) {
    static const char *names[MODES] = {"rwlocks._fastpath.ReadGuard", "rwlocks._fastpath.UpgradableGuard",
                                       "rwlocks._fastpath.WriteGuard"};
    PyObject *first = PyTuple_GET_ITEM(guards, 0);
    if (slot_offset(first, "_lock", &lock_offset) < 0 || slot_offset(first, "_core", &core_offset) < 0 ||
        slot_offset(first, "_timeout", &timeout_offset) < 0 || slot_offset(lock, "_core", &lock_core_offset) < 0 ||
        slot_offset(lock, "_rules", &rules_offset) < 0) {
        return NULL;
    }
    seat_offset = ((PyTypeObject *)first)->tp_basicsize;
    weak_offset = ((PyTypeObject *)first)->tp_weaklistoffset;
    gate_offset = ((PyTypeObject *)lock)->tp_basicsize;
    lock_weak_offset = ((PyTypeObject *)lock)->tp_weaklistoffset;
    PyObject *types = PyTuple_New(MODES + 1);
    if (types == NULL) {
        return NULL;
    }
    for (Py_ssize_t mode = 0; mode < MODES; mode++) {
        PyObject *pure = PyTuple_GET_ITEM(guards, mode);
        PyObject *type = subclass(module, pure, names[mode], sizeof(struct seat), Py_TPFLAGS_HAVE_GC, guard_slots);
        if (type == NULL || ((PyTypeObject *)pure)->tp_basicsize != seat_offset) {
            Py_DECREF(types);
            return NULL;
        }
        kinds[mode].pure = (PyTypeObject *)Py_NewRef(pure);
        if ((kinds[mode].wanted = PyObject_GetAttrString(pure, "wanted")) == NULL) {
            Py_DECREF(types);
            return NULL;
        }
        kinds[mode].type = (PyTypeObject *)Py_NewRef(type);
        PyTuple_SET_ITEM(types, mode, type);
    }
    lock_type = (PyTypeObject *)subclass(module, lock, "rwlocks._fastpath.RWLock", sizeof(struct gate), Py_TPFLAGS_HAVE_GC, lock_slots);
    if (lock_type == NULL) {
        Py_DECREF(types);
        return NULL;
    }
    PyTuple_SET_ITEM(types, MODES, Py_NewRef(lock_type));
    entered_type = PyType_FromModuleAndSpec(module, &entered_spec, NULL);
    if (entered_type == NULL || (left = entered_with(NULL)) == NULL) {
        Py_DECREF(types);
        return NULL;
    }
    return types;
}

int guard_prepare(PyObject *core, PyObject *seconds, PyObject *refusal, PyObject *held, PyObject *done) {
    make_core = Py_NewRef(core);
    gate_needs_mutex = lock_makes_mutex;
    in_seconds = Py_NewRef(seconds);
    seat_is_taken = Py_NewRef(refusal);
    state_held = Py_NewRef(held);
    state_done = Py_NewRef(done);
    s_enter = PyUnicode_InternFromString("__enter__");
    s_exit = PyUnicode_InternFromString("__exit__");
    s_aenter = PyUnicode_InternFromString("__aenter__");
    s_acquire = PyUnicode_InternFromString("acquire");
    s_try_acquire = PyUnicode_InternFromString("try_acquire");
    s_release = PyUnicode_InternFromString("release");
    s_state = PyUnicode_InternFromString("state");
    return PyErr_Occurred() ? -1 : 0;
}
