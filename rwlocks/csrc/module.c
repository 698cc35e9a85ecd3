/* The compiled core of `RWLock`: see gate.h for the idea, `rwlocks/_compiled.py` for how it is put in place. */
#include "gate.h"
#include "guard.h"
#include "owner.h"

static PyObject *install(PyObject *module, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"classes", "ticket",  "held",         "done",       "arrival", "modes", "guards",
                            "lock",    "current", "current_task", "in_seconds", NULL};
    PyObject *classes, *ticket, *held, *done, *arrival, *modes, *guards, *lock, *current, *current_task, *in_seconds;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!OOOOO!O!OOOO", names, &PyTuple_Type, &classes, &ticket, &held,
                                     &done, &arrival, &PyTuple_Type, &modes, &PyTuple_Type, &guards, &lock, &current,
                                     &current_task, &in_seconds)) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(classes) != 4 || PyTuple_GET_SIZE(modes) != MODES || PyTuple_GET_SIZE(guards) != MODES) {
        PyErr_SetString(PyExc_ValueError, "four classes, three modes and three guards are needed");
        return NULL;
    }
    if (owner_prepare(module, current, current_task) < 0 ||
        gate_prepare(classes, ticket, modes, held, done, arrival) < 0 || guard_prepare(in_seconds) < 0) {
        return NULL;
    }
    PyObject *compiled_monitor = gate_make_type(module, PyTuple_GET_ITEM(classes, 0));
    PyObject *types = compiled_monitor == NULL ? NULL : guard_make_types(module, guards, lock);
    if (types == NULL) {
        Py_XDECREF(compiled_monitor);
        return NULL;
    }
    return Py_BuildValue("(NN)", compiled_monitor, types);
}

static PyObject *marks(PyObject *Py_UNUSED(module), PyObject *pairs) {
    return owner_marks(pairs) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *observe(PyObject *Py_UNUSED(module), PyObject *anybody) {
    gate_observe(PyObject_IsTrue(anybody) == 1);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"install", (PyCFunction)(void (*)(void))install, METH_VARARGS | METH_KEYWORDS, NULL},
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
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "rwlocks._fastpath",
    .m_doc = "The fast path of RWLock.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__fastpath(void) { return PyModuleDef_Init(&definition); }
