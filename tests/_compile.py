"""Compiles C for a test, with the warnings and the sanitizers that the test asks for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
CSRC = CHECKOUT / "backends" / "process" / "csrc"
NATIVE = CHECKOUT / "tests" / "native"
CORE = ["layout.c", "lines.c", "core.c", "repair.c"]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion"]


def compiled(output: Path, *sources: str, flags: tuple[str, ...] = ()) -> Path:
    """The program or library made of these files, of the native core and of ``tests/native``.

    Skips the test without a compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not CSRC.is_dir():
        pytest.skip("needs a C compiler and the sources of the native core")
    files = [str(each) for name in sources for each in (CSRC / name, NATIVE / name) if each.exists()]
    command = [compiler, "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", *WARNINGS]
    command += [*flags, f"-I{CSRC}", f"-I{NATIVE}", *files, "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output
