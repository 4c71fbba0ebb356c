// What all parts of the extension share: tables, columns and rings, errors, forks.
#ifndef COLDPATH_COMMON_H
#define COLDPATH_COMMON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <datetime.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "coldpath_ring.h"

#if PY_VERSION_HEX < 0x030A0000
#error "coldpath needs Python 3.10 or later"
#endif

typedef __int128 int128;
typedef unsigned __int128 uint128;

// The times that spool-writer takes (docs/schemas.md); here too, because a caller can still mend what the writer must refuse.
#define EARLIEST_TIME 100000000000000000ll
#define LATEST_TIME 3786912000000000000ll

static PyObject *ring_error, *ring_full, *row_too_long, *uuid_type, *decimal_type;

// ---- Columns.

enum kind {
    KIND_INT, KIND_UINT, KIND_F32, KIND_F64, KIND_BOOL, KIND_DECIMAL, KIND_DATE, KIND_SECONDS, KIND_TIME, KIND_ENUM, KIND_UUID,
    KIND_FIXED_STRING, KIND_STRING, KIND_COUNT
};

typedef struct member {
    PyObject *name;
    int16_t value;
} member;

typedef struct column {
    PyObject *keyword; // as a caller writes it
    char *name, *type; // as the ring declares them
    PyObject *default_text; // of a text column whose default is not empty
    member *members;
    uint32_t member_count;
    enum kind kind;
    uint32_t storage, offset, null_offset, width, scale, precision;
    bool is_required;
} column;

// Which column each keyword of a call site means. CPython gives the same tuple at each call from the same place.
typedef struct call_site {
    PyObject *kwnames;
    uint16_t *columns;
    uint16_t *defaults; // text columns that are left out and have a default to write
    uint32_t default_count;
} call_site;

enum { CALL_SITES = 8, CACHED_NAMES = 256 };

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *name;
    spool_table declaration;
    spool_column *declared;
    column *columns;
    unsigned char *blank; // the fixed part of a row that gives nothing: defaults and nulls
    call_site sites[CALL_SITES];
    uint32_t next_site;
    unsigned char *scratch; // where a row grows before its size is known
    size_t scratch_room;
    bool is_busy; // a value's own code runs, which may publish to the same table
} Table;

typedef struct Ring {
    PyObject_HEAD
    spool_ring ring;
    PyObject *tables; // tuple of Table
    PyObject *weak_references;
    bool is_open, raises_when_full;
    uint32_t fork_count;
    pid_t process;
    struct Ring *next; // of all open rings
    struct { PyObject *text; uint32_t id; } names[CACHED_NAMES];
} Ring;

static PyTypeObject table_type, ring_type;

// ---- Forks. A ring is not mapped in a forked child, and must be closed there: its lock tells the writer that its producer lives.

static Ring *open_rings;
static uint32_t fork_count;

static void after_fork_in_child(void) {
    fork_count++;
    for (Ring *ring = open_rings; ring; ring = ring->next) {
        close(ring->ring.descriptor);
        ring->ring.descriptor = -1;
    }
    open_rings = NULL;
}

// ---- Errors: which table and column, what was given, what to do.

static int complain(PyObject *type, const Table *table, const column *c, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    PyObject *what = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (!what) return -1;
    PyErr_Format(type, "%U.%U: %U", table->name, c->keyword, what);
    Py_DECREF(what);
    return -1;
}

static int wrong_type(const Table *table, const column *c, const char *wanted, PyObject *value) {
    return complain(PyExc_TypeError, table, c, "expected %s, got %.100s", wanted, Py_TYPE(value)->tp_name);
}

static bool check_usable(const Ring *ring) {
    if (ring->fork_count != fork_count) {
        PyErr_Format(ring_error, "the ring belongs to process %ld, which forked this one (%ld): open another ring here", (long)ring->process,
                     (long)getpid());
        return false;
    }
    if (!ring->is_open) {
        PyErr_SetString(PyExc_ValueError, "the ring is closed");
        return false;
    }
    return true;
}

#endif
