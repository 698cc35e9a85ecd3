cimport cython


@cython.final
cdef public class Place [object RwlPlace, type RwlPlaceType]:
    cdef public Place after
    cdef public Place before
    cdef public double key
    cdef public object who


@cython.final
cdef public class Line [object RwlLine, type RwlLineType]:
    cdef public Place head
    cdef public Place tail
    cdef public Py_ssize_t length
    cdef public Py_ssize_t steps

    @cython.locals(place=Place, before=Place, after=Place)
    cpdef Place join(self, object who, double key)
    cpdef leave(self, Place place)
    cdef _chain(self, Place before, Place after)
