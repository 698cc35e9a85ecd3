/* The operations of a process-shared lock: an event of the core inside the gate, and the wake-ups after it.
 *
 * Two extension modules are made of this code, one that keeps the interpreter's lock and may only try the gate, one
 * that has let go of it and may sleep. Hence nothing here is static and mutable: all that a process knows is in one
 * context, which one module makes and both use.
 */
#ifndef RWL_LOCK_H
#define RWL_LOCK_H

#include "core.h"

#define RWL_PATH 512
/* No sleep is longer: then the sleeper looks whether those before it are still alive. */
#define RWL_CAP 50000000

/* Which of the two modules calls. */
enum rwl_door { RWL_TRY, RWL_SLEEP };

/* That a process was seen alive, and when. */
struct rwl_life {
    uint32_t slot;
    uint32_t generation; /* 0: nobody */
    int64_t seen;
};
#define RWL_LIVES 4

/* What a process knows of a lock. It lies in a page that a fork wipes in the child, so that a child never takes itself for its
 * parent, however it was forked: `attached` reads 0 there. Constant while it is attached. */
struct rwl_context {
    _Atomic uint32_t attached;
    uint32_t slot;
    uint32_t generation;
    uint32_t pid;
    uint64_t pid_namespace;
    struct rwl_life lives[RWL_LIVES]; /* some who were alive a moment ago; changed inside the gate only */
    _Atomic uint32_t mended; /* how often this process dropped what a dead one had left, or counted again after it */
    int live_fd; /* an open file of its own: its locks on bytes are this process's life */
    struct rwl_view view;
    char bells[RWL_PATH - 64]; /* how the paths of the bells begin; empty if there can be none */
};

/* A guard's token: which record, and which use of it. Never 0. */
static inline uint64_t rwl_token(uint32_t index, uint64_t serial) { return serial << 16 | index; }

/* What a request brings with it. `arrival` is 0, or that of an earlier request whose place it keeps; `wanted` is 0, or when it
 * first asked, if that was before. */
struct rwl_wish {
    uint32_t mode;
    bool wait;
    bool hasty; /* refused without a look at who is dead, for the caller will ask again */
    int64_t patience;
    uint64_t owner;
    uint32_t bell;
    uint64_t arrival;
    int64_t wanted;
};

/* How a wait ended, for the statistics. */
enum { RWL_QUIETLY = 0, RWL_TIMED = 1, RWL_CANCELLED = 2 };

#define RWL_NOBODY (-1)

/* Take a slot and say so. RWL_E_FULL if there is none, RWL_BUSY (call again) if somebody is stopped inside the gate. */
int rwl_attach(struct rwl_context *context);

/* Whether this process holds the lock, in whatever mode. Looks without the gate. */
bool rwl_holds_anything(const struct rwl_context *context);

/* Give the slot back. RWL_REFUSED while something is held; the requests that wait end. */
int rwl_detach(struct rwl_context *context, enum rwl_door door);

/* All return RWL_BUSY if the gate could not be had, RWL_E_DETACHED in a forked child, RWL_E_CORRUPT for nonsense. */
int rwl_lock_request(struct rwl_context *context, enum rwl_door door, const struct rwl_wish *wish, uint64_t *token);

/* Whether a newcomer would be let in now: RWL_GRANTED or RWL_REFUSED. */
int rwl_lock_admits(struct rwl_context *context, enum rwl_door door, uint32_t mode);

int rwl_lock_release(struct rwl_context *context, enum rwl_door door, uint64_t token);
int rwl_lock_withdraw(struct rwl_context *context, enum rwl_door door, uint64_t token, int how);
int rwl_lock_downgrade(struct rwl_context *context, enum rwl_door door, uint64_t token);
/* `sleeper`: RWL_NOBODY if it must not wait; 0 for a thread, else the bell of the loop whose task waits. It need not be the one
 * that waited for the hold. */
int rwl_lock_upgrade(struct rwl_context *context, enum rwl_door door, uint64_t token, int64_t sleeper);
int rwl_lock_withdraw_upgrade(struct rwl_context *context, enum rwl_door door, uint64_t token, int how);

/* The waiter runs: it learns of its grant, or claims what it was poked for. */
int rwl_lock_resume(struct rwl_context *context, enum rwl_door door, uint64_t token);

/* It waits no longer: it claims a last time and withdraws if that is refused (RWL_EXPIRED). */
int rwl_lock_expire(struct rwl_context *context, enum rwl_door door, uint64_t token, int how);

/* Look whether those before this waiter are alive, and bury the dead. `thorough`: count everything again, too. */
int rwl_lock_probe(struct rwl_context *context, enum rwl_door door, uint64_t token, bool thorough);

/* Sleep until granted (RWL_GRANTED), `until` at most (RWL_EXPIRED), or for no longer than the cap (RWL_WAITS: call again). */
int rwl_lock_wait(struct rwl_context *context, uint64_t token, int64_t until, bool thorough);

/* Put the end of a request that never came to wait on record: RWL_TIMED or RWL_CANCELLED. */
int rwl_lock_count(struct rwl_context *context, enum rwl_door door, int how);

/* Say of a hold of this process that nobody can release it any more. Takes no gate: a finaliser may call it anywhere. */
void rwl_lock_abandon(struct rwl_context *context, uint64_t token);

/* Whether some hold, of whatever process, may be abandoned. Looks without the gate. */
bool rwl_lock_abandoned(const struct rwl_context *context);

/* How many hold and wait. */
struct rwl_counts {
    uint32_t readers;
    uint32_t upgradable;
    uint32_t writer;
    uint32_t waiting;
};

/* Also filled in if the answer is RWL_BUSY: then they are of no one moment. */
int rwl_lock_counts(struct rwl_context *context, enum rwl_door door, struct rwl_counts *counts);

int rwl_lock_mark_consistent(struct rwl_context *context, enum rwl_door door);

/* A consistent copy of the state and of every record, into memory for `max_holds` of them. */
int rwl_lock_snapshot(struct rwl_context *context, enum rwl_door door, struct rwl_state *state,
                      struct rwl_record *records);

/* The word of the record of a token, 0 if it is of no request or hold any more. Looks without the gate. */
uint32_t rwl_lock_peek(struct rwl_context *context, uint64_t token);

/* Whether the data may be half written because a writer died. */
bool rwl_lock_recovered(const struct rwl_context *context);

#endif
