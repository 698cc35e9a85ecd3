#include "types.h"

#include <structmember.h>

int slot_offset(PyObject *type, const char *name, Py_ssize_t *offset) {
    PyObject *slot = PyObject_GetAttrString(type, name);
    if (slot == NULL) {
        return -1;
    }
    int failed = !Py_IS_TYPE(slot, &PyMemberDescr_Type);
    if (failed) {
        PyErr_Format(PyExc_TypeError, "%R.%s is no slot", type, name);
    } else {
        *offset = ((PyMemberDescrObject *)slot)->d_member->offset;
    }
    Py_DECREF(slot);
    return -failed;
}

PyObject *subclass(PyObject *module, PyObject *pure, const char *name, size_t more, unsigned long flags,
                   PyType_Slot *slots) {
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(((PyTypeObject *)pure)->tp_basicsize + (Py_ssize_t)more),
        .flags = (unsigned int)(Py_TPFLAGS_DEFAULT | flags),
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, pure);
}

PyObject *imported(const char *module, const char *name) {
    PyObject *found = PyImport_ImportModule(module);
    PyObject *value = found == NULL ? NULL : PyObject_GetAttrString(found, name);
    Py_XDECREF(found);
    return value;
}

PyObject *call_purely(PyTypeObject *pure, const char *name, PyObject *self, PyObject *arguments, PyObject *keywords) {
    PyObject *method = PyObject_GetAttrString((PyObject *)pure, name);
    PyObject *bound = method == NULL ? NULL : PyMethod_New(method, self);
    PyObject *result = bound == NULL ? NULL : PyObject_Call(bound, arguments, keywords);
    Py_XDECREF(method);
    Py_XDECREF(bound);
    return result;
}
