"""The command line. One module for each command, which offers ``HELP``, ``configure`` and ``run``.

Importing it loads no command, and a command is loaded alone, so that a short one stays short. Terminal libraries, trio
and anyio are loaded by what runs, never to show its help.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast, final

import rwlocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


@final
class _Commands(Mapping[str, Command]):
    """By their names, each loaded when it is looked up: a script that runs one command a hundred times pays for one."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __getitem__(self, name: str) -> Command:
        if name not in self._names:
            raise KeyError(name)
        return cast("Command", import_module(f"rwlocks.cli.{name}"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


COMMANDS: Final = _Commands("run", "status", "unlink", "doctor", "bench", "demo", "migrate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; without arguments, those of the process."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser(given[:1] if given and given[0] in COMMANDS else tuple(COMMANDS))
    options = parser.parse_args(given)
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


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """For these commands, which are loaded."""
    parser = argparse.ArgumentParser(prog="rwlocks", description=rwlocks.__doc__)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name in names:
        command = COMMANDS[name]
        command.configure(commands.add_parser(name, help=command.HELP, description=command.HELP))
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for: that of a package is read from a file."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError

        try:
            version = rwlocks.__version__
        except PackageNotFoundError:
            version = "of a checkout that is not installed"
        print("rwlocks", version)
        parser.exit()
