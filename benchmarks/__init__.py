"""One harness for us and for every rival that can be installed: ``python -m benchmarks``, from a checkout.

Not shipped in a wheel; what a user of one wants to know, ``rwlocks bench`` tells, and both measure with the same code.
"""

from __future__ import annotations

import sys
from pathlib import Path

# What is measured is what is installed, and the bare checkout only where nothing is.
_CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _CHECKOUT] + [str(_CHECKOUT)]
