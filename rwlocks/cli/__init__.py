"""The command line. One module for each command, which offers ``HELP``, ``configure`` and ``run``.

Importing it loads no runtime and no terminal library: a command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING, Final, Protocol

import rwlocks
from rwlocks.cli import bench, demo, doctor, migrate, run, status, unlink

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Command", "main"]

INTERRUPTED: Final = 130  # as a shell reports a program that Ctrl-C ended


class Command(Protocol):
    """What a module of this package offers, to be a command."""

    @property
    def HELP(self) -> str:  # noqa: N802 - a constant of the module
        """One line for the list of commands."""
        ...

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own options."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Do it, and return the exit code."""
        ...


COMMANDS: Final[dict[str, Command]] = {
    "run": run,
    "status": status,
    "unlink": unlink,
    "doctor": doctor,
    "bench": bench,
    "demo": demo,
    "migrate": migrate,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; without arguments, those of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.error(f"no command; the known ones are {', '.join(COMMANDS)}")
    try:
        code = COMMANDS[options.command].run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nrwlocks: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough. The interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rwlocks", description=rwlocks.__doc__)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.configure(commands.add_parser(name, help=command.HELP, description=command.HELP))
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for: that of a package is read from a file."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        try:
            version = rwlocks.__version__
        except PackageNotFoundError:
            version = "of a checkout that is not installed"
        print("rwlocks", version)
        parser.exit()
