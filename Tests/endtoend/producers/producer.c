// What test_clients.py lets C say to a ring: usage producer DIRECTORY MODE. Prints what publish returned.
#include "every_type.h"

#include <sys/wait.h>

static spool_ring ring;

static void open_ring(const char *directory, uint64_t data_bytes, uint32_t name_bytes) {
    if (spool_ring_open_sized(&ring, directory, "c", data_bytes, name_bytes, coldpath_tables, COLDPATH_TABLE_COUNT) != 0) {
        fprintf(stderr, "%s\n", ring.error);
        exit(74);
    }
}

static spool_decimal128_10 d128(const char *text) {
    spool_int128 units = 0;
    if (!spool_decimal_parse(text, 10, &units)) exit(70);
    return spool_decimal128_10(units);
}

static int types(void) {
    const spool_uuid id = {0x0011223344556677ull, 0x8899aabbccddeeffull}, zero = {0, 0};
    const bool flags[] = {true, false, true};
    const spool_time times[] = {spool_time(1790000000000000000), spool_time(1790000000000000001)};
    const int16_t shorts[] = {-1, 0, 32767};
    const uint64_t longs[] = {0, UINT64_MAX};
    const float floats[] = {0.5f, -2};
    const double doubles[] = {1e-300, 2.5, 3};
    const spool_decimal64_8 d64s[] = {spool_decimal64_8(1), spool_decimal64_8(-100000000)};
    const spool_decimal128_10 d128s[] = {d128("0.0000000001"), d128("-1")};
    const spool_date days[] = {spool_date(0), spool_date(19782)};
    const spool_uuid ids[] = {id, zero};
    const spool_text texts[] = {spool_text("one"), spool_text(""), spool_text("zwei €")};
    const every_type_a_side sides[] = {every_type_a_side_sell, every_type_a_side_buy};
    int first = every_type_publish(&ring, &(every_type_row){
        .flag = true, .ts = spool_time(1790000000123456789), .i8 = INT8_MIN, .i16 = INT16_MIN, .i32 = INT32_MIN, .i64 = INT64_MIN,
        .u8 = UINT8_MAX, .u16 = UINT16_MAX, .u32 = UINT32_MAX, .u64 = UINT64_MAX, .f32 = 0.5f, .f64 = -1e300,
        .d32 = spool_decimal32_2(-999999999), .d64 = spool_decimal64_8(6180050000000), .d128 = d128("9999999999999999999999999999.9999999999"),
        .day = spool_date(65535), .sec = spool_seconds(1790000000), .id = id, .code = spool_text("EUR"),
        .text = spool_text("C-000000000000000001"), .name = spool_intern(&ring, "BTCUSDT"), .side = every_type_side_sell,
        .kind = every_type_kind_a_b,
        .n_flag = SPOOL_SET(false), .n_ts = SPOOL_SET(spool_time(1790000000000000007)), .n_i64 = SPOOL_SET(-7), .n_u8 = SPOOL_SET(7),
        .n_f64 = SPOOL_SET(7.5), .n_d32 = SPOOL_SET(spool_decimal32_2(700)), .n_d128 = SPOOL_SET(d128("-7.7")),
        .n_day = SPOOL_SET(spool_date(7)), .n_id = SPOOL_SET(id), .n_code = SPOOL_SET(spool_text("US")),
        .n_text = SPOOL_SET(spool_text("seven")), .n_name = SPOOL_SET(spool_name("SEVEN")), .n_side = SPOOL_SET(every_type_n_side_buy),
        .a_flag = {flags, 3}, .a_ts = {times, 2}, .a_i16 = {shorts, 3}, .a_u64 = {longs, 2}, .a_f32 = {floats, 2}, .a_f64 = {doubles, 3},
        .a_d64 = {d64s, 2}, .a_d128 = {d128s, 2}, .a_day = {days, 2}, .a_id = {ids, 2}, .a_text = {texts, 3}, .a_side = {sides, 2},
        .o_zero = 1, .o_flag = SPOOL_SET(false), .o_i32 = SPOOL_SET(0), .o_u64 = SPOOL_SET(0), .o_f64 = SPOOL_SET(0),
        .o_d128 = SPOOL_SET(d128("0")), .o_ts = SPOOL_SET(spool_time(1790000000000000000)), .o_day = SPOOL_SET(spool_date(1)),
        .o_id = SPOOL_SET(zero), .o_code = SPOOL_SET(spool_text("")), .o_side = SPOOL_SET(every_type_o_side_buy),
        .o_text = SPOOL_SET(spool_text("")), .o_empty = spool_text("e"), .o_name = SPOOL_SET(spool_name("")), .o_nothing = spool_name("n"),
        .n_o_name = SPOOL_SET(spool_name("x")), .row = 3, .from = 7, .class_ = spool_text("c"), .switch_ = 9,
    });
    int second = every_type_publish(&ring, &(every_type_row){
        .ts = spool_time(1790000000000000000), .sec = spool_seconds(1790000000), .side = every_type_side_buy, .kind = every_type_kind_value_2,
    });
    printf("%d %d\n", first, second);
    return 0;
}

static int tick(uint32_t number, spool_name symbol, const char *note, size_t count) {
    return ticks_publish(&ring, &(ticks_row){
        .ts = spool_time(1790000000000000000 + (int64_t)number), .symbol = symbol, .number = number, .note = spool_text_n(note, count)});
}

static int notes(void) {
    static const char text[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    spool_name symbol = spool_intern(&ring, "A");
    for (uint32_t i = 0; i < 70; i++) printf("%d ", tick(i, symbol, text, i));
    return 0;
}

static int names(void) {
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 12; i++) {
            char name[16];
            snprintf(name, sizeof name, "SYMBOL-%02u", i);
            // Once as a name from before, once as a text.
            printf("%d ", tick(i, round == 0 ? spool_intern(&ring, name) : spool_name(name), "n", 1));
        }
    static spool_ring other;
    if (spool_ring_open(&other, "/dev/shm", "other", 65536, coldpath_tables, COLDPATH_TABLE_COUNT) != 0) return 74;
    spool_intern(&other, "first of the other ring");
    printf("%d\n", tick(99, spool_intern(&other, "FOREIGN"), "n", 1));
    unlink(other.path);
    spool_ring_close(&other);
    return 0;
}

static int full(void) {
    spool_name symbol = spool_intern(&ring, "A");
    uint32_t number = 0;
    for (int lap = 0; lap < 4; lap++) {
        int code;
        while ((code = tick(number, symbol, "a note of some length", 21)) == SPOOL_PUBLISHED) number++;
        printf("%u %d\n", number, code);
        fflush(stdout);
        if (getchar() == EOF) break;
    }
    return 0;
}

static int too_long(void) {
    static char text[20000];
    memset(text, 'x', sizeof text);
    spool_name symbol = spool_intern(&ring, "A");
    int most = 65536 / 4 - 8 - (int)ticks_table.row_bytes;
    // The default of `venue` is interned, so it stands in no tail.
    printf("%d %d %d ", tick(0, symbol, text, (size_t)most), tick(1, symbol, text, (size_t)most + 1), tick(2, symbol, text, sizeof text));
    printf("%d ", tick(3, spool_name_n(text, 4000000000u), text, 4000000000u));
    printf("%d\n", every_type_publish(&ring, &(every_type_row){.code = spool_text("four")}));
    return 0;
}

// A child that closes what it inherited, as a destructor at its exit would.
static int forked(void) {
    spool_name symbol = spool_intern(&ring, "A");
    int first = tick(0, symbol, "n", 1), status = -1;
    pid_t child = fork();
    if (child == 0) {
        spool_ring_close(&ring);
        _exit(0);
    }
    waitpid(child, &status, 0);
    printf("%d %d %u %d\n", first, status, ring.producer->closed, tick(1, symbol, "n", 1));
    return 0;
}

int main(int argc, char **argv) {
    const char *mode = argc == 3 ? argv[2] : "";
    open_ring(argv[1], strcmp(mode, "full") == 0 || strcmp(mode, "long") == 0 ? 65536 : 1 << 20, strcmp(mode, "names") == 0 ? 64 : 0);
    int code = strcmp(mode, "types") == 0 ? types() : strcmp(mode, "notes") == 0 ? notes() : strcmp(mode, "names") == 0 ? names()
             : strcmp(mode, "full") == 0 ? full() : strcmp(mode, "long") == 0 ? too_long() : strcmp(mode, "fork") == 0 ? forked() : 64;
    spool_ring_close(&ring);
    return code;
}
