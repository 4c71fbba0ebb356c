// coldpath._ring: rows from Python into the shared-memory ring. A table is a callable whose keyword arguments are checked,
// encoded and published in one C call; which argument belongs to which column is remembered for each call site.
//
// The interpreter's lock makes a row's copy into the ring one step, so all threads of an interpreter may share a ring.
#include "table.h"

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
    static const char *names[] = {"waiting", "attached", "set aside", "held"};
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
    {"state", ring_state, NULL, "waiting, attached, set aside or held.", NULL},
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
