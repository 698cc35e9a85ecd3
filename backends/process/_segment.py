"""The file behind a process lock: made, found, checked, shared with children, left.

A named lock is a file in a private directory, or wherever a path says; an anonymous one is a file without a name that
lives as long as somebody has it open. Either way the same file serves as memory and as proof of life: every process
opens it a second time, and the kernel's locks on single bytes of *that* open file end with the process, whatever
kills it. So that second descriptor is never shared: it is closed on exec, closed in forked children, and sent nowhere.

**No half-made segment can be seen.** It is built under a random name, and linked to its own when it is complete; if
somebody else was faster, his is taken.

**The last user** is found out by the kernel, too: every user has a shared lock on one byte, and whoever gets it
exclusively is alone. Only then a segment is unlinked, or replaced because it is from before the last boot.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, NamedTuple, cast, final

from rwlocks._errors import SegmentError, SegmentFull
from rwlocks.backends.process._doors import fast, lib
from rwlocks.backends.process._places import NAMELESS, find, place, runtime_directory, unsafe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rwlocks.backends.process._fast import Context

__all__ = [
    "NO_BOUND",
    "Config",
    "Segment",
    "adopt",
    "config_from",
    "damaged",
    "find",
    "make_anonymous",
    "open_named",
    "runtime_directory",
    "unlink",
]

NO_BOUND: Final = 2**64 - 1
"""A limit of a policy that is none."""

_GRANTED, _BUSY, _DONE, _FULL = 1, 4, 5, -2
_PATIENCE: Final = 5.0  # seconds for which to wait for somebody who is just making or replacing the file
_BOOT: Final = 8
_REASONS: Final = {
    1: "it is too small to be one",
    2: "it is something else",
    3: "it was made by a machine of the other byte order",
    4: "it was made by another version of rwlocks",
    5: "it was never finished",
    6: "its size and its limits do not fit each other",
    7: "it contains values that nobody writes",
    _BOOT: "it was made before this machine was started",
}


class Config(NamedTuple):
    """What the creator of a segment decides for all who use it. Bounds that are none are `NO_BOUND`."""

    max_processes: int
    max_holds: int
    on_writer_death: int
    """0 flag, 1 raise, 2 ignore."""
    after_write: int
    """Who goes first: 0 readers, 1 writers, 2 by arrival."""
    while_reading: int
    max_batch: int
    max_consecutive_writers: int
    max_writer_wait: int
    """Nanoseconds."""


@final
class Segment:
    """One open segment: the descriptor that may be handed on, and the mapping, which owns the one that may not."""

    __slots__ = ("__weakref__", "bells", "config", "context", "fd", "instance", "mode", "path")

    def __init__(self, fd: int, path: Path | None, mode: int) -> None:
        self.fd = fd
        self.path = path
        self.mode = mode
        try:
            self.bells = _bells(fd, path)
            """How the paths of the bells of event loops begin; empty where there can be none."""
            self.context = _open_context(fd, path, self.bells)
            self.config, self.instance = _config_of(self.context, path)
        except BaseException:
            self.close_file()
            raise

    def attach(self) -> None:
        """Take a slot in the process table.

        Raises SegmentFull if there is none left, SegmentError if the segment is damaged or its gate stays shut.
        """
        deadline = monotonic() + _PATIENCE
        answer = lib.native_attach(self.context.address)
        while answer == _BUSY and monotonic() < deadline:
            answer = lib.native_attach(self.context.address)
        if answer == _FULL:
            users = ", ".join(map(str, self.context.processes()))
            raise SegmentFull(
                errno.ENOSPC,
                f"all {self.config.max_processes} places for processes are taken, by {users}; "
                "make the lock with a larger max_processes",
                self.name,
            )
        if answer != _DONE:
            raise damaged(self.name)

    def reopen(self) -> None:
        """In a forked child, which has disowned its parent's: open the file again, for a life of its own."""
        self.context = _open_context(self.fd, self.path, self.bells)
        self.attach()

    def close_file(self) -> None:
        """Close the descriptor; the mapping stays for those who are still inside a call."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close_file()

    def unlink_if_alone(self) -> bool:
        """Remove the name if nobody else uses the segment; whether that was so.

        Obligation: this process is detached.
        """
        if self.path is None or not self.context.join_users(True):
            return False
        if _same_file(self.path, self.fd):
            self.path.unlink(missing_ok=True)
        return True

    @property
    def name(self) -> str:
        """What messages call it."""
        return "an anonymous lock" if self.path is None else str(self.path)


class _Moved(Exception):
    """The file is being replaced or removed by its only user; look again."""


def damaged(name: str) -> SegmentError:
    """The error for nonsense found in a segment."""
    return SegmentError(
        errno.EIO,
        "the shared memory of the lock is damaged; stop all who use it and remove it (rwlocks unlink)",
        name,
    )


# -- making and finding ----------------------------------------------------------------------------------------------


def make_anonymous(config: Config) -> Segment:
    """A segment without a name. Raises ValueError for limits out of range."""
    fd = os.memfd_create("rwlocks", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _fill(fd, config)
        _seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return _attached(Segment(fd, None, 0o600))


def adopt(fd: int, path: Path | None, mode: int) -> Segment:
    """A segment whose descriptor came from another process. Takes the descriptor over, also when it raises."""
    return _attached(Segment(fd, path, mode))


def open_named(path: Path, config: Config | None, *, mode: int) -> Segment:
    """The segment at that path; made, with mode ``mode``, if there is none and a ``config`` is given.

    Raises FileNotFoundError if there is none, SegmentError if what is there is not to be trusted, ValueError for limits
    out of range.
    """
    deadline = monotonic() + _PATIENCE
    while True:
        try:
            return _attached(Segment(_open_checked(path, mode), path, mode))
        except FileNotFoundError:
            if config is None:
                raise
            _publish(path, config, mode)
        except _Stale as stale:
            if config is None or (not _replace(path, config, mode) and monotonic() > deadline):
                raise _refused(path, _BOOT) from stale
            sleep(0.001)
        except _Moved:
            if monotonic() > deadline:
                raise unsafe(path, "is kept by somebody who removes it", "try again") from None
            sleep(0.001)


def unlink(name_or_path: str | os.PathLike[str], *, in_use: bool = True) -> None:
    """Remove the name. Those who use the segment go on with it, newcomers make another one.

    Raises FileNotFoundError if there is no such lock, SegmentError if it is something else; and if somebody uses it,
    unless ``in_use`` allows for that.
    """
    path = place(name_or_path)
    fd = _open_checked(path, 0o777)
    try:
        reason = fast.look(os.pread(fd, fast.size(4000, 65535), 0), os.pread(fd, 4096, 0), fd, _boot_id())
        if isinstance(reason, int) and reason <= 2:
            raise _refused(path, reason)
        # Alone until the descriptor is closed: whoever comes now waits, and then finds the name gone.
        if not in_use and not fast.join_users(fd, True):
            raise SegmentError(errno.EBUSY, "somebody uses the lock; remove it when all have closed it", str(path))
        bells = Path(_bells(fd, path))
        path.unlink()
        for bell in bells.parent.glob(f"{glob.escape(bells.name)}*"):
            bell.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _attached(segment: Segment) -> Segment:
    try:
        if segment.path is not None and not _same_file(segment.path, segment.fd):
            raise _Moved
        segment.attach()
    except BaseException:
        segment.close_file()
        raise
    return segment


def _open_checked(path: Path, mode: int) -> int:
    """Open what is there, follow no link, and refuse whatever could be somebody else's."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise unsafe(path, "is a symbolic link", "give the path it leads to, if you trust it") from None
        if error.errno in {errno.ENXIO, errno.EISDIR}:
            raise unsafe(path, "is no regular file", "remove it, or use another name") from None
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise unsafe(path, "is no regular file", "remove it, or use another name")
        shared = bool(mode & 0o070) and found.st_gid in {os.getegid(), *os.getgroups()}
        if found.st_uid != os.geteuid() and not shared:
            raise unsafe(path, f"belongs to user {found.st_uid}", "give a mode for the group, if that is meant")
        wider = stat.S_IMODE(found.st_mode) & ~mode
        if wider:
            remedy = f"run 'chmod {mode:03o} {path}', or give mode=0o{stat.S_IMODE(found.st_mode):03o}"
            raise unsafe(path, f"has mode {stat.S_IMODE(found.st_mode):03o}, wider than {mode:03o}", remedy)
        if fast.on_network(fd):
            raise unsafe(path, "lies on a network file system", "use a local one")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_context(fd: int, path: Path | None, bells: str) -> Context:
    live_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    try:
        if not fast.join_users(live_fd, False):
            raise _Moved
        context = fast.Context.open(fd, live_fd, _boot_id(), os.fsencode(bells))
    except BaseException:
        os.close(live_fd)
        raise
    if isinstance(context, int):
        os.close(live_fd)
        if context == _BOOT:
            raise _Stale
        raise _refused(path, context)
    return context


class _Stale(Exception):
    """The segment is from before the last boot: nobody can be using it."""


def _config_of(context: Context, path: Path | None) -> tuple[Config, bytes]:
    found = context.config()
    if isinstance(found, int):  # changed since it was mapped
        raise _refused(path, found)
    return config_from(found), cast("bytes", found["instance"])


def config_from(header: Mapping[str, int | bytes]) -> Config:
    """What the native core has read from a header."""
    return Config(*(cast("int", header[name]) for name in Config._fields))


def _bells(fd: int, path: Path | None) -> str:
    """How the paths of the event loops' bells begin: beside a named lock, in the runtime directory otherwise."""
    inode = os.fstat(fd).st_ino
    if path is not None:
        return str(path.with_name(f".{path.name}.{inode:x}."))
    try:
        return str(runtime_directory() / f"{NAMELESS}{inode:x}.")
    except OSError:
        return ""  # Event loops then look at the clock, and need no bell.


def _publish(path: Path, config: Config, mode: int) -> None:
    """Make the segment under a name that nobody knows, then give it its own, unless there is one by now."""
    temporary = _build(path, config, mode)
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _replace(path: Path, config: Config, mode: int) -> bool:
    """Put a new segment in the place of one from before the boot; whether nobody else is about to."""
    fd = _open_checked(path, mode)
    try:
        if not fast.join_users(fd, True) or not _same_file(path, fd):
            return False
        _build(path, config, mode).replace(path)
        return True
    finally:
        os.close(fd)


def _build(path: Path, config: Config, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.new")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600)
    try:
        _fill(fd, config)
        os.fchmod(fd, mode)  # whatever the umask
    except BaseException:
        temporary.unlink()
        raise
    finally:
        os.close(fd)
    return temporary


def _fill(fd: int, config: Config) -> None:
    if not (1 <= config.max_processes <= 4000 and 1 <= config.max_holds <= 65535):
        raise ValueError(
            f"max_processes is {config.max_processes} and max_holds is {config.max_holds}; "
            "give 1 to 4000 processes and 1 to 65535 holds"
        )
    # Reserves the memory, so that a full file system is an error here and no signal later.
    os.posix_fallocate(fd, 0, fast.size(config.max_processes, config.max_holds))
    limits, policy = config[:3], config[3:]
    fast.initialise(fd, *limits, os.geteuid(), *policy, os.urandom(16), _boot_id())


def _seal(fd: int) -> None:
    """Nobody can shrink an anonymous segment under our feet."""
    import fcntl

    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)


def _boot_id() -> bytes:
    text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return bytes.fromhex(text.strip().replace("-", ""))


def _same_file(path: Path, fd: int) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _refused(path: Path | None, reason: int) -> SegmentError:
    remedy = "remove it (rwlocks unlink), once nobody uses it" if reason >= 3 else "use another name"
    name = "an anonymous lock" if path is None else str(path)
    return SegmentError(errno.EINVAL, f"this is no lock that can be used here: {_REASONS[reason]}; {remedy}", name)
