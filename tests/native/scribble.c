/* Random bytes in a segment. Every operation has to come back, with whatever answer, and touch nothing outside.
 *
 *      scribble ROUNDS SEED */
#include "world.h"

#define PEOPLE 3
#define HOLDS 12

static unsigned dice;
static int number_below(int limit) { return rand_r(&dice) % limit; }

static unsigned char any_byte(void) {
    static const unsigned char likely[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0xff};
    return number_below(2) ? likely[number_below(sizeof likely)] : (unsigned char)number_below(256);
}

/* A few bytes, a word, or a whole stretch; sometimes all of it. */
static void scribble(unsigned char *bytes, uint64_t size) {
    uint64_t from = (uint64_t)number_below((int)size);
    uint64_t most = number_below(20) == 0 ? size : number_below(3) ? 4 : 64;
    for (uint64_t i = from; i < from + most && i < size; i++) {
        bytes[i] = any_byte();
    }
}

static bool known(int answer) { return answer >= RWL_E_USAGE && answer <= RWL_EXPIRED; }

static void act(struct rwl_context *context, uint64_t *token) {
    struct rwl_wish wish = {.mode = (uint32_t)number_below(4), .wait = number_below(2), .patience = number_below(3)};
    struct rwl_state state;
    struct rwl_record records[HOLDS];
    int answer = 0;
    switch (number_below(11)) {
    case 0:
    case 1:
    case 2:
        answer = rwl_lock_request(context, RWL_TRY, &wish, token);
        break;
    case 3:
        answer = rwl_lock_release(context, RWL_TRY, *token);
        break;
    case 4:
        answer = rwl_lock_withdraw(context, RWL_TRY, *token, 1);
        break;
    case 5:
        answer = rwl_lock_downgrade(context, RWL_TRY, *token);
        break;
    case 6:
        answer = rwl_lock_upgrade(context, RWL_TRY, *token, (int64_t)number_below(2) - 1);
        break;
    case 7:
        answer = rwl_lock_resume(context, RWL_TRY, *token);
        break;
    case 8:
        answer = rwl_lock_probe(context, RWL_TRY, *token, number_below(2));
        break;
    case 9:
        answer = rwl_lock_snapshot(context, RWL_TRY, &state, records);
        break;
    default:
        answer = rwl_lock_expire(context, RWL_TRY, *token, RWL_TIMED);
    }
    if (!known(answer)) {
        fail("an answer that does not exist");
    }
}

/* The gate names one of the living, who is not inside: beyond the reach of this single thread. */
static void open_gate(struct rwl_context *context) { atomic_store(&context->view.state->gate, 0); }

static void one_round(const struct rwl_policy *policy) {
    uint64_t size = rwl_segment_size(PEOPLE, HOLDS);
    int fd = make_file(policy, PEOPLE, HOLDS);
    unsigned char *base = map_file(fd, size);
    /* In memory that ends where the segment ends, so that a sanitizer sees every step outside. */
    unsigned char *exact = aligned_alloc(64, size);
    if (exact == NULL) {
        fail("no memory");
    }
    memcpy(exact, base, size);
    munmap(base, size);
    struct rwl_context people[PEOPLE];
    uint64_t tokens[PEOPLE] = {0};
    for (int i = 0; i < PEOPLE; i++) {
        join_file(&people[i], fd, exact, size);
    }
    for (int i = 0; i < 60; i++) {
        if (number_below(4) == 0) {
            scribble(exact + RWL_STATE_OFFSET, size - RWL_STATE_OFFSET);
            open_gate(&people[0]);
        }
        int who = number_below(PEOPLE);
        act(&people[who], &tokens[who]);
    }
    struct rwl_view view;
    struct rwl_config config;
    scribble(exact, sizeof(struct rwl_header));
    rwl_inspect(exact, size, world_boot, &view, &config);
    for (int i = 0; i < PEOPLE; i++) {
        close(people[i].live_fd);
    }
    free(exact);
    close(fd);
}

int main(int count, char **arguments) {
    static const uint32_t orders[4][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}};
    if (count != 3) {
        fprintf(stderr, "usage: scribble ROUNDS SEED\n");
        return 2;
    }
    dice = (unsigned)atoi(arguments[2]);
    int rounds = atoi(arguments[1]);
    for (int i = 0; i < rounds; i++) {
        struct rwl_policy policy = {orders[i % 4][0], orders[i % 4][1], RWL_NO_BOUND, RWL_NO_BOUND, RWL_NO_BOUND};
        policy.max_batch = i % 3 ? RWL_NO_BOUND : 2;
        one_round(&policy);
    }
    printf("%d rounds\n", rounds);
    return 0;
}
