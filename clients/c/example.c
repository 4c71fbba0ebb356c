// A producer in C11: an order and its fill, from this thread into the recorder. In a clone, after `make build`:
//
//     .build/release/spool-writer codegen --lang c --schemas schemas --output /tmp/events.h
//     cc -std=c11 -O2 -I Sources/CSpoolRing/include -I /tmp clients/c/example.c -o /tmp/example && /tmp/example /tmp/coldpath/rings
#include "events.h"

static spool_time now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return spool_time((int64_t)time.tv_sec * 1000000000 + time.tv_nsec);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s RINGS\n", argv[0]);
        return 64;
    }

    // Once for each producing thread, at its start. The writer need not run: it finds the ring when it does.
    static spool_ring ring;
    if (spool_ring_open(&ring, argv[1], "example", 1 << 20, coldpath_tables, COLDPATH_TABLE_COUNT) != 0) {
        fprintf(stderr, "example: %s\n", ring.error);
        return 74;
    }
    // Names that repeat: four bytes in each row from here on.
    spool_name symbol = spool_intern(&ring, "BTCUSDT"), strategy = spool_intern(&ring, "maker"), source = spool_intern(&ring, "session-1");

    // Decimal(38, 10): scaled integers in the hot path; from text they are parsed before it.
    spool_int128 price;
    if (!spool_decimal_parse("61800.5", 10, &price)) return 70;
    spool_decimal128_10 quantity = spool_decimal128_10(1250000000);

    spool_time intent = now();
    int code = orders_publish(&ring, &(orders_row){
        .ts_intent = intent,
        .ts_send = SPOOL_SET(now()), // Nullable; ts_ack is left out, so it is null
        .client_order_id = spool_text("C-1"),
        .strategy = strategy,
        .symbol = symbol,
        .side = orders_side_buy,
        .qty = quantity,
        .limit_px = SPOOL_SET(spool_decimal128_10(price)),
        .order_type = orders_order_type_limit,
        .tif = orders_tif_day,
        .status = orders_status_sent,
    });
    if (code == SPOOL_PUBLISHED)
        code = fills_publish(&ring, &(fills_row){
            .ts_exchange = now(),
            .ts_local = now(),
            .client_order_id = spool_text("C-1"),
            .fill_id = spool_text("F-1"),
            .strategy = strategy,
            .symbol = symbol,
            .side = fills_side_buy,
            .fill_qty = quantity,
            .fill_price = spool_decimal128_10(price),
            .source = source,
        });
    // Publishing never waits. A full ring (SPOOL_FULL) is the producer's to decide: try again later, or go on without the row.
    if (code != SPOOL_PUBLISHED) fprintf(stderr, "example: not published, code %d\n", code);

    // Not for the hot path: asks every millisecond how far the writer has come.
    int is_durable = spool_ring_wait_durable(&ring, spool_ring_position(&ring), 2000);
    printf("%s; %llu rows refused\n", is_durable ? "durable" : "accepted; not durable yet, is spool-writer running with --rings?",
           (unsigned long long)spool_ring_refused(&ring));
    spool_ring_close(&ring);
    return code;
}
