/* Sleeping on words of the segment. The kernel finds a shared futex by file and offset, so that it does not matter where
 * each process has mapped it. */
#ifndef RWL_PORTABLE
#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

static enum rwl_slept futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t until) {
    if (until <= 0) {
        return RWL_TIMED_OUT; /* the system call would refuse it */
    }
    struct timespec deadline = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    /* The bit-set form takes an absolute time of the monotonic clock. */
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, &deadline, NULL, FUTEX_BITSET_MATCH_ANY) == 0) {
        return RWL_WOKEN;
    }
    return errno == ETIMEDOUT ? RWL_TIMED_OUT : errno == EINTR ? RWL_INTERRUPTED : RWL_WOKEN;
}

enum rwl_slept rwl_sleep_at_gate(const struct rwl_context *context, uint32_t seen, int64_t until) {
    return futex_wait(&context->view.state->gate, seen, until);
}

enum rwl_slept rwl_sleep_on_grant(const struct rwl_context *context, uint32_t index, uint32_t seen, int64_t until) {
    return futex_wait(&context->view.records[index].grant, seen, until);
}

void rwl_wake_at_gate(const struct rwl_context *context) {
    syscall(SYS_futex, &context->view.state->gate, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void rwl_wake_sleeper(const struct rwl_context *context, const struct rwl_wake *wake) {
    syscall(SYS_futex, &context->view.records[wake->index].grant, FUTEX_WAKE, 1, NULL, NULL, 0);
}
#else
typedef int rwl_no_futex; /* a translation unit must not be empty */
#endif
