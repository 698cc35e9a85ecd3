/* The gate: everything but sleeping happens inside, one process at a time. */
#ifndef RWL_GATE_H
#define RWL_GATE_H

#include "lock.h"

/* Whether no thread of that process can write any more. `slowly` also asks for what a leaked descriptor would hide. */
bool rwl_dead(const struct rwl_context *context, uint32_t slot, uint32_t generation);
bool rwl_dead_slowly(const struct rwl_context *context, uint32_t slot, uint32_t generation, bool thorough);

/* RWL_GRANTED; or RWL_BUSY after a few tries, or after the cap for those who may sleep. `stolen` says that its owner died
 * inside, so that the caches have to be made again. */
int rwl_gate_enter(const struct rwl_context *context, enum rwl_door door, bool *stolen);
void rwl_gate_leave(const struct rwl_context *context);

#endif
