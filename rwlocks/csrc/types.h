/* Subclasses in C of classes in Python, whose slots they know the places of. */
#ifndef RWLOCKS_TYPES_H
#define RWLOCKS_TYPES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* What lies in an object at that offset, behind its header. */
static inline PyObject **at(PyObject *object, Py_ssize_t offset) { return (PyObject **)((char *)object + offset); }

/* Where the instances of a class keep what one of its `__slots__` names. */
int slot_offset(PyObject *type, const char *name, Py_ssize_t *offset);

/* A subclass whose instances have so many more bytes, behind all slots of the pure class. */
PyObject *subclass(PyObject *module, PyObject *pure, const char *name, size_t more, unsigned long flags,
                   PyType_Slot *slots);

/* What a module has under that name; imports it. NULL with an exception set. */
PyObject *imported(const char *module, const char *name);

/* A method of the pure class, for an object of a subclass that has another one under that name. */
PyObject *call_purely(PyTypeObject *pure, const char *name, PyObject *self, PyObject *arguments, PyObject *keywords);

#endif
