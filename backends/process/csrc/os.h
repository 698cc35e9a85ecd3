/* All that is asked of the operating system. Two files answer: `os_linux.c` for clocks, locks on bytes and processes, and
 * for sleeping either `wait_futex.c` or, with -DRWL_PORTABLE, `wait_fifo.c`. */
#ifndef RWL_OS_H
#define RWL_OS_H

#include "lock.h"

/* How a sleep ended. Early ends are allowed: a sleeper looks at what it waits for, not at why it woke. */
enum rwl_slept { RWL_WOKEN, RWL_TIMED_OUT, RWL_INTERRUPTED };

int64_t rwl_now(void);
void rwl_relax(void);

/* The lock on one byte of a file, of this open file description: exclusive or shared, never waited for. */
bool rwl_lock_byte(int fd, int64_t byte, bool exclusive);
void rwl_unlock_byte(int fd, int64_t byte);
/* Whether somebody else, whoever it may be, has the byte. Answers true when the question itself fails: errs towards life. */
bool rwl_byte_locked(int fd, int64_t byte);

/* Whether locks and memory of this file may be shared with another machine, where neither works. */
bool rwl_on_network(int fd);

uint64_t rwl_pid_namespace(void);
uint64_t rwl_start_time(uint32_t pid);
/* Whether no process of that number and start is there any more. `start_time` is looked at only if `thorough`. */
bool rwl_process_gone(uint32_t pid, uint64_t start_time, bool thorough);

/* Sleep while the gate's word, or the record's grant word, is `seen`, until then at most. */
enum rwl_slept rwl_sleep_at_gate(const struct rwl_context *context, uint32_t seen, int64_t until);
enum rwl_slept rwl_sleep_on_grant(const struct rwl_context *context, uint32_t index, uint32_t seen, int64_t until);
void rwl_wake_at_gate(const struct rwl_context *context);
void rwl_wake_sleeper(const struct rwl_context *context, const struct rwl_wake *wake);

/* Write a byte into the bell of an event loop. False if nobody listens there. */
bool rwl_ring_bell(const struct rwl_context *context, const struct rwl_wake *wake);
/* The path of a bell; false if it does not fit. */
bool rwl_bell_path(const struct rwl_context *context, const struct rwl_wake *wake, char *path, size_t size);
bool rwl_ring_fifo(const char *path);

#endif
