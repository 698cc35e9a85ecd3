cimport cython


@cython.final
cdef class ThreadWaiter:
    cdef object _bell

    cpdef bint wake(self)


@cython.final
cdef class ThreadBackend:
    pass
