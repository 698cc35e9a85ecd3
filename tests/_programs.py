"""Programs that tests start as users do, and the terminals that they draw on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import rwlocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ENVIRONMENT", "drained", "shown_on_a_terminal"]

ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(Path(rwlocks.__file__).parents[1]), "PYTHONSAFEPATH": "1"}
"""In which programs find the package that is tested, and not the folder that they happen to stand in."""


def drained(terminal: int) -> bytes:
    """What comes from a pseudo terminal until its other side is closed."""
    output = b""
    try:
        while block := os.read(terminal, 65536):
            output += block
    except OSError:
        pass  # how a pseudo terminal says that its other side was closed
    return output


def shown_on_a_terminal(command: Sequence[str], environment: Mapping[str, str], *, folder: Path | None = None) -> str:
    """What a program that ends well shows to somebody who sits there."""
    here, there = os.openpty()
    with subprocess.Popen(command, stdout=there, stderr=there, env=environment, cwd=folder) as process:
        os.close(there)
        shown = drained(here).decode()
    os.close(here)
    assert process.returncode == 0, shown
    return shown
