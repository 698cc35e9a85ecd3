"""The names, results and errors of other lock libraries, on the locks of this one.

One module for each library, under that library's own name: a program changes its import line and runs on. It keeps the
rules of who gets the lock when that it was written for, unless it asks for others with ``policy=``. Each module begins
with a table of what it offers and of the defects that did not come along.
"""

from __future__ import annotations
