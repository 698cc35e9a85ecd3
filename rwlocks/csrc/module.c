/* The compiled core of `RWLock`, and what is compiled in front of that of `ProcessRWLock`: see gate.h and door.h for the idea,
 * `rwlocks/_compiled.py` and `rwlocks/_process_compiled.py` for how they are put in place. */
#include "door.h"
#include "engine.h"
#include "gate.h"
#include "guard.h"
#include "owner.h"

static PyObject *install(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"core",   "classes", "held",    "done",         "arrival",    "modes",
                            "guards", "lock",    "current", "current_task", "in_seconds", "seat_is_taken", NULL};
    PyTypeObject *type = &PyTuple_Type;
    struct engine_parts parts;
    PyObject *core, *guards, *lock, *current, *current_task, *in_seconds, *seat_is_taken;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OO!OOOO!O!OOOOO", names, &core, type, &parts.classes, &parts.held,
                                     &parts.done, &parts.arrival, type, &parts.modes, type, &guards, &lock, &current,
                                     &current_task, &in_seconds, &seat_is_taken)) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(parts.classes) != 5 || PyTuple_GET_SIZE(parts.modes) != MODES || PyTuple_GET_SIZE(guards) != MODES) {
        PyErr_SetString(PyExc_ValueError, "five classes, three modes and three guards are needed");
        return NULL;
    }
    if (owner_prepare(module, current, current_task) < 0 || engine_prepare(&parts) < 0 || gate_prepare(module) < 0 ||
        guard_prepare(core, in_seconds, seat_is_taken, parts.held, parts.done) < 0) {
        return NULL;
    }
    return guard_make_types(module, guards, lock);
}

static PyObject *install_door(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"lock", "roster", "ticket", "monitor", "native", "undisputed", NULL};
    PyObject *lock, *roster, *ticket, *monitor, *native, *undisputed;
    PyTypeObject *type = &PyType_Type;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!O!O!O!O!O", names, type, &lock, type, &roster, type, &ticket,
                                     type, &monitor, type, &native, &undisputed)) {
        return NULL;
    }
    return door_make_types(module, lock, roster, ticket, monitor, native, undisputed);
}

static PyObject *marks(PyObject *Py_UNUSED(module), PyObject *pairs) {
    return owner_marks(pairs) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *observe(PyObject *Py_UNUSED(module), PyObject *anybody) {
    gate_observed = PyObject_IsTrue(anybody) == 1;
    Py_RETURN_NONE;
}

static PyObject *forked(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    gate_note_fork();
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"forked", forked, METH_NOARGS, NULL},
    {"install", (PyCFunction)(void (*)(void))install, METH_VARARGS | METH_KEYWORDS, NULL},
    {"install_door", (PyCFunction)(void (*)(void))install_door, METH_VARARGS | METH_KEYWORDS, NULL},
    {"marks", marks, METH_O, NULL},
    {"observe", observe, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

/* What is static here belongs to one interpreter. */
static int only_once(PyObject *Py_UNUSED(module)) {
    static bool loaded;
    if (loaded || PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "the compiled core serves the main interpreter only; others use the pure one");
        return -1;
    }
    loaded = true;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, only_once},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* See latch.h. */
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "rwlocks._fastpath",
    .m_doc = "The fast paths of RWLock and ProcessRWLock.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__fastpath(void) { return PyModuleDef_Init(&definition); }
