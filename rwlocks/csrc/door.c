#include "door.h"

#include "engine.h"
#include "gate.h"
#include "guard.h"
#include "owner.h"
#include "types.h"
#include "undisputed.h"

/* Lies in the lock, behind the slots of the pure one. The lock keeps what is borrowed here. */
struct door {
    struct place place;
    PyObject *monitor;
    PyObject *native;
    PyObject *roster;
};

static const struct rwl_undisputed *undisputed;
static PyTypeObject *lock_type, *roster_type;
static PyTypeObject *ticket_type, *monitor_type, *native_type; /* pure ones */
static Py_ssize_t door_offset, core_offset;             /* of the door in a lock; a slot of a lock, */
static Py_ssize_t deadlocks_offset;                     /* of a monitor, */
static Py_ssize_t context_offset, deferred_offset;      /* of the native core, */
static Py_ssize_t first_offset, more_offset;            /* and of a roster */
static Py_ssize_t standing_offset;                      /* of those who stand, in a roster */
static PyObject *s_context, *s_cycles, *s_over, *s_owner, *s_raise, *s_task, *s_thread, *s_token, *s_wish;

static struct door *door_at(PyObject *lock) { return (struct door *)((char *)lock + door_offset); }

static struct standing *standing_at(PyObject *roster) {
    return (struct standing *)((char *)roster + standing_offset);
}

struct place *door_of(PyObject *lock, PyObject *core) {
    bool known = lock_type != NULL && Py_IS_TYPE(lock, lock_type) && *at(lock, core_offset) == core;
    return known && door_at(lock)->place.kind != NULL ? &door_at(lock)->place : NULL;
}

/* -- the fast path: the twins of `ProcessLockCore.acquire` and `ProcessMonitor.leave` --------------------------------- */

/* Strict mode looks at who holds what. Its name may be any string; the names of the others are these objects, as a rule. */
static bool is_strict(const struct door *door) {
    PyObject *deadlocks = *at(door->monitor, deadlocks_offset);
    return deadlocks != s_raise && deadlocks != s_cycles;
}

/* A new reference, or NULL. A forked child replaces it, perhaps at this moment. */
static PyObject *context_of(const struct door *door) {
#ifdef Py_GIL_DISABLED
    PyObject *context = PyObject_GetAttr(door->native, s_context);
    if (context == NULL) {
        PyErr_Clear();
    }
    return context;
#else
    return Py_XNewRef(*at(door->native, context_offset));
#endif
}

static int door_enter(struct place *place, struct seat *seat, PyObject *task) {
    struct door *door = (struct door *)place;
    /* First whatever allocates or calls, for it may let others in, perhaps with this very guard. */
    PyObject *thread = owner_thread();
    PyObject *reference = NULL;
    if (thread == NULL || (task != NULL && (reference = owner_reference(task)) == NULL)) {
        return -1;
    }
    PyObject *context = context_of(door);
    latch(&standing_at(door->roster)->latch);
    if (seat->standing || seat->ticket != NULL || gate_observed || is_strict(door) || context == NULL ||
        !Py_IS_TYPE(context, undisputed->context_type) ||
        !undisputed->enter(context, (uint32_t)seat->mode + 1, &seat->token)) {
        unlatch(&standing_at(door->roster)->latch);
        Py_XDECREF(context);
        Py_XDECREF(reference);
        return 0;
    }
    seat->thread = Py_NewRef(thread);
    seat->task = reference;
    seat->context = context;
    seat->roster = Py_NewRef(door->roster);
    stand(standing_at(door->roster), seat);
    unlatch(&standing_at(door->roster)->latch);
    return 1;
}

/* Unlatches. Whoever destroys the last of what was kept here may come back. */
static void vacate(struct seat *seat) {
    struct standing *standing = standing_at(seat->roster);
    PyObject *thread = seat->thread, *task = seat->task, *context = seat->context, *roster = seat->roster;
    seat->thread = seat->task = seat->context = seat->roster = NULL;
    stand_no_more(standing, seat);
    unlatch(&standing->latch);
    Py_DECREF(thread);
    Py_XDECREF(task);
    Py_DECREF(context);
    Py_DECREF(roster);
}

static bool door_leave(struct seat *seat) {
    struct door *door = (struct door *)seat->place;
    PyObject *deferred = *at(door->native, deferred_offset);
    latch(&standing_at(door->roster)->latch);
    if ((FREE_THREADED && !seat->standing) || gate_observed || deferred == NULL || PyList_GET_SIZE(deferred) != 0 ||
        !undisputed->release(seat->context, seat->token)) {
        unlatch(&standing_at(door->roster)->latch);
        return false;
    }
    vacate(seat);
    return true;
}

/* -- what the roster is told ------------------------------------------------------------------------------------------ */

static int set_token(PyObject *ticket, uint64_t token) {
    PyObject *number = PyLong_FromUnsignedLongLong(token);
    int failed = number == NULL ? -1 : PyObject_SetAttr(ticket, s_token, number);
    Py_XDECREF(number);
    return failed;
}

/* A ticket as `ProcessLockCore` would have made it, without running its constructor. */
static PyObject *ticket_for(const struct seat *seat) {
    PyObject *ticket = ticket_type->tp_alloc(ticket_type, 0);
    if (ticket == NULL) {
        return NULL;
    }
    PyObject *task = seat->task == NULL ? Py_None : seat->task;
    if (PyObject_SetAttr(ticket, s_wish, mode_members[seat->mode]) < 0 ||
        PyObject_SetAttr(ticket, s_thread, seat->thread) < 0 || PyObject_SetAttr(ticket, s_task, task) < 0 ||
        PyObject_SetAttr(ticket, s_owner, seat->task == NULL ? seat->thread : seat->task) < 0 ||
        PyObject_SetAttr(ticket, s_context, seat->context) < 0 || set_token(ticket, seat->token) < 0) {
        Py_CLEAR(ticket);
    }
    return ticket;
}

/* `Roster.add`. */
static int enlist(const struct seat *seat, PyObject *ticket) {
    PyObject *first = *at(seat->roster, first_offset), *more = *at(seat->roster, more_offset);
    PyObject *listed = PyDict_SetDefault(first, seat->task == NULL ? seat->thread : seat->task, ticket);
    return listed == ticket ? 0 : listed == NULL ? -1 : PyDict_SetItem(more, ticket, Py_None);
}

/* Unlatches. */
static int absorb(struct seat *seat) {
    PyObject *ticket = ticket_for(seat);
    if (ticket == NULL || enlist(seat, ticket) < 0) {
        unlatch(&standing_at(seat->roster)->latch);
        Py_XDECREF(ticket);
        return -1;
    }
    Py_XSETREF(seat->ticket, ticket);
    vacate(seat);
    return 0;
}

/* The collector must not come in between: what it destroys may ask for this very lock. */
static bool absorb_latched(struct seat *seat) {
    int paused = pause_collector();
    int failed = absorb(seat);
    resume_collector(paused);
    return !failed;
}

static bool door_absorb(struct seat *seat) {
    latch_place(seat->place);
    if (FREE_THREADED && !seat->standing) {
        unlatch_place(seat->place);
        return true;
    }
    return absorb_latched(seat);
}

static bool absorb_all(PyObject *roster) {
    struct standing *standing = standing_at(roster);
    latch(&standing->latch);
    while (standing->first != NULL) {
        if (!absorb_latched(standing->first)) {
            return false;
        }
        latch(&standing->latch);
    }
    unlatch(&standing->latch);
    return true;
}

/* Without its property `state`, which is Python code. */
static bool door_is_over(PyObject *ticket) {
    PyObject *over = PyObject_GetAttr(ticket, s_over);
    PyObject *token = over == NULL ? NULL : PyObject_GetAttr(ticket, s_token);
    bool is_over = token != NULL && over == Py_True && PyLong_AsUnsignedLongLong(token) == 0;
    Py_XDECREF(over);
    Py_XDECREF(token);
    PyErr_Clear();
    return is_over;
}

static struct standing *door_standing(struct place *place) { return standing_at(((struct door *)place)->roster); }

static const struct place_kind door_kind = {door_enter, door_leave, door_absorb, door_is_over, door_standing};

/* -- the roster ------------------------------------------------------------------------------------------------------- */

/* What looks for holds. `add` and `remove` are for tickets, and see no others. */
#define LOOKS(name)                                                                                                    \
    static PyObject *roster_##name(PyObject *self, PyObject *arguments) {                                              \
        return absorb_all(self) ? call_purely(roster_type->tp_base, #name, self, arguments, NULL) : NULL;              \
    }
LOOKS(everybody)
LOOKS(holds)
LOOKS(holds_another)

/* In a forked child, where no other thread runs. */
static PyObject *roster_forked(PyObject *self, PyObject *arguments) {
    latch_anew(&standing_at(self)->latch);
    return call_purely(roster_type->tp_base, "forked", self, arguments, NULL);
}

static PyMethodDef roster_methods[] = {
    {"forked", roster_forked, METH_VARARGS, NULL},
    {"everybody", roster_everybody, METH_VARARGS, NULL},
    {"holds", roster_holds, METH_VARARGS, NULL},
    {"holds_another", roster_holds_another, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot roster_slots[] = {
    {Py_tp_doc, "A roster that also knows of those who stand at a door."},
    {Py_tp_methods, roster_methods},
    {0, NULL},
};

/* -- the lock --------------------------------------------------------------------------------------------------------- */

static PyObject *lock_guard(PyObject *self, enum mode mode, PyObject *const *arguments, Py_ssize_t count,
                            PyObject *names) {
    return guard_for(self, *at(self, core_offset), door_of(self, *at(self, core_offset)), mode, arguments, count, names);
}

static PyObject *lock_read(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    return lock_guard(self, READ, arguments, count, names);
}

static PyObject *lock_upgradable(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    return lock_guard(self, UPGRADABLE, arguments, count, names);
}

static bool is_timeout(PyObject *name) { return PyUnicode_CompareWithASCIIString(name, "timeout") == 0; }

/* To repair after a dead writer is for the pure method, and a pure guard. */
static PyObject *write_purely(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    PyObject *method = PyObject_GetAttrString((PyObject *)lock_type->tp_base, "write");
    PyObject *bound = method == NULL ? NULL : PyMethod_New(method, self);
    PyObject *guard = bound == NULL ? NULL : PyObject_Vectorcall(bound, arguments, (size_t)count, names);
    Py_XDECREF(method);
    Py_XDECREF(bound);
    return guard;
}

static PyObject *lock_write(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    bool plain = names == NULL || (PyTuple_GET_SIZE(names) == 1 && is_timeout(PyTuple_GET_ITEM(names, 0)));
    return plain ? lock_guard(self, WRITE, arguments, count, names) : write_purely(self, arguments, count, names);
}

/* An attribute that has to be of that very type, borrowed: the object keeps it. NULL with an exception set. */
static PyObject *part(PyObject *object, const char *name, PyTypeObject *type) {
    PyObject *value = PyObject_GetAttrString(object, name);
    if (value == NULL) {
        return NULL;
    }
    Py_DECREF(value);
    if (!Py_IS_TYPE(value, type)) {
        PyErr_Format(PyExc_TypeError, "%s is %R, and has to be a %s", name, value, type->tp_name);
        return NULL;
    }
    return value;
}

/* Where death is to raise, every acquisition looks for it. */
static int hang(PyObject *lock) {
    struct door *door = door_at(lock);
    PyObject *core = *at(lock, core_offset);
    PyObject *raises = PyObject_GetAttrString(core, "_raises");
    if (raises == NULL) {
        return -1;
    }
    door->place.restricted = raises != Py_False;
    Py_DECREF(raises);
    door->monitor = part(core, "monitor", monitor_type);
    door->native = door->monitor == NULL ? NULL : part(door->monitor, "native", native_type);
    door->roster = door->native == NULL ? NULL : part(door->monitor, "roster", roster_type);
    if (door->roster == NULL) {
        return -1;
    }
    door->place.kind = &door_kind;
    return 0;
}

static PyObject *lock_begin(PyObject *self, PyObject *arguments) {
    PyObject *nothing = call_purely(lock_type->tp_base, "_begin", self, arguments, NULL);
    if (nothing != NULL && hang(self) < 0) {
        Py_CLEAR(nothing);
    }
    return nothing;
}

static PyMethodDef lock_methods[] = {
    {"_begin", lock_begin, METH_VARARGS, NULL},
    {"read", (PyCFunction)(void (*)(void))lock_read, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"upgradable", (PyCFunction)(void (*)(void))lock_upgradable, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"write", (PyCFunction)(void (*)(void))lock_write, METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_methods, lock_methods},
    {0, NULL},
};

/* -- the types -------------------------------------------------------------------------------------------------------- */

static int know_names(void) {
#define INTERN(name)                                                                                                   \
    if ((s_##name = PyUnicode_InternFromString(#name)) == NULL) {                                                      \
        return -1;                                                                                                     \
    }
    INTERN(context) INTERN(cycles) INTERN(over) INTERN(owner) INTERN(raise) INTERN(task) INTERN(thread) INTERN(token) INTERN(wish)
    return 0;
}

static int know_core(PyObject *capsule) {
    undisputed = PyCapsule_GetPointer(capsule, RWL_UNDISPUTED);
    if (undisputed == NULL) {
        return -1;
    }
    if (undisputed->version != RWL_UNDISPUTED_VERSION) {
        PyErr_SetString(PyExc_ImportError, "the native core is of another version");
        return -1;
    }
    Py_INCREF(capsule); /* for ever */
    return 0;
}

PyObject *door_make_types(PyObject *module, PyObject *lock, PyObject *roster, PyObject *ticket, PyObject *monitor,
                          PyObject *native, PyObject *capsule) {
    if (know_names() < 0 || know_core(capsule) < 0 || slot_offset(lock, "_core", &core_offset) < 0 ||
        slot_offset(monitor, "deadlocks", &deadlocks_offset) < 0 ||
        slot_offset(native, "context", &context_offset) < 0 || slot_offset(native, "_deferred", &deferred_offset) < 0 ||
        slot_offset(roster, "_first", &first_offset) < 0 || slot_offset(roster, "_more", &more_offset) < 0) {
        return NULL;
    }
    door_offset = ((PyTypeObject *)lock)->tp_basicsize;
    standing_offset = ((PyTypeObject *)roster)->tp_basicsize;
    ticket_type = (PyTypeObject *)Py_NewRef(ticket);
    monitor_type = (PyTypeObject *)Py_NewRef(monitor);
    native_type = (PyTypeObject *)Py_NewRef(native);
    roster_type = (PyTypeObject *)subclass(module, roster, "rwlocks._fastpath.Roster", sizeof(struct standing), 0, roster_slots);
    if (roster_type == NULL) {
        return NULL;
    }
    lock_type = (PyTypeObject *)subclass(module, lock, "rwlocks._fastpath.ProcessRWLock", sizeof(struct door), 0, lock_slots);
    return lock_type == NULL ? NULL : Py_BuildValue("(OO)", lock_type, roster_type);
}
