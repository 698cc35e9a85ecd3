"""Where process locks lie. This much is known without the native core, and looking changes nothing."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from rwlocks._errors import SegmentError

__all__ = ["NAMELESS", "check_directory", "find", "locks_in", "place", "runtime_directory", "runtime_path", "unsafe"]

NAMELESS: Final = ".anonymous."
"""How the names of those files begin in the runtime directory that a lock without a name needs."""


def runtime_path() -> Path:
    """Where named locks of this user lie: ``RWLOCKS_DIR``, or a directory that depends on the user id alone."""
    given = os.environ.get("RWLOCKS_DIR")
    # Both may be written by anybody, which is why what is found there is looked at.
    shared = Path("/dev/shm")  # noqa: S108
    base = shared if shared.is_dir() else Path("/tmp")  # noqa: S108
    return Path(given) if given else base / f"rwlocks-{os.geteuid()}"


def runtime_directory() -> Path:
    """The `runtime_path`, made if it is not there. Raises SegmentError as `check_directory` does."""
    path = runtime_path()
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    check_directory(path)
    return path


def check_directory(path: Path) -> None:
    """Raises SegmentError unless the directory belongs to this user and to nobody else; FileNotFoundError."""
    found = path.lstat()
    elsewhere = "set RWLOCKS_DIR to a directory of your own"
    if not stat.S_ISDIR(found.st_mode):
        fact, remedy = "is no directory", f"remove it, or {elsewhere}"
    elif found.st_uid != os.geteuid():
        fact, remedy = f"belongs to user {found.st_uid}", elsewhere
    elif found.st_mode & 0o077:
        fact, remedy = (
            f"has mode {found.st_mode & 0o777:03o}",
            f"if it is for locks only, 'chmod 700 {path}'; else {elsewhere}",
        )
    else:
        return
    raise unsafe(path, fact, remedy, what="the directory of named locks")


def place(name_or_path: str | os.PathLike[str]) -> Path:
    """The path of a lock: a ``str`` without a separator is a name in the `runtime_path`.

    Raises ValueError for a name that cannot be one of a file.
    """
    if isinstance(name_or_path, str) and os.sep not in name_or_path:
        if name_or_path in {"", ".", ".."} or "\0" in name_or_path:
            raise ValueError(f"{name_or_path!r} cannot be the name of a lock; give letters, digits, '-', '_' or '.'")
        return runtime_path() / name_or_path
    return Path(name_or_path).absolute()


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """The `place` of a lock, in a directory that is there and safe. Raises ValueError, SegmentError."""
    path = place(name_or_path)
    if isinstance(name_or_path, str) and os.sep not in name_or_path:
        runtime_directory()
    return path


def locks_in(directory: Path) -> list[Path]:
    """What may be a lock in there, in the order of the names; neither bells nor what is only being made.

    Raises FileNotFoundError, and other kinds of OSError.
    """
    return sorted(path for path in directory.iterdir() if not _is_scaffolding(path))


def _is_scaffolding(path: Path) -> bool:
    return path.name.startswith(".") and (path.suffix == ".new" or path.is_fifo())


def unsafe(path: Path, fact: str, remedy: str, *, what: str = "the lock") -> SegmentError:
    """The error for what could be somebody else's."""
    return SegmentError(errno.EPERM, f"{what} cannot be trusted: it {fact}; {remedy}", str(path))
