cimport cython

from rwlocks._engine cimport Engine
from rwlocks._monitor cimport Monitor
from rwlocks._ticket cimport Ticket


cdef class _Bookkeeping:
    cdef public Monitor monitor

    @cython.locals(monitor=Monitor)
    cdef _contend(self, Ticket ticket, double now)
    cdef _settle(self, Ticket ticket, double now)
    cdef _announce(self, Ticket ticket, list wakes)


@cython.final
cdef class Entry(_Bookkeeping):
    @cython.locals(monitor=Monitor)
    cpdef list attempt(self, Ticket ticket, double now)
    cpdef list attempt_first(self, Ticket ticket, double now)
    cpdef list probe(self, Ticket ticket, double now)
    cpdef list refuse(self, Ticket ticket, double now)
    cpdef strictly(self, Ticket ticket)
    cpdef list count_round(self, Ticket ticket, double now)
    @cython.locals(monitor=Monitor, wakes=list)
    cpdef list begin(self, waiter, Ticket ticket, double now)
    @cython.locals(engine=Engine, wakes=list)
    cpdef list resume(self, Ticket ticket, double now)
    cpdef list expire(self, Ticket ticket, double now)
    cpdef list give_way(self, refusal, Ticket ticket, double now)
    cpdef list cancel(self, Ticket ticket, double now)
    cpdef outcome(self, Ticket ticket)
    cpdef wanted(self, Ticket ticket)
    cdef list _attempt_unless_strict(self, Ticket ticket, double now)
    cdef bint _is_refused_by_strict(self, Ticket ticket)
    cdef _refuse(self, Ticket ticket, refusal)


@cython.final
cdef class Upgrade(_Bookkeeping):
    cpdef list attempt(self, Ticket ticket, double now)
    cpdef list begin(self, waiter, Ticket ticket, double now)
    cpdef list refuse(self, Ticket ticket, double now)
    cpdef list resume(self, Ticket ticket, double now)
    cpdef list expire(self, Ticket ticket, double now)
    cpdef list give_way(self, refusal, Ticket ticket, double now)
    cpdef list cancel(self, Ticket ticket, double now)
    cpdef list end(self, Ticket ticket, double now)
    cpdef outcome(self, Ticket ticket)
    cpdef wanted(self, Ticket ticket)
    cdef _check(self, Ticket ticket)
