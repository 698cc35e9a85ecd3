/* Dies at every instruction of every operation, with others holding and waiting, and looks whether they go on.
 *
 *      killpoints snapshots PERCENT SEED   every instruction of that share of the scenes, chosen at random
 *      killpoints kills PERCENT SEED       real SIGKILLs at that share of the instructions of all scenes
 *
 * A child single-steps through one operation. What a SIGKILL at that instruction would leave to the others is the
 * memory of the segment as it is then, and the kernel's news that the child is gone. So after every single step the
 * segment is copied, and the copy is given to survivors for whom the child is dead. That makes one run through the operation do for
 * all of its kill points. Since a copy is not a death, `kills` repeats a sample with real ones.
 *
 * Where ptrace is refused (exit code 77), build with -DRWL_FAULT_POINTS: then the child stops at the marked points between
 * two stores instead of after every instruction.
 *
 * Survivors are contexts of this process, each with an open file of its own, so that to each other they are other
 * processes. After every death: whoever held still holds; everybody who waits gets the lock when those before it have left;
 * there is never a writer beside anybody; a writer's death, and no other, is on record; and in the end everything is empty. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gate.h"
#include "os.h"

#define PROCESSES 6
#define HOLDS 8
#define SURVIVORS 4
#define REFUSED_BY_SYSTEM 77

static const uint8_t boot[16] = "the same boot..";

/* One segment, and those who live in it. */
struct world {
    int fd;
    uint64_t size;
    void *base;
    struct rwl_config config;
    struct rwl_context survivors[SURVIVORS];
    uint64_t tokens[SURVIVORS];
    bool held[SURVIVORS];
};

/* The context and token of the child, made before the first step. */
struct victim {
    struct rwl_context context;
    uint64_t token;
};

struct scene {
    const char *name;
    void (*before)(struct world *world);                        /* survivors act */
    void (*prepare)(struct world *world, struct victim *victim); /* then the child, */
    void (*after)(struct world *world);                         /* then survivors again: the queue behind it */
    void (*act)(struct victim *victim);                         /* and this is what it does not survive */
    bool unattached;                                            /* the child attaches as part of the operation */
};

static int64_t patience; /* of everybody, in the present round */

static void fail(const char *what) {
    fprintf(stderr, "FAILED: %s\n", what);
    abort();
}

/* -- worlds -------------------------------------------------------------------------------------------------------- */

static int open_again(int fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    if (again < 0) {
        fail("cannot open the segment again");
    }
    return again;
}

static void join_world(struct world *world, struct rwl_context *context) {
    struct rwl_config config;
    memset(context, 0, sizeof *context);
    if (rwl_inspect(world->base, world->size, boot, &context->view, &config) != RWL_CHECK_OK) {
        fail("the segment is refused");
    }
    context->live_fd = open_again(world->fd);
}

static void make_world(struct world *world, const struct rwl_policy *policy) {
    memset(world, 0, sizeof *world);
    world->config = (struct rwl_config){.max_processes = PROCESSES, .max_holds = HOLDS, .policy = *policy};
    memcpy(world->config.boot, boot, sizeof boot);
    world->size = rwl_segment_size(PROCESSES, HOLDS);
    world->fd = memfd_create("killpoints", MFD_CLOEXEC);
    if (world->fd < 0 || ftruncate(world->fd, (off_t)world->size) != 0) {
        fail("no memory");
    }
    world->base = mmap(NULL, world->size, PROT_READ | PROT_WRITE, MAP_SHARED, world->fd, 0);
    if (world->base == MAP_FAILED || !rwl_format(world->base, world->size, &world->config)) {
        fail("cannot format");
    }
    for (int i = 0; i < SURVIVORS; i++) {
        join_world(world, &world->survivors[i]);
        if (rwl_attach(&world->survivors[i]) != RWL_DONE) {
            fail("a survivor cannot attach");
        }
    }
}

static void end_world(struct world *world) {
    for (int i = 0; i < SURVIVORS; i++) {
        close(world->survivors[i].live_fd);
    }
    munmap(world->base, world->size);
    close(world->fd);
}

/* A second world with the same people in it, to be filled with copies of the first. */
static void mirror_world(const struct world *world, struct world *mirror) {
    make_world(mirror, &world->config.policy);
    for (int i = 0; i < SURVIVORS; i++) {
        mirror->survivors[i].slot = world->survivors[i].slot;
        mirror->survivors[i].generation = world->survivors[i].generation;
    }
}

static void copy_world(const struct world *world, struct world *mirror) {
    memcpy(mirror->base, world->base, world->size);
    memcpy(mirror->tokens, world->tokens, sizeof mirror->tokens);
    memcpy(mirror->held, world->held, sizeof mirror->held);
}

/* -- what people do -------------------------------------------------------------------------------------------------- */

static int request(struct rwl_context *context, uint32_t mode, uint64_t *token) {
    struct rwl_wish wish = {.mode = mode, .wait = true, .patience = patience};
    return rwl_lock_request(context, RWL_SLEEP, &wish, token);
}

static void survivor_asks(struct world *world, int who, uint32_t mode) {
    int answer = request(&world->survivors[who], mode, &world->tokens[who]);
    if (answer != RWL_GRANTED && answer != RWL_WAITS) {
        fail("a survivor cannot ask");
    }
    world->held[who] = answer == RWL_GRANTED;
}

static void survivor_releases(struct world *world, int who) {
    if (rwl_lock_release(&world->survivors[who], RWL_SLEEP, world->tokens[who]) != RWL_DONE) {
        fail("a survivor cannot release");
    }
    world->tokens[who] = 0;
    world->held[who] = false;
}

static void victim_reads(struct world *world, struct victim *victim) {
    (void)world;
    request(&victim->context, RWL_READ, &victim->token);
}
static void victim_writes(struct world *world, struct victim *victim) {
    (void)world;
    request(&victim->context, RWL_WRITE, &victim->token);
}
static void victim_is_upgradable(struct world *world, struct victim *victim) {
    (void)world;
    request(&victim->context, RWL_UPGRADABLE, &victim->token);
}
static void victim_upgrades(struct world *world, struct victim *victim) {
    victim_is_upgradable(world, victim);
    rwl_lock_upgrade(&victim->context, RWL_SLEEP, victim->token, 0);
}
static void victim_is_idle(struct world *world, struct victim *victim) {
    (void)world;
    (void)victim;
}

static void nobody(struct world *world) { (void)world; }
static void a_reader(struct world *world) { survivor_asks(world, 0, RWL_READ); }
static void a_writer(struct world *world) { survivor_asks(world, 0, RWL_WRITE); }
static void a_queue(struct world *world) {
    survivor_asks(world, 1, RWL_WRITE);
    survivor_asks(world, 2, RWL_READ);
    survivor_asks(world, 3, RWL_UPGRADABLE);
}
static void readers_queue(struct world *world) {
    survivor_asks(world, 1, RWL_READ);
    survivor_asks(world, 2, RWL_READ);
    survivor_asks(world, 3, RWL_WRITE);
}
static void pending_upgrade_of_a_survivor(struct world *world) {
    survivor_asks(world, 0, RWL_UPGRADABLE);
    survivor_asks(world, 1, RWL_READ);
    survivor_releases(world, 1);
}
static void that_upgrades_now(struct world *world) {
    if (rwl_lock_upgrade(&world->survivors[0], RWL_SLEEP, world->tokens[0], 0) != RWL_WAITS) {
        fail("the survivor should wait for the child");
    }
    survivor_asks(world, 2, RWL_READ);
    survivor_asks(world, 3, RWL_WRITE);
}
static void release_of_the_writer_in_front(struct world *world) {
    a_queue(world);
    survivor_releases(world, 0);
}
/* Somebody else has died inside the gate, and has left torn caches. */
static void a_torn_gate(struct world *world) {
    a_queue(world);
    struct rwl_view *view = &world->survivors[0].view;
    view->state->cache.contended = 7;
    view->state->cache.waiting[2].head = 99;
    view->state->cache.free = 5;
    atomic_store(&view->state->gate, (uint32_t)(PROCESSES << 20 | 1 << 1));
}
/* A process that has a place in the queue has died, and the child will be the one who notices. */
static void a_dead_waiter(struct world *world) {
    survivor_asks(world, 1, RWL_READ);
    survivor_asks(world, 2, RWL_WRITE);
    atomic_fetch_add(&world->survivors[3].view.slots[world->survivors[3].slot].generation, 1);
    survivor_asks(world, 3, RWL_WRITE);
    atomic_fetch_add(&world->survivors[3].view.slots[world->survivors[3].slot].generation, 1);
    world->tokens[3] = 0;
}

static void act_read(struct victim *victim) { victim_reads(NULL, victim); }
static void act_write(struct victim *victim) { victim_writes(NULL, victim); }
static void act_release(struct victim *victim) { rwl_lock_release(&victim->context, RWL_SLEEP, victim->token); }
static void act_withdraw(struct victim *victim) { rwl_lock_withdraw(&victim->context, RWL_SLEEP, victim->token, 2); }
static void act_resume(struct victim *victim) { rwl_lock_resume(&victim->context, RWL_SLEEP, victim->token); }
static void act_expire(struct victim *victim) { rwl_lock_expire(&victim->context, RWL_SLEEP, victim->token, RWL_TIMED); }
static void act_downgrade(struct victim *victim) { rwl_lock_downgrade(&victim->context, RWL_SLEEP, victim->token); }
static void act_upgrade(struct victim *victim) { rwl_lock_upgrade(&victim->context, RWL_SLEEP, victim->token, 0); }
static void act_withdraw_upgrade(struct victim *victim) {
    rwl_lock_withdraw_upgrade(&victim->context, RWL_SLEEP, victim->token, 2);
}
static void act_probe(struct victim *victim) { rwl_lock_probe(&victim->context, RWL_SLEEP, victim->token, true); }
static void act_attach(struct victim *victim) { rwl_attach(&victim->context); }
static void act_detach(struct victim *victim) { rwl_detach(&victim->context, RWL_SLEEP); }
static void act_try(struct victim *victim) {
    struct rwl_wish wish = {.mode = RWL_WRITE};
    rwl_lock_request(&victim->context, RWL_TRY, &wish, &victim->token);
}

static const struct scene scenes[] = {
    {"read, nobody else", nobody, victim_is_idle, nobody, act_read, false},
    {"write, nobody else", nobody, victim_is_idle, nobody, act_write, false},
    {"write behind a reader and a queue", a_reader, victim_is_idle, a_queue, act_write, false},
    {"read behind a writer", a_writer, victim_is_idle, nobody, act_read, false},
    {"try behind a reader", a_reader, victim_is_idle, a_queue, act_try, false},
    {"release of a read, nobody else", nobody, victim_reads, nobody, act_release, false},
    {"release of a write, nobody else", nobody, victim_writes, nobody, act_release, false},
    {"release of a read before a queue", nobody, victim_reads, a_queue, act_release, false},
    {"release of a write before a queue", nobody, victim_writes, a_queue, act_release, false},
    {"release of a write before readers", nobody, victim_writes, readers_queue, act_release, false},
    {"release of the last reader before an upgrade", pending_upgrade_of_a_survivor, victim_reads, that_upgrades_now,
     act_release, false},
    {"withdrawal of a writer before a queue", a_reader, victim_writes, a_queue, act_withdraw, false},
    {"withdrawal of a grant", nobody, victim_writes, a_queue, act_withdraw, false},
    {"a waiter learns what it was granted or poked for", a_writer, victim_writes, release_of_the_writer_in_front,
     act_resume, false},
    {"time runs out", a_reader, victim_writes, a_queue, act_expire, false},
    {"downgrade before readers", nobody, victim_writes, readers_queue, act_downgrade, false},
    {"upgrade at once", nobody, victim_is_upgradable, a_queue, act_upgrade, false},
    {"upgrade behind a reader", a_reader, victim_is_upgradable, a_queue, act_upgrade, false},
    {"end of an upgrade", nobody, victim_upgrades, readers_queue, act_downgrade, false},
    {"withdrawal of an upgrade", a_reader, victim_upgrades, a_queue, act_withdraw_upgrade, false},
    {"repair after somebody else's death", a_reader, victim_is_idle, a_torn_gate, act_read, false},
    {"burial of somebody else", a_writer, victim_writes, a_dead_waiter, act_probe, false},
    {"a look at those in front", a_writer, victim_reads, a_queue, act_probe, false},
    {"attach", a_reader, victim_is_idle, a_queue, act_attach, true},
    {"detach before a queue", a_reader, victim_writes, a_queue, act_detach, false},
};
#define SCENES (sizeof scenes / sizeof scenes[0])

/* -- what has to hold after every death ------------------------------------------------------------------------------ */

static uint32_t word_of(const struct world *world, uint32_t index) {
    return atomic_load(&world->survivors[0].view.records[index].word);
}

static bool of_survivor(const struct world *world, const struct rwl_record *record) {
    for (int i = 0; i < SURVIVORS; i++) {
        if (record->slot == world->survivors[i].slot && record->generation == world->survivors[i].generation) {
            return true;
        }
    }
    return false;
}

static bool dead_writer_in(const struct world *world) {
    for (uint32_t index = 0; index < HOLDS; index++) {
        uint32_t word = word_of(world, index);
        if (rwl_word_state(word) == RWL_HELD && rwl_word_mode(word) == RWL_WRITE &&
            !of_survivor(world, &world->survivors[0].view.records[index])) {
            return true;
        }
    }
    return false;
}

static void check_exclusion(const struct world *world) {
    int readers = 0, upgradables = 0, writers = 0;
    for (uint32_t index = 0; index < HOLDS; index++) {
        uint32_t word = word_of(world, index);
        if (rwl_word_state(word) == RWL_HELD) {
            readers += rwl_word_mode(word) == RWL_READ;
            upgradables += rwl_word_mode(word) == RWL_UPGRADABLE;
            writers += rwl_word_mode(word) == RWL_WRITE;
        }
    }
    if (writers > 1 || upgradables > 1 || (writers != 0 && readers + upgradables != 0)) {
        fail("two have the lock who must not");
    }
}

static bool has(struct world *world, int who) {
    uint32_t word = rwl_lock_peek(&world->survivors[who], world->tokens[who]);
    return rwl_word_state(word) == RWL_HELD;
}

/* One turn of somebody who waits: it wakes after the cap, looks who is dead, and learns what it was granted. */
static void turn(struct world *world, int who) {
    struct rwl_context *context = &world->survivors[who];
    if (rwl_lock_probe(context, RWL_SLEEP, world->tokens[who], false) != RWL_DONE) {
        fail("a survivor cannot look");
    }
    check_exclusion(world);
    int answer = rwl_lock_resume(context, RWL_SLEEP, world->tokens[who]);
    if (answer == RWL_GRANTED) {
        check_exclusion(world);
        survivor_releases(world, who);
        check_exclusion(world);
    } else if (answer != RWL_WAITS) {
        fail("a survivor has lost its place");
    }
}

static void check_empty(struct world *world) {
    const struct rwl_cache *cache = &world->survivors[0].view.state->cache;
    uint32_t length = 0;
    for (uint32_t index = 0; index < HOLDS; index++) {
        if (word_of(world, index) != RWL_FREE) {
            fail("somebody is still in the table");
        }
    }
    for (uint32_t index = cache->free; index != RWL_NIL && length <= HOLDS; length++) {
        index = world->survivors[0].view.records[index].place.after;
    }
    if (cache->readers != 0 || cache->upgradable != RWL_NIL || cache->upgrading != RWL_NIL || cache->writer != RWL_NIL ||
        cache->contended != 0 || cache->young.length != 0 || length != HOLDS) {
        fail("the caches are not empty");
    }
}

static void check_recovery(struct world *world) {
    struct rwl_facts *facts = &world->survivors[0].view.state->facts;
    bool died = dead_writer_in(world) || atomic_load(&facts->writer_died);
    /* The first to notice may be a newcomer, too: a try that fails looks as well, and changes nothing. */
    for (int who = 0; who < SURVIVORS; who++) {
        if (world->held[who] && !has(world, who)) {
            fail("a survivor has lost its hold");
        }
    }
    for (int round = 0; round < 2 * SURVIVORS; round++) {
        for (int who = SURVIVORS - 1; who >= 0; who--) {
            if (world->tokens[who] != 0) {
                turn(world, who);
            }
        }
    }
    for (int who = 0; who < SURVIVORS; who++) {
        if (world->tokens[who] != 0) {
            fail("a survivor waits for ever");
        }
    }
    /* Somebody who comes later finds a free lock, whatever was left. */
    survivor_asks(world, 0, RWL_WRITE);
    for (int i = 0; i < 2 && !world->held[0]; i++) {
        rwl_lock_probe(&world->survivors[0], RWL_SLEEP, world->tokens[0], false);
        world->held[0] = rwl_lock_resume(&world->survivors[0], RWL_SLEEP, world->tokens[0]) == RWL_GRANTED;
    }
    if (!world->held[0]) {
        fail("the lock is not free in the end");
    }
    check_exclusion(world);
    survivor_releases(world, 0);
    check_empty(world);
    if (atomic_load(&facts->writer_died) != died) {
        fail("the wrong deaths are on record");
    }
}

/* -- stepping -------------------------------------------------------------------------------------------------------- */

static bool armed; /* in the child: from now on points count */

#ifdef RWL_FAULT_POINTS
void rwl_fault(void) {
    if (armed) {
        raise(SIGSTOP);
    }
}

static bool let_be_traced(void) { return true; }

static bool step(pid_t child) {
    int status;
    if (kill(child, SIGCONT) != 0 || waitpid(child, &status, WUNTRACED) != child) {
        fail("cannot step");
    }
    return WIFSTOPPED(status);
}
#else
static bool let_be_traced(void) { return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0; }

static bool step(pid_t child) {
    int status;
    if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) != 0 || waitpid(child, &status, 0) != child) {
        fail("cannot step");
    }
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}
#endif

static void set_up(const struct scene *scene, const struct rwl_policy *policy, struct world *world) {
    make_world(world, policy);
    scene->before(world);
}

/* The child: gets ready, stops, and acts once it is let go. The queue behind it is made while it is stopped. */
static void live(struct world *world, const struct scene *scene) {
    struct victim victim = {.token = 0};
    for (int i = 0; i < SURVIVORS; i++) {
        close(world->survivors[i].live_fd);
    }
    join_world(world, &victim.context);
    if (!scene->unattached && rwl_attach(&victim.context) != RWL_DONE) {
        _exit(3);
    }
    scene->prepare(world, &victim);
    if (!let_be_traced()) {
        _exit(REFUSED_BY_SYSTEM);
    }
    raise(SIGSTOP);
    armed = true;
    scene->act(&victim);
    _exit(0);
}

static pid_t start(struct world *world, const struct scene *scene) {
    pid_t child = fork();
    if (child == 0) {
        live(world, scene);
    }
    int status;
    if (waitpid(child, &status, WUNTRACED) != child || !WIFSTOPPED(status)) {
        if (WIFEXITED(status) && WEXITSTATUS(status) == REFUSED_BY_SYSTEM) {
            fprintf(stderr, "ptrace is refused here\n");
            exit(REFUSED_BY_SYSTEM);
        }
        fail("the child did not get ready");
    }
    scene->after(world);
    return child;
}

static void finish(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static long snapshots(const struct scene *scene, const struct rwl_policy *policy) {
    struct world world, mirror;
    set_up(scene, policy, &world);
    mirror_world(&world, &mirror);
    pid_t child = start(&world, scene);
    unsigned char *last = malloc(world.size);
    long steps = 0;
    memset(last, 0xff, world.size);
    while (step(child)) {
        steps++;
        if (memcmp(last, world.base, world.size) != 0) { /* most instructions leave no trace that others could see */
            memcpy(last, world.base, world.size);
            copy_world(&world, &mirror);
            check_recovery(&mirror);
        }
    }
    finish(child);
    free(last);
    end_world(&mirror);
    end_world(&world);
    return steps;
}

static void one_kill(const struct scene *scene, const struct rwl_policy *policy, long steps) {
    struct world world;
    set_up(scene, policy, &world);
    pid_t child = start(&world, scene);
    for (long i = 0; i < steps && step(child); i++) {
    }
    finish(child);
    check_recovery(&world);
    end_world(&world);
}

/* How many steps the operation takes. */
static long length_of(const struct scene *scene, const struct rwl_policy *policy) {
    struct world world;
    set_up(scene, policy, &world);
    pid_t child = start(&world, scene);
    long steps = 0;
    while (step(child)) {
        steps++;
    }
    finish(child);
    end_world(&world);
    return steps;
}

static bool chosen_with(double share) { return (double)rand() < share * (double)RAND_MAX; }

static long kills(const struct scene *scene, const struct rwl_policy *policy, double share) {
    long count = 0, length = length_of(scene, policy);
    for (long point = 0; point <= length; point++) {
        if (chosen_with(share)) {
            one_kill(scene, policy, point);
            count++;
        }
    }
    return count;
}

/* Before it is linked to its name nobody can see a segment; whoever opened it all the same would be refused up to the last
 * store. */
static long creation(void) {
    struct rwl_config config = {.max_processes = PROCESSES, .max_holds = HOLDS};
    config.policy = (struct rwl_policy){2, 2, RWL_NO_BOUND, RWL_NO_BOUND, RWL_NO_BOUND};
    memcpy(config.boot, boot, sizeof boot);
    uint64_t size = rwl_segment_size(PROCESSES, HOLDS);
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        let_be_traced();
        raise(SIGSTOP);
        armed = true;
        rwl_format(base, size, &config);
        _exit(0);
    }
    waitpid(child, NULL, WUNTRACED);
    long steps = 0;
    struct rwl_view view;
    unsigned char *accepted = NULL;
    while (step(child)) {
        steps++;
        if (accepted == NULL && rwl_inspect(base, size, boot, &view, &config) == RWL_CHECK_OK) {
            accepted = malloc(size);
            memcpy(accepted, base, size);
        }
    }
    finish(child);
    if (accepted == NULL && rwl_inspect(base, size, boot, &view, &config) == RWL_CHECK_OK) {
        return steps; /* too few points to see it happen */
    }
    if (accepted == NULL || memcmp(accepted, base, size) != 0) {
        fail("a segment is accepted before it is finished, or never");
    }
    free(accepted);
    munmap(base, size);
    return steps;
}

int main(int count, char **arguments) {
    static const uint32_t orders[4][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}};
    bool real = count == 4 && strcmp(arguments[1], "kills") == 0;
    if (count != 4 || (!real && strcmp(arguments[1], "snapshots") != 0)) {
        fprintf(stderr, "usage: killpoints snapshots|kills PERCENT SEED\n");
        return 2;
    }
    double share = atof(arguments[2]) / 100;
    srand((unsigned)atoi(arguments[3]));
    long total = creation();
    for (int p = 0; p < 4; p++) {
        struct rwl_policy policy = {orders[p][0], orders[p][1], RWL_NO_BOUND, RWL_NO_BOUND, RWL_NO_BOUND};
        for (size_t s = 0; s < SCENES; s++) {
            for (int young = 0; young < 2; young++) {
                patience = young ? RWL_FOREVER : 0;
                fprintf(stderr, "%s, policy %d, %s\n", scenes[s].name, p, young ? "young" : "spent");
                total += real                ? kills(&scenes[s], &policy, share)
                         : chosen_with(share) ? snapshots(&scenes[s], &policy)
                                              : 0;
            }
        }
    }
    printf("%ld kill points, every one recovered\n", total);
    return 0;
}
