"""``rwlocks unlink``: removes a process lock by its name, unless somebody uses it."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Final

from rwlocks._errors import BackendUnavailable
from rwlocks.cli._status_lines import printable, reason
from rwlocks.cli._status_survey import command_of, survey

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "configure", "run"]

HELP: Final = "remove a process lock by its name"

SHOWN: Final = 5  # processes that are told


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of unlink."""
    parser.epilog = "exit code: 0, or 1 if it was not removed"
    parser.add_argument("lock", metavar="NAME_OR_PATH", help="the lock")
    parser.add_argument(
        "--force",
        action="store_true",
        help="also while somebody uses it: those go on with it, and newcomers make another one, "
        "so that the two groups do not exclude each other",
    )


def run(options: argparse.Namespace) -> int:
    """Remove it, and return the exit code."""
    try:
        from rwlocks.backends.process._segment import unlink

        unlink(options.lock, in_use=options.force)
    except FileNotFoundError as error:
        return _refuse(f"there is no lock {error.filename}")
    except OSError as error:
        return _refuse(_users(options.lock) if error.errno == errno.EBUSY else reason(error))
    except (BackendUnavailable, ValueError) as error:
        return _refuse(str(error))
    return 0


def _refuse(why: str) -> int:
    print(f"rwlocks unlink: {printable(why)}", file=sys.stderr)
    return 1


def _users(lock: str) -> str:
    processes = [pid for entry in survey(lock).entries if entry.look is not None for pid in entry.look.processes]
    users = ", ".join(f"{pid} ({command_of(pid) or 'unknown'})" for pid in processes[:SHOWN])
    more = f" and {len(processes) - SHOWN} more" if len(processes) > SHOWN else ""
    return f"somebody uses the lock: {users or 'already gone again'}{more}; end them first, or give --force"
