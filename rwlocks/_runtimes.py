"""Which runtimes there are, and which one runs on this thread.

Backends are found by name and loaded when somebody first waits through them. A runtime is noticed in `sys.modules`
and never imported for its own sake: a program of threads pays for no event loop.
"""

from __future__ import annotations

import weakref
from sys import modules
from typing import TYPE_CHECKING, Final

from rwlocks._errors import BackendUnavailable
from rwlocks._ports import AsyncBackend, Backend, SyncBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

__all__ = [
    "backend_named",
    "blocking",
    "current_task",
    "expect_running",
    "known_backends",
    "loaded_backends",
    "reference_to_task",
    "running",
]

ENTRY_POINTS: Final = "rwlocks.backends"

_BUILT_IN: Final = {
    "threading": "rwlocks.backends._threads",
    "asyncio": "rwlocks.backends._asyncio",
    "anyio": "rwlocks.backends._anyio",
}
_loaded: dict[str, Backend] = {}
_threads: SyncBackend | None = None

# Runtime modules that have not been imported so far, and the backends that know their tasks.
_unseen: dict[str, str] = {"asyncio": "asyncio", "trio": "anyio"}

# The loaded backends that know tasks; asyncio's before anyio's, which speaks for trio but understands asyncio, too.
_with_tasks: tuple[AsyncBackend, ...] = ()


when_noticed: list[Callable[[tuple[AsyncBackend, ...]], object]] = []
"""To be told which of the loaded backends know tasks, whenever one was loaded."""


def backend_named(backend: str | Backend) -> Backend:
    """The backend for a name, loaded; an object is returned as it is.

    Raises ValueError for an unknown name, TypeError for anything else, BackendUnavailable when something is missing.
    """
    if not isinstance(backend, str):
        if isinstance(backend, (SyncBackend, AsyncBackend)):
            return _remember(backend.name, backend)
        raise TypeError(f"{backend!r} is not a backend; give a name such as 'asyncio', or a Backend object")
    if backend not in _loaded:
        _remember(backend, _load(backend))
    return _loaded[backend]


def known_backends() -> dict[str, str]:
    """The names of all backends, and which distribution brings each."""
    sources = dict.fromkeys(_BUILT_IN, "rwlocks")
    for name, point in sorted(_registered().items()):
        sources.setdefault(name, "unknown" if point.dist is None else point.dist.name)
    return sources


def loaded_backends() -> frozenset[str]:
    """The names of the backends that somebody has needed so far."""
    return frozenset(_loaded)


def blocking() -> SyncBackend:
    """The backend of plain threads."""
    return _threads or _load_threads()


def _load_threads() -> SyncBackend:
    global _threads  # noqa: PLW0603  a cache: a protocol takes 13 microseconds to check an instance on 3.11
    backend = backend_named("threading")
    assert isinstance(backend, SyncBackend)
    _threads = backend
    return backend


def running() -> AsyncBackend | None:
    """The runtime whose task runs on the calling thread."""
    _notice_runtimes()
    for backend in _with_tasks:
        if backend.running():
            return backend
    return None


def expect_running() -> AsyncBackend:
    """The runtime whose task runs on the calling thread. Raises RuntimeError if there is none."""
    backend = running()
    if backend is None:
        raise RuntimeError(
            "no task of a known event loop runs here; use 'async with' inside asyncio or trio, and 'with' elsewhere"
        )
    return backend


def reference_to_task() -> weakref.ref[object] | None:
    """A weak reference to the task that runs on the calling thread, of whatever runtime; None outside of one.

    A strong one would stay in the frames of whoever asks, and so in the traceback of an error that ends the task, which
    knows its error: only the collector could free them.
    """
    for module in _unseen:  # As `_notice_runtimes`, but without a call: every acquisition of the pure core asks.
        if module in modules:
            _notice(module)
    for backend in _with_tasks:
        task = backend.current_task()
        if task is not None:
            return weakref.ref(task)
    return None


def current_task() -> object | None:
    """The task that runs on the calling thread, of whatever runtime."""
    reference = reference_to_task()
    return None if reference is None else reference()


def loop_runs_here() -> bool:
    """Whether an event loop runs on the calling thread, in a task or between tasks."""
    _notice_runtimes()
    for backend in _with_tasks:  # noqa: SIM110  on the way of whoever has to wait, and twice as fast as `any`
        if backend.loop_runs_here():
            return True
    return False


def task_has_ended(task: object) -> bool:
    """Whether a task, of whatever runtime, has run to its end."""
    return any(backend.has_ended(task) for backend in _with_tasks)


def task_name(task: object) -> str:
    """What a user would call that task."""
    for backend in _with_tasks:
        name = backend.task_name(task)
        if name is not None:
            return name
    return repr(task)


def _notice_runtimes() -> None:
    for module in _unseen:
        if module in modules:
            _notice(module)


def _notice(module: str) -> None:
    global _unseen  # noqa: PLW0603  replaced, never changed: other threads may be reading it
    name, found = _unseen.get(module), modules.get(module)
    # A module that is still being imported has no tasks yet, and touching it could deadlock the import.
    if name is not None and found is not None and not getattr(found.__spec__, "_initializing", False):
        backend_named(name)
        _unseen = {other: its for other, its in _unseen.items() if other != module}


def _load(name: str) -> Backend:
    if name in _BUILT_IN:
        from importlib import import_module

        try:
            module = import_module(_BUILT_IN[name])
        except ImportError as error:
            package = (error.name or name).partition(".")[0]
            raise BackendUnavailable(
                f"the backend {name!r} needs {package!r}, which is not installed; run 'pip install {package}'"
            ) from error
        backend: Backend = module.BACKEND
        return backend
    registered = _registered()
    if name not in registered:
        known = ", ".join(map(repr, ["auto", *_BUILT_IN, *sorted(registered)]))
        raise ValueError(f"unknown backend {name!r}; the known ones are {known}, or give a Backend object")
    backend = registered[name].load()
    if not isinstance(backend, (SyncBackend, AsyncBackend)):
        raise TypeError(
            f"the entry point {name!r} of {ENTRY_POINTS!r} is {backend!r}, not a backend; "
            "it must name an object that satisfies rwlocks.Backend"
        )
    return backend


def _registered() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _remember(name: str, backend: Backend) -> Backend:
    global _with_tasks  # noqa: PLW0603  replaced, never changed: other threads may be reading it
    known = _loaded.setdefault(name, backend)
    if known is not backend:
        _loaded.setdefault(f"{name} at {id(backend):#x}", backend)
    # Without a lock, which a fork could leave locked: whoever is overtaken by another thread here does it again.
    seen = 0
    while seen != len(_loaded):
        seen = len(_loaded)
        knowing = {b for b in list(_loaded.values()) if isinstance(b, AsyncBackend)}
        # Sorted, so that the answer does not depend on who was loaded first.
        _with_tasks = tuple(sorted(knowing, key=lambda b: (b.name != "asyncio", b.name == "anyio")))
    while True:
        knowing_tasks = _with_tasks
        for told in when_noticed:
            told(knowing_tasks)
        if _with_tasks is knowing_tasks:
            return backend
