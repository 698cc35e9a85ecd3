from rwlocks._monitor cimport Monitor
from rwlocks._ticket cimport Ticket


cpdef hopeless(Monitor monitor, Ticket ticket)
