/* Sleeping without a futex, for systems that have none between processes: every sleeper opens a FIFO of its own, named
 * after its record, and whoever grants writes a byte into it.
 *
 * No wake-up is lost: the sleeper opens its FIFO first and looks at its word then, the waker changes the word first and
 * opens the FIFO then. Whichever comes second sees the other. */
#ifdef RWL_PORTABLE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

static bool own_path(const struct rwl_context *context, uint32_t index, char *path, size_t size) {
    int length = snprintf(path, size, "%srecord-%x", context->bells, index);
    return context->bells[0] != '\0' && length > 0 && (size_t)length < size;
}

static void nap(int64_t nanoseconds) {
    struct timespec time = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    nanosleep(&time, NULL);
}

/* The gate is held for well under a microsecond, unless its owner was stopped or died: a nap is all it takes. */
enum rwl_slept rwl_sleep_at_gate(const struct rwl_context *context, uint32_t seen, int64_t until) {
    const int64_t longest = 500000;
    int64_t left = until - rwl_now();
    (void)context;
    (void)seen;
    if (left <= 0) {
        return RWL_TIMED_OUT;
    }
    nap(left < longest ? left : longest);
    return RWL_WOKEN;
}

void rwl_wake_at_gate(const struct rwl_context *context) { (void)context; }

enum rwl_slept rwl_sleep_on_grant(const struct rwl_context *context, uint32_t index, uint32_t seen, int64_t until) {
    char path[RWL_PATH], byte;
    int64_t left = until - rwl_now();
    if (left <= 0) {
        return RWL_TIMED_OUT;
    }
    int milliseconds = (int)(left / 1000000) + 1;
    int fd = -1;
    if (own_path(context, index, path, sizeof path) && (mkfifo(path, 0600) == 0 || errno == EEXIST)) {
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    }
    if (fd < 0) { /* without a bell, look again soon */
        nap(left < 1000000 ? left : 1000000);
        return RWL_WOKEN;
    }
    enum rwl_slept slept = RWL_WOKEN;
    if (atomic_load_explicit(&context->view.records[index].grant, memory_order_seq_cst) == seen) {
        struct pollfd wanted = {.fd = fd, .events = POLLIN};
        int ready = poll(&wanted, 1, milliseconds);
        slept = ready == 0 ? RWL_TIMED_OUT : ready < 0 && errno == EINTR ? RWL_INTERRUPTED : RWL_WOKEN;
    }
    while (read(fd, &byte, 1) == 1) {
    }
    close(fd);
    return slept;
}

void rwl_wake_sleeper(const struct rwl_context *context, const struct rwl_wake *wake) {
    char path[RWL_PATH];
    if (own_path(context, wake->index, path, sizeof path)) {
        rwl_ring_fifo(path);
    }
}
#else
typedef int rwl_no_fifo; /* a translation unit must not be empty */
#endif
