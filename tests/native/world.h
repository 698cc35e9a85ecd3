/* A segment in memory of its own, and people who live in it, each with an open file of its own. For tests. */
#ifndef RWL_WORLD_H
#define RWL_WORLD_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lock.h"
#include "os.h"

static const uint8_t world_boot[16] = "the same boot..";

static inline void fail(const char *what) {
    fprintf(stderr, "FAILED: %s\n", what);
    abort();
}

static inline int make_file(const struct rwl_policy *policy, uint32_t processes, uint32_t holds) {
    struct rwl_config config = {.max_processes = processes, .max_holds = holds, .policy = *policy};
    memcpy(config.boot, world_boot, sizeof world_boot);
    uint64_t size = rwl_segment_size(processes, holds);
    int fd = memfd_create("rwlocks test", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
        fail("no memory");
    }
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED || !rwl_format(base, size, &config)) {
        fail("cannot format");
    }
    munmap(base, size);
    return fd;
}

static inline void *map_file(int fd, uint64_t size) {
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        fail("cannot map");
    }
    return base;
}

static inline void join_file(struct rwl_context *context, int fd, void *base, uint64_t size) {
    struct rwl_config config;
    char path[64];
    const char *bells = getenv("BELLS"); /* how the paths of FIFOs begin, for the variant that needs them */
    memset(context, 0, sizeof *context);
    snprintf(context->bells, sizeof context->bells, "%s", bells == NULL ? "" : bells);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    context->live_fd = open(path, O_RDWR | O_CLOEXEC);
    if (context->live_fd < 0 || rwl_inspect(base, size, world_boot, &context->view, &config) != RWL_CHECK_OK ||
        rwl_attach(context) != RWL_DONE) {
        fail("cannot attach");
    }
}

#endif
