"""The tests of `RWLock` once more, over `ProcessRWLock`: what one promises, the other keeps.

A test module is run again under another name, in which ``RWLock`` makes a lock in shared memory. Tests that need what
only locks of one process have (nested holds, a choice of backends) are skipped by the maker itself.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

# These three are shared with the tests of `RWLock`, and must not be first imported by a twin.
import _actors
import _waits
import pytest
import test_golden_traces

import rwlocks
from rwlocks import ProcessRWLock

if TYPE_CHECKING:
    from collections.abc import Container
    from types import ModuleType

    from rwlocks import Policy
    from rwlocks._types import PolicyName

__all__ = ["over_processes"]

pytest.importorskip("rwlocks.backends.process._fast", reason="built without the native core")

_Fixture = type(pytest.fixture(lambda: None))

SHARED = (_actors, _waits, test_golden_traces)
assert all(vars(module)["RWLock"] is rwlocks.RWLock for module in SHARED)


def in_shared_memory(
    policy: PolicyName | Policy = "fifo", *, name: str | None = None, reentrant: bool = False, backend: str = "auto"
) -> ProcessRWLock:
    """What `RWLock` makes, for all processes."""
    if reentrant:
        pytest.skip("a process lock is never reentrant")
    if backend != "auto":
        pytest.skip("a process lock is for every runtime")
    lock = ProcessRWLock(policy=policy, max_holds=512)
    lock._name = name
    return lock


def over_processes(suite: str, *, without: Container[str] = (), slow: bool = False) -> dict[str, Any]:
    """The tests and fixtures of a module, over locks in shared memory, except for some. Tests are named after both."""
    twin = _loaded(f"test_{suite}")
    own = {name: value for name, value in vars(twin).items() if getattr(value, "__module__", None) == twin.__name__}
    tests = {name: value for name, value in own.items() if name.lower().startswith("test") and name not in without}
    fixtures = {name: value for name, value in own.items() if isinstance(value, _Fixture)}
    marked = {name: pytest.mark.slow(test) if slow else test for name, test in tests.items()}
    return {**fixtures, **{f"{name}__{suite}": test for name, test in marked.items()}}


def _loaded(module: str) -> ModuleType:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.loader is not None
    loader: Any = spec.loader
    spec.name = loader.name = f"{module}_over_processes"
    twin = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = twin  # before it runs, as an import does
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rwlocks, "RWLock", in_shared_memory)
        loader.exec_module(twin)
    if hasattr(twin, "lock_on"):
        vars(twin)["lock_on"] = _in_shared_memory_on
    return twin


def _in_shared_memory_on(loop: str, policy: PolicyName | Policy = "fifo") -> ProcessRWLock:
    """What `_waits.lock_on` makes, for all processes."""
    return in_shared_memory(policy, backend="anyio" if loop == "anyio" else "auto")
