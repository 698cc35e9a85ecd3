/* Threads that share a context, and contexts that share a segment, at random: nobody may ever see a writer beside anybody,
 * everybody has to get through, and the thread sanitizer has to find nothing to say about how they do it.
 *
 *      threads ROUNDS SEED */
#include <pthread.h>

#include "world.h"

#define PEOPLE 3
#define THREADS 2
#define HOLDS 32

static struct rwl_context people[PEOPLE];
static _Atomic int readers, writers;
static long unprotected; /* by anything but the lock: the sanitizer's bait */
static int rounds;

static void inside(bool writes) {
    if (writes) {
        if (atomic_fetch_add(&writers, 1) != 0 || atomic_load(&readers) != 0) {
            fail("a writer is not alone");
        }
        unprotected++;
        atomic_fetch_sub(&writers, 1);
    } else {
        atomic_fetch_add(&readers, 1);
        if (atomic_load(&writers) != 0) {
            fail("a reader met a writer");
        }
        if (unprotected < 0) {
            fail("a reader read nonsense");
        }
        atomic_fetch_sub(&readers, 1);
    }
}

/* The answer of an operation that is repeated until the gate lets it through. */
#define UNTIL_OPEN(answer, call)                                                                                       \
    do {                                                                                                               \
        answer = (call);                                                                                               \
    } while (answer == RWL_BUSY)

static int wait_for(struct rwl_context *context, uint64_t token, int64_t until) {
    int answer;
    do {
        answer = rwl_lock_wait(context, token, until, false);
    } while (answer == RWL_WAITS);
    return answer;
}

static void upgrade(struct rwl_context *context, uint64_t token) {
    int answer;
    UNTIL_OPEN(answer, rwl_lock_upgrade(context, RWL_SLEEP, token, 0));
    if (answer == RWL_WAITS) {
        answer = wait_for(context, token, rwl_now() + 1000000);
    }
    if (answer == RWL_GRANTED) {
        inside(true);
        UNTIL_OPEN(answer, rwl_lock_downgrade(context, RWL_SLEEP, token));
    }
}

static void round_of(struct rwl_context *context, unsigned *dice) {
    uint32_t mode = (uint32_t)(rand_r(dice) % 4);
    mode = mode == 0 ? RWL_READ : mode;
    struct rwl_wish wish = {.mode = mode, .wait = rand_r(dice) % 5 != 0};
    wish.patience = rand_r(dice) % 2 ? 0 : 200000;
    uint64_t token;
    int answer;
    UNTIL_OPEN(answer, rwl_lock_request(context, rand_r(dice) % 2 ? RWL_SLEEP : RWL_TRY, &wish, &token));
    if (answer == RWL_WAITS) {
        answer = wait_for(context, token, rand_r(dice) % 4 ? RWL_FOREVER : rwl_now() + rand_r(dice) % 300000);
    }
    if (answer == RWL_REFUSED || answer == RWL_EXPIRED) {
        return;
    }
    if (answer != RWL_GRANTED) {
        fail("an answer that nobody should get");
    }
    inside(mode == RWL_WRITE);
    if (mode == RWL_UPGRADABLE) {
        upgrade(context, token);
    } else if (mode == RWL_WRITE && rand_r(dice) % 3 == 0) {
        UNTIL_OPEN(answer, rwl_lock_downgrade(context, RWL_SLEEP, token));
        inside(false);
    }
    UNTIL_OPEN(answer, rwl_lock_release(context, rand_r(dice) % 2 ? RWL_SLEEP : RWL_TRY, token));
    if (answer != RWL_DONE) {
        fail("cannot release");
    }
    if (rwl_lock_release(context, RWL_SLEEP, token) != RWL_E_NOT_HELD) {
        fail("could release twice");
    }
}

static void *live(void *argument) {
    unsigned dice = *(unsigned *)argument;
    for (int i = 0; i < rounds; i++) {
        round_of(&people[dice % PEOPLE], &dice);
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: threads ROUNDS SEED\n");
        return 2;
    }
    rounds = atoi(arguments[1]);
    unsigned seed = (unsigned)atoi(arguments[2]);
    struct rwl_policy policy = {2, 2, RWL_NO_BOUND, RWL_NO_BOUND, RWL_NO_BOUND};
    uint64_t size = rwl_segment_size(PEOPLE, HOLDS);
    int fd = make_file(&policy, PEOPLE, HOLDS);
    void *base = map_file(fd, size);
    for (int i = 0; i < PEOPLE; i++) {
        join_file(&people[i], fd, base, size);
    }
    pthread_t threads[PEOPLE * THREADS];
    unsigned seeds[PEOPLE * THREADS];
    for (int i = 0; i < PEOPLE * THREADS; i++) {
        seeds[i] = seed * 1000 + (unsigned)i;
        if (pthread_create(&threads[i], NULL, live, &seeds[i]) != 0) {
            fail("no thread");
        }
    }
    for (int i = 0; i < PEOPLE * THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    const struct rwl_cache *cache = &people[0].view.state->cache;
    if (cache->readers != 0 || cache->writer != RWL_NIL || cache->contended != 0) {
        fail("the lock is not free in the end");
    }
    printf("%ld writes, nobody disturbed\n", unprotected);
    return 0;
}
