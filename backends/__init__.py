"""Ways of waiting for a lock, one file each, behind the port in `rwlocks._ports`.

The core finds them by name: the built-in ones in this package, others by the entry-point group ``rwlocks.backends``.
"""

from rwlocks._variant import prefer_compiled

prefer_compiled(__path__, "backends")
