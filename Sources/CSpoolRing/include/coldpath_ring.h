// The shared-memory ring between a trading thread and spool-writer: its layout (docs/ring.md) and the producer's side.
//
// This one header is all that a C11 or C++17 producer needs; there is nothing to link. `spool-writer codegen --lang c` makes
// typed rows on top of it. One ring has one producing thread. spool_ring_claim and spool_ring_commit make no system call, take
// no lock and allocate nothing; everything else in here is for before and after.
//
//     spool_ring ring;
//     if (spool_ring_open(&ring, "/run/coldpath/rings", "maker", 0, tables, 1) != 0) { fputs(ring.error, stderr); ... }
//     unsigned char *row = spool_ring_claim(&ring, 0, bytes);   // NULL: full, and counted
//     ... fill `bytes` bytes ...
//     spool_ring_commit(&ring, 0, bytes);                       // one store: the row is accepted
//     spool_ring_close(&ring);
#ifndef COLDPATH_RING_H
#define COLDPATH_RING_H

// For mmap's flags and flock where the compiler runs in strict C11; with other headers before this one, give -D_DEFAULT_SOURCE. Not
// _GNU_SOURCE: in Swift the C library's own module is compiled without, and the two would contradict each other.
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if !defined(__x86_64__) && !(defined(__aarch64__) && defined(__AARCH64EL__))
#error "rings are little endian: x86-64 and AArch64"
#endif

// ---- Layout (docs/ring.md §2 to §6). Positions count bytes since the ring's birth and never wrap.

#define SPOOL_RING_MAGIC 0x31474E4952445043ull /* "CPDRING1" */
#define SPOOL_RING_VERSION 1

#define SPOOL_RING_PRODUCER_PAGE 4096
#define SPOOL_RING_CONSUMER_PAGE 8192
#define SPOOL_RING_TABLES 12288 /* where the table declarations begin */

#define SPOOL_RING_MAX_TABLES 64
#define SPOOL_RING_MAX_COLUMNS 1024
#define SPOOL_RING_MAX_DECLARATION_BYTES (1 << 20)
#define SPOOL_RING_MAX_ROW_BYTES 65536 /* of a row's fixed part */
#define SPOOL_RING_MAX_RECORD_BYTES (1 << 20)
#define SPOOL_RING_MIN_DATA_BYTES (64 << 10)
#define SPOOL_RING_MAX_DATA_BYTES (1ull << 32)
#define SPOOL_RING_MAX_NAMES_BYTES (16 << 20)
#define SPOOL_RING_MAX_NAME_BYTES 255 /* of one interned name */
#define SPOOL_RING_DEFAULT_DATA_BYTES (4 << 20)
#define SPOOL_RING_DEFAULT_NAMES_BYTES (64 << 10)

// The first page: written before the file has its name, and never changed.
typedef struct spool_ring_identity {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes; // where the data begin: a multiple of the page size
    uint64_t data_bytes;   // a power of two
    uint64_t ring_id;      // random
    uint64_t created;      // nanoseconds since the Unix epoch
    uint32_t process;      // pid of the producer
    uint32_t table_count;
    uint32_t tables_bytes; // of the declarations
    uint32_t names_offset; // where the interned names begin
    uint32_t names_bytes;
    uint32_t checksum;     // CRC-32C of this structure with 0 here, then of the declarations
    char producer[64];     // its name, ended by zeros
} spool_ring_identity;

// The second page: written by the producer alone.
typedef struct spool_ring_producer_page {
    uint64_t write_position; // every byte before it is part of a committed record
    char line[120];
    uint64_t full_rows[SPOOL_RING_MAX_TABLES]; // rows that found the ring full, by table
    uint64_t too_long_rows;                    // rows of more than SPOOL_RING_MAX_RECORD_BYTES, or a quarter of the ring
    uint32_t closed;                           // 1 once the producer has closed it
} spool_ring_producer_page;

// The third page: written by the writer alone.
typedef struct spool_ring_consumer_page {
    uint64_t durable_position; // rows before it are durable or refused; their bytes may be used again
    char line[120];
    uint64_t taken_position;   // rows before it are in the writer's memory
    uint64_t loaded_position;  // rows before it are in ClickHouse, where the writer can see the checkpoints
    uint64_t refused_rows;     // rows with a value that does not fit its column
    uint64_t refused_position; // up to where they are counted
    uint32_t state;            // spool_ring_state
    uint32_t reserved;
    uint8_t table_state[SPOOL_RING_MAX_TABLES]; // spool_table_state
} spool_ring_consumer_page;

enum spool_ring_state {
    SPOOL_RING_WAITING = 0,  // no writer has seen it yet
    SPOOL_RING_ATTACHED = 1, // a writer drains it
    SPOOL_RING_SET_ASIDE = 2, // a writer found it corrupt: nothing more is taken from it
    SPOOL_RING_HELD = 3 // a table does not fit the writer's schemas: nothing is taken and nothing lost, until another writer can
};

enum spool_table_state {
    SPOOL_TABLE_UNSEEN = 0,
    SPOOL_TABLE_TAKEN = 1,  // rows are recorded
    SPOOL_TABLE_REFUSED = 2 // the declaration does not fit the schemas: the ring is held, and the writer's log says why
};

// How a column lies in a row's fixed part.
enum spool_storage {
    SPOOL_FIXED = 0,  // the bytes of ClickHouse's Native format, little endian
    SPOOL_STRING = 1, // spool_slot: bytes in the tail
    SPOOL_NAME = 2,   // u32: 0 is "", 1... an interned name, SPOOL_NAME_INLINE + offset a u32 length and its bytes in the tail
    SPOOL_ARRAY = 3   // spool_slot: `count` elements in the tail, fixed values or spool_slots of strings
};

#define SPOOL_NAME_INLINE 0x80000000u
#define SPOOL_NOT_NULLABLE 0xFFFFFFFFu

// Where something of variable size lies: offset from the row's first byte, and bytes of a string or elements of an array.
typedef struct spool_slot {
    uint32_t offset;
    uint32_t count;
} spool_slot;

// The word before each row; rows begin at multiples of eight.
typedef struct spool_record {
    uint32_t bytes; // of the record, with this word: a multiple of eight
    uint16_t table; // index of the declaration
    uint16_t zero;
} spool_record;

// ---- Declarations, as a producer gives them.

typedef struct spool_column {
    const char *name;
    const char *type; // as the schema writes it, such as "Nullable(Decimal(38, 10))"
    uint32_t storage; // spool_storage
    uint32_t offset;      // in the row
    uint32_t null_offset; // of the byte that is 1 for null, or SPOOL_NOT_NULLABLE
} spool_column;

typedef struct spool_table {
    const char *name;
    uint64_t fingerprint; // of the schema that the code was made from; 0 if there was none
    uint32_t row_bytes;   // of the fixed part
    uint32_t column_count;
    const spool_column *columns;
} spool_table;

// ---- The producer's handle. What publishing touches stands first, in one cache line.

typedef struct spool_ring {
    unsigned char *data; // mapped twice, back to back, so that a row never wraps
    uint64_t position;   // of the next record
    uint64_t limit;      // the durable position as last seen, plus data_bytes
    uint64_t mask;
    spool_ring_producer_page *producer;
    spool_ring_consumer_page *consumer;
    uint32_t max_record;
    int descriptor;

    unsigned char *base;
    uint64_t data_bytes;
    uint64_t header_bytes;
    uint64_t ring_id;
    // Interned names: a hash table of ids in this process, the bytes in shared memory.
    unsigned char *names;
    uint32_t names_bytes;
    uint32_t names_used;
    uint32_t name_count;
    uint32_t slot_mask;
    uint32_t *slots; // id of a name, or 0
    uint32_t *entries; // offset of each name, by id - 1
    uint64_t name_token; // of this ring, in the upper half: an id of another ring is told by it
    // Declarations by their keys, so that a row finds its table whatever the order in which the ring was given them.
    uint64_t table_keys[SPOOL_RING_MAX_TABLES]; // at key mod 64, or behind; 0 is free
    uint8_t table_indices[SPOOL_RING_MAX_TABLES];
    pid_t process; // that opened it; a forked child has this handle, but not the memory
    char path[512];
    char error[768]; // what failed, where, and what to do
} spool_ring;

// ---- Publishing.

// In 64 bits: a row of almost 4 GiB must come out as too long, not as short.
#define SPOOL_RECORD_BYTES(row_bytes) (((uint64_t)(row_bytes) + sizeof(spool_record) + 7u) & ~(uint64_t)7)

// The slow half of spool_ring_claim: looks how far the writer has come; counts the row if there is still no room.
__attribute__((noinline, cold, unused)) static int spool_ring_make_room(spool_ring *ring, uint32_t table, uint64_t bytes) {
    if (bytes > ring->max_record) {
        __atomic_store_n(&ring->producer->too_long_rows, ring->producer->too_long_rows + 1, __ATOMIC_RELAXED);
        return 0;
    }
    ring->limit = __atomic_load_n(&ring->consumer->durable_position, __ATOMIC_ACQUIRE) + ring->data_bytes;
    if (ring->position + bytes <= ring->limit) return 1;
    uint64_t *full = &ring->producer->full_rows[table < SPOOL_RING_MAX_TABLES ? table : 0];
    __atomic_store_n(full, *full + 1, __ATOMIC_RELAXED);
    return 0;
}

// Room for a row of `row_bytes` bytes (fixed part and tail), aligned to eight, or NULL if the ring is full or the row is too
// long: then the row is counted, by table, and nothing is kept. A claim without commit leaves nothing.
static inline unsigned char *spool_ring_claim(spool_ring *ring, uint32_t table, uint32_t row_bytes) {
    uint64_t bytes = SPOOL_RECORD_BYTES(row_bytes);
    if (__builtin_expect((ring->position + bytes > ring->limit) | (bytes > ring->max_record), 0)) {
        if (!spool_ring_make_room(ring, table, bytes)) return NULL;
    }
    return ring->data + (ring->position & ring->mask) + sizeof(spool_record);
}

// Publishes the row that was claimed last with the same size: from here it survives the death of this process and of the writer.
static inline void spool_ring_commit(spool_ring *ring, uint32_t table, uint32_t row_bytes) {
    uint64_t bytes = SPOOL_RECORD_BYTES(row_bytes);
    uint64_t word = bytes | (uint64_t)(uint16_t)table << 32;
    memcpy(ring->data + (ring->position & ring->mask), &word, sizeof word);
    ring->position += bytes;
    __atomic_store_n(&ring->producer->write_position, ring->position, __ATOMIC_RELEASE);
    // The next record's lines were last read by the writer's processor: fetch them while this thread does other things.
    unsigned char *next = ring->data + (ring->position & ring->mask);
    __builtin_prefetch(next + 64, 1);
    __builtin_prefetch(next + 128, 1);
}

// Copies a short text, without a call for up to 32 bytes: two overlapping moves never touch a byte that is not the text's.
static inline void spool_copy(unsigned char *to, const void *from, uint32_t count) {
    const unsigned char *source = (const unsigned char *)from;
    if (count >= 16 && count <= 32) {
        uint64_t a, b, c, d;
        memcpy(&a, source, 8);
        memcpy(&b, source + 8, 8);
        memcpy(&c, source + count - 16, 8);
        memcpy(&d, source + count - 8, 8);
        memcpy(to, &a, 8);
        memcpy(to + 8, &b, 8);
        memcpy(to + count - 16, &c, 8);
        memcpy(to + count - 8, &d, 8);
    } else if (count >= 8 && count < 16) {
        uint64_t a, b;
        memcpy(&a, source, 8);
        memcpy(&b, source + count - 8, 8);
        memcpy(to, &a, 8);
        memcpy(to + count - 8, &b, 8);
    } else if (count >= 4 && count < 8) {
        uint32_t a, b;
        memcpy(&a, source, 4);
        memcpy(&b, source + count - 4, 4);
        memcpy(to, &a, 4);
        memcpy(to + count - 4, &b, 4);
    } else if (count > 32) {
        memcpy(to, source, count);
    } else {
        for (uint32_t i = 0; i < count; i++) to[i] = source[i];
    }
}

// ---- Watermarks: plain loads, no system call.

// The position after the last row: durable once spool_ring_durable is there.
static inline uint64_t spool_ring_position(const spool_ring *ring) { return ring->position; }

// Rows before this position are durable (or refused) in the spool.
static inline uint64_t spool_ring_durable(const spool_ring *ring) {
    return __atomic_load_n(&ring->consumer->durable_position, __ATOMIC_ACQUIRE);
}

// Rows before this position are in the writer's memory. From half a ring on that waits to be taken, a writer thins market rows.
static inline uint64_t spool_ring_taken(const spool_ring *ring) {
    return __atomic_load_n(&ring->consumer->taken_position, __ATOMIC_ACQUIRE);
}

// Rows before this position are in ClickHouse. Stays 0 unless the writer can see the loader's checkpoints.
static inline uint64_t spool_ring_loaded(const spool_ring *ring) {
    return __atomic_load_n(&ring->consumer->loaded_position, __ATOMIC_ACQUIRE);
}

// Rows that were refused: the writer's log says why.
static inline uint64_t spool_ring_refused(const spool_ring *ring) {
    return __atomic_load_n(&ring->consumer->refused_rows, __ATOMIC_RELAXED);
}

// Rows of a table that found the ring full.
static inline uint64_t spool_ring_full(const spool_ring *ring, uint32_t table) {
    return table < SPOOL_RING_MAX_TABLES ? ring->producer->full_rows[table] : 0;
}

static inline enum spool_ring_state spool_ring_state_now(const spool_ring *ring) {
    return (enum spool_ring_state)__atomic_load_n(&ring->consumer->state, __ATOMIC_ACQUIRE);
}

static inline enum spool_table_state spool_ring_table_state(const spool_ring *ring, uint32_t table) {
    if (table >= SPOOL_RING_MAX_TABLES) return SPOOL_TABLE_UNSEEN;
    return (enum spool_table_state)__atomic_load_n(&ring->consumer->table_state[table], __ATOMIC_ACQUIRE);
}

// ---- Interned names.

static inline uint32_t spool_name_hash(const unsigned char *bytes, uint32_t count) {
    uint64_t hash = 0xcbf29ce484222325ull;
    for (uint32_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    return (uint32_t)(hash ^ hash >> 32);
}

// The id of a name that repeats (a symbol, a strategy): a row then carries four bytes for it. Some 10 ns for a known name, more
// for a new one, so intern before the hot loop and keep the id.
//
// Returns the id (0 for the empty name); SPOOL_NAME_INLINE if the name is longer than 255 bytes or the ring has no room for more
// names: then the row must carry the bytes themselves.
__attribute__((unused)) static uint32_t spool_ring_intern(spool_ring *ring, const void *bytes, uint32_t count) {
    if (count == 0) return 0;
    if (count > SPOOL_RING_MAX_NAME_BYTES) return SPOOL_NAME_INLINE;
    uint32_t slot = spool_name_hash((const unsigned char *)bytes, count) & ring->slot_mask;
    while (ring->slots[slot] != 0) {
        const unsigned char *entry = ring->names + ring->entries[ring->slots[slot] - 1];
        uint16_t length;
        memcpy(&length, entry, sizeof length);
        if (length == count && memcmp(entry + sizeof length, bytes, count) == 0) return ring->slots[slot];
        slot = (slot + 1) & ring->slot_mask;
    }
    if (ring->names_used + sizeof(uint16_t) + count > ring->names_bytes) return SPOOL_NAME_INLINE;
    if (ring->name_count >= ring->slot_mask / 2) return SPOOL_NAME_INLINE;
    uint16_t length = (uint16_t)count;
    memcpy(ring->names + ring->names_used, &length, sizeof length);
    memcpy(ring->names + ring->names_used + sizeof length, bytes, count);
    ring->entries[ring->name_count] = ring->names_used;
    ring->names_used += (uint32_t)sizeof length + count;
    ring->name_count += 1;
    ring->slots[slot] = ring->name_count;
    // The bytes before the count, and both before the first row that uses the id.
    __atomic_store_n((uint32_t *)(void *)ring->names, ring->name_count, __ATOMIC_RELEASE);
    return ring->name_count;
}

// ---- Opening and closing.

static inline uint32_t spool_crc32c(uint32_t crc, const void *bytes, size_t count) {
    const unsigned char *p = (const unsigned char *)bytes;
    crc = ~crc;
    while (count--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1)));
    }
    return ~crc;
}

typedef struct spool_bytes {
    unsigned char *start;
    size_t used;
    size_t room;
} spool_bytes;

static inline void spool_bytes_put(spool_bytes *bytes, const void *source, size_t count) {
    if (bytes->used + count <= bytes->room) memcpy(bytes->start + bytes->used, source, count);
    bytes->used += count;
}

// The declarations as bytes (docs/ring.md §4): how many there are; written as far as there is room.
__attribute__((unused)) static size_t spool_encode_tables(
    unsigned char *to, size_t room, const spool_table *tables, uint32_t table_count) {
    spool_bytes out = {to, 0, room};
    for (uint32_t t = 0; t < table_count; t++) {
        const spool_table *table = &tables[t];
        uint8_t name_bytes = (uint8_t)strlen(table->name);
        uint16_t columns = (uint16_t)table->column_count;
        spool_bytes_put(&out, &name_bytes, 1);
        spool_bytes_put(&out, table->name, name_bytes);
        spool_bytes_put(&out, &table->fingerprint, 8);
        spool_bytes_put(&out, &table->row_bytes, 4);
        spool_bytes_put(&out, &columns, 2);
        for (uint32_t c = 0; c < table->column_count; c++) {
            const spool_column *column = &table->columns[c];
            uint8_t column_bytes = (uint8_t)strlen(column->name);
            uint16_t type_bytes = (uint16_t)strlen(column->type);
            uint8_t storage = (uint8_t)column->storage;
            spool_bytes_put(&out, &column_bytes, 1);
            spool_bytes_put(&out, column->name, column_bytes);
            spool_bytes_put(&out, &type_bytes, 2);
            spool_bytes_put(&out, column->type, type_bytes);
            spool_bytes_put(&out, &storage, 1);
            spool_bytes_put(&out, &column->offset, 4);
            spool_bytes_put(&out, &column->null_offset, 4);
        }
    }
    return out.used;
}

// What tells a declaration from every other: FNV-1a of its bytes. Two tables with the same columns differ by their names, two
// layouts of one schema by their offsets.
static inline uint64_t spool_table_key(const unsigned char *declaration, size_t count) {
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < count; i++) hash = (hash ^ declaration[i]) * 0x100000001b3ull;
    return hash;
}

// Remembers where each declaration stands. The bytes are those of spool_encode_tables.
__attribute__((unused)) static void spool_ring_index_tables(
    spool_ring *ring, const unsigned char *bytes, const spool_table *tables, uint32_t table_count) {
    for (uint32_t t = 0; t < table_count; t++) {
        size_t count = spool_encode_tables(NULL, 0, &tables[t], 1);
        uint64_t key = spool_table_key(bytes, count);
        bytes += count;
        uint32_t slot = (uint32_t)key % SPOOL_RING_MAX_TABLES;
        while (ring->table_keys[slot] != 0) slot = (slot + 1) % SPOOL_RING_MAX_TABLES;
        ring->table_keys[slot] = key;
        ring->table_indices[slot] = (uint8_t)t;
    }
}

// The index of the declaration with this key, or -1 if the ring was opened without it. The key is a constant of the generated
// code, so this is one comparison.
static inline int32_t spool_ring_find_table(const spool_ring *ring, uint64_t key) {
    uint32_t slot = (uint32_t)key % SPOOL_RING_MAX_TABLES;
    if (__builtin_expect(ring->table_keys[slot] == key, 1)) return ring->table_indices[slot];
    for (uint32_t i = 1; i < SPOOL_RING_MAX_TABLES; i++) {
        uint32_t other = (slot + i) % SPOOL_RING_MAX_TABLES;
        if (ring->table_keys[other] == key) return ring->table_indices[other];
    }
    return -1;
}

// What is wrong with what the caller asks for; NULL if nothing.
__attribute__((unused)) static const char *spool_ring_complaint(
    const char *producer, uint64_t data_bytes, uint32_t names_bytes, const spool_table *tables, uint32_t table_count) {
    size_t length = producer ? strlen(producer) : 0;
    if (length == 0 || length >= sizeof(((spool_ring_identity *)0)->producer)) return "the producer's name must have 1 to 63 characters";
    for (size_t i = 0; i < length; i++) {
        char c = producer[i];
        int ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || (c == '.' && i > 0);
        if (!ok) return "the producer's name may have A-Z a-z 0-9 . - _ and must not begin with a dot";
    }
    if (data_bytes < SPOOL_RING_MIN_DATA_BYTES || data_bytes > SPOOL_RING_MAX_DATA_BYTES || (data_bytes & (data_bytes - 1)) != 0)
        return "the ring's size must be a power of two from 64 KiB to 4 GiB";
    if (names_bytes < 64 || names_bytes > SPOOL_RING_MAX_NAMES_BYTES) return "the room for names must be 64 bytes to 16 MiB";
    if (table_count == 0 || table_count > SPOOL_RING_MAX_TABLES) return "a ring has 1 to 64 tables";
    for (uint32_t t = 0; t < table_count; t++) {
        // What the writer would set the ring aside for is said here, where somebody sees it.
        if (strlen(tables[t].name) == 0 || strlen(tables[t].name) > 64) return "a table's name must have 1 to 64 characters";
        if (tables[t].row_bytes == 0 || tables[t].row_bytes > SPOOL_RING_MAX_ROW_BYTES) return "a table's row must have 1 to 65536 bytes";
        for (uint32_t other = 0; other < t; other++)
            if (strcmp(tables[other].name, tables[t].name) == 0) return "a table is declared twice";
        if (tables[t].column_count == 0 || tables[t].column_count > SPOOL_RING_MAX_COLUMNS) return "a table has 1 to 1024 columns";
        for (uint32_t c = 0; c < tables[t].column_count; c++)
            if (strlen(tables[t].columns[c].name) > 255 || strlen(tables[t].columns[c].type) > 65535) return "a column's name or type is too long";
    }
    return NULL;
}

__attribute__((unused)) static int spool_ring_fail(spool_ring *ring, int code, const char *what, const char *advice) {
    snprintf(ring->error, sizeof ring->error, "ring: %s %s: %s%s%s", what, ring->path, strerror(code), advice[0] ? "; " : "", advice);
    if (ring->base) munmap(ring->base, (size_t)(ring->header_bytes + 2 * ring->data_bytes));
    if (ring->descriptor >= 0) close(ring->descriptor);
    free(ring->slots);
    free(ring->entries);
    ring->base = NULL;
    ring->slots = ring->entries = NULL;
    ring->descriptor = -1;
    return code;
}

// Maps the file: header and data, then the data again behind them.
__attribute__((unused)) static int spool_ring_map(spool_ring *ring) {
    size_t whole = (size_t)(ring->header_bytes + 2 * ring->data_bytes);
    void *base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return errno;
    ring->base = (unsigned char *)base;
    // Populated now: the first write to a page would else cost microseconds in the hot path.
    int flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE;
    size_t first = (size_t)(ring->header_bytes + ring->data_bytes);
    if (mmap(base, first, PROT_READ | PROT_WRITE, flags, ring->descriptor, 0) == MAP_FAILED) return errno;
    if (mmap(ring->base + first, (size_t)ring->data_bytes, PROT_READ | PROT_WRITE, flags, ring->descriptor, (off_t)ring->header_bytes) == MAP_FAILED)
        return errno;
    // A forked child must not publish into its parent's ring: there it is not mapped.
    madvise(base, whole, MADV_DONTFORK);
    ring->producer = (spool_ring_producer_page *)(void *)(ring->base + SPOOL_RING_PRODUCER_PAGE);
    ring->consumer = (spool_ring_consumer_page *)(void *)(ring->base + SPOOL_RING_CONSUMER_PAGE);
    ring->data = ring->base + ring->header_bytes;
    return 0;
}

// Creates a ring in `directory` for the calling thread.
//
//   producer     a name for people, in file names and logs
//   data_bytes   a power of two; 0 for 4 MiB. At 25,000 rows/s of 128 bytes, 1 MiB holds 300 ms
//   names_bytes  room for interned names; 0 for 64 KiB
//
// Returns 0, or an errno with ring->error as a sentence. The writer need not run: it finds the ring when it does.
__attribute__((unused)) static int spool_ring_open_sized(
    spool_ring *ring, const char *directory, const char *producer, uint64_t data_bytes, uint32_t names_bytes,
    const spool_table *tables, uint32_t table_count) {
    memset(ring, 0, sizeof *ring);
    ring->descriptor = -1;
    if (data_bytes == 0) data_bytes = SPOOL_RING_DEFAULT_DATA_BYTES;
    if (names_bytes == 0) names_bytes = SPOOL_RING_DEFAULT_NAMES_BYTES;
    snprintf(ring->path, sizeof ring->path, "%s", directory);
    const char *complaint = spool_ring_complaint(producer, data_bytes, names_bytes, tables, table_count);
    if (complaint) return spool_ring_fail(ring, EINVAL, "cannot create a ring in", complaint);

    size_t tables_bytes = spool_encode_tables(NULL, 0, tables, table_count);
    if (tables_bytes > SPOOL_RING_MAX_DECLARATION_BYTES) return spool_ring_fail(ring, EINVAL, "cannot create a ring in", "the declarations exceed 1 MiB");
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t names_offset = (SPOOL_RING_TABLES + tables_bytes + 63) & ~(size_t)63;
    ring->header_bytes = (names_offset + names_bytes + page - 1) / page * page;
    ring->data_bytes = data_bytes;
    ring->names_bytes = names_bytes;
    ring->mask = data_bytes - 1;
    ring->process = getpid();
    if (getrandom(&ring->ring_id, sizeof ring->ring_id, 0) != (ssize_t)sizeof ring->ring_id)
        return spool_ring_fail(ring, errno, "cannot get random bytes for a ring in", "");

    uint32_t slots = 64;
    while (slots < names_bytes / 4) slots *= 2;
    ring->slot_mask = slots - 1;
    ring->slots = (uint32_t *)calloc(slots, sizeof(uint32_t));
    ring->entries = (uint32_t *)calloc(slots / 2 + 1, sizeof(uint32_t));
    if (!ring->slots || !ring->entries) return spool_ring_fail(ring, ENOMEM, "cannot create a ring in", "");

    char temporary[512];
    int length = snprintf(ring->path, sizeof ring->path, "%s/%s-%ld-%016llx.ring", directory, producer, (long)getpid(), (unsigned long long)ring->ring_id);
    int hidden = snprintf(temporary, sizeof temporary, "%s/.%016llx.tmp", directory, (unsigned long long)ring->ring_id);
    if (length < 0 || (size_t)length >= sizeof ring->path || hidden < 0 || (size_t)hidden >= sizeof temporary)
        return spool_ring_fail(ring, ENAMETOOLONG, "cannot create", "");
    ring->descriptor = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0660);
    if (ring->descriptor < 0)
        return spool_ring_fail(ring, errno, "cannot create", errno == ENOENT ? "the writer makes this directory when it runs with --rings" : "");
    // Whatever the umask: the writer may be another user of the same group.
    if (fchmod(ring->descriptor, 0660) != 0) { /* the writer will say so if it cannot open it */ }
    // Held until this process dies or closes the ring: so the writer knows whether anybody can still publish.
    int code = flock(ring->descriptor, LOCK_EX | LOCK_NB) != 0 ? errno : 0;
    // All of it now: a full /dev/shm must be an error here, not a SIGBUS in the hot path.
    if (code == 0) code = posix_fallocate(ring->descriptor, 0, (off_t)(ring->header_bytes + data_bytes));
    if (code == 0) code = spool_ring_map(ring);
    if (code == 0) {
        spool_ring_identity *identity = (spool_ring_identity *)(void *)ring->base;
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        identity->magic = SPOOL_RING_MAGIC;
        identity->version = SPOOL_RING_VERSION;
        identity->header_bytes = (uint32_t)ring->header_bytes;
        identity->data_bytes = data_bytes;
        identity->ring_id = ring->ring_id;
        identity->created = (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
        identity->process = (uint32_t)getpid();
        identity->table_count = table_count;
        identity->tables_bytes = (uint32_t)tables_bytes;
        identity->names_offset = (uint32_t)names_offset;
        identity->names_bytes = names_bytes;
        memcpy(identity->producer, producer, strlen(producer));
        spool_encode_tables(ring->base + SPOOL_RING_TABLES, tables_bytes, tables, table_count);
        spool_ring_index_tables(ring, ring->base + SPOOL_RING_TABLES, tables, table_count);
        ring->name_token = ((ring->ring_id | 1) & 0xFFFFFFFFu) << 32;
        uint32_t crc = spool_crc32c(0, identity, sizeof *identity);
        identity->checksum = spool_crc32c(crc, ring->base + SPOOL_RING_TABLES, tables_bytes);
        ring->names = ring->base + names_offset;
        ring->names_used = sizeof(uint32_t);
        ring->max_record = data_bytes / 4 < SPOOL_RING_MAX_RECORD_BYTES ? (uint32_t)(data_bytes / 4) : SPOOL_RING_MAX_RECORD_BYTES;
        ring->limit = data_bytes;
        // Renamed when it is whole: the writer never sees half a header.
        if (rename(temporary, ring->path) != 0) code = errno;
    }
    if (code != 0) {
        unlink(temporary);
        return spool_ring_fail(ring, code, "cannot create", code == ENOSPC ? "the file system has no room for the ring" : "");
    }
    return 0;
}

__attribute__((unused)) static int spool_ring_open(
    spool_ring *ring, const char *directory, const char *producer, uint64_t data_bytes, const spool_table *tables, uint32_t table_count) {
    return spool_ring_open_sized(ring, directory, producer, data_bytes, 0, tables, table_count);
}

__attribute__((unused)) static int spool_ring_wait(spool_ring *ring, uint64_t position, int milliseconds, int attached) {
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        if (attached ? spool_ring_state_now(ring) != SPOOL_RING_WAITING : spool_ring_durable(ring) >= position) return 1;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 >= milliseconds) return 0;
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
}

// Waits until rows before `position` are durable. Returns 1, or 0 after `milliseconds`. Not for the hot path: it sleeps.
__attribute__((unused)) static int spool_ring_wait_durable(spool_ring *ring, uint64_t position, int milliseconds) {
    return spool_ring_wait(ring, position, milliseconds, 0);
}

// Waits until a writer has looked at the ring; its state and its tables' states then say what it thinks of them.
__attribute__((unused)) static int spool_ring_wait_attached(spool_ring *ring, int milliseconds) {
    return spool_ring_wait(ring, 0, milliseconds, 1);
}

// Closes the ring. Rows that are not durable yet stay in the file; the writer drains it, then removes it. In a forked child this
// only lets go of the file, whose lock would else outlive the parent: the ring stays the parent's.
__attribute__((unused)) static void spool_ring_close(spool_ring *ring) {
    if (!ring->base) return;
    if (ring->process == getpid()) {
        __atomic_store_n(&ring->producer->closed, 1, __ATOMIC_RELEASE);
        munmap(ring->base, (size_t)(ring->header_bytes + 2 * ring->data_bytes));
    }
    close(ring->descriptor);
    free(ring->slots);
    free(ring->entries);
    ring->base = NULL;
    ring->slots = ring->entries = NULL;
    ring->descriptor = -1;
}

#endif
