"""The two compiled doors to the native core, or the reason why there are none."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from rwlocks._errors import BackendUnavailable

__all__ = ["ABOUT", "fast", "ffi", "lib"]

_REMEDY: Final = (
    "with a C compiler at hand, run "
    "'pip install --force-reinstall --no-cache-dir --no-binary rwlocks rwlocks' (in a checkout: 'pip install -e .')"
)

if os.environ.get("RWLOCKS_NO_NATIVE", "") not in {"", "0"}:
    raise BackendUnavailable("process locks need the native core, and RWLOCKS_NO_NATIVE is set; unset it")
if sys.platform == "win32":
    raise BackendUnavailable("process locks need the native core, which is not written for Windows yet")

try:
    from rwlocks.backends.process import _fast as fast
    from rwlocks.backends.process._native import ffi, lib
except ImportError as error:
    raise BackendUnavailable(
        f"process locks need the native core, which cannot be loaded here ({error}); {_REMEDY}"
    ) from error

if not TYPE_CHECKING and lib.native_layout() != fast.LAYOUT:
    raise BackendUnavailable(f"the two compiled parts of rwlocks are of different builds; {_REMEDY}")

ABOUT: Final = f"both doors, waiting by {fast.WAITING}"
"""How it was built, for `rwlocks.features`."""
