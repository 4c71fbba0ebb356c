// Rows while they grow, and what the keywords of a call mean.
#ifndef COLDPATH_ROWS_H
#define COLDPATH_ROWS_H

#include "values.h"

// ---- Rows.

// A row while it grows: its fixed part, then the tail up to `end`.
typedef struct row {
    const Table *table;
    unsigned char *bytes;
    size_t room;
    size_t end;
} row;

static int make_room(row *r, size_t more) {
    if (r->end + more <= r->room) return 0;
    if (r->end + more > SPOOL_RING_MAX_RECORD_BYTES) {
        PyErr_Format(row_too_long, "%U: a row of more than 1 MiB", r->table->name);
        return -1;
    }
    size_t room = (r->end + more) * 2;
    unsigned char *bytes = PyMem_Realloc(r->bytes, room);
    if (!bytes) {
        PyErr_NoMemory();
        return -1;
    }
    r->bytes = bytes;
    r->room = room;
    return 0;
}

static void put_slot(row *r, size_t at, size_t offset, size_t count) {
    uint32_t slot[2] = {(uint32_t)offset, (uint32_t)count};
    memcpy(r->bytes + at, slot, sizeof slot);
}

static int put_string(row *r, const column *c, PyObject *value, size_t slot) {
    Py_ssize_t count;
    const char *bytes = text_bytes(r->table, c, value, &count);
    if (!bytes || make_room(r, (size_t)count) < 0) return -1;
    memcpy(r->bytes + r->end, bytes, (size_t)count);
    put_slot(r, slot, r->end, (size_t)count);
    r->end += (size_t)count;
    return 0;
}

static int put_name(row *r, Ring *ring, const column *c, PyObject *value) {
    // The code of a value before this one may have closed the ring.
    if (!check_usable(ring)) return -1;
    size_t entry = ((uintptr_t)value >> 4) % CACHED_NAMES;
    uint32_t id;
    if (ring->names[entry].text == value) {
        id = ring->names[entry].id;
    } else {
        Py_ssize_t count;
        const char *bytes = text_bytes(r->table, c, value, &count);
        if (!bytes) return -1;
        id = spool_ring_intern(&ring->ring, bytes, (uint32_t)count);
        if (id == SPOOL_NAME_INLINE) {
            if (make_room(r, 4 + (size_t)count) < 0) return -1;
            uint32_t length = (uint32_t)count;
            memcpy(r->bytes + r->end, &length, 4);
            memcpy(r->bytes + r->end + 4, bytes, (size_t)count);
            id = SPOOL_NAME_INLINE + (uint32_t)r->end;
            r->end += 4 + (size_t)count;
        } else {
            // The same object is the same text, as long as it lives.
            Py_XSETREF(ring->names[entry].text, Py_NewRef(value));
            ring->names[entry].id = id;
        }
    }
    memcpy(r->bytes + c->offset, &id, sizeof id);
    return 0;
}

static int put_array(row *r, const column *c, PyObject *value) {
    if (PyUnicode_Check(value) || PyBytes_Check(value)) return wrong_type(r->table, c, "a sequence", value);
    PyObject *items = PySequence_Fast(value, "");
    if (!items) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            wrong_type(r->table, c, "a sequence", value);
        }
        return -1;
    }
    size_t count = (size_t)PySequence_Fast_GET_SIZE(items);
    size_t width = c->kind == KIND_STRING ? sizeof(spool_slot) : c->width;
    int code = count > SPOOL_RING_MAX_RECORD_BYTES ? make_room(r, SIZE_MAX / 4) : make_room(r, count * width);
    size_t start = r->end;
    if (code == 0) {
        put_slot(r, c->offset, start, count);
        r->end += count * width;
    }
    for (size_t i = 0; code == 0 && i < count; i++) {
        // An element's own code may shorten the list.
        if ((size_t)PySequence_Fast_GET_SIZE(items) != count) {
            PyErr_Format(PyExc_RuntimeError, "%U.%U: the sequence changed while it was read", r->table->name, c->keyword);
            code = -1;
            break;
        }
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(items, (Py_ssize_t)i));
        size_t at = start + i * width;
        code = c->kind == KIND_STRING ? put_string(r, c, item, at) : put_fixed(r->table, c, item, r->bytes + at);
        Py_DECREF(item);
    }
    Py_DECREF(items);
    return code;
}

static int put_value(row *r, Ring *ring, const column *c, PyObject *value) {
    if (c->null_offset != SPOOL_NOT_NULLABLE) {
        r->bytes[c->null_offset] = value == Py_None;
        if (value == Py_None) return 0;
    } else if (value == Py_None) {
        return complain(PyExc_TypeError, r->table, c, "None, but the column is not Nullable");
    }
    switch (c->storage) {
    case SPOOL_FIXED: return put_fixed(r->table, c, value, r->bytes + c->offset);
    case SPOOL_STRING: return put_string(r, c, value, c->offset);
    case SPOOL_NAME: return put_name(r, ring, c, value);
    default: return put_array(r, c, value);
    }
}

// ---- Call sites.

static int find_column(const Table *table, PyObject *keyword) {
    for (uint32_t i = 0; i < table->declaration.column_count; i++)
        if (table->columns[i].keyword == keyword) return (int)i;
    for (uint32_t i = 0; i < table->declaration.column_count; i++)
        if (PyUnicode_Compare(table->columns[i].keyword, keyword) == 0) return (int)i;
    return -1;
}

static void forget_site(call_site *site) {
    Py_CLEAR(site->kwnames);
    PyMem_Free(site->columns);
    PyMem_Free(site->defaults);
    site->columns = site->defaults = NULL;
    site->default_count = 0;
}

// What the keywords mean; says which are unknown or missing.
static bool learn_site(const Table *table, PyObject *kwnames, call_site *to) {
    uint32_t columns = table->declaration.column_count;
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    bool *is_given = PyMem_Calloc(columns, sizeof(bool));
    call_site site = {kwnames, PyMem_Calloc((size_t)count + 1, sizeof(uint16_t)), PyMem_Calloc(columns, sizeof(uint16_t)), 0};
    Py_XINCREF(kwnames);
    if (!is_given || !site.columns || !site.defaults) {
        PyErr_NoMemory();
        goto failed;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *keyword = PyTuple_GET_ITEM(kwnames, i);
        int index = find_column(table, keyword);
        if (index < 0) {
            PyErr_Format(PyExc_TypeError, "%U has no column %R", table->name, keyword);
            goto failed;
        }
        site.columns[i] = (uint16_t)index;
        is_given[index] = true;
    }
    for (uint32_t i = 0; i < columns; i++) {
        if (is_given[i]) continue;
        if (table->columns[i].is_required) {
            PyErr_Format(PyExc_TypeError, "%U needs %U: the column has no default", table->name, table->columns[i].keyword);
            goto failed;
        }
        if (table->columns[i].default_text) site.defaults[site.default_count++] = (uint16_t)i;
    }
    PyMem_Free(is_given);
    *to = site;
    return true;
failed:
    PyMem_Free(is_given);
    forget_site(&site);
    return false;
}

static bool same_keywords(PyObject *a, PyObject *b) {
    if (!a || !b || PyTuple_GET_SIZE(a) != PyTuple_GET_SIZE(b)) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(a); i++)
        if (PyTuple_GET_ITEM(a, i) != PyTuple_GET_ITEM(b, i)) return false;
    return true;
}

// The call site with these keywords; `spare` takes one that cannot be remembered, and is freed by the caller.
static inline const call_site *find_site(Table *table, PyObject *kwnames, call_site *spare) {
    for (int i = 0; i < CALL_SITES; i++)
        if (table->sites[i].kwnames == kwnames && table->sites[i].columns) return &table->sites[i];
    // table(ring, **row) has a new tuple each time, but the same words in it.
    for (int i = 0; i < CALL_SITES; i++)
        if (table->sites[i].columns && same_keywords(table->sites[i].kwnames, kwnames)) return &table->sites[i];
    if (!learn_site(table, kwnames, spare)) return NULL;
    // While a row is being made nothing is forgotten: its call site is in use.
    if (table->is_busy) return spare;
    call_site *kept = &table->sites[table->next_site];
    table->next_site = (table->next_site + 1) % CALL_SITES;
    forget_site(kept);
    *kept = *spare;
    *spare = (call_site){0};
    return kept;
}

#endif
