"""The package that users install is the one that the tree describes."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import rwlocks

CHECKOUT = Path(__file__).resolve().parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


@pytest.fixture
def distribution() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution("rwlocks")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("runs from a bare checkout, nothing is installed")


def isolated(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code as a stranger's program would: from elsewhere, and with no path but the interpreter's own."""
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def folders_with_code() -> set[str]:
    """All but the sources of the native core, which hold the build step and are not shipped."""
    return {
        path.parent.relative_to(CHECKOUT).as_posix()
        for top in ("rwlocks", "backends")
        for path in (CHECKOUT / top).rglob("*.py")
        if not path.is_relative_to(CHECKOUT / "rwlocks" / "backends") and path.parent.name != "csrc"
    }


def folder_of(package: str, mapping: dict[str, str]) -> str:
    """Where setuptools looks for a package: under the longest of its parents that the mapping knows."""
    parent, rest = package, list[str]()
    while parent not in mapping:
        parent, _, last = parent.rpartition(".")
        rest.insert(0, last)
    return "/".join([mapping[parent], *rest])


def test_every_package_is_listed() -> None:
    setuptools = PYPROJECT["tool"]["setuptools"]
    listed = {folder_of(package, setuptools["package-dir"]) for package in setuptools["packages"]}
    assert listed == folders_with_code()


def test_every_folder_with_code_is_a_package() -> None:
    assert [each for each in folders_with_code() if not (CHECKOUT / each / "__init__.py").is_file()] == []


def test_type_checkers_find_the_backends_through_the_link() -> None:
    link = CHECKOUT / "rwlocks" / "backends"
    if not link.is_symlink():
        pytest.skip("an unpacked archive, or a file system without links")
    assert link.readlink() == Path("../backends")


def test_the_version_has_one_source(distribution: importlib.metadata.Distribution) -> None:
    assert distribution.version == PROJECT["version"]
    assert rwlocks.__version__ == PROJECT["version"]


def test_the_changelog_speaks_of_this_version() -> None:
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(PROJECT['version'])}\b", changelog, re.MULTILINE)


def test_types_are_shipped() -> None:
    assert Path(rwlocks.__file__).with_name("py.typed").is_file()


def test_backends_are_inside_the_package_and_nowhere_else(
    distribution: importlib.metadata.Distribution, tmp_path: Path
) -> None:
    del distribution
    inside = isolated("import rwlocks.backends", tmp_path)
    assert inside.returncode == 0, inside.stderr
    outside = isolated("import backends", tmp_path)
    assert "ModuleNotFoundError: No module named 'backends'" in outside.stderr


def test_the_command_leads_to_its_function(distribution: importlib.metadata.Distribution) -> None:
    (command,) = distribution.entry_points.select(group="console_scripts")
    assert command.name == "rwlocks"
    assert callable(command.load())


def test_the_readme_shows_the_two_commands_that_set_it_up() -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    venv = "python3 -m venv .venv && .venv/bin/pip install -e"
    assert f"{venv} '.[demo]' && .venv/bin/rwlocks demo" in readme
    assert f"{venv} '.[test]' && .venv/bin/python -m pytest" in readme
