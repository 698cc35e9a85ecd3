"""What ``rwlocks status`` knows of the locks in a directory, or of one: looks that change nothing, and documents."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rwlocks._types import Mode
    from rwlocks.backends.process._look import Look, Seen

__all__ = ["Entry", "Survey", "command_of", "document", "held_as", "survey"]


class Entry(NamedTuple):
    """One lock, or what lies where one could be."""

    path: Path
    look: Look | None
    error: str
    """Why there is no look, "" if there is one."""


class Survey(NamedTuple):
    """All that was asked for."""

    directory: Path
    chosen: bool
    """Whether that is where named locks lie because ``RWLOCKS_DIR`` says so."""
    entries: tuple[Entry, ...]


def survey(name_or_path: str | None) -> Survey:
    """A look at one lock, or at all in a directory: the given one, or that of the named locks.

    Raises BackendUnavailable without the native core, ValueError for an impossible name, and OSError for a directory
    that cannot be read. What is no lock, or a damaged one, is an entry with an error.
    """
    from rwlocks.backends.process._places import locks_in, place, runtime_path

    path = runtime_path() if name_or_path is None else place(name_or_path)
    one = name_or_path is not None and not path.is_dir()
    directory = path.parent if one else path
    chosen = bool(os.environ.get("RWLOCKS_DIR")) and directory == runtime_path()
    if one:
        return Survey(directory, chosen, (_entry(path),))
    try:
        paths = locks_in(path)
    except FileNotFoundError:
        paths = []
    entries = map(_entry, paths)
    # What has gone since the directory was read is none.
    return Survey(directory, chosen, tuple(entry for entry in entries if entry.look is not None or entry.path.exists()))


def _entry(path: Path) -> Entry:
    from rwlocks.backends.process._look import look

    try:
        return Entry(path, look(path), "")
    except FileNotFoundError:
        return Entry(path, None, "there is no such lock")
    except OSError as error:
        return Entry(path, None, error.strerror or str(error))


def held_as(look: Look) -> Mode | None:
    """The strongest mode held."""
    from rwlocks import Mode

    held = {seen.request.mode for seen in look.seen if seen.request.held}
    return next((mode for mode in (Mode.WRITE, Mode.UPGRADABLE, Mode.READ) if mode in held), None)


def command_of(pid: int) -> str:
    """What a process runs, as its user would write it; "" where that cannot be known."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return ""
    first, *rest = words
    return " ".join([first.rpartition("/")[2], *filter(None, rest)])


# -- for programs ----------------------------------------------------------------------------------------------------


def document(found: Survey) -> dict[str, object]:
    """All of it as JSON can say it. Times are in seconds, null where nobody has read a clock."""
    locks = [_lock_document(entry) for entry in found.entries]
    return {"directory": str(found.directory), "chosen_by_RWLOCKS_DIR": found.chosen, "locks": locks}


def _lock_document(entry: Entry) -> dict[str, object]:
    identity: dict[str, object] = {"name": entry.path.name, "path": str(entry.path)}
    look = entry.look
    if look is None:
        return identity | {"error": entry.error}
    from rwlocks._process_open import DEATHS, policy_of

    mode, policy, now = held_as(look), policy_of(look.config), look.snapshot
    return identity | {
        "policy": policy.name,
        "bounds": policy.bounds(),
        "on_writer_death": DEATHS[look.config.on_writer_death],
        "max_processes": look.config.max_processes,
        "max_holds": look.config.max_holds,
        "mode": None if mode is None else mode.value,
        "recovered": now.writer_died,
        "consistent": look.whole,
        "inside_the_gate": look.gate or None,
        "processes": list(look.processes),
        "holders": list(_seen_documents(look, held=True)),
        "waiters": list(_seen_documents(look, held=False)),
        "totals": {
            "acquisitions": now.acquisitions,
            "contended": now.contended,
            "timeouts": now.timeouts,
            "cancellations": now.cancellations,
            "longest_wait": now.longest_wait,
            "repairs": now.repairs,
            "processes_found_dead": now.reaped,
            "writers_died": now.writers_died,
        },
    }


def _seen_documents(look: Look, *, held: bool) -> Iterator[dict[str, object]]:
    for seen in look.seen:
        request = seen.request
        if request.held is held:
            yield {
                "mode": request.mode.value,
                "pid": request.pid,
                "command": _command(seen),
                "thread": request.thread,
                "seconds": request.age or None,
                "alive": seen.alive,
                "upgrading": request.pending,
                "abandoned": request.abandoned,
            }


def _command(seen: Seen) -> str | None:
    """None for a number that by now may be another process's, or that is one only in another namespace."""
    return command_of(seen.request.pid) if seen.alive and seen.here else None
