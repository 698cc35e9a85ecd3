/* The gate is one word: who is inside, as slot and generation, and whether somebody sleeps in front of it.
 *
 *      31      20 19                     1   0
 *     [ slot + 1 |  generation, 19 bits   | sleepers ]        0: nobody is inside
 *
 * It is taken by compare-and-swap from 0, and from the word of somebody who is proven dead. A thief that dies is robbed
 * in turn. No pthread object would do: one that survives the death of its owner is a linked list that the C library
 * follows, in memory that others may write.
 *
 * Whoever finds it taken for long sleeps on the word, with a cap, since the owner may have died after it opened the gate
 * and before it woke anybody.
 */
#include "gate.h"

#include "os.h"

#define SLEEPERS 1u
#define GENERATION 0x7ffffu
#define SPINS 200
#define NAP 10000000 /* how long to sleep before asking whether the owner is alive */

static uint32_t tag_of(uint32_t slot, uint32_t generation) { return (slot + 1) << 20 | (generation & GENERATION) << 1; }

static uint32_t generation_of(const struct rwl_context *context, uint32_t slot) {
    return atomic_load_explicit(&context->view.slots[slot].generation, memory_order_acquire);
}

bool rwl_dead(const struct rwl_context *context, uint32_t slot, uint32_t generation) {
    if (slot >= context->view.max_processes || generation_of(context, slot) != generation) {
        return true; /* there is no such process, or another one has its slot */
    }
    /* Through the descriptor that has the lock, the own byte would look free. */
    return slot != context->slot && !rwl_byte_locked(context->live_fd, RWL_LIVE_BYTE + slot);
}

/* A child that inherited the descriptor keeps the byte locked after its parent's death. Where process numbers mean the
 * same to both, ask for the process as well. */
bool rwl_dead_slowly(const struct rwl_context *context, uint32_t slot, uint32_t generation, bool thorough) {
    if (rwl_dead(context, slot, generation)) {
        return true;
    }
    const struct rwl_slot *entry = &context->view.slots[slot];
    return slot != context->slot && atomic_load_explicit(&entry->state, memory_order_acquire) == 1 &&
           entry->pid_namespace == context->pid_namespace && context->pid_namespace != 0 &&
           rwl_process_gone(entry->pid, entry->start_time, thorough) && generation_of(context, slot) == generation;
}

static bool owner_is_dead(const struct rwl_context *context, uint32_t word) {
    uint32_t slot = (word >> 20) - 1;
    if (slot >= context->view.max_processes) {
        return true; /* nobody has such a slot */
    }
    uint32_t generation = generation_of(context, slot);
    return (generation & GENERATION) != (word >> 1 & GENERATION) || rwl_dead_slowly(context, slot, generation, false);
}

static bool swap(const struct rwl_context *context, uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong_explicit(&context->view.state->gate, &from, to, memory_order_acquire,
                                                   memory_order_relaxed);
}

static uint32_t look(const struct rwl_context *context) {
    return atomic_load_explicit(&context->view.state->gate, memory_order_relaxed);
}

/* Whoever has slept, or has robbed, leaves the mark for those who may still sleep. */
static bool steal(const struct rwl_context *context, uint32_t tag, uint32_t word, bool *stolen) {
    *stolen = word != 0 && owner_is_dead(context, word) && swap(context, word, tag | SLEEPERS);
    return *stolen;
}

static bool spin(const struct rwl_context *context, uint32_t tag) {
    for (int i = 0; i < SPINS; i++) {
        if (look(context) == 0 && swap(context, 0, tag)) {
            return true;
        }
        rwl_relax();
    }
    return false;
}

static bool sleep_in_front(const struct rwl_context *context, uint32_t tag, bool *stolen) {
    int64_t end = rwl_now() + RWL_CAP;
    for (int64_t now = rwl_now(); now < end; now = rwl_now()) {
        uint32_t word = look(context);
        if (word == 0) {
            if (swap(context, 0, tag | SLEEPERS)) {
                return true;
            }
        } else if ((word & SLEEPERS) || swap(context, word, word | SLEEPERS)) {
            int64_t wake_up = now + NAP < end ? now + NAP : end;
            rwl_sleep_at_gate(context, word | SLEEPERS, wake_up);
            if (steal(context, tag, look(context), stolen)) {
                return true;
            }
        }
    }
    return false;
}

int rwl_gate_enter(const struct rwl_context *context, enum rwl_door door, bool *stolen) {
    uint32_t tag = tag_of(context->slot, context->generation);
    *stolen = false;
    if (swap(context, 0, tag) || spin(context, tag) || steal(context, tag, look(context), stolen) ||
        (door == RWL_SLEEP && sleep_in_front(context, tag, stolen))) {
        RWL_FAULT();
        atomic_store_explicit(&context->view.state->passes,
                              atomic_load_explicit(&context->view.state->passes, memory_order_relaxed) + 1,
                              memory_order_relaxed);
        return RWL_GRANTED;
    }
    return RWL_BUSY;
}

void rwl_gate_leave(const struct rwl_context *context) {
    RWL_FAULT();
    uint32_t word = atomic_exchange_explicit(&context->view.state->gate, 0, memory_order_release);
    RWL_FAULT();
    if (word & SLEEPERS) {
        rwl_wake_at_gate(context);
    }
}
