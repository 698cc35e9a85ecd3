"""`rwlocks demo`: no violations on a real lock, and every kind of broken lock found out."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, get_args

import pytest
from _programs import ENVIRONMENT, shown_on_a_terminal

import rwlocks
from rwlocks import Mode, ReadGuard, RWLock, UpgradableGuard, WriteGuard
from rwlocks._types import PolicyName
from rwlocks.cli import _demo_plain, demo, main
from rwlocks.cli._demo_counter import Counter
from rwlocks.cli._demo_plain import conclusion
from rwlocks.cli._demo_verdict import Instant, judge, timeline
from rwlocks.cli._demo_workload import Crew, Glimpse, Hold, Round, Wait, play, recruit

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec

    from rwlocks import LockStatistics
    from rwlocks._guards import Guard
    from rwlocks.cli._demo_counter import Visit

# The demo forks in the end, here in a process in which the timeout of a test may have a thread.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
CREW = recruit()


@pytest.fixture
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those have tests of their own, and take time."""
    monkeypatch.setattr(demo, "_why_no_processes", lambda: "nobody asked for them")


def nothing(glimpse: Glimpse) -> None:
    """Nobody looks on."""


def crew_alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name in CREW.names]


# -- the counter, interleaved by hand ----------------------------------------------------------------------------


def finish(*visits: Visit) -> None:
    for visit in visits:
        for _ in visit:
            pass


def test_visits_that_keep_out_of_each_others_way_are_no_violation() -> None:
    counter = Counter()
    finish(counter.write("a", 0), counter.read("b", 0), counter.reserve("c", 0), counter.write("d", 0))
    together = [counter.read("a", 0), counter.read("b", 0), counter.reserve("c", 0)]
    for visit in together:
        next(visit)
    finish(*together)
    assert counter.violations == []
    assert (counter.first, counter.second) == (2, 2)


@pytest.mark.parametrize("reader", [Counter.read, Counter.reserve])
def test_a_reader_that_comes_during_a_write_is_seen(reader: Callable[[Counter, str, float], Visit]) -> None:
    counter = Counter()
    writing = counter.write("w", 0)
    next(writing)
    next(reader(counter, "r", 0))
    assert counter.violations == ["r read half a write"]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_writer_that_comes_during_a_read_is_seen(steps: int) -> None:
    counter = Counter()
    reading, writing = counter.read("r", 0), counter.write("w", 0)
    next(reading)
    for _ in range(steps):
        next(writing, None)
    finish(reading)
    assert counter.violations == ["somebody wrote while r read"]


def test_two_writers_at_once_are_seen() -> None:
    counter = Counter()
    one, other = counter.write("a", 0), counter.write("b", 0)
    next(one)
    next(other)
    finish(one)
    assert counter.violations == ["b found a write half done", "somebody wrote while a wrote"]


def test_two_upgradables_at_once_are_seen() -> None:
    counter = Counter()
    one, other = counter.reserve("a", 0), counter.reserve("b", 0)
    next(one)
    next(other)
    assert counter.violations == ["b and a were upgradable at once"]


# -- rounds on a real lock ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_a_real_lock_passes(policy: PolicyName) -> None:
    lock = RWLock(policy)
    looks: list[Glimpse] = []
    played = play(lock, policy, CREW, 0.4, 7, looks.append)
    assert played.violations == ()
    assert (lock.locked(), crew_alive()) == (None, [])
    assert played.holds
    assert looks
    assert {(look.policy, look.violations) for look in looks} == {(policy, 0)}


class _SeenEnough(Exception):
    pass


def test_every_worker_and_every_mode_takes_part() -> None:
    names: set[str] = set()
    modes: set[Mode] = set()

    def watch(glimpse: Glimpse) -> None:
        names.update(holder.owner for holder in glimpse.statistics.holders)
        modes.update(holder.mode for holder in glimpse.statistics.holders)
        if modes == set(Mode) and names >= set(CREW.names):
            raise _SeenEnough

    with pytest.raises(_SeenEnough):
        play(RWLock(), "fifo", CREW, 60, 7, watch)
    assert names == set(CREW.names)


def test_an_interrupted_round_leaves_nobody_behind() -> None:
    def interrupt(_: Glimpse) -> None:
        raise KeyboardInterrupt

    lock = RWLock()
    with pytest.raises(KeyboardInterrupt):
        play(lock, "fifo", CREW, 60, 7, interrupt)
    assert (lock.locked(), lock.statistics().waiters, crew_alive()) == (None, (), [])


# -- broken locks ------------------------------------------------------------------------------------------------


class StandIn:
    """Hands on everything to what it stands in for, but for what is given."""

    def __init__(self, real: object, **instead: object) -> None:
        self._real = real
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        return self._instead[name] if name in self._instead else getattr(self._real, name)


class Faithful:
    """Hands on everything to a real lock; what is broken, derives from it."""

    def __init__(self, policy: PolicyName = "fifo") -> None:
        self.real = RWLock(policy)
        monitor = StandIn(self.real._core.monitor, leave=self.leave)
        self.core: Any = StandIn(self.real._core, monitor=monitor)

    def read(self, timeout: float | None = None) -> Guard:
        return ReadGuard(self, self.core, timeout)

    def write(self, timeout: float | None = None) -> Guard:
        return WriteGuard(self, self.core, timeout)

    def upgradable(self, timeout: float | None = None) -> Guard:
        return UpgradableGuard(self, self.core, timeout)

    def statistics(self) -> LockStatistics:
        return self.real.statistics()

    def leave(self, guard: Guard) -> None:
        self.real._core.monitor.leave(guard)


class WritersAlone(Faithful):
    """Lets every writer lock something of its own."""

    def write(self, timeout: float | None = None) -> Guard:
        return RWLock().write(timeout)


class UpgradablesAlone(Faithful):
    """Lets everybody be the only one who may write next."""

    def read(self, timeout: float | None = None) -> Guard:
        return RWLock().upgradable(timeout)

    def upgradable(self, timeout: float | None = None) -> Guard:
        return RWLock().upgradable(timeout)


class Forgetful(Faithful):
    """Loses every release of a writer, until it remembers."""

    def __init__(self, policy: PolicyName = "fifo") -> None:
        super().__init__(policy)
        self.lost: list[Guard] = []
        self.forgets = True

    def leave(self, guard: Guard) -> None:
        if self.forgets and guard.mode is Mode.WRITE:
            self.lost.append(guard)
        else:
            super().leave(guard)

    def remember(self) -> None:
        self.forgets = False
        for guard in self.lost:
            super().leave(guard)


class Absent(Faithful):
    """Counts somebody who is not there."""

    def statistics(self) -> LockStatistics:
        now = super().statistics()
        nobody = rwlocks.Holder(Mode.READ, "nobody", 0, 0.0, abandoned=False, granted=False, hold=self)
        return now._replace(holders=(*now.holders, nobody))


class Raising(Faithful):
    def leave(self, guard: Guard) -> None:
        super().leave(guard)
        if guard.wanted is Mode.UPGRADABLE:
            raise ValueError("out of order")


@pytest.mark.usefixtures("_no_processes")
@pytest.mark.parametrize(
    ("broken", "symptom"),
    [
        (WritersAlone, "somebody wrote while"),
        pytest.param(UpgradablesAlone, "were upgradable at once", marks=pytest.mark.slow),
        pytest.param(Absent, "all have left, yet the lock counts 1 who hold, 0 who wait", marks=pytest.mark.slow),
        pytest.param(Raising, "got ValueError: out of order", marks=pytest.mark.slow),
    ],
)
def test_a_broken_lock_ends_the_demo_with_1(
    broken: type[Faithful], symptom: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "RWLock", broken)
    monkeypatch.setattr(_demo_plain, "SHOWN", 100_000)
    assert main(["demo", "--policy", "fifo", "--seconds", "1.5", "--seed", "3"]) == 1
    assert symptom in capsys.readouterr().out
    assert crew_alive() == []


def test_workers_that_a_lock_has_lost_are_named_and_not_waited_for() -> None:
    lock = Forgetful()
    played = play(lock, "fifo", CREW, 0.3, 7, nothing, grace=0.1)
    try:
        assert any(each.endswith("never came back from the lock") for each in played.violations)
    finally:
        lock.remember()
        for thread in crew_alive():
            thread.join(30)
    assert crew_alive() == []


# -- what the records say ----------------------------------------------------------------------------------------


def record(*violations: str) -> Round:
    waits = (
        Wait(Mode.READ, 0.0, 0.1, granted=True),
        Wait(Mode.UPGRADABLE, 0.0, 0.3, granted=False),
        Wait(Mode.WRITE, 0.1, 0.6, granted=True),
    )
    holds = (Hold(Mode.READ, 0.1, 0.5), Hold(Mode.WRITE, 0.6, 0.9))
    return Round("fifo", 2.0, waits, holds, violations, RWLock().statistics())


def test_the_summary_counts_waits_that_were_given_up() -> None:
    ((summary,), granted, violations, _) = judge([record()])
    assert granted == 2
    assert violations == ()
    assert summary.throughput == 1.0
    assert (summary.reader_wait, summary.writer_wait) == (0.3, 0.5)
    assert (summary.given_up, summary.violations) == (1, 0)


def test_one_violation_in_one_round_decides() -> None:
    verdict = judge([record(), record("somebody wrote while r read")])
    assert verdict.exit_code == 1
    assert verdict.violations == ("fifo: somebody wrote while r read",)
    assert judge([record(), record()]).exit_code == 0


def test_the_conclusion_tells_the_first_violations_and_counts_the_rest() -> None:
    crew = Crew(("thread 1",), (), ())
    lines = conclusion(judge([record(*(f"violation {n}" for n in range(20)))]), crew)
    assert lines[0].startswith("20 VIOLATIONS in 2 acquisitions")
    assert lines[1] == "  fifo: violation 0"
    assert lines[-1] == "  and 12 more"


def test_the_timeline_shows_who_was_where() -> None:
    assert timeline(record(), 5, 0.125) == [
        Instant(1, 0, 1, 1),  # at 0.1, when the first gets in
        Instant(1, 0, 1, 1),
        Instant(1, 0, 0, 1),
        Instant(1, 0, 0, 1),
        Instant(0, 1, 0, 0),
    ]


def test_the_timeline_is_of_the_busiest_stretch() -> None:
    holds = [Hold(Mode.WRITE, since, since + 0.25) for since in (0.0, 2.0, 4.0, 4.5, 6.0)]
    played = record()._replace(waits=(), holds=tuple(holds))
    assert [now.writers for now in timeline(played, 4, 0.25)] == [1, 0, 1, 0]


def test_the_timeline_of_a_round_without_any_hold_is_empty() -> None:
    played = record()._replace(waits=(), holds=())
    assert timeline(played, 2, 0.5) == [Instant(0, 0, 0, 0)] * 2


# -- as a program ------------------------------------------------------------------------------------------------


def test_it_names_what_it_has_to_leave_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    find = importlib.util.find_spec

    def find_less(name: str) -> ModuleSpec | None:
        return None if name in {"rich", "trio"} else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_less)
    assert main(["demo", "--seconds", "0.4", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert "seed 3: one RWLock for 4 threads and 6 asyncio tasks\n" in out
    assert "left out: the live view (rich is not installed), trio tasks (trio is not installed)" in out
    assert "no violations" in out


@pytest.mark.usefixtures("_no_processes")
def test_its_plain_output_shows_all_four_policies_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "0.4"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert [policy for policy in POLICIES if f"\n{policy}: when a write ends" not in out] == []
    assert out.endswith("left out: the processes, some of which are killed; nobody asked for them\n")
    assert out.count("left out") == 1


def test_it_plays_the_policy_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--policy", "phase-fair", "--seconds", "0.1"]) == 0
    out = capsys.readouterr().out
    assert [policy for policy in POLICIES if policy in out] == ["phase-fair"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c_ends_it_with_a_word() -> None:
    command = [sys.executable, "-W", "error", "-m", "rwlocks", "demo", "--seconds", "600"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "reader-pref" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.stdout.read(), process.stderr.read()
    assert (process.returncode, err) == (130, "")
    assert out.startswith("\nrwlocks demo: interrupted in round 1 of ")
    assert out.endswith(", so there is no verdict\n")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
@pytest.mark.parametrize(
    ("environment", "drawn"),
    [
        ({"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}, True),
        ({"TERM": "dumb", "PYTHONIOENCODING": "utf-8"}, False),
        ({"TERM": "xterm", "PYTHONIOENCODING": "ascii"}, False),
    ],
)
def test_a_terminal_gets_what_it_can_show(environment: dict[str, str], drawn: bool) -> None:
    command = [sys.executable, "-W", "error", "-m", "rwlocks", "demo", "--seconds", "0.8"]
    shown = shown_on_a_terminal(command, {**ENVIRONMENT, **environment, "COLUMNS": "80", "LINES": "24"})
    assert "no violations" in shown
    assert ("who holds the lock, who waits" in shown) is drawn
    assert ("█" in shown) is drawn
    assert shown.isascii() is not drawn
