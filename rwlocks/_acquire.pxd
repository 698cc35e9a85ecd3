cimport cython

from rwlocks._ticket cimport Ticket


cdef _until_next_look(Ticket ticket, left)
cdef _unless_in_circle(wait, Ticket ticket, state)


@cython.final
cdef class Suspension:
    cdef object _steps
