cimport cython

from rwlocks._engine cimport Engine
from rwlocks._ticket cimport Ticket


@cython.final
cdef class Totals:
    cdef public long long cancellations
    cdef public long long contended
    cdef public double longest_wait
    cdef public long long rounds
    cdef public long long timeouts


@cython.final
cdef public class Monitor [object RwlMonitor, type RwlMonitorType]:
    cdef object __weakref__
    cdef public bint abandoned
    cdef public bint charted
    cdef public object clock
    cdef public object deadlocks
    cdef public list deferred
    cdef public Engine engine
    cdef public object gate
    cdef public long long generation
    cdef public bint inside
    cdef public object lock
    cdef public object mutex
    cdef public object observed_since
    cdef public bint recovered
    cdef public bint reentrant
    cdef public Totals totals
    cdef public dict watchers

    cpdef bint try_mutex(self)
    @cython.locals(ticket=Ticket, seated=Ticket, wakes=list, rung=list)
    cpdef bint enter(self, seat, ticket, attempt)
    @cython.locals(ticket=Ticket, wakes=list, rung=list)
    cpdef leave(self, seat)
    @cython.locals(ticket=Ticket)
    cdef Ticket _releasable(self, seat)
    @cython.locals(wakes=list, rung=list)
    cpdef ask(self, step, Ticket ticket, outcome)
    @cython.locals(wakes=list, rung=list)
    cpdef tell(self, step, Ticket ticket)
    cdef list _finish(self)
    cdef _defer(self, step, Ticket ticket)
    cdef _help(self)
    cdef _outside(self, list wakes, list rung)
    @cython.locals(ticket=Ticket, delivered=bint)
    cpdef wake(self, list tickets)
    cpdef list notice(self)
    cpdef ring(self, list watchers)
    cdef list _apply(self, step, Ticket ticket)
    @cython.locals(wakes=list)
    cpdef list apply_deferred(self)
    cpdef list release(self, Ticket ticket, double now)
    cpdef list become_reader(self, Ticket ticket, double now)
    cpdef list undelivered(self, Ticket ticket, double now)
