"""Every benchmark runs, so briefly that its figures mean nothing; and what is made of figures is right. No time is
asserted."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rwlocks.cli import main
from rwlocks.cli._bench_contention import contend, jain
from rwlocks.cli._bench_contestants import ASYNCIO, PROCESSES, THREADS, Contestant, choose
from rwlocks.cli._bench_tables import Column, Figures, Table, Unfit, lines, run_rounds

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).resolve().parents[1]
PARTS = [
    *("pairs", "threads", "tasks", "processes", "doors", "handover"),
    *("waiters", "memory", "imports", "patience", "recovery", "sharing"),
]
NATIVE = PROCESSES[1].missing() is None


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    # At the end, so that an installed package is not hidden.
    monkeypatch.setattr(sys, "path", [*sys.path, str(CHECKOUT)])
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a run of everything prints, and where it is kept. Of ours only one takes part."""
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "fifo", "--save", str(folder)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, folder


def table(**rates: list[float]) -> Table:
    """Of a yardstick, a, ours, and rivals."""
    roles = {"a": "yardstick", "rwlocks fifo": "ours"}
    results = {label.replace("ours", "rwlocks fifo"): [{"rate": rate} for rate in rates[label]] for label in rates}
    columns = (Column(figure="rate", heading="rate", ratio=True),)
    return Table(
        key="table",
        title="a title",
        columns=columns,
        results=results,
        roles={label: roles.get(label, "rival") for label in results},
    )


# -- all of it runs -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_every_part_runs(whole: tuple[str, Path], part: str) -> None:
    assert f"\n({part}: " in whole[0]


def test_no_part_is_overlooked(module: Callable[[str], Any]) -> None:
    assert list(module("__main__").PARTS) == PARTS


@pytest.mark.slow
def test_nobody_of_ours_is_missing(whole: tuple[str, Path]) -> None:
    (kept,) = whole[1].glob("*.json")
    for each in json.loads(kept.read_text(encoding="utf-8"))["tables"]:
        part, *where = each["key"].split("/")
        if part in {"imports", "doors", "patience"} or (not NATIVE and {"processes", "recovery"} & {part, *where}):
            continue
        assert all(each["rounds"]["rwlocks fifo"].values()), each["key"]


@pytest.mark.slow
def test_what_is_kept_is_complete(whole: tuple[str, Path]) -> None:
    (kept,) = whole[1].glob("*.json")
    document = json.loads(kept.read_text(encoding="utf-8"))
    assert {each["key"].partition("/")[0] for each in document["tables"]} == set(PARTS)
    assert document["verdicts"]
    assert not any(str(CHECKOUT) in text for text in (json.dumps(document["machine"]), json.dumps(document["tables"])))
    assert document["tables"][0]["rounds"]["threading.Lock"]["read"][0] > 0


@pytest.mark.slow
def test_the_pictures_are_drawn(whole: tuple[str, Path]) -> None:
    pytest.importorskip("matplotlib", reason="only the extra bench draws")
    pictures = {path.name.rpartition("-")[2]: path.read_text(encoding="utf-8") for path in whole[1].glob("*.svg")}
    assert set(pictures) == {"pairs.svg", "contention.svg", "waiters.svg", "patience.svg"}
    assert all("rwlocks fifo" in picture for name, picture in pictures.items() if name != "patience.svg")


def test_the_short_form_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--seconds", "0.1"]) == 0
    printed = capsys.readouterr().out
    for yardstick in ("threading.Lock", "asyncio.Lock", *(["multiprocessing.Lock"] if NATIVE else [])):
        assert f"\n{yardstick} " in printed
    assert "\n8 threads fight for one lock, 90 % reads" in printed


def test_the_short_form_of_another_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--seconds", "0.01", "--policy", "phase-fair"]) == 0
    printed = capsys.readouterr().out
    assert "\nrwlocks phase-fair " in printed
    assert "\nrwlocks fifo " not in printed


# -- who takes part -------------------------------------------------------------------------------------------------


def test_a_rival_that_is_not_installed_is_named() -> None:
    rival = Contestant(name="nobody", setup="import no_such_rival", new="None", read="", write="", distribution="x-y")
    assert choose((THREADS[0], rival), []) == ([THREADS[0]], ["nobody (pip install x-y)"])


def test_the_yardstick_always_takes_part() -> None:
    chosen, _ = choose(THREADS, ["rwlocks fifo"])
    assert [one.name for one in chosen] == ["threading.Lock", "rwlocks fifo"]


def test_every_installed_rival_can_be_measured(module: Callable[[str], Any]) -> None:
    rivals = module("rivals")
    everybody = (*rivals.THREADS, *rivals.ASYNCIO, *rivals.TRIO, *rivals.PROCESSES)
    for rival in everybody:
        reason = rival.missing()
        assert reason is None or rival.role == "ours" or reason == f"pip install {rival.distribution}"


# -- rounds ---------------------------------------------------------------------------------------------------------


def test_everybody_runs_once_in_each_round() -> None:
    calls: list[str] = []

    def measure(contestant: Contestant) -> Figures:
        calls.append(contestant.name)
        return {"call": len(calls)}

    results, unfit = run_rounds(THREADS[:3], measure, 4, seed=0)
    names = {contestant.name for contestant in THREADS[:3]}
    assert all(set(calls[start : start + 3]) == names for start in range(0, 12, 3))
    assert all(len(values) == 4 for values in results.values())
    assert unfit == []


def test_an_unfit_rival_goes_without_a_figure_and_one_of_ours_ends_it_all() -> None:
    rival = Contestant(name="broken", setup="", new="", read="", write="")

    def measure(contestant: Contestant) -> Figures:
        if contestant is ASYNCIO[0]:
            return {"rate": 1.0}
        raise Unfit("hangs")

    results, unfit = run_rounds([ASYNCIO[0], rival], measure, 1, seed=0)
    assert results == {"asyncio.Lock": [{"rate": 1.0}], "broken": [{}]}
    assert unfit == ["broken, round 1: hangs"]
    with pytest.raises(Unfit):
        run_rounds(ASYNCIO[:2], measure, 1, seed=0)


def test_a_lock_that_does_not_exclude_is_refused() -> None:
    # Its entrance undoes what another writer has written, as two writers at once would.
    setup = """\
class Broken:
    def __enter__(self):
        import sys
        sys._getframe(1).f_locals["box"][0] = 0
    def __exit__(self, *exc):
        pass"""
    contestant = Contestant(name="broken", setup=setup, new="Broken()", read="lock", write="lock")
    with pytest.raises(Unfit, match="two writers were inside at once"):
        contend(contestant, 2, 0.0, 0.02, seed=0)


def test_a_process_that_hangs_is_ended(module: Callable[[str], Any]) -> None:
    forked = module("forked")
    contestant = Contestant(name="held", setup="from time import sleep", new="sleep(100)", read="lock", write="lock")
    with pytest.raises(Unfit, match=r"hangs for 0\.5 s"):
        forked.in_a_process(module("processes")._fight, contestant, 2, 0.0, 0.01, 0, limit=0.5)


# -- what is made of figures ------------------------------------------------------------------------------------------


def test_fairness_index() -> None:
    assert jain([5, 5, 5, 5]) == 1.0
    assert jain([8, 0, 0, 0]) == 0.25


def test_a_table_shows_medians_and_ratios_of_the_same_round() -> None:
    shown = lines(table(a=[1.0, 2.0, 4.0], ours=[2.0, 2.0, 2.0], slow=[1.0, 1.0, 1.0]))
    assert shown[1] == "a title"
    assert shown[3].split() == ["lock", "rate", "ratio"]
    assert shown[6].split() == ["rwlocks", "fifo", "2", "1.00", "(0.50-2.00)"]


@pytest.mark.parametrize(
    ("to", "bound", "limit", "said"),
    [
        ("yardstick", ">=", 2.0, "rwlocks fifo, rate: 2.00 x a, target >= 2: met"),
        ("yardstick", "<=", 1.9, "rwlocks fifo, rate: 2.00 x a, target <= 1.9: MISSED"),
        ("best rival", ">=", 0.5, "rwlocks fifo, rate: 0.50 x fast, target >= 0.5: met"),
        ("slow", ">=", 5.0, "rwlocks fifo, rate: 4.00 x slow, target >= 5: MISSED"),
        ("= table", "<=", 1.0, "rwlocks fifo, rate: 1.00 x that of table, target <= 1: met"),
        ("1", "<=", 0, "rwlocks fifo, rate: 4.00, target <= 0: MISSED"),
    ],
)
def test_targets_are_judged(
    module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, to: str, bound: str, limit: float, said: str
) -> None:
    targets = module("targets")
    monkeypatch.setattr(targets, "TARGETS", (targets.Target("work", "tab*", "rate", to, bound, limit),))
    measured = {"table": table(a=[2.0, 2.0], slow=[1.0, 1.0], ours=[4.0, 4.0], fast=[8.0, 8.0])}
    assert [str(verdict) for verdict in targets.judge(measured, set())] == [said]


def test_a_target_of_the_compiled_core_is_not_missed_by_the_pure_one(
    module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = module("targets")
    target = targets.Target("work", "table", "rate", "yardstick", ">=", 3.0, only="compiled")
    monkeypatch.setattr(targets, "TARGETS", (target,))
    measured = {"table": table(a=[1.0], ours=[2.0])}
    assert [verdict.met for verdict in targets.judge(measured, {"pure"})] == [None]
    assert [verdict.met for verdict in targets.judge(measured, {"compiled"})] == [False]


def test_the_page_on_performance_has_the_verdicts_of_the_kept_runs(module: Callable[[str], Any]) -> None:
    page = (CHECKOUT / "docs" / "performance.md").read_text(encoding="utf-8")
    _, _, shown = page.partition("<!-- python -m benchmarks.scoreboard -->\n")
    assert shown.partition("<!-- end -->")[0] == module("scoreboard").scoreboard()


def test_every_target_was_judged_in_a_kept_run(module: Callable[[str], Any]) -> None:
    kept = [
        json.loads(path.read_text(encoding="utf-8")) for path in (CHECKOUT / "benchmarks" / "results").glob("*.json")
    ]
    judged = {(verdict["work"], verdict["figure"]) for document in kept for verdict in document["verdicts"]}
    assert {(target.row, target.figure) for target in module("targets").TARGETS} == judged


# -- instructions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "code", "said"),
    [
        (1.04, 0, "stored: 1.000"),
        (1.06, 1, "HAS GROWN from 1.000"),
        (0.9, 0, "has shrunk from 1.000; --store keeps it"),
    ],
)
def test_a_pair_may_not_come_to_cost_more(
    module: Callable[[str], Any], capsys: pytest.CaptureFixture[str], ratio: float, code: int, said: str
) -> None:
    assert module("instructions")._compare("3.11 pure", {"pair": ratio}, {"pair": 1.0}) == code
    assert said in capsys.readouterr().out


def test_where_nothing_can_be_counted_that_is_said(
    module: Callable[[str], Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    instructions = module("instructions")
    monkeypatch.setenv("PATH", "")
    assert instructions.main([]) == 0
    assert capsys.readouterr().out.startswith("SKIPPED: ")


def test_what_is_counted_runs(module: Callable[[str], Any]) -> None:
    pairs = module("instructions")._pairs()
    command = [sys.executable, "-m", "benchmarks.instructions", "--run", *("3" for _ in pairs)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (done.returncode, done.stderr) == (0, "")
