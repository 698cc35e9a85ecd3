cdef class Delivery:
    cdef bint _arrived
    cdef object _recipient

    cpdef arrive(self)
