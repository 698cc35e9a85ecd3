"""What of rwlocks is compiled and in use, here and now.

Each compiled part has a door: a module that is all there is between the part and those who use it. It can be imported,
or raises BackendUnavailable with the reason and the remedy. So the part speaks for itself, and what is said here is
what its users meet.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final, NamedTuple

from rwlocks import _runtimes
from rwlocks._errors import BackendUnavailable

__all__ = ["Features", "Interpreter", "KnownBackend", "Part", "features"]

DOORS: Final = {"RWLock": "rwlocks._compiled", "ProcessRWLock": "rwlocks.backends.process._doors"}


class Interpreter(NamedTuple):
    """What runs this program."""

    implementation: str
    version: str
    free_threaded: bool
    """Whether it was built so that it can do without its lock."""
    gil: bool
    """Whether it has its lock now; an extension module that needs the lock brings it back."""

    def __str__(self) -> str:
        gil = "with the GIL" if self.gil else "without the GIL"
        built = ", though built to do without" if self.gil and self.free_threaded else ""
        return f"{self.implementation} {self.version} {gil}{built}"


class Part(NamedTuple):
    """The core beneath one kind of lock."""

    serves: str
    """The class that stands on it."""
    compiled: bool
    """Whether compiled code is in use. Without it an `RWLock` is slower, and a `ProcessRWLock` cannot be made."""
    about: str
    """What is compiled; or why nothing is in use, and the remedy."""

    def __str__(self) -> str:
        return f"{self.serves} {'' if self.compiled else 'not '}compiled"


class KnownBackend(NamedTuple):
    """A way of waiting that ``RWLock(backend=...)`` knows by name."""

    name: str
    source: str
    """The distribution that brings it."""
    loaded: bool
    """Whether somebody has needed it so far."""


class Features(NamedTuple):
    """What there is. A snapshot: a backend that is loaded later does not show."""

    version: str
    """Of rwlocks; "unknown" in a checkout that is not installed."""
    interpreter: Interpreter
    parts: tuple[Part, ...]
    backends: tuple[KnownBackend, ...]

    def __repr__(self) -> str:
        parts = ", ".join(map(str, self.parts))
        backends = ", ".join(each.name for each in self.backends)
        return f"<Features of rwlocks {self.version} on {self.interpreter}: {parts}; backends {backends}>"


def features() -> Features:
    """Which parts of rwlocks are compiled and in use, on which interpreter, and which backends are known.

    Loads the compiled parts, but no runtime. May be called from any thread.
    """
    return Features(_version(), _interpreter(), tuple(_ask(*each) for each in DOORS.items()), _backends())


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rwlocks")
    except PackageNotFoundError:
        return "unknown"


def _interpreter() -> Interpreter:
    import platform
    import sysconfig

    return Interpreter(
        platform.python_implementation(),
        platform.python_version(),
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        gil=getattr(sys, "_is_gil_enabled", lambda: True)(),
    )


def _ask(serves: str, door: str) -> Part:
    try:
        return Part(serves, compiled=True, about=import_module(door).ABOUT)
    except BackendUnavailable as reason:
        return Part(serves, compiled=False, about=str(reason))


def _backends() -> tuple[KnownBackend, ...]:
    loaded = _runtimes.loaded_backends()
    return tuple(KnownBackend(name, source, name in loaded) for name, source in _runtimes.known_backends().items())
