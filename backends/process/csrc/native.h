/* The door for whatever may sleep: cffi lets go of the interpreter's lock around each of these calls. A context is passed as the
 * number that `Context.address` gives. */
#ifndef RWL_NATIVE_H
#define RWL_NATIVE_H

#include "lock.h"

static inline struct rwl_context *rwl_at_address(uintptr_t address) { return (struct rwl_context *)address; }

static inline int native_attach(uintptr_t context) { return rwl_attach(rwl_at_address(context)); }
static inline int native_detach(uintptr_t context) { return rwl_detach(rwl_at_address(context), RWL_SLEEP); }
static inline int native_request(uintptr_t context, uint32_t mode, bool wait, int64_t patience, uint64_t owner,
                                 uint64_t arrival, int64_t wanted, uint64_t *token) {
    struct rwl_wish wish = {mode, wait, false, patience, owner, 0, arrival, wanted};
    return rwl_lock_request(rwl_at_address(context), RWL_SLEEP, &wish, token);
}
static inline int native_release(uintptr_t context, uint64_t token) {
    return rwl_lock_release(rwl_at_address(context), RWL_SLEEP, token);
}
static inline int native_withdraw(uintptr_t context, uint64_t token, int how) {
    return rwl_lock_withdraw(rwl_at_address(context), RWL_SLEEP, token, how);
}
static inline int native_downgrade(uintptr_t context, uint64_t token) {
    return rwl_lock_downgrade(rwl_at_address(context), RWL_SLEEP, token);
}
static inline int native_upgrade(uintptr_t context, uint64_t token, int64_t sleeper) {
    return rwl_lock_upgrade(rwl_at_address(context), RWL_SLEEP, token, sleeper);
}
static inline int native_withdraw_upgrade(uintptr_t context, uint64_t token, int how) {
    return rwl_lock_withdraw_upgrade(rwl_at_address(context), RWL_SLEEP, token, how);
}
static inline int native_wait(uintptr_t context, uint64_t token, int64_t until, bool thorough) {
    return rwl_lock_wait(rwl_at_address(context), token, until, thorough);
}
static inline int native_mark_consistent(uintptr_t context) {
    return rwl_lock_mark_consistent(rwl_at_address(context), RWL_SLEEP);
}
/* Open the gate once, however long that takes within the cap: for those who were told "busy" by the other door. */
static inline int native_probe(uintptr_t context, uint64_t token) {
    return rwl_lock_probe(rwl_at_address(context), RWL_SLEEP, token, false);
}
static inline uint64_t native_layout(void) { return rwl_layout_hash(); }

#endif
