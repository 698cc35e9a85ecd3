#include "lines.h"

static struct rwl_links *links(struct rwl_event *event, enum rwl_kind kind, uint32_t index) {
    struct rwl_record *record = rwl_at(event, index);
    return kind == RWL_PLACE ? &record->place : &record->timer;
}

int64_t rwl_key(const struct rwl_record *record, enum rwl_kind kind) {
    if (kind == RWL_PLACE) {
        return (int64_t)record->arrival;
    }
    int64_t end;
    return __builtin_add_overflow(record->wanted, record->patience, &end) ? RWL_FOREVER : end;
}

static void chain(struct rwl_event *event, struct rwl_line *line, enum rwl_kind kind, uint32_t before, uint32_t after) {
    RWL_FAULT();
    if (before == RWL_NIL) {
        line->head = after;
    } else {
        links(event, kind, before)->after = after;
    }
    if (after == RWL_NIL) {
        line->tail = before;
    } else {
        links(event, kind, after)->before = before;
    }
}

void rwl_join(struct rwl_event *event, struct rwl_line *line, enum rwl_kind kind, uint32_t index) {
    int64_t key = rwl_key(rwl_at(event, index), kind);
    uint32_t before = line->tail;
    while (before != RWL_NIL && rwl_key(rwl_at(event, before), kind) > key && rwl_step(event)) {
        before = links(event, kind, before)->before;
    }
    uint32_t after = before == RWL_NIL ? line->head : links(event, kind, before)->after;
    chain(event, line, kind, before, index);
    chain(event, line, kind, index, after);
    line->length++;
}

void rwl_leave(struct rwl_event *event, struct rwl_line *line, enum rwl_kind kind, uint32_t index) {
    struct rwl_links *own = links(event, kind, index);
    chain(event, line, kind, own->before, own->after);
    own->before = own->after = RWL_NIL;
    line->length--;
}

/* Two sorted chains become one; of equal keys, those of the first chain come first. */
static uint32_t merge(struct rwl_event *event, enum rwl_kind kind, uint32_t one, uint32_t two) {
    uint32_t head = RWL_NIL;
    uint32_t *end = &head;
    while (one != RWL_NIL && two != RWL_NIL && rwl_step(event)) {
        bool first = rwl_key(rwl_at(event, one), kind) <= rwl_key(rwl_at(event, two), kind);
        uint32_t next = first ? one : two;
        *end = next;
        end = &links(event, kind, next)->after;
        if (first) {
            one = *end;
        } else {
            two = *end;
        }
    }
    *end = one != RWL_NIL ? one : two;
    return head;
}

/* Merge sort from the bottom up: `runs[i]` is a sorted chain of 2^i records, or empty. */
void rwl_sort(struct rwl_event *event, struct rwl_line *line, enum rwl_kind kind) {
    uint32_t runs[17];
    const int most = sizeof runs / sizeof runs[0];
    for (int i = 0; i < most; i++) {
        runs[i] = RWL_NIL;
    }
    uint32_t rest = line->head;
    while (rest != RWL_NIL && rwl_step(event)) {
        uint32_t run = rest;
        rest = links(event, kind, run)->after;
        links(event, kind, run)->after = RWL_NIL;
        int i = 0;
        for (; i < most - 1 && runs[i] != RWL_NIL; i++) {
            run = merge(event, kind, runs[i], run);
            runs[i] = RWL_NIL;
        }
        runs[i] = runs[i] == RWL_NIL ? run : merge(event, kind, runs[i], run);
    }
    uint32_t head = RWL_NIL;
    for (int i = 0; i < most; i++) {
        head = merge(event, kind, runs[i], head);
    }
    line->head = line->tail = RWL_NIL;
    uint32_t before = RWL_NIL;
    for (uint32_t index = head; index != RWL_NIL && rwl_step(event);) {
        uint32_t after = links(event, kind, index)->after;
        chain(event, line, kind, before, index);
        before = index;
        index = after;
    }
    if (before != RWL_NIL) {
        chain(event, line, kind, before, RWL_NIL);
    }
}
