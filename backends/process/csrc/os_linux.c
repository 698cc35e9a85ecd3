#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

int64_t rwl_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void rwl_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Open-file-description locks: of this very open file, so that neither a closed copy of the descriptor nor another open file
 * of this process takes them away. */
static struct flock range(int64_t byte, short type) {
    struct flock range;
    memset(&range, 0, sizeof range);
    range.l_type = type;
    range.l_whence = SEEK_SET;
    range.l_start = byte;
    range.l_len = 1;
    return range;
}

bool rwl_lock_byte(int fd, int64_t byte, bool exclusive) {
    struct flock lock = range(byte, exclusive ? F_WRLCK : F_RDLCK);
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

void rwl_unlock_byte(int fd, int64_t byte) {
    struct flock lock = range(byte, F_UNLCK);
    fcntl(fd, F_OFD_SETLK, &lock);
}

bool rwl_byte_locked(int fd, int64_t byte) {
    struct flock lock = range(byte, F_WRLCK);
    return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

bool rwl_on_network(int fd) {
    static const unsigned long kinds[] = {
        0x6969,     /* NFS */
        0xff534d42, /* CIFS */
        0xfe534d42, /* SMB 2 */
        0x517b,     /* SMB */
        0x00c36400, /* Ceph */
        0x5346414f, /* AFS */
        0x73757245, /* Coda */
        0x01021997, /* 9P */
        0x0bd00bd0, /* Lustre */
        0x01161970, /* GFS 2 */
        0x7461636f, /* OCFS 2 */
    };
    struct statfs found;
    if (fstatfs(fd, &found) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (((unsigned long)found.f_type & 0xffffffff) == kinds[i]) {
            return true;
        }
    }
    return false;
}

uint64_t rwl_pid_namespace(void) {
    struct stat found;
    return stat("/proc/self/ns/pid", &found) == 0 ? (uint64_t)found.st_ino : 0;
}

/* Field 22 of the stat file; the second one, a name in parentheses, may contain anything. */
uint64_t rwl_start_time(uint32_t pid) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    const char *field = strrchr(text, ')');
    for (int i = 2; i < 22 && field != NULL; i++) {
        field = strchr(field + 1, ' ');
    }
    unsigned long long ticks = 0;
    return field != NULL && sscanf(field, "%llu", &ticks) == 1 ? ticks : 0;
}

bool rwl_process_gone(uint32_t pid, uint64_t start_time, bool thorough) {
    if (pid == 0 || pid > INT32_MAX) {
        return false;
    }
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) {
        return true;
    }
    uint64_t now = thorough && start_time != 0 ? rwl_start_time(pid) : 0;
    return now != 0 && now != start_time;
}

bool rwl_bell_path(const struct rwl_context *context, const struct rwl_wake *wake, char *path, size_t size) {
    int length = snprintf(path, size, "%s%x-%x-%x", context->bells, wake->slot, wake->generation, wake->bell);
    return context->bells[0] != '\0' && length > 0 && (size_t)length < size;
}

bool rwl_ring_fifo(const char *path) {
    const int flags = O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(path, O_WRONLY | flags);
    if (fd < 0) {
        /* No such bell, or nobody has it open. Anything else says nothing about the listener. */
        return errno != ENXIO && errno != ENOENT;
    }
    /* The listener may leave just now, and a byte for nobody is a SIGPIPE: listen ourselves while it is written. */
    int listening = open(path, O_RDONLY | flags);
    if (listening >= 0) {
        ssize_t written = write(fd, "", 1); /* a full pipe was rung already */
        (void)written;
        close(listening);
    }
    close(fd);
    return true;
}

bool rwl_ring_bell(const struct rwl_context *context, const struct rwl_wake *wake) {
    char path[RWL_PATH];
    return !rwl_bell_path(context, wake, path, sizeof path) || rwl_ring_fifo(path);
}
