/* What lies in a segment: fixed widths, offsets and indices only, never a pointer.
 *
 * The record table is the only truth. A record's `word` says whether it is free, waits or holds, and in which mode;
 * it is changed by single aligned stores, so that a process may die between any two instructions and leave a table
 * that means something. Whatever follows from the records by counting (`struct rwl_cache`, and the links in the second
 * half of each record) is a cache, made again from the records after a death inside the gate.
 *
 * A few words follow from nothing and are facts of their own (`struct rwl_facts`): each is one word, none can break
 * exclusion, and the worst that a death between two stores does to them is one grant in another order.
 *
 * Everybody who may write here may write nonsense. So nothing that is read from a segment is used as an index or an
 * enumeration before it was checked against sizes that each process copied into its own memory when it attached.
 */
#ifndef RWL_LAYOUT_H
#define RWL_LAYOUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Between the stores that a death could separate. Nothing, unless a test is built with these as its kill points, where
 * it may not single-step. */
#ifdef RWL_FAULT_POINTS
void rwl_fault(void);
#define RWL_FAULT() rwl_fault()
#else
#define RWL_FAULT() ((void)0)
#endif

#define RWL_LAYOUT_VERSION 1u
#define RWL_MAGIC 0x316b636f6c777221ull /* "!rwlock1" as the bytes of a little-endian machine */
#define RWL_BYTE_ORDER 0x0102030405060708ull
#define RWL_READY 0x52454459u

#define RWL_NIL UINT32_MAX
#define RWL_MAX_PROCESSES 4000u /* the gate's owner word has 12 bits for a slot */
#define RWL_MAX_HOLDS 65535u    /* a token has 16 bits for an index */
#define RWL_NO_BOUND UINT64_MAX
#define RWL_FOREVER INT64_MAX

/* Modes, also the index + 1 of their line of waiters. */
enum { RWL_NONE = 0, RWL_READ = 1, RWL_UPGRADABLE = 2, RWL_WRITE = 3, RWL_MODES = 3 };

/* Orders of `rwlocks.policies.Order`. */
enum { RWL_READERS_FIRST = 0, RWL_WRITERS_FIRST = 1, RWL_ARRIVAL = 2, RWL_ORDERS = 3 };

/* What the death of a writer means to those who come after it. */
enum { RWL_DEATH_FLAG = 0, RWL_DEATH_RAISE = 1, RWL_DEATH_IGNORE = 2, RWL_DEATHS = 3 };

/* The word of a record: state, mode, mode to go back to, flags. */
enum { RWL_FREE = 0, RWL_WAITING = 1, RWL_HELD = 2 };
#define RWL_WORD_STATE 0x003u
#define RWL_WORD_MODE_SHIFT 2
#define RWL_WORD_BASE_SHIFT 4
#define RWL_WORD_PENDING 0x040u /* an upgradable holder that waits to become the writer */
#define RWL_WORD_POKED 0x080u   /* a waiter that was told to claim */
#define RWL_WORD_SPENT 0x100u   /* a waiter whose patience is over */
#define RWL_WORD_LOST 0x200u    /* a waiter whose own process says that it can never run again */
#define RWL_WORD_KNOWN 0x3ffu

static inline uint32_t rwl_word(uint32_t state, uint32_t mode, uint32_t base, uint32_t flags) {
    return state | mode << RWL_WORD_MODE_SHIFT | base << RWL_WORD_BASE_SHIFT | flags;
}
static inline uint32_t rwl_word_state(uint32_t word) { return word & RWL_WORD_STATE; }
static inline uint32_t rwl_word_mode(uint32_t word) { return word >> RWL_WORD_MODE_SHIFT & 3u; }
static inline uint32_t rwl_word_base(uint32_t word) { return word >> RWL_WORD_BASE_SHIFT & 3u; }

/* A place in a sorted line. */
struct rwl_links {
    uint32_t before;
    uint32_t after;
};

/* One request, then one hold. Times are nanoseconds of CLOCK_MONOTONIC. */
struct rwl_record {
    _Atomic uint32_t word;   /* the truth; stored last when a record is filled, first when it is freed */
    _Atomic uint32_t grant;  /* changes with every grant and poke; its sleeper sleeps on it */
    uint32_t slot;           /* whose: an index into the process table, */
    uint32_t generation;     /* and which of the processes that had that slot */
    _Atomic uint64_t serial; /* of this use of the record; with the index it is the token of a guard */
    uint64_t arrival;        /* rank among the waiters; 0 until it had to queue */
    int64_t wanted;          /* when it first had to queue, or asked for its upgrade */
    int64_t patience;
    int64_t since;           /* when it was granted; 0 when that needed no clock */
    uint64_t owner;          /* the thread, for statistics */
    struct rwl_links place;  /* cache: among the waiters of its mode; `after` also chains the free records */
    struct rwl_links timer;  /* cache: among the young, by the time at which their patience ends */
    uint32_t bell;           /* number of the event-loop bell of its process to ring; 0: a thread sleeps on `grant` */
    _Atomic uint32_t delivered;
    _Atomic uint32_t abandoned; /* 1 once nobody can release this hold any more, by its process's own account */
    uint32_t reserved[9];
};

/* One attached process. Whoever has the file lock on byte `RWL_LIVE_BYTE + index` owns the slot; the kernel gives that
 * lock back after the address space of a dead process is gone, so a free one proves that nobody writes any more. */
struct rwl_slot {
    _Atomic uint32_t generation; /* changed by the owner of the byte alone */
    _Atomic uint32_t state;      /* 0 free, 1 used */
    uint32_t pid;                /* for people, and never trusted alone */
    uint32_t uid;
    uint64_t pid_namespace;
    uint64_t start_time;
    uint8_t reserved[32];
};
#define RWL_USER_BYTE ((int64_t)1 << 40) /* every user has a shared lock on this one */
#define RWL_LIVE_BYTE (RWL_USER_BYTE + 1)

struct rwl_policy {
    uint32_t after_write;
    uint32_t while_reading;
    uint64_t max_batch;
    uint64_t max_consecutive_writers;
    uint64_t max_writer_wait; /* nanoseconds */
};

/* Constant once `ready` is set; copied by everybody who attaches. */
struct rwl_header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_size;
    uint64_t layout_hash;
    uint64_t byte_order;
    uint64_t total_size;
    uint8_t instance[16];
    uint8_t boot[16]; /* id of the boot in which it was made: file locks and clocks end with it */
    uint32_t max_processes;
    uint32_t max_holds;
    uint32_t on_writer_death;
    uint32_t creator_uid;
    struct rwl_policy policy;
    uint8_t reserved[56];
    _Atomic uint32_t ready;
    uint32_t reserved_end;
};

struct rwl_facts {
    int64_t now;
    uint64_t arrivals;
    uint64_t serials;
    uint64_t held_back;
    uint64_t writes_in_a_row;
    _Atomic uint32_t writer_died; /* 1 from the death of a writer until somebody marked the data consistent */
    uint32_t epoch;       /* how many writers have died */
};

struct rwl_totals {
    uint64_t acquisitions;
    uint64_t contended;
    uint64_t timeouts;
    uint64_t cancellations;
    uint64_t longest_wait;
    uint64_t repairs;     /* recounts after a death inside the gate */
    uint64_t reaped;      /* processes found dead */
};

struct rwl_line {
    uint32_t head;
    uint32_t tail;
    uint32_t length;
    uint32_t spent;
};

struct rwl_cache {
    uint32_t readers;
    uint32_t upgradable;
    uint32_t upgrading;
    uint32_t writer;
    uint32_t contended;
    uint32_t free;
    struct rwl_line waiting[RWL_MODES];
    struct rwl_line young;
};

struct rwl_state {
    _Atomic uint32_t gate;   /* owner of the gate; see gate.c */
    _Atomic uint32_t passes; /* how often it was taken: tells a busy gate from a stuck one */
    _Atomic uint32_t dirty;  /* 1 while the caches may not agree with the records */
    uint8_t own_line[52];
    struct rwl_facts facts;
    uint8_t own_line_too[16];
    struct rwl_cache cache;
    _Atomic uint32_t abandoned; /* 1 while some hold may be abandoned: a hint to look at the records */
    uint8_t reserved[36];
    struct rwl_totals totals;
    uint8_t reserved_end[8];
};

#define RWL_HEADER_SIZE 4096u
#define RWL_STATE_OFFSET 1024u
#define RWL_SLOTS_OFFSET RWL_HEADER_SIZE

_Static_assert(sizeof(struct rwl_record) == 128, "two cache lines, so that records share none");
_Static_assert(offsetof(struct rwl_record, place) == 64, "truth in the first line, caches in the second");
_Static_assert(sizeof(struct rwl_slot) == 64, "a cache line");
_Static_assert(sizeof(struct rwl_header) <= RWL_STATE_OFFSET, "the header ends before the state");
_Static_assert(offsetof(struct rwl_state, facts) == 64, "the gate has a cache line of its own");
_Static_assert(offsetof(struct rwl_state, cache) == 128, "aligned");
_Static_assert(sizeof(struct rwl_state) == 320, "no padding that nobody named");
_Static_assert(RWL_STATE_OFFSET + sizeof(struct rwl_state) <= RWL_HEADER_SIZE, "the state ends before the slots");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "atomics must not hide a lock");

/* What a process knows of a segment: addresses in its own mapping, and its own copy of all that bounds an index. */
struct rwl_view {
    struct rwl_state *state;
    struct rwl_slot *slots;
    struct rwl_record *records;
    uint32_t max_processes;
    uint32_t max_holds;
    uint32_t on_writer_death;
    struct rwl_policy policy;
};

/* How a segment is made. */
struct rwl_config {
    uint32_t max_processes;
    uint32_t max_holds;
    uint32_t on_writer_death;
    uint32_t creator_uid;
    struct rwl_policy policy;
    uint8_t instance[16];
    uint8_t boot[16];
};

/* Reasons to refuse a segment. */
enum {
    RWL_CHECK_OK = 0,
    RWL_CHECK_SMALL = 1,    /* no room for a header */
    RWL_CHECK_MAGIC = 2,    /* not one of ours */
    RWL_CHECK_ORDER = 3,    /* written by a machine of the other byte order */
    RWL_CHECK_VERSION = 4,  /* another layout version, or the same with other fields */
    RWL_CHECK_READY = 5,    /* never finished */
    RWL_CHECK_SIZE = 6,     /* limits and size do not fit each other */
    RWL_CHECK_VALUES = 7,   /* a value that no creator writes */
    RWL_CHECK_BOOT = 8,     /* made before the machine was started */
};

uint64_t rwl_layout_hash(void);
uint64_t rwl_segment_size(uint32_t max_processes, uint32_t max_holds);
bool rwl_policy_valid(const struct rwl_policy *policy);

/* Initialise `size` zeroed bytes that nobody else can see yet; false if the configuration is out of range. */
bool rwl_format(void *base, uint64_t size, const struct rwl_config *config);

/* Check a mapped segment and describe it in `view` and `config`. Uses nothing it has not checked. */
int rwl_inspect(void *base, uint64_t size, const uint8_t boot[16], struct rwl_view *view, struct rwl_config *config);

#endif
