cimport cython

from rwlocks._acquire cimport Suspension
from rwlocks._monitor cimport Monitor
from rwlocks._steps cimport Entry, Upgrade
from rwlocks._ticket cimport Ticket


@cython.final
cdef class LockCore:
    cdef public object _only_async
    cdef public object _only_sync
    cdef public object checkpoint
    cdef public Entry entry
    cdef public object lock
    cdef public Monitor monitor
    cdef public object only
    cdef public object policy
    cdef public Upgrade upgrading
    cdef public dict views

    @cython.locals(ticket=Ticket)
    cpdef acquire(self, seat, mode, timeout)
    cpdef acquire_with(self, seat, ticket, timeout)
    cdef bint _enter(self, seat, Ticket ticket, timeout)
    cdef _block(self, wait, Ticket ticket, timeout)
    cdef Suspension _suspension(self, wait, backend, Ticket ticket, timeout)
    cdef _prepare(self, Ticket ticket, backend)
    cpdef suspending(self, bint may_wait=*)
    cpdef bint polite(self, backend)
