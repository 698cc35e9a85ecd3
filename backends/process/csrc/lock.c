#include "lock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "gate.h"
#include "os.h"

/* A writer's, in nanoseconds; some hundred tiny sections, and a tenth of the patience that it has by default. */
#define HOLD_BACK 100000
/* For how long it is remembered that a process was alive. */
#define MOMENT 1000000

/* -- inside the gate ---------------------------------------------------------------------------------------------- */

static void ring_all(void *self, const struct rwl_wake *wakes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (wakes[i].bell == 0) {
            rwl_wake_sleeper(self, &wakes[i]);
        } else {
            rwl_ring_bell(self, &wakes[i]);
        }
    }
}

/* Who was seen alive is remembered for a moment: the question is a system call, and those who fight for the lock would ask it
 * of the same few again and again. */
static struct rwl_life *life_of(struct rwl_event *event, uint32_t slot) {
    return &((struct rwl_context *)event->self)->lives[slot % RWL_LIVES];
}

static bool lived_just_now(struct rwl_event *event, uint32_t slot, uint32_t generation) {
    const struct rwl_life *life = life_of(event, slot);
    return life->slot == slot && life->generation == generation && event->now >= life->seen &&
           event->now - life->seen < MOMENT;
}

static void remember(struct rwl_event *event, uint32_t slot, uint32_t generation) {
    *life_of(event, slot) = (struct rwl_life){slot, generation, event->now};
}

static bool dead(struct rwl_event *event, uint32_t slot, uint32_t generation, bool surely) {
    if (!surely && lived_just_now(event, slot, generation)) {
        return false;
    }
    bool found = rwl_dead(event->self, slot, generation);
    if (!found) {
        remember(event, slot, generation);
    }
    return found;
}

static void begin(struct rwl_event *event, struct rwl_context *context) {
    event->view = &context->view;
    event->now = 0;
    event->slot = context->slot;
    event->generation = context->generation;
    event->corrupt = false;
    event->steps = 64 * (context->view.max_holds + 64);
    event->wake_count = 0;
    event->ring = ring_all;
    event->dead = dead;
    event->self = context;
}

static bool dirty(struct rwl_context *context) {
    return atomic_load_explicit(&context->view.state->dirty, memory_order_relaxed) != 0;
}

/* Count everything again. What fails stays marked, so that nobody builds on caches that contradict the records. */
static bool mend(struct rwl_event *event, struct rwl_context *context) {
    atomic_store_explicit(&context->view.state->dirty, 1, memory_order_seq_cst);
    RWL_FAULT();
    event->steps = 64 * (context->view.max_holds + 64);
    event->corrupt = false;
    if (!rwl_recount(event)) {
        return false;
    }
    atomic_store_explicit(&context->view.state->dirty, 0, memory_order_release);
    return true;
}

/* The owner of the gate has died inside. Count again, and do what it has left undone. */
static void recover(struct rwl_event *event, struct rwl_context *context) {
    if (mend(event, context)) {
        context->view.state->totals.repairs++;
        atomic_fetch_add_explicit(&context->mended, 1, memory_order_relaxed);
        event->now = rwl_now();
        rwl_serve(event);
    }
}

static int leave(struct rwl_event *event, struct rwl_context *context, int answer);

/* RWL_GRANTED: inside. */
static int enter(struct rwl_event *event, struct rwl_context *context, enum rwl_door door) {
    if (atomic_load_explicit(&context->attached, memory_order_acquire) != 1) {
        return RWL_E_DETACHED;
    }
    bool stolen;
    int entered = rwl_gate_enter(context, door, &stolen);
    if (entered != RWL_GRANTED) {
        return entered;
    }
    if (atomic_load_explicit(&context->attached, memory_order_relaxed) != 1) {
        rwl_gate_leave(context); /* detached by another thread in the meantime */
        return RWL_E_DETACHED;
    }
    begin(event, context);
    if (__builtin_expect(stolen || dirty(context), 0)) {
        recover(event, context);
        if (event->corrupt || dirty(context)) {
            return leave(event, context, RWL_E_CORRUPT);
        }
        event->now = 0;
    }
    return RWL_GRANTED;
}

/* Nonsense that was met is mended as far as the records allow, and reported either way. */
static int leave(struct rwl_event *event, struct rwl_context *context, int answer) {
    if (__builtin_expect(event->corrupt, 0)) {
        mend(event, context);
        answer = RWL_E_CORRUPT;
    }
    rwl_gate_leave(context);
    if (event->wake_count != 0) {
        ring_all(context, event->wakes, event->wake_count);
    }
    return answer;
}

/* The record of a token of this process; RWL_NIL if it is none. */
static uint32_t find(struct rwl_context *context, uint64_t token) {
    uint32_t index = token & 0xffff;
    if (index >= context->view.max_holds) {
        return RWL_NIL;
    }
    const struct rwl_record *record = &context->view.records[index];
    uint64_t serial = atomic_load_explicit(&record->serial, memory_order_relaxed);
    bool ours = rwl_word_state(rwl_load(record)) != RWL_FREE && serial << 16 == token - index &&
                record->slot == context->slot && record->generation == context->generation;
    return ours ? index : RWL_NIL;
}

static bool pending(struct rwl_context *context, uint32_t index) {
    return (rwl_load(&context->view.records[index]) & RWL_WORD_PENDING) != 0;
}

static bool holds(struct rwl_context *context, uint32_t index) {
    return rwl_word_state(rwl_load(&context->view.records[index])) == RWL_HELD;
}

static uint32_t mode_of(struct rwl_context *context, uint32_t index) {
    return rwl_word_mode(rwl_load(&context->view.records[index]));
}

/* What an operation may ask of its record. */
static bool is_any(struct rwl_context *context, uint32_t index) {
    (void)context;
    (void)index;
    return true;
}

static bool is_settled(struct rwl_context *context, uint32_t index) {
    return holds(context, index) && !pending(context, index);
}

static bool can_downgrade(struct rwl_context *context, uint32_t index) {
    return holds(context, index) && mode_of(context, index) != RWL_READ;
}

static bool can_upgrade(struct rwl_context *context, uint32_t index) {
    return is_settled(context, index) && mode_of(context, index) != RWL_WRITE;
}

/* RWL_GRANTED: inside, with the record of the token. Otherwise the answer, and outside. */
static int enter_at(struct rwl_event *event, struct rwl_context *context, enum rwl_door door, uint64_t token,
                    bool (*fits)(struct rwl_context *, uint32_t), uint32_t *index) {
    int answer = enter(event, context, door);
    if (answer != RWL_GRANTED) {
        return answer;
    }
    *index = find(context, token);
    return *index != RWL_NIL && fits(context, *index) ? RWL_GRANTED : leave(event, context, RWL_E_NOT_HELD);
}

/* One event at the record of a token, with what time it is; `act` gives the answer. `number` is for `act` alone. */
static int at(struct rwl_context *context, enum rwl_door door, uint64_t token,
              bool (*fits)(struct rwl_context *, uint32_t),
              int (*act)(struct rwl_event *event, struct rwl_context *context, uint32_t index, int64_t number),
              int64_t number) {
    struct rwl_event event;
    uint32_t index;
    int answer = enter_at(&event, context, door, token, fits, &index);
    if (answer != RWL_GRANTED) {
        return answer;
    }
    event.now = rwl_now();
    return leave(&event, context, act(&event, context, index, number));
}

/* -- the dead ----------------------------------------------------------------------------------------------------- */

static void bury(struct rwl_event *event, uint32_t slot, uint32_t generation) {
    if (rwl_owner_died(event, slot, generation) != 0) {
        event->view->state->totals.reaped++;
        atomic_fetch_add_explicit(&((struct rwl_context *)event->self)->mended, 1, memory_order_relaxed);
    }
    if (slot < event->view->max_processes &&
        atomic_load_explicit(&event->view->slots[slot].generation, memory_order_relaxed) == generation) {
        atomic_store_explicit(&event->view->slots[slot].state, 0, memory_order_release);
    }
}

/* With how much care: from memory, by asking, or also for what only rare accidents need. */
enum care { GLANCE, PROBE, THOROUGHLY };

static bool bury_if_dead(struct rwl_event *event, uint32_t index, enum care care) {
    struct rwl_record *record = rwl_at(event, index);
    uint32_t slot = record->slot, generation = record->generation;
    if (care == GLANCE && lived_just_now(event, slot, generation)) {
        return false;
    }
    if (!rwl_dead_slowly(event->self, slot, generation, care == THOROUGHLY)) {
        remember(event, slot, generation);
        return false;
    }
    bury(event, slot, generation);
    return true;
}

static uint32_t holders(const struct rwl_event *event) {
    const struct rwl_cache *cache = &event->view->state->cache;
    return cache->readers + (cache->upgradable != RWL_NIL) + (cache->writer != RWL_NIL);
}

/* Look at every process that has a record in one of these states, each once. Returns whether one was dead. */
static bool probe_all(struct rwl_event *event, bool waiters, enum care care) {
    uint64_t asked[(RWL_MAX_PROCESSES + 63) / 64] = {0};
    bool found = false;
    uint32_t left = waiters ? RWL_NIL : holders(event);
    for (uint32_t index = 0; index < event->view->max_holds && left != 0; index++) {
        struct rwl_record *record = &event->view->records[index];
        uint32_t state = rwl_word_state(rwl_load(record)), slot = record->slot;
        if (state == RWL_FREE || (state == RWL_WAITING && !waiters)) {
            continue;
        }
        left--;
        if (slot < event->view->max_processes) {
            if (asked[slot / 64] >> slot % 64 & 1 && !rwl_dead(event->self, slot, record->generation)) {
                continue;
            }
            asked[slot / 64] |= 1ull << slot % 64;
        }
        found |= bury_if_dead(event, index, care);
    }
    return found;
}

/* A grant whose delivery may have been lost on the way to an event loop. */
static void ring_again(struct rwl_event *event) {
    for (uint32_t index = 0; index < event->view->max_holds; index++) {
        struct rwl_record *record = &event->view->records[index];
        struct rwl_wake wake = {index, record->slot, record->generation, record->bell};
        if (holds(event->self, index) && record->bell != 0 &&
            atomic_load_explicit(&record->delivered, memory_order_relaxed) == 0 && !rwl_ring_bell(event->self, &wake) &&
            atomic_load_explicit(&record->delivered, memory_order_relaxed) == 0) {
            rwl_withdraw(event, index); /* nobody has that bell any more: the loop was closed */
        }
    }
}

/* Those before it in its line; and if it is the first, whoever holds, and whoever is the first of another line. */
static void probe(struct rwl_event *event, uint32_t index, enum care care) {
    if (!holds(event->self, index)) {
        uint32_t before;
        while ((before = rwl_at(event, index)->place.before) != RWL_NIL && rwl_step(event)) {
            if (!bury_if_dead(event, before, care)) {
                return;
            }
        }
    }
    probe_all(event, false, care);
    for (int i = 0; i < RWL_MODES; i++) {
        uint32_t head;
        while ((head = event->view->state->cache.waiting[i].head) != RWL_NIL && rwl_step(event) &&
               bury_if_dead(event, head, care)) {
        }
    }
    if (care == THOROUGHLY) {
        ring_again(event);
    }
}

/* -- coming and going --------------------------------------------------------------------------------------------- */

static bool choose_slot(struct rwl_context *context) {
    for (uint32_t slot = 0; slot < context->view.max_processes; slot++) {
        if (rwl_lock_byte(context->live_fd, RWL_LIVE_BYTE + slot, true)) {
            struct rwl_slot *entry = &context->view.slots[slot];
            uint32_t generation = atomic_load_explicit(&entry->generation, memory_order_relaxed) + 1;
            RWL_FAULT();
            context->slot = slot;
            context->generation = generation == 0 ? 1 : generation;
            atomic_store_explicit(&entry->state, 0, memory_order_seq_cst); /* what it says of the last owner is void */
            /* From now on whatever the last owner of this slot has left, a gate it died in included, is a dead one's. */
            atomic_store_explicit(&entry->generation, context->generation, memory_order_seq_cst);
            return true;
        }
    }
    return false;
}

/* What earlier owners of this slot have left. */
static void inherit(struct rwl_event *event) {
    for (uint32_t index = 0; index < event->view->max_holds; index++) {
        struct rwl_record *record = &event->view->records[index];
        if (rwl_word_state(rwl_load(record)) != RWL_FREE && record->slot == event->slot &&
            record->generation != event->generation) {
            bury(event, event->slot, record->generation);
        }
    }
}

static void introduce(struct rwl_context *context) {
    RWL_FAULT();
    struct rwl_slot *entry = &context->view.slots[context->slot];
    entry->pid = (uint32_t)getpid();
    entry->uid = (uint32_t)geteuid();
    entry->pid_namespace = context->pid_namespace;
    entry->start_time = rwl_start_time(entry->pid);
    atomic_store_explicit(&entry->state, 1, memory_order_release);
}

int rwl_attach(struct rwl_context *context) {
    struct rwl_event event;
    if (context->generation == 0) {
        context->pid_namespace = rwl_pid_namespace();
        context->pid = (uint32_t)getpid();
        if (!choose_slot(context)) {
            return RWL_E_FULL;
        }
    }
    atomic_store_explicit(&context->attached, 1, memory_order_release);
    int answer = enter(&event, context, RWL_SLEEP);
    if (answer == RWL_GRANTED) {
        event.now = rwl_now();
        inherit(&event);
        introduce(context);
        answer = leave(&event, context, RWL_DONE);
    }
    if (answer != RWL_DONE) {
        atomic_store_explicit(&context->attached, 0, memory_order_release);
    }
    return answer;
}

static bool belongs(const struct rwl_context *context, const struct rwl_record *record, uint32_t state) {
    return rwl_word_state(rwl_load(record)) == state && record->slot == context->slot &&
           record->generation == context->generation;
}

bool rwl_holds_anything(const struct rwl_context *context) {
    if (atomic_load_explicit(&context->attached, memory_order_acquire) != 1) {
        return false;
    }
    for (uint32_t index = 0; index < context->view.max_holds; index++) {
        if (belongs(context, &context->view.records[index], RWL_HELD)) {
            return true;
        }
    }
    return false;
}

int rwl_detach(struct rwl_context *context, enum rwl_door door) {
    struct rwl_event event;
    int entered = enter(&event, context, door);
    if (entered != RWL_GRANTED) {
        return entered;
    }
    const struct rwl_view *view = &context->view;
    if (rwl_holds_anything(context)) {
        return leave(&event, context, RWL_REFUSED);
    }
    event.now = rwl_now();
    for (uint32_t index = 0; index < view->max_holds; index++) {
        struct rwl_record *record = &view->records[index];
        if (belongs(context, record, RWL_WAITING)) {
            rwl_withdraw(&event, index);
            atomic_fetch_add_explicit(&record->grant, 1, memory_order_release);
            struct rwl_wake wake = {index, record->slot, record->generation, record->bell};
            ring_all(context, &wake, 1);
        }
    }
    atomic_store_explicit(&view->slots[context->slot].state, 0, memory_order_release);
    atomic_store_explicit(&context->attached, 0, memory_order_release);
    return leave(&event, context, RWL_DONE);
}

/* -- operations --------------------------------------------------------------------------------------------------- */

/* A request that nobody has to wait for is made without reading a clock. */
static int ask(struct rwl_event *event, const struct rwl_wish *wish, uint32_t index) {
    if (rwl_enter_idle(event, index, wish->mode)) {
        return RWL_GRANTED;
    }
    struct rwl_record *record = rwl_at(event, index);
    record->arrival = wish->arrival;
    record->wanted = wish->wanted;
    event->now = rwl_now();
    return rwl_request(event, index, wish->mode, wish->wait);
}

static uint32_t prepare(struct rwl_event *event, const struct rwl_wish *wish) {
    return rwl_prepare(event, wish->mode, wish->patience, wish->owner, wish->bell);
}

int rwl_lock_request(struct rwl_context *context, enum rwl_door door, const struct rwl_wish *wish, uint64_t *token) {
    struct rwl_event event;
    *token = 0;
    if (wish->mode < RWL_READ || wish->mode > RWL_WRITE || wish->arrival > INT64_MAX) {
        return RWL_E_USAGE;
    }
    int answer = enter(&event, context, door);
    if (answer != RWL_GRANTED) {
        return answer;
    }
    uint32_t index = prepare(&event, wish);
    if (index == RWL_NIL && !event.corrupt) { /* a full table: perhaps the dead fill it */
        event.now = rwl_now();
        probe_all(&event, true, THOROUGHLY);
        index = prepare(&event, wish);
    }
    if (index == RWL_NIL) {
        return leave(&event, context, RWL_E_FULL);
    }
    uint64_t serial = atomic_load_explicit(&rwl_at(&event, index)->serial, memory_order_relaxed);
    answer = ask(&event, wish, index);
    if (answer == RWL_WAITS) {
        probe_all(&event, false, GLANCE); /* what it may have been granted by that, it will see */
    } else if (answer == RWL_REFUSED && !wish->hasty && probe_all(&event, false, PROBE)) { /* on account of the dead */
        index = prepare(&event, wish);
        serial = atomic_load_explicit(&rwl_at(&event, index)->serial, memory_order_relaxed);
        answer = index == RWL_NIL ? RWL_REFUSED : ask(&event, wish, index);
    }
    if (answer != RWL_REFUSED) {
        *token = rwl_token(index, serial);
    }
    return leave(&event, context, answer);
}

int rwl_lock_admits(struct rwl_context *context, enum rwl_door door, uint32_t mode) {
    struct rwl_event event;
    if (mode < RWL_READ || mode > RWL_WRITE) {
        return RWL_E_USAGE;
    }
    int answer = enter(&event, context, door);
    if (answer != RWL_GRANTED) {
        return answer;
    }
    event.now = rwl_now();
    rwl_look(&event);
    bool admitted = rwl_admits(&event, mode);
    if (!admitted && probe_all(&event, false, PROBE)) { /* on account of the dead */
        admitted = rwl_admits(&event, mode);
    }
    return leave(&event, context, admitted ? RWL_GRANTED : RWL_REFUSED);
}

int rwl_lock_release(struct rwl_context *context, enum rwl_door door, uint64_t token) {
    struct rwl_event event;
    uint32_t index;
    int answer = enter_at(&event, context, door, token, is_settled, &index);
    if (answer != RWL_GRANTED) {
        return answer;
    }
    if (!rwl_leave_idle(&event, index)) {
        event.now = rwl_now();
        rwl_release(&event, index);
    }
    return leave(&event, context, RWL_DONE);
}

static void count_end(struct rwl_context *context, int how) {
    struct rwl_totals *totals = &context->view.state->totals;
    if (how == RWL_TIMED) {
        totals->timeouts++;
    } else if (how == RWL_CANCELLED) {
        totals->cancellations++;
    }
}

int rwl_lock_count(struct rwl_context *context, enum rwl_door door, int how) {
    struct rwl_event event;
    int answer = enter(&event, context, door);
    if (answer != RWL_GRANTED) {
        return answer;
    }
    count_end(context, how);
    return leave(&event, context, RWL_DONE);
}

static int withdraw(struct rwl_event *event, struct rwl_context *context, uint32_t index, int64_t how) {
    rwl_withdraw(event, index);
    count_end(context, (int)how);
    return RWL_DONE;
}

int rwl_lock_withdraw(struct rwl_context *context, enum rwl_door door, uint64_t token, int how) {
    return at(context, door, token, is_any, withdraw, how);
}

static int downgrade(struct rwl_event *event, struct rwl_context *context, uint32_t index, int64_t unused) {
    (void)context;
    (void)unused;
    rwl_downgrade(event, index);
    return RWL_DONE;
}

int rwl_lock_downgrade(struct rwl_context *context, enum rwl_door door, uint64_t token) {
    return at(context, door, token, can_downgrade, downgrade, 0);
}

static int upgrade(struct rwl_event *event, struct rwl_context *context, uint32_t index, int64_t sleeper) {
    (void)context;
    bool wait = sleeper >= 0;
    rwl_at(event, index)->bell = wait ? (uint32_t)sleeper : 0;
    int answer = rwl_upgrade(event, index, wait);
    if ((answer == RWL_REFUSED || answer == RWL_CONFLICT) && probe_all(event, false, PROBE)) {
        answer = rwl_upgrade(event, index, wait);
    }
    return answer;
}

int rwl_lock_upgrade(struct rwl_context *context, enum rwl_door door, uint64_t token, int64_t sleeper) {
    return at(context, door, token, can_upgrade, upgrade, sleeper);
}

static int withdraw_upgrade(struct rwl_event *event, struct rwl_context *context, uint32_t index, int64_t how) {
    rwl_withdraw_upgrade(event, index);
    count_end(context, (int)how);
    return RWL_DONE;
}

int rwl_lock_withdraw_upgrade(struct rwl_context *context, enum rwl_door door, uint64_t token, int how) {
    return at(context, door, token, holds, withdraw_upgrade, how);
}

/* Without the gate, for the word of an own record is changed by others in one way only: from waiting to held. */
static int look_at(struct rwl_context *context, uint32_t index) {
    struct rwl_record *record = &context->view.records[index];
    uint32_t word = atomic_load_explicit(&record->word, memory_order_acquire);
    if (rwl_word_state(word) == RWL_HELD && !(word & RWL_WORD_PENDING)) {
        atomic_store_explicit(&record->delivered, 1, memory_order_relaxed);
        return RWL_GRANTED;
    }
    return word & RWL_WORD_POKED ? RWL_REFUSED : RWL_WAITS;
}

static int look(struct rwl_context *context, uint64_t token) {
    uint32_t index = find(context, token);
    return index == RWL_NIL ? RWL_E_NOT_HELD : look_at(context, index);
}

static int claim(struct rwl_event *event, struct rwl_context *context, uint32_t index, int64_t unused) {
    (void)unused;
    rwl_claim(event, index);
    int seen = look_at(context, index);
    return seen == RWL_REFUSED ? RWL_WAITS : seen;
}

int rwl_lock_resume(struct rwl_context *context, enum rwl_door door, uint64_t token) {
    if (atomic_load_explicit(&context->attached, memory_order_acquire) != 1) {
        return RWL_E_DETACHED;
    }
    int seen = look(context, token);
    return seen == RWL_REFUSED ? at(context, door, token, is_any, claim, 0) : seen;
}

static int expire(struct rwl_event *event, struct rwl_context *context, uint32_t index, int64_t how) {
    rwl_claim(event, index);
    if (look_at(context, index) == RWL_GRANTED) {
        return RWL_GRANTED;
    }
    if (holds(context, index)) {
        rwl_withdraw_upgrade(event, index);
    } else {
        rwl_withdraw(event, index);
    }
    count_end(context, (int)how);
    return RWL_EXPIRED;
}

int rwl_lock_expire(struct rwl_context *context, enum rwl_door door, uint64_t token, int how) {
    return at(context, door, token, is_any, expire, how);
}

static int look_around(struct rwl_event *event, struct rwl_context *context, uint32_t index, int64_t thorough) {
    if (thorough && !mend(event, context)) {
        return RWL_E_CORRUPT;
    }
    probe(event, index, thorough ? THOROUGHLY : PROBE);
    rwl_look(event);
    return RWL_DONE;
}

int rwl_lock_probe(struct rwl_context *context, enum rwl_door door, uint64_t token, bool thorough) {
    return at(context, door, token, is_any, look_around, thorough);
}

/* Whether others go in and out of the gate one right after the other: that is, in less time than these pauses take, which are
 * under a microsecond together. */
static bool others_hurry(const struct rwl_context *context) {
    const _Atomic uint32_t *passes = &context->view.state->passes;
    uint32_t before = atomic_load_explicit(passes, memory_order_relaxed);
    for (int i = 0; i < 40; i++) {
        rwl_relax();
    }
    return atomic_load_explicit(passes, memory_order_relaxed) != before;
}

/* A writer that was poked while others hurry holds back for a while. Claimed at once, the lock would go from one to the other with
 * every section, and each time somebody wakes while nobody works. It loses neither its place nor its patience by that: as soon as
 * that ends, it is handed the lock, and woken. */
static enum rwl_slept hold_back(const struct rwl_context *context, uint32_t index, uint32_t seen, int64_t end) {
    int64_t until = rwl_now() + HOLD_BACK;
    return rwl_sleep_on_grant(context, index, seen, until < end ? until : end);
}

int rwl_lock_wait(struct rwl_context *context, uint64_t token, int64_t until, bool thorough) {
    int64_t cap = rwl_now() + RWL_CAP;
    int64_t end = until < cap ? until : cap;
    for (;;) {
        uint32_t index = token & 0xffff;
        uint32_t seen = index < context->view.max_holds
                            ? atomic_load_explicit(&context->view.records[index].grant, memory_order_acquire)
                            : 0;
        if (look(context, token) == RWL_REFUSED && others_hurry(context) &&
            hold_back(context, index, seen, end) == RWL_INTERRUPTED) {
            return RWL_WAITS;
        }
        int answer = rwl_lock_resume(context, RWL_SLEEP, token);
        if (answer != RWL_WAITS) {
            return answer == RWL_BUSY ? RWL_WAITS : answer;
        }
        enum rwl_slept slept = rwl_sleep_on_grant(context, index, seen, end);
        if (slept == RWL_INTERRUPTED) {
            return RWL_WAITS;
        }
        if (slept == RWL_TIMED_OUT || rwl_now() >= end) { /* the clock has the last word, however the sleep ended */
            answer = end == until ? rwl_lock_expire(context, RWL_SLEEP, token, RWL_TIMED)
                                  : rwl_lock_probe(context, RWL_SLEEP, token, thorough);
            return answer == RWL_BUSY || answer == RWL_DONE ? RWL_WAITS : answer;
        }
    }
}

int rwl_lock_mark_consistent(struct rwl_context *context, enum rwl_door door) {
    struct rwl_event event;
    int answer = enter(&event, context, door);
    if (answer != RWL_GRANTED) {
        return answer;
    }
    context->view.state->facts.writer_died = 0;
    return leave(&event, context, RWL_DONE);
}

void rwl_lock_abandon(struct rwl_context *context, uint64_t token) {
    if (atomic_load_explicit(&context->attached, memory_order_acquire) != 1) {
        return;
    }
    uint32_t index = find(context, token);
    if (index != RWL_NIL) {
        atomic_store_explicit(&context->view.records[index].abandoned, 1, memory_order_seq_cst);
        atomic_store_explicit(&context->view.state->abandoned, 1, memory_order_seq_cst);
    }
}

bool rwl_lock_abandoned(const struct rwl_context *context) {
    return atomic_load_explicit(&context->attached, memory_order_acquire) == 1 &&
           atomic_load_explicit(&context->view.state->abandoned, memory_order_relaxed) != 0;
}

/* The hint is cleared first, so that a hold abandoned meanwhile is seen here, or sets it again. */
static void renew_hint(struct rwl_context *context) {
    _Atomic uint32_t *hint = &context->view.state->abandoned;
    if (atomic_load_explicit(hint, memory_order_relaxed) == 0) {
        return;
    }
    atomic_store_explicit(hint, 0, memory_order_seq_cst);
    for (uint32_t index = 0; index < context->view.max_holds; index++) {
        if (holds(context, index) &&
            atomic_load_explicit(&context->view.records[index].abandoned, memory_order_seq_cst) != 0) {
            atomic_store_explicit(hint, 1, memory_order_relaxed);
        }
    }
}

/* Without the gate the four may be of different moments. */
static void count_now(const struct rwl_context *context, struct rwl_counts *counts) {
    const struct rwl_cache *cache = &context->view.state->cache;
    counts->readers = cache->readers;
    counts->upgradable = cache->upgradable != RWL_NIL;
    counts->writer = cache->writer != RWL_NIL;
    counts->waiting = cache->contended;
}

int rwl_lock_counts(struct rwl_context *context, enum rwl_door door, struct rwl_counts *counts) {
    struct rwl_event event;
    int answer = enter(&event, context, door);
    if (answer == RWL_GRANTED) {
        count_now(context, counts);
        answer = leave(&event, context, RWL_DONE);
    } else if (answer == RWL_BUSY) {
        count_now(context, counts);
    }
    return answer;
}

int rwl_lock_snapshot(struct rwl_context *context, enum rwl_door door, struct rwl_state *state,
                      struct rwl_record *records) {
    struct rwl_event event;
    int answer = enter(&event, context, door);
    if (answer != RWL_GRANTED) {
        return answer;
    }
    renew_hint(context);
    memcpy(state, context->view.state, sizeof *state);
    memcpy(records, context->view.records, context->view.max_holds * sizeof *records);
    event.now = rwl_now();
    state->facts.now = event.now;
    return leave(&event, context, RWL_DONE);
}

uint32_t rwl_lock_peek(struct rwl_context *context, uint64_t token) {
    if (atomic_load_explicit(&context->attached, memory_order_acquire) != 1) {
        return RWL_FREE;
    }
    uint32_t index = find(context, token);
    return index == RWL_NIL ? RWL_FREE : rwl_load(&context->view.records[index]);
}

bool rwl_lock_recovered(const struct rwl_context *context) {
    return atomic_load_explicit(&context->attached, memory_order_acquire) == 1 &&
           atomic_load_explicit(&context->view.state->facts.writer_died, memory_order_relaxed) == 1 &&
           context->view.on_writer_death != RWL_DEATH_IGNORE;
}
