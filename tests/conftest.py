"""What is tested is what is installed.

``python -m pytest`` puts the checkout first on the path, where it would hide an installed wheel. It is taken off
again, unless nothing is installed: then the bare checkout is what there is to test.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

_CHECKOUT = Path(__file__).resolve().parents[1]

_path = sys.path[:]
sys.path[:] = [entry for entry in _path if Path(entry or ".").resolve() != _CHECKOUT]
if importlib.util.find_spec("rwlocks") is None:
    sys.path[:] = _path


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """Many tests collect garbage on purpose; what thousands of others have imported need not be searched each time."""
    gc.collect()
    gc.freeze()
    try:
        return (yield)
    finally:
        gc.unfreeze()
