// Tables: callables that publish a row.
#ifndef COLDPATH_TABLE_H
#define COLDPATH_TABLE_H

#include "rows.h"

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

#endif
