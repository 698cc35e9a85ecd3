"""`rwlocks doctor`: says what there is, finds every fault, and names the remedy."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import rwlocks
from rwlocks import _features
from rwlocks.cli import _doctor_checks, main
from rwlocks.cli._doctor_checks import Finding, examine

POSIX = pytest.mark.skipif(os.name != "posix", reason="no process locks")


@pytest.fixture(autouse=True)
def _healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrong, whatever this machine is like."""
    for name in [name for name in os.environ if name.startswith("RWLOCKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RWLOCKS_DIR", str(tmp_path / "locks"))
    monkeypatch.setattr(_features, "DOORS", {"SomeLock": "json"})
    monkeypatch.setattr(json, "ABOUT", "by hand", raising=False)


def yes(*_: object) -> bool:
    return True


def no(*_: object) -> bool:
    return False


def finding(label: str) -> Finding:
    (found,) = [each for each in examine() if each.label == label]
    return found


def test_a_healthy_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("\nNo problems.\n")
    assert "  SomeLock           in use: by hand\n" in out
    assert "  asyncio            loads\n" in out
    assert "\n! " not in out


def test_a_problem_is_marked_and_told_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RWLOCKS_DEADLOCK", "maybe")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "\n! RWLOCKS_DEADLOCK   'maybe', unknown\n" in out
    assert "\nOne problem:\n  RWLOCKS_DEADLOCK: every RWLock() raises ValueError for 'maybe'; set it to" in out


def test_json_says_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RWLOCKS_DEADLOCK", "maybe")
    assert main(["doctor", "--json"]) == 1
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert list(document["problems"]) == ["RWLOCKS_DEADLOCK"]
    assert document["environment"]["RWLOCKS_DEADLOCK"] == "maybe"
    assert document["environment"]["RWLOCKS_NO_NATIVE"] is None
    assert document["interpreter"]["python"]["implementation"] == sys.implementation.name.replace("cpython", "CPython")
    assert document["compiled_parts"] == {"SomeLock": {"in_use": True, "about": "by hand"}}


def test_a_missing_part_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from rwlocks import BackendUnavailable\nraise BackendUnavailable('it is lost; find it')"
    (tmp_path / "lost_door.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(_features, "DOORS", {"SomeLock": "lost_door"})
    assert (finding("SomeLock").text, finding("SomeLock").problem) == ("not in use", "it is lost; find it")


@pytest.mark.parametrize(
    ("name", "value", "effect"),
    [
        ("RWLOCKS_NO_NATIVE", "1", "so compiled parts are not used"),
        ("RWLOCKS_NO_NATIVE", "0", "which changes nothing"),
        ("RWLOCKS_CORE", "c", "which changes nothing"),
        ("RWLOCKS_CORE", "py", "so RWLock is plain Python"),
        ("RWLOCKS_DIR", "", "which changes nothing"),
        ("RWLOCKS_DEADLOCK", "strict", "what becomes of nested requests"),
        ("RWLOCKS_NATIVE", "1", "which is read when rwlocks is built"),
        ("RWLOCKS_NO_NATVE", "1", "which nobody reads"),
    ],
)
def test_a_variable_and_its_effect(name: str, value: str, effect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert finding(name).text.startswith(f"'{value}', {effect}")
    assert finding(name).problem == ""


def test_every_variable_that_is_read_is_known() -> None:
    package = Path(rwlocks.__file__).parent
    sources = [path for path in package.rglob("*.py") if path.parent.name != "csrc"]
    read = {name for path in sources for name in re.findall(r"RWLOCKS_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))}
    assert read == {*_doctor_checks.VARIABLES, *_doctor_checks.BUILD_TIME}


@POSIX
def test_the_directory_of_named_locks(tmp_path: Path) -> None:
    path = tmp_path / "locks"
    assert finding("directory").text == f"{path}, not there; the first named lock makes it"
    assert not path.exists()
    path.mkdir(mode=0o700)
    (path / "one").touch()
    os.mkfifo(path / ".one.1f.0-1-1")
    assert finding("directory").text == f"{path}, mode 700, locks in it: 1"
    assert finding("free").problem == ""


@POSIX
def test_a_directory_that_others_may_enter_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks").chmod(0o755)
    assert "it has mode 755; if it is for locks only, 'chmod 700" in finding("directory").problem
    (tmp_path / "locks").rmdir()
    (tmp_path / "locks").write_text("")
    assert "it is no directory" in finding("directory").problem


@POSIX
def test_a_directory_that_cannot_be_made_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RWLOCKS_DIR", str(tmp_path / "nothing" / "locks"))
    assert f"there is no directory {tmp_path / 'nothing'}" in finding("directory").problem
    monkeypatch.setattr(os, "access", no)
    monkeypatch.setenv("RWLOCKS_DIR", str(tmp_path / "locks"))
    assert f"{tmp_path} is not writable" in finding("directory").problem


@POSIX
def test_a_full_or_distant_file_system_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor_checks, "ROOM", float("inf"))
    monkeypatch.setattr(_doctor_checks, "_on_network", yes)
    assert "there is no room" in finding("free").problem
    assert "network" in finding("file system").problem


def test_a_backend_that_does_not_load_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[rwlocks.backends]\nfaulty = faulty_backend:BACKEND\n", encoding="utf-8")
    (tmp_path / "faulty_backend.py").write_text("raise OSError('no such device')", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert finding("faulty").text == "does not load (of faulty)"
    assert finding("faulty").problem == "does not load (of faulty): OSError: no such device"


def test_an_extra_that_is_not_installed_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor_checks, "EXTRAS", {"no-such-thing": "views"})
    assert finding("no-such-thing").text == "not installed; it is for views"
    assert finding("no-such-thing").problem == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
def test_the_kind_of_a_file_system(tmp_path: Path) -> None:
    assert _doctor_checks._kind_of_file_system(tmp_path / "of" / ".." / "proc") != "proc"
    assert _doctor_checks._kind_of_file_system(Path("/proc/self")) == "proc"
