/* Sorted lines of waiters, linked through the records: joining, leaving and finding the first cost O(1). */
#ifndef RWL_LINES_H
#define RWL_LINES_H

#include "core.h"

/* Which links of a record a line uses. */
enum rwl_kind { RWL_PLACE, RWL_TIMER };

/* The key by which a record stands in a line of that kind: its arrival, or the time at which its patience ends. */
int64_t rwl_key(const struct rwl_record *record, enum rwl_kind kind);

/* Keys almost always come in growing order, so joining looks from the back and stops at once. */
void rwl_join(struct rwl_event *event, struct rwl_line *line, enum rwl_kind kind, uint32_t index);
void rwl_leave(struct rwl_event *event, struct rwl_line *line, enum rwl_kind kind, uint32_t index);

/* Turn `length` records that are chained in any order through `after`, beginning at the head, into a line. */
void rwl_sort(struct rwl_event *event, struct rwl_line *line, enum rwl_kind kind);

#endif
