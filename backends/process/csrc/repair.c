/* The recount after a death inside the gate. It reads the records and nothing else, and writes caches and nothing else,
 * so that whoever dies in the middle of it leaves no trace: the next one starts again. */
#include <string.h>

#include "core.h"
#include "lines.h"

/* Whether a word is one that the events store. */
static bool sensible(const struct rwl_view *view, const struct rwl_record *record, uint32_t word) {
    uint32_t state = rwl_word_state(word), mode = rwl_word_mode(word), base = rwl_word_base(word);
    if (state == RWL_FREE) {
        return word == RWL_FREE;
    }
    if (state > RWL_HELD || mode == RWL_NONE || (word & ~RWL_WORD_KNOWN) != 0 || record->slot >= view->max_processes) {
        return false;
    }
    if (state == RWL_WAITING) {
        return base == RWL_NONE && !(word & RWL_WORD_PENDING) && record->arrival != 0 && record->arrival < INT64_MAX &&
               record->patience >= 0;
    }
    if (word & RWL_WORD_PENDING) {
        return mode == RWL_UPGRADABLE && (base == RWL_READ || base == RWL_UPGRADABLE);
    }
    return base == RWL_NONE || (mode == RWL_WRITE && base != RWL_WRITE);
}

/* Chain a record in front of those already found; `rwl_sort` brings order into them afterwards. */
static void collect(struct rwl_line *line, struct rwl_links *links, uint32_t index) {
    links->before = RWL_NIL;
    links->after = line->head;
    line->head = index;
    line->length++;
}

static void count_waiter(struct rwl_event *event, struct rwl_cache *found, uint32_t index, uint32_t word) {
    struct rwl_record *record = &event->view->records[index];
    struct rwl_line *line = &found->waiting[rwl_word_mode(word) - 1];
    collect(line, &record->place, index);
    found->contended++;
    if (word & RWL_WORD_SPENT) {
        line->spent++;
    } else {
        collect(&found->young, &record->timer, index);
    }
    if (record->arrival > event->view->state->facts.arrivals) {
        event->view->state->facts.arrivals = record->arrival;
    }
}

static bool count_holder(struct rwl_cache *found, uint32_t index, uint32_t word) {
    switch (rwl_word_mode(word)) {
    case RWL_READ:
        found->readers++;
        return true;
    case RWL_UPGRADABLE:
        if (found->upgradable != RWL_NIL) {
            return false;
        }
        found->upgradable = index;
        if (word & RWL_WORD_PENDING) {
            found->upgrading = index;
            found->contended++;
        }
        return true;
    default:
        if (found->writer != RWL_NIL) {
            return false;
        }
        found->writer = index;
        return true;
    }
}

bool rwl_recount(struct rwl_event *event) {
    const struct rwl_view *view = event->view;
    struct rwl_cache found;
    memset(&found, 0, sizeof found);
    found.upgradable = found.upgrading = found.writer = found.free = RWL_NIL;
    for (int i = 0; i < RWL_MODES; i++) {
        found.waiting[i].head = found.waiting[i].tail = RWL_NIL;
    }
    found.young.head = found.young.tail = RWL_NIL;
    /* From the last to the first, so that the free records come out in order and one index is used again and again. */
    for (uint32_t index = view->max_holds; index-- > 0;) {
        struct rwl_record *record = &view->records[index];
        uint32_t word = rwl_load(record);
        RWL_FAULT();
        if (!sensible(view, record, word)) {
            return false;
        }
        if (rwl_word_state(word) == RWL_FREE) {
            record->place.before = RWL_NIL;
            record->place.after = found.free;
            found.free = index;
        } else if (rwl_word_state(word) == RWL_WAITING) {
            count_waiter(event, &found, index, word);
        } else if (!count_holder(&found, index, word)) {
            return false;
        }
        if (atomic_load_explicit(&record->serial, memory_order_relaxed) > view->state->facts.serials) {
            view->state->facts.serials = atomic_load_explicit(&record->serial, memory_order_relaxed);
        }
    }
    if (found.writer != RWL_NIL && (found.readers != 0 || found.upgradable != RWL_NIL)) {
        return false;
    }
    for (int i = 0; i < RWL_MODES; i++) {
        rwl_sort(event, &found.waiting[i], RWL_PLACE);
    }
    rwl_sort(event, &found.young, RWL_TIMER);
    RWL_FAULT();
    view->state->cache = found;
    RWL_FAULT();
    return !event->corrupt;
}
