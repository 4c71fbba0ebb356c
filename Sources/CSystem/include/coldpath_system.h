// The few things of the machine that Swift cannot reach through Glibc.
#ifndef COLDPATH_SYSTEM_H
#define COLDPATH_SYSTEM_H

#include <stddef.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `count` bytes, continuing from `crc` (0 to begin).
uint32_t cp_crc32c(uint32_t crc, const void *bytes, size_t count);

// The same without the processor's instruction: what machines without SSE 4.2 run, and the test's oracle.
uint32_t cp_crc32c_portable(uint32_t crc, const void *bytes, size_t count);

// CRC-32C of two stretches of bytes one behind the other, from that of each; `second_count` bytes has the second.
uint32_t cp_crc32c_combine(uint32_t first, uint32_t second, uint64_t second_count);

// XXH32 with seed 0, the checksum of LZ4 frames, by libxxhash: five times as fast as the one inside liblz4 1.9.4.
uint32_t cp_xxh32(const void *bytes, size_t count);

// The same, piece by piece.
typedef struct cp_xxh32_state {
    uint64_t words[8];
} cp_xxh32_state;
void cp_xxh32_begin(cp_xxh32_state *state);
void cp_xxh32_add(cp_xxh32_state *state, const void *bytes, size_t count);
uint32_t cp_xxh32_end(const cp_xxh32_state *state);

// Which of the sixteen bytes at `text` are not decimal digits: bit i for byte i.
static inline uint32_t cp_not_digits(const uint8_t *text) {
#if defined(__SSE2__)
    __m128i bytes = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)text), _mm_set1_epi8('0'));
    __m128i digits = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(9)), bytes);
    return (uint32_t)_mm_movemask_epi8(digits) ^ 0xFFFF;
#else
    uint32_t mask = 0;
    for (int i = 0; i < 16; i++) mask |= (uint32_t)((uint8_t)(text[i] - '0') > 9) << i;
    return mask;
#endif
}

// Which of the sixteen bytes at `text` are a quote, a backslash, a control character, or not ASCII: bit i for byte i.
static inline uint32_t cp_not_plain_text(const uint8_t *text) {
#if defined(__SSE2__)
    __m128i bytes = _mm_loadu_si128((const __m128i *)text);
    __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i slashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    // Compared with their signs: what is not ASCII is negative.
    __m128i others = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, slashes), others));
#else
    uint32_t mask = 0;
    for (int i = 0; i < 16; i++)
        mask |= (uint32_t)(text[i] == '"' || text[i] == '\\' || text[i] < 0x20 || text[i] >= 0x80) << i;
    return mask;
#endif
}

// fallocate(2) with FALLOC_FL_KEEP_SIZE: reserves space without moving the end of the file. 0 or errno.
int cp_reserve(int descriptor, int64_t offset, int64_t count);

// fallocate(2) of a file's first `count` bytes, its size included. 0 or errno.
int cp_allocate(int descriptor, int64_t count);

// Blocks SIGTERM and SIGINT for the process and returns a descriptor that becomes readable when one arrives, or -1.
// SIGPIPE is ignored from then on: a peer that went away is an error of write(2), not a death.
int cp_stop_signals(void);

// A pipe whose ends no program inherits: 0, or -1 with errno.
int cp_pipe(int ends[2]);

// poll(2) with a wait in nanoseconds instead of milliseconds.
struct pollfd;
int cp_poll(struct pollfd *polled, size_t count, int64_t nanoseconds);

// Access to shared memory that its other owner may cut under our feet: what would be a SIGBUS is the answer EFAULT. The first
// call installs the handler; a SIGBUS anywhere else still ends the process.
int cp_guarded_copy(void *to, const void *from, size_t count);
// An acquire load and a release store.
int cp_guarded_load(uint64_t *to, const uint64_t *from);
int cp_guarded_store(uint64_t *to, uint64_t value);
int cp_guarded_load32(uint32_t *to, const uint32_t *from);

// mmap(2) of a ring's file for its reader: `header` bytes, the data behind them, and the same data once more. NULL and errno if it
// cannot be.
void *cp_map_ring(int descriptor, size_t header, size_t data);
void cp_unmap_ring(void *base, size_t header, size_t data);

// Locks the file's first byte against every other process that does the same, for as long as this descriptor is open; flock(2) locks
// are another kind and do not meet it. 0 or errno.
int cp_lock_byte(int descriptor);

// Binds the calling thread to one processor. 0 or errno.
int cp_pin_thread(int processor);

// inotify_init1(2) without blocking, or -1.
int cp_watch_open(void);
// Watches a directory for new, changed and renamed files; a watch descriptor, or -1.
int cp_watch_add(int watcher, const char *path);

#endif
