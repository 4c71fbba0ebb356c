#define _GNU_SOURCE
#include "coldpath_system.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static __thread sigjmp_buf way_out;
static __thread volatile sig_atomic_t is_guarded;
static pthread_once_t installed = PTHREAD_ONCE_INIT;

static void on_bus_error(int signal_number) {
    if (is_guarded) {
        is_guarded = 0;
        siglongjmp(way_out, 1);
    }
    // Not ours: the access is tried again, and ends the process as it would have.
    signal(signal_number, SIG_DFL);
}

static void install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_bus_error;
    // Not blocked while it is handled: the jump leaves the handler without restoring a mask, which saves two calls a copy.
    action.sa_flags = SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

#define GUARDED(access)                      \
    pthread_once(&installed, install);       \
    if (sigsetjmp(way_out, 0)) return EFAULT; \
    is_guarded = 1;                          \
    __atomic_signal_fence(__ATOMIC_SEQ_CST); \
    access;                                  \
    __atomic_signal_fence(__ATOMIC_SEQ_CST); \
    is_guarded = 0;                          \
    return 0

int cp_guarded_copy(void *to, const void *from, size_t count) { GUARDED(memcpy(to, from, count)); }

int cp_guarded_load(uint64_t *to, const uint64_t *from) { GUARDED(*to = __atomic_load_n(from, __ATOMIC_ACQUIRE)); }

int cp_guarded_load32(uint32_t *to, const uint32_t *from) { GUARDED(*to = __atomic_load_n(from, __ATOMIC_ACQUIRE)); }

int cp_guarded_store(uint64_t *to, uint64_t value) { GUARDED(__atomic_store_n(to, value, __ATOMIC_RELEASE)); }

void *cp_map_ring(int descriptor, size_t header, size_t data) {
    size_t whole = header + 2 * data;
    unsigned char *base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return NULL;
    void *first = mmap(base, header + data, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, 0);
    void *second = mmap(base + header + data, data, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, (off_t)header);
    if (first == MAP_FAILED || second == MAP_FAILED) {
        int code = errno;
        munmap(base, whole);
        errno = code;
        return NULL;
    }
    return base;
}

void cp_unmap_ring(void *base, size_t header, size_t data) { munmap(base, header + 2 * data); }

int cp_lock_byte(int descriptor) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    return fcntl(descriptor, F_OFD_SETLK, &range) == 0 ? 0 : errno;
}

int cp_pin_thread(int processor) {
    if (processor < 0 || processor >= CPU_SETSIZE) return EINVAL;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}
