"""What the doctor looks at. Every check ends with findings, whatever it meets: a doctor does not fall ill."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from rwlocks import _runtimes, features
from rwlocks._types import Deadlocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rwlocks import Features
    from rwlocks._features import Part

__all__ = ["Finding", "examine"]

VARIABLES: Final = ("RWLOCKS_CORE", "RWLOCKS_DEADLOCK", "RWLOCKS_DIR", "RWLOCKS_NO_NATIVE")
BUILD_TIME: Final = {"RWLOCKS_NATIVE", "RWLOCKS_PORTABLE"}
EXTRAS: Final = {"rich": "the live views of demo and status", "trio": "trio, also in the demo"}

ROOM: Final = 1 << 20
"""Bytes; a lock with the default limits takes 140 kB."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    section: str
    label: str
    text: str
    """For people."""
    value: object
    """For programs: whatever JSON can say."""
    problem: str = ""
    """The fact and the remedy, if this is why something does not work."""


def examine() -> list[Finding]:
    """Everything, section by section."""
    found = features()
    return [
        *_interpreter(found),
        *(_part(part) for part in found.parts),
        *_environment(),
        *_directory(),
        *_backends(found),
        *_limits(),
        *_extras(),
    ]


def _plain(section: str, label: str, text: str, problem: str = "") -> Finding:
    return Finding(section, label, text, text, problem)


# -- what runs -----------------------------------------------------------------------------------------------------


def _interpreter(found: Features) -> Iterator[Finding]:
    section = "interpreter"
    yield _plain(section, "rwlocks", found.version)
    yield Finding(section, "python", str(found.interpreter), found.interpreter._asdict())
    yield _plain(section, "system", platform.platform())


def _part(part: Part) -> Finding:
    section, value = "compiled parts", {"in_use": part.compiled, "about": part.about}
    if part.compiled:
        return Finding(section, part.serves, f"in use: {part.about}", value)
    return Finding(section, part.serves, "not in use", value, part.about)


def _environment() -> Iterator[Finding]:
    others = sorted(name for name in os.environ if name.startswith("RWLOCKS_") and name not in VARIABLES)
    for name in (*VARIABLES, *others):
        value = os.environ.get(name)
        if value is None:
            yield Finding("environment", name, "not set", None)
        else:
            effect, problem = _effect(name, value)
            yield Finding("environment", name, f"{value!r}, {effect}", value, problem)


def _effect(name: str, value: str) -> tuple[str, str]:
    """What a variable does, and what is wrong with it."""
    match name:
        case "RWLOCKS_NO_NATIVE":
            return "which changes nothing" if value in {"", "0"} else "so compiled parts are not used", ""
        case "RWLOCKS_CORE":
            return "which changes nothing" if value in {"", "c"} else "so RWLock is plain Python", ""
        case "RWLOCKS_DIR":
            return "where named locks lie" if value else "which changes nothing", ""
        case "RWLOCKS_DEADLOCK" if value in get_args(Deadlocks):
            return "what becomes of nested requests and of circles of waiters", ""
        case "RWLOCKS_DEADLOCK":
            choices = ", ".join(map(repr, get_args(Deadlocks)))
            return "unknown", f"every RWLock() raises ValueError for {value!r}; set it to one of {choices}, or unset it"
        case _:
            return "which is read when rwlocks is built" if name in BUILD_TIME else "which nobody reads", ""


# -- where locks lie -------------------------------------------------------------------------------------------------


def _directory() -> Iterator[Finding]:
    if os.name != "posix":
        yield Finding("named locks", "directory", "none: there are no process locks on this system", None)
        return
    from rwlocks.backends.process._places import check_directory, locks_in, runtime_path

    path = runtime_path()
    value: dict[str, object] = {"path": str(path)}
    text, problem = str(path), ""
    try:
        check_directory(path)
        value |= {"mode": f"{path.stat().st_mode & 0o777:03o}", "locks": len(locks_in(path))}
        text += ", mode {mode}, locks in it: {locks}".format_map(value)
    except FileNotFoundError:
        text += ", not there; the first named lock makes it"
        problem = _why_nobody_can_make(path)
    except OSError as error:
        text += ", not safe to use"
        problem = error.strerror or str(error)
    yield Finding("named locks", "directory", text, value, problem)
    yield from _file_system("named locks", path)


def _why_nobody_can_make(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f"it cannot be made, since there is no directory {parent}; make that one, or set RWLOCKS_DIR"
    if not os.access(parent, os.W_OK | os.X_OK):
        return f"it cannot be made, since {parent} is not writable; set RWLOCKS_DIR to another place"
    return ""


def _file_system(section: str, path: Path) -> Iterator[Finding]:
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    found = os.statvfs(there)
    free = found.f_bavail * found.f_frsize
    room = "" if free >= ROOM else "there is no room for another lock; make some, or set RWLOCKS_DIR"
    yield Finding(section, "free", f"{free / 2**20:,.0f} MiB", free, room)
    kind = _kind_of_file_system(there)
    network = _on_network(there)
    problem = "locks do not work on a network file system; set RWLOCKS_DIR to a local directory" if network else ""
    yield _plain(section, "file system", f"{kind}, {'on a network' if network else 'local'}", problem)


def _kind_of_file_system(path: Path) -> str:
    """Its type, as mounted; of several mounts at one place the last one counts."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "of an unknown kind"
    real, best, kind = path.resolve(), -1, "of an unknown kind"
    for line in lines:
        before, _, after = line.partition(" - ")
        # Spaces and the like are written as octal escapes.
        point = Path(before.split()[4].encode("utf-8", "surrogateescape").decode("unicode_escape"))
        if real.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def _on_network(path: Path) -> bool:
    """What the native core would say of it; False without one, which could not use it anyway."""
    try:
        from rwlocks.backends.process._doors import fast
    except ImportError:
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fast.on_network(fd)
    finally:
        os.close(fd)


# -- what else -------------------------------------------------------------------------------------------------------


def _backends(found: Features) -> Iterator[Finding]:
    for backend in found.backends:
        origin = "" if backend.source == "rwlocks" else f" (of {backend.source})"
        value = {"source": backend.source, "loads": True}
        try:
            _runtimes.backend_named(backend.name)
        except Exception as error:  # noqa: BLE001 - the code of others, which may raise anything
            reason = f"does not load{origin}: {type(error).__name__}: {error}"
            yield Finding("backends", backend.name, f"does not load{origin}", value | {"loads": False}, reason)
        else:
            yield Finding("backends", backend.name, f"loads{origin}", value)


def _limits() -> Iterator[Finding]:
    section = "limits"
    if importlib.util.find_spec("resource") is None:
        yield Finding(section, "open files", "unknown on this system", None)
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    words = ["unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}" for limit in (soft, hard)]
    text = f"{words[0]}, at most {words[1]}; an open process lock takes two"
    yield Finding(section, "open files", text, {"soft": soft, "hard": hard})


def _extras() -> Iterator[Finding]:
    for module, purpose in EXTRAS.items():
        try:
            version = importlib.metadata.version(module)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("extras", module, f"not installed; it is for {purpose}", None)
        else:
            yield _plain("extras", module, version)
