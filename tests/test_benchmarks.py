"""Every benchmark runs, with parameters so small that its figures mean nothing. No time is asserted."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SCENARIOS = {
    "contended_threads.py": ["--threads", "3", "--reads", "0", "50", "--seconds", "0.02", "--only", "fifo"],
    "process_pair.py": ["--pairs", "3"],
    "uncontended.py": ["--pairs", "3", "--only", "rwlocks"],
    "many_waiters.py": ["--waiters", "5", "10", "--only", "fifo"],
}


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(output: str, label: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(label)]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])

    def load(script: str) -> dict[str, Any]:
        return runpy.run_path(str(BENCHMARKS / script))

    return load


def test_every_scenario_is_run_here() -> None:
    scripts = {path.name for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    assert scripts == set(SCENARIOS)


def test_contended_threads() -> None:
    output = run("contended_threads.py", "--rounds", "2", *SCENARIOS["contended_threads.py"])
    assert len(rows(output, "threading.Lock")) == len(rows(output, "rwlocks fifo")) == 2


def test_contended_threads_that_only_read_or_only_write() -> None:
    output = run("contended_threads.py", "--rounds", "1", "--split", *SCENARIOS["contended_threads.py"])
    assert len(rows(output, "rwlocks fifo")) == 2


def test_uncontended() -> None:
    output = run("uncontended.py", "--rounds", "1", *SCENARIOS["uncontended.py"])
    for yardstick in ("threading.Lock", "asyncio.Lock", "trio.Lock"):
        assert len(rows(output, yardstick)) == 1
    for policy in ("fifo", "phase-fair", "writer-pref", "reader-pref"):
        assert len(rows(output, f"rwlocks {policy}")) == 3


def test_many_waiters() -> None:
    output = run("many_waiters.py", "--rounds", "1", *SCENARIOS["many_waiters.py"])
    assert len(rows(output, "rwlocks fifo")) == 3  # to queue, to be withdrawn, to be granted
    assert "too long" not in output


def test_a_measurement_that_takes_too_long_is_given_up() -> None:
    output = run("many_waiters.py", "--rounds", "1", "--limit", "0", *SCENARIOS["many_waiters.py"])
    assert all("too long" in row for row in rows(output, "rwlocks fifo"))


def test_a_rival_that_is_not_installed_is_named(
    module: Callable[[str], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    contestants = module("contestants.py")
    rival = contestants["Contestant"](name="nobody", setup="", read="", write="", distribution="rwlocks-no-such-rival")
    yardstick = contestants["THREADS"][0]
    assert contestants["choose"]((yardstick, rival), []) == [yardstick]
    assert capsys.readouterr().out == "not measured: nobody (pip install rwlocks-no-such-rival)\n"


def test_the_yardstick_always_takes_part(module: Callable[[str], dict[str, Any]]) -> None:
    contestants = module("contestants.py")
    chosen = contestants["choose"](contestants["THREADS"], ["rwlocks fifo"])
    assert [one.name for one in chosen] == ["threading.Lock", "rwlocks fifo"]


def test_a_lock_that_does_not_exclude_is_refused(module: Callable[[str], dict[str, Any]]) -> None:
    # Its entrance undoes what another writer has written, as two writers at once would.
    setup = """\
class Broken:
    def __enter__(self):
        import sys
        sys._getframe(1).f_locals["box"]["n"] = 0
    def __exit__(self, *exc):
        pass
lock = Broken()
"""
    contestant = module("contestants.py")["Contestant"](name="broken", setup=setup, read="lock", write="lock")
    measure = module("contended_threads.py")["measure"]
    with pytest.raises(RuntimeError, match="two writers were inside at once"):
        measure(contestant, 2, 0.0, 0.02, between=0, split=False, seed=0)


def test_a_pair_between_processes() -> None:
    pytest.importorskip("rwlocks.backends.process._core", reason="built without the native core", exc_type=ImportError)
    output = run("process_pair.py", "--rounds", "2", *SCENARIOS["process_pair.py"])
    assert len(rows(output, "multiprocessing.Lock")) == len(rows(output, "rwlocks, ProcessCore")) == 2


def test_everybody_runs_once_in_each_round(module: Callable[[str], dict[str, Any]]) -> None:
    contestants = module("contestants.py")["THREADS"][:3]
    calls: list[str] = []

    def measure(contestant: Any) -> int:
        calls.append(contestant.name)
        return len(calls)

    results = module("harness.py")["run_rounds"](contestants, measure, 4, 0)
    names = {contestant.name for contestant in contestants}
    assert all(set(calls[start : start + 3]) == names for start in range(0, 12, 3))
    assert all(len(values) == 4 for values in results.values())


def test_fairness_index(module: Callable[[str], dict[str, Any]]) -> None:
    jain = module("harness.py")["jain"]
    assert jain([5, 5, 5, 5]) == 1.0
    assert jain([8, 0, 0, 0]) == 0.25
