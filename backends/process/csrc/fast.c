/* The door for whatever never blocks: a plain extension that keeps the interpreter's lock.
 *
 * A call that lets go of the interpreter's lock has to win it back, which takes 100 microseconds as soon as another thread
 * computes. So everything that needs no sleep comes through here, tries the gate for a moment, and says "busy" if that
 * was not enough; the other door (`native.c`) may sleep.
 *
 * A `Context` owns the mapping and the page of the `rwl_context`. They are given back with the object, which every call in
 * either door keeps alive, so that nothing is ever unmapped under somebody's feet. */
#define PY_SSIZE_T_CLEAN
#include <pyconfig.h>
#if !defined(Py_LIMITED_API) && !defined(Py_GIL_DISABLED) && !defined(Py_DEBUG)
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gate.h"
#include "os.h"
#include "undisputed.h"

typedef struct {
    PyObject_HEAD
    struct rwl_context *context; /* in a page of its own */
    void *base;
    size_t size;
    uint32_t max_holds;
    int live_fd; /* owned; a copy, for the page may be wiped */
} ContextObject;

static struct rwl_context *context_of(PyObject *self) { return ((ContextObject *)self)->context; }

/* -- making ------------------------------------------------------------------------------------------------------- */

static struct rwl_context *new_page(void) {
    void *page = mmap(NULL, sizeof(struct rwl_context), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
#ifdef MADV_WIPEONFORK
    if (madvise(page, sizeof(struct rwl_context), MADV_WIPEONFORK) != 0) {
        munmap(page, sizeof(struct rwl_context));
        return NULL;
    }
#endif
    return page;
}

static void close_live_fd(ContextObject *self) {
    if (self->live_fd >= 0) {
        close(self->live_fd);
        self->live_fd = -1;
    }
}

/* A hold that nobody can release any more must not look like a dead process's: that would end the exclusion in silence. */
static bool still_holds(const ContextObject *self) {
    return self->context != NULL && rwl_holds_anything(self->context);
}

static void unmake(ContextObject *self) {
    if (still_holds(self)) {
        return; /* leaked on purpose, until the process ends */
    }
    close_live_fd(self);
    if (self->context != NULL) {
        munmap(self->context, sizeof *self->context);
        self->context = NULL;
    }
    if (self->base != NULL) {
        munmap(self->base, self->size);
        self->base = NULL;
    }
}

static bool map(ContextObject *self, int fd) {
    struct stat found;
    if (fstat(fd, &found) != 0 || found.st_size <= 0) {
        return false;
    }
    void *base = mmap(NULL, (size_t)found.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        return false;
    }
    self->base = base;
    self->size = (size_t)found.st_size;
    self->context = new_page();
    return self->context != NULL;
}

static PyObject *refusal(ContextObject *self, int reason) {
    Py_DECREF(self);
    return PyLong_FromLong(reason);
}

/* open(fd, live_fd, boot, bells): a Context, to which live_fd belongs from now on, or the number of the reason why the segment is refused. */
static PyObject *context_open(PyObject *type, PyObject *args) {
    int fd, live_fd;
    Py_buffer boot, bells;
    if (!PyArg_ParseTuple(args, "iiy*y*", &fd, &live_fd, &boot, &bells)) {
        return NULL;
    }
    bool fits = boot.len == 16 && (size_t)bells.len < sizeof ((struct rwl_context *)0)->bells;
    uint8_t boot_id[16];
    char prefix[sizeof ((struct rwl_context *)0)->bells] = "";
    if (fits) {
        memcpy(boot_id, boot.buf, sizeof boot_id);
        memcpy(prefix, bells.buf, (size_t)bells.len);
    }
    PyBuffer_Release(&boot);
    PyBuffer_Release(&bells);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "boot has 16 bytes, and the path of the bells a few hundred at most");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc);
    ContextObject *self = (ContextObject *)allocate((PyTypeObject *)type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->live_fd = -1;
    if (!map(self, fd)) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    struct rwl_config config;
    int reason = rwl_inspect(self->base, self->size, boot_id, &self->context->view, &config);
    if (reason != RWL_CHECK_OK) {
        return refusal(self, reason);
    }
    self->max_holds = config.max_holds;
    self->context->live_fd = self->live_fd = live_fd;
    memcpy(self->context->bells, prefix, sizeof prefix);
    return (PyObject *)self;
}

static void context_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    unmake((ContextObject *)self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* -- arguments and answers ---------------------------------------------------------------------------------------- */

static bool enough(Py_ssize_t given, Py_ssize_t wanted) {
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "takes %zd arguments, not %zd", wanted, given);
        return false;
    }
    return true;
}

static bool token_from(PyObject *const *args, Py_ssize_t given, Py_ssize_t wanted, uint64_t *token) {
    if (!enough(given, wanted)) {
        return false;
    }
    *token = PyLong_AsUnsignedLongLong(args[0]);
    return PyErr_Occurred() == NULL;
}

static PyObject *answer(int code) { return PyLong_FromLong(code); }

static uint64_t this_thread(void) { return (uint64_t)(uintptr_t)pthread_self(); }

/* -- what costs nothing when nobody waits -------------------------------------------------------------------------- */

/* enter(mode, hasty): the token if the lock could be had at once; else 0, or minus the answer's number, or an error's. */
static PyObject *context_enter(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    if (!enough(given, 2)) {
        return NULL;
    }
    long mode = PyLong_AsLong(args[0]);
    if (mode == -1 && PyErr_Occurred()) {
        return NULL;
    }
    struct rwl_wish wish = {.mode = (uint32_t)mode, .hasty = args[1] == Py_True, .owner = this_thread()};
    uint64_t token;
    int code = rwl_lock_request(context_of(self), RWL_TRY, &wish, &token);
    if (code == RWL_GRANTED) {
        return PyLong_FromUnsignedLongLong(token);
    }
    return answer(code == RWL_BUSY ? -100 : code);
}

/* release(token): the answer. */
static PyObject *context_release(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    uint64_t token;
    if (!token_from(args, given, 1, &token)) {
        return NULL;
    }
    return answer(rwl_lock_release(context_of(self), RWL_TRY, token));
}

static bool undisputed_enter(PyObject *self, uint32_t mode, uint64_t *token) {
    struct rwl_wish wish = {.mode = mode, .hasty = true, .owner = this_thread()};
    return rwl_lock_request(context_of(self), RWL_TRY, &wish, token) == RWL_GRANTED;
}

static bool undisputed_release(PyObject *self, uint64_t token) {
    return rwl_lock_release(context_of(self), RWL_TRY, token) == RWL_DONE;
}

/* -- the rest ------------------------------------------------------------------------------------------------------ */

/* request(hold, mode, wait, patience, bell, arrival, wanted): the answer. Puts the token into `hold.token` before any other
 * thread can run, so that nobody sees a request in the segment that its own process does not know. Without the interpreter's
 * lock somebody may, for an instant: to whoever looks then it is a stranger's, and all who wait look again and again. */
static PyObject *context_request(PyObject *self, PyObject *args) {
    struct rwl_wish wish = {.owner = this_thread()};
    unsigned int mode, bell;
    int wait;
    long long patience, wanted;
    unsigned long long arrival;
    PyObject *hold;
    if (!PyArg_ParseTuple(args, "OIpLIKL", &hold, &mode, &wait, &patience, &bell, &arrival, &wanted)) {
        return NULL;
    }
    wish.mode = mode;
    wish.wait = wait != 0;
    wish.patience = patience;
    wish.bell = bell;
    wish.arrival = arrival;
    wish.wanted = wanted;
    uint64_t token;
    int code = rwl_lock_request(context_of(self), RWL_TRY, &wish, &token);
    PyObject *number = PyLong_FromUnsignedLongLong(token);
    if (number == NULL || PyObject_SetAttrString(hold, "token", number) != 0) {
        Py_XDECREF(number);
        if (token != 0) {
            rwl_lock_withdraw(context_of(self), RWL_TRY, token, RWL_QUIETLY);
        }
        return NULL;
    }
    Py_DECREF(number);
    return answer(code);
}

#define ON_TOKEN(name, call)                                                                                           \
    static PyObject *context_##name(PyObject *self, PyObject *const *args, Py_ssize_t given) {                         \
        uint64_t token;                                                                                                \
        if (!token_from(args, given, 1, &token)) {                                                                     \
            return NULL;                                                                                               \
        }                                                                                                              \
        return answer(call(context_of(self), RWL_TRY, token));                                                         \
    }

#define ON_TOKEN_AND_NUMBER(name, call, type)                                                                          \
    static PyObject *context_##name(PyObject *self, PyObject *const *args, Py_ssize_t given) {                         \
        uint64_t token;                                                                                                \
        if (!token_from(args, given, 2, &token)) {                                                                     \
            return NULL;                                                                                               \
        }                                                                                                              \
        long number = PyLong_AsLong(args[1]);                                                                          \
        if (number == -1 && PyErr_Occurred()) {                                                                        \
            return NULL;                                                                                               \
        }                                                                                                              \
        return answer(call(context_of(self), RWL_TRY, token, (type)number));                                           \
    }

ON_TOKEN(resume, rwl_lock_resume)
ON_TOKEN(downgrade, rwl_lock_downgrade)
ON_TOKEN_AND_NUMBER(expire, rwl_lock_expire, int)
ON_TOKEN_AND_NUMBER(withdraw, rwl_lock_withdraw, int)
ON_TOKEN_AND_NUMBER(upgrade, rwl_lock_upgrade, int64_t)
ON_TOKEN_AND_NUMBER(withdraw_upgrade, rwl_lock_withdraw_upgrade, int)
ON_TOKEN_AND_NUMBER(probe, rwl_lock_probe, bool)

/* admits(mode): the answer. */
static PyObject *context_admits(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    if (!enough(given, 1)) {
        return NULL;
    }
    long mode = PyLong_AsLong(args[0]);
    if (mode == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return answer(rwl_lock_admits(context_of(self), RWL_TRY, (uint32_t)mode));
}

/* count(how): the answer. */
static PyObject *context_count(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    if (!enough(given, 1)) {
        return NULL;
    }
    long how = PyLong_AsLong(args[0]);
    if (how == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return answer(rwl_lock_count(context_of(self), RWL_TRY, (int)how));
}

/* abandon(token): the hold is nobody's to release any more. */
static PyObject *context_abandon(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    uint64_t token;
    if (!token_from(args, given, 1, &token)) {
        return NULL;
    }
    rwl_lock_abandon(context_of(self), token);
    Py_RETURN_NONE;
}

static PyObject *context_mended(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(atomic_load_explicit(&context_of(self)->mended, memory_order_relaxed));
}

static PyObject *context_abandoned(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(rwl_lock_abandoned(context_of(self)));
}

/* counts(): (readers, upgradable, writer, waiting); of no one moment if somebody is inside the gate; or an error's number. */
static PyObject *context_counts(PyObject *self, PyObject *unused) {
    (void)unused;
    struct rwl_counts counts;
    int code = rwl_lock_counts(context_of(self), RWL_TRY, &counts);
    return code < 0 ? answer(code)
                    : Py_BuildValue("IIII", counts.readers, counts.upgradable, counts.writer, counts.waiting);
}

static PyObject *context_mark_consistent(PyObject *self, PyObject *unused) {
    (void)unused;
    return answer(rwl_lock_mark_consistent(context_of(self), RWL_TRY));
}

static PyObject *context_detach(PyObject *self, PyObject *unused) {
    (void)unused;
    return answer(rwl_detach(context_of(self), RWL_TRY));
}

static PyObject *context_recovered(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(rwl_lock_recovered(context_of(self)));
}

/* peek(token): the word of the request or hold, 0 if it is none any more. */
static PyObject *context_peek(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    uint64_t token;
    if (!token_from(args, given, 1, &token)) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(rwl_lock_peek(context_of(self), token));
}

/* unlock(): let the kernel know that this process is no user any more. Obligation: it is detached. The descriptor stays open as
 * long as the object, since another thread may still be about to ask it who is alive. */
static PyObject *context_unlock(PyObject *self, PyObject *unused) {
    (void)unused;
    struct rwl_context *context = context_of(self);
    rwl_unlock_byte(context->live_fd, RWL_LIVE_BYTE + context->slot);
    rwl_unlock_byte(context->live_fd, RWL_USER_BYTE);
    Py_RETURN_NONE;
}

/* disown(): in a forked child, close the descriptor that says that the parent lives. Nobody else runs there. */
static PyObject *context_disown(PyObject *self, PyObject *unused) {
    (void)unused;
    close_live_fd((ContextObject *)self);
    Py_RETURN_NONE;
}

/* join_users(alone): lock the byte of the users, shared or, to be the only one, exclusively; whether that could be done. */
static PyObject *context_join_users(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    if (!enough(given, 1)) {
        return NULL;
    }
    int alone = PyObject_IsTrue(args[0]);
    return alone < 0 ? NULL : PyBool_FromLong(rwl_lock_byte(((ContextObject *)self)->live_fd, RWL_USER_BYTE, alone));
}

/* -- looking ------------------------------------------------------------------------------------------------------- */

static PyObject *context_attached(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(atomic_load_explicit(&context_of(self)->attached, memory_order_acquire) == 1);
}

static PyObject *context_address(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromVoidPtr(context_of(self));
}

static PyObject *context_slot(PyObject *self, void *unused) {
    (void)unused;
    return Py_BuildValue("II", context_of(self)->slot, context_of(self)->generation);
}

/* (passes, pid) of the gate: how often it was taken, and by whom it is held; 0 if nobody is inside, or nobody known. */
static PyObject *context_gate(PyObject *self, PyObject *unused) {
    (void)unused;
    struct rwl_context *context = context_of(self);
    if (atomic_load_explicit(&context->attached, memory_order_acquire) != 1) {
        return Py_BuildValue("II", 0u, 0u);
    }
    uint32_t word = atomic_load_explicit(&context->view.state->gate, memory_order_relaxed);
    uint32_t slot = (word >> 20) - 1;
    uint32_t pid = slot < context->view.max_processes ? context->view.slots[slot].pid : 0;
    return Py_BuildValue("II", atomic_load_explicit(&context->view.state->passes, memory_order_relaxed), pid);
}

static PyObject *config_dict(const struct rwl_config *config) {
    return Py_BuildValue("{s:I,s:I,s:I,s:I,s:I,s:I,s:K,s:K,s:K,s:N}", "max_processes", config->max_processes,
                         "max_holds", config->max_holds, "on_writer_death", config->on_writer_death, "creator_uid",
                         config->creator_uid, "after_write", config->policy.after_write, "while_reading",
                         config->policy.while_reading, "max_batch", (unsigned long long)config->policy.max_batch,
                         "max_consecutive_writers", (unsigned long long)config->policy.max_consecutive_writers,
                         "max_writer_wait", (unsigned long long)config->policy.max_writer_wait, "instance",
                         PyBytes_FromStringAndSize((const char *)config->instance, sizeof config->instance));
}

/* What the header says, as it was checked: a dict of plain values. */
static PyObject *context_config(PyObject *self, PyObject *unused) {
    (void)unused;
    struct rwl_view view;
    struct rwl_config config;
    struct rwl_header *header = ((ContextObject *)self)->base;
    uint8_t boot[16];
    memcpy(boot, header->boot, sizeof boot);
    int reason = rwl_inspect(header, ((ContextObject *)self)->size, boot, &view, &config);
    if (reason != RWL_CHECK_OK) {
        return answer(reason);
    }
    return config_dict(&config);
}

static PyObject *record_tuple(const struct rwl_record *record, uint32_t pid, uint32_t index) {
    uint64_t serial = atomic_load_explicit(&record->serial, memory_order_relaxed);
    return Py_BuildValue("IIIKKLLLOIOK", rwl_load(record), pid, record->slot, (unsigned long long)record->owner,
                         (unsigned long long)record->arrival, (long long)record->wanted, (long long)record->patience,
                         (long long)record->since,
                         atomic_load_explicit(&record->delivered, memory_order_relaxed) ? Py_True : Py_False,
                         record->bell,
                         atomic_load_explicit(&record->abandoned, memory_order_relaxed) ? Py_True : Py_False,
                         (unsigned long long)rwl_token(index, serial));
}

static PyObject *snapshot_tuple(const struct rwl_view *view, const struct rwl_state *state,
                                const struct rwl_record *records) {
    PyObject *list = PyList_New(0);
    for (uint32_t index = 0; index < view->max_holds && list != NULL; index++) {
        const struct rwl_record *record = &records[index];
        if (rwl_word_state(rwl_load(record)) == RWL_FREE) {
            continue;
        }
        uint32_t pid = record->slot < view->max_processes ? view->slots[record->slot].pid : 0;
        PyObject *one = record_tuple(record, pid, index);
        if (one == NULL || PyList_Append(list, one) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(one);
    }
    const struct rwl_totals *totals = &state->totals;
    return list == NULL
               ? NULL
               : Py_BuildValue("LIIKKKKKKKN", (long long)state->facts.now,
                               atomic_load_explicit(&state->facts.writer_died, memory_order_relaxed),
                               state->facts.epoch, (unsigned long long)totals->acquisitions,
                               (unsigned long long)totals->contended, (unsigned long long)totals->timeouts,
                               (unsigned long long)totals->cancellations, (unsigned long long)totals->longest_wait,
                               (unsigned long long)totals->repairs, (unsigned long long)totals->reaped, list);
}

/* (now, writer_died, epoch, acquisitions, contended, timeouts, cancellations, longest_wait, repairs, reaped, records),
 * or an answer's number. A record: (word, pid, slot, owner, arrival, wanted, patience, since, delivered, bell,
 * abandoned, token). */
static PyObject *context_snapshot(PyObject *self, PyObject *unused) {
    (void)unused;
    uint32_t max_holds = ((ContextObject *)self)->max_holds;
    struct rwl_state state;
    struct rwl_record *records = PyMem_Malloc(max_holds * sizeof *records);
    if (records == NULL) {
        return PyErr_NoMemory();
    }
    int code = rwl_lock_snapshot(context_of(self), RWL_TRY, &state, records);
    PyObject *result =
        code == RWL_DONE ? snapshot_tuple(&context_of(self)->view, &state, records) : answer(code);
    PyMem_Free(records);
    return result;
}

static PyObject *process_list(const struct rwl_context *context) {
    PyObject *list = PyList_New(0);
    for (uint32_t slot = 0; slot < context->view.max_processes && list != NULL; slot++) {
        const struct rwl_slot *entry = &context->view.slots[slot];
        bool own = atomic_load_explicit(&context->attached, memory_order_acquire) == 1 && slot == context->slot;
        if (!own && !rwl_byte_locked(context->live_fd, RWL_LIVE_BYTE + slot)) {
            continue;
        }
        PyObject *pid = PyLong_FromUnsignedLong(entry->pid);
        if (pid == NULL || PyList_Append(list, pid) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pid);
    }
    return list;
}

/* The pids of all who are attached, in the order of their slots. */
static PyObject *context_processes(PyObject *self, PyObject *unused) {
    (void)unused;
    return process_list(context_of(self));
}

enum { DEAD = 0, ALIVE_HERE = 1, ALIVE_ELSEWHERE = 2, NOT_ASKED = 3 };

/* ALIVE_HERE: its number means the same to us. Every process is asked for once. */
static int life_of(const struct rwl_context *context, const struct rwl_record *record, uint8_t *lives) {
    uint32_t slot = record->slot;
    if (slot >= context->view.max_processes ||
        atomic_load_explicit(&context->view.slots[slot].generation, memory_order_relaxed) != record->generation) {
        return DEAD;
    }
    if (lives[slot] == NOT_ASKED) {
        bool here = context->view.slots[slot].pid_namespace == context->pid_namespace;
        bool gone = rwl_dead_slowly(context, slot, record->generation, true);
        lives[slot] = gone ? DEAD : here ? ALIVE_HERE : ALIVE_ELSEWHERE;
    }
    return lives[slot];
}

/* Of the process of each record that is not free, in the order of `snapshot_tuple`. */
static PyObject *life_list(const struct rwl_context *context) {
    uint8_t lives[RWL_MAX_PROCESSES];
    memset(lives, NOT_ASKED, sizeof lives);
    PyObject *list = PyList_New(0);
    for (uint32_t index = 0; index < context->view.max_holds && list != NULL; index++) {
        const struct rwl_record *record = &context->view.records[index];
        if (rwl_word_state(rwl_load(record)) == RWL_FREE) {
            continue;
        }
        PyObject *life = PyLong_FromLong(life_of(context, record, lives));
        if (life == NULL || PyList_Append(list, life) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(life);
    }
    return list;
}

static uint32_t gate_of(const struct rwl_state *state) {
    return atomic_load_explicit(&state->gate, memory_order_relaxed);
}

/* Whether nobody went through the gate between two copies of its word and of the number of passes. */
static bool nobody_passed(const struct rwl_state *before, const struct rwl_state *after) {
    return gate_of(before) == 0 && gate_of(after) == 0 &&
           atomic_load_explicit(&before->passes, memory_order_relaxed) ==
               atomic_load_explicit(&after->passes, memory_order_relaxed);
}

/* What a copy of a segment says, to one who has no slot: nothing is written, and no byte is locked. */
static PyObject *look_at(char *image, Py_ssize_t size, const char *again, int fd, const uint8_t *boot) {
    struct rwl_config config;
    struct rwl_context stranger = {.slot = RWL_NIL, .live_fd = fd, .pid_namespace = rwl_pid_namespace()};
    int reason = rwl_inspect(image, (uint64_t)size, boot, &stranger.view, &config);
    if (reason != RWL_CHECK_OK) {
        return answer(reason);
    }
    struct rwl_state before, after;
    memcpy(&before, stranger.view.state, sizeof before);
    memcpy(&after, again + RWL_STATE_OFFSET, sizeof after);
    uint32_t inside = (gate_of(&after) >> 20) - 1;
    uint32_t pid = inside < config.max_processes ? stranger.view.slots[inside].pid : 0;
    before.facts.now = rwl_now();
    return Py_BuildValue("NOINNN", config_dict(&config), nobody_passed(&before, &after) ? Py_True : Py_False, pid,
                         snapshot_tuple(&stranger.view, &before, stranger.view.records), life_list(&stranger),
                         process_list(&stranger));
}

/* -- the module ---------------------------------------------------------------------------------------------------- */

#define FAST(name) {#name, (PyCFunction)(void (*)(void))context_##name, METH_FASTCALL, NULL}
#define PLAIN(name) {#name, context_##name, METH_NOARGS, NULL}

static PyMethodDef context_methods[] = {
    {"open", context_open, METH_VARARGS | METH_CLASS, NULL},
    {"request", context_request, METH_VARARGS, NULL},
    FAST(enter),
    FAST(release),
    FAST(resume),
    FAST(peek),
    FAST(expire),
    FAST(downgrade),
    FAST(withdraw),
    FAST(upgrade),
    FAST(withdraw_upgrade),
    FAST(probe),
    FAST(admits),
    FAST(count),
    FAST(abandon),
    PLAIN(abandoned),
    PLAIN(mended),
    PLAIN(counts),
    PLAIN(mark_consistent),
    PLAIN(detach),
    PLAIN(recovered),
    FAST(join_users),
    PLAIN(unlock),
    PLAIN(disown),
    PLAIN(gate),
    PLAIN(config),
    PLAIN(snapshot),
    PLAIN(processes),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef context_members[] = {
    {"attached", context_attached, NULL, NULL, NULL},
    {"address", context_address, NULL, NULL, NULL},
    {"place", context_slot, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot context_slots[] = {
    {Py_tp_dealloc, context_dealloc},
    {Py_tp_methods, context_methods},
    {Py_tp_getset, context_members},
    {0, NULL},
};

static PyType_Spec context_spec = {
    .name = "rwlocks.backends.process._fast.Context",
    .basicsize = sizeof(ContextObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = context_slots,
};

/* initialise(fd, max_processes, max_holds, on_writer_death, uid, after_write, while_reading, max_batch,
 * max_consecutive_writers, max_writer_wait, instance, boot): initialise a file of the right size that nobody else knows yet. */
static PyObject *fast_initialise(PyObject *module, PyObject *args) {
    (void)module;
    int fd;
    struct rwl_config config = {0};
    unsigned long long batch, writers, wait;
    Py_buffer instance, boot;
    if (!PyArg_ParseTuple(args, "iIIIIIIKKKy*y*", &fd, &config.max_processes, &config.max_holds,
                          &config.on_writer_death, &config.creator_uid, &config.policy.after_write,
                          &config.policy.while_reading, &batch, &writers, &wait, &instance, &boot)) {
        return NULL;
    }
    config.policy.max_batch = batch;
    config.policy.max_consecutive_writers = writers;
    config.policy.max_writer_wait = wait;
    bool fits = instance.len == 16 && boot.len == 16;
    if (fits) {
        memcpy(config.instance, instance.buf, sizeof config.instance);
        memcpy(config.boot, boot.buf, sizeof config.boot);
    }
    PyBuffer_Release(&instance);
    PyBuffer_Release(&boot);
    uint64_t size = rwl_segment_size(config.max_processes, config.max_holds);
    void *base = fits ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (base == MAP_FAILED) {
        return fits ? PyErr_SetFromErrno(PyExc_OSError) : PyErr_Format(PyExc_ValueError, "an id has 16 bytes");
    }
    bool formatted = rwl_format(base, size, &config);
    munmap(base, size);
    if (!formatted) {
        return PyErr_Format(PyExc_ValueError, "a limit is out of range: 1 to %u processes, 1 to %u holds",
                            RWL_MAX_PROCESSES, RWL_MAX_HOLDS);
    }
    Py_RETURN_NONE;
}

/* size(max_processes, max_holds): bytes. */
static PyObject *fast_size(PyObject *module, PyObject *args) {
    (void)module;
    unsigned int max_processes, max_holds;
    if (!PyArg_ParseTuple(args, "II", &max_processes, &max_holds)) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(rwl_segment_size(max_processes, max_holds));
}

/* join_users(fd, alone): lock the byte of the users, shared or, to be the only one, exclusively; whether that could be done. */
static PyObject *fast_join_users(PyObject *module, PyObject *args) {
    (void)module;
    int fd, alone;
    if (!PyArg_ParseTuple(args, "ip", &fd, &alone)) {
        return NULL;
    }
    return PyBool_FromLong(rwl_lock_byte(fd, RWL_USER_BYTE, alone != 0));
}

/* on_network(fd): whether the file lies on a file system that other machines may write, too. */
static PyObject *fast_on_network(PyObject *module, PyObject *args) {
    (void)module;
    int fd;
    if (!PyArg_ParseTuple(args, "i", &fd)) {
        return NULL;
    }
    return PyBool_FromLong(rwl_on_network(fd));
}

/* look(image, again, fd, boot): what a copy of a whole segment says. `again` is a second copy of its first page, taken later, and
 * `fd` the file, open for reading. (config, whole, gate, snapshot, lives, processes), or the number of the reason why it is
 * refused. `whole`: nothing changed while it was copied; `gate`: the pid of who is inside; `lives`: see `life_of`. */
static PyObject *fast_look(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer image, again, boot;
    int fd;
    if (!PyArg_ParseTuple(args, "y*y*iy*", &image, &again, &fd, &boot)) {
        return NULL;
    }
    PyObject *found;
    if (boot.len != 16 || again.len < (Py_ssize_t)RWL_HEADER_SIZE) {
        found = image.len < (Py_ssize_t)RWL_HEADER_SIZE
                    ? answer(RWL_CHECK_SMALL)
                    : PyErr_Format(PyExc_ValueError, "boot has 16 bytes, and a page %u", RWL_HEADER_SIZE);
    } else {
        found = look_at(image.buf, image.len, again.buf, fd, boot.buf);
    }
    PyBuffer_Release(&image);
    PyBuffer_Release(&again);
    PyBuffer_Release(&boot);
    return found;
}

static PyMethodDef fast_methods[] = {
    {"look", fast_look, METH_VARARGS, NULL},
    {"initialise", fast_initialise, METH_VARARGS, NULL},
    {"size", fast_size, METH_VARARGS, NULL},
    {"join_users", fast_join_users, METH_VARARGS, NULL},
    {"on_network", fast_on_network, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static void free_undisputed(PyObject *capsule) {
    struct rwl_undisputed *undisputed = PyCapsule_GetPointer(capsule, RWL_UNDISPUTED);
    Py_DECREF(undisputed->context_type);
    PyMem_Free(undisputed);
}

static PyObject *new_undisputed(PyObject *type) {
    struct rwl_undisputed *undisputed = PyMem_Malloc(sizeof *undisputed);
    if (undisputed == NULL) {
        return PyErr_NoMemory();
    }
    *undisputed = (struct rwl_undisputed){RWL_UNDISPUTED_VERSION, (PyTypeObject *)type, undisputed_enter,
                                          undisputed_release};
    PyObject *capsule = PyCapsule_New(undisputed, RWL_UNDISPUTED, free_undisputed);
    if (capsule == NULL) {
        PyMem_Free(undisputed);
        return NULL;
    }
    Py_INCREF(type);
    return capsule;
}

static int add_owned(PyObject *module, const char *name, PyObject *value) {
    int added = value == NULL ? -1 : PyModule_AddObjectRef(module, name, value);
    Py_XDECREF(value);
    return added;
}

static int fast_exec(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &context_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int added = add_owned(module, "UNDISPUTED", new_undisputed(type));
    if (add_owned(module, "Context", type) != 0 || added != 0) {
        return -1;
    }
    PyObject *hash = PyLong_FromUnsignedLongLong(rwl_layout_hash());
    added = add_owned(module, "LAYOUT", hash);
#ifdef RWL_PORTABLE
    const char *waiting = "fifo";
#else
    const char *waiting = "futex";
#endif
    return added != 0 ? -1 : PyModule_AddStringConstant(module, "WAITING", waiting);
}

static PyModuleDef_Slot fast_slots[] = {
    {Py_mod_exec, fast_exec},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* The core is made for many processes: every word that two may touch is atomic. */
#endif
    {0, NULL},
};

static struct PyModuleDef fast_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_fast",
    .m_methods = fast_methods,
    .m_slots = fast_slots,
};

PyMODINIT_FUNC PyInit__fast(void) { return PyModuleDef_Init(&fast_module); }
