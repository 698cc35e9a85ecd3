#include "owner.h"

#include "latch.h"

/* -- threads ------------------------------------------------------------------------------------------------------ */

static PyObject *current;      /* rwlocks._owners.current */
static PyObject *current_task; /* rwlocks._runtimes.current_task */
static PyObject *mark_type;

/* What a thread knows of itself. Lives among the thread's own objects, and ends with it. */
struct mark {
    PyObject_HEAD
    PyObject *thread; /* its `ThreadIdentity` */
    PyObject *marks;  /* those of other runtimes, and for each */
    PyObject *dicts;  /* the attributes that the thread-local object has here: always the same dict in one thread */
};
static _Thread_local struct mark *mine; /* borrowed */

static void mark_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    struct mark *mark = (struct mark *)self;
    if (mine == mark) {
        mine = NULL;
    }
    Py_XDECREF(mark->thread);
    Py_XDECREF(mark->marks);
    Py_XDECREF(mark->dicts);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot mark_slots[] = {
    {Py_tp_doc, "Lives as long as its thread."},
    {Py_tp_dealloc, mark_dealloc},
    {0, NULL},
};
static PyType_Spec mark_spec = {
    .name = "rwlocks._fastpath.Mark",
    .basicsize = sizeof(struct mark),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = mark_slots,
};

static PyObject *look_up_thread(void) {
    PyObject *thread = PyObject_GetAttrString(current, "thread");
    if (thread == NULL) {
        return NULL;
    }
    struct mark *mark = PyObject_New(struct mark, (PyTypeObject *)mark_type);
    if (mark == NULL) {
        Py_DECREF(thread);
        return NULL;
    }
    mark->thread = thread;
    mark->marks = mark->dicts = NULL;
    int failed = PyObject_SetAttrString(current, "mark", (PyObject *)mark);
    if (!failed) {
        mine = mark;
    }
    Py_DECREF(mark);
    return failed ? NULL : thread;
}

PyObject *owner_thread(void) { return mine != NULL ? mine->thread : look_up_thread(); }

/* -- tasks -------------------------------------------------------------------------------------------------------- */

#if PY_VERSION_HEX < 0x030D0000
/* Where asyncio keeps the running loop of a thread, among the thread's own objects, from its first loop on. The key is looked
 * for and what lies there is left to asyncio, so that a thread without loops pays for no call. */
static PyObject *running_loop_key;
#endif
static PyObject *asyncio_name;
static PyObject *trio_name;
static PyObject *dict_name;
static PyObject *task_of_loop; /* asyncio's `current_task`, or on 3.11 its table of tasks by loop */
static SHARED(PyObject *) get_running_loop; /* asyncio's; set last */
static SHARED(bool) trio_is_known;
static SHARED(PyObject *) marks; /* a tuple of pairs, or NULL: ask Python */

/* A module that was imported, or is about to be: new, or NULL, with an exception set if that is not all. */
static PyObject *module_named(PyObject *name) {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *module = NULL;
    (void)PyDict_GetItemRef(PyImport_GetModuleDict(), name, &module);
    return module;
#else
    return Py_XNewRef(PyDict_GetItemWithError(PyImport_GetModuleDict(), name));
#endif
}

/* Whether asyncio is there; -1 with an exception set. Never imports anything: another thread may be about to. */
static int know_asyncio(void) {
    PyObject *asyncio = module_named(asyncio_name);
    if (asyncio == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *loop = PyObject_GetAttrString(asyncio, "_get_running_loop");
    PyObject *tasks = loop == NULL ? NULL : PyObject_GetAttrString(asyncio, "tasks");
#if PY_VERSION_HEX < 0x030C0000
    PyObject *found = tasks == NULL ? NULL : PyObject_GetAttrString(tasks, "_current_tasks");
    if (found != NULL && !PyDict_CheckExact(found)) {
        PyErr_SetString(PyExc_RuntimeError, "asyncio keeps its tasks in another way than this module knows");
        Py_CLEAR(found);
    }
#else
    PyObject *found = tasks == NULL ? NULL : PyObject_GetAttrString(tasks, "current_task");
#endif
    Py_XDECREF(tasks);
    Py_DECREF(asyncio);
    if (found == NULL) {
        Py_XDECREF(loop);
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear(); /* It is still being imported, and has no loops yet. */
            return 0;
        }
        return -1;
    }
    /* Two threads that come at once find the same. */
    task_of_loop = found;
    get_running_loop = loop;
    return 1;
}

static int a_loop_may_run(void) {
#if PY_VERSION_HEX < 0x030D0000
    PyObject *own = PyThreadState_GetDict();
    if (own == NULL || PyDict_GetItemWithError(own, running_loop_key) == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
#endif
    return get_running_loop != NULL ? 1 : know_asyncio();
}

int owner_asyncio_task(PyObject **task) {
    *task = NULL;
    int may = a_loop_may_run();
    if (may <= 0) {
        return may;
    }
    PyObject *loop = PyObject_CallNoArgs(get_running_loop);
    if (loop == NULL) {
        return -1;
    }
    if (loop != Py_None) {
#if PY_VERSION_HEX < 0x030C0000
        *task = PyDict_GetItemWithError(task_of_loop, loop);
        Py_XINCREF(*task);
#else
        *task = PyObject_CallOneArg(task_of_loop, loop);
#endif
    }
    Py_DECREF(loop);
    if (*task == Py_None) {
        Py_CLEAR(*task);
    }
    return *task != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* For each of the marks the attributes of its thread-local object in this thread, borrowed; NULL with an exception set. */
static PyObject *own_dicts(PyObject *these) {
    if (owner_thread() == NULL) {
        return NULL;
    }
    if (mine->marks == these) {
        return mine->dicts;
    }
    Py_INCREF(these); /* Looking may run code, which may load a runtime. */
    PyObject *dicts = PyTuple_New(PyTuple_GET_SIZE(these));
    for (Py_ssize_t i = 0; dicts != NULL && i < PyTuple_GET_SIZE(these); i++) {
        PyObject *own = PyObject_GetAttr(PyTuple_GET_ITEM(PyTuple_GET_ITEM(these, i), 0), dict_name);
        if (own == NULL || !PyDict_Check(own)) {
            Py_XDECREF(own);
            Py_CLEAR(dicts);
        } else {
            PyTuple_SET_ITEM(dicts, i, own);
        }
    }
    if (dicts == NULL) {
        Py_DECREF(these);
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "what a backend calls thread-local has no dict; see MarkingBackend");
        }
        return NULL;
    }
    Py_XSETREF(mine->marks, these);
    Py_XSETREF(mine->dicts, dicts);
    return dicts;
}

/* Whether a loop of another runtime than asyncio runs on this thread; -1 with an exception set. */
static int another_may_run(void) {
    if (!trio_is_known) {
        if (PyDict_GetItemWithError(PyImport_GetModuleDict(), trio_name) != NULL) {
            return 1; /* Asked for a task, Python takes notice of it. */
        }
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    PyObject *these = marks;
    if (these == NULL) {
        return 1;
    }
    PyObject *dicts = own_dicts(these);
    if (dicts == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(dicts); i++) {
        int found = PyDict_Contains(PyTuple_GET_ITEM(dicts, i), PyTuple_GET_ITEM(PyTuple_GET_ITEM(mine->marks, i), 1));
        if (found != 0) {
            return found;
        }
    }
    return 0;
}

int owner_task(PyObject **task) {
    *task = NULL;
    int found = another_may_run();
    if (found == 0) {
        return owner_asyncio_task(task);
    }
    if (found < 0) {
        return -1;
    }
    *task = PyObject_CallNoArgs(current_task);
    if (*task == Py_None) {
        Py_CLEAR(*task);
        return 0;
    }
    return *task == NULL ? -1 : 1;
}

PyObject *owner_reference(PyObject *task) {
    PyObject *reference = PyWeakref_NewRef(task, NULL);
    /* It has the hash of its task, and remembers it from the first time on. */
    if (reference != NULL && PyObject_Hash(reference) == -1) {
        Py_CLEAR(reference);
    }
    return reference;
}

/* -- preparation -------------------------------------------------------------------------------------------------- */

int owner_marks(PyObject *new_marks) {
    trio_is_known = PyDict_GetItemWithError(PyImport_GetModuleDict(), trio_name) != NULL;
    PyObject *old = marks;
    marks = new_marks == Py_None ? NULL : Py_NewRef(new_marks);
    if (!FREE_THREADED) {
        Py_XDECREF(old); /* Else another thread may be looking at it; there are as many of them as runtimes. */
    }
    return PyErr_Occurred() ? -1 : 0;
}

int owner_prepare(PyObject *module, PyObject *thread_local_owner, PyObject *find_task) {
    mark_type = PyType_FromModuleAndSpec(module, &mark_spec, NULL);
#if PY_VERSION_HEX < 0x030D0000
    running_loop_key = PyUnicode_InternFromString("__asyncio_running_event_loop__");
    if (running_loop_key == NULL) {
        return -1;
    }
#endif
    asyncio_name = PyUnicode_InternFromString("asyncio");
    trio_name = PyUnicode_InternFromString("trio");
    dict_name = PyUnicode_InternFromString("__dict__");
    current = Py_NewRef(thread_local_owner);
    current_task = Py_NewRef(find_task);
    marks = PyTuple_New(0);
    return PyErr_Occurred() ? -1 : 0;
}
