// What publishing a row costs in C: thread CPU time per row over a burst into a ring that nobody reads, typed and, for
// comparison, a memcpy of the same encoded row through the same claim and commit. Run by Benchmarks/publish/run.
//
// usage: publish DIRECTORY ROUNDS
#include "bench_rows.h"

enum { ROWS = 1000000, SYMBOLS = 8 };

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// A new burst into an empty ring: nobody else touches the file, so the producer may take back its rows itself.
static void rewind_ring(spool_ring *ring) {
    ring->position = 0;
    ring->limit = ring->data_bytes;
    ring->producer->write_position = 0;
}

typedef struct fields {
    spool_name symbols[SYMBOLS], venue, strategy, account;
    char client_ids[1024][20];
} fields;

// What differs from row to row is computed from the number, so that nothing can be hoisted out of the loop.
static inline int publish_row(spool_ring *ring, const fields *from, uint64_t i) {
    return bench_events_publish(ring, &(bench_events_row){
        .ts = spool_time(1790000000000000000 + (int64_t)i * 40000),
        .ts_local = spool_time(1790000000000012345 + (int64_t)i * 40000),
        .seq_no = i,
        .order_id = i >> 1,
        .price = spool_decimal64_8(6180000000000 + (int64_t)(i & 1023) * 1000000),
        .qty = spool_decimal64_8(12500000 + (int64_t)(i & 7)),
        .bid = 61800.5 + (double)(i & 63),
        .ask = 61801.0 + (double)(i & 63),
        .bid_size = 1.5,
        .ask_size = 0.25,
        .latency_ns = (uint32_t)(i & 4095),
        .flags = (uint32_t)i & 7,
        .level = (uint16_t)(i & 3),
        .kind = i & 1 ? bench_events_kind_new : bench_events_kind_fill,
        .is_maker = i & 1,
        .symbol = from->symbols[i % SYMBOLS],
        .venue = from->venue,
        .strategy = from->strategy,
        .account = from->account,
        .client_id = spool_text_n(from->client_ids[i & 1023], 20),
    });
}

static double typed(spool_ring *ring, const fields *from) {
    rewind_ring(ring);
    double start = cpu_seconds();
    for (uint64_t i = 0; i < ROWS; i++)
        if (publish_row(ring, from, i) != SPOOL_PUBLISHED) abort();
    return (cpu_seconds() - start) / ROWS * 1e9;
}

static double copied(spool_ring *ring, const unsigned char *row, uint32_t bytes) {
    rewind_ring(ring);
    double start = cpu_seconds();
    for (uint64_t i = 0; i < ROWS; i++) {
        unsigned char *to = spool_ring_claim(ring, 0, bytes);
        if (!to) abort();
        memcpy(to, row, bytes);
        spool_ring_commit(ring, 0, bytes);
    }
    return (cpu_seconds() - start) / ROWS * 1e9;
}

int main(int argc, char **argv) {
    if (argc != 3) return 64;
    static spool_ring ring;
    static fields from;
    if (spool_ring_open(&ring, argv[1], "bench", 256u << 20, coldpath_tables, COLDPATH_TABLE_COUNT) != 0) {
        fprintf(stderr, "%s\n", ring.error);
        return 74;
    }
    const char *symbols[SYMBOLS] = {"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "LTCUSDT", "BNBUSDT"};
    for (int i = 0; i < SYMBOLS; i++) from.symbols[i] = spool_intern(&ring, symbols[i]);
    from.venue = spool_intern(&ring, "BINANCE");
    from.strategy = spool_intern(&ring, "maker-1");
    from.account = spool_intern(&ring, "acc-main");
    for (int i = 0; i < 1024; i++) {
        char text[32];
        snprintf(text, sizeof text, "C-%018d", i * 7919);
        memcpy(from.client_ids[i], text, 20);
    }
    publish_row(&ring, &from, 12345);
    uint32_t bytes = (uint32_t)(ring.position - sizeof(spool_record)) & ~7u;
    static unsigned char row[4096];
    memcpy(row, ring.data + sizeof(spool_record), bytes);
    for (int round = 0; round < atoi(argv[2]); round++) {
        double a = copied(&ring, row, bytes), b = typed(&ring, &from);
        printf("memcpy %.2f typed %.2f ns/row\n", a, b);
    }
    unlink(ring.path);
    spool_ring_close(&ring);
    return 0;
}
