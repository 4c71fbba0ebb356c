// coldpath._ring: rows from Python into the shared-memory ring. A table is a callable whose keyword arguments are checked,
// encoded and published in one C call; which argument belongs to which column is remembered for each call site.
//
// The interpreter's lock makes a row's copy into the ring one step, so all threads of an interpreter may share a ring.
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

// ---- Values of fixed width.

static int put_integer(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    PyObject *number = NULL;
    if (!PyLong_Check(value)) {
        if (!PyIndex_Check(value)) return wrong_type(t, c, "int", value);
        if (!(value = number = PyNumber_Index(value))) return -1;
    }
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    unsigned long long big = 0;
    int64_t low = c->kind == KIND_UINT ? 0 : INT64_MIN >> (64 - 8 * c->width);
    uint64_t high = (c->kind == KIND_UINT ? UINT64_MAX : (uint64_t)INT64_MAX) >> (64 - 8 * c->width);
    bool fits;
    if (overflow == 0) {
        fits = small >= low && (small < 0 || (uint64_t)small <= high);
        big = (unsigned long long)small;
    } else {
        fits = false;
        if (overflow > 0 && c->kind == KIND_UINT && c->width == 8) {
            big = PyLong_AsUnsignedLongLong(value);
            fits = !PyErr_Occurred();
            if (!fits) PyErr_Clear();
        }
    }
    int code = 0;
    if (fits) memcpy(to, &big, c->width);
    else code = complain(PyExc_ValueError, t, c, "%S is outside %lld to %llu", value, (long long)low, (unsigned long long)high);
    Py_XDECREF(number);
    return code;
}

static int put_float(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    double number;
    if (PyFloat_CheckExact(value)) {
        number = PyFloat_AS_DOUBLE(value);
    } else {
        number = PyFloat_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(PyExc_TypeError)) return -1;
            PyErr_Clear();
            return wrong_type(t, c, "float", value);
        }
    }
    if (c->kind == KIND_F64) {
        memcpy(to, &number, 8);
        return 0;
    }
    float narrow = (float)number;
    if (isinf(narrow) && !isinf(number)) return complain(PyExc_ValueError, t, c, "%S is beyond the range of Float32", value);
    memcpy(to, &narrow, 4);
    return 0;
}

// The powers of ten that fit into 128 bits.
static uint128 power_of_ten(uint32_t exponent) {
    static uint128 powers[39];
    if (powers[0] == 0) {
        uint128 power = 1;
        for (int i = 0; i <= 38; i++, power *= 10) powers[i] = power;
    }
    return powers[exponent];
}

// The same for what most prices and quantities are: at most 18 digits and a point, which 64 bits hold. False if it is not that.
static bool parse_short_decimal(const char *text, Py_ssize_t count, uint32_t precision, uint32_t scale, int64_t *to) {
    static const uint64_t powers[19] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
        10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000};
    const char *end = text + count, *point = NULL;
    bool is_negative = text < end && *text == '-';
    text += is_negative;
    if (end - text < 1 || end - text > 19) return false;
    uint64_t digits = 0;
    for (; text < end; text++) {
        unsigned digit = (unsigned)(*text - '0');
        if (digit <= 9) {
            digits = digits * 10 + digit;
        } else if (*text == '.' && !point) {
            point = text + 1;
        } else {
            return false;
        }
    }
    if (point == end) return false;
    uint64_t after = point ? (uint64_t)(end - point) : 0;
    if (after > scale || scale - after > 18) return false;
    uint64_t limit = powers[precision < 18 ? precision : 18], power = powers[scale - after];
    if (digits != 0 && (digits >= limit || __builtin_mul_overflow(digits, power, &digits) || digits >= limit)) return false;
    *to = is_negative ? -(int64_t)digits : (int64_t)digits;
    return true;
}

// An exact decimal, such as "-61800.5" or "1E-8". Returns 0, 1 if it is no number, 2 if it does not fit exactly.
static int parse_decimal(const char *text, Py_ssize_t count, uint32_t precision, uint32_t scale, int128 *to) {
    const char *end = text + count;
    bool is_negative = text < end && *text == '-';
    if (text < end && (*text == '-' || *text == '+')) text++;
    uint128 digits = 0;
    long exponent = 0;
    bool has_point = false, is_number = false;
    int trailing = 0; // zeros at the end that are not in `digits` yet: they must not overflow what fits
    for (; text < end; text++) {
        if (*text >= '0' && *text <= '9') {
            is_number = true;
            if (has_point) exponent--;
            if (*text == '0') {
                if (digits != 0) trailing++; // zeros in front mean nothing
                continue;
            }
            for (trailing++; trailing > 0; trailing--) {
                if (digits >= power_of_ten(37)) return 2;
                digits *= 10;
            }
            digits += (unsigned)(*text - '0');
        } else if (*text == '.' && !has_point) {
            has_point = true;
        } else {
            break;
        }
    }
    if (!is_number) return 1;
    if (text < end && (*text == 'e' || *text == 'E')) {
        text++;
        bool is_small = text < end && *text == '-';
        if (text < end && (*text == '-' || *text == '+')) text++;
        if (text == end) return 1;
        long given = 0;
        for (; text < end && *text >= '0' && *text <= '9'; text++)
            if (given < 100000) given = given * 10 + (*text - '0');
        exponent += is_small ? -given : given;
    }
    if (text != end) return 1;
    *to = 0;
    if (digits == 0) return 0;
    exponent += trailing + (long)scale;
    for (; exponent < 0; exponent++) {
        if (digits % 10 != 0) return 2;
        digits /= 10;
    }
    uint128 limit = power_of_ten(precision);
    if (exponent > 38 || digits > (limit - 1) / power_of_ten((uint32_t)exponent)) return 2;
    digits *= power_of_ten((uint32_t)exponent);
    *to = is_negative ? -(int128)digits : (int128)digits;
    return 0;
}

static int put_decimal(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    int128 units = 0;
    int code;
    int overflow = 0;
    long long whole = 0;
    if (PyLong_Check(value) && (whole = PyLong_AsLongLongAndOverflow(value, &overflow), overflow == 0) &&
        whole > -1000000000000000000ll && whole < 1000000000000000000ll && c->scale <= 19) {
        units = (int128)whole * (int128)power_of_ten(c->scale);
        uint128 magnitude = units < 0 ? (uint128)-units : (uint128)units;
        code = magnitude < power_of_ten(c->precision) ? 0 : 2;
    } else {
        PyObject *text;
        if (PyUnicode_Check(value)) {
            text = Py_NewRef(value);
        } else if (PyFloat_Check(value)) {
            return complain(PyExc_TypeError, t, c, "a float would be rounded: give a decimal.Decimal, a str or an int, such as str(%S)", value);
        } else if (PyLong_Check(value) || PyObject_IsInstance(value, decimal_type) == 1) {
            if (!(text = PyObject_Str(value))) return -1;
        } else {
            return wrong_type(t, c, "decimal.Decimal, str or int", value);
        }
        Py_ssize_t count;
        const char *bytes = PyUnicode_AsUTF8AndSize(text, &count);
        int64_t small;
        if (!bytes) code = -1;
        else if (parse_short_decimal(bytes, count, c->precision, c->scale, &small)) units = small, code = 0;
        else code = parse_decimal(bytes, count, c->precision, c->scale, &units);
        Py_DECREF(text);
        if (code < 0) return -1;
    }
    if (code == 1) return complain(PyExc_ValueError, t, c, "%R is not a decimal number", value);
    if (code == 2)
        return complain(PyExc_ValueError, t, c, "%S does not fit exactly: at most %u digits before and %u after the decimal point", value,
                        c->precision - c->scale, c->scale);
    memcpy(to, &units, c->width);
    return 0;
}

// ---- Times.

static int64_t days_from_civil(int year, int month, int day) {
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

// Nanoseconds since 1970 of a datetime with a time zone.
static int datetime_nanoseconds(const Table *t, const column *c, PyObject *value, int128 *to) {
    PyObject *zone = PyDateTime_DATE_GET_TZINFO(value);
    if (zone == Py_None)
        return complain(PyExc_ValueError, t, c, "%S has no time zone: use datetime.now(timezone.utc), or give integer nanoseconds", value);
    int64_t seconds = days_from_civil(PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value), PyDateTime_GET_DAY(value)) * 86400 +
                      PyDateTime_DATE_GET_HOUR(value) * 3600 + PyDateTime_DATE_GET_MINUTE(value) * 60 + PyDateTime_DATE_GET_SECOND(value);
    int64_t microseconds = PyDateTime_DATE_GET_MICROSECOND(value);
    long long nanoseconds = 0;
    if (zone != PyDateTime_TimeZone_UTC) {
        PyObject *offset = PyObject_CallMethod(value, "utcoffset", NULL);
        if (!offset) return -1;
        if (!PyDelta_Check(offset)) {
            Py_DECREF(offset);
            return complain(PyExc_ValueError, t, c, "the time zone of %S gives no offset from UTC", value);
        }
        seconds -= (int64_t)PyDateTime_DELTA_GET_DAYS(offset) * 86400 + PyDateTime_DELTA_GET_SECONDS(offset);
        microseconds -= PyDateTime_DELTA_GET_MICROSECONDS(offset);
        Py_DECREF(offset);
    }
    // A pandas Timestamp has three more digits than the datetime that it is.
    if (!PyDateTime_CheckExact(value)) {
        PyObject *more = PyObject_GetAttrString(value, "nanosecond");
        if (more) {
            nanoseconds = PyLong_AsLongLong(more);
            Py_DECREF(more);
        }
        if (PyErr_Occurred()) PyErr_Clear();
    }
    *to = ((int128)seconds * 1000000 + microseconds) * 1000 + nanoseconds;
    return 0;
}

static int put_time(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    int128 time;
    if (PyLong_Check(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        time = overflow ? -1 : number;
        if (time >= 0 && time < EARLIEST_TIME)
            return complain(PyExc_ValueError, t, c, "%S is too small for nanoseconds since 1970; is it seconds, milliseconds or microseconds?", value);
    } else if (PyDateTime_Check(value)) {
        if (datetime_nanoseconds(t, c, value, &time) < 0) return -1;
    } else {
        return wrong_type(t, c, "int nanoseconds since 1970 or a datetime with a time zone", value);
    }
    if (time < EARLIEST_TIME || time > LATEST_TIME) return complain(PyExc_ValueError, t, c, "%S is outside 1973-03-03 to 2090-01-01", value);
    int64_t stored = (int64_t)time;
    memcpy(to, &stored, 8);
    return 0;
}

static int put_seconds(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    int128 seconds;
    if (PyLong_Check(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        seconds = overflow ? -1 : number;
    } else if (PyDateTime_Check(value)) {
        int128 time;
        if (datetime_nanoseconds(t, c, value, &time) < 0) return -1;
        if (time % 1000000000 != 0) return complain(PyExc_ValueError, t, c, "%S has a fraction, and the column holds whole seconds", value);
        seconds = time / 1000000000;
    } else {
        return wrong_type(t, c, "int seconds since 1970 or a datetime with a time zone", value);
    }
    if (seconds < EARLIEST_TIME / 1000000000 || seconds > LATEST_TIME / 1000000000)
        return complain(PyExc_ValueError, t, c, "%S is outside 1973-03-03 to 2090-01-01 in seconds since 1970", value);
    uint32_t stored = (uint32_t)seconds;
    memcpy(to, &stored, 4);
    return 0;
}

static int put_date(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    if (!PyDate_Check(value) || PyDateTime_Check(value)) return wrong_type(t, c, "datetime.date", value);
    int64_t days = days_from_civil(PyDateTime_GET_YEAR(value), PyDateTime_GET_MONTH(value), PyDateTime_GET_DAY(value));
    if (days < 0 || days > UINT16_MAX) return complain(PyExc_ValueError, t, c, "%S is outside 1970-01-01 to 2149-06-06", value);
    uint16_t stored = (uint16_t)days;
    memcpy(to, &stored, 2);
    return 0;
}

// ---- Enums, UUIDs, texts of fixed width.

static int put_enum(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    const member *found = NULL;
    for (uint32_t i = 0; i < c->member_count && !found; i++)
        if (c->members[i].name == value) found = &c->members[i];
    if (!found) {
        if (!PyUnicode_Check(value)) return wrong_type(t, c, "str", value);
        for (uint32_t i = 0; i < c->member_count && !found; i++)
            if (PyUnicode_Compare(c->members[i].name, value) == 0) found = &c->members[i];
    }
    if (!found) {
        PyObject *names = PyList_New(0);
        for (uint32_t i = 0; names && i < c->member_count; i++)
            if (PyList_Append(names, c->members[i].name) < 0) Py_CLEAR(names);
        if (!names) return -1;
        complain(PyExc_ValueError, t, c, "%R is not one of %R", value, names);
        Py_DECREF(names);
        return -1;
    }
    memcpy(to, &found->value, c->width);
    return 0;
}

static int put_uuid(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    uint64_t halves[2] = {0, 0};
    if (PyUnicode_Check(value)) {
        Py_ssize_t count;
        const char *text = PyUnicode_AsUTF8AndSize(value, &count);
        if (!text) return -1;
        int digits = 0;
        for (Py_ssize_t i = 0; i < count; i++) {
            char d = text[i];
            if (count == 36 && (i == 8 || i == 13 || i == 18 || i == 23) && d == '-') continue;
            int digit = d >= '0' && d <= '9' ? d - '0' : d >= 'a' && d <= 'f' ? d - 'a' + 10 : d >= 'A' && d <= 'F' ? d - 'A' + 10 : -1;
            if (digit < 0 || digits == 32) {
                digits = -1;
                break;
            }
            halves[digits / 16] = halves[digits / 16] << 4 | (uint64_t)digit;
            digits++;
        }
        if (digits != 32) return complain(PyExc_ValueError, t, c, "%R is not a UUID", value);
    } else if (PyObject_IsInstance(value, uuid_type) == 1) {
        PyObject *bytes = PyObject_GetAttrString(value, "bytes");
        if (!bytes) return -1;
        const unsigned char *b = PyBytes_Check(bytes) && PyBytes_GET_SIZE(bytes) == 16 ? (const unsigned char *)PyBytes_AS_STRING(bytes) : NULL;
        for (int i = 0; b && i < 16; i++) halves[i / 8] = halves[i / 8] << 8 | b[i];
        Py_DECREF(bytes);
        if (!b) return wrong_type(t, c, "uuid.UUID", value);
    } else {
        return wrong_type(t, c, "uuid.UUID or str", value);
    }
    memcpy(to, halves, 16);
    return 0;
}

static const char *text_bytes(const Table *t, const column *c, PyObject *value, Py_ssize_t *count) {
    if (!PyUnicode_Check(value)) {
        wrong_type(t, c, "str", value);
        return NULL;
    }
    const char *bytes = PyUnicode_AsUTF8AndSize(value, count);
    if (bytes && *count > SPOOL_RING_MAX_RECORD_BYTES) {
        PyErr_Format(row_too_long, "%U.%U: a text of %zd bytes; a row has at most 1 MiB", t->name, c->keyword, *count);
        return NULL;
    }
    return bytes;
}

static int put_fixed_string(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    Py_ssize_t count;
    const char *bytes;
    if (PyBytes_Check(value)) {
        bytes = PyBytes_AS_STRING(value);
        count = PyBytes_GET_SIZE(value);
    } else if (!(bytes = text_bytes(t, c, value, &count))) {
        return -1;
    }
    if (count > (Py_ssize_t)c->width) return complain(PyExc_ValueError, t, c, "%zd bytes, the column holds %u", count, c->width);
    memcpy(to, bytes, (size_t)count);
    memset(to + count, 0, c->width - (size_t)count);
    return 0;
}

static int put_fixed(const Table *t, const column *c, PyObject *value, unsigned char *to) {
    switch (c->kind) {
    case KIND_INT:
    case KIND_UINT: return put_integer(t, c, value, to);
    case KIND_F32:
    case KIND_F64: return put_float(t, c, value, to);
    case KIND_BOOL:
        if (!PyBool_Check(value)) return wrong_type(t, c, "bool", value);
        *to = value == Py_True;
        return 0;
    case KIND_DECIMAL: return put_decimal(t, c, value, to);
    case KIND_DATE: return put_date(t, c, value, to);
    case KIND_SECONDS: return put_seconds(t, c, value, to);
    case KIND_TIME: return put_time(t, c, value, to);
    case KIND_ENUM: return put_enum(t, c, value, to);
    case KIND_UUID: return put_uuid(t, c, value, to);
    case KIND_FIXED_STRING: return put_fixed_string(t, c, value, to);
    default: break;
    }
    PyErr_SetString(PyExc_SystemError, "a column has no kind");
    return -1;
}

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

// ---- Publishing.

static PyObject *refused(Ring *ring, const Table *table, uint32_t row_bytes) {
    if (SPOOL_RECORD_BYTES(row_bytes) > ring->ring.max_record)
        return PyErr_Format(row_too_long, "%U: a row of %u bytes; this ring takes %u", table->name, row_bytes, ring->ring.max_record);
    if (!ring->raises_when_full) return PyLong_FromLong(0);
    return PyErr_Format(ring_full, "%U: the ring is full; is spool-writer running with --rings? %s", table->name, ring->ring.path);
}

// The ring of a call, if it can take rows of this table; `index` is that of the table in the ring.
static Ring *called_ring(const Table *table, PyObject *const *args, Py_ssize_t count, Py_ssize_t *index) {
    if (count != 1 || !PyObject_TypeCheck(args[0], &ring_type)) {
        PyErr_Format(PyExc_TypeError, "%U(ring, *, column=value, ...): give the ring first, and all values by name", table->name);
        return NULL;
    }
    Ring *ring = (Ring *)args[0];
    if (!check_usable(ring)) return NULL;
    Py_ssize_t tables = PyTuple_GET_SIZE(ring->tables);
    for (*index = 0; *index < tables; ++*index)
        if (PyTuple_GET_ITEM(ring->tables, *index) == (PyObject *)table) return ring;
    PyErr_Format(PyExc_ValueError, "the ring was opened without table %U: name it in tables=[...]", table->name);
    return NULL;
}

static PyObject *publish(Table *table, Ring *ring, Py_ssize_t index, const call_site *site, PyObject *const *values, Py_ssize_t given) {
    bool owns = !table->is_busy;
    row r = {table, table->scratch, table->scratch_room, table->declaration.row_bytes};
    if (owns) {
        table->is_busy = true;
    } else {
        r.bytes = PyMem_Malloc(r.end + 1);
        r.room = r.end + 1;
    }
    PyObject *result = NULL;
    int code = 0;
    if (!r.bytes) {
        PyErr_NoMemory();
        code = -1;
    } else {
        memcpy(r.bytes, table->blank, r.end);
    }
    for (Py_ssize_t i = 0; code == 0 && i < given; i++) code = put_value(&r, ring, &table->columns[site->columns[i]], values[i]);
    for (uint32_t i = 0; code == 0 && i < site->default_count; i++) {
        const column *c = &table->columns[site->defaults[i]];
        code = put_value(&r, ring, c, c->default_text);
    }
    // What is too long for any ring is counted where ring and writer can see it, as rows of other languages are.
    if (code < 0 && PyErr_ExceptionMatches(row_too_long) && ring->is_open) spool_ring_make_room(&ring->ring, (uint32_t)index, UINT64_MAX);
    // A value's own code may have closed the ring, or forked.
    if (code == 0 && check_usable(ring)) {
        unsigned char *to = spool_ring_claim(&ring->ring, (uint32_t)index, (uint32_t)r.end);
        if (to) {
            memcpy(to, r.bytes, r.end);
            spool_ring_commit(&ring->ring, (uint32_t)index, (uint32_t)r.end);
            result = PyLong_FromUnsignedLongLong(spool_ring_position(&ring->ring));
        } else {
            result = refused(ring, table, (uint32_t)r.end);
        }
    }
    if (owns) {
        table->scratch = r.bytes;
        table->scratch_room = r.room;
        table->is_busy = false;
    } else {
        PyMem_Free(r.bytes);
    }
    return result;
}

// For tables of up to 15 columns.
static PyObject *table_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Table *table = (Table *)self;
    Py_ssize_t index;
    Ring *ring = called_ring(table, args, PyVectorcall_NARGS(nargsf), &index);
    if (!ring) return NULL;
    call_site spare = {0};
    const call_site *site = find_site(table, kwnames, &spare);
    PyObject *result = site ? publish(table, ring, index, site, args + 1, kwnames ? PyTuple_GET_SIZE(kwnames) : 0) : NULL;
    forget_site(&spare);
    return result;
}

// For wider ones, whose calls come with a dictionary.
static PyObject *table_call(PyObject *self, PyObject *args, PyObject *keywords) {
    Table *table = (Table *)self;
    Py_ssize_t index, count = keywords ? PyDict_GET_SIZE(keywords) : 0;
    Ring *ring = called_ring(table, &PyTuple_GET_ITEM(args, 0), PyTuple_GET_SIZE(args), &index);
    if (!ring) return NULL;
    if (count > (Py_ssize_t)table->declaration.column_count)
        return PyErr_Format(PyExc_TypeError, "%U has %u columns, not %zd", table->name, table->declaration.column_count, count);
    PyObject *few[2 * 64];
    PyObject **keys = count <= 64 ? few : PyMem_Malloc(2 * (size_t)count * sizeof(PyObject *));
    if (!keys) return PyErr_NoMemory();
    PyObject **values = keys + count;
    Py_ssize_t at = 0, n = 0;
    while (n < count && PyDict_Next(keywords, &at, &keys[n], &values[n])) n++;
    const call_site *site = NULL;
    for (int i = 0; i < CALL_SITES && !site; i++) {
        PyObject *known = table->sites[i].kwnames;
        if (!known || PyTuple_GET_SIZE(known) != n) continue;
        if (memcmp(&PyTuple_GET_ITEM(known, 0), keys, (size_t)n * sizeof(PyObject *)) == 0) site = &table->sites[i];
    }
    call_site spare = {0};
    PyObject *kwnames = NULL;
    if (!site && (kwnames = PyTuple_New(n))) {
        for (Py_ssize_t i = 0; i < n; i++) PyTuple_SET_ITEM(kwnames, i, Py_NewRef(keys[i]));
        site = find_site(table, kwnames, &spare);
    }
    PyObject *result = site ? publish(table, ring, index, site, values, n) : NULL;
    forget_site(&spare);
    Py_XDECREF(kwnames);
    if (keys != few) PyMem_Free(keys);
    return result;
}

// ---- Table objects.

static char *copy_text(PyObject *text, Py_ssize_t limit) {
    Py_ssize_t count;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &count);
    if (!bytes) return NULL;
    if (count > limit || strlen(bytes) != (size_t)count) {
        PyErr_Format(PyExc_ValueError, "%R is too long, or has a zero byte", text);
        return NULL;
    }
    char *copy = PyMem_Malloc((size_t)count + 1);
    if (!copy) return (char *)PyErr_NoMemory();
    return memcpy(copy, bytes, (size_t)count + 1);
}

// One column: (keyword, name, type, storage, offset, null_offset, kind, width, precision, scale, members, default).
static int table_take_column(Table *self, uint32_t index, PyObject *given) {
    column *c = &self->columns[index];
    spool_column *d = &self->declared[index];
    PyObject *keyword, *name, *type, *members, *otherwise;
    unsigned int storage, offset, null_offset, kind, width, precision, scale;
    if (!PyArg_ParseTuple(given, "UUUIIIIIIIO!O", &keyword, &name, &type, &storage, &offset, &null_offset, &kind, &width, &precision, &scale,
                          &PyDict_Type, &members, &otherwise))
        return -1;
    uint32_t fixed = storage == SPOOL_FIXED ? width : storage == SPOOL_NAME ? 4 : 8;
    if (storage > SPOOL_ARRAY || kind >= KIND_COUNT || (uint64_t)offset + fixed > self->declaration.row_bytes ||
        (null_offset != SPOOL_NOT_NULLABLE && null_offset >= self->declaration.row_bytes) || precision > 38 || scale > precision ||
        (kind <= KIND_ENUM && (width == 0 || width > 16)) || (kind == KIND_UUID && width != 16)) {
        PyErr_Format(PyExc_ValueError, "%U.%U: the declaration contradicts itself; make it with spool-writer codegen", self->name, name);
        return -1;
    }
    Py_INCREF(keyword);
    PyUnicode_InternInPlace(&keyword);
    c->keyword = keyword;
    c->storage = storage, c->offset = offset, c->null_offset = null_offset, c->kind = (enum kind)kind;
    c->width = width, c->precision = precision, c->scale = scale;
    if (!(c->name = copy_text(name, 255)) || !(c->type = copy_text(type, 65535))) return -1;
    d->name = c->name, d->type = c->type, d->storage = storage, d->offset = offset, d->null_offset = null_offset;
    c->is_required = storage != SPOOL_ARRAY && null_offset == SPOOL_NOT_NULLABLE && otherwise == Py_None;
    if (null_offset != SPOOL_NOT_NULLABLE) self->blank[null_offset] = otherwise == Py_None;
    if (PyBytes_Check(otherwise) && storage == SPOOL_FIXED && PyBytes_GET_SIZE(otherwise) == (Py_ssize_t)width)
        memcpy(self->blank + offset, PyBytes_AS_STRING(otherwise), width);
    else if (PyUnicode_Check(otherwise) && (storage == SPOOL_STRING || storage == SPOOL_NAME)) {
        if (PyUnicode_GET_LENGTH(otherwise) > 0) c->default_text = Py_NewRef(otherwise);
    } else if (otherwise != Py_None) {
        PyErr_Format(PyExc_ValueError, "%U.%U: the default does not fit the column", self->name, name);
        return -1;
    }
    c->members = PyMem_Calloc((size_t)PyDict_GET_SIZE(members) + 1, sizeof(member));
    if (!c->members) return PyErr_NoMemory(), -1;
    PyObject *text, *number;
    for (Py_ssize_t at = 0; PyDict_Next(members, &at, &text, &number);) {
        long value = PyLong_AsLong(number);
        if (!PyUnicode_Check(text) || value < INT16_MIN || value > INT16_MAX) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "members are {str: int}");
            return -1;
        }
        Py_INCREF(text);
        PyUnicode_InternInPlace(&text);
        c->members[c->member_count++] = (member){text, (int16_t)value};
    }
    return 0;
}

static PyObject *table_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    if (keywords && PyDict_GET_SIZE(keywords) > 0) return PyErr_Format(PyExc_TypeError, "Table takes no keywords: use coldpath.table()");
    PyObject *name, *columns;
    unsigned long long fingerprint;
    unsigned int row_bytes;
    if (!PyArg_ParseTuple(args, "UKIO!", &name, &fingerprint, &row_bytes, &PyTuple_Type, &columns)) return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(columns);
    if (count < 1 || count > SPOOL_RING_MAX_COLUMNS || row_bytes > SPOOL_RING_MAX_ROW_BYTES)
        return PyErr_Format(PyExc_ValueError, "%U: a table has 1 to 1024 columns, a row's fixed part at most 65536 bytes", name);
    Table *self = (Table *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    // From 16 keywords on CPython makes a dictionary of them, and would spread it out again for a vector.
    self->vectorcall = count <= 15 ? table_vectorcall : NULL;
    self->name = Py_NewRef(name);
    self->columns = PyMem_Calloc((size_t)count, sizeof(column));
    self->declared = PyMem_Calloc((size_t)count, sizeof(spool_column));
    self->blank = PyMem_Calloc(1, (size_t)row_bytes + 1);
    self->scratch_room = row_bytes + 512;
    self->scratch = PyMem_Malloc(self->scratch_room);
    char *table_name = copy_text(name, 64);
    if (!self->columns || !self->declared || !self->blank || !self->scratch || !table_name) {
        if (!PyErr_Occurred()) PyErr_NoMemory();
        PyMem_Free(table_name);
        Py_DECREF(self);
        return NULL;
    }
    self->declaration = (spool_table){table_name, fingerprint, row_bytes, (uint32_t)count, self->declared};
    for (Py_ssize_t i = 0; i < count; i++) {
        if (table_take_column(self, (uint32_t)i, PyTuple_GET_ITEM(columns, i)) < 0) {
            Py_DECREF(self);
            return NULL;
        }
    }
    return (PyObject *)self;
}

static void table_dealloc(PyObject *object) {
    Table *self = (Table *)object;
    for (uint32_t i = 0; self->columns && i < self->declaration.column_count; i++) {
        column *c = &self->columns[i];
        Py_XDECREF(c->keyword);
        Py_XDECREF(c->default_text);
        for (uint32_t m = 0; m < c->member_count; m++) Py_DECREF(c->members[m].name);
        PyMem_Free(c->members);
        PyMem_Free(c->name);
        PyMem_Free(c->type);
    }
    for (int i = 0; i < CALL_SITES; i++) forget_site(&self->sites[i]);
    PyMem_Free((void *)self->declaration.name);
    PyMem_Free(self->columns);
    PyMem_Free(self->declared);
    PyMem_Free(self->blank);
    PyMem_Free(self->scratch);
    Py_XDECREF(self->name);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *table_repr(PyObject *self) { return PyUnicode_FromFormat("<coldpath.Table %U>", ((Table *)self)->name); }
static PyObject *table_name(PyObject *self, void *unused) { return Py_NewRef(((Table *)self)->name); }
static PyGetSetDef table_properties[] = {{"name", table_name, NULL, "Name of the table.", NULL}, {0}};

static PyTypeObject table_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "coldpath.Table",
    .tp_doc = "A table: call it with a ring and a value for each column to publish a row. Made by spool-writer codegen.",
    .tp_basicsize = sizeof(Table),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_new = table_new,
    .tp_dealloc = table_dealloc,
    .tp_repr = table_repr,
    .tp_call = table_call,
    .tp_vectorcall_offset = offsetof(Table, vectorcall),
    .tp_getset = table_properties,
};

// ---- Ring objects.

static PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *directory, *given;
    const char *producer, *when_full;
    unsigned long long data_bytes;
    unsigned int name_bytes;
    // coldpath.Ring, the only caller, has the names and defaults of the arguments.
    if (keywords && PyDict_GET_SIZE(keywords) > 0) return PyErr_Format(PyExc_TypeError, "_ring.Ring takes no keywords");
    if (!PyArg_ParseTuple(args, "O&sOKIs:Ring", PyUnicode_FSConverter, &directory, &producer, &given, &data_bytes, &name_bytes, &when_full))
        return NULL;
    PyObject *tables = PySequence_Tuple(given);
    bool raises = strcmp(when_full, "raise") == 0;
    Ring *self = NULL;
    spool_table *declared = NULL;
    if (!tables) goto failed;
    if (!raises && strcmp(when_full, "return") != 0) {
        PyErr_SetString(PyExc_ValueError, "when_full is \"raise\" or \"return\"");
        goto failed;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(tables);
    declared = PyMem_Calloc((size_t)count + 1, sizeof(spool_table));
    if (!declared) {
        PyErr_NoMemory();
        goto failed;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *table = PyTuple_GET_ITEM(tables, i);
        if (!PyObject_TypeCheck(table, &table_type)) {
            PyErr_Format(PyExc_TypeError, "tables[%zd] is no coldpath.Table but %.100s", i, Py_TYPE(table)->tp_name);
            goto failed;
        }
        declared[i] = ((Table *)table)->declaration;
    }
    if (!(self = (Ring *)type->tp_alloc(type, 0))) goto failed;
    if (spool_ring_open_sized(&self->ring, PyBytes_AS_STRING(directory), producer, data_bytes, name_bytes, declared, (uint32_t)count) != 0) {
        PyErr_SetString(ring_error, self->ring.error);
        goto failed;
    }
    self->tables = tables;
    self->raises_when_full = raises;
    self->fork_count = fork_count;
    self->process = getpid();
    self->is_open = true;
    self->next = open_rings;
    open_rings = self;
    PyMem_Free(declared);
    Py_DECREF(directory);
    return (PyObject *)self;
failed:
    Py_XDECREF(self);
    Py_XDECREF(tables);
    PyMem_Free(declared);
    Py_DECREF(directory);
    return NULL;
}

static void ring_close(Ring *self) {
    if (!self->is_open) return;
    self->is_open = false;
    for (int i = 0; i < CACHED_NAMES; i++) Py_CLEAR(self->names[i].text);
    if (self->fork_count != fork_count) {
        // In a forked child nothing is mapped, and what lies at these addresses now is somebody else's.
        free(self->ring.slots);
        free(self->ring.entries);
        return;
    }
    for (Ring **link = &open_rings; *link; link = &(*link)->next) {
        if (*link != self) continue;
        *link = self->next;
        break;
    }
    spool_ring_close(&self->ring);
}

static PyObject *ring_close_method(PyObject *self, PyObject *unused) {
    ring_close((Ring *)self);
    Py_RETURN_NONE;
}

static void ring_finalize(PyObject *object) {
    Ring *self = (Ring *)object;
    if (self->is_open && self->fork_count == fork_count) {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        if (PyErr_ResourceWarning(object, 1, "unclosed ring %s", self->ring.path) < 0) PyErr_WriteUnraisable(object);
        PyErr_Restore(type, value, trace);
    }
    ring_close(self);
}

static void ring_dealloc(PyObject *object) {
    Ring *self = (Ring *)object;
    if (PyObject_CallFinalizerFromDealloc(object) < 0) return;
    if (self->weak_references) PyObject_ClearWeakRefs(object);
    Py_CLEAR(self->tables);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *ring_position(PyObject *o, void *unused) {
    return check_usable((Ring *)o) ? PyLong_FromUnsignedLongLong(spool_ring_position(&((Ring *)o)->ring)) : NULL;
}
static PyObject *ring_durable(PyObject *o, void *unused) {
    return check_usable((Ring *)o) ? PyLong_FromUnsignedLongLong(spool_ring_durable(&((Ring *)o)->ring)) : NULL;
}
static PyObject *ring_loaded(PyObject *o, void *unused) {
    return check_usable((Ring *)o) ? PyLong_FromUnsignedLongLong(spool_ring_loaded(&((Ring *)o)->ring)) : NULL;
}
static PyObject *ring_refused_rows(PyObject *o, void *unused) {
    return check_usable((Ring *)o) ? PyLong_FromUnsignedLongLong(spool_ring_refused(&((Ring *)o)->ring)) : NULL;
}
static PyObject *ring_too_long_rows(PyObject *o, void *unused) {
    return check_usable((Ring *)o) ? PyLong_FromUnsignedLongLong(((Ring *)o)->ring.producer->too_long_rows) : NULL;
}
static PyObject *ring_path(PyObject *o, void *unused) { return PyUnicode_DecodeFSDefault(((Ring *)o)->ring.path); }
static PyObject *ring_closed(PyObject *o, void *unused) { return PyBool_FromLong(!((Ring *)o)->is_open); }
static PyObject *ring_tables(PyObject *o, void *unused) { return Py_NewRef(((Ring *)o)->tables); }
static PyObject *ring_state(PyObject *o, void *unused) {
    static const char *names[] = {"waiting", "attached", "set aside"};
    if (!check_usable((Ring *)o)) return NULL;
    unsigned state = (unsigned)spool_ring_state_now(&((Ring *)o)->ring);
    return PyUnicode_FromString(state < 3 ? names[state] : "unknown");
}

static Py_ssize_t ring_index(Ring *self, PyObject *table) {
    if (!check_usable(self)) return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->tables); i++)
        if (PyTuple_GET_ITEM(self->tables, i) == table) return i;
    PyErr_Format(PyExc_ValueError, "the ring was opened without %R", table);
    return -1;
}
static PyObject *ring_full_rows(PyObject *o, PyObject *table) {
    Py_ssize_t index = ring_index((Ring *)o, table);
    return index < 0 ? NULL : PyLong_FromUnsignedLongLong(spool_ring_full(&((Ring *)o)->ring, (uint32_t)index));
}
static PyObject *ring_table_state(PyObject *o, PyObject *table) {
    static const char *names[] = {"unseen", "taken", "refused"};
    Py_ssize_t index = ring_index((Ring *)o, table);
    if (index < 0) return NULL;
    unsigned state = (unsigned)spool_ring_table_state(&((Ring *)o)->ring, (uint32_t)index);
    return PyUnicode_FromString(state < 3 ? names[state] : "unknown");
}

static PyMethodDef ring_methods[] = {
    {"_close", ring_close_method, METH_NOARGS, "Closes the ring."},
    {"full_rows", ring_full_rows, METH_O, "How many rows of a table found the ring full."},
    {"table_state", ring_table_state, METH_O, "What the writer thinks of a table: unseen, taken or refused."},
    {0},
};

static PyGetSetDef ring_properties[] = {
    {"position", ring_position, NULL, "Behind the last row.", NULL},
    {"durable_position", ring_durable, NULL, "Rows before it are durable in the spool, or were refused.", NULL},
    {"loaded_position", ring_loaded, NULL, "Rows before it are in ClickHouse; 0 where the writer cannot see the checkpoints.", NULL},
    {"refused_rows", ring_refused_rows, NULL, "Rows that the writer refused; its log says why.", NULL},
    {"too_long_rows", ring_too_long_rows, NULL, "Rows longer than the ring takes.", NULL},
    {"state", ring_state, NULL, "waiting, attached or set aside.", NULL},
    {"path", ring_path, NULL, "The ring's file.", NULL},
    {"closed", ring_closed, NULL, "Whether the ring is closed.", NULL},
    {"tables", ring_tables, NULL, "The tables it was opened with.", NULL},
    {0},
};

static PyTypeObject ring_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "coldpath._ring.Ring",
    .tp_basicsize = sizeof(Ring),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = ring_new,
    .tp_dealloc = ring_dealloc,
    .tp_finalize = ring_finalize,
    .tp_weaklistoffset = offsetof(Ring, weak_references),
    .tp_methods = ring_methods,
    .tp_getset = ring_properties,
};

// ---- Module.

static PyObject *imported(const char *module, const char *name) {
    PyObject *from = PyImport_ImportModule(module);
    PyObject *found = from ? PyObject_GetAttrString(from, name) : NULL;
    Py_XDECREF(from);
    return found;
}

static struct PyModuleDef module_definition = {PyModuleDef_HEAD_INIT, "coldpath._ring", "Rows from Python into a shared-memory ring.", -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__ring(void) {
    PyDateTime_IMPORT;
    if (!PyDateTimeAPI) return NULL;
    if (PyType_Ready(&table_type) < 0 || PyType_Ready(&ring_type) < 0) return NULL;
    if (!(uuid_type = imported("uuid", "UUID")) || !(decimal_type = imported("decimal", "Decimal"))) return NULL;
    ring_error = PyErr_NewExceptionWithDoc("coldpath.RingError", "A ring cannot be made or used: what, where, and what to do.", NULL, NULL);
    ring_full = PyErr_NewExceptionWithDoc("coldpath.RingFull", "The ring has no room until the writer has come further; the row is counted and not kept.", ring_error, NULL);
    row_too_long = PyErr_NewExceptionWithDoc("coldpath.RowTooLong", "The row is longer than the ring takes.", PyExc_ValueError, NULL);
    PyObject *module = PyModule_Create(&module_definition);
    if (!module || !ring_error || !ring_full || !row_too_long) return NULL;
    if (PyModule_AddObjectRef(module, "Table", (PyObject *)&table_type) < 0 || PyModule_AddObjectRef(module, "Ring", (PyObject *)&ring_type) < 0 ||
        PyModule_AddObjectRef(module, "RingError", ring_error) < 0 || PyModule_AddObjectRef(module, "RingFull", ring_full) < 0 ||
        PyModule_AddObjectRef(module, "RowTooLong", row_too_long) < 0)
        return NULL;
    if (pthread_atfork(NULL, NULL, after_fork_in_child) != 0) return PyErr_NoMemory();
    return module;
}
