cimport cython

from rwlocks._line cimport Place


@cython.final
cdef public class Ticket [object RwlTicket, type RwlTicketType]:
    cdef public object abandoned
    cdef public long long arrival
    cdef public object asked
    cdef public object base
    cdef public Ticket beside
    cdef public object blocks
    cdef public bint delivered
    cdef public object detached
    cdef public bint granted
    cdef public object inherited
    cdef public tuple inner
    cdef public long long joined
    cdef public object mode
    cdef public object origin
    cdef public Ticket outer
    cdef public object owner
    cdef public double patience
    cdef public object pid
    cdef public Place place
    cdef public bint poked
    cdef public object refusal
    cdef public object since
    cdef public bint spent
    cdef public object state
    cdef public object task
    cdef public object thread
    cdef public Place timer
    cdef public object waiter
    cdef public double wanted
