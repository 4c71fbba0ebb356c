// A producer for the rings' kill test: publishes rows into one or two rings as fast as it is told, and dies, by others' hands or its own.
//
//     ring_producer RINGS COUNTERS PRODUCER LIFE RING_COUNT KIB ROWS_A_SECOND SEED
//
// COUNTERS is a file of MAX_RINGS numbers: how many rows are committed, stored after each commit, so that it outlives a SIGKILL. A row
// may be committed and not counted; never the other way round. SIGTERM: closes its rings and ends with 0.
#include "coldpath_ring.h"
#include "ring_rows.h"

#include <sched.h>
#include <signal.h>
#include <stddef.h>

typedef struct fixed_part {
    int64_t ts;
    uint64_t n;
    uint64_t check;
    uint32_t producer;
    uint32_t life;
    uint32_t kind;
    uint32_t zero;
    spool_slot note;
    spool_slot levels;
} fixed_part;

#define COLUMN(name, type, storage, field) {name, type, storage, offsetof(fixed_part, field), SPOOL_NOT_NULLABLE}
static const spool_column columns[] = {
    COLUMN("ts", "DateTime64(9, 'UTC')", SPOOL_FIXED, ts),
    COLUMN("producer", "UInt32", SPOOL_FIXED, producer),
    COLUMN("life", "UInt32", SPOOL_FIXED, life),
    COLUMN("n", "UInt64", SPOOL_FIXED, n),
    COLUMN("kind", "LowCardinality(String)", SPOOL_NAME, kind),
    COLUMN("note", "String", SPOOL_STRING, note),
    COLUMN("check", "UInt64", SPOOL_FIXED, check),
    COLUMN("levels", "Array(UInt32)", SPOOL_ARRAY, levels),
};
static const spool_table tables[TABLES] = {
    {"ring_a", 0, sizeof(fixed_part), 7, columns},
    {"ring_b", 0, sizeof(fixed_part), 8, columns},
};

static volatile sig_atomic_t stopping;
static void on_term(int number) { (void)number; stopping = 1; }

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void pause_for(long nanoseconds) {
    struct timespec time = {0, nanoseconds};
    nanosleep(&time, NULL);
}

static uint64_t chance_state;
static int one_in(uint64_t count) { return (chance_state = mix(chance_state)) % count == 0; }

// A death by one's own hand hits the places that a signal from outside hardly ever does.
static void perhaps_die(void) { if (one_in(60000)) raise(SIGKILL); }

static void make(row_key key, int64_t base, row_values *row) {
    uint64_t random = mix(key_hash(key));
    row->ts = base + (int64_t)(key.n / ROWS_A_DAY) * DAY + (int64_t)(key.n % ROWS_A_DAY);
    snprintf(row->kind, sizeof row->kind, "kind-%u", (unsigned)(random % 8 == 0 ? key.n / 500 : random % 5));
    random = mix(random);
    // Mostly short; some of more than 32 and of more than 127 bytes, where the copy and the length take other ways.
    row->note_bytes = (uint32_t)(random % 16 == 0 ? random / 16 % MAX_NOTE : random / 16 % 24);
    for (uint32_t i = 0; i < row->note_bytes; i++) row->note[i] = (char)('a' + (key.n + i) % 23);
    row->level_count = table_of(key) == 1 ? (uint32_t)(random >> 40) % MAX_LEVELS : 0;
    for (uint32_t i = 0; i < row->level_count; i++) row->levels[i] = (uint32_t)key.n + i;
    row->check = check_of(key, row->ts, row->kind, strlen(row->kind), row->note, row->note_bytes, row->levels, row->level_count * 4);
}

// Returns 0 if the ring is full.
static int publish(spool_ring *ring, row_key key, int64_t base, uint64_t *counter) {
    row_values row;
    make(key, base, &row);
    uint32_t table = table_of(key);
    uint32_t kind = spool_ring_intern(ring, row.kind, (uint32_t)strlen(row.kind));
    uint32_t inline_bytes = kind == SPOOL_NAME_INLINE ? 4 + (uint32_t)strlen(row.kind) : 0;
    uint32_t bytes = (uint32_t)sizeof(fixed_part) + row.note_bytes + row.level_count * 4 + inline_bytes;
    unsigned char *to = spool_ring_claim(ring, table, bytes);
    if (!to) return 0;
    perhaps_die();
    // What an older row left here must not help: a row that is published too early is seen to be wrong.
    memset(to, 0xEE, bytes);
    fixed_part fixed = {row.ts, key.n, row.check, key.producer, key.life, kind, 0,
                        {(uint32_t)sizeof(fixed_part), row.note_bytes}, {(uint32_t)sizeof(fixed_part) + row.note_bytes, row.level_count}};
    if (inline_bytes) {
        uint32_t at = bytes - inline_bytes, count = inline_bytes - 4;
        memcpy(to + at, &count, 4);
        memcpy(to + at + 4, row.kind, count);
        fixed.kind = SPOOL_NAME_INLINE + at;
    }
    memcpy(to, &fixed, 20);
    if (one_in(2000)) sched_yield();
    perhaps_die();
    memcpy(to + 20, (unsigned char *)&fixed + 20, sizeof fixed - 20);
    memcpy(to + sizeof fixed, row.note, row.note_bytes);
    memcpy(to + sizeof fixed + row.note_bytes, row.levels, row.level_count * 4);
    perhaps_die();
    spool_ring_commit(ring, table, bytes);
    perhaps_die();
    __atomic_store_n(counter, key.n + 1, __ATOMIC_RELEASE);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 9) return 64;
    uint32_t producer = (uint32_t)atoi(argv[3]), life = (uint32_t)atoi(argv[4]);
    int ring_count = atoi(argv[5]);
    uint64_t size = (uint64_t)atoll(argv[6]) << 10;
    double rate = atof(argv[7]);
    chance_state = mix(strtoull(argv[8], NULL, 10));
    if (ring_count < 1 || ring_count > MAX_RINGS) return 64;
    signal(SIGTERM, on_term);

    int file = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, MAX_RINGS * 8) != 0) return 74;
    uint64_t *counters = (uint64_t *)mmap(NULL, MAX_RINGS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (counters == MAP_FAILED) return 74;

    char name[32];
    snprintf(name, sizeof name, "p%u", producer);
    static spool_ring rings[MAX_RINGS];
    for (int i = 0; i < ring_count; i++) {
        // Little room for names, so that some have to be written into the rows.
        if (spool_ring_open_sized(&rings[i], argv[1], name, size, 1024, tables, TABLES) != 0) {
            fprintf(stderr, "%s\n", rings[i].error);
            return 74;
        }
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t base = ((int64_t)now.tv_sec / 86400 - 20) * DAY + DAY - 1000;
    uint64_t next[MAX_RINGS] = {0, 0};
    double started = seconds();
    for (uint64_t sent = 0; !stopping;) {
        if ((double)sent > (seconds() - started) * rate) {
            pause_for(300000);
            continue;
        }
        for (int burst = 0; burst < 32; burst++) {
            int i = ring_count == 1 ? 0 : one_in(2);
            row_key key = {producer * MAX_RINGS + (uint32_t)i, life, next[i]};
            if (publish(&rings[i], key, base, &counters[i])) {
                next[i]++;
                sent++;
            } else {
                pause_for(200000);
                break;
            }
        }
    }
    for (int i = 0; i < ring_count; i++) spool_ring_close(&rings[i]);
    return 0;
}
