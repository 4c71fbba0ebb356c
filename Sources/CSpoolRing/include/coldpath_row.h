// The typed values of which `spool-writer codegen --lang c` makes rows, for C11 and C++17. Nothing to link.
//
// Each value has a type of its own, so that a price cannot stand where a time belongs. All zero is a valid row: null where
// there can be null, else the column's default.
//
//     .ts = spool_time(ns)                        DateTime64: nanoseconds since 1970
//     .price = spool_decimal64_8(6180050000000)   Decimal(18, 8): the scaled integer, here 61800.5
//     .limit_px = SPOOL_SET(spool_decimal64_8(1)) Nullable, and columns with a DEFAULT that is not zero; left out is null, or the default
//     .order_id = spool_text(id)                  String: bytes that live until publish returns; or spool_text_n(bytes, count)
//     .symbol = btcusdt                           LowCardinality(String): spool_name btcusdt = spool_intern(&ring, "BTCUSDT")
//     .levels = {levels, 5}                       Array: pointer and count
//
// In C++ the same values are made by constructors, and what is Nullable takes its value as it is: row.limit_px = spool_decimal64_8(1).
#ifndef COLDPATH_ROW_H
#define COLDPATH_ROW_H

#include "coldpath_ring.h"

#ifdef __cplusplus
#include <string_view>
#include <type_traits>
#include <utility>
#define SPOOL_ZERO {} /* behind a field: C++ zeroes by itself what an initialiser leaves out */
#else
#include <stdbool.h>
#define SPOOL_ZERO
// Without it C takes a bare number for a typed value (`.price = 5`): it reads missing braces into it.
#ifndef SPOOL_ALLOW_MISSING_BRACES
#pragma GCC diagnostic error "-Wmissing-braces"
#endif
#endif

// What publish returns.
enum {
    SPOOL_PUBLISHED = 0,
    SPOOL_FULL = 1,       // the ring has no room until the writer has come further; the row is counted and not kept
    SPOOL_TOO_LONG = 2,   // more than 1 MiB or a quarter of the ring, or a text longer than its FixedString; not kept
    SPOOL_NO_TABLE = 3    // the ring was opened without this table
};

// Always: only where the compiler sees the row being made does it store the values straight into the ring.
#define SPOOL_INLINE __attribute__((always_inline)) static inline
#define SPOOL_LIKELY(condition) __builtin_expect(!!(condition), 1)

// ---- Types of values.

#define SPOOL_SET(value) {(value), 1}

#ifdef __cplusplus

// `stored` in a type of its own. `| 0` lets only whole numbers through.
#define SPOOL_WHOLE(type, stored, member) \
    struct type { \
        stored member; \
        constexpr type() : member() {} \
        template <class Whole> constexpr explicit type(Whole whole) : member(static_cast<stored>(whole | 0)) {} \
    }

#define SPOOL_OPTIONAL(name, type) \
    struct name { \
        type value; \
        bool is_set; \
        constexpr name() : value(), is_set(false) {} \
        constexpr name(type given) : value(given), is_set(true) {} \
        constexpr name(type given, bool set) : value(given), is_set(set) {} \
    }

#define SPOOL_TYPES(name, type) \
    SPOOL_OPTIONAL(name##_or_null, type); \
    SPOOL_OPTIONAL(name##_or_default, type); \
    struct name##_array { \
        const type *values; \
        uint32_t count; \
    }

#else

#define SPOOL_WHOLE(type, stored, member) \
    typedef struct type { \
        stored member; \
    } type

#define SPOOL_TYPES(name, type) \
    typedef struct name##_or_null { \
        type value; \
        bool is_set; \
    } name##_or_null; \
    typedef struct name##_or_default { \
        type value; \
        bool is_set; \
    } name##_or_default; \
    typedef struct name##_array { \
        const type *values; \
        uint32_t count; \
    } name##_array

#endif

// One member of an enum column.
#ifdef __cplusplus
#define SPOOL_MEMBER(type, name, number) __attribute__((unused)) static constexpr type name(number)
#else
#define SPOOL_MEMBER(type, name, number) __attribute__((unused)) static const type name = {number}
#endif

__extension__ typedef __int128 spool_int128;

SPOOL_TYPES(spool_i8, int8_t);
SPOOL_TYPES(spool_i16, int16_t);
SPOOL_TYPES(spool_i32, int32_t);
SPOOL_TYPES(spool_i64, int64_t);
SPOOL_TYPES(spool_u8, uint8_t);
SPOOL_TYPES(spool_u16, uint16_t);
SPOOL_TYPES(spool_u32, uint32_t);
SPOOL_TYPES(spool_u64, uint64_t);
SPOOL_TYPES(spool_f32, float);
SPOOL_TYPES(spool_f64, double);
SPOOL_TYPES(spool_bool, bool);

SPOOL_WHOLE(spool_time, int64_t, ns); // DateTime64(9): nanoseconds since 1970
SPOOL_TYPES(spool_time, spool_time);
SPOOL_WHOLE(spool_seconds, uint32_t, seconds); // DateTime: seconds since 1970
SPOOL_TYPES(spool_seconds, spool_seconds);
SPOOL_WHOLE(spool_date, uint16_t, days); // Date: days since 1970-01-01
SPOOL_TYPES(spool_date, spool_date);
#ifndef __cplusplus
#define spool_time(whole) ((spool_time){(whole) | 0})
#define spool_seconds(whole) ((spool_seconds){(whole) | 0})
#define spool_date(whole) ((spool_date){(whole) | 0})
#endif

typedef struct spool_uuid {
    uint64_t high; // the first half of the text
    uint64_t low;
} spool_uuid;
SPOOL_TYPES(spool_uuid, spool_uuid);

// Text as UTF-8. The bytes must live until publish returns.
typedef struct spool_text {
    const char *bytes;
    uint32_t count;
#ifdef __cplusplus
    constexpr spool_text() : bytes(nullptr), count(0) {}
    constexpr spool_text(const char *from, size_t n) : bytes(from), count(n > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(n)) {}
    constexpr spool_text(std::string_view view) : spool_text(view.data(), view.size()) {}
    constexpr spool_text(const char *text) : spool_text(std::string_view(text)) {}
    template <class Text, class = decltype(std::string_view(std::declval<const Text &>()))>
    constexpr spool_text(const Text &text) : spool_text(std::string_view(text)) {}
    // A temporary std::string would be gone before the row is published.
    template <class Text, class = std::enable_if_t<!std::is_reference_v<Text> && !std::is_trivially_copyable_v<Text>>>
    spool_text(Text &&text) = delete;
#endif
} spool_text;
SPOOL_TYPES(spool_text, spool_text);

static inline spool_text spool_text_n(const char *bytes, size_t count) {
    spool_text text;
    text.bytes = bytes;
    text.count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count; // no row can hold it, so it comes out as too long
    return text;
}
#ifndef __cplusplus
#define spool_text(string) spool_text_n((string), strlen(string))
#endif

// A text that repeats. From spool_intern it is four bytes in each row; from spool_name it is looked up (some 10 ns) each time.
// The bytes must live as long as the name.
typedef struct spool_name {
    uint64_t word; // the id below the token of the ring that gave it, or 0
    const char *bytes;
    uint32_t count;
#ifdef __cplusplus
    constexpr spool_name() : word(0), bytes(nullptr), count(0) {}
    constexpr spool_name(spool_text text) : word(0), bytes(text.bytes), count(text.count) {}
    template <class Text, class = decltype(spool_text(std::declval<Text>()))>
    constexpr spool_name(Text &&text) : spool_name(spool_text(std::forward<Text>(text))) {}
#endif
} spool_name;
SPOOL_TYPES(spool_name, spool_name);

static inline spool_name spool_name_n(const char *bytes, size_t count) {
    spool_text text = spool_text_n(bytes, count);
    spool_name name;
    name.word = 0;
    name.bytes = text.bytes;
    name.count = text.count;
    return name;
}
#ifndef __cplusplus
#define spool_name(string) spool_name_n((string), strlen(string))
#endif

// The name for a ring, once, before the hot loop. Where the ring has no room for more names, and on other rings, rows carry the
// bytes themselves, so a name is never wrong.
__attribute__((unused)) static spool_name spool_intern_n(spool_ring *ring, const char *bytes, size_t count) {
    spool_name name = spool_name_n(bytes, count);
    uint32_t id = spool_ring_intern(ring, bytes, name.count);
    if (id != SPOOL_NAME_INLINE) name.word = ring->name_token | id;
    return name;
}
__attribute__((unused)) static spool_name spool_intern(spool_ring *ring, const char *string) {
    return spool_intern_n(ring, string, strlen(string));
}

// ---- What generated code is made of.

// Whether all these names are ids of this ring: `words` is the disjunction of all (word ^ token).
#define SPOOL_ALL_INTERNED(words) SPOOL_LIKELY(((words) >> 31) == 0)

// What a name puts into that disjunction. A name that may be left out costs nothing when it is: the empty text has the id 0 in every ring.
#define SPOOL_NAME_WORD(ring, name) ((name).word ^ (ring)->name_token)
#define SPOOL_OPTIONAL_NAME_WORD(ring, name) ((name).count != 0 ? SPOOL_NAME_WORD(ring, name) : 0)

// What is known of a name that is not interned in this ring, from before the row is claimed until it is written.
typedef struct spool_late_name {
    const char *bytes;
    uint32_t count;
    uint32_t tail; // bytes that it needs behind the fixed part
} spool_late_name;

// The id of such a name. By value, and what is needed later is kept in `late`: so a row that is all interned never lies in
// memory, and the texts of its names are not even loaded.
__attribute__((noinline, cold, unused)) static uint32_t spool_name_resolve(
    spool_ring *ring, spool_late_name *late, uint64_t word, const char *bytes, uint32_t count) {
    uint32_t id = ((word ^ ring->name_token) >> 31) == 0 ? (uint32_t)word : spool_ring_intern(ring, bytes, count);
    late->bytes = bytes;
    late->count = count;
    // A text near 4 GiB must not come out short: what counts is that it is too long.
    late->tail = id != SPOOL_NAME_INLINE ? 0 : count < UINT32_MAX - 4 ? count + 4 : UINT32_MAX;
    return id;
}

__attribute__((noinline, cold, unused)) static uint32_t spool_put_late_name(
    unsigned char *row, uint32_t at, uint32_t end, uint32_t id, const spool_late_name *late) {
    uint32_t word = id == SPOOL_NAME_INLINE ? SPOOL_NAME_INLINE + end : id;
    memcpy(row + at, &word, sizeof word);
    if (id != SPOOL_NAME_INLINE) return end;
    memcpy(row + end, &late->count, sizeof late->count);
    memcpy(row + end + sizeof late->count, late->bytes, late->count);
    return end + late->tail;
}

// spool_ring_claim and spool_ring_commit with what a row's code knows already.
static inline unsigned char *spool_row_claim(spool_ring *ring, uint32_t table, uint64_t row_bytes) {
    uint64_t bytes = SPOOL_RECORD_BYTES(row_bytes);
    // No ring is so small that it would not take a record of this size.
    const uint64_t always_short_enough = SPOOL_RING_MIN_DATA_BYTES / 4;
    if (__builtin_expect((ring->position + bytes > ring->limit) | (bytes > always_short_enough), 0)) {
        if (!spool_ring_make_room(ring, table, bytes)) return NULL;
    }
    return ring->data + (ring->position & ring->mask) + sizeof(spool_record);
}

static inline void spool_row_commit(spool_ring *ring, uint32_t table, unsigned char *row, uint64_t row_bytes) {
    uint64_t bytes = SPOOL_RECORD_BYTES(row_bytes);
    uint64_t word = bytes | (uint64_t)table << 32;
    memcpy(row - sizeof word, &word, sizeof word);
    uint64_t position = ring->position + bytes;
    ring->position = position;
    __atomic_store_n(&ring->producer->write_position, position, __ATOMIC_RELEASE);
    // As spool_ring_commit does, and for its reason.
    __builtin_prefetch(row - sizeof word + bytes + 64, 1);
    __builtin_prefetch(row - sizeof word + bytes + 128, 1);
}

// Why there was no room.
static inline int spool_row_refused(const spool_ring *ring, uint64_t bytes) {
    return SPOOL_RECORD_BYTES(bytes) > ring->max_record ? SPOOL_TOO_LONG : SPOOL_FULL;
}

// A row that cannot be encoded is counted with those that are too long.
__attribute__((noinline, cold, unused)) static int spool_row_too_long(spool_ring *ring, uint32_t table) {
    spool_ring_make_room(ring, table, UINT64_MAX);
    return SPOOL_TOO_LONG;
}

#define SPOOL_PUT(to, value) memcpy((to), &(value), sizeof(value))

static inline void spool_put_slot(unsigned char *to, uint32_t offset, uint32_t count) {
    uint64_t slot = (uint64_t)offset | (uint64_t)count << 32;
    memcpy(to, &slot, sizeof slot);
}

// Puts the text at `end` of the row and its slot into the fixed part; returns the new end.
static inline uint32_t spool_put_text(unsigned char *row, uint32_t slot, uint32_t end, spool_text text) {
    spool_put_slot(row + slot, end, text.count);
    spool_copy(row + end, text.bytes, text.count);
    return end + text.count;
}

static inline void spool_put_fixed_text(unsigned char *to, uint32_t width, spool_text text) {
    spool_copy(to, text.bytes, text.count);
    memset(to + text.count, 0, width - text.count);
}

static inline uint32_t spool_put_array(unsigned char *row, uint32_t slot, uint32_t end, const void *values, uint32_t count, uint32_t width) {
    spool_put_slot(row + slot, end, count);
    if (count != 0) memcpy(row + end, values, (size_t)count * width);
    return end + count * width;
}

static inline uint64_t spool_texts_bytes(spool_text_array texts) {
    uint64_t bytes = (uint64_t)texts.count * sizeof(spool_slot);
    for (uint32_t i = 0; i < texts.count; i++) bytes += texts.values[i].count;
    return bytes;
}

static inline uint32_t spool_put_texts(unsigned char *row, uint32_t slot, uint32_t end, spool_text_array texts) {
    spool_put_slot(row + slot, end, texts.count);
    uint32_t tail = end + texts.count * (uint32_t)sizeof(spool_slot);
    for (uint32_t i = 0; i < texts.count; i++) tail = spool_put_text(row, end + i * (uint32_t)sizeof(spool_slot), tail, texts.values[i]);
    return tail;
}

// ---- Before the hot loop.

// A decimal as text into the scaled integer of a column with `scale` digits after the point: exact, or 0 is returned.
// `"61800.5"` with scale 8 is 6180050000000.
__attribute__((unused)) static int spool_decimal_parse(const char *text, uint32_t scale, spool_int128 *to) {
    __extension__ typedef unsigned __int128 magnitude;
    const magnitude limit = (magnitude)10000000000000000000ull * 10000000000000000000ull; // 38 digits
    int is_negative = *text == '-';
    if (*text == '-' || *text == '+') text++;
    magnitude units = 0;
    uint32_t digits = 0, after = 0;
    int has_point = 0;
    for (; *text; text++) {
        if (*text == '.' && !has_point) {
            has_point = 1;
        } else if (*text >= '0' && *text <= '9' && (!has_point || after < scale)) {
            if (units >= limit / 10) return 0;
            units = units * 10 + (unsigned)(*text - '0');
            digits++;
            after += has_point ? 1 : 0;
        } else if (*text == '0' && has_point) {
            digits++; // zeros beyond the scale change nothing
        } else {
            return 0;
        }
    }
    for (; after < scale; after++) {
        if (units >= limit / 10) return 0;
        units *= 10;
    }
    if (digits == 0) return 0;
    *to = is_negative ? -(spool_int128)units : (spool_int128)units;
    return 1;
}

#endif
