"""What ``rwlocks status`` says to people: lines, each in a tone that a terminal may colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rwlocks.cli._status_survey import command_of, held_as

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from rwlocks.backends.process._look import Look, Seen
    from rwlocks.cli._status_survey import Entry, Survey

    Tone: TypeAlias = Literal["head", "holds", "waits", "dim", "alarm"]

__all__ = ["Line", "duration", "lines", "printable", "reason"]

COMMAND: Final = 40  # columns for what a process runs

STATES: Final = {None: "free", "read": "held for reading", "upgradable": "held upgradable", "write": "held for writing"}
HALF_WRITTEN: Final = "a writer died: what this lock protects may be half written, until mark_consistent() is called"


class Line(NamedTuple):
    """One line for people."""

    text: str
    tone: Tone


def lines(found: Survey) -> Iterator[Line]:
    """All of it."""
    directory = printable(str(found.directory))
    if found.chosen:
        yield Line(f"named locks lie in {directory}, for RWLOCKS_DIR says so", "dim")
    if not found.entries:
        yield Line(f"no locks in {directory}", "dim")
    for before, entry in zip((None, *found.entries), found.entries, strict=False):
        if before is not None and (before.look or entry.look):
            yield Line("", "dim")
        yield from _entry(entry)


def _entry(entry: Entry) -> Iterator[Line]:
    name = printable(entry.path.name)
    if entry.look is None:
        yield Line(f"{name}  {printable(entry.error)}", "alarm")
        return
    look = entry.look
    yield Line(f"{name}  {_state(look)}", "head")
    rows = [_row(seen) for seen in look.seen]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for seen, row in zip(look.seen, rows, strict=True):
        text = "  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)])
        yield Line(f"  {text}".rstrip(), _tone(seen))
    yield Line(f"  {_totals(look)}", "dim")
    yield from (Line(f"  {alarm}", "alarm") for alarm in _alarms(look))


def _state(look: Look) -> str:
    from rwlocks._process_open import policy_of

    policy, mode = policy_of(look.config), held_as(look)
    bounds = {name: bound for name, bound in policy.bounds().items() if bound is not None}
    shown = [policy.name, *(f"{k}={v:g}" for k, v in bounds.items())]
    holders = sum(seen.request.held for seen in look.seen)
    waiters = sum(not seen.request.held or seen.request.pending for seen in look.seen)
    state = STATES[None if mode is None else mode.value] + (f" by {holders}" if holders else "")
    users = len(look.processes)
    return (
        f"{' '.join(shown)}, {state}, {waiters} waiting, open in {users} process{'' if users == 1 else 'es'}"
        f" (of {look.config.max_processes})"
    )


def _row(seen: Seen) -> tuple[str, ...]:
    request = seen.request
    what = request.mode.value + (" -> write" if request.pending else "")
    age = duration(request.age) if request.age else "-"
    command = printable(command_of(request.pid)) if seen.alive and seen.here else ""
    if len(command) > COMMAND:
        command = f"{command[: COMMAND - 3]}..."
    return "holds" if request.held else "waits", what, f"{age:>8}", f"pid {request.pid}", command, _note(seen)


def _note(seen: Seen) -> str:
    if not seen.alive:
        return "DEAD, to be cleared away by the next who comes"
    if not seen.here:
        return "in another pid namespace"
    if seen.request.abandoned:
        return "ABANDONED, its process has lost the guard"
    return "granted, not noticed yet" if seen.request.granted else ""


def _tone(seen: Seen) -> Tone:
    if not seen.alive or seen.request.abandoned:
        return "alarm"
    return "holds" if seen.request.held else "waits"


def _totals(look: Look) -> str:
    now = look.snapshot
    text = f"{now.acquisitions:,} acquisitions, {now.contended:,} contended, {now.timeouts:,} timed out, "
    text += f"{now.cancellations:,} cancelled, longest wait {duration(now.longest_wait)}"
    if now.reaped or now.repairs:
        text += f"; {now.reaped:,} dead found, {now.writers_died:,} of them writing; {now.repairs:,} repairs"
    return text


def _alarms(look: Look) -> Iterator[str]:
    from rwlocks._process_open import DEATHS

    if look.snapshot.writer_died and DEATHS[look.config.on_writer_death] != "ignore":
        yield HALF_WRITTEN
    if not look.whole and look.gate:
        yield f"process {look.gate} stays inside the lock's gate: stopped or dead; this copy may contradict itself"
    elif not look.whole:
        yield "it changed all the time while it was looked at; this copy may contradict itself"


def duration(seconds: float) -> str:
    """A time in at most two units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def reason(error: Exception) -> str:
    """What an error says, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def printable(text: str) -> str:
    """Without what a terminal would obey: names of files and processes may be anybody's."""
    return "".join(char if char.isprintable() else "?" for char in text)
