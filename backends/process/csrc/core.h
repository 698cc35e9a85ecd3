/* Who gets the lock, and when: the twin of `rwlocks/_engine.py`, event for event, over the records of a segment.
 *
 * The Python engine is the specification; the theory stands in its header and is not repeated here. Functions carry the
 * names they have there, so that the two can be read side by side. What differs is the material:
 *
 * - Tickets are records, and a set of holders is the records that say so.
 * - Every function may meet nonsense that another process wrote. `rwl_at` answers an index out of range with a scratch
 *   record of this event and notes it; `rwl_step` bounds every walk by the size of the table. So an event always ends, touches
 *   nothing outside the segment, and says afterwards whether it met nonsense (`event.corrupt`).
 * - Stores into records are ordered for a reader that may come after a death between any two of them: whatever a word
 *   promises is stored before the word.
 *
 * Nothing here reads a clock, sleeps, or makes a system call; time and the question who is dead come in with the event.
 */
#ifndef RWL_CORE_H
#define RWL_CORE_H

#include "layout.h"

/* What an operation answers. Negative numbers are errors. */
enum {
    RWL_REFUSED = 0,
    RWL_GRANTED = 1,
    RWL_WAITS = 2,
    RWL_CONFLICT = 3, /* an upgrade, while somebody else is upgradable or upgrading */
    RWL_BUSY = 4,     /* the gate could not be had without sleeping, or not yet */
    RWL_DONE = 5,
    RWL_EXPIRED = 6,
    RWL_E_CORRUPT = -1,
    RWL_E_FULL = -2,     /* no free record */
    RWL_E_NOT_HELD = -3, /* the token is of no request or hold of this process */
    RWL_E_DETACHED = -4, /* this process has no slot: it was forked, or it closed the lock */
    RWL_E_SYSTEM = -5,   /* a system call failed; see errno */
    RWL_E_USAGE = -6,    /* an argument out of range */
};

/* Somebody to be woken after the gate was left. */
struct rwl_wake {
    uint32_t index;
    uint32_t slot;
    uint32_t generation;
    uint32_t bell;
};
#define RWL_WAKES 64

struct rwl_event {
    const struct rwl_view *view;
    int64_t now;
    uint32_t slot;       /* who causes it */
    uint32_t generation;
    bool corrupt;
    uint32_t steps;      /* how many more a walk may take */
    uint32_t wake_count;
    struct rwl_wake wakes[RWL_WAKES];
    /* Rings a waker's list that has grown too long for the event. */
    void (*ring)(void *self, const struct rwl_wake *wakes, uint32_t count);
    /* Whether the process of a waiter is dead. Unless `surely`, it may be told from memory that it was alive a moment ago. */
    bool (*dead)(struct rwl_event *event, uint32_t slot, uint32_t generation, bool surely);
    void *self;
    struct rwl_record scratch;
};

/* Notes that nonsense was met. */
struct rwl_record *rwl_scratch(struct rwl_event *event);

/* The record, or the scratch record if there is no such one. */
static inline struct rwl_record *rwl_at(struct rwl_event *event, uint32_t index) {
    return index < event->view->max_holds ? &event->view->records[index] : rwl_scratch(event);
}

/* Whether a walk may go on. */
static inline bool rwl_step(struct rwl_event *event) {
    if (event->steps == 0) {
        event->corrupt = true;
        return false;
    }
    event->steps--;
    return true;
}

static inline uint32_t rwl_load(const struct rwl_record *record) {
    return atomic_load_explicit(&record->word, memory_order_relaxed);
}

/* -- events; each begins with what is due at its time, and ends with nothing left undone ------------------------- */

/* A free record, filled for a request; RWL_NIL if there is none. Its word still says free, and a recount would put it
 * back among the free ones, until an event makes something of it or it is given back. */
uint32_t rwl_prepare(struct rwl_event *event, uint32_t mode, int64_t patience, uint64_t owner, uint32_t bell);

void rwl_give_back(struct rwl_event *event, uint32_t index);

/* These two need no time, and do nothing if they answer false. */
bool rwl_enter_idle(struct rwl_event *event, uint32_t index, uint32_t mode);
bool rwl_leave_idle(struct rwl_event *event, uint32_t index);

/* Refused means given back. */
int rwl_request(struct rwl_event *event, uint32_t index, uint32_t mode, bool wait);
int rwl_claim(struct rwl_event *event, uint32_t index);
void rwl_withdraw(struct rwl_event *event, uint32_t index);
void rwl_release(struct rwl_event *event, uint32_t index);
void rwl_downgrade(struct rwl_event *event, uint32_t index);
int rwl_upgrade(struct rwl_event *event, uint32_t index, bool wait);
void rwl_withdraw_upgrade(struct rwl_event *event, uint32_t index);

/* All that belongs to the process ends at once. Returns how many records that were. */
uint32_t rwl_owner_died(struct rwl_event *event, uint32_t slot, uint32_t generation);

/* Whatever an event that was cut short has left undone. */
void rwl_serve(struct rwl_event *event);

/* Only what is due, and whoever can never run again. */
void rwl_look(struct rwl_event *event);

/* Whether a newcomer would be let in at this time; no event. */
bool rwl_admits(struct rwl_event *event, uint32_t mode);

/* -- after a death inside the gate -------------------------------------------------------------------------------- */

/* Make every cache again from the records. Idempotent; false if the records contradict each other. */
bool rwl_recount(struct rwl_event *event);

#endif
