#include "core.h"

#include <string.h>

#include "lines.h"

/* -- the material ------------------------------------------------------------------------------------------------- */

struct rwl_record *rwl_scratch(struct rwl_event *event) {
    event->corrupt = true;
    memset(&event->scratch, 0, sizeof event->scratch);
    event->scratch.place.before = event->scratch.place.after = RWL_NIL;
    event->scratch.timer.before = event->scratch.timer.after = RWL_NIL;
    return &event->scratch;
}

static struct rwl_cache *cache(struct rwl_event *event) { return &event->view->state->cache; }
static struct rwl_facts *facts(struct rwl_event *event) { return &event->view->state->facts; }
static struct rwl_totals *totals(struct rwl_event *event) { return &event->view->state->totals; }

static uint32_t state_of(struct rwl_event *event, uint32_t index) {
    return rwl_word_state(rwl_load(rwl_at(event, index)));
}
static uint32_t mode_of(struct rwl_event *event, uint32_t index) {
    return rwl_word_mode(rwl_load(rwl_at(event, index)));
}

/* The line of those who wait for a mode. A mode read from a record may be nonsense. */
static struct rwl_line *waiting(struct rwl_event *event, uint32_t mode) {
    if (mode == RWL_NONE) {
        event->corrupt = true;
        mode = RWL_READ;
    }
    return &cache(event)->waiting[mode - 1];
}

/* Everything stored before is seen by whoever sees the word. */
static void put(struct rwl_event *event, uint32_t index, uint32_t word) {
    RWL_FAULT();
    atomic_store_explicit(&rwl_at(event, index)->word, word, memory_order_release);
    RWL_FAULT();
}

static void set_flag(struct rwl_event *event, uint32_t index, uint32_t flag) {
    put(event, index, rwl_load(rwl_at(event, index)) | flag);
}

/* To be rung when the gate is free again. Its sleeper looks at the record, not at why it woke. */
static void wake(struct rwl_event *event, uint32_t index) {
    struct rwl_record *record = rwl_at(event, index);
    atomic_fetch_add_explicit(&record->grant, 1, memory_order_release);
    if (event->wake_count == RWL_WAKES) {
        event->ring(event->self, event->wakes, event->wake_count);
        event->wake_count = 0;
    }
    event->wakes[event->wake_count++] =
        (struct rwl_wake){index, record->slot, record->generation, record->bell};
}

/* The word is cleared first: from then on the record is nobody's, whatever else it still says. */
static void set_free(struct rwl_event *event, uint32_t index) {
    struct rwl_record *record = rwl_at(event, index);
    put(event, index, RWL_FREE);
    atomic_signal_fence(memory_order_seq_cst);
    record->place.after = cache(event)->free;
    cache(event)->free = index;
}

uint32_t rwl_prepare(struct rwl_event *event, uint32_t mode, int64_t patience, uint64_t owner, uint32_t bell) {
    uint32_t index = cache(event)->free;
    if (index == RWL_NIL) {
        return RWL_NIL;
    }
    struct rwl_record *record = rwl_at(event, index);
    if (rwl_load(record) != RWL_FREE || mode < RWL_READ || mode > RWL_WRITE) {
        event->corrupt = true;
        return RWL_NIL;
    }
    record->slot = event->slot;
    record->generation = event->generation;
    atomic_store_explicit(&record->serial, ++facts(event)->serials, memory_order_relaxed);
    record->arrival = 0;
    record->wanted = record->since = 0;
    record->patience = patience < 0 ? 0 : patience;
    record->owner = owner;
    record->bell = bell;
    atomic_store_explicit(&record->delivered, 1, memory_order_relaxed);
    atomic_store_explicit(&record->abandoned, 0, memory_order_relaxed);
    cache(event)->free = record->place.after;
    RWL_FAULT();
    record->place.before = record->place.after = RWL_NIL;
    return index;
}

void rwl_give_back(struct rwl_event *event, uint32_t index) { set_free(event, index); }

/* -- small steps -------------------------------------------------------------------------------------------------- */

static bool is_free(struct rwl_event *event) {
    struct rwl_cache *c = cache(event);
    return c->readers == 0 && c->upgradable == RWL_NIL && c->writer == RWL_NIL;
}

static uint32_t first(struct rwl_event *event, uint32_t mode) { return waiting(event, mode)->head; }

/* Writes count only while a reader waits. */
static void restart_count(struct rwl_event *event) {
    struct rwl_cache *c = cache(event);
    if (c->waiting[RWL_READ - 1].length == 0 && c->waiting[RWL_UPGRADABLE - 1].length == 0 &&
        facts(event)->writes_in_a_row != 0) {
        facts(event)->writes_in_a_row = 0;
    }
}

static void take_role(struct rwl_event *event, uint32_t index, uint32_t mode) {
    RWL_FAULT();
    if (mode == RWL_READ) {
        cache(event)->readers++;
    } else if (mode == RWL_UPGRADABLE) {
        cache(event)->upgradable = index;
    } else {
        cache(event)->writer = index;
        facts(event)->held_back = 0;
    }
}

static void leave_role(struct rwl_event *event, uint32_t mode) {
    RWL_FAULT();
    if (mode == RWL_READ) {
        cache(event)->readers--;
    } else if (mode == RWL_UPGRADABLE) {
        cache(event)->upgradable = RWL_NIL;
    } else {
        cache(event)->writer = RWL_NIL;
    }
}

/* From the store on it owns the lock. */
static void hold(struct rwl_event *event, uint32_t index, uint32_t mode) {
    put(event, index, rwl_word(RWL_HELD, mode, RWL_NONE, 0));
    take_role(event, index, mode);
    totals(event)->acquisitions++;
    if (mode == RWL_WRITE) {
        facts(event)->writes_in_a_row++;
        restart_count(event);
    }
}

static void end_pending(struct rwl_event *event, uint32_t index) {
    if (cache(event)->upgrading == index) {
        cache(event)->upgrading = RWL_NIL;
        cache(event)->contended--;
    }
}

static void drop(struct rwl_event *event, uint32_t index) {
    uint32_t mode = mode_of(event, index);
    set_free(event, index);
    end_pending(event, index);
    leave_role(event, mode);
}

/* One store takes a holder from one mode to another, so that no moment in between can be seen. */
static void become(struct rwl_event *event, uint32_t index, uint32_t mode, uint32_t base, uint32_t flags) {
    uint32_t before = mode_of(event, index);
    put(event, index, rwl_word(RWL_HELD, mode, base, flags));
    leave_role(event, before);
    take_role(event, index, mode);
}

static void revert(struct rwl_event *event, uint32_t index) {
    uint32_t base = rwl_word_base(rwl_load(rwl_at(event, index)));
    if (base != RWL_NONE) {
        end_pending(event, index);
        become(event, index, base, RWL_NONE, 0);
    }
}

static void spend(struct rwl_event *event, uint32_t index) {
    rwl_leave(event, &cache(event)->young, RWL_TIMER, index);
    set_flag(event, index, RWL_WORD_SPENT);
    waiting(event, mode_of(event, index))->spent++;
}

static void note_wait(struct rwl_event *event, const struct rwl_record *record) {
    int64_t age;
    if (!__builtin_sub_overflow(event->now, record->wanted, &age) && age > 0 &&
        (uint64_t)age > totals(event)->longest_wait) {
        totals(event)->longest_wait = (uint64_t)age;
    }
}

static void leave(struct rwl_event *event, uint32_t index) {
    note_wait(event, rwl_at(event, index));
    uint32_t word = rwl_load(rwl_at(event, index));
    struct rwl_line *line = waiting(event, rwl_word_mode(word));
    rwl_leave(event, line, RWL_PLACE, index);
    if (word & RWL_WORD_SPENT) {
        line->spent--;
    } else {
        rwl_leave(event, &cache(event)->young, RWL_TIMER, index);
    }
    cache(event)->contended--;
}

static void forget(struct rwl_event *event, uint32_t index) {
    leave(event, index);
    set_free(event, index);
}

static void join(struct rwl_event *event, uint32_t index, uint32_t mode) {
    struct rwl_record *record = rwl_at(event, index);
    if (record->arrival == 0) {
        record->arrival = ++facts(event)->arrivals;
    }
    if (record->wanted == 0) {
        record->wanted = event->now;
    }
    put(event, index, rwl_word(RWL_WAITING, mode, RWL_NONE, 0));
    rwl_join(event, waiting(event, mode), RWL_PLACE, index);
    rwl_join(event, &cache(event)->young, RWL_TIMER, index);
    cache(event)->contended++;
    totals(event)->contended++;
    if (rwl_key(record, RWL_TIMER) <= event->now) {
        spend(event, index);
    }
}

static void grant(struct rwl_event *event, uint32_t index) {
    struct rwl_record *record = rwl_at(event, index);
    uint32_t mode = mode_of(event, index);
    leave(event, index);
    record->since = event->now;
    atomic_store_explicit(&record->delivered, 0, memory_order_relaxed);
    hold(event, index, mode);
}

/* Whether it can never run again: its own process says so, or is dead. Nothing is offered to anybody before that was made sure. */
static bool lost(struct rwl_event *event, uint32_t index, bool surely) {
    struct rwl_record *record = rwl_at(event, index);
    return (rwl_load(record) & RWL_WORD_LOST) != 0 ||
           event->dead(event, record->slot, record->generation, surely);
}

/* -- the policy, on one screen ------------------------------------------------------------------------------------ */

static bool overdue(struct rwl_event *event) {
    uint64_t limit = event->view->policy.max_writer_wait;
    uint32_t writer = first(event, RWL_WRITE);
    if (limit == RWL_NO_BOUND || writer == RWL_NIL) {
        return false;
    }
    int64_t age;
    return !__builtin_sub_overflow(event->now, rwl_at(event, writer)->wanted, &age) && age >= 0 &&
           (uint64_t)age >= limit;
}

static uint32_t order(struct rwl_event *event, bool after_write) {
    const struct rwl_policy *policy = &event->view->policy;
    if (!after_write) {
        /* An overdue writer makes reader preference phase-fair: the orders differ here only. */
        return overdue(event) ? RWL_WRITERS_FIRST : policy->while_reading;
    }
    if (policy->max_consecutive_writers != RWL_NO_BOUND &&
        facts(event)->writes_in_a_row >= policy->max_consecutive_writers) {
        return RWL_READERS_FIRST;
    }
    return policy->after_write;
}

/* Waiting readers that arrived before this number go before the first waiting writer. */
static uint64_t horizon_of(struct rwl_event *event, bool after_write) {
    uint32_t writer = first(event, RWL_WRITE);
    if (writer == RWL_NIL) {
        return UINT64_MAX;
    }
    switch (order(event, after_write)) {
    case RWL_READERS_FIRST:
        return UINT64_MAX;
    case RWL_WRITERS_FIRST:
        return 0;
    default:
        return rwl_at(event, writer)->arrival;
    }
}

static bool compatible(struct rwl_event *event, uint32_t mode) {
    struct rwl_cache *c = cache(event);
    if (c->writer != RWL_NIL) {
        return false;
    }
    return mode == RWL_READ || (c->upgradable == RWL_NIL && (mode == RWL_UPGRADABLE || c->readers == 0));
}

/* Whether a newcomer may enter: nobody who is ranked ahead of it has spent its patience. */
static bool admits(struct rwl_event *event, uint32_t mode) {
    struct rwl_cache *c = cache(event);
    if (c->upgrading != RWL_NIL || !compatible(event, mode)) {
        return false;
    }
    uint32_t readers = c->waiting[RWL_READ - 1].spent;
    uint32_t upgradables = c->waiting[RWL_UPGRADABLE - 1].spent;
    uint32_t writers = c->waiting[RWL_WRITE - 1].spent;
    if (mode == RWL_WRITE) {
        bool readers_ahead = event->view->policy.after_write != RWL_WRITERS_FIRST;
        return writers == 0 && !(readers_ahead && (readers != 0 || upgradables != 0));
    }
    /* A waiting upgradable holds back other upgradables only, never a plain reader. */
    if (readers != 0 || (mode == RWL_UPGRADABLE && upgradables != 0)) {
        return false;
    }
    return writers == 0 || order(event, false) == RWL_READERS_FIRST;
}

/* -- closure ------------------------------------------------------------------------------------------------------ */

static void finish_upgrade(struct rwl_event *event) {
    uint32_t index = cache(event)->upgrading;
    if (cache(event)->readers == 0) {
        uint32_t base = rwl_word_base(rwl_load(rwl_at(event, index)));
        end_pending(event, index);
        atomic_store_explicit(&rwl_at(event, index)->delivered, 0, memory_order_relaxed);
        become(event, index, RWL_WRITE, base, 0);
        wake(event, index);
    }
}

/* The earliest waiting reader or upgradable that may go in; one that is held back stops those behind it. */
static uint32_t next_reader(struct rwl_event *event, uint64_t horizon) {
    uint32_t reader = first(event, RWL_READ);
    uint64_t reader_arrival = reader == RWL_NIL ? UINT64_MAX : rwl_at(event, reader)->arrival;
    if (reader != RWL_NIL && (reader_arrival <= facts(event)->held_back || reader_arrival >= horizon)) {
        horizon = reader_arrival < horizon ? reader_arrival : horizon;
        reader = RWL_NIL;
    }
    uint32_t upgradable = cache(event)->upgradable == RWL_NIL ? first(event, RWL_UPGRADABLE) : RWL_NIL;
    if (upgradable != RWL_NIL) {
        uint64_t arrival = rwl_at(event, upgradable)->arrival;
        if (arrival < horizon && (reader == RWL_NIL || arrival < reader_arrival)) {
            return upgradable;
        }
    }
    return reader;
}

static void admit_readers(struct rwl_event *event, uint64_t horizon) {
    uint64_t batch = 0;
    uint32_t index;
    while ((index = next_reader(event, horizon)) != RWL_NIL && rwl_step(event)) {
        if (lost(event, index, true)) {
            forget(event, index);
            continue;
        }
        if (mode_of(event, index) == RWL_READ) {
            if (batch == event->view->policy.max_batch) {
                uint64_t arrivals = facts(event)->arrivals;
                facts(event)->held_back = horizon - 1 < arrivals ? horizon - 1 : arrivals;
                continue;
            }
            batch++;
        }
        grant(event, index);
        wake(event, index);
    }
}

/* False if it had to be dropped, so that others may be due. */
static bool offer_to_writer(struct rwl_event *event) {
    uint32_t index = first(event, RWL_WRITE);
    if (index == RWL_NIL) {
        return true;
    }
    uint32_t word = rwl_load(rwl_at(event, index));
    if ((word & (RWL_WORD_SPENT | RWL_WORD_POKED)) == RWL_WORD_POKED) {
        return true; /* it was told already */
    }
    if (lost(event, index, true)) {
        forget(event, index);
        return false;
    }
    if (word & RWL_WORD_SPENT) {
        grant(event, index);
    } else {
        set_flag(event, index, RWL_WORD_POKED);
    }
    wake(event, index);
    return true;
}

/* Drop whoever stands in front of a line and can never run again, so that it holds up nobody. */
static bool forget_lost(struct rwl_event *event) {
    bool dropped = false;
    for (uint32_t mode = RWL_READ; mode <= RWL_WRITE; mode++) {
        uint32_t index;
        while ((index = first(event, mode)) != RWL_NIL && lost(event, index, false) && rwl_step(event)) {
            forget(event, index);
            dropped = true;
        }
    }
    uint32_t index = cache(event)->upgrading;
    if (index != RWL_NIL && lost(event, index, cache(event)->readers == 0)) {
        revert(event, index);
        dropped = true;
    }
    return dropped;
}

static void serve(struct rwl_event *event, bool after_write) {
    forget_lost(event);
    if (is_free(event)) {
        facts(event)->held_back = 0;
    }
    if (cache(event)->upgrading != RWL_NIL) {
        finish_upgrade(event);
    } else if (cache(event)->writer == RWL_NIL) {
        do {
            admit_readers(event, horizon_of(event, after_write));
        } while (is_free(event) && !offer_to_writer(event) && rwl_step(event));
    }
    restart_count(event);
}

/* What is due at this time: patience that ends, and with it the lock for a writer that was only poked. */
static void advance(struct rwl_event *event) {
    if (facts(event)->now > event->now) {
        event->now = facts(event)->now;
    }
    facts(event)->now = event->now;
    bool aged = false;
    uint32_t index;
    while ((index = cache(event)->young.head) != RWL_NIL &&
           rwl_key(rwl_at(event, index), RWL_TIMER) <= event->now && rwl_step(event)) {
        spend(event, index);
        aged = true;
    }
    if (aged && is_free(event)) {
        serve(event, false);
    }
}

/* -- events ------------------------------------------------------------------------------------------------------- */

/* Needs no time: while nobody waits, all policies agree. */
bool rwl_enter_idle(struct rwl_event *event, uint32_t index, uint32_t mode) {
    if (cache(event)->contended != 0 || !compatible(event, mode)) {
        return false;
    }
    hold(event, index, mode);
    return true;
}

bool rwl_leave_idle(struct rwl_event *event, uint32_t index) {
    if (cache(event)->contended != 0) {
        return false;
    }
    drop(event, index);
    return true;
}

int rwl_request(struct rwl_event *event, uint32_t index, uint32_t mode, bool wait) {
    advance(event);
    if (!admits(event, mode) && forget_lost(event)) {
        serve(event, false);
    }
    if (admits(event, mode)) {
        rwl_at(event, index)->since = event->now;
        hold(event, index, mode);
        return RWL_GRANTED;
    }
    if (!wait) {
        rwl_give_back(event, index);
        return RWL_REFUSED;
    }
    join(event, index, mode);
    return RWL_WAITS;
}

int rwl_claim(struct rwl_event *event, uint32_t index) {
    advance(event);
    if (state_of(event, index) == RWL_WAITING) {
        put(event, index, rwl_load(rwl_at(event, index)) & ~RWL_WORD_POKED);
        if (is_free(event) && first(event, RWL_WRITE) == index) {
            grant(event, index);
        }
    }
    return state_of(event, index) == RWL_HELD ? RWL_GRANTED : RWL_WAITS;
}

void rwl_withdraw(struct rwl_event *event, uint32_t index) {
    advance(event);
    uint32_t state = state_of(event, index);
    if (state == RWL_WAITING) {
        forget(event, index);
    } else if (state == RWL_HELD) {
        if (index == cache(event)->writer && facts(event)->writes_in_a_row != 0) {
            facts(event)->writes_in_a_row--;
        }
        drop(event, index);
        totals(event)->acquisitions--;
    }
    serve(event, false);
}

void rwl_release(struct rwl_event *event, uint32_t index) {
    advance(event);
    bool wrote = index == cache(event)->writer;
    drop(event, index);
    serve(event, wrote);
}

void rwl_downgrade(struct rwl_event *event, uint32_t index) {
    advance(event);
    uint32_t base = rwl_word_base(rwl_load(rwl_at(event, index)));
    end_pending(event, index);
    become(event, index, base == RWL_NONE ? RWL_READ : base, RWL_NONE, 0);
    serve(event, true);
}

int rwl_upgrade(struct rwl_event *event, uint32_t index, bool wait) {
    advance(event);
    struct rwl_cache *c = cache(event);
    uint32_t base = mode_of(event, index);
    if (c->upgrading != RWL_NIL || (c->upgradable != RWL_NIL && c->upgradable != index)) {
        return RWL_CONFLICT;
    }
    if (c->readers == (base == RWL_READ ? 1u : 0u)) {
        become(event, index, RWL_WRITE, base, 0);
        return RWL_GRANTED;
    }
    if (!wait) {
        return RWL_REFUSED;
    }
    rwl_at(event, index)->wanted = event->now;
    become(event, index, RWL_UPGRADABLE, base, RWL_WORD_PENDING);
    c->upgrading = index;
    c->contended++;
    return RWL_WAITS;
}

void rwl_withdraw_upgrade(struct rwl_event *event, uint32_t index) {
    advance(event);
    revert(event, index);
    serve(event, false);
}

/* A dead writer is put on record before its hold ends, so that a death in between forgets nothing. */
static void note_dead_writer(struct rwl_event *event, uint32_t slot, uint32_t generation) {
    uint32_t writer = cache(event)->writer;
    if (writer == RWL_NIL) {
        return;
    }
    struct rwl_record *record = rwl_at(event, writer);
    if (record->slot == slot && record->generation == generation) {
        facts(event)->epoch++;
        facts(event)->writer_died = 1;
        atomic_signal_fence(memory_order_seq_cst);
    }
}

uint32_t rwl_owner_died(struct rwl_event *event, uint32_t slot, uint32_t generation) {
    advance(event);
    uint32_t count = 0;
    bool wrote = false;
    note_dead_writer(event, slot, generation);
    for (uint32_t index = 0; index < event->view->max_holds; index++) {
        struct rwl_record *record = &event->view->records[index];
        uint32_t state = rwl_word_state(rwl_load(record));
        if (state == RWL_FREE || record->slot != slot || record->generation != generation) {
            continue;
        }
        count++;
        if (state == RWL_WAITING) {
            forget(event, index);
        } else if (state != RWL_HELD) {
            event->corrupt = true;
        } else {
            wrote |= index == cache(event)->writer;
            drop(event, index);
        }
    }
    serve(event, wrote);
    return count;
}

void rwl_serve(struct rwl_event *event) {
    advance(event);
    serve(event, false);
}

void rwl_look(struct rwl_event *event) {
    advance(event);
    if (forget_lost(event)) {
        serve(event, false);
    }
}

bool rwl_admits(struct rwl_event *event, uint32_t mode) { return admits(event, mode); }
