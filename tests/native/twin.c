/* The core in private memory, behind calls that a test can make through ctypes: one call, one event. */
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "lines.h"

struct twin {
    struct rwl_view view;
    struct rwl_event event;
    uint64_t dead; /* bit i: the process in slot i */
    void *base;
    uint32_t rung[4096];
    uint32_t rung_count;
};

static bool dead(struct rwl_event *event, uint32_t slot, uint32_t generation, bool surely) {
    (void)surely;
    (void)generation;
    return ((struct twin *)event->self)->dead >> slot & 1;
}

static void ring(void *self, const struct rwl_wake *wakes, uint32_t count) {
    struct twin *twin = self;
    for (uint32_t i = 0; i < count && twin->rung_count < 4096; i++) {
        twin->rung[twin->rung_count++] = wakes[i].index;
    }
}

struct twin *twin_new(const struct rwl_policy *policy, uint32_t max_holds) {
    struct rwl_config config = {.max_processes = 64, .max_holds = max_holds, .policy = *policy};
    uint64_t size = rwl_segment_size(config.max_processes, config.max_holds);
    struct twin *twin = calloc(1, sizeof *twin);
    void *base = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    if (twin == NULL || base == NULL) {
        abort();
    }
    memset(base, 0, size);
    twin->base = base;
    if (!rwl_format(base, size, &config) ||
        rwl_inspect(base, size, config.boot, &twin->view, &config) != RWL_CHECK_OK) {
        abort();
    }
    return twin;
}

void twin_free(struct twin *twin) {
    free(twin->base);
    free(twin);
}

static struct rwl_event *begin(struct twin *twin, int64_t now, uint32_t slot) {
    struct rwl_event *event = &twin->event;
    twin->rung_count = 0;
    event->view = &twin->view;
    event->now = now;
    event->slot = slot;
    event->generation = 1;
    event->corrupt = false;
    event->steps = 64 * twin->view.max_holds + 4096;
    event->wake_count = 0;
    event->ring = ring;
    event->dead = dead;
    event->self = twin;
    return event;
}

/* The number of wake-ups, which are then in `wakes`; -1 for nonsense. */
static int end(struct twin *twin, uint32_t *wakes) {
    ring(twin, twin->event.wakes, twin->event.wake_count);
    memcpy(wakes, twin->rung, twin->rung_count * sizeof wakes[0]);
    return twin->event.corrupt ? -1 : (int)twin->rung_count;
}

int twin_request(struct twin *twin, int64_t now, uint32_t slot, uint32_t mode, int64_t patience, uint64_t arrival,
                 int64_t wanted, bool wait, uint32_t *index, int *answer, uint32_t *wakes) {
    struct rwl_event *event = begin(twin, now, slot);
    *index = rwl_prepare(event, mode, patience, 0, 0);
    if (*index != RWL_NIL) {
        struct rwl_record *record = &twin->view.records[*index];
        record->arrival = arrival;
        record->wanted = wanted;
        *answer = rwl_request(event, *index, mode, wait);
    }
    return end(twin, wakes);
}

/* As an undisputed request of the lock is made: first without a time, then with one. */
int twin_enter(struct twin *twin, int64_t now, uint32_t slot, uint32_t mode, uint32_t *index, int *answer,
               uint32_t *wakes) {
    struct rwl_event *event = begin(twin, now, slot);
    *index = rwl_prepare(event, mode, 0, 0, 0);
    *answer = 0;
    if (*index != RWL_NIL) {
        *answer = rwl_enter_idle(event, *index, mode) || rwl_request(event, *index, mode, false) == RWL_GRANTED;
    }
    return end(twin, wakes);
}

enum { CLAIM, WITHDRAW, RELEASE, DOWNGRADE, UPGRADE, UPGRADE_NOW, WITHDRAW_UPGRADE, LEAVE, LOSE, DELIVER };

int twin_event(struct twin *twin, int what, int64_t now, uint32_t index, int *answer, uint32_t *wakes) {
    struct rwl_event *event = begin(twin, now, 0);
    struct rwl_record *record = &twin->view.records[index];
    *answer = 0;
    switch (what) {
    case CLAIM:
        *answer = rwl_claim(event, index);
        break;
    case WITHDRAW:
        rwl_withdraw(event, index);
        break;
    case RELEASE:
        rwl_release(event, index);
        break;
    case DOWNGRADE:
        rwl_downgrade(event, index);
        break;
    case UPGRADE:
        *answer = rwl_upgrade(event, index, true);
        break;
    case UPGRADE_NOW:
        *answer = rwl_upgrade(event, index, false);
        break;
    case WITHDRAW_UPGRADE:
        rwl_withdraw_upgrade(event, index);
        break;
    case LEAVE:
        if (!rwl_leave_idle(event, index)) {
            rwl_release(event, index);
        }
        break;
    case LOSE:
        atomic_fetch_or(&record->word, RWL_WORD_LOST);
        break;
    case DELIVER:
        atomic_store(&record->delivered, 1);
        break;
    default:
        abort();
    }
    return end(twin, wakes);
}

int twin_died(struct twin *twin, int64_t now, uint32_t slot, uint32_t *wakes) {
    twin->dead |= 1ull << slot;
    rwl_owner_died(begin(twin, now, 0), slot, 1);
    return end(twin, wakes);
}

void twin_revive(struct twin *twin) { twin->dead = 0; }

static bool same_place(const struct rwl_record *one, const struct rwl_record *two) {
    bool waits = rwl_word_state(rwl_load(one)) == RWL_WAITING;
    return !waits || memcmp(&one->place, &two->place, sizeof one->place) == 0;
}

/* Whether a recount finds what was counted on the way. Only the free records and equal deadlines may stand in another
 * order. Leaves everything as it was. */
bool twin_recount_agrees(struct twin *twin) {
    uint64_t size = rwl_segment_size(twin->view.max_processes, twin->view.max_holds);
    unsigned char *copy = malloc(size);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, twin->base, size);
    struct rwl_cache was = twin->view.state->cache;
    bool agrees = rwl_recount(begin(twin, INT64_MIN, 0));
    struct rwl_cache is = twin->view.state->cache;
    was.free = is.free;
    was.young.head = is.young.head;
    was.young.tail = is.young.tail;
    agrees = agrees && memcmp(&was, &is, sizeof is) == 0;
    const struct rwl_record *before = (const void *)(copy + RWL_SLOTS_OFFSET +
                                                     twin->view.max_processes * sizeof(struct rwl_slot));
    for (uint32_t i = 0; i < twin->view.max_holds; i++) {
        agrees = agrees && same_place(&before[i], &twin->view.records[i]);
    }
    int64_t last = INT64_MIN;
    for (uint32_t i = is.young.head; i != RWL_NIL; i = twin->view.records[i].timer.after) {
        int64_t key = rwl_key(&twin->view.records[i], RWL_TIMER);
        agrees = agrees && key >= last;
        last = key;
    }
    memcpy(twin->base, copy, size);
    free(copy);
    return agrees;
}

struct rwl_state *twin_state(struct twin *twin) { return twin->view.state; }
struct rwl_record *twin_records(struct twin *twin) { return twin->view.records; }
