cimport cython

from rwlocks.backends._delivery cimport Delivery


@cython.final
cdef class Arrival(Delivery):
    pass


@cython.final
cdef class FutureWaiter:
    cdef public bint _asyncio_future_blocking
    cdef object _cancelled
    cdef object _context
    cdef object _loop
    cdef bint _rung
    cdef object _undelivered
    cdef object _wakeup

    @cython.locals(delivery=Delivery)
    cpdef bint wake(self)
    cpdef receive(self, Delivery delivery)
    cpdef _ring(self)


@cython.final
cdef class AsyncioBackend:
    cpdef current_task(self)
