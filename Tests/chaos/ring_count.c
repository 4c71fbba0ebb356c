// Counts the rows of the rings' kill test in Native blocks from standard input, one table's, without any of the recorder's code.
//
//     lz4 -dc SEGMENT... | ring_count TABLE COUNTS
//
// Appends to the file COUNTS, for each ring, its rows in this table and the highest n. Says each row that is wrong: half written, out of
// order, repeated, in the wrong table. Exit status 1 then.
#include "ring_rows.h"

#include <stdio.h>
#include <stdlib.h>

static unsigned char *data;
static size_t size, at;
static long wrong;

static void die(const char *what) {
    fprintf(stderr, "ring_count: %s at byte %zu of %zu\n", what, at, size);
    exit(74);
}

static const unsigned char *take(size_t count) {
    if (count > size - at) die("the block ends early");
    at += count;
    return data + at - count;
}

static uint64_t varint(void) {
    uint64_t value = 0;
    for (int shift = 0; shift < 63; shift += 7) {
        unsigned char byte = *take(1);
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
    }
    die("an endless number");
    return 0;
}

typedef struct text {
    const char *bytes;
    size_t count;
} text;

static text take_text(void) {
    size_t count = varint();
    text result = {(const char *)take(count), count};
    return result;
}

static text *take_texts(size_t rows) {
    text *all = (text *)malloc(rows * sizeof(text));
    for (size_t i = 0; i < rows; i++) all[i] = take_text();
    return all;
}

#define NUMBER(type, from, i) ({ type value; memcpy(&value, (from) + (i) * sizeof value, sizeof value); value; })

// LowCardinality(String): each different text once, and an index a row.
static text *take_names(size_t rows) {
    uint64_t version = NUMBER(uint64_t, take(8), 0), flags = NUMBER(uint64_t, take(8), 0);
    if (version != 1 || flags < 0x600 || flags > 0x602) die("an unknown dictionary");
    uint64_t keys = NUMBER(uint64_t, take(8), 0);
    if (keys > size) die("too many keys");
    text *names = take_texts(keys);
    if (NUMBER(uint64_t, take(8), 0) != rows) die("a dictionary for another number of rows");
    size_t width = (size_t)1 << (flags & 3);
    const unsigned char *indices = take(rows * width);
    text *all = (text *)malloc(rows * sizeof(text));
    for (size_t i = 0; i < rows; i++) {
        uint32_t index = 0;
        memcpy(&index, indices + i * width, width);
        if (index >= keys) die("an index beyond the dictionary");
        all[i] = names[index];
    }
    free(names);
    return all;
}

static void expect(const char *name, const char *type) {
    text found = take_text(), found_type = take_text();
    if (found.count != strlen(name) || memcmp(found.bytes, name, found.count) != 0) die(name);
    if (found_type.count != strlen(type) || memcmp(found_type.bytes, type, found_type.count) != 0) die(type);
}

typedef struct seen {
    uint32_t producer, life;
    uint64_t rows, next;
} seen;

static seen *table;
static size_t slots = 1 << 16, used;

static seen *find(uint32_t producer, uint32_t life) {
    for (size_t slot = mix((uint64_t)producer << 32 | life);; slot++) {
        seen *entry = &table[slot & (slots - 1)];
        if (entry->rows && (entry->producer != producer || entry->life != life)) continue;
        if (!entry->rows) {
            if (++used == slots / 2) die("too many producers");
            entry->producer = producer;
            entry->life = life;
        }
        return entry;
    }
}

static void complain(const char *what, row_key key) {
    if (wrong++ < 20) fprintf(stderr, "%s: producer %u life %u n %llu\n", what, key.producer, key.life, (unsigned long long)key.n);
}

static uint64_t count_block(uint32_t own, uint64_t sequence) {
    size_t columns = varint(), rows = varint();
    if (columns != (own == 1 ? 10 : 9)) die("another number of columns");
    expect("ts", "DateTime64(9, 'UTC')");
    const unsigned char *ts = take(rows * 8);
    expect("producer", "UInt32");
    const unsigned char *producer = take(rows * 4);
    expect("life", "UInt32");
    const unsigned char *life = take(rows * 4);
    expect("n", "UInt64");
    const unsigned char *n = take(rows * 8);
    expect("kind", "LowCardinality(String)");
    text *kinds = take_names(rows);
    expect("note", "String");
    text *notes = take_texts(rows);
    expect("check", "UInt64");
    const unsigned char *check = take(rows * 8);
    const unsigned char *ends = NULL, *levels = NULL;
    if (own == 1) {
        expect("levels", "Array(UInt32)");
        ends = take(rows * 8);
        levels = take(NUMBER(uint64_t, ends, rows - 1) * 4);
    }
    expect("spool_writer", "LowCardinality(String)");
    free(take_names(rows));
    expect("spool_seq", "UInt64");
    const unsigned char *sequences = take(rows * 8);
    for (size_t i = 0; i < rows; i++) {
        row_key key = {NUMBER(uint32_t, producer, i), NUMBER(uint32_t, life, i), NUMBER(uint64_t, n, i)};
        if (NUMBER(uint64_t, sequences, i) != sequence++) complain("a sequence that does not follow", key);
        uint64_t first = ends && i > 0 ? NUMBER(uint64_t, ends, i - 1) : 0, end = ends ? NUMBER(uint64_t, ends, i) : 0;
        uint64_t expected = check_of(key, NUMBER(int64_t, ts, i), kinds[i].bytes, kinds[i].count, notes[i].bytes, notes[i].count,
                                     levels ? levels + first * 4 : NULL, (end - first) * 4);
        if (expected != NUMBER(uint64_t, check, i)) {
            complain("half written", key);
            continue;
        }
        if (table_of(key) != own) complain("in the wrong table", key);
        seen *ring = find(key.producer, key.life);
        if (ring->rows && key.n < ring->next) complain("repeated, or out of order", key);
        ring->rows++;
        ring->next = key.n + 1;
    }
    free(kinds);
    free(notes);
    return sequence;
}

// All that follow each other in the table's order: which n belong to a table is known from the key alone, so their number says it all.
static uint64_t expected_rows(seen ring, uint32_t own) {
    uint64_t count = 0;
    for (uint64_t n = 0; n < ring.next; n++) {
        row_key key = {ring.producer, ring.life, n};
        count += table_of(key) == own;
    }
    return count;
}

int main(int argc, char **argv) {
    if (argc != 3) return 64;
    uint32_t own = (uint32_t)atoi(argv[1]);
    // Streamed: a whole block of the format's most, 64 MiB, is always in memory.
    size_t room = 256 << 20;
    data = (unsigned char *)malloc(room);
    table = (seen *)calloc(slots, sizeof(seen));
    if (!data || !table) return 74;
    uint64_t sequence = 1;
    int ended = 0;
    for (;;) {
        memmove(data, data + at, size - at);
        size -= at;
        at = 0;
        while (!ended && size < room) {
            size_t count = fread(data + size, 1, room - size, stdin);
            if (count == 0) ended = 1;
            size += count;
        }
        if (size == 0) break;
        while (at < size && (ended || size - at > (64u << 20))) sequence = count_block(own, sequence);
    }
    FILE *out = fopen(argv[2], "a");
    if (!out) return 74;
    for (size_t i = 0; i < slots; i++) {
        if (!table[i].rows) continue;
        uint64_t expected = expected_rows(table[i], own);
        if (table[i].rows != expected) {
            fprintf(stderr, "producer %u life %u: %llu rows in this table below n %llu, expected %llu\n", table[i].producer, table[i].life,
                    (unsigned long long)table[i].rows, (unsigned long long)table[i].next, (unsigned long long)expected);
            wrong++;
        }
        fprintf(out, "%u %u %llu %llu\n", table[i].producer, table[i].life, (unsigned long long)table[i].rows, (unsigned long long)table[i].next);
    }
    if (fclose(out) != 0) return 74;
    printf("%llu\n", (unsigned long long)(sequence - 1));
    return wrong ? 1 : 0;
}
