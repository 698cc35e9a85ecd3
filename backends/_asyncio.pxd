cimport cython

from rwlocks.backends._delivery cimport Delivery


@cython.final
cdef class FutureWaiter:
    cdef object _bell
    cdef object _loop
    cdef bint _rung
    cdef object _undelivered

    @cython.locals(delivery=Delivery)
    cpdef bint wake(self)
    cpdef ring(self)


@cython.final
cdef class AsyncioBackend:
    cpdef current_task(self)
