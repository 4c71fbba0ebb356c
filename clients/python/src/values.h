// One Python object into the bytes of one value, or an error that says which, where and why.
#ifndef COLDPATH_VALUES_H
#define COLDPATH_VALUES_H

#include "common.h"

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

#endif
