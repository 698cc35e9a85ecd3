"""`rwlocks.features()` says what is compiled and in use, as the parts themselves say it."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest
from _programs import ENVIRONMENT

from rwlocks import RWLock, _features, features
from rwlocks._errors import BackendUnavailable

if TYPE_CHECKING:
    from pathlib import Path


def printed(code: str, **environment: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT | environment).stdout


def part(serves: str) -> _features.Part:
    (found,) = [each for each in features().parts if each.serves == serves]
    return found


def test_it_names_the_interpreter() -> None:
    interpreter = features().interpreter
    assert interpreter.version == platform.python_version()
    assert interpreter.gil == getattr(sys, "_is_gil_enabled", lambda: True)()
    assert str(interpreter).startswith(f"{platform.python_implementation()} {platform.python_version()} with")


def test_its_repr_tells_it_all_in_one_line() -> None:
    shown = repr(features())
    assert shown.startswith(f"<Features of rwlocks {features().version} on {features().interpreter}: RWLock ")
    assert [each for each in features().parts if str(each) not in shown] == []
    assert "; backends threading, asyncio, anyio" in shown
    assert "\n" not in shown


def test_a_part_is_compiled_if_its_door_opens() -> None:
    if importlib.util.find_spec("rwlocks.backends.process._fast") is None:
        pytest.skip("built without the native core")
    assert part("ProcessRWLock").compiled
    assert "waiting by" in part("ProcessRWLock").about


def test_a_part_that_is_missing_says_why() -> None:
    code = "import rwlocks; print([p for p in rwlocks.features().parts if p.serves == 'ProcessRWLock'][0])"
    assert printed(code, RWLOCKS_NO_NATIVE="1") == "ProcessRWLock not compiled\n"
    code = "import rwlocks; print([p for p in rwlocks.features().parts if p.serves == 'ProcessRWLock'][0].about)"
    assert "RWLOCKS_NO_NATIVE is set; unset it" in printed(code, RWLOCKS_NO_NATIVE="1")


@pytest.mark.parametrize(
    ("source", "compiled", "about"),
    [
        ("ABOUT = 'by hand'", True, "by hand"),
        (
            "from rwlocks import BackendUnavailable\nraise BackendUnavailable('it is lost; find it')",
            False,
            "it is lost; find it",
        ),
    ],
)
def test_what_a_door_says_is_what_is_told(
    source: str, compiled: bool, about: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = f"door_{compiled}"
    (tmp_path / f"{door}.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(_features, "DOORS", {"SomeLock": door})
    assert features().parts == (("SomeLock", compiled, about),)


def test_a_door_that_is_broken_is_no_missing_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "door_broken.py").write_text("import no_such_module", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(_features, "DOORS", {"SomeLock": "door_broken"})
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        features()


def test_it_tells_the_backends_that_are_in_use() -> None:
    with RWLock(backend="threading").read():
        pass
    known = {each.name: each for each in features().backends}
    assert known["threading"] == ("threading", "rwlocks", True)
    assert list(known)[:3] == ["threading", "asyncio", "anyio"]


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python was built with its lock")
def test_no_part_brings_the_interpreters_lock_back() -> None:
    code = "import sys, rwlocks; rwlocks.features(); print(sys._is_gil_enabled())"
    assert printed(code) == "False\n"
    assert "plain Python" in part("RWLock").about  # its slow path at least


def test_asking_loads_no_runtime() -> None:
    code = (
        "import sys, rwlocks; rwlocks.features(); print(sorted({'asyncio', 'trio', 'anyio'} & set(sys.modules)), "
        "[each.loaded for each in rwlocks.features().backends][:3])"
    )
    assert printed(code) == "[] [False, False, False]\n"


def test_a_missing_part_raises_what_its_door_raises() -> None:
    assert issubclass(BackendUnavailable, ImportError)
    assert not issubclass(BackendUnavailable, ModuleNotFoundError)
