"""``rwlocks status``: who holds a process lock, who waits for it, and since when. Looking changes nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from rwlocks._errors import BackendUnavailable
from rwlocks.cli._seconds import seconds
from rwlocks.cli._status_lines import lines, printable, reason
from rwlocks.cli._status_survey import document, survey

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator
    from io import TextIOWrapper

    from rwlocks.cli._status_survey import Survey

__all__ = ["HELP", "configure", "run"]

HELP: Final = "who holds a process lock, who waits for it, and since when"

STYLES: Final = {"head": "bold", "holds": "", "waits": "yellow", "dim": "dim", "alarm": "bold red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of status."""
    parser.epilog = "exit code: 0, or 1 if a lock cannot be read or is not there; looking never changes a lock"
    parser.add_argument(
        "lock",
        nargs="?",
        metavar="NAME_OR_PATH",
        help="a lock, or a directory of locks (default: all named locks of this user)",
    )
    parser.add_argument("--json", action="store_true", help="for programs; with --watch one line for each look")
    parser.add_argument("--watch", action="store_true", help="look again and again, until Ctrl-C")
    parser.add_argument(
        "--interval",
        type=seconds("interval"),
        default=1.0,
        metavar="S",
        help="seconds between two looks (default: %(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    """Look, show, and return the exit code."""
    if hasattr(sys.stdout, "reconfigure"):
        cast("TextIOWrapper", sys.stdout).reconfigure(errors="replace")  # a path may be in any script
    try:
        return _watch(options) if options.watch else _once(options)
    except (BackendUnavailable, OSError, ValueError) as error:
        print(f"rwlocks status: {printable(reason(error))}", file=sys.stderr)
        return 1


def _once(options: argparse.Namespace) -> int:
    found = survey(options.lock)
    if options.json:
        print(json.dumps(document(found), indent=2))
    else:
        _print(found)
    return 1 if any(entry.error for entry in found.entries) else 0


def _watch(options: argparse.Namespace) -> int:
    """Until Ctrl-C, which is how one leaves it."""
    try:
        with _shown(options) as show:
            while True:
                show(survey(options.lock))
                time.sleep(options.interval)
    except KeyboardInterrupt:
        return 0


@contextmanager
def _shown(options: argparse.Namespace) -> Generator[Callable[[Survey], None]]:
    """How one look after the other is shown."""
    drawable = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if options.json:
        yield _print_json_line
    elif drawable and importlib.util.find_spec("rich") is not None:
        with _live() as show:
            yield show
    else:
        yield _print_with_time


def _print(found: Survey) -> None:
    for line in lines(found):
        print(line.text)


def _print_with_time(found: Survey) -> None:
    print(f"-- {time.strftime('%H:%M:%S')}")
    _print(found)
    print(flush=True)


def _print_json_line(found: Survey) -> None:
    print(json.dumps(document(found)), flush=True)


@contextmanager
def _live() -> Generator[Callable[[Survey], None]]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    def show(found: Survey) -> None:
        text = Text(no_wrap=True, overflow="ellipsis")
        for line in lines(found):
            text.append(f"{line.text}\n", STYLES[line.tone])
        live.update(text, refresh=True)

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        yield show
