"""Locks in shared memory: the segment's life cycle, and the Python face of the native core."""
