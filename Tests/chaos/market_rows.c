// Publishes rows of market_data, with the real schema, into one ring.
//
//     market_rows RINGS ROWS FIRST BASE STEP ROWS_A_SECOND
//
// Row n of FIRST ... FIRST + ROWS - 1 has the local time BASE + n, so that rows can be counted without the recorder's names for them, and the
// exchange's time BASE + n * STEP. ROWS_A_SECOND 0: as fast as the ring takes them. Ends with 0 once all of them are durable.
#include "coldpath.h"

#include <time.h>

enum { KIB = 16384, SYMBOLS = 40, LEVELS = 5, DEPTH_EVERY = 16 };

static spool_ring ring;

static uint64_t mix(uint64_t value) {
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return value ^ value >> 31;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void pause_a_little(void) {
    struct timespec pause = {0, 100000};
    nanosleep(&pause, NULL);
}

int main(int argc, char **argv) {
    if (argc != 7) return 64;
    uint64_t rows = strtoull(argv[2], NULL, 10), first = strtoull(argv[3], NULL, 10);
    int64_t base = strtoll(argv[4], NULL, 10), step = strtoll(argv[5], NULL, 10);
    double rate = atof(argv[6]);
    if (spool_ring_open(&ring, argv[1], "market", (uint64_t)KIB << 10, coldpath_tables, COLDPATH_TABLE_COUNT) != 0) {
        fprintf(stderr, "%s\n", ring.error);
        return 74;
    }
    spool_name symbols[SYMBOLS], source = spool_intern(&ring, "feed-1");
    for (int i = 0; i < SYMBOLS; i++) {
        char name[16];
        snprintf(name, sizeof name, "SYM-%02d", i);
        symbols[i] = spool_intern(&ring, name);
    }
    double prices[LEVELS], sizes[LEVELS], start = seconds();
    for (uint64_t i = 0; i < rows; i++) {
        uint64_t n = first + i, chance = mix(n + 1);
        double price = 100 + (double)(n / 1000 % 500) * 0.01 + (double)(chance % 16) * 0.01;
        for (int level = 0; level < LEVELS; level++) {
            prices[level] = price - level * 0.01;
            sizes[level] = (double)(chance >> (8 * level) & 63);
        }
        uint32_t levels = n % DEPTH_EVERY == 0 ? LEVELS : 0;
        market_data_row row = {
            .ts_exchange = spool_time(base + (int64_t)n * step), .ts_local = spool_time(base + (int64_t)n), .symbol = symbols[chance % SYMBOLS],
            .event = market_data_event_quote, .bid_px1 = SPOOL_SET(price), .bid_sz1 = SPOOL_SET((double)(chance & 1023)),
            .ask_px1 = SPOOL_SET(price + 0.01), .ask_sz1 = SPOOL_SET((double)(chance >> 10 & 1023)), .bid_px = {prices, levels},
            .bid_sz = {sizes, levels}, .ask_px = {prices, levels}, .ask_sz = {sizes, levels}, .source = source,
        };
        while (rate > 0 && (double)i > (seconds() - start) * rate) pause_a_little();
        int result;
        while ((result = market_data_publish(&ring, &row)) == SPOOL_FULL) pause_a_little();
        if (result != SPOOL_PUBLISHED) return 70;
    }
    int is_durable = spool_ring_wait_durable(&ring, spool_ring_position(&ring), 120000);
    spool_ring_close(&ring);
    return is_durable ? 0 : 75;
}
