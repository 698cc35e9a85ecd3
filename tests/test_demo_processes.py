"""The processes of `rwlocks demo`: some are killed, the others go on, and a lock that fails them is found out."""

from __future__ import annotations

import multiprocessing
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import pytest
from _processes import FORK  # skips where there are no process locks
from _programs import ENVIRONMENT, shown_on_a_terminal

from rwlocks import ProcessRWLock, WriteGuard
from rwlocks._guards import Guard
from rwlocks.cli import _demo_raid, _demo_victim
from rwlocks.cli._demo_board import Board, Note
from rwlocks.cli._demo_plain import conclusion, epitaph
from rwlocks.cli._demo_raid import HOLDING, WAITING, Death, Raid, raid
from rwlocks.cli._demo_verdict import judge
from rwlocks.cli._demo_workload import Crew, Glimpse, recruit

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

CREW = recruit(processes=True)
NAMES = CREW.processes


class _SeenEnough(Exception):
    pass


def nothing(glimpse: Glimpse) -> None:
    """Nobody looks on."""


def until(condition: Callable[[Glimpse], bool]) -> Callable[[Glimpse], None]:
    def watch(glimpse: Glimpse) -> None:
        if condition(glimpse):
            raise _SeenEnough

    return watch


def nobody_is_left() -> bool:
    return multiprocessing.active_children() == []


# -- on a real lock --------------------------------------------------------------------------------------------------


def test_holders_and_waiters_die_and_the_others_go_on() -> None:
    deaths: list[Death] = []

    def both_kinds(glimpse: Glimpse) -> bool:
        deaths[:] = glimpse.deaths
        doing = {death.doing for death in deaths}
        return bool(doing & set(HOLDING.values())) and bool(doing & set(WAITING.values()))

    with pytest.raises(_SeenEnough):
        raid(ProcessRWLock, NAMES, 60, 7, until(both_kinds))
    assert all(death.recovery is not None and death.worker in NAMES for death in deaths)
    assert nobody_is_left()


def test_a_real_lock_passes() -> None:
    looks: list[Glimpse] = []
    played = raid(ProcessRWLock, NAMES, 0.7, 7, looks.append)
    assert played.violations == ()
    assert played.policy == "fifo"
    assert played.granted > 0
    assert all(death.recovery is not None for death in played.deaths)
    assert {(look.policy, look.violations) for look in looks} == {("processes", 0)}
    assert nobody_is_left()


def test_every_worker_takes_part_under_its_name() -> None:
    seen: set[str] = set()

    def all_of_them(glimpse: Glimpse) -> bool:
        seen.update(who.owner for who in glimpse.statistics.holders + glimpse.statistics.waiters)
        return seen >= set(NAMES)

    with pytest.raises(_SeenEnough):
        raid(ProcessRWLock, NAMES, 60, 7, until(all_of_them))
    assert seen == set(NAMES)


def test_an_interrupted_raid_leaves_nobody_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def interrupt(glimpse: Glimpse) -> None:
        if glimpse.deaths:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        raid(ProcessRWLock, NAMES, 60, 7, interrupt)
    assert nobody_is_left()
    assert list(tmp_path.iterdir()) == []


# -- locks that fail -------------------------------------------------------------------------------------------------


class WritersAlone:
    """Lets every writer of its process lock something of its own."""

    def __init__(self, path: Path) -> None:
        self._real = ProcessRWLock(path)
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def write(self, timeout: float | None = None) -> WriteGuard:
        return ProcessRWLock().write(timeout)


def everybody_wants(mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read (0), to write (1), or to be upgradable (2), so that what is looked for happens at once."""
    for taste in ("READER", "WRITER"):
        monkeypatch.setattr(_demo_victim, taste, tuple(int(each == mode) for each in range(3)))


def test_a_lock_that_does_not_exclude_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody_wants(1, monkeypatch)
    make: Any = WritersAlone
    played = raid(make, NAMES, 0.3, 7, nothing)
    assert any("somebody wrote while" in each for each in played.violations)


def test_a_lock_that_keeps_the_death_of_a_writer_to_itself_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "recovered", False)  # forked children inherit it
    found: list[int] = []

    def half_a_write(glimpse: Glimpse) -> bool:
        found[:] = [glimpse.violations]
        return glimpse.violations > 0

    with pytest.raises(_SeenEnough):
        raid(ProcessRWLock, NAMES, 60, 7, until(half_a_write))
    assert found[0] > 0


def test_a_death_that_is_not_overcome_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_demo_raid, "PATIENCE", 0.0)
    with ProcessRWLock(tmp_path / "lock") as lock:
        siege = _demo_raid._Siege(lock, tmp_path / "lock", NAMES, 7)
        siege.deaths = (Death("process 1", "writing", 0.01), Death("process 2", "reading", siege._recovery(0)))
        assert list(siege._unrecovered()) == ["nobody got in after process 2 was killed while reading"]


def keep(lock: ProcessRWLock) -> None:
    with lock.write():
        signal.pause()


def test_workers_that_a_lock_has_lost_are_named_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_demo_raid, "PATIENCE", 0.05)
    keepers: list[BaseProcess] = []

    def make(path: Path) -> ProcessRWLock:
        lock = ProcessRWLock(path)
        keepers.append(FORK.Process(target=keep, args=(lock,)))
        keepers[0].start()
        while lock.locked() is None:
            time.sleep(0.001)
        return lock

    try:
        played = raid(make, NAMES, 0.5, 7, nothing, grace=0.1)
    finally:
        keepers[0].kill()
        keepers[0].join()
    lost = played.violations[:-2]
    assert lost
    assert set(lost) <= {f"{name} never came back from the lock" for name in NAMES}
    assert played.violations[-2] == "all have left, yet nobody can write any more"
    assert played.violations[-1].startswith("all have left, yet the lock counts 1 who hold")
    assert nobody_is_left()


def test_what_a_worker_raises_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Guard:
        raise ValueError("out of order")

    monkeypatch.setattr(type(ProcessRWLock()), "upgradable", broken)
    everybody_wants(2, monkeypatch)
    played = raid(ProcessRWLock, NAMES, 0.2, 7, nothing)
    assert any(each.endswith("got ValueError: out of order") for each in played.violations)


# -- the board, the verdict, the words -------------------------------------------------------------------------------


def scribble(board: Board) -> None:
    board.add(1, Note.GRANTED)
    board.put(0, Note.LONGEST_READ_WAIT, 2**62)
    board.cells[1] = 5
    for what in ("something happened", "something else"):
        board.tell(1, what)


def test_what_a_child_notes_its_parent_reads() -> None:
    board = Board(2)
    child = FORK.Process(target=scribble, args=(board,))
    child.start()
    child.join()
    assert (list(board.column(Note.GRANTED)), board.get(0, Note.LONGEST_READ_WAIT)) == ([0, 1], 2**62)
    assert (board.cells[0], board.cells[1]) == (0, 5)
    assert list(board.told()) == ["something happened, and 1 more of it"]
    assert not board.over
    board.end()
    assert board.over


RECORD = Raid(
    policy="fifo",
    seconds=2.0,
    granted=1000,
    given_up=30,
    reader_wait=0.05,
    writer_wait=0.04,
    repairs=2,
    deaths=(
        Death("process 1", "writing", 0.05),
        Death("process 2", "waiting to read", 0.001),
        Death("process 1", "writing", 0.002),
    ),
    violations=(),
)


def test_the_verdict_counts_the_dead() -> None:
    verdict = judge([], [RECORD])
    assert verdict.exit_code == 0
    assert verdict.recoveries == (0.001, 0.002, 0.05)
    ((summary,), granted) = verdict.summaries, verdict.granted
    assert granted == 1000
    assert summary == ("processes", 500.0, 0.05, 0.04, 30, 0)
    crew = Crew(("thread 1",), (), (), ("process 1", "process 2"))
    assert conclusion(verdict, crew) == [
        "no violations: 1,000 acquisitions by 3 workers, each one checked",
        "3 killed: 2 writing, 1 waiting to read",
        "after 3 of these deaths another one got in, 2.0 ms later (median), 50.0 ms at most",
    ]


def test_one_violation_among_processes_decides() -> None:
    verdict = judge([], [RECORD._replace(violations=("process 1 read half a write",))])
    assert verdict.exit_code == 1
    lines = conclusion(verdict, CREW)
    assert lines[1] == "  processes: process 1 read half a write"
    assert lines[2] == "3 killed: 2 writing, 1 waiting to read"


def test_an_epitaph_says_how_the_others_went_on() -> None:
    assert epitaph(RECORD.deaths[0]) == "process 1 killed while writing; the next got in 50.0 ms later"
    lost = Death("process 3", "reading", None)
    assert epitaph(lost) == "process 3 killed while reading; nobody got in after it"


# -- as a program ----------------------------------------------------------------------------------------------------


def test_it_shows_who_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "rwlocks", "demo", "--policy", "phase-fair", "--seconds", "1.8"]
    environment = ENVIRONMENT | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", "LINES": "30"}
    shown = shown_on_a_terminal(command, environment, folder=tmp_path)
    assert "process 6" in shown
    assert "✗" in shown
    assert re.search(r"\d+ killed: ", shown)
    assert "of these deaths another one got in" in shown


def test_without_the_native_core_it_says_what_it_leaves_out() -> None:
    command = [sys.executable, "-W", "error", "-m", "rwlocks", "demo", "--seconds", "0.2"]
    environment = ENVIRONMENT | {"RWLOCKS_NO_NATIVE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ProcessRWLock" not in done.stdout.partition("left out:")[0]
    reason = "process locks need the native core, and RWLOCKS_NO_NATIVE is set; unset it"
    assert done.stdout.endswith(f"left out: the processes, some of which are killed; {reason}\n")
