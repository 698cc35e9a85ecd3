"""What is tested is what is installed.

``python -m pytest`` puts the checkout first on the path, where it would hide an installed wheel. It is taken off
again, unless nothing is installed: then the bare checkout is what there is to test.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

_CHECKOUT = Path(__file__).resolve().parents[1]

_path = sys.path[:]
sys.path[:] = [entry for entry in _path if Path(entry or ".").resolve() != _CHECKOUT]
if importlib.util.find_spec("rwlocks") is None:
    sys.path[:] = _path


from rwlocks import RWLock, _variant  # noqa: E402  what is installed, as found above

CORE: Final = "c" if _variant.plain_because is None else "py"


@pytest.fixture(scope="session")
def core(request: pytest.FixtureRequest) -> str:
    """Which variant of `RWLock` the tests run over: ``c``, or ``py`` where RWLOCKS_CORE=py asks for it.

    A process has one of them, since it is chosen when the package is imported; so the suite is run twice.
    """
    assert (type(RWLock()) is RWLock) == (request.param == "py"), "the lock is not of the variant that was chosen"
    variant: str = request.param
    return variant


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test but those of the standard library, whose kind takes no parameters."""
    metafunc.fixturenames.append("core")
    metafunc.parametrize("core", [CORE], indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """Many tests collect garbage on purpose; what thousands of others have imported need not be searched each time."""
    gc.collect()
    gc.freeze()
    try:
        return (yield)
    finally:
        gc.unfreeze()
