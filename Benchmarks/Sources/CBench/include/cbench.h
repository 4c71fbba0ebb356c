// What the programs of this package share: realistic rows, a clock of nanoseconds, a histogram.
#ifndef COLDPATH_BENCH_H
#define COLDPATH_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

// ---- Rows: what a market maker's day looks like. Times rise by some 40 us, a price moves in one row of eight, quantities come from ten
// lots, sizes change in one row of four, ids are counters. Compresses to some 55 bytes a row.

enum { BENCH_SYMBOLS = 8, BENCH_VENUES = 4, BENCH_STRATEGIES = 5, BENCH_ACCOUNTS = 3, BENCH_CLIENT_ID = 20 };

static const char *const bench_symbols[] = {"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "DOTUSDT", "LTCUSDT", "BNBUSDT"};
static const char *const bench_venues[] = {"BNCE", "OKX", "BYBT", "KRKN"};
static const char *const bench_strategies[] = {"mm1", "mm2", "arb", "hdg", "st7"};
static const char *const bench_accounts[] = {"a-01", "a-02", "a-03"};

typedef struct bench_values {
    int64_t ts, ts_local;
    uint64_t seq_no, order_id;
    int64_t price, qty; // of eight decimals
    double bid, ask, bid_size, ask_size;
    uint32_t latency_ns, flags;
    uint16_t level;
    uint8_t kind, is_maker; // kind: 1 to 4
    uint8_t symbol, venue, strategy, account;
    char client_id[BENCH_CLIENT_ID];
} bench_values;

typedef struct bench_source {
    uint64_t random;
    uint64_t number;
    int64_t time;
    int64_t cents[BENCH_SYMBOLS];
    double bid_size[BENCH_SYMBOLS], ask_size[BENCH_SYMBOLS];
} bench_source;

static inline uint64_t bench_random(bench_source *source) {
    uint64_t z = source->random += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline void bench_begin(bench_source *source, uint64_t seed) {
    memset(source, 0, sizeof *source);
    source->random = seed;
    // The start of today: all rows lie in one partition, or two around midnight.
    source->time = (int64_t)time(NULL) / 86400 * 86400 * 1000000000;
    for (int i = 0; i < BENCH_SYMBOLS; i++) {
        source->cents[i] = 10000 + (int64_t)(bench_random(source) % 900000);
        source->bid_size[i] = source->ask_size[i] = 1;
    }
}

static inline void bench_next(bench_source *source, bench_values *row) {
    static const int64_t lots[] = {1, 2, 5, 10, 20, 25, 50, 100, 200, 500};
    uint64_t x = bench_random(source), y = bench_random(source);
    unsigned s = x & 7;
    source->time += 20000 + (int64_t)((x >> 8 & 0xFFFF) * 40000 >> 16);
    if ((x >> 24 & 7) == 0) source->cents[s] += (int64_t)(x >> 27 & 7) - 3;
    if (source->cents[s] < 1000) source->cents[s] = 1000;
    if ((y >> 16 & 3) == 0) source->bid_size[s] = (double)(1 + (y >> 18 & 63)) * 0.05;
    if ((y >> 24 & 3) == 0) source->ask_size[s] = (double)(1 + (y >> 26 & 63)) * 0.05;
    row->ts = source->time;
    row->ts_local = source->time + 30000 + (int64_t)(x >> 40 & 0xFFFF) * 3;
    row->seq_no = ++source->number;
    row->order_id = 7000000000u + source->number * 3;
    row->price = source->cents[s] * 1000000;
    row->qty = lots[(y & 0xFF) % 10] * 1000000;
    row->bid = (double)source->cents[s] / 100;
    row->ask = (double)(source->cents[s] + 1) / 100;
    row->bid_size = source->bid_size[s];
    row->ask_size = source->ask_size[s];
    row->latency_ns = 20000 + (uint32_t)(y >> 8 & 0xFF) * 250;
    row->flags = (uint32_t)(y >> 4 & 15);
    row->level = (uint16_t)(1 + ((y >> 48 & 0xFF) * 10 >> 8));
    row->kind = (uint8_t)(1 + (y >> 56 & 3));
    row->is_maker = y >> 58 & 1;
    row->symbol = (uint8_t)s;
    row->venue = s & 3;
    row->strategy = (uint8_t)((x >> 12 & 0xFF) * 5 >> 8);
    row->account = (uint8_t)(s % 3);
    memcpy(row->client_id, "C5F0C9A3E-", 10);
    uint64_t number = source->number;
    for (int i = 19; i >= 10; i--) {
        row->client_id[i] = (char)('0' + number % 10);
        number /= 10;
    }
}

// ---- Clocks.

static inline uint64_t bench_ticks(void) {
#if defined(__x86_64__)
    unsigned processor;
    uint64_t ticks = __rdtscp(&processor);
    _mm_lfence();
    return ticks;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
#endif
}

static inline double bench_seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline double bench_wall(void) { return bench_seconds(CLOCK_MONOTONIC); }
static inline double bench_cpu(void) { return bench_seconds(CLOCK_THREAD_CPUTIME_ID); }

// ---- A histogram of calls, in nanoseconds; what looking at the clock costs is taken off.

enum { BENCH_BINS = 1 << 16 };

typedef struct bench_histogram {
    double ns_per_tick;
    uint64_t overhead; // ticks
    uint64_t count, over;
    uint64_t max_ns;
    uint32_t bins[BENCH_BINS];
} bench_histogram;

static inline void bench_histogram_begin(bench_histogram *h) {
    memset(h, 0, sizeof *h);
    double start = bench_wall();
    uint64_t first = bench_ticks();
    while (bench_wall() - start < 0.05) {}
    h->ns_per_tick = (bench_wall() - start) * 1e9 / (double)(bench_ticks() - first);
    // The least of many: what the two looks cost when nothing comes between them.
    h->overhead = ~0ull;
    for (int i = 0; i < 100000; i++) {
        uint64_t a = bench_ticks(), b = bench_ticks();
        if (b - a < h->overhead) h->overhead = b - a;
    }
}

static inline void bench_record(bench_histogram *h, uint64_t ticks) {
    uint64_t own = ticks > h->overhead ? ticks - h->overhead : 0;
    uint64_t ns = (uint64_t)((double)own * h->ns_per_tick + 0.5);
    h->count++;
    if (ns > h->max_ns) h->max_ns = ns;
    if (ns < BENCH_BINS) h->bins[ns]++;
    else h->over++;
}

static inline uint64_t bench_percentile(const bench_histogram *h, double share) {
    uint64_t wanted = (uint64_t)(share * (double)h->count), seen = 0;
    for (uint64_t ns = 0; ns < BENCH_BINS; ns++) {
        seen += h->bins[ns];
        if (seen > wanted) return ns;
    }
    return h->max_ns;
}

// Waits, without sleeping, until a row is due.
static inline void bench_pace(const bench_histogram *h, uint64_t start, uint64_t number, double interval_ns) {
    uint64_t due = start + (uint64_t)((double)number * interval_ns / h->ns_per_tick);
    while (bench_ticks() < due) {}
}

static inline void bench_print(const char *what, const bench_histogram *h, double cpu_ns, uint64_t full, uint64_t refused) {
    printf("{\"what\":\"%s\",\"rows\":%llu,\"p50\":%llu,\"p99\":%llu,\"p999\":%llu,\"max\":%llu,\"cpu_ns\":%.2f,\"full\":%llu,\"refused\":%llu}\n",
        what, (unsigned long long)h->count, (unsigned long long)bench_percentile(h, 0.5), (unsigned long long)bench_percentile(h, 0.99),
        (unsigned long long)bench_percentile(h, 0.999), (unsigned long long)h->max_ns, cpu_ns, (unsigned long long)full, (unsigned long long)refused);
}

// ---- What nothing can be faster than.

// Compresses blocks of at most 64 KiB, linked, as the spool has them, and nothing else: no frame, no checksum. Returns bytes.
size_t bench_bare_lz4(const void *content, size_t count, void *output, size_t room);

#endif
