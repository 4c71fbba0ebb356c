#define _GNU_SOURCE
#include "coldpath_system.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static uint32_t table[256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1)));
        table[i] = crc;
    }
}

uint32_t cp_crc32c_portable(uint32_t crc, const void *bytes, size_t count) {
    pthread_once(&table_once, make_table);
    const uint8_t *p = bytes;
    crc = ~crc;
    while (count--) crc = (crc >> 8) ^ table[(crc ^ *p++) & 0xFF];
    return ~crc;
}

// Polynomials over GF(2) modulo the one of CRC-32C, lowest power in the highest bit.
static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        product ^= b & (0u - ((a & bit) != 0));
        b = (b >> 1) ^ (0x82F63B78u & (0u - (b & 1)));
    }
    return product;
}

static uint32_t powers[64];  // x to the power of 8 * 2^k
static pthread_once_t powers_once = PTHREAD_ONCE_INIT;

static void make_powers(void) {
    uint32_t power = 1u << 30;  // x
    for (int k = 0; k < 3; k++) power = multiply(power, power);
    for (int k = 0; k < 64; k++, power = multiply(power, power)) powers[k] = power;
}

// x to the power of 8 * count: what `count` more bytes do to a checksum.
static uint32_t shift_of(uint64_t count) {
    pthread_once(&powers_once, make_powers);
    uint32_t shift = 1u << 31;
    for (int k = 0; count; k++, count >>= 1)
        if (count & 1) shift = multiply(shift, powers[k]);
    return shift;
}

uint32_t cp_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_count) {
    return multiply(first, shift_of(second_count)) ^ second;
}

#if defined(__x86_64__)
// The instruction has a latency of three cycles and begins one each cycle: three stretches side by side, joined at their ends.
enum { STRETCH = 4096 };
static uint32_t stretch_tables[2][4][256];  // what one and two stretches do to each byte of a checksum
static pthread_once_t stretch_once = PTHREAD_ONCE_INIT;

static void make_stretch_tables(void) {
    for (int t = 0; t < 2; t++) {
        uint32_t shift = shift_of((uint64_t)STRETCH * (t + 1));
        for (int byte = 0; byte < 4; byte++)
            for (uint32_t value = 0; value < 256; value++) stretch_tables[t][byte][value] = multiply(value << (8 * byte), shift);
    }
}

static uint32_t shift_stretches(int count, uint32_t crc) {
    const uint32_t (*tables)[256] = stretch_tables[count - 1];
    return tables[0][crc & 0xFF] ^ tables[1][crc >> 8 & 0xFF] ^ tables[2][crc >> 16 & 0xFF] ^ tables[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *p = bytes;
    uint64_t state = ~crc;
    if (count >= 3 * STRETCH) pthread_once(&stretch_once, make_stretch_tables);
    for (; count >= 3 * STRETCH; count -= 3 * STRETCH, p += 3 * STRETCH) {
        uint64_t second = 0, third = 0;
        for (int i = 0; i < STRETCH; i += 8) {
            uint64_t words[3];
            memcpy(&words[0], p + i, 8);
            memcpy(&words[1], p + STRETCH + i, 8);
            memcpy(&words[2], p + 2 * STRETCH + i, 8);
            state = _mm_crc32_u64(state, words[0]);
            second = _mm_crc32_u64(second, words[1]);
            third = _mm_crc32_u64(third, words[2]);
        }
        state = shift_stretches(2, (uint32_t)state) ^ shift_stretches(1, (uint32_t)second) ^ (uint32_t)third;
    }
    for (; count >= 8; count -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        state = _mm_crc32_u64(state, word);
    }
    for (; count; count--) state = _mm_crc32_u8((uint32_t)state, *p++);
    return ~(uint32_t)state;
}
#endif

uint32_t cp_crc32c(uint32_t crc, const void *bytes, size_t count) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return crc32c_sse42(crc, bytes, count);
#endif
    return cp_crc32c_portable(crc, bytes, count);
}

int cp_reserve(int descriptor, int64_t offset, int64_t count) {
    return fallocate(descriptor, FALLOC_FL_KEEP_SIZE, offset, count) == 0 ? 0 : errno;
}

int cp_allocate(int descriptor, int64_t count) { return fallocate(descriptor, 0, 0, count) == 0 ? 0 : errno; }

int cp_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int cp_poll(struct pollfd *polled, size_t count, int64_t nanoseconds) {
    struct timespec wait = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    return ppoll(polled, (nfds_t)count, &wait, NULL);
}

int cp_stop_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cp_watch_open(void) { return inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }

int cp_watch_add(int watcher, const char *path) {
    return inotify_add_watch(watcher, path, IN_CREATE | IN_MODIFY | IN_MOVED_TO | IN_CLOSE_WRITE);
}
