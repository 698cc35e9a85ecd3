/* Whose request it is: the calling thread, and the task that runs on it. */
#ifndef RWLOCKS_OWNER_H
#define RWLOCKS_OWNER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The `ThreadIdentity` of the calling thread, borrowed; NULL with an exception set. */
PyObject *owner_thread(void);

/* The task that runs on the calling thread, of whatever runtime: 1 and a new reference, 0 if there is none, -1 with an
 * exception set. */
int owner_task(PyObject **task);

/* The same, but of asyncio only: 0 also where a task of another runtime runs. */
int owner_asyncio_task(PyObject **task);

/* A weak reference to a task: new, or NULL with an exception set. It can be a key also when the task is no more. */
PyObject *owner_reference(PyObject *task);

/* `current` is the thread-local object of `rwlocks._owners`, `current_task` the function of `rwlocks._runtimes`. */
int owner_prepare(PyObject *module, PyObject *current, PyObject *current_task);

/* Where the loops of other runtimes than asyncio leave a mark on their threads: (thread-local object, attribute) pairs. None if
 * some runtime leaves no such mark. */
int owner_marks(PyObject *marks);

#endif
