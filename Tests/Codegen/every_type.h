// Made by `spool-writer codegen`. Do not edit: change the schemas and make it anew.
// 
// table every_type: 0001_every_type.sql, fingerprint d4a5ae9d8a14b20c
// table ticks: 0002_ticks.sql, 0003_ticks_note.sql, fingerprint c9c339c4a26f3f95
#ifndef COLDPATH_ROWS_32a11caf8948d091
#define COLDPATH_ROWS_32a11caf8948d091

#include "coldpath_row.h"

#ifndef SPOOL_DECIMAL128_10
#define SPOOL_DECIMAL128_10
SPOOL_WHOLE(spool_decimal128_10, spool_int128, units);
SPOOL_TYPES(spool_decimal128_10, spool_decimal128_10);
#ifndef __cplusplus
#define spool_decimal128_10(whole) ((spool_decimal128_10){(whole) | 0})
#endif
#endif

#ifndef SPOOL_DECIMAL32_2
#define SPOOL_DECIMAL32_2
SPOOL_WHOLE(spool_decimal32_2, int32_t, units);
SPOOL_TYPES(spool_decimal32_2, spool_decimal32_2);
#ifndef __cplusplus
#define spool_decimal32_2(whole) ((spool_decimal32_2){(whole) | 0})
#endif
#endif

#ifndef SPOOL_DECIMAL64_8
#define SPOOL_DECIMAL64_8
SPOOL_WHOLE(spool_decimal64_8, int64_t, units);
SPOOL_TYPES(spool_decimal64_8, spool_decimal64_8);
#ifndef __cplusplus
#define spool_decimal64_8(whole) ((spool_decimal64_8){(whole) | 0})
#endif
#endif

// ---- every_type

SPOOL_WHOLE(every_type_side, int8_t, value);
SPOOL_TYPES(every_type_side, every_type_side);
SPOOL_MEMBER(every_type_side, every_type_side_buy, 1);
SPOOL_MEMBER(every_type_side, every_type_side_sell, 2);

SPOOL_WHOLE(every_type_kind, int16_t, value);
SPOOL_TYPES(every_type_kind, every_type_kind);
SPOOL_MEMBER(every_type_kind, every_type_kind_a_b, -300);
SPOOL_MEMBER(every_type_kind, every_type_kind_it_s, 1000);
SPOOL_MEMBER(every_type_kind, every_type_kind_value_2, 2);
SPOOL_MEMBER(every_type_kind, every_type_kind_default, 3);
SPOOL_MEMBER(every_type_kind, every_type_kind__2d, 4);

SPOOL_WHOLE(every_type_n_side, int8_t, value);
SPOOL_TYPES(every_type_n_side, every_type_n_side);
SPOOL_MEMBER(every_type_n_side, every_type_n_side_buy, 1);
SPOOL_MEMBER(every_type_n_side, every_type_n_side_sell, 2);

SPOOL_WHOLE(every_type_a_side, int8_t, value);
SPOOL_TYPES(every_type_a_side, every_type_a_side);
SPOOL_MEMBER(every_type_a_side, every_type_a_side_buy, 1);
SPOOL_MEMBER(every_type_a_side, every_type_a_side_sell, 2);

SPOOL_WHOLE(every_type_o_side, int8_t, value);
SPOOL_TYPES(every_type_o_side, every_type_o_side);
SPOOL_MEMBER(every_type_o_side, every_type_o_side_buy, 1);
SPOOL_MEMBER(every_type_o_side, every_type_o_side_sell, 2);

__attribute__((unused)) static const spool_column every_type_columns[] = {
    {"flag", "Bool", SPOOL_FIXED, 390, SPOOL_NOT_NULLABLE},
    {"ts", "DateTime64(9, 'UTC')", SPOOL_FIXED, 96, SPOOL_NOT_NULLABLE},
    {"i8", "Int8", SPOOL_FIXED, 391, SPOOL_NOT_NULLABLE},
    {"i16", "Int16", SPOOL_FIXED, 376, SPOOL_NOT_NULLABLE},
    {"i32", "Int32", SPOOL_FIXED, 328, SPOOL_NOT_NULLABLE},
    {"i64", "Int64", SPOOL_FIXED, 104, SPOOL_NOT_NULLABLE},
    {"u8", "UInt8", SPOOL_FIXED, 392, SPOOL_NOT_NULLABLE},
    {"u16", "UInt16", SPOOL_FIXED, 378, SPOOL_NOT_NULLABLE},
    {"u32", "UInt32", SPOOL_FIXED, 332, SPOOL_NOT_NULLABLE},
    {"u64", "UInt64", SPOOL_FIXED, 112, SPOOL_NOT_NULLABLE},
    {"f32", "Float32", SPOOL_FIXED, 336, SPOOL_NOT_NULLABLE},
    {"f64", "Float64", SPOOL_FIXED, 120, SPOOL_NOT_NULLABLE},
    {"d32", "Decimal(9, 2)", SPOOL_FIXED, 340, SPOOL_NOT_NULLABLE},
    {"d64", "Decimal(18, 8)", SPOOL_FIXED, 128, SPOOL_NOT_NULLABLE},
    {"d128", "Decimal(38, 10)", SPOOL_FIXED, 0, SPOOL_NOT_NULLABLE},
    {"day", "Date", SPOOL_FIXED, 380, SPOOL_NOT_NULLABLE},
    {"sec", "DateTime('UTC')", SPOOL_FIXED, 344, SPOOL_NOT_NULLABLE},
    {"id", "UUID", SPOOL_FIXED, 16, SPOOL_NOT_NULLABLE},
    {"code", "FixedString(3)", SPOOL_FIXED, 402, SPOOL_NOT_NULLABLE},
    {"text", "String", SPOOL_STRING, 136, SPOOL_NOT_NULLABLE},
    {"name", "String", SPOOL_NAME, 348, SPOOL_NOT_NULLABLE},
    {"side", "Enum8('buy' = 1, 'sell' = 2)", SPOOL_FIXED, 393, SPOOL_NOT_NULLABLE},
    {"kind", "Enum16('a b' = -300, 'it\134's' = 1000, '' = 2, 'default' = 3, '2d' = 4)", SPOOL_FIXED, 382, SPOOL_NOT_NULLABLE},
    {"n_flag", "Nullable(Bool)", SPOOL_FIXED, 394, 411},
    {"n_ts", "Nullable(DateTime64(9, 'UTC'))", SPOOL_FIXED, 144, 412},
    {"n_i64", "Nullable(Int64)", SPOOL_FIXED, 152, 413},
    {"n_u8", "Nullable(UInt8)", SPOOL_FIXED, 395, 414},
    {"n_f64", "Nullable(Float64)", SPOOL_FIXED, 160, 415},
    {"n_d32", "Nullable(Decimal(9, 2))", SPOOL_FIXED, 352, 416},
    {"n_d128", "Nullable(Decimal(38, 10))", SPOOL_FIXED, 32, 417},
    {"n_day", "Nullable(Date)", SPOOL_FIXED, 384, 418},
    {"n_id", "Nullable(UUID)", SPOOL_FIXED, 48, 419},
    {"n_code", "Nullable(FixedString(3))", SPOOL_FIXED, 405, 420},
    {"n_text", "Nullable(String)", SPOOL_STRING, 168, 421},
    {"n_name", "Nullable(String)", SPOOL_NAME, 356, 422},
    {"n_side", "Nullable(Enum8('buy' = 1, 'sell' = 2))", SPOOL_FIXED, 396, 423},
    {"a_flag", "Array(Bool)", SPOOL_ARRAY, 176, SPOOL_NOT_NULLABLE},
    {"a_ts", "Array(DateTime64(9, 'UTC'))", SPOOL_ARRAY, 184, SPOOL_NOT_NULLABLE},
    {"a_i16", "Array(Int16)", SPOOL_ARRAY, 192, SPOOL_NOT_NULLABLE},
    {"a_u64", "Array(UInt64)", SPOOL_ARRAY, 200, SPOOL_NOT_NULLABLE},
    {"a_f32", "Array(Float32)", SPOOL_ARRAY, 208, SPOOL_NOT_NULLABLE},
    {"a_f64", "Array(Float64)", SPOOL_ARRAY, 216, SPOOL_NOT_NULLABLE},
    {"a_d64", "Array(Decimal(18, 8))", SPOOL_ARRAY, 224, SPOOL_NOT_NULLABLE},
    {"a_d128", "Array(Decimal(38, 10))", SPOOL_ARRAY, 232, SPOOL_NOT_NULLABLE},
    {"a_day", "Array(Date)", SPOOL_ARRAY, 240, SPOOL_NOT_NULLABLE},
    {"a_id", "Array(UUID)", SPOOL_ARRAY, 248, SPOOL_NOT_NULLABLE},
    {"a_text", "Array(String)", SPOOL_ARRAY, 256, SPOOL_NOT_NULLABLE},
    {"a_side", "Array(Enum8('buy' = 1, 'sell' = 2))", SPOOL_ARRAY, 264, SPOOL_NOT_NULLABLE},
    {"o_zero", "UInt8", SPOOL_FIXED, 397, SPOOL_NOT_NULLABLE},
    {"o_flag", "Bool", SPOOL_FIXED, 398, SPOOL_NOT_NULLABLE},
    {"o_i32", "Int32", SPOOL_FIXED, 360, SPOOL_NOT_NULLABLE},
    {"o_u64", "UInt64", SPOOL_FIXED, 272, SPOOL_NOT_NULLABLE},
    {"o_f64", "Float64", SPOOL_FIXED, 280, SPOOL_NOT_NULLABLE},
    {"o_d128", "Decimal(38, 10)", SPOOL_FIXED, 64, SPOOL_NOT_NULLABLE},
    {"o_ts", "DateTime64(9, 'UTC')", SPOOL_FIXED, 288, SPOOL_NOT_NULLABLE},
    {"o_day", "Date", SPOOL_FIXED, 386, SPOOL_NOT_NULLABLE},
    {"o_id", "UUID", SPOOL_FIXED, 80, SPOOL_NOT_NULLABLE},
    {"o_code", "FixedString(3)", SPOOL_FIXED, 408, SPOOL_NOT_NULLABLE},
    {"o_side", "Enum8('buy' = 1, 'sell' = 2)", SPOOL_FIXED, 399, SPOOL_NOT_NULLABLE},
    {"o_text", "String", SPOOL_STRING, 296, SPOOL_NOT_NULLABLE},
    {"o_empty", "String", SPOOL_STRING, 304, SPOOL_NOT_NULLABLE},
    {"o_name", "String", SPOOL_NAME, 364, SPOOL_NOT_NULLABLE},
    {"o_nothing", "String", SPOOL_NAME, 368, SPOOL_NOT_NULLABLE},
    {"n_o_f64", "Nullable(Float64)", SPOOL_FIXED, 312, 424},
    {"n_o_name", "Nullable(String)", SPOOL_NAME, 372, 425},
    {"row", "UInt8", SPOOL_FIXED, 400, SPOOL_NOT_NULLABLE},
    {"from", "UInt8", SPOOL_FIXED, 401, SPOOL_NOT_NULLABLE},
    {"class", "String", SPOOL_STRING, 320, SPOOL_NOT_NULLABLE},
    {"switch", "UInt16", SPOOL_FIXED, 388, SPOOL_NOT_NULLABLE},
};
// For rings of some tables only: spool_table tables[] = {every_type_table, ...};
__attribute__((unused)) static const spool_table every_type_table = {"every_type", 0xd4a5ae9d8a14b20cull, 426, 69, every_type_columns};

typedef struct every_type_row {
    bool flag SPOOL_ZERO; // Bool
    spool_time ts SPOOL_ZERO; // DateTime64(9, 'UTC')
    int8_t i8 SPOOL_ZERO; // Int8
    int16_t i16 SPOOL_ZERO; // Int16
    int32_t i32 SPOOL_ZERO; // Int32
    int64_t i64 SPOOL_ZERO; // Int64
    uint8_t u8 SPOOL_ZERO; // UInt8
    uint16_t u16 SPOOL_ZERO; // UInt16
    uint32_t u32 SPOOL_ZERO; // UInt32
    uint64_t u64 SPOOL_ZERO; // UInt64
    float f32 SPOOL_ZERO; // Float32
    double f64 SPOOL_ZERO; // Float64
    spool_decimal32_2 d32 SPOOL_ZERO; // Decimal(9, 2)
    spool_decimal64_8 d64 SPOOL_ZERO; // Decimal(18, 8)
    spool_decimal128_10 d128 SPOOL_ZERO; // Decimal(38, 10)
    spool_date day SPOOL_ZERO; // Date
    spool_seconds sec SPOOL_ZERO; // DateTime('UTC')
    spool_uuid id SPOOL_ZERO; // UUID
    spool_text code SPOOL_ZERO; // FixedString(3)
    spool_text text SPOOL_ZERO; // String
    spool_name name SPOOL_ZERO; // LowCardinality(String)
    every_type_side side SPOOL_ZERO; // Enum8('buy' = 1, 'sell' = 2)
    every_type_kind kind SPOOL_ZERO; // Enum16('a b' = -300, 'it 's' = 1000, '' = 2, 'default' = 3, '2d' = 4)
    spool_bool_or_null n_flag SPOOL_ZERO; // Nullable(Bool); left out: null
    spool_time_or_null n_ts SPOOL_ZERO; // Nullable(DateTime64(9, 'UTC')); left out: null
    spool_i64_or_null n_i64 SPOOL_ZERO; // Nullable(Int64); left out: null
    spool_u8_or_null n_u8 SPOOL_ZERO; // Nullable(UInt8); left out: null
    spool_f64_or_null n_f64 SPOOL_ZERO; // Nullable(Float64); left out: null
    spool_decimal32_2_or_null n_d32 SPOOL_ZERO; // Nullable(Decimal(9, 2)); left out: null
    spool_decimal128_10_or_null n_d128 SPOOL_ZERO; // Nullable(Decimal(38, 10)); left out: null
    spool_date_or_null n_day SPOOL_ZERO; // Nullable(Date); left out: null
    spool_uuid_or_null n_id SPOOL_ZERO; // Nullable(UUID); left out: null
    spool_text_or_null n_code SPOOL_ZERO; // Nullable(FixedString(3)); left out: null
    spool_text_or_null n_text SPOOL_ZERO; // Nullable(String); left out: null
    spool_name_or_null n_name SPOOL_ZERO; // LowCardinality(Nullable(String)); left out: null
    every_type_n_side_or_null n_side SPOOL_ZERO; // Nullable(Enum8('buy' = 1, 'sell' = 2)); left out: null
    spool_bool_array a_flag SPOOL_ZERO; // Array(Bool); left out: empty
    spool_time_array a_ts SPOOL_ZERO; // Array(DateTime64(9, 'UTC')); left out: empty
    spool_i16_array a_i16 SPOOL_ZERO; // Array(Int16); left out: empty
    spool_u64_array a_u64 SPOOL_ZERO; // Array(UInt64); left out: empty
    spool_f32_array a_f32 SPOOL_ZERO; // Array(Float32); left out: empty
    spool_f64_array a_f64 SPOOL_ZERO; // Array(Float64); left out: empty
    spool_decimal64_8_array a_d64 SPOOL_ZERO; // Array(Decimal(18, 8)); left out: empty
    spool_decimal128_10_array a_d128 SPOOL_ZERO; // Array(Decimal(38, 10)); left out: empty
    spool_date_array a_day SPOOL_ZERO; // Array(Date); left out: empty
    spool_uuid_array a_id SPOOL_ZERO; // Array(UUID); left out: empty
    spool_text_array a_text SPOOL_ZERO; // Array(String); left out: empty
    every_type_a_side_array a_side SPOOL_ZERO; // Array(Enum8('buy' = 1, 'sell' = 2)); left out: empty
    uint8_t o_zero SPOOL_ZERO; // UInt8; left out: 0
    spool_bool_or_default o_flag SPOOL_ZERO; // Bool; left out: true
    spool_i32_or_default o_i32 SPOOL_ZERO; // Int32; left out: -5
    spool_u64_or_default o_u64 SPOOL_ZERO; // UInt64; left out: 18446744073709551615
    spool_f64_or_default o_f64 SPOOL_ZERO; // Float64; left out: 1.5
    spool_decimal128_10_or_default o_d128 SPOOL_ZERO; // Decimal(38, 10); left out: -2.5
    spool_time_or_default o_ts SPOOL_ZERO; // DateTime64(9, 'UTC'); left out: 2024-02-29T12:00:00.000000001Z
    spool_date_or_default o_day SPOOL_ZERO; // Date; left out: 2024-02-29
    spool_uuid_or_default o_id SPOOL_ZERO; // UUID; left out: 00112233-4455-6677-8899-aabbccddeeff
    spool_text_or_default o_code SPOOL_ZERO; // FixedString(3); left out: EU
    every_type_o_side_or_default o_side SPOOL_ZERO; // Enum8('buy' = 1, 'sell' = 2); left out: sell
    spool_text_or_default o_text SPOOL_ZERO; // String; left out: none "or"     /
    spool_text o_empty SPOOL_ZERO; // String; left out: ''
    spool_name_or_default o_name SPOOL_ZERO; // LowCardinality(String); left out: spot
    spool_name o_nothing SPOOL_ZERO; // LowCardinality(String); left out: ''
    spool_f64_or_null n_o_f64 SPOOL_ZERO; // Nullable(Float64); left out: null
    spool_name_or_null n_o_name SPOOL_ZERO; // LowCardinality(Nullable(String)); left out: null
    uint8_t row SPOOL_ZERO; // UInt8; left out: 0
    uint8_t from SPOOL_ZERO; // UInt8; left out: 0
    spool_text class_ SPOOL_ZERO; // String; left out: ''
    uint16_t switch_ SPOOL_ZERO; // UInt16; left out: 0
} every_type_row;

// Publishes a row: 0, or SPOOL_FULL, SPOOL_TOO_LONG or SPOOL_NO_TABLE, and then nothing of it is kept.
SPOOL_INLINE int every_type_publish(spool_ring *ring, const every_type_row *row) {
    int32_t table = spool_ring_find_table(ring, 0x7299a055f1022c64ull);
    if (!SPOOL_LIKELY(table >= 0)) return SPOOL_NO_TABLE;
    const spool_text given_code = row->code;
    if (!SPOOL_LIKELY(given_code.count <= 3)) return spool_row_too_long(ring, (uint32_t)table);
    const spool_text given_text = row->text;
    const spool_name given_name = row->name;
    const spool_text given_n_code = row->n_code.is_set ? row->n_code.value : spool_text_n("", 0);
    if (!SPOOL_LIKELY(given_n_code.count <= 3)) return spool_row_too_long(ring, (uint32_t)table);
    const spool_text given_n_text = row->n_text.is_set ? row->n_text.value : spool_text_n("", 0);
    const spool_name given_n_name = row->n_name.is_set ? row->n_name.value : spool_name_n("", 0);
    const spool_text given_o_code = row->o_code.is_set ? row->o_code.value : spool_text_n("EU", 2);
    if (!SPOOL_LIKELY(given_o_code.count <= 3)) return spool_row_too_long(ring, (uint32_t)table);
    const spool_text given_o_text = row->o_text.is_set ? row->o_text.value : spool_text_n("none \042or\042 \134 \077\077/", 15);
    const spool_text given_o_empty = row->o_empty;
    const spool_name given_o_name = row->o_name.is_set ? row->o_name.value : spool_name_n("spot", 4);
    const spool_name given_o_nothing = row->o_nothing;
    const spool_name given_n_o_name = row->n_o_name.is_set ? row->n_o_name.value : spool_name_n("", 0);
    const spool_text given_class_ = row->class_;
    uint64_t words = SPOOL_NAME_WORD(ring, given_name) | SPOOL_OPTIONAL_NAME_WORD(ring, given_n_name) | SPOOL_OPTIONAL_NAME_WORD(ring, given_o_name) | SPOOL_OPTIONAL_NAME_WORD(ring, given_o_nothing) | SPOOL_OPTIONAL_NAME_WORD(ring, given_n_o_name);
    spool_late_name late_name, late_n_name, late_o_name, late_o_nothing, late_n_o_name;
    uint32_t id_name = (uint32_t)given_name.word;
    uint32_t id_n_name = (uint32_t)given_n_name.word;
    uint32_t id_o_name = (uint32_t)given_o_name.word;
    uint32_t id_o_nothing = (uint32_t)given_o_nothing.word;
    uint32_t id_n_o_name = (uint32_t)given_n_o_name.word;
    uint64_t bytes = 426 + (uint64_t)given_text.count + (uint64_t)given_n_text.count + (uint64_t)row->a_flag.count * 1 + (uint64_t)row->a_ts.count * 8 + (uint64_t)row->a_i16.count * 2 + (uint64_t)row->a_u64.count * 8 + (uint64_t)row->a_f32.count * 4 + (uint64_t)row->a_f64.count * 8 + (uint64_t)row->a_d64.count * 8 + (uint64_t)row->a_d128.count * 16 + (uint64_t)row->a_day.count * 2 + (uint64_t)row->a_id.count * 16 + spool_texts_bytes(row->a_text) + (uint64_t)row->a_side.count * 1 + (uint64_t)given_o_text.count + (uint64_t)given_o_empty.count + (uint64_t)given_class_.count;
    if (!SPOOL_ALL_INTERNED(words)) {
        id_name = spool_name_resolve(ring, &late_name, given_name.word, given_name.bytes, given_name.count);
        bytes += late_name.tail;
        id_n_name = spool_name_resolve(ring, &late_n_name, given_n_name.word, given_n_name.bytes, given_n_name.count);
        bytes += late_n_name.tail;
        id_o_name = spool_name_resolve(ring, &late_o_name, given_o_name.word, given_o_name.bytes, given_o_name.count);
        bytes += late_o_name.tail;
        id_o_nothing = spool_name_resolve(ring, &late_o_nothing, given_o_nothing.word, given_o_nothing.bytes, given_o_nothing.count);
        bytes += late_o_nothing.tail;
        id_n_o_name = spool_name_resolve(ring, &late_n_o_name, given_n_o_name.word, given_n_o_name.bytes, given_n_o_name.count);
        bytes += late_n_o_name.tail;
    }
    unsigned char *to = spool_row_claim(ring, (uint32_t)table, bytes);
    if (!SPOOL_LIKELY(to != NULL)) return spool_row_refused(ring, bytes);
    SPOOL_PUT(to + 0, row->d128);
    SPOOL_PUT(to + 16, row->id);
    SPOOL_PUT(to + 32, row->n_d128.value);
    SPOOL_PUT(to + 48, row->n_id.value);
    if (row->o_d128.is_set) SPOOL_PUT(to + 64, row->o_d128.value);
    else memcpy(to + 64, "\000\106\342\055\372\377\377\377\377\377\377\377\377\377\377\377", 16);
    if (row->o_id.is_set) SPOOL_PUT(to + 80, row->o_id.value);
    else memcpy(to + 80, "\167\146\125\104\063\042\021\000\377\356\335\314\273\252\231\210", 16);
    SPOOL_PUT(to + 96, row->ts);
    SPOOL_PUT(to + 104, row->i64);
    SPOOL_PUT(to + 112, row->u64);
    SPOOL_PUT(to + 120, row->f64);
    SPOOL_PUT(to + 128, row->d64);
    SPOOL_PUT(to + 144, row->n_ts.value);
    SPOOL_PUT(to + 152, row->n_i64.value);
    SPOOL_PUT(to + 160, row->n_f64.value);
    if (row->o_u64.is_set) SPOOL_PUT(to + 272, row->o_u64.value);
    else memcpy(to + 272, "\377\377\377\377\377\377\377\377", 8);
    if (row->o_f64.is_set) SPOOL_PUT(to + 280, row->o_f64.value);
    else memcpy(to + 280, "\000\000\000\000\000\000\370\077", 8);
    if (row->o_ts.is_set) SPOOL_PUT(to + 288, row->o_ts.value);
    else memcpy(to + 288, "\001\200\101\307\236\123\270\027", 8);
    SPOOL_PUT(to + 312, row->n_o_f64.value);
    SPOOL_PUT(to + 328, row->i32);
    SPOOL_PUT(to + 332, row->u32);
    SPOOL_PUT(to + 336, row->f32);
    SPOOL_PUT(to + 340, row->d32);
    SPOOL_PUT(to + 344, row->sec);
    SPOOL_PUT(to + 352, row->n_d32.value);
    if (row->o_i32.is_set) SPOOL_PUT(to + 360, row->o_i32.value);
    else memcpy(to + 360, "\373\377\377\377", 4);
    SPOOL_PUT(to + 376, row->i16);
    SPOOL_PUT(to + 378, row->u16);
    SPOOL_PUT(to + 380, row->day);
    SPOOL_PUT(to + 382, row->kind);
    SPOOL_PUT(to + 384, row->n_day.value);
    if (row->o_day.is_set) SPOOL_PUT(to + 386, row->o_day.value);
    else memcpy(to + 386, "\106\115", 2);
    SPOOL_PUT(to + 388, row->switch_);
    SPOOL_PUT(to + 390, row->flag);
    SPOOL_PUT(to + 391, row->i8);
    SPOOL_PUT(to + 392, row->u8);
    SPOOL_PUT(to + 393, row->side);
    SPOOL_PUT(to + 394, row->n_flag.value);
    SPOOL_PUT(to + 395, row->n_u8.value);
    SPOOL_PUT(to + 396, row->n_side.value);
    SPOOL_PUT(to + 397, row->o_zero);
    if (row->o_flag.is_set) SPOOL_PUT(to + 398, row->o_flag.value);
    else memcpy(to + 398, "\001", 1);
    if (row->o_side.is_set) SPOOL_PUT(to + 399, row->o_side.value);
    else memcpy(to + 399, "\002", 1);
    SPOOL_PUT(to + 400, row->row);
    SPOOL_PUT(to + 401, row->from);
    spool_put_fixed_text(to + 402, 3, given_code);
    spool_put_fixed_text(to + 405, 3, given_n_code);
    spool_put_fixed_text(to + 408, 3, given_o_code);
    to[411] = !row->n_flag.is_set;
    to[412] = !row->n_ts.is_set;
    to[413] = !row->n_i64.is_set;
    to[414] = !row->n_u8.is_set;
    to[415] = !row->n_f64.is_set;
    to[416] = !row->n_d32.is_set;
    to[417] = !row->n_d128.is_set;
    to[418] = !row->n_day.is_set;
    to[419] = !row->n_id.is_set;
    to[420] = !row->n_code.is_set;
    to[421] = !row->n_text.is_set;
    to[422] = !row->n_name.is_set;
    to[423] = !row->n_side.is_set;
    to[424] = !row->n_o_f64.is_set;
    to[425] = !row->n_o_name.is_set;
    uint32_t end = 426;
    end = spool_put_text(to, 136, end, given_text);
    end = spool_put_text(to, 168, end, given_n_text);
    end = spool_put_array(to, 176, end, row->a_flag.values, row->a_flag.count, 1);
    end = spool_put_array(to, 184, end, row->a_ts.values, row->a_ts.count, 8);
    end = spool_put_array(to, 192, end, row->a_i16.values, row->a_i16.count, 2);
    end = spool_put_array(to, 200, end, row->a_u64.values, row->a_u64.count, 8);
    end = spool_put_array(to, 208, end, row->a_f32.values, row->a_f32.count, 4);
    end = spool_put_array(to, 216, end, row->a_f64.values, row->a_f64.count, 8);
    end = spool_put_array(to, 224, end, row->a_d64.values, row->a_d64.count, 8);
    end = spool_put_array(to, 232, end, row->a_d128.values, row->a_d128.count, 16);
    end = spool_put_array(to, 240, end, row->a_day.values, row->a_day.count, 2);
    end = spool_put_array(to, 248, end, row->a_id.values, row->a_id.count, 16);
    end = spool_put_texts(to, 256, end, row->a_text);
    end = spool_put_array(to, 264, end, row->a_side.values, row->a_side.count, 1);
    end = spool_put_text(to, 296, end, given_o_text);
    end = spool_put_text(to, 304, end, given_o_empty);
    end = spool_put_text(to, 320, end, given_class_);
    if (SPOOL_ALL_INTERNED(words)) {
        memcpy(to + 348, &id_name, 4);
        memcpy(to + 356, &id_n_name, 4);
        memcpy(to + 364, &id_o_name, 4);
        memcpy(to + 368, &id_o_nothing, 4);
        memcpy(to + 372, &id_n_o_name, 4);
    } else {
        end = spool_put_late_name(to, 348, end, id_name, &late_name);
        end = spool_put_late_name(to, 356, end, id_n_name, &late_n_name);
        end = spool_put_late_name(to, 364, end, id_o_name, &late_o_name);
        end = spool_put_late_name(to, 368, end, id_o_nothing, &late_o_nothing);
        spool_put_late_name(to, 372, end, id_n_o_name, &late_n_o_name);
    }
    spool_row_commit(ring, (uint32_t)table, to, bytes);
    return SPOOL_PUBLISHED;
}

// ---- ticks

__attribute__((unused)) static const spool_column ticks_columns[] = {
    {"ts", "DateTime64(9, 'UTC')", SPOOL_FIXED, 0, SPOOL_NOT_NULLABLE},
    {"symbol", "String", SPOOL_NAME, 16, SPOOL_NOT_NULLABLE},
    {"number", "UInt32", SPOOL_FIXED, 20, SPOOL_NOT_NULLABLE},
    {"note", "String", SPOOL_STRING, 8, SPOOL_NOT_NULLABLE},
    {"venue", "String", SPOOL_NAME, 24, SPOOL_NOT_NULLABLE},
};
// For rings of some tables only: spool_table tables[] = {ticks_table, ...};
__attribute__((unused)) static const spool_table ticks_table = {"ticks", 0xc9c339c4a26f3f95ull, 28, 5, ticks_columns};

typedef struct ticks_row {
    spool_time ts SPOOL_ZERO; // DateTime64(9, 'UTC')
    spool_name symbol SPOOL_ZERO; // LowCardinality(String)
    uint32_t number SPOOL_ZERO; // UInt32
    spool_text note SPOOL_ZERO; // String
    spool_name_or_default venue SPOOL_ZERO; // LowCardinality(String); left out: XNAS
} ticks_row;

// Publishes a row: 0, or SPOOL_FULL, SPOOL_TOO_LONG or SPOOL_NO_TABLE, and then nothing of it is kept.
SPOOL_INLINE int ticks_publish(spool_ring *ring, const ticks_row *row) {
    int32_t table = spool_ring_find_table(ring, 0x5206b2475a057075ull);
    if (!SPOOL_LIKELY(table >= 0)) return SPOOL_NO_TABLE;
    const spool_name given_symbol = row->symbol;
    const spool_text given_note = row->note;
    const spool_name given_venue = row->venue.is_set ? row->venue.value : spool_name_n("XNAS", 4);
    uint64_t words = SPOOL_NAME_WORD(ring, given_symbol) | SPOOL_OPTIONAL_NAME_WORD(ring, given_venue);
    spool_late_name late_symbol, late_venue;
    uint32_t id_symbol = (uint32_t)given_symbol.word;
    uint32_t id_venue = (uint32_t)given_venue.word;
    uint64_t bytes = 28 + (uint64_t)given_note.count;
    if (!SPOOL_ALL_INTERNED(words)) {
        id_symbol = spool_name_resolve(ring, &late_symbol, given_symbol.word, given_symbol.bytes, given_symbol.count);
        bytes += late_symbol.tail;
        id_venue = spool_name_resolve(ring, &late_venue, given_venue.word, given_venue.bytes, given_venue.count);
        bytes += late_venue.tail;
    }
    unsigned char *to = spool_row_claim(ring, (uint32_t)table, bytes);
    if (!SPOOL_LIKELY(to != NULL)) return spool_row_refused(ring, bytes);
    SPOOL_PUT(to + 0, row->ts);
    SPOOL_PUT(to + 20, row->number);
    uint32_t end = 28;
    end = spool_put_text(to, 8, end, given_note);
    if (SPOOL_ALL_INTERNED(words)) {
        memcpy(to + 16, &id_symbol, 4);
        memcpy(to + 24, &id_venue, 4);
    } else {
        end = spool_put_late_name(to, 16, end, id_symbol, &late_symbol);
        spool_put_late_name(to, 24, end, id_venue, &late_venue);
    }
    spool_row_commit(ring, (uint32_t)table, to, bytes);
    return SPOOL_PUBLISHED;
}

// All tables of this file, for spool_ring_open.
__attribute__((unused)) static const spool_table coldpath_tables[] = {
    {"every_type", 0xd4a5ae9d8a14b20cull, 426, 69, every_type_columns},
    {"ticks", 0xc9c339c4a26f3f95ull, 28, 5, ticks_columns},
};
#define COLDPATH_TABLE_COUNT 2

#endif
