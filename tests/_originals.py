"""The libraries whose names `rwlocks.compat` has, at test time: their sources, their suites, and our tests run on them.

None of it is committed. The sdists come from the package index, and whoever has none skips; the libraries themselves
are the extra ``compat-test``.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tarfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest

import rwlocks

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ON_THE_ORIGINALS", "outcomes", "put_in_the_place_of", "python", "turns", "under_test", "unpacked_sdist"]

SELECTOR: Final = "RWLOCKS_TEST_ORIGINALS"

ON_THE_ORIGINALS: Final = SELECTOR in os.environ
"""Whether this very process tests the libraries themselves, in a child of `tests/test_compat_defects.py`."""

LIMIT: Final = 300.0  # seconds for a child, so that one that hangs is a failure


def under_test(name: str) -> Any:
    """``rwlocks.compat.<name>``; in a child that tests the originals, the library ``<name>`` itself."""
    return import_module(name if ON_THE_ORIGINALS else f"rwlocks.compat.{name}")


async def turns(count: int = 20) -> None:
    """Let the other tasks run, by default until none can go on by itself. The originals cannot be asked who waits."""
    for _ in range(count):
        await asyncio.sleep(0)


def unpacked_sdist(name: str, version: str, into: Path) -> Path:
    """The folder of a source distribution. Skips where it cannot be had."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", name, "--dest", str(into), f"{name}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr]
        pytest.skip(f"NOT TESTED against {name} {version}, whose sdist cannot be had: {lines[0]}")
    (archive,) = into.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    (folder,) = (each for each in into.iterdir() if each.is_dir())
    return folder


def put_in_the_place_of(name: str, module: str, folder: Path) -> dict[str, str]:
    """The environment of children that get our module when they import the library of that name."""
    folder.mkdir()
    code = f"import sys\n\nimport {module}\n\nsys.modules[__name__] = sys.modules[{module!r}]\n"
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    # Before site-packages, where the original is; children of the children inherit it, too.
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(rwlocks.__file__).parents[1])])}


def python(arguments: list[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run an interpreter as a child, in its own session and for a limited time."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


def outcomes(arguments: list[str], cwd: Path, environment: Mapping[str, str], report: Path) -> dict[str, str]:
    """What became of each test of a pytest in a child: "passed", "failure", "error" or "skipped", by `module::name`."""
    options = ["-p", "no:cacheprovider", f"--junitxml={report}", "--timeout-method=signal"]
    # Without excerpts of the source: what a test has left may run while pytest parses it, which 3.11 cannot take.
    done = python(["-m", "pytest", "--tb=native", *options, *arguments], cwd, environment)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        what = next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")
        found[f"{case.attrib['classname'].rpartition('.')[2]}::{case.attrib['name']}"] = what
    assert found, done.stdout + done.stderr
    return found
