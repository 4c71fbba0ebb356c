// Publishes rows of bench_events from C while the real writer drains.
//
//   publish-c DIRECTORY KIB MODE ROWS [INTERVAL_NS]
//
// Modes: latency (each call timed, one row each INTERVAL_NS), latency-memcpy (the same with a memcpy of an encoded row), burst and
// burst-memcpy (CPU time of all calls together, values made beforehand), load (as many rows as the ring takes, for the writer's sake).
// Prints one JSON object.
#include "bench_rows.h"
#include "cbench.h"

typedef struct names {
    spool_name symbols[BENCH_SYMBOLS], venues[BENCH_VENUES], strategies[BENCH_STRATEGIES], accounts[BENCH_ACCOUNTS];
} names;

static spool_ring ring;
static names known;
static bench_histogram histogram;

static inline int publish(const bench_values *v) {
    return bench_events_publish(&ring, &(bench_events_row){
        .ts = spool_time(v->ts),
        .ts_local = spool_time(v->ts_local),
        .seq_no = v->seq_no,
        .order_id = v->order_id,
        .price = spool_decimal64_8(v->price),
        .qty = spool_decimal64_8(v->qty),
        .bid = v->bid,
        .ask = v->ask,
        .bid_size = v->bid_size,
        .ask_size = v->ask_size,
        .latency_ns = v->latency_ns,
        .flags = v->flags,
        .level = v->level,
        .kind = {(int8_t)v->kind},
        .is_maker = v->is_maker,
        .symbol = known.symbols[v->symbol],
        .venue = known.venues[v->venue],
        .strategy = known.strategies[v->strategy],
        .account = known.accounts[v->account],
        .client_id = spool_text_n(v->client_id, BENCH_CLIENT_ID),
    });
}

// Few enough for the first cache, where a trading thread has what it has just computed.
enum { MADE = 64 };
static bench_values made[MADE];
static unsigned char encoded[MADE][256];
static uint32_t encoded_bytes;

static inline int publish_encoded(const unsigned char *from) {
    unsigned char *row = spool_ring_claim(&ring, 0, encoded_bytes);
    if (!row) return SPOOL_FULL;
    memcpy(row, from, encoded_bytes);
    spool_ring_commit(&ring, 0, encoded_bytes);
    return SPOOL_PUBLISHED;
}

static void pause_a_little(void) {
    struct timespec pause = {0, 50000};
    nanosleep(&pause, NULL);
}

int main(int argc, char **argv) {
    if (argc < 5) return 64;
    const char *mode = argv[3];
    uint64_t rows = strtoull(argv[4], NULL, 10);
    double interval = argc > 5 ? atof(argv[5]) : 1000;
    if (spool_ring_open(&ring, argv[1], "publish-c", strtoull(argv[2], NULL, 10) << 10, coldpath_tables, COLDPATH_TABLE_COUNT) != 0) {
        fprintf(stderr, "%s\n", ring.error);
        return 74;
    }
    if (!spool_ring_wait_attached(&ring, 10000)) return 74;
    for (int i = 0; i < BENCH_SYMBOLS; i++) known.symbols[i] = spool_intern(&ring, bench_symbols[i]);
    for (int i = 0; i < BENCH_VENUES; i++) known.venues[i] = spool_intern(&ring, bench_venues[i]);
    for (int i = 0; i < BENCH_STRATEGIES; i++) known.strategies[i] = spool_intern(&ring, bench_strategies[i]);
    for (int i = 0; i < BENCH_ACCOUNTS; i++) known.accounts[i] = spool_intern(&ring, bench_accounts[i]);
    bench_source source;
    bench_begin(&source, 1);
    for (int i = 0; i < MADE; i++) bench_next(&source, &made[i]);
    // The same rows again as the ring has them; all of one length.
    for (int i = 0; i < MADE; i++) {
        uint64_t before = ring.position;
        if (publish(&made[i]) != SPOOL_PUBLISHED) return 74;
        encoded_bytes = (uint32_t)(ring.position - before - sizeof(spool_record));
        if (encoded_bytes > sizeof encoded[i]) return 74;
        memcpy(encoded[i], ring.data + before + sizeof(spool_record), encoded_bytes);
    }
    bench_histogram_begin(&histogram);
    int is_copy = strstr(mode, "memcpy") != NULL;
    uint64_t full = 0;
    double cpu = 0, start_wall = bench_wall();

    if (!strncmp(mode, "latency", 7)) {
        uint64_t start = bench_ticks();
        for (uint64_t i = 0; i < rows; i++) {
            bench_values *v = &made[i % MADE];
            bench_next(&source, v);
            bench_pace(&histogram, start, i, interval);
            uint64_t before = bench_ticks();
            int result = is_copy ? publish_encoded(encoded[i % MADE]) : publish(v);
            bench_record(&histogram, bench_ticks() - before);
            full += result != SPOOL_PUBLISHED;
        }
    } else if (!strncmp(mode, "burst", 5)) {
        cpu = bench_cpu();
        if (is_copy) {
            for (uint64_t i = 0; i < rows; i++) full += publish_encoded(encoded[i % MADE]) != SPOOL_PUBLISHED;
        } else {
            for (uint64_t i = 0; i < rows; i++) {
                bench_values *v = &made[i % MADE];
                v->seq_no = i;
                full += publish(v) != SPOOL_PUBLISHED;
            }
        }
        cpu = (bench_cpu() - cpu) / (double)rows * 1e9;
        histogram.count = rows;
    } else {
        for (uint64_t i = 0; i < rows; i++) {
            bench_values v;
            bench_next(&source, &v);
            while (publish(&v) != SPOOL_PUBLISHED) {
                full++;
                pause_a_little();
            }
            if (argc > 5 && (i & 63) == 63)
                while (bench_wall() - start_wall < (double)i * interval / 1e9) pause_a_little();
        }
        histogram.count = rows;
    }
    if (!spool_ring_wait_durable(&ring, spool_ring_position(&ring), 60000)) fprintf(stderr, "not durable within a minute\n");
    double seconds = bench_wall() - start_wall;
    fprintf(stderr, "{\"durable_seconds\":%.4f,\"row_bytes\":%u}\n", seconds, encoded_bytes + 8);
    bench_print(mode, &histogram, cpu, full, spool_ring_refused(&ring));
    spool_ring_close(&ring);
    return 0;
}
