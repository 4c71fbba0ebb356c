// The rows of the rings' kill test: what ring_producer publishes is what ring_count must find.
#ifndef RING_ROWS_H
#define RING_ROWS_H

#include <stdint.h>
#include <string.h>

#define TABLES 2
#define MAX_RINGS 2    /* of one producer */
#define MAX_NOTE 400
#define MAX_LEVELS 6
#define DAY 86400000000000ll
#define ROWS_A_DAY 3000 /* of one ring: so that days change within batches */

// Everything about a row follows from these, so that both sides can make it.
typedef struct row_key {
    uint32_t producer; // of the test's eight, times MAX_RINGS, plus the ring
    uint32_t life;     // of that producer
    uint64_t n;        // counted by ring, over both tables
} row_key;

typedef struct row_values {
    int64_t ts;
    uint64_t check; // of everything else: a row that was half written, or mixed of two, shows
    char kind[16];
    char note[MAX_NOTE];
    uint32_t note_bytes;
    uint32_t levels[MAX_LEVELS];
    uint32_t level_count;
} row_values;

static inline uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

static inline uint64_t key_hash(row_key key) { return mix(mix((uint64_t)key.producer << 32 | key.life) ^ key.n); }

static inline uint32_t table_of(row_key key) { return key_hash(key) % 3 == 0; }

static inline uint64_t fold(uint64_t hash, const void *bytes, size_t count) {
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < count; i++) hash = (hash ^ p[i]) * 0x100000001B3ull;
    return hash;
}

static inline uint64_t check_of(row_key key, int64_t ts, const char *kind, size_t kind_bytes, const char *note, size_t note_bytes,
                                const void *levels, size_t level_bytes) {
    uint64_t hash = 0xCBF29CE484222325ull;
    hash = fold(hash, &key.producer, 4);
    hash = fold(hash, &key.life, 4);
    hash = fold(hash, &key.n, 8);
    hash = fold(hash, &ts, 8);
    hash = fold(hash, kind, kind_bytes);
    hash = fold(hash, note, note_bytes);
    return fold(hash, levels, level_bytes);
}

#endif
