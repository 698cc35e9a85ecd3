cimport cython

from rwlocks._line cimport Line, Place
from rwlocks._ticket cimport Ticket


@cython.final
cdef public class Engine [object RwlEngine, type RwlEngineType]:
    cdef public long long acquisitions
    cdef public long long arrivals
    cdef public Py_ssize_t contended
    cdef public long long held_back
    cdef public dict holders
    cdef public bint nesting
    cdef public double now
    cdef public object policy
    cdef public Py_ssize_t readers
    cdef public dict spent
    cdef public Ticket upgradable
    cdef public Ticket upgrading
    cdef public dict waiting
    cdef public Ticket writer
    cdef public long long writes_in_a_row
    cdef public Line young

    @cython.locals(place=Place, other=Ticket)
    cpdef bint enter(self, Ticket ticket, object clock)
    @cython.locals(line=Line, young=Line, first=Place, soonest=Place, who=Ticket)
    cpdef bint leave(self, Ticket ticket, object clock)
    cpdef list request(self, Ticket ticket, double now, bint wait=*)
    cpdef queue_up(self, Ticket ticket, double now)
    cpdef list claim(self, Ticket ticket, double now)
    cpdef list withdraw(self, Ticket ticket, double now)
    cpdef list release(self, Ticket ticket, double now)
    cpdef list downgrade(self, Ticket ticket, double now)
    cpdef list upgrade(self, Ticket ticket, double now, bint wait=*)
    cpdef list withdraw_upgrade(self, Ticket ticket, double now)

    cdef double _horizon(self, bint after_write)
    cpdef order(self, bint after_write)
    @cython.locals(writer=Ticket)
    cdef bint _overdue(self)
    cpdef bint admits(self, object mode)
    cpdef bint compatible(self, object mode)

    @cython.locals(place=Place)
    cpdef list advance(self, double now)
    cdef list _serve(self, bint after_write=*)
    @cython.locals(ticket=Ticket)
    cdef _finish_upgrade(self, list wakes)
    @cython.locals(ticket=Ticket)
    cdef _admit_readers(self, double horizon, list wakes)
    @cython.locals(reader=Place, upgradable=Place)
    cdef Ticket _next_reader(self, double horizon)
    @cython.locals(ticket=Ticket)
    cdef _offer_to_writer(self, list wakes)
    @cython.locals(line=Line, place=Place, ticket=Ticket)
    cdef bint _forget_lost(self)

    cdef bint _free(self)
    @cython.locals(place=Place)
    cdef Ticket _first(self, object mode)
    @cython.locals(line=Line)
    cdef _join(self, Ticket ticket, double now)
    cdef _spend(self, Ticket ticket, Place timer)
    @cython.locals(line=Line)
    cdef _leave(self, Ticket ticket)
    cdef _forget(self, Ticket ticket)
    cdef _grant(self, Ticket ticket)
    cdef _hold(self, Ticket ticket)
    cdef _drop(self, Ticket ticket)
    cdef _list(self, Ticket ticket)
    @cython.locals(holder=Ticket)
    cdef _unlist(self, Ticket ticket)
    cdef _become(self, Ticket ticket, object mode)
    cdef _take_role(self, Ticket ticket)
    cdef _leave_role(self, Ticket ticket)
    cdef _end_pending(self, Ticket ticket)
    cdef _revert(self, Ticket ticket)
    cdef _count_write(self)
    cdef _restart_count(self)
    cpdef disown(self, Ticket ticket)
    cpdef rejoin(self, Ticket ticket)
    cpdef list settle(self)
    cpdef pass_on(self, Ticket ticket, Ticket heir)
    @cython.locals(ticket=Ticket)
    cpdef list held_by(self, object owner)
    cpdef locked(self)
