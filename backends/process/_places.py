"""Where process locks lie. This much is known without the native core, and looking changes nothing."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from rwlocks._errors import SegmentError

__all__ = ["check_directory", "find", "place", "runtime_directory", "runtime_path", "unsafe"]


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
    if not stat.S_ISDIR(found.st_mode):
        raise unsafe(path, "is no directory", "remove it, or set RWLOCKS_DIR to another place")
    if found.st_uid != os.geteuid():
        raise unsafe(path, f"belongs to user {found.st_uid}", "set RWLOCKS_DIR to a directory of your own")
    if found.st_mode & 0o077:
        raise unsafe(path, f"has mode {found.st_mode & 0o777:03o}", f"run 'chmod 700 {path}'")


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


def unsafe(path: Path, fact: str, remedy: str) -> SegmentError:
    """The error for what could be somebody else's."""
    return SegmentError(errno.EPERM, f"the lock cannot be trusted: it {fact}; {remedy}", str(path))
